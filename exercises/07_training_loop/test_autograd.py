"""Public tests of autograd.py: pytest exercises/07_training_loop [-k Array]"""

import numpy as np
import torch

from autograder.testing import assert_close, assert_equal, assert_refused, exercise
from autograder.testing.hints import called
from autograder.testing.strategies import example, given, normal, seeds, settings, sizes, st

# What runs beside your module: each function gets it as its first argument, and looks for autograd.py next to it.


def summed_back(module, grad, shape):
    """unbroadcast(grad, shape), and what grad is afterwards."""
    import importlib

    engine = importlib.import_module(module.__name__.rpartition(".")[0] + ".autograd")
    grad = grad.numpy()
    value = engine.unbroadcast(grad, tuple(shape))
    if value is None:
        raise TypeError("unbroadcast returned None, not an array")
    return torch.from_numpy(np.array(value)), torch.from_numpy(grad)


def in_order(module, parents, root):
    """The names of the nodes in topological_order(root); `parents` gives each node's by name."""
    import importlib
    import types

    engine = importlib.import_module(module.__name__.rpartition(".")[0] + ".autograd")
    nodes = {name: types.SimpleNamespace(name=name) for name in parents}
    for name, node in nodes.items():
        node.parents = tuple(nodes[parent] for parent in parents[name])
    found = engine.topological_order(nodes[root])
    if found is None:
        raise TypeError("topological_order returned None, not a list")
    return [node.name for node in found]


def long_order(module, n):
    """The numbers of the nodes of a chain, in order."""
    import importlib
    import types

    engine = importlib.import_module(module.__name__.rpartition(".")[0] + ".autograd")
    node = types.SimpleNamespace(parents=(), number=0)
    for number in range(1, n):
        node = types.SimpleNamespace(parents=(node,), number=number)
    found = engine.topological_order(node)
    if found is None:
        raise TypeError("topological_order returned None, not a list")
    return torch.tensor([node.number for node in found])


def evaluated(module, expression, tensors, times=1, constant=()):
    """The value of an expression of x, y, z as text, and the gradients of its sum, after so many calls of backward."""
    import importlib

    engine = importlib.import_module(module.__name__.rpartition(".")[0] + ".autograd")
    leaves = [engine.Array(x.numpy().copy(), requires_grad=i not in constant) for i, x in enumerate(tensors)]
    result = eval(expression, {"np": np}, dict(zip("xyz", leaves)))
    if not isinstance(result, engine.Array):
        raise TypeError(f"{expression} is a {type(result).__name__}, not an Array")
    total = result.sum()
    for _ in range(times):
        total.backward()
    values = [result.data, *(leaf.grad for leaf in leaves)]
    return [None if value is None else torch.from_numpy(np.array(value)) for value in values]


def without_gradient(module, data):
    """backward() of twice an Array of this data."""
    import importlib

    engine = importlib.import_module(module.__name__.rpartition(".")[0] + ".autograd")
    (engine.Array(data.numpy(), requires_grad=True) * 2).backward()


def with_gradient(module, data, grad):
    """The gradient of x after (x * x).backward(grad), and what grad is afterwards."""
    import importlib

    engine = importlib.import_module(module.__name__.rpartition(".")[0] + ".autograd")
    x, grad = engine.Array(data.numpy(), requires_grad=True), grad.numpy()
    y = x * x
    y.backward(grad)
    return torch.from_numpy(np.array(x.grad)), torch.from_numpy(grad)


def two_gradients(module, data):
    """The gradients of x and y after (x + y).sum(), x's having been multiplied by 100 in place."""
    import importlib

    engine = importlib.import_module(module.__name__.rpartition(".")[0] + ".autograd")
    x, y = (engine.Array(data.numpy().copy(), requires_grad=True) for _ in range(2))
    (x + y).sum().backward()
    x.grad *= 100
    return [torch.from_numpy(np.array(leaf.grad)) for leaf in (x, y)]


def long_chain(module, n):
    """The gradient of x after n additions."""
    import importlib

    engine = importlib.import_module(module.__name__.rpartition(".")[0] + ".autograd")
    x = engine.Array(1.0, requires_grad=True)
    y = x
    for _ in range(n):
        y = y + x
    y.backward()
    return float(x.grad)


def verdict(module, expression, tensors, old=None, **options):
    """What gradcheck says of a function of x, y as text; `data` makes a constant of what is in brackets."""
    import importlib

    engine = importlib.import_module(module.__name__.rpartition(".")[0] + ".autograd")
    leaves = [engine.Array(x.numpy().copy(), requires_grad=True) for x in tensors]
    for leaf in leaves:
        leaf.grad = None if old is None else np.full(leaf.data.shape, old)
    names = {"data": lambda x: engine.Array(x.data.copy())}
    said = engine.gradcheck(lambda *xs: eval(expression, names, dict(zip("xy", xs))), leaves, **options)
    kept = all(np.array_equal(leaf.data, x.numpy()) for leaf, x in zip(leaves, tensors))
    same = all(leaf.grad is None if old is None else np.all(leaf.grad == old) for leaf in leaves)
    return {"verdict": said, "data as it was": kept, "grad as it was": bool(same)}


# Shared by several exercises


def by_torch(expression, tensors, times=1, constant=()):
    """What `evaluated` should give."""
    leaves = [x.clone().requires_grad_(i not in constant) for i, x in enumerate(tensors)]
    result = eval(expression, {"np": np}, dict(zip("xyz", leaves)))
    (result.sum() * times).backward()
    return [result.detach(), *(leaf.grad for leaf in leaves)]


def check(student, expression, *tensors, torchs=None, hint="", **options):
    """An expression and the gradients of its sum, as PyTorch has them."""
    actual = student.run(evaluated, expression, list(tensors), **options)
    expected = by_torch(torchs or expression, list(tensors), **options)
    letters = " ".join("xyz"[: len(tensors)])
    assert_close(actual, expected, what=f"[value, gradients of {letters}] of {expression}", hint=hint, rtol=1e-9, atol=1e-10)


def drawn(seed, *shape):
    """Numbers away from 0, of both signs."""
    x = normal(seed, *shape)
    return x + 0.3 * x.sign()


# unbroadcast


@exercise("unbroadcast")
def test_a_bias_gets_the_sum_over_the_rows(student):
    """(3,) was added to each of two rows: its gradient is the sum of theirs."""
    grad = torch.tensor([[1.0, 2, 3], [10, 20, 30]], dtype=torch.float64)
    value, _ = student.run(summed_back, grad, [3])
    assert_equal(value, torch.tensor([11.0, 22, 33], dtype=torch.float64), what="unbroadcast(grad, (3,))", hint="sum over axis 0")


@exercise("unbroadcast")
def test_a_column_gets_the_sum_over_the_columns(student):
    """(2, 1) was stretched to (2, 3): the axis of size 1 comes back with size 1."""
    grad = torch.tensor([[1.0, 2, 3], [10, 20, 30]], dtype=torch.float64)
    value, _ = student.run(summed_back, grad, [2, 1])
    hint = "sum over axis 1 with keepdims=True"
    assert_equal(value, torch.tensor([[6.0], [60]], dtype=torch.float64), what="unbroadcast(grad, (2, 1))", hint=hint)


@exercise("unbroadcast")
@settings(max_examples=12)
@given(
    shape=st.lists(sizes(1, 3), max_size=4),
    kept=st.lists(st.booleans(), min_size=4, max_size=4),
    n_added=sizes(0, 3),
    seed=seeds(),
)
@example(shape=[2, 3, 2], kept=[True, False, True, True], n_added=1, seed=1)
@example(shape=[2, 3], kept=[True] * 4, n_added=2, seed=1)
def test_the_gradient_of_expand(student, shape, kept, n_added, seed):
    """What PyTorch gives for expand, and grad is still what it was."""
    smaller = [size if keep else 1 for size, keep in zip(shape, kept)][n_added:]
    x, grad = torch.zeros(smaller, dtype=torch.float64, requires_grad=True), normal(seed, *shape)
    x.expand(shape).backward(grad)
    value, after = student.run(summed_back, grad, smaller)
    assert_close(
        value, x.grad, what=f"unbroadcast(grad {tuple(shape)}, {tuple(smaller)})", hint="which axes are new, which were 1?"
    )
    assert_equal(after, grad, what="grad after the call", hint="sum into a new array")


@exercise("unbroadcast")
def test_what_does_not_broadcast_is_refused(student):
    """(2,) never became (3,), (2, 3) never (3,), and (3,) never (1,)."""
    unbroadcast = called("unbroadcast", lambda grad, shape: student.run(summed_back, grad, shape)[0])
    for whole, shape in (((3,), (2,)), ((3,), (2, 3)), ((1,), (3,))):
        assert_refused(unbroadcast, torch.ones(whole), list(shape), why=f"{shape} does not broadcast to {whole}")


# topological_order


def check_order(order, parents, wanted):
    assert_equal(sorted(order), sorted(wanted), what="the nodes in the order", hint="all that the root depends on, each once")
    for place, name in enumerate(order):
        late = [parent for parent in parents[name] if parent not in order[:place]]
        assert not late, f"{name} comes before its parent {late[0]} in {order}\n  hint: append a node when its parents are done"


@exercise("topological_order")
def test_a_diamond(student):
    """a leads to d in two ways, and comes once."""
    parents = {"a": "", "b": "a", "c": "a", "d": "bc", "e": "d"}
    check_order(student.run(in_order, parents, "d"), parents, "abcd")


@exercise("topological_order")
def test_a_short_way_and_a_long_one(student):
    """d depends on a directly, and on c, which depends on a by way of b."""
    for last in ("ca", "ac"):
        parents = {"a": "", "b": "a", "c": "b", "d": last}
        check_order(student.run(in_order, parents, "d"), parents, "abcd")


@exercise("topological_order")
def test_a_square_and_a_leaf(student):
    """In x * x both parents are one node; a leaf alone is its own order."""
    check_order(student.run(in_order, {"x": "", "y": "xx"}, "y"), {"x": "", "y": "xx"}, "xy")
    check_order(student.run(in_order, {"x": "", "y": "xx"}, "x"), {"x": "", "y": "xx"}, "x")


@exercise("topological_order")
def test_a_long_chain(student):
    """5,000 nodes in a row: no recursion."""
    hint = "Python stops a recursion that is some 1,000 calls deep; a list of your own has no such limit"
    assert_equal(student.run(long_order, 5_000), torch.arange(5_000), what="the order of a chain", hint=hint)


# Array


@exercise("Array")
def test_sums_products_and_their_gradients(student):
    """The first step: + * sum and backward."""
    x, y = drawn(1, 2, 3), drawn(2, 2, 3)
    check(student, "x + y", x, y, hint="+ hands g to both")
    check(student, "x * y", x, y, hint="to each, g times the other")
    check(student, "x * y + x", x, y, hint="what arrives in several ways is added up")


@exercise("Array")
def test_a_node_that_is_used_several_times(student):
    """Each way to it counts, and none twice."""
    hint = "shares are added up, and a node's turn comes after all its children: reversed(topological_order(self))"
    x, y = drawn(3, 4), drawn(4, 4)
    for expression in ("x + x", "x * x", "x * x * x + x"):
        check(student, expression, x, hint=hint)
    check(student, "(x + y) * (x * y) + (x + y)", x, y, hint=hint)


@exercise("Array")
@settings(max_examples=8)
@given(a=st.lists(sizes(1, 3), min_size=1, max_size=3), seed=seeds())
@example(a=[2, 3], seed=1)
def test_operands_broadcast(student, a, seed):
    """Gradients come back in the operands' own shapes."""
    for expression in ("x + y", "x * y", "y * x * y"):
        check(student, expression, drawn(seed, *a), drawn(seed + 1, *a[1:]), hint="unbroadcast each share to its parent's shape")


@exercise("Array")
def test_operators_with_an_array_and_with_a_number(student):
    """Differences, quotients and powers, with a number on either side."""
    x, y = drawn(5, 2, 3), drawn(6, 3)
    for expression in ("-x", "2 - x", "1 / x", "x - 1", "x / 4", "3 + x", "0.5 * x", "x ** 2", "x ** 3", "x ** -1", "x + x ** 0"):
        check(student, expression, x, hint="__rsub__ has the other operand on the left")
    for expression in ("x - y", "x / y", "y - x"):
        check(student, expression, x, y, hint="the second operand of - gets -g, that of / gets -g x / y²")


@exercise("Array")
def test_plain_arrays_as_operands(student):
    """np.array([1., 2., 3.]) on the right and on the left of an Array."""
    x = drawn(5, 2, 3)
    for sign in "+-*/":
        for expression in (f"x {sign} {{}}", f"{{}} {sign} x"):
            mine, torchs = expression.format("np.array([1., 2., 3.])"), expression.format("x.new_tensor([1., 2., 3.])")
            check(student, mine, x, torchs=torchs, hint="the other operand may be no Array yet: make it one")


@exercise("Array")
def test_matrix_products(student):
    """Matrices, vectors, batches, and leading axes that broadcast."""
    hint = "g @ yᵀ and xᵀ @ g, of the last two axes; a vector needs the axis that it lacks"
    shapes = [((2, 3), (3, 4)), ((3,), (3,)), ((3,), (3, 4)), ((2, 3), (3,)), ((2, 2, 3), (3, 4)), ((2, 1, 2, 3), (5, 3, 2))]
    for a, b in shapes:
        check(student, "x @ y", drawn(7, *a), drawn(8, *b), hint=hint)


@exercise("Array")
def test_sums_and_means(student):
    """Over all, one axis or several, with and without keepdims."""
    x = drawn(9, 2, 3, 4)
    for name in ("sum", "mean"):
        for axis in ("", "0", "-1", "(0, 2)", "1, True"):
            shape = eval(f"x.{name}({axis})", {"x": x}).shape
            hint = "the axes that were added up have to come back before g is broadcast"
            check(student, f"x.{name}({axis}) * y", x, drawn(10, *shape), hint=hint)


@exercise("Array")
def test_functions(student):
    """exp, log, tanh and relu, whose gradient at 0 is 0."""
    for expression in ("x.exp()", "(x * x).log()", "x.tanh()", "x.relu()", "(x - x).relu() + x"):
        check(student, expression, drawn(11, 2, 3))


@exercise("Array")
def test_shapes(student):
    """reshape and transpose, in all ways to write them; each number's gradient finds its way back."""
    x, y = drawn(12, 2, 3), drawn(13, 6)
    for mine in ("x.reshape(6)", "x.reshape((3, 2))", "x.reshape(-1, 2)", "x.T", "x.transpose()", "x.transpose(1, 0)",
                 "x.transpose((-1, -2))"):  # fmt: skip
        torchs = mine if "reshape" in mine else "x.T"
        weights = f" * y.reshape({tuple(eval(torchs, {'x': x}).shape)})"
        check(student, mine + weights, x, y, torchs=torchs + weights, hint="g takes the same way back")


@exercise("Array")
def test_parts(student):
    """Integers, slices, and lists of integers, of which one may come several times."""
    x = drawn(14, 2, 3)
    for index in ("1", "1, 2", ":, 1:", "..., None, 0", "[0, 1, 0, 0]", "[0, 1], [2, 2]"):
        shape = tuple(eval(f"x[{index}]", {"x": x}).shape)
        hint = "np.add.at(zeros, index, g) adds where an index comes several times"
        check(student, f"x[{index}] * y", x, drawn(15, *shape), hint=hint)


@exercise("Array")
def test_backward_adds_to_what_is_there(student):
    """Three walks give three times the gradient; a constant keeps None."""
    x, y = drawn(16, 3), drawn(17, 3)
    check(student, "x * y * x", x, y, times=3, hint="a leaf's grad is added to; what is known of other nodes belongs to one walk")
    check(student, "x * y", x, y, constant=(1,), hint="a leaf that requires no gradient gets none")


@exercise("Array")
def test_gradient_of_several_numbers_has_to_be_given(student):
    """Only a single number has the gradient 1 without being told."""
    backward = called("(2 * x).backward", lambda: student.run(without_gradient, torch.ones(3)))
    assert_refused(backward, why="the result has three numbers")
    data, grad = drawn(18, 3), drawn(19, 3)
    value, after = student.run(with_gradient, data, grad)
    assert_close(value, 2 * data * grad, what="the gradient of x after (x * x).backward(grad)")
    assert_equal(after, grad, what="grad after the walk", hint="add with a + b; a += b changes what others hold as well")


@exercise("Array")
def test_two_leaves_have_two_gradients(student):
    """Changing one leaf's gradient in place leaves the other's alone."""
    one = torch.ones(2, dtype=torch.float64)
    assert_close(student.run(two_gradients, one), [100 * one, one], what="[x.grad * 100, y.grad]", hint="give each leaf a copy")


@exercise("Array")
def test_float32_is_kept(student):
    """Results and gradients of float32 are float32, and a Python number does not change that."""
    x, y = drawn(20, 2, 3).float(), drawn(21, 3).float()
    actual = student.run(evaluated, "(2 * x + y * 0.5) * x", [x, y])
    hint = "np.asarray(number, dtype=self.data.dtype)"
    assert_close(actual, by_torch("(2 * x + y * 0.5) * x", [x, y]), what="[the result, gradients]", hint=hint, rtol=1e-5)


@exercise("Array")
def test_a_long_chain_of_operations(student):
    """3,000 additions in a row, and a leaf that is used in each of them."""
    assert_equal(student.run(long_chain, 3_000), 3_001.0, what="the gradient of x added to itself 3,000 times")


@exercise("Array")
@settings(max_examples=4)
@given(b=sizes(1, 4), d=sizes(1, 4), h=sizes(1, 4), seed=seeds())
def test_a_layer_of_a_network(student, b, d, h, seed):
    """tanh(x @ w + b) and the mean of its squares."""
    hint = "if the tests above pass, look at how shares are added up"
    tensors = drawn(seed, b, d), drawn(seed + 1, d, h), drawn(seed + 2, h)
    check(student, "((x @ y + z).tanh() ** 2).mean()", *tensors, hint=hint)


# gradcheck


@exercise("gradcheck")
def test_right_gradients_pass(student):
    """A polynomial, and a function of two inputs."""
    x, y = drawn(22, 2, 3), drawn(23, 2, 3)  # of one shape: whether Array broadcasts is no matter here
    fine = {"verdict": True, "data as it was": True, "grad as it was": True}
    hint = "numeric is (f at entry + eps - f at entry - eps) / (2 eps); if Array fails its own tests, begin there"
    assert_equal(student.run(verdict, "(x * x * x).sum()", [x]), fine, what="gradcheck of x³, and what it left behind", hint=hint)
    assert_equal(student.run(verdict, "(x * y).sum() * y.sum()", [x, y]), fine, what="gradcheck of a function of x and y")


@exercise("gradcheck")
def test_wrong_gradients_fail(student):
    """Where a part of the function is hidden from backward, in whichever input."""
    hint = "every entry of every input is compared, and one that differs is enough"
    for expression in ("(x * data(x)).sum() + y.sum()", "x.sum() + (y * data(y)).sum()"):
        said = student.run(verdict, expression, [drawn(24, 2), drawn(25, 3)])
        assert_equal(said, {"verdict": False, "data as it was": True, "grad as it was": True}, what="gradcheck", hint=hint)


@exercise("gradcheck")
def test_old_gradients_neither_count_nor_change(student):
    """The inputs have gradients already."""
    for expression, right in (("(x * x).sum()", True), ("(x * data(x)).sum()", False)):
        said = student.run(verdict, expression, [drawn(26, 3)], 7.0)
        expected = {"verdict": right, "data as it was": True, "grad as it was": True}
        assert_equal(said, expected, what=f"gradcheck of {expression}", hint="work on Arrays of your own, made from copies")


@exercise("gradcheck")
def test_what_cannot_be_checked_is_refused(student):
    """float32, an eps of 0, a function of three numbers."""
    x = drawn(27, 3)

    def said(f, inputs, **eps):
        return student.run(verdict, f.removeprefix("lambda x: "), inputs, **eps)["verdict"]

    gradcheck = called("gradcheck", said)
    assert_refused(gradcheck, "lambda x: x.sum()", [x.float()], why="differences of 1e-6 drown in float32")
    assert_refused(gradcheck, "lambda x: x.sum()", [x], eps=0.0, why="eps must be above 0")
    assert_refused(gradcheck, "lambda x: x * x", [x], why="f must give a single number")
