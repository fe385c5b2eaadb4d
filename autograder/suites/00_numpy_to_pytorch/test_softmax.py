"""Hidden tests: logsumexp and softmax, the exercises about exponentials."""

import torch

from autograder.testing import assert_close, assert_equal, assert_inputs_untouched, exercise
from autograder.testing.hints import if_nan, unless_finite
from autograder.testing.probes import strided
from autograder.testing.strategies import composite, example, given, normal, seeds, settings, sizes, st

from . import scenarios
from .cases import CUT_OFF, assert_in_turn, require, slices

INF = float("inf")
LOG_SUM_EXP = "log(sum(exp(x))) along dim, which disappears from the shape"
OWN_MAXIMUM = "rows near -2000, 0 and 2000 have a largest entry each: take it along dim, not of everything"
# float32 has no digits left for exp(x - logsumexp(x)) near 1000.
OFFSETS = st.sampled_from([(torch.float64, 0.0), (torch.float64, 1000.0), (torch.float64, -1000.0), (torch.float32, 0.0)])
HALF = {torch.float16: 2**-10, torch.bfloat16: 2**-7}  # the distance from 1 to the next number


@composite
def holed(draw):
    """(x, dim, empty): `empty` marks, with dim kept, the slices that hold nothing but -inf; at least one of them."""
    x, dim = draw(slices())
    x = x.movedim(dim, 0).contiguous()
    x = x.masked_fill(torch.rand(x.shape, generator=torch.Generator().manual_seed(draw(seeds()))) < 0.4, -INF)
    x.view(len(x), -1)[:, 0] = -INF
    x = x.movedim(0, dim).contiguous()
    return x, dim, (x == -INF).all(dim, keepdim=True)


ONE_EMPTY = (torch.tensor([[-INF, -INF, -INF], [0.5, -INF, 1.5]], dtype=torch.float64), 1, torch.tensor([[True], [False]]))


@exercise("logsumexp", points=4, core=True)
@given(case=slices())
def test_logsumexp_is_the_log_of_the_sum_of_exponentials(student, reference, case):
    """Over any dimension, counted from the front or the end, which the result no longer has."""
    x, dim = case
    expected = x.exp().sum(dim).log()
    assert_close(reference.logsumexp(x, dim), expected)
    assert_close(student.logsumexp(x, dim), expected, f"the logsumexp over dim {dim}", LOG_SUM_EXP)


@exercise("logsumexp", points=2)
@settings(max_examples=25)
@given(
    case=slices(),
    spread=st.sampled_from([1.0, 300.0]),
    offset=st.sampled_from([800.0, -800.0, 1e5, -1e5, 1e300, -1e300]),
)
def test_logsumexp_of_large_values_does_not_overflow(student, case, spread, offset):
    """exp of 800 is infinite and exp of -800 is 0, and neither may show in the result, however far entries are apart."""
    x, dim = case
    x = spread * x + offset
    actual = student.logsumexp(x, dim)
    hint = unless_finite("take each slice's largest entry out before exp, and add it back after log", actual)
    assert_close(actual, torch.logsumexp(x, dim), f"the logsumexp near {offset:g}", hint)
    x = x - x.amax(dim, keepdim=True)
    hint = "exp of an entry far below the largest is 0 as it is: clamp no entry, and add no small number"
    assert_close(student.logsumexp(x, dim), torch.logsumexp(x, dim), "the logsumexp of slices whose largest entry is 0", hint)


@exercise("logsumexp", points=1)
@settings(max_examples=5)
@given(n=sizes(2, 5), seed=seeds())
def test_each_slice_has_its_own_largest_entry(student, n, seed):
    """Rows of very different size do not disturb each other: one maximum for the whole tensor is not enough."""
    x = normal(seed, 3, n) + torch.tensor([[-2000.0], [0.0], [2000.0]], dtype=torch.float64)
    actual = student.logsumexp(x, 1)
    assert_close(actual, torch.logsumexp(x, 1), "the logsumexp of three rows", unless_finite(OWN_MAXIMUM, actual))


@exercise("logsumexp", points=2)
@settings(max_examples=24)
@given(case=holed(), offset=st.sampled_from([0.0, 1e5, -1e5, -1e300]))
def test_infinitely_small_entries_count_as_nothing(student, case, offset):
    """-inf adds nothing to the sum, however small the others are, and a slice of nothing but -inf gives -inf, never NaN."""
    x, dim = case[0] + offset, case[1]
    actual = student.logsumexp(x, dim)
    hint = if_nan("-inf - (-inf) is NaN: where the largest entry is -inf, take out 0", actual)
    assert_close(actual, torch.logsumexp(x, dim), "the logsumexp with -inf entries", hint)
    assert_inputs_untouched(student)


@exercise("logsumexp", points=2)
@settings(max_examples=22)
@given(case=holed(), near=OFFSETS, seed=seeds())
def test_the_gradient_of_logsumexp_is_the_softmax(student, case, near, seed):
    """Its gradient is the softmax, of large values too; at -inf it is 0, and on slices of nothing but -inf it is finite."""
    (dtype, offset), (x, dim, empty) = near, case
    x = (x + offset).to(dtype)
    cotangent = normal(seed, *x.sum(dim, keepdim=True).shape, dtype=dtype).squeeze(dim)
    actual = student.run(scenarios.gradient, "logsumexp", [x, dim], cotangent)
    check_gradient(actual, torch.softmax(x, dim) * cotangent.unsqueeze(dim), empty, lambda: student.logsumexp(x, dim))


@exercise("logsumexp", points=1)
def test_logsumexp_keeps_dtype_and_input(student, generator):
    """float32 and half precision stay what they are, in any memory layout; no slices give no sums; only the result is new."""
    check_low_entries(student, "logsumexp", torch.logsumexp)
    for dtype in (torch.float32, *HALF):
        # Near 100, whose exp no dtype but float64 can hold.
        check_dtype_and_input(student, "logsumexp", (normal(generator, 4, 5) + 100).to(dtype), torch.logsumexp)
    check_empty_and_in_turn(student, "logsumexp", torch.logsumexp, generator)


@exercise("softmax", points=4, core=True)
@given(case=slices())
def test_softmax_divides_exponentials_by_their_sum(student, reference, case):
    """Over any dimension, counted from the front or the end."""
    x, dim = case
    expected = x.exp() / x.exp().sum(dim, keepdim=True)
    assert_close(reference.softmax(x, dim), expected)
    assert_close(student.softmax(x, dim), expected, f"the softmax over dim {dim}", "exp(x) / its sum along dim")


@exercise("softmax", points=2)
@given(
    case=slices(), spread=st.sampled_from([10.0, 300.0]), offset=st.sampled_from([800.0, -800.0, 1e4, -1e4, 1e5, -1e5])
)
def test_softmax_of_large_values_does_not_overflow(student, case, spread, offset):
    """Adding the same number to all entries changes nothing, however large it is and however far they are apart."""
    x, dim = case
    x = spread * x + offset
    actual = student.softmax(x, dim)
    hint = unless_finite("subtract each slice's largest entry before exp", actual)
    assert_close(actual, torch.softmax(x, dim), f"the softmax near {offset:g}", hint)


@exercise("softmax", points=1)
@settings(max_examples=5)
@given(n=sizes(2, 5), seed=seeds())
def test_each_row_is_normalised_on_its_own(student, n, seed):
    """Rows of very different size do not disturb each other: one maximum for the whole tensor is not enough."""
    x = normal(seed, 3, n) + torch.tensor([[-2000.0], [0.0], [2000.0]], dtype=torch.float64)
    actual = student.softmax(x, 1)
    assert_close(actual, torch.softmax(x, 1), "the softmax of three rows", unless_finite(OWN_MAXIMUM, actual))


@exercise("softmax", points=2)
@settings(max_examples=24)
@given(case=holed(), offset=st.sampled_from([0.0, 1e5, -1e5]))
def test_slices_of_nothing_but_minus_infinity_give_zeros(student, case, offset):
    """-inf gets weight 0; a slice of nothing else gives zeros and not NaN; all other slices sum to 1."""
    x, dim, empty = case[0] + offset, *case[1:]
    expected = torch.softmax(x, dim).masked_fill(empty, 0.0)
    actual = student.softmax(x, dim)
    assert_inputs_untouched(student)
    hint = if_nan("-inf - (-inf) and 0 / 0 are NaN; exp(-inf) is 0 as it is", actual)
    assert_close(actual, expected, "the softmax with -inf entries", hint)
    assert_equal(actual == 0, x == -INF, "where the softmax is exactly 0", hint="exactly at the -inf entries")


@exercise("softmax", points=2)
@settings(max_examples=22)
@given(case=holed(), near=OFFSETS, seed=seeds())
@example(case=ONE_EMPTY, near=(torch.float64, 1000.0), seed=0)
def test_the_gradient_of_softmax_is_finite_everywhere(student, case, near, seed):
    """The gradient is torch.softmax's, of large values too, and finite on slices of nothing but -inf."""
    (dtype, offset), (x, dim, empty) = near, case
    x, cotangent = (x + offset).to(dtype), normal(seed, *x.shape, dtype=dtype)
    weights = torch.softmax(x, dim)
    expected = weights * (cotangent - (weights * cotangent).sum(dim, keepdim=True))
    actual = student.run(scenarios.gradient, "softmax", [x, dim], cotangent)
    check_gradient(actual, expected, empty, lambda: student.softmax(x, dim))


@exercise("softmax", points=1)
def test_softmax_keeps_dtype_and_input(student, generator):
    """float32 and half precision stay what they are, in any memory layout; no slices give no sums; only the result is new."""
    check_low_entries(student, "softmax", torch.softmax)
    for dtype in (torch.float32, *HALF):
        shift = 0 if dtype in HALF else 100  # half precision has no digits left for exp(x - logsumexp(x)) there
        check_dtype_and_input(student, "softmax", (normal(generator, 4, 5) + shift).to(dtype), torch.softmax)
    check_empty_and_in_turn(student, "softmax", torch.softmax, generator)


def check_gradient(actual, expected, empty, again):
    """The expected gradient, and anything finite on empty slices; `again` makes the call itself."""
    if actual is None and empty.all():
        return  # a constant has no gradient, and -inf everywhere may well give one
    require(actual is not None, f"no gradient flows\n  hint: {CUT_OFF}")
    (gradient,) = actual
    infinite = ~gradient.isfinite()
    if infinite.any():
        value = again()
        there = ", all of them on slices of nothing but -inf" * (not bool((infinite & ~empty).any()))
        hint = "keep log(0) and 0 / 0 away, also where their value is replaced afterwards" * bool(there)
        hint = if_nan("the result has NaN in it already", value) or hint
        message = f"the gradient is not finite in {int(infinite.sum())} of {gradient.numel()} values{there}"
        raise AssertionError(message + f"\n  hint: {hint}" * bool(hint))
    assert_close(gradient.masked_fill(empty, 0.0), expected.masked_fill(empty, 0.0), "the gradient of x")


def check_dtype_and_input(student, name, x, truth):
    """The dtype is x's, for contiguous and strided x; x is untouched; half precision may differ by a few roundings."""
    tolerance = {"rtol": 4 * HALF[x.dtype], "atol": 4 * HALF[x.dtype]} if x.dtype in HALF else {}
    expected = truth(x.double(), 0).to(x.dtype)
    assert_close(getattr(student, name)(x, 0), expected, f"the {name} of {x.dtype}", **tolerance)
    assert_inputs_untouched(student)
    assert_close(student.run(strided, name, [x, 0]), expected, f"the {name} of a strided x", **tolerance)
    if x.dtype in HALF:
        check_empty_slice_in_half(student, name, x, truth)


def check_empty_slice_in_half(student, name, x, truth):
    """Value and gradient where the first slice holds nothing but -inf."""
    room = {"rtol": 8 * HALF[x.dtype], "atol": 8 * HALF[x.dtype]}
    x = x.clone()
    x[:, 0] = -INF
    expected = truth(x.double(), 0).nan_to_num(0.0, neginf=-INF)
    actual = getattr(student, name)(x, 0)
    hint = if_nan("in float16 1e-12 is 0 and -1e30 is -inf: guard with a number of x's dtype, and ask for -inf itself", actual)
    assert_close(actual, expected.to(x.dtype), f"the {name} in {x.dtype}, one slice nothing but -inf", hint, **room)
    cotangent = normal(1, *expected.shape, dtype=x.dtype)
    actual = student.run(scenarios.gradient, name, [x, 0], cotangent)
    require(actual is not None, f"no gradient flows in {x.dtype}\n  hint: {CUT_OFF}")
    message = f"the gradient in {x.dtype} is not finite where a slice holds nothing but -inf"
    hint = {
        "logsumexp": "1e-30 is 0 in float16, and the slope of log there is infinite",
        "softmax": "1 / 1e-6 is infinite in float16: a guard against 0 has to be a number of a usual size, 1 say",
    }[name]
    require(actual[0].isfinite().all(), f"{message}\n  hint: {hint}")
    others = x[:, 1:].double().requires_grad_()
    (expected,) = torch.autograd.grad(truth(others, 0), others, cotangent[..., 1:].double())
    assert_close(actual[0][:, 1:], expected.to(x.dtype), f"the gradient in {x.dtype}", **room)


def check_low_entries(student, name, truth):
    """Entries far below 0, or far below the largest, are numbers like any others."""
    x = torch.tensor([[low, -INF] for low in (-1e10, -1e300, torch.finfo(torch.float64).min)], dtype=torch.float64)
    hint = "-inf alone counts as nothing: a very low entry is a number like any other"
    assert_close(getattr(student, name)(x, 1), truth(x, 1), f"the {name} of a very low entry beside one of -inf", hint)
    x = torch.tensor([0.0] + 300 * [-20.5], dtype=torch.float64)
    hint = "300 times exp(-20.5) is no small matter in float64: leave no entry out"
    assert_close(getattr(student, name)(x, 0), truth(x, 0), f"the {name} of 0 and 300 times -20.5", hint)


def check_empty_and_in_turn(student, name, truth, generator):
    """Where another dimension has size 0, so has the result; two calls do not disturb each other, or anything else."""
    for shape, dim in (((0, 3), -1), ((3, 0), 0)):
        x = torch.zeros(shape, dtype=torch.float64)
        assert_equal(getattr(student, name)(x, dim), truth(x, dim), f"the {name} of a tensor of shape {shape}")
    x, other = normal(generator, 2, 3), normal(generator, 2, 3)
    actual = student.run(scenarios.in_turn, name, [x, 1], [other, 1])
    assert_in_turn(actual, truth(x, 1), truth(x.flip(0), 1), f"the {name}")
    x = normal(generator, 4, 1)
    hint = "exp(0) is the whole sum here: add no small number to it"
    assert_close(getattr(student, name)(x, 1), truth(x, 1), f"the {name} of slices of one entry", hint, rtol=1e-14, atol=1e-14)
