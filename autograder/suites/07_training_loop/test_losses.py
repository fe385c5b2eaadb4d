"""Hidden tests: the loss and its gradient, against PyTorch's in float64."""

import torch
import torch.nn.functional as F

from autograder.testing import assert_close, assert_equal, assert_inputs_untouched, assert_refused, exercise
from autograder.testing.probes import random_state_untouched, strided
from autograder.testing.strategies import example, given, leading_shapes, normal, seeds, settings, sizes, st

from . import scenarios

INF = float("inf")


def ids(seed, high, *shape):
    """Targets."""
    return torch.randint(high, shape, generator=torch.Generator().manual_seed(seed + 1))


def loss_of(logits, targets):
    """PyTorch's own, as a float64 scalar."""
    return F.cross_entropy(logits.double().reshape(-1, logits.shape[-1]), targets.reshape(-1))


def gradient_of(logits, targets):
    """PyTorch's own gradient, float64."""
    logits = logits.double().requires_grad_()
    return torch.autograd.grad(loss_of(logits, targets), logits)[0]


def half_case(dtype, seed, n=40, vocab=7, shift=0.0):
    """Logits that are exact in half precision, all of them near `shift`."""
    return (normal(seed, n, vocab, dtype=torch.float32) * 1.5 + shift).to(dtype), ids(seed, vocab, n)


# cross_entropy


@exercise("cross_entropy", points=2, core=True)
@settings(max_examples=12)
@given(lead=leading_shapes(4, 3), vocab=sizes(1, 9), seed=seeds(), scale=st.sampled_from([0.5, 3.0]))
@example(lead=(3, 5), vocab=4, seed=1, scale=3.0)
def test_the_loss_is_the_mean_negative_log_probability_of_the_targets(student, lead, vocab, seed, scale):
    """Over all leading dimensions, none of them too."""
    logits, targets = normal(seed, *lead, vocab, scale=scale), ids(seed, vocab, *lead)
    hint = "log-softmax over the last dimension, the target's entry of each row, minus, the mean over all of them"
    assert_close(student.cross_entropy(logits, targets), loss_of(logits, targets), what="the loss", hint=hint)
    assert_inputs_untouched(student)


@exercise("cross_entropy", points=1)
@given(vocab=sizes(2, 9), seed=seeds())
@settings(max_examples=5)
def test_large_logits_and_logits_of_minus_infinity_are_no_trouble(student, vocab, seed):
    """Nothing overflows, nothing vanishes; a ruled-out token costs nothing, or everything where it is a target."""
    logits, targets = normal(seed, 6, vocab), ids(seed, vocab, 6)
    for what, x in (("large", logits * 1000), ("far up", logits + 1e5), ("far down", logits - 1e5)):
        actual = student.cross_entropy(x, targets)
        assert_close(actual, loss_of(x, targets), what=f"the loss of logits that are {what}", rtol=1e-9, atol=1e-9)
    ruled_out = torch.rand(6, vocab, generator=torch.Generator().manual_seed(seed)) < 0.5
    ruled_out.scatter_(-1, targets[:, None], False)
    x = logits.masked_fill(ruled_out, -INF)
    seen = student.run(scenarios.attached, x, targets)
    assert_close(student.cross_entropy(x, targets), loss_of(x, targets), what="the loss where some logits are -inf")
    assert_close(seen["gradient"], 2 * gradient_of(x, targets), what="the gradient where some logits are -inf")
    x = logits.scatter(-1, targets[:1, None].expand(1, 1), -INF)
    assert_close(float(student.cross_entropy(x, targets)), INF, what="the loss where a target has probability 0")


@exercise("cross_entropy", points=1)
@given(lead=leading_shapes(3, 2), vocab=sizes(1, 6), seed=seeds())
@settings(max_examples=5)
def test_gradients_flow_from_the_loss_to_the_logits(student, lead, vocab, seed):
    """The loss has a graph, and its gradient is the right one, also for logits that lie in memory in another order."""
    logits, targets = normal(seed, *lead, vocab), ids(seed, vocab, *lead)
    seen = student.run(scenarios.attached, logits, targets)
    wanted = {"a graph": True, "gradient": 2 * gradient_of(logits, targets)}
    hint = "no detach, no item, no torch.no_grad" if seen["gradient"] is None else ""
    assert_close(seen, wanted, what="backpropagation through twice the loss", hint=hint)
    actual = student.run(strided, "cross_entropy", (logits, targets))
    assert_close(actual, loss_of(logits, targets), what="the loss of logits that are not contiguous")
    for dtype in (torch.float32, torch.float16, torch.bfloat16):
        logits, targets = half_case(dtype, seed)
        wanted = {"a graph": True, "gradient": (2 * gradient_of(logits, targets)).to(dtype)}
        seen = student.run(scenarios.attached, logits, targets)
        room, hint = max(1.01 * torch.finfo(dtype).eps, 1e-5), "no detach, no .data"
        if seen["gradient"] is not None:
            hint = "" if dtype == torch.float32 else "logits.float() first, and .to(logits.dtype) for the result"
        assert_close(seen, wanted, what=f"backpropagation in {dtype}", hint=hint, rtol=room, atol=1e-7)
    assert student.run(random_state_untouched, "cross_entropy", (logits, targets)), "the global random state was used"


@exercise("cross_entropy", points=0.5)
@given(seed=seeds())
@settings(max_examples=2)
def test_the_loss_has_the_dtype_of_the_logits_and_halves_are_computed_in_float32(student, seed):
    """float64 and float32 as they are; for half precision only the result is rounded."""
    for dtype in (torch.float64, torch.float32):
        logits, targets = normal(seed, 5, 7, dtype=dtype), ids(seed, 7, 5)
        assert_close(student.cross_entropy(logits, targets), loss_of(logits, targets).to(dtype), what="the loss")
    for dtype, shift in ((torch.float16, 0.0), (torch.bfloat16, 0.0), (torch.bfloat16, 60.0), (torch.float16, 500.0)):
        # Where losses were rounded before their mean was taken, it shows in one of five pairs.
        cases = [half_case(dtype, seed + i, n, shift=shift) for i, n in enumerate([40, *[2] * 20])]
        hint = "logits.float() first, and .to(logits.dtype) for the result"
        for (logits, targets), actual in zip(cases, student.run(scenarios.losses, cases), strict=True):
            exact = loss_of(logits, targets)
            low, high = ((exact * (1 + room)).to(dtype) for room in (-1e-5, 1e-5))  # where float32 is a bit off
            said = f"the loss of {len(targets)} rows of {dtype} near {shift}, {exact:.7g} before it is rounded"
            is_low = isinstance(actual, torch.Tensor) and actual.dtype == dtype and torch.equal(actual, low)
            assert_equal(actual, low if is_low else high, what=said, hint=hint)


@exercise("cross_entropy", points=0.5)
def test_targets_of_another_shape_or_outside_the_vocabulary_are_refused_by_the_loss(student):
    """Too many, too few, transposed; -1, -100 and the vocabulary's size."""
    refuses_bad_targets(student.cross_entropy)


def refuses_bad_targets(function):
    """Of either exercise."""
    for shape, bad in (
        ((3, 4), (4, 3)),
        ((3, 4), (3,)),
        ((3, 4), (12,)),
        ((3, 4), (3, 4, 1)),
        ((4,), ()),
        ((1, 4), (4,)),
        ((), (1,)),
    ):
        assert_refused(function, normal(1, *shape, 5), ids(1, 5, *bad), why=f"targets have shape {bad}, not {shape}")
    for bad in (-1, -100, 5, 50):
        targets = ids(1, 5, 3, 4)
        targets[1, 2] = bad
        assert_refused(function, normal(1, 3, 4, 5), targets, why=f"one target is {bad}")


# cross_entropy_gradient


@exercise("cross_entropy_gradient", points=2, core=True)
@settings(max_examples=12)
@given(lead=leading_shapes(4, 3), vocab=sizes(1, 9), seed=seeds(), scale=st.sampled_from([0.5, 3.0]))
@example(lead=(3, 5), vocab=4, seed=1, scale=3.0)
def test_the_closed_form_is_the_gradient_of_the_mean_loss(student, lead, vocab, seed, scale):
    """As automatic differentiation has it, over all leading dimensions."""
    logits, targets = normal(seed, *lead, vocab, scale=scale), ids(seed, vocab, *lead)
    hint = "(softmax - one-hot) / (the number of targets, over all leading dimensions)"
    actual = student.cross_entropy_gradient(logits, targets)
    assert_close(actual, gradient_of(logits, targets), what="the gradient", hint=hint)
    assert_inputs_untouched(student)


@exercise("cross_entropy_gradient", points=0.5)
@given(vocab=sizes(2, 9), seed=seeds())
@settings(max_examples=5)
def test_the_gradient_is_finite_for_large_logits_and_minus_infinity(student, vocab, seed):
    """Far up, far down, far apart, and some ruled out."""
    logits, targets = normal(seed, 6, vocab), ids(seed, vocab, 6)
    ruled_out = torch.rand(6, vocab, generator=torch.Generator().manual_seed(seed)) < 0.5
    ruled_out.scatter_(-1, targets[:, None], False)
    cases = {"large": logits * 1000, "far up": logits + 1e5, "far down": logits - 1e5}
    for what, x in (cases | {"partly -inf": logits.masked_fill(ruled_out, -INF)}).items():
        actual = student.cross_entropy_gradient(x, targets)
        assert_close(actual, gradient_of(x, targets), what=f"the gradient of logits that are {what}", atol=1e-10)


@exercise("cross_entropy_gradient", points=0.5)
@given(seed=seeds())
@settings(max_examples=2)
def test_the_gradient_has_the_dtype_of_the_logits_and_halves_are_computed_in_float32(student, seed):
    """float64 and float32 as they are; for half precision only the result is rounded; any layout of memory will do."""
    for dtype in (torch.float64, torch.float32):
        logits, targets = normal(seed, 5, 2, 7, dtype=dtype), ids(seed, 7, 5, 2)
        expected = gradient_of(logits, targets).to(dtype)
        assert_close(student.cross_entropy_gradient(logits, targets), expected, what="the gradient", rtol=1e-5, atol=1e-7)
        assert_close(
            student.run(strided, "cross_entropy_gradient", (logits, targets)), expected, what="the gradient", atol=1e-7
        )
    for dtype, shift in ((torch.float16, 0.0), (torch.bfloat16, 0.0), (torch.bfloat16, 60.0)):
        logits, targets = half_case(dtype, seed, shift=shift)
        logits += 4 * F.one_hot(targets, 7).to(dtype)  # probabilities near 1, whose distance from 1 halves cannot tell
        expected, step = gradient_of(logits, targets).to(dtype), torch.finfo(dtype).eps
        hint = "logits.float() first, and .to(logits.dtype) for the result"
        actual = student.cross_entropy_gradient(logits, targets)
        assert_close(actual, expected, what="the gradient", hint=hint, rtol=1.01 * step, atol=1e-7)
        if not shift:  # where float32 is exact enough to tell one rounding from two
            exact, what = gradient_of(logits, targets), f"the gradient in {dtype}, against what it is before it is rounded"
            hint = "divide in float32, and round once, in the end"
            assert_close(actual.double(), exact, what=what, hint=hint, rtol=0.51 * step, atol=1e-7)
    logits, targets = normal(seed, 3, 600).to(torch.bfloat16), torch.tensor([257, 599, 0])
    expected, actual = gradient_of(logits, targets).to(torch.bfloat16), student.cross_entropy_gradient(logits, targets)
    what, hint = "the gradient by bfloat16 logits of 600 tokens", "tokens are int64: in bfloat16 257 is 256"
    assert_close(actual, expected, what=what, hint=hint, rtol=1.01 * step, atol=1e-7)


@exercise("cross_entropy_gradient", points=0.5)
def test_the_gradient_leaves_other_graphs_alone_and_is_empty_for_no_targets(student):
    """Logits that came out of a graph can still be differentiated; no rows give no rows."""
    logits, targets = normal(3, 4, 5, scale=0.3), ids(3, 5, 4)
    own = logits.clone().requires_grad_()
    expected = torch.autograd.grad((own * 1.5).exp().square().sum(), own)[0]
    actual = student.run(scenarios.within_a_graph, logits, targets)
    assert_close(actual, expected, what="the gradient of something else", hint="nothing in place on what you were given")
    for shape in ((0,), (0, 3), (2, 0)):
        empty = student.cross_entropy_gradient(normal(1, *shape, 5), ids(1, 5, *shape))
        assert_close(empty, torch.zeros(*shape, 5, dtype=torch.float64), what=f"the gradient for targets of shape {shape}")


@exercise("cross_entropy_gradient", points=0.5)
def test_targets_of_another_shape_or_outside_the_vocabulary_are_refused_by_the_gradient(student):
    """As the loss refuses them."""
    refuses_bad_targets(student.cross_entropy_gradient)
