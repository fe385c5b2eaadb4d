"""Random cases that the hidden tests of module 00 share."""

import torch

from autograder.testing import assert_close, assert_equal
from autograder.testing.assertions import difference
from autograder.testing.strategies import composite, normal, seeds, sizes, st

SHAPES = st.lists(st.integers(0, 4), max_size=3).map(tuple)  # () and sizes of 0 among them
FULL_SHAPES = st.lists(st.integers(1, 4), max_size=3).map(tuple)
ON_ITS_OWN = "a call keeps nothing of an earlier one, and its result is its own"
LEFT_ALONE = "a call leaves its inputs and PyTorch's modes, defaults and random states alone"
CUT_OFF = "no detach, no numpy, no new tensor(...) on the way"


def numbers(seed, shape, dtype=torch.float64):
    """Random numbers of any shape, () too, that every dtype can hold."""
    values = normal(seed, 1, *shape)[0]
    if dtype is torch.bool:
        return values > 0
    return values.to(dtype) if dtype.is_floating_point else (values * 20).abs().clamp(max=120).long().to(dtype)


def require(condition, message):
    """Fail with this message and nothing else."""
    if not condition:
        raise AssertionError(message)


def assert_in_turn(actual, first, anew, what, **room):
    """What `scenarios.in_turn` gives, with a hint about what calls keep where one of the two results alone is wrong."""
    kept, changed, again = actual
    limits = room.get("rtol"), room.get("atol"), True
    hint = ON_ITS_OWN * (bool(difference(kept, first, what, *limits)) != bool(difference(again, anew, what, *limits)))
    assert_close(kept, first, f"{what} once another call was made", hint, **room)
    assert_equal(changed, [], "what the calls changed outside their results", LEFT_ALONE)
    assert_close(again, anew, f"{what} of a new input, under torch.no_grad()", hint, **room)


def if_cut_off(gradients, hint=CUT_OFF):
    """The hint, where a gradient is missing."""
    return hint * (gradients is None or any(gradient is None for gradient in gradients))


@composite
def slices(draw, smallest=1, largest=6, dims=3, scale=3.0):
    """(x, dim): a tensor of one to `dims` dimensions and one of them, counted from the front or from the end."""
    shape = draw(st.lists(sizes(smallest, largest), min_size=1, max_size=dims))
    dim = draw(st.integers(-len(shape), len(shape) - 1))
    return normal(draw(seeds()), *shape, scale=scale), dim


@composite
def windows(draw, dims=2):
    """(x, size, step) with at least one window; leading sizes of 0 among them."""
    lead = draw(st.lists(st.integers(0, 3), max_size=dims))
    length = draw(sizes(1, 9))
    return normal(draw(seeds()), *lead, length), draw(st.integers(1, length)), draw(st.integers(1, length + 2))
