"""Public tests of module 00: `pytest exercises/00_numpy_to_pytorch`, with `-k softmax` for one exercise alone."""

import numpy as np
import torch

from autograder.testing import assert_close, assert_equal, assert_inputs_untouched, assert_refused, exercise
from autograder.testing.strategies import broadcastable, given, leading_shapes, normal, seeds, sizes, st

INF = float("inf")


# as_tensor


def convert(module, array, kind=None):
    """What as_tensor makes of a NumPy array that is built here from plain lists."""
    return module.as_tensor(np.array(array, dtype=kind))


def write_both_ways(module):
    """Change the array, look at the tensor; change the tensor, look at the array."""
    array = np.arange(4.0)
    tensor = module.as_tensor(array)
    array[0] = 10.0
    seen_in_tensor = float(tensor[0])
    tensor[3] = 30.0
    return seen_in_tensor, float(array[3])


def reversed_rows(module):
    """as_tensor of a view with a negative stride."""
    return module.as_tensor(np.arange(6.0).reshape(3, 2)[::-1])


@exercise("as_tensor")
def test_values_shape_and_dtype_stay(student):
    hint = "a float64 array gives a float64 tensor: the dtype is the array's, not PyTorch's default"
    for value, dtype in (([[1.0], [2.0]], "float64"), ([True, False], "bool"), (5, "int32")):
        expected = torch.tensor(value, dtype=getattr(torch, dtype))
        assert_equal(student.run(convert, value, dtype), expected, f"the tensor of the {dtype} array {value}", hint)


@exercise("as_tensor")
def test_array_and_tensor_share_memory(student):
    hint = "torch.tensor(...) always copies; which function does not?"
    assert_equal(student.run(write_both_ways), (10.0, 30.0), "what the one shows after writing to the other", hint)


@exercise("as_tensor")
def test_a_reversed_array_is_copied(student):
    expected = torch.tensor([[4.0, 5.0], [2.0, 3.0], [0.0, 1.0]], dtype=torch.float64)
    hint = "a tensor cannot have negative strides; a copy has none"
    assert_equal(student.run(reversed_rows), expected, "the tensor of the reversed view", hint)


# broadcast_shape


@exercise("broadcast_shape")
def test_broadcasting_by_example(student):
    for a, b, expected, hint in (
        ((3, 1), (1, 4), (3, 4), "a 1 is stretched to the other size"),
        ((5, 3), (3,), (5, 3), "shapes are aligned at their last dimension"),
        ((), (2, 2), (2, 2), "no dimensions fit any shape"),
        ((1,), (0,), (0,), "a 1 yields to the other size, whatever it is"),
    ):
        assert_equal(student.broadcast_shape(a, b), expected, f"broadcast_shape({a}, {b})", hint)


@exercise("broadcast_shape")
@given(shape=st.lists(st.integers(0, 4), max_size=4).map(tuple), data=st.data())
def test_broadcasting_agrees_with_numpy(student, shape, data):
    a, b = data.draw(broadcastable(shape)), data.draw(broadcastable(shape))
    assert_equal(student.broadcast_shape(a, b), np.broadcast_shapes(a, b), f"the shape of {a} with {b}")


@exercise("broadcast_shape")
def test_incompatible_shapes_are_refused(student):
    assert_refused(student.broadcast_shape, (2, 3), (2, 4), why="3 and 4 differ and neither is 1")
    assert_refused(student.broadcast_shape, (2, 3), (2,), why="aligned on the right, 3 stands over 2")


# batched_matmul


@exercise("batched_matmul")
def test_a_product_by_hand(student):
    a, b = torch.tensor([[1.0, 2.0], [3.0, 4.0]]), torch.tensor([[5.0], [6.0]])
    expected, what = torch.tensor([[17.0], [39.0]]), "[[1, 2], [3, 4]] times [[5], [6]]"
    assert_close(student.batched_matmul(a, b), expected, what, hint="row of a times column of b")


@exercise("batched_matmul")
@given(lead=leading_shapes(), n=sizes(1, 5), k=sizes(1, 5), m=sizes(1, 5), seed=seeds(), data=st.data())
def test_products_agree_with_torch_matmul(student, lead, n, k, m, seed, data):
    a = normal(seed, *data.draw(broadcastable(lead)), n, k)
    b = normal(seed + 1, *data.draw(broadcastable(lead)), k, m)
    hint = "count dimensions from the end, so that leading ones broadcast by themselves"
    assert_close(student.batched_matmul(a, b), torch.matmul(a, b), hint=hint)
    assert_inputs_untouched(student)


@exercise("batched_matmul")
def test_inner_sizes_must_agree(student):
    assert_refused(student.batched_matmul, torch.ones(2, 3), torch.ones(4, 2), why="3 columns do not meet 4 rows")
    assert_refused(student.batched_matmul, torch.ones(2, 1), torch.ones(4, 2), why="a single column is not 4")


# logsumexp and softmax


@exercise("logsumexp")
def test_logsumexp_by_hand(student):
    x = torch.tensor([[0.0, 0.0], [1.0, 1.0]])
    expected = torch.tensor([0.0, 1.0]) + torch.log(torch.tensor(2.0))
    hint = "the dimension that was summed over disappears"
    assert_close(student.logsumexp(x, 1), expected, "logsumexp([[0, 0], [1, 1]], 1)", hint)


@exercise("logsumexp")
@given(lead=leading_shapes(), n=sizes(), seed=seeds(), data=st.data())
def test_logsumexp_agrees_with_torch(student, lead, n, seed, data):
    x = normal(seed, *lead, n, scale=5.0)
    dim = data.draw(st.integers(-x.dim(), x.dim() - 1))
    assert_close(student.logsumexp(x, dim), torch.logsumexp(x, dim), f"logsumexp over dim {dim} of shape {tuple(x.shape)}")
    assert_inputs_untouched(student)


@exercise("logsumexp")
def test_logsumexp_survives_large_values_and_infinities(student):
    x = torch.tensor([[1000.0, 1000.0], [-1000.0, -1000.0], [-INF, 3.0], [-INF, -INF]], dtype=torch.float64)
    hint = "take the largest entry out before exp; where it is -inf, take out 0 instead"
    assert_close(student.logsumexp(x, -1), torch.logsumexp(x, -1), f"logsumexp of the rows {x.tolist()}", hint=hint)


@exercise("softmax")
def test_softmax_by_hand(student):
    x = torch.tensor([[1.0, 3.0], [1.0, 1.0]]).log()
    for dim, expected in ((1, [[0.25, 0.75], [0.5, 0.5]]), (0, [[0.5, 0.75], [0.5, 0.25]])):
        what = f"softmax of [[log 1, log 3], [log 1, log 1]] along dim {dim}"
        assert_close(student.softmax(x, dim), torch.tensor(expected), what, hint="normalise along dim")


@exercise("softmax")
@given(lead=leading_shapes(), n=sizes(), seed=seeds(), data=st.data())
def test_softmax_agrees_with_torch(student, lead, n, seed, data):
    x = normal(seed, *lead, n, scale=5.0)
    dim = data.draw(st.integers(-x.dim(), x.dim() - 1))
    assert_close(student.softmax(x, dim), torch.softmax(x, dim), f"softmax along dim {dim} of shape {tuple(x.shape)}")
    assert_inputs_untouched(student)


@exercise("softmax")
def test_softmax_survives_large_values_and_infinities(student):
    x = torch.tensor([[1000.0, 1000.0], [0.0, -INF], [-INF, -INF]], dtype=torch.float64)
    expected = torch.tensor([[0.5, 0.5], [1.0, 0.0], [0.0, 0.0]], dtype=torch.float64)
    hint = "nothing but -inf gives zeros: 0 / 0 must not happen"
    assert_close(student.softmax(x, -1), expected, f"softmax of the rows {x.tolist()}", hint)


# one_hot and gather_rows


@exercise("one_hot")
def test_one_hot_by_hand(student):
    expected = torch.tensor([[0, 0, 1], [1, 0, 0]])
    assert_equal(student.one_hot(torch.tensor([2, 0]), 3), expected, "one_hot([2, 0], 3)", hint="the dtype is int64")
    hint = "ids may have any shape, () too"
    assert_equal(student.one_hot(torch.tensor(1), 2), torch.tensor([0, 1]), "one_hot of the id 1 of 2", hint)


@exercise("one_hot")
def test_one_hot_refuses_ids_outside_the_range(student):
    assert_refused(student.one_hot, torch.tensor([0, 3]), 3, why="the classes are 0, 1, 2")
    assert_refused(student.one_hot, torch.tensor([-1]), 3, why="a negative id is no class")


@exercise("gather_rows")
def test_rows_by_hand(student):
    table = torch.tensor([[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]])
    expected = torch.tensor([[[4.0, 5.0], [0.0, 1.0]], [[0.0, 1.0], [2.0, 3.0]]])
    rows = student.gather_rows(table, torch.tensor([[2, 0], [0, 1]]))
    assert_equal(rows, expected, "the rows [[2, 0], [0, 1]] of [[0, 1], [2, 3], [4, 5]]")


@exercise("gather_rows")
def test_rows_outside_the_table_are_refused(student):
    assert_refused(student.gather_rows, torch.ones(3, 2), torch.tensor([1, 3]), why="the rows are 0, 1, 2")
    assert_refused(student.gather_rows, torch.ones(3, 2), torch.tensor([-1]), why="-1 is not the last row here")


# sliding_windows


def writes_show(module):
    """Whether the windows change when x does."""
    x = torch.arange(5.0)
    windows = module.sliding_windows(x, 3)
    x[2] = 50.0
    return [float(windows[0, 2]), float(windows[1, 1]), float(windows[2, 0])]


def windows_of_columns(module):
    """Windows along the columns of a matrix, which are not contiguous in memory."""
    return module.sliding_windows(torch.arange(8.0).reshape(4, 2).T, 2)


@exercise("sliding_windows")
def test_windows_by_hand(student):
    x = torch.tensor([1, 2, 3, 4, 5])
    expected, what = torch.tensor([[1, 2, 3], [2, 3, 4], [3, 4, 5]]), "sliding_windows([1, 2, 3, 4, 5], {})"
    assert_equal(student.sliding_windows(x, 3), expected, what.format("3"))
    expected, hint = torch.tensor([[1, 2], [3, 4]]), "5 starts no whole window"
    assert_equal(student.sliding_windows(x, 2, step=2), expected, what.format("2, step=2"), hint)


@exercise("sliding_windows")
def test_windows_are_a_view(student):
    hint = "a view has its own shape and strides over the same memory: torch.as_strided"
    assert_equal(student.run(writes_show), [50.0, 50.0, 50.0], "the windows after x[2] = 50", hint)


@exercise("sliding_windows")
def test_windows_follow_the_strides_of_x(student):
    expected = torch.tensor([[[0.0, 2.0], [2.0, 4.0], [4.0, 6.0]], [[1.0, 3.0], [3.0, 5.0], [5.0, 7.0]]])
    hint = "ask x.stride(); it need not end in 1"
    assert_equal(student.run(windows_of_columns), expected, "the windows of a transposed matrix", hint)


@exercise("sliding_windows")
def test_impossible_windows_are_refused(student):
    assert_refused(student.sliding_windows, torch.ones(4), 5, why="no window of 5 fits into 4")
    assert_refused(student.sliding_windows, torch.ones(4), 0, why="a window has at least one element")
    assert_refused(student.sliding_windows, torch.ones(4), 2, step=0, why="windows must move")


# pairwise_distances


@exercise("pairwise_distances")
def test_distances_by_hand(student):
    x, y = torch.tensor([[0.0, 0.0], [3.0, 0.0]]), torch.tensor([[0.0, 4.0]])
    expected = torch.tensor([[4.0], [5.0]])
    assert_close(student.pairwise_distances(x, y), expected, "the distances of [0, 0] and [3, 0] from [0, 4]")


@exercise("pairwise_distances")
@given(lead=leading_shapes(), n=sizes(1, 6), m=sizes(1, 6), d=sizes(1, 6), seed=seeds())
def test_squared_distances_agree_with_cdist(student, lead, n, m, d, seed):
    x, y = normal(seed, *lead, n, d), normal(seed + 1, *lead, m, d)
    actual = student.pairwise_distances(x, y)
    assert_close(actual.square(), torch.cdist(x, y).square(), "the squared distances")
    assert_inputs_untouched(student)


@exercise("pairwise_distances")
def test_equal_points_give_no_nan(student):
    x = normal(0, 40, 8, dtype=torch.float32, scale=100.0)
    some_nan = bool(student.pairwise_distances(x, x).isnan().any())
    assert_equal(some_nan, False, "whether a distance is NaN", "rounding can make the sum under the root negative")


# numerical_gradient


def gradient_of_cubes(module, x, eps):
    """The numerical gradient of sum(x^3)."""
    return module.numerical_gradient(lambda point: point.pow(3).sum(), x, eps)


def dtypes_that_f_sees(module):
    """The dtypes of the points at which f is asked."""
    seen = []

    def f(point):
        seen.append(str(point.dtype))
        return point.sum()

    module.numerical_gradient(f, torch.ones(2), 1e-3)
    return sorted(set(seen))


@exercise("numerical_gradient")
def test_the_gradient_of_cubes(student):
    x = torch.tensor([[1.0, -2.0], [0.5, 0.0]], dtype=torch.float64)
    hint = "(f(x + eps) - f(x - eps)) / (2 eps), one entry at a time"
    assert_close(student.run(gradient_of_cubes, x, 1e-4), 3 * x**2, "the gradient of the sum of cubes", atol=2e-8, hint=hint)


@exercise("numerical_gradient")
def test_f_is_asked_in_float64_and_the_result_has_the_dtype_of_x(student):
    assert_equal(student.run(dtypes_that_f_sees), ["torch.float64"], "the dtypes that f receives")
    gradient = student.run(gradient_of_cubes, torch.ones(2), 1e-4)
    assert_close(gradient, torch.tensor([3.0, 3.0]), "the gradient of sum(x^3) at ones")
