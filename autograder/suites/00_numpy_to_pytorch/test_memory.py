"""Hidden tests: as_tensor and sliding_windows, the exercises about memory."""

import torch

from autograder.testing import assert_close, assert_equal, assert_inputs_untouched, assert_refused, exercise
from autograder.testing.strategies import example, given, leading_shapes, normal, seeds, settings, sizes, st

from . import scenarios
from .cases import FULL_SHAPES, LEFT_ALONE, SHAPES, assert_in_turn, if_cut_off, numbers, windows

DTYPES = [
    torch.float64, torch.float32, torch.float16, torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8,
    torch.uint16, torch.uint32, torch.uint64, torch.bool, torch.complex64, torch.complex128,
]  # fmt: skip
SHAREABLE = st.sampled_from(["plain", "fortran", "transposed", "strided", "offset"])
LAYOUTS = st.sampled_from(
    ["plain", "fortran", "transposed", "strided", "offset", "reversed", "reversed_first", "reversed_last"]
)
ROWS = st.lists(st.integers(1, 4), min_size=1, max_size=3).map(tuple)  # not (): torch.asarray copies 0-d arrays
TENSOR_LAYOUTS = st.sampled_from(["plain", "transposed", "strided", "offset"])


@exercise("as_tensor", points=3, core=True)
@given(shape=SHAPES, layout=LAYOUTS, dtype=st.sampled_from(DTYPES), seed=seeds())
@example(shape=(3, 2), layout="reversed_first", dtype=torch.float32, seed=0)
@example(shape=(2, 3), layout="reversed_last", dtype=torch.complex128, seed=0)
@example(shape=(), layout="plain", dtype=torch.bool, seed=0)
def test_the_tensor_has_the_shape_dtype_and_values_of_the_array(student, shape, layout, dtype, seed):
    """Arrays of every supported dtype, 0-d and empty ones, in any memory layout, keep shape, dtype and values."""
    values = numbers(seed, shape, dtype)
    hint = "dtype, shape and order are the array's own; negative strides need a copy"
    assert_equal(student.run(scenarios.converted, values, layout), values, f"the tensor of a {layout} array", hint)


@exercise("as_tensor", points=4)
@given(shape=ROWS, layout=SHAREABLE, dtype=st.sampled_from(DTYPES), seed=seeds())
@example(shape=(2, 2), layout="strided", dtype=torch.float32, seed=0)
@example(shape=(40, 50), layout="strided", dtype=torch.float32, seed=0)
@example(shape=(4, 5), layout="transposed", dtype=torch.bool, seed=0)
def test_array_and_tensor_share_memory_whatever_the_strides(student, shape, layout, dtype, seed):
    """Writing to the array shows in the tensor, and the other way round, for every dtype and non-negative stride."""
    values, first, second = (numbers(seed + i, shape, dtype) for i in range(3))
    actual = student.run(scenarios.written_both_ways, values, layout, first, second)
    hint = "share memory; copy only where PyTorch cannot describe the array's memory"
    assert_equal(actual, (first, second), f"(tensor, {layout} array) after writing to the other", hint)
    values, first, second = (x[:1].expand(shape).clone() for x in (values, first, second))
    actual = student.run(scenarios.written_both_ways, values, "repeated", first, second)
    assert_equal(actual, (first, second), "(tensor, array) with a stride of 0, after writing to the other", hint)


@exercise("as_tensor", points=1)
def test_arrays_without_a_dtype_in_pytorch_are_refused(student):
    """Objects, strings, dates and long doubles have no tensor: they are refused and not converted to something else."""
    for values, kind in (
        ([1, 2], "object"), (["1", "2"], "U3"), (["1", "2"], "S3"), (["2020-01-01"], "datetime64[s]"),
        ([1, 2], "timedelta64[s]"), ([1.5], "longdouble"), ([1.5], "clongdouble"), ([(1, 2.0)], "i4, f4"),
    ):  # fmt: skip
        why = f"PyTorch has no dtype for {kind}"
        assert_refused(student.run, scenarios.as_tensor_of_an_array, values, kind, why=why, error="a TypeError")


@exercise("as_tensor", points=1)
@settings(max_examples=15)
@given(shape=FULL_SHAPES, layout=LAYOUTS, seed=seeds())
def test_the_array_is_left_as_it_is(student, shape, layout, seed):
    """The array keeps its values, a read-only array stays read-only, and each call reads the array as it is then."""
    values = numbers(seed, shape)
    assert_equal(student.run(scenarios.array_after, values, layout), values, f"the {layout} array after the call")
    actual = student.run(scenarios.read_only, values)
    assert_equal(actual[0], values, "the tensor of a read-only array")
    assert_equal(actual[1], False, "whether the read-only array has become writable")
    hint = "which warnings are shown is the program's business: with warnings.catch_warnings() all is put back"
    assert_equal(actual[2], True, "whether the filters of warnings are as before the call", hint)
    new = numbers(seed + 1, shape)
    actual = student.run(scenarios.converted_twice, values, "reversed", new)
    assert_equal(actual[0], values, "the tensor of a reversed array")
    hint = "nothing is kept from one call to the next"
    assert_equal(actual[1], new, "the tensor of that array once it was written to", hint)
    assert_equal(actual[2], [], "what else the calls changed", LEFT_ALONE)


@exercise("as_tensor", points=1)
@given(
    shape=FULL_SHAPES,
    kind=st.sampled_from(["byte order", "uneven strides"]),
    dtype=st.sampled_from([torch.float64, torch.int32, torch.complex64]),
    seed=seeds(),
)
def test_unusual_memory_is_never_misread(student, shape, kind, dtype, seed):
    """Foreign byte order and strides between elements: right values or an error, never garbage."""
    values = numbers(seed, shape, dtype)
    actual = student.run(scenarios.odd_memory, values, kind)
    if not isinstance(actual, str):
        assert_equal(actual, values, f"the tensor of an array with unusual {kind}")


def windows_by_hand(x, size, step):
    """The windows one by one."""
    starts = range(0, x.shape[-1] - size + 1, step)
    return torch.stack([x[..., start : start + size] for start in starts], dim=-2)


@exercise("sliding_windows", points=3, core=True)
@given(case=windows())
def test_windows_hold_the_right_neighbours(student, case):
    """Window i holds size neighbours from i * step on, along the last dimension, and only whole windows count."""
    x, size, step = case
    actual = student.sliding_windows(x, size, step)
    assert_equal(actual, windows_by_hand(x, size, step), f"the windows of size {size}, step {step}")
    assert_inputs_untouched(student)
    assert_equal(student.sliding_windows(x, size), windows_by_hand(x, size, 1), "the windows with the default step")


@exercise("sliding_windows", points=3)
@settings(max_examples=7)
@given(case=windows(1), layout=TENSOR_LAYOUTS, seed=seeds())
@example(case=(normal(1, 2, 3, 4), 2, 1), layout="transposed", seed=1)
@example(case=(normal(2, 2, 1, 2, 3), 2, 1), layout="strided", seed=2)
def test_windows_share_the_memory_of_x(student, case, layout, seed):
    """Writing to x shows in the windows, and writing to a window shows in x, whatever x's dtype; nothing else is changed."""
    hint = "a view has its own shape and strides over the same memory; indexing with tensors and stack copy"
    for dtype in (torch.float64, torch.float32, torch.bfloat16, torch.complex64, torch.int64):
        x, size, step = case[0].mul(10).to(dtype), *case[1:]
        new = normal(seed, *x.shape, scale=10).to(dtype)
        after = new.clone()
        after[..., :size] += 1
        actual = student.run(scenarios.windows_after_writing, x, layout, size, step, new)
        expected = windows_by_hand(new, size, step), after
        assert_equal(actual, expected, f"(windows, x) of {dtype} after writing to the other", hint)
    z = torch.complex(normal(seed, 6), normal(seed + 1, 6))
    actual = student.run(scenarios.windows_of_conjugates, z, 2)
    expected = [windows_by_hand(x.resolve_conj().resolve_neg(), 2, 1) for y in (z, z + 1 + 2j) for x in (y.conj(), y.conj().imag)]
    hint = "both share z's memory and read it with another sign, as their windows have to: x.as_strided keeps that"
    assert_equal(actual, expected, "the windows of z.conj() and z.conj().imag, before and after z was written to", hint)
    x, other = normal(seed, 3, 5), normal(seed + 1, 3, 5)
    actual = student.run(scenarios.in_turn, "sliding_windows", [x, 2], [other, 3])
    expected = windows_by_hand(x, 2, 1), windows_by_hand(x.flip(0), 2, 1)
    assert_in_turn(actual, *expected, "the windows", rtol=0.0, atol=0.0)


@exercise("sliding_windows", points=2)
@settings(max_examples=20)
@given(lead=leading_shapes(), length=sizes(1, 9), layout=TENSOR_LAYOUTS, seed=seeds(), data=st.data())
def test_windows_follow_any_strides_and_offset(student, lead, length, layout, seed, data):
    """x may be transposed, strided, expanded, or begin in the middle of its memory."""
    x = normal(seed, *lead, length)
    size, step = data.draw(st.integers(1, length)), data.draw(st.integers(1, 3))
    hint = "ask x.stride() and x.storage_offset()"
    actual = student.run(scenarios.windows_of, x, layout, size, step)
    assert_equal(actual, windows_by_hand(x, size, step), f"the windows of a {layout} x", hint)
    row = normal(seed + 1, length)
    before, after = (windows_by_hand(x.expand(3, -1), size, 1) for x in (row, row + 1))
    for recorded, when in ((True, ""), (False, ", under torch.no_grad()")):
        actual = student.run(scenarios.windows_of_expanded, row, 3, size, recorded)
        assert_equal(actual[0], before, f"the windows of an expanded x{when}", hint)
        copied = "a view: nothing is copied"
        assert_equal(actual[1], after, f"the windows of an expanded x after writing to it{when}", copied)
    actual = student.run(scenarios.windows_of_repeated, row, length, size, step)
    expected = windows_by_hand(row.unsqueeze(-1).expand(-1, length), size, step)
    assert_equal(actual, expected, "the windows of an x whose last stride is 0", hint)


@exercise("sliding_windows", points=1)
@settings(max_examples=8)
@given(lead=leading_shapes(), length=sizes(1, 6), data=st.data())
def test_impossible_windows_are_refused(student, lead, length, data):
    """Windows longer than the dimension, and sizes and steps below 1, are refused."""
    x = torch.ones(*lead, length)
    too_long = length + data.draw(st.integers(1, 3))
    below_one = data.draw(st.integers(-2, 0))
    assert_refused(student.sliding_windows, x, too_long, why="the window is longer than the dimension")
    assert_refused(student.sliding_windows, x, below_one, why="a window has at least one element")
    assert_refused(student.sliding_windows, x, 1, below_one, why="windows move forward by at least one")
    assert_refused(student.sliding_windows, torch.ones(*lead, 0), 1, why="nothing fits into an empty dimension")


@exercise("sliding_windows", points=1)
@settings(max_examples=20)
@given(case=windows(1), seed=seeds())
def test_gradients_add_up_where_windows_overlap(student, case, seed):
    """The gradient of an element is the sum over all windows that hold it."""
    x, size, step = case
    cotangent = normal(seed, *windows_by_hand(x, size, step).shape)
    tracked = x.clone().requires_grad_()
    (expected,) = torch.autograd.grad(windows_by_hand(tracked, size, step), tracked, cotangent)
    gradient, windows_of_it = student.run(scenarios.gradient_and_view, x, size, step, cotangent)
    assert_close(gradient, expected, "the gradient of x", if_cut_off([gradient]))
    for dtype in (torch.float32, torch.bfloat16):  # small whole numbers, whose sums are exact
        (expected,) = torch.autograd.grad(windows_by_hand(tracked, size, step), tracked, cotangent.round())
        actual = student.run(scenarios.gradient, "sliding_windows", [x.to(dtype), size, step], cotangent.round().to(dtype))
        assert_equal(actual, [expected.to(dtype)], f"the gradient of x in {dtype}", if_cut_off(actual))
    hint = "an x that requires a gradient is viewed as any other: nothing is copied"
    assert_equal(windows_of_it, windows_by_hand(x + 1, size, step), "the windows after 1 was added to x", hint)
