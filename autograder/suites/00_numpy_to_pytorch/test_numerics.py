"""Hidden tests: pairwise_distances and numerical_gradient, the exercises about rounding."""

import types

import torch

from autograder.testing import assert_close, assert_equal, assert_inputs_untouched, assert_refused, exercise
from autograder.testing.probes import largest_tensor, strided
from autograder.testing.strategies import (
    broadcastable,
    composite,
    float_dtypes,
    given,
    leading_shapes,
    normal,
    seeds,
    settings,
    sizes,
    st,
)

from . import scenarios
from .cases import LEFT_ALONE, SHAPES, assert_in_turn, if_cut_off, numbers, require

TORCH = types.SimpleNamespace(pairwise_distances=torch.cdist)


def by_hand(x, y):
    """Distances from all differences, one pair at a time in memory: the formula that needs no trick."""
    return (x.unsqueeze(-2) - y.unsqueeze(-3)).square().sum(-1).sqrt()


@composite
def point_sets(draw, largest=6):
    """(x, y): sets of n and m points of width d under leading dimensions that broadcast."""
    lead = draw(leading_shapes())
    n, m, d = (draw(sizes(1, largest)) for _ in range(3))
    seed = draw(seeds())
    x = normal(seed, *draw(broadcastable(lead)), n, d)
    return x, normal(seed + 1, *draw(broadcastable(lead)), m, d)


@exercise("pairwise_distances", points=3, core=True)
@given(case=point_sets(), scale=st.sampled_from([1.0, 1e-3]))
def test_distances_are_euclidean(student, reference, case, scale):
    """Every row of x against every row of y, near or far, for any sizes and broadcast leading dimensions."""
    x, y = (scale * points for points in case)
    expected = by_hand(x, y)
    # Squares, because rounding of the squared distance is all that the product formula promises near 0.
    assert_close(reference.pairwise_distances(x, y).square(), expected.square())
    actual = student.pairwise_distances(x, y)
    hint = "|x|^2 + |y|^2 - 2 x.y, then the root"
    assert_close(actual.square(), expected.square(), "the squared distances", hint, atol=2e-12)
    require((actual >= 0).all(), "a distance is negative")


@exercise("pairwise_distances", points=2)
@settings(max_examples=10)
@given(n=sizes(2, 20), d=sizes(), offset=st.sampled_from([0.0, 10.0, 300.0]), seed=seeds())
def test_equal_points_are_at_distance_zero_and_not_nan(student, n, d, offset, seed):
    """Rounding may make the squared distance of equal points negative; its root must not become NaN."""
    x = (normal(seed, n, d) + offset).float()
    actual = student.pairwise_distances(x, x.flip(0))
    hint = "rounding may make the squared distance of equal points a little negative, and its root is NaN"
    require(not actual.isnan().any(), f"NaN among the distances of x and x reversed\n  hint: {hint}")
    room = 16 * d * 2**-23 * float(x.square().max())  # a few roundings of sums of d squares
    expected = by_hand(x.double(), x.flip(0).double()).square().float()
    assert_close(actual.square(), expected, "the squared distances of x and x reversed", atol=room, rtol=2e-5)
    points, other = normal(seed, n, d), normal(seed + 1, n, d)
    near_zero, near_each_other = (1e-9 * points, 1e-9 * other), (points, points + 3e-6 * other)
    hint = "no number is small beside all squares: add nothing, and guard only what is not positive"
    for (x, y), kind in ((near_zero, "points near 0"), (near_each_other, "points near each other")):
        room = 16 * d * 2**-52 * float(x.square().max() + y.square().max())
        actual = student.pairwise_distances(x, y)
        assert_close(actual.square(), by_hand(x, y).square(), f"the squared distances of {kind}", hint, atol=room)


@exercise("pairwise_distances", points=1)
def test_no_intermediate_holds_all_differences(student, generator):
    """The work is a matrix product: no tensor of n * m * d elements is ever made, and nothing else is changed."""
    x, y = normal(generator, 24, 40), normal(generator, 32, 40)
    largest = student.run(largest_tensor, "pairwise_distances", [x, y])
    message = f"a tensor of {largest} elements was made for n = 24, m = 32, d = 40"
    hint = "x[:, None] - y[None] holds n * m * d differences; expand |x - y|^2 instead"
    require(largest < 24 * 32 * 40, f"{message}\n  hint: {hint}")
    largest = student.run(largest_tensor, "pairwise_distances", [x.expand(2, 24, 40), y])
    message = f"a tensor of {largest} elements was made for n = 24, m = 32, d = 40 and 2 batch entries"
    require(largest < 24 * 32 * 40, f"{message}\n  hint: leading dimensions do not change the rule: {hint}")
    many = normal(generator, 128, 512)
    peak = student.measure("pairwise_distances", many, many.flip(0), warm_up=(x, y)).peak_bytes
    message = f"{peak / 2**20:.1f} MB were needed for n = m = 128, d = 512: differences and their squares are 128 MB"
    require(peak < 96 * 2**20, f"{message}\n  hint: NumPy's arrays are memory as well: {hint}")
    actual = student.run(scenarios.in_turn, "pairwise_distances", [x, y], [y[:24], x.repeat(2, 1)[:32]])
    assert_in_turn(actual, by_hand(x, y), by_hand(x.flip(0), y), "the distances", rtol=1e-8)


@exercise("pairwise_distances", points=2)
@settings(max_examples=15)
@given(case=point_sets(4), seed=seeds())
def test_gradients_are_right_and_finite_at_distance_zero(student, case, seed):
    """Gradients agree with cdist's where points are apart, and stay finite where they coincide."""
    x, y = case
    y = y + 7.0  # far enough for the formula to lose no digits
    cotangent = normal(seed, *by_hand(x, y).shape)
    expected = scenarios.gradient(TORCH, "pairwise_distances", [x, y], cotangent, (0, 1))
    actual = student.run(scenarios.gradient, "pairwise_distances", [x, y], cotangent, (0, 1))
    assert_close(actual, expected, "the gradients of (x, y)", if_cut_off(actual), rtol=1e-8, atol=1e-9)
    for i in (0, 1):  # where only one of the two requires a gradient
        alone = student.run(scenarios.gradient, "pairwise_distances", [x, y], cotangent, (i,))
        hint = if_cut_off(alone, "either of the two may be trained alone")
        assert_close(alone, expected[i : i + 1], f"the gradient of {'xy'[i]} alone", hint, rtol=1e-8, atol=1e-9)
    # Equal points: with whole numbers the sum under the root is exactly 0, with others rounding makes it a little less or more.
    # A matrix product adds up many squares in another order than a sum does, on any processor.
    finite = True
    for points in (torch.cat([normal(seed, 3, 2).round(), 10 * normal(seed + 1, 8, 2)]), 10 * normal(seed + 2, 8, 100)):
        cotangent = torch.ones(len(points), len(points), dtype=torch.float64)
        actual = student.run(scenarios.gradient, "pairwise_distances", [points, points], cotangent, (0, 1))
        finite &= all(bool(g.isfinite().all()) for g in actual)
    for dtype in (torch.float32, torch.bfloat16, torch.float16):
        points = torch.tensor([[0.0, 1.0], [0.0, 1.0], [2.0, -1.0]], dtype=dtype)
        actual = student.run(scenarios.gradient, "pairwise_distances", [points, points], torch.ones(3, 3, dtype=dtype), (0, 1))
        finite &= all(bool(g.isfinite().all()) for g in actual)
    require(finite, "the gradient is not finite where points coincide: no slope of the root at or below 0 is")
    points = normal(seed, 3, 2) + 20.0 * torch.arange(3.0).unsqueeze(-1)
    cotangent = 1.0 - torch.eye(3, dtype=torch.float64)
    for detached, y, hint in (
        (False, "itself", "x and y may be one tensor, whose gradient is then the sum of both"),
        (True, "x.detach()", "tensors at one place in memory need not be one in the graph: take each as it is"),
    ):
        expected = scenarios.gradient_to_itself(TORCH, points, cotangent, detached)
        actual = student.run(scenarios.gradient_to_itself, points, cotangent, detached)
        assert_close(actual, expected, f"(the squared distances of x to {y}, their gradient)", hint, rtol=1e-8, atol=1e-9)


@exercise("pairwise_distances", points=1)
@settings(max_examples=20)
@given(empty=st.sampled_from("nmd"), size=sizes(1, 3), dtype=float_dtypes(half=True), seed=seeds())
def test_sizes_of_zero_dtype_and_layout(student, empty, size, dtype, seed):
    """No points, no coordinates, strided points: shapes and dtype hold, and no input is changed."""
    n, m, d = (0 if name == empty else size for name in "nmd")
    x, y = normal(seed, n, d, dtype=dtype), normal(seed, m, d, dtype=dtype)
    actual = student.pairwise_distances(x, y)
    assert_close(actual.square(), torch.zeros(n, m, dtype=dtype), "the squared distances with nothing to measure")
    x, y = normal(seed, 3, size, dtype=dtype), normal(seed, 2, size, dtype=dtype) + 5
    room = {torch.float16: 0.1, torch.bfloat16: 0.6}.get(dtype)  # rounding of squares of size 100 under the root
    expected = by_hand(x.double(), y.double()).to(dtype)
    assert_close(student.run(strided, "pairwise_distances", [x, y]), expected, "the distances of strided points", atol=room)
    student.pairwise_distances(x, y)
    assert_inputs_untouched(student)
    x = normal(seed, 3, 3)
    actual = student.run(scenarios.distances_to_its_transpose, x)
    hint = "x.mT begins where x does in memory and has its shape, and holds other points: compare no addresses"
    assert_close(actual.square(), by_hand(x, x.mT).square(), "the squared distances of x to x.mT", hint, atol=2e-12)


@exercise("pairwise_distances", points=1)
@settings(max_examples=8)
@given(d=sizes(), more=sizes(1, 3))
def test_widths_that_differ_are_refused(student, d, more):
    """Points of different widths have no distance, above all where a width of 1 would broadcast unseen."""
    for a, b in ((d, d + more), (1 + more, 1), (1, 1 + more), (0, 1 + more), (1 + more, 0)):
        assert_refused(student.pairwise_distances, torch.ones(2, a), torch.ones(3, b), why=f"widths {a} and {b} differ")


ASKED = "f gets points of x's shape in float64, whatever x's dtype"
LESS_THAN_FLOAT64 = [torch.float32, torch.float16, torch.bfloat16]
EPS = st.sampled_from([0.5, 0.1, 1e-2, 1e-3])


@exercise("numerical_gradient", points=3, core=True)
@given(shape=st.lists(sizes(1, 3), min_size=1, max_size=3), eps=EPS, seed=seeds())
def test_the_gradient_is_the_central_difference(student, reference, shape, eps, seed):
    """For sum(c x^3) it is exactly c (3 x^2 + eps^2), whatever eps; entries may depend on each other."""
    x, c = normal(seed, *shape), normal(seed + 1, *shape)
    x.view(-1)[-1] = 0.0
    hint = "(f(x + eps) - f(x - eps)) / (2 eps), one entry at a time"
    actual = student.run(scenarios.cubes, x, c, eps)
    room = 1e-12 / eps  # rounding of f's values, divided by the step
    assert_close(actual, c * (3 * x**2 + eps**2), f"the result for sum(c x^3) with eps {eps:g}", hint, atol=room)
    matrix = normal(seed + 2, x.numel(), x.numel())
    expected = reference.run(scenarios.coupled, x, matrix, eps)
    actual = student.run(scenarios.coupled, x, matrix, eps)
    assert_close(actual, expected, f"the result with eps {eps:g}", hint, atol=room)


@exercise("numerical_gradient", points=1)
@settings(max_examples=12)
@given(shape=st.lists(sizes(1, 3), max_size=2), dtype=st.sampled_from(LESS_THAN_FLOAT64), seed=seeds())
def test_f_works_in_float64_and_the_result_has_the_dtype_of_x(student, shape, dtype, seed):
    """f gets float64 points of x's shape, so that a tiny eps is not lost; the gradient comes back in x's dtype."""
    x = numbers(seed, shape, dtype)
    asked, moved = student.run(scenarios.points_asked, x, 1e-5)
    assert_equal(asked, [("torch.float64", tuple(shape))], "the dtypes and shapes of the points given to f", ASKED)
    assert_close(moved, 1e-5, "how far from x f was asked", "the step is the eps that the caller gives", rtol=1e-9)
    ones = torch.ones(shape, dtype=torch.float64)
    expected = (3 * x.double() ** 2).to(dtype)
    assert_close(student.run(scenarios.cubes, x, ones, 1e-5), expected, "the result for sum(x^3)")
    x = numbers(seed, shape, torch.int64)
    actual = student.run(scenarios.cubes, x, ones, 0.5)  # 3 x^2 + 1/4, in int64
    assert_equal(actual, 3 * x**2, "the result for sum(x^3) at an x of torch.int64, with eps 0.5", "in x's dtype")


@exercise("numerical_gradient", points=1)
@settings(max_examples=8)
@given(shape=st.lists(sizes(1, 3), min_size=1, max_size=2), seed=seeds())
def test_any_function_will_do(student, shape, seed):
    """f may leave PyTorch, where no gradient could follow, and may return a view of its argument."""
    x = normal(seed, *shape)
    expected = x.exp() * torch.sinh(torch.tensor(1e-3, dtype=torch.float64)) / 1e-3
    assert_close(student.run(scenarios.through_numpy, x, 1e-3), expected, "the result for sum(exp(x))", atol=1e-9)
    actual = student.run(scenarios.through_numpy, x, 1e-3, tracked=True)
    hint = "f's points take part in no graph: x.detach()"
    assert_close(actual, expected, "the result at an x that requires a gradient", hint, atol=1e-9)
    index = seed % x.numel()
    expected = torch.zeros(x.numel(), dtype=torch.float64).index_fill(0, torch.tensor(index), 1.0).reshape(shape)
    actual = student.run(scenarios.of_a_view, x, index, 1e-3)
    hint = "take the number, float(f(point)), at once"
    assert_close(actual, expected, "the result for an f that returns a view", hint)


@exercise("numerical_gradient", points=1)
@settings(max_examples=8)
@given(shape=st.lists(sizes(1, 3), min_size=1, max_size=2), seed=seeds())
def test_x_is_never_changed(student, shape, seed):
    """x keeps its values during and after the calls, when it is float64 already too, and nothing else is changed."""
    x = normal(seed, *shape)
    unchanged, after, tracked, changed = student.run(scenarios.x_around_numerical_gradient, x, 1e-3)
    hint = "move entries of a copy: x.double() is x itself where x is float64"
    assert_equal(unchanged, True, "whether x is unchanged while f is called", hint)
    assert_equal(after, x, "x after the call", hint)
    assert_equal(tracked, False, "whether x requires a gradient after the call")
    assert_equal(changed, [], "what else the call changed", LEFT_ALONE)


@exercise("numerical_gradient", points=1)
@settings(max_examples=10)
@given(shape=SHAPES, seed=seeds())
def test_points_of_any_shape_and_layout(student, shape, seed):
    """A single number, an empty tensor, a transposed matrix and an expanded row are points as well."""
    x, c = numbers(seed, shape), numbers(seed + 1, shape)
    expected = c * (3 * x**2 + 1e-4)
    assert_close(student.run(scenarios.cubes, x, c, 1e-2), expected, "the result", atol=1e-10)
    x, c = normal(seed, 3, 2), normal(seed + 1, 3, 2)
    expected = c * (3 * x**2 + 1e-4)
    actual = student.run(scenarios.of_transposed, x, c, 1e-2)
    assert_close(actual, expected, "the result at a transposed x", atol=1e-10)
    expected = c * (3 * x[0] ** 2 + 1e-4)
    actual = student.run(scenarios.of_expanded, x[0], 3, c, 1e-2)
    hint = "with a stride of 0 one place in memory holds several entries: move them in a copy that has a place for each"
    assert_close(actual, expected, "the result at an expanded x", hint, atol=1e-10)
