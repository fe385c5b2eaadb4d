"""Hidden tests: broadcast_shape and batched_matmul, the exercises about shapes."""

import types

import numpy as np
import torch

from autograder.testing import assert_close, assert_equal, assert_inputs_untouched, assert_refused, exercise
from autograder.testing.probes import strided
from autograder.testing.strategies import (
    broadcastable,
    composite,
    example,
    given,
    leading_shapes,
    normal,
    seeds,
    settings,
    sizes,
    st,
)

from . import scenarios
from .cases import SHAPES, assert_in_turn, if_cut_off, require

DTYPES = "the dtype is that of a and b; sum turns int32 into int64 unless it is told, sum(..., dtype=a.dtype)"
TORCH = types.SimpleNamespace(batched_matmul=torch.matmul)


@composite
def compatible(draw, largest=4):
    """Two shapes that broadcast to a third, sizes of 0 and different lengths among them."""
    shape = draw(st.lists(st.integers(0, largest), max_size=4).map(tuple))
    return draw(broadcastable(shape)), draw(broadcastable(shape))


@composite
def incompatible(draw):
    """Two shapes that differ in one aligned dimension where neither is 1; all others would broadcast."""
    size, other = draw(st.lists(st.sampled_from([0, 2, 3, 4, 6]), min_size=2, max_size=2, unique=True))
    (a_lead, b_lead), tail = draw(compatible()), draw(SHAPES)
    a_tail, b_tail = (tuple(draw(st.sampled_from([n, 1])) for n in tail) for _ in range(2))
    return (*a_lead, size, *a_tail), (*b_lead, other, *b_tail)


@exercise("broadcast_shape", points=4, core=True)
@given(shapes=compatible())
@example(shapes=((2, *[1] * 11), (3,)))
def test_the_shape_is_the_one_that_numpy_gives(student, reference, shapes):
    """Any two compatible shapes, of any lengths and with sizes of 0 and 1, give NumPy's shape, in either order."""
    a, b = shapes
    expected = tuple(np.broadcast_shapes(a, b))
    assert_equal(reference.broadcast_shape(a, b), expected)
    assert_equal(student.broadcast_shape(a, b), expected, f"the shape of {a} with {b}")
    assert_equal(student.broadcast_shape(b, a), expected, f"the shape of {b} with {a}")


@exercise("broadcast_shape", points=3)
@given(shapes=incompatible())
def test_shapes_that_do_not_fit_are_refused(student, shapes):
    """Two aligned sizes that differ are refused unless one of them is 1; a multiple or a 0 is no exception."""
    a, b = shapes
    assert_refused(student.broadcast_shape, a, b, why="two aligned sizes differ and neither is 1")
    assert_refused(student.broadcast_shape, b, a, why="two aligned sizes differ and neither is 1")


@exercise("broadcast_shape", points=1)
@settings(max_examples=8)
@given(size=sizes(2, 5), tail=SHAPES)
def test_a_size_of_one_yields_to_zero(student, size, tail):
    """1 against 0 gives 0; the larger size is not always the answer, and 0 against anything else is an error."""
    for a, b in ((1, 0), (0, 1)):
        actual = student.broadcast_shape((a, *tail), (b, *tail))
        assert_equal(actual, (0, *tail), f"the shape of {(a, *tail)} with {(b, *tail)}")
    assert_refused(student.broadcast_shape, (0, *tail), (size, *tail), why=f"0 and {size} differ and neither is 1")


@exercise("broadcast_shape", points=1)
@settings(max_examples=10)
@given(shapes=compatible())
def test_the_result_is_a_tuple_as_every_shape_is(student, shapes):
    """The result can be compared with x.shape: it is a tuple and not a list."""
    a, b = shapes
    actual = student.broadcast_shape(a, b)
    kind = type(actual).__name__
    require(isinstance(actual, tuple), f"the result should be a tuple, as x.shape is, and not a {kind}")
    kinds = student.run(scenarios.kinds_of_sizes, a, b)
    assert_equal(kinds, ["int"] * len(actual), "the types of the sizes", "Python's own ints, as in x.shape")
    assert_equal(actual, tuple(np.broadcast_shapes(a, b)), f"the shape of {a} with {b}")


@exercise("broadcast_shape", points=1, core=True)
@settings(max_examples=6)
@given(shapes=compatible())
@example(shapes=((3, 1, 3, 1), (3, 3, 3)))
def test_shapes_are_worked_out_without_making_arrays(student, shapes):
    """Shapes of more elements than any memory holds are no problem: only the sizes are looked at."""
    a, b = (tuple(size * 10**6 if size > 1 else size for size in shape) for shape in shapes)
    expected = tuple(size * 10**6 if size > 1 else size for size in np.broadcast_shapes(*shapes))
    actual = student.broadcast_shape(a, b)
    hint = ""
    if actual != expected and student.broadcast_shape(*shapes) == tuple(np.broadcast_shapes(*shapes)):
        hint = f"{shapes[0]} with {shapes[1]} is right, so size matters: are sizes compared with ==, not with is?"
    assert_equal(actual, expected, f"the shape of {a} with {b}", hint)


@composite
def matmul_cases(draw, smallest=1, dtype=torch.float64):
    """(a, b): matrices (n, k) and (k, m) under leading dimensions that broadcast."""
    lead = draw(leading_shapes())
    n, k, m = (draw(sizes(smallest, 6)) for _ in range(3))
    seed = draw(seeds())
    a = normal(seed, *draw(broadcastable(lead)), n, k, dtype=dtype)
    return a, normal(seed + 1, *draw(broadcastable(lead)), k, m, dtype=dtype)


@exercise("batched_matmul", points=5, core=True)
@given(case=matmul_cases())
def test_products_are_those_of_torch_matmul(student, reference, case):
    """Every matrix of the broadcast batch is the product of its two matrices, whatever n, k and m."""
    a, b = case
    expected = torch.matmul(a, b)
    assert_close(reference.batched_matmul(a, b), expected)
    hint = "sum over the last dimension of a and the second to last of b; leading dimensions broadcast from the right"
    assert_close(student.batched_matmul(a, b), expected, "the product", hint)


@exercise("batched_matmul", points=2)
@settings(max_examples=15)
@given(data=st.data(), empty=st.sampled_from("nkm"), seed=seeds())
def test_sizes_of_zero_and_one_are_sizes_too(student, data, empty, seed):
    """Nothing to sum gives zeros; no rows, no columns or no batch gives an empty product; sums and batches have any size."""
    n, k, m = (0 if name == empty else data.draw(sizes(1, 3)) for name in "nkm")
    lead = data.draw(st.lists(st.integers(0, 2), max_size=2).map(tuple))
    a, b = normal(seed, *lead, n, k), normal(seed + 1, *lead, k, m)
    hint = "the sum of no products is 0" * (empty == "k")
    assert_close(student.batched_matmul(a, b), torch.matmul(a, b), "the product", hint)
    for lead_a, lead_b, sizes_here in (((2, 1, 2, 1), (3, 1, 2), (n, k, m)), ((3,), (3,), (1, 1, 1))):
        a, b = normal(seed, *lead_a, *sizes_here[:2]), normal(seed + 1, *lead_b, *sizes_here[1:])
        assert_close(student.batched_matmul(a, b), torch.matmul(a, b), "the product", "any number of leading dimensions")
    a, b = normal(seed, 2, 129), normal(seed + 1, 129, 2)
    assert_close(student.batched_matmul(a, b), torch.matmul(a, b), "the product of (2, 129) and (129, 2)", "all of k is summed")


@exercise("batched_matmul", points=2)
@settings(max_examples=20)
@given(case=matmul_cases(), seed=seeds())
def test_gradients_reach_both_factors(student, case, seed):
    """The gradients of a and b are those of torch.matmul, summed over dimensions that were broadcast."""
    a, b = case
    cotangent = normal(seed, *torch.matmul(a, b).shape)
    expected = scenarios.gradient(TORCH, "batched_matmul", [a, b], cotangent, (0, 1))
    actual = student.run(scenarios.gradient, "batched_matmul", [a, b], cotangent, (0, 1))
    assert_close(actual, expected, "the gradients of (a, b)", if_cut_off(actual))
    for i in (0, 1):  # where only one of the two requires a gradient
        alone = student.run(scenarios.gradient, "batched_matmul", [a, b], cotangent, (i,))
        assert_close(alone, expected[i : i + 1], f"the gradient of {'ab'[i]} alone", "both factors can be trained")
    zeros = [torch.zeros_like(a), b]
    expected = scenarios.gradient(TORCH, "batched_matmul", zeros, cotangent, (0, 1))
    actual = student.run(scenarios.gradient, "batched_matmul", zeros, cotangent, (0, 1))
    hint = if_cut_off(actual, "a factor of zeros takes part in the graph as any other: it may be trained, and change")
    assert_close(actual, expected, "the gradients of (a, b) where a is all zeros", hint)
    a, b, cotangent = a.round(), b.round(), cotangent.round()  # small whole numbers, whose sums are exact
    expected = scenarios.gradient(TORCH, "batched_matmul", [a, b], cotangent, (0, 1))
    for dtype in (torch.float32, torch.float16):
        low = [x.to(dtype) for x in (a, b)]
        actual = student.run(scenarios.gradient, "batched_matmul", low, cotangent.to(dtype), (0, 1))
        what = f"the gradients of (a, b) in {dtype}"
        assert_close(actual, [x.to(dtype) for x in expected], what, if_cut_off(actual), rtol=2e-3, atol=2e-3)


@exercise("batched_matmul", points=1)
@settings(max_examples=5)
@given(case=matmul_cases())
def test_the_product_keeps_the_dtype(student, case):
    """float32 factors give a float32 product, int32 ones an int32 one; whole numbers lose no digit, complex ones no sign."""
    # Entries of a and b are of size 10, so products are of size 100, and there are up to six of them.
    room = {torch.float32: 1e-3, torch.float16: 2.0, torch.bfloat16: 16.0, torch.complex128: 1e-9, torch.complex64: 1e-4}
    size = {torch.int64: 2.0**28, torch.complex128: 1 + 2j, torch.complex64: 1 + 2j}
    for dtype in (*room, torch.int64, torch.int32, torch.int16):
        a, b = ((size.get(dtype, 10) * x).to(dtype) for x in case)
        expected = torch.matmul(a.double(), b.double()).to(dtype) if dtype.is_floating_point else torch.matmul(a, b)
        tolerance = {"rtol": 1e-5 if dtype.is_floating_point else 0.0, "atol": room.get(dtype, 0.0)}
        actual = student.batched_matmul(a, b)
        hint = DTYPES * (getattr(actual, "dtype", dtype) != dtype)
        assert_close(actual, expected, f"the product of {dtype}", hint, **tolerance)


@exercise("batched_matmul", points=2)
@settings(max_examples=8)
@given(n=sizes(2, 5), k=sizes(1, 5), m=sizes(2, 5), more=sizes(1, 3), lead=leading_shapes())
def test_inner_sizes_that_differ_are_refused(student, n, k, m, more, lead):
    """k columns against any other number of rows is an error, above all where a 1 would broadcast unseen."""
    for left, right in ((k, k + more), (k + more, k), (1, 1 + more), (1 + more, 1), (0, 1), (1, 0)):
        a, b = torch.ones(*lead, n, left), torch.ones(*lead, right, m)
        assert_refused(student.batched_matmul, a, b, why=f"{left} columns do not meet {right} rows")


@exercise("batched_matmul", points=2)
@settings(max_examples=7)
@given(case=matmul_cases())
def test_any_memory_layout_gives_the_same_product(student, case):
    """Factors that are not contiguous are multiplied as any others, NaN is passed on, and no factor is changed."""
    a, b = case
    expected = torch.matmul(a, b)
    assert_close(student.run(strided, "batched_matmul", [a, b]), expected, "the product of strided factors")
    a = 1e6 * a
    a[..., 0, 0] = torch.nan
    assert_close(student.batched_matmul(a, b), torch.matmul(a, b), "the product of factors with NaN in them")
    assert_inputs_untouched(student)
    actual = student.run(scenarios.in_turn, "batched_matmul", case, [2 * x for x in case])
    assert_in_turn(actual, expected, torch.matmul(case[0].flip(0), b), "the product")
