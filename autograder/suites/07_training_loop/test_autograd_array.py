"""Hidden tests of Array. The truth is torch.autograd in float64; but for their one operation, tests use + * sum alone."""

from itertools import permutations, product

import torch

from autograder.testing import assert_close, assert_equal, assert_refused, exercise
from autograder.testing.hints import called
from autograder.testing.strategies import composite, example, given, normal, seeds, settings, st

from . import probes
from .graphs import (
    SHAPES,
    Graph,
    axes_of,
    graphs_of_everything,
    graphs_of_sums_and_products,
    indices_of,
    nodes_of,
    said,
    truth,
    walked,
)

NAME = "Array"


def compare(actual, expected, what, hint=""):
    """Values and gradients, with room for another order of the same operations: a few roundings of the largest of them."""
    for key in ("values", "gradients"):
        for i, (found, right) in enumerate(zip(actual[key], expected[key], strict=True)):
            name = f"operation {i}" if key == "values" else f"the gradient of leaf {i}"
            if right is None:
                assert_equal(found, right, what=f"{name} of {what}", hint="it is a constant, or the result does not depend on it")
                continue
            size = max([1.0, *(float(x.abs().max()) for x in expected[key] if x is not None and x.numel())])
            rtol, atol = (1e-9, 1e-12) if right.dtype == torch.float64 else (1e-5, 1e-6)
            assert_close(found, right, what=f"{name} of {what}", hint=hint, rtol=rtol, atol=atol * size)


def check(student, leaves, operations, what, hint="", seed=0):
    """The values and gradients of a graph whose total is that of its last node, and of every one that no other uses."""
    graph = graph_of(leaves, operations, seed)
    compare(student.run(probes.graph, *graph.arguments), truth(*graph.arguments), what, hint)


def graph_of(leaves, operations, seed=0):
    """A graph of leaves that all require gradients, unless they say otherwise."""
    leaves = [leaf if isinstance(leaf, tuple) else (leaf, True) for leaf in leaves]
    nodes = nodes_of(leaves, operations)
    used = {i for _, operands, _ in operations for i in operands}
    ends = [i for i in range(len(leaves), len(nodes)) if i not in used]
    return Graph(leaves, operations, [[i, normal(seed + i, *nodes[i].shape, dtype=nodes[i].dtype)] for i in ends])


def positive(x):
    return x.abs() + 0.3


@composite
def reductions(draw):
    """(shape, axis)."""
    shape = draw(SHAPES)
    return shape, draw(axes_of(len(shape)))


EACH = [
    *(["with", [0], {"sign": sign, "other": other, "left": left}]
      for sign in "+-*/" for other in (2, 0.3) for left in (True, False)),
    *([sign, [0, 0], {}] for sign in "+-*/"), ["neg", [0], {}], ["@", [0, 1], {}], ["**", [0], {"exponent": 2}],
    ["**", [0], {"exponent": -0.5}], ["sum", [0], {}], ["sum", [0], {"axis": 1}], ["mean", [0], {}],
    ["mean", [0], {"axis": 0}],
    ["exp", [0], {}], ["log", [0], {}], ["tanh", [0], {}], ["relu", [0], {}], ["T", [0], {}],
    ["transpose", [0], {"axes": [1, 0]}],
    ["reshape", [0], {"shape": [-1]}], ["[]", [0], {"index": [["list", [0, 0]]]}], ["[]", [0], {"index": [["int", 1]]}],
]  # fmt: skip

X, Y = normal(1, 2, 3), normal(2, 3)


@exercise(NAME, points=4, core=True)
@settings(max_examples=20)
@given(case=graphs_of_sums_and_products())
@example(case=graph_of([X], [["*", [0, 0], {}]]))
@example(case=graph_of([X], [["+", [0, 0], {}], ["*", [1, 1], {}], ["+", [2, 1], {}], ["*", [3, 0], {}]]))
@example(case=graph_of([X, Y], [["*", [0, 1], {}], ["+", [2, 1], {}]]))
@example(case=graph_of([X[:, :1], Y, X], [["+", [0, 1], {}], ["*", [3, 2], {}], ["*", [3, 4], {}], ["+", [5, 4], {}]]))
@example(case=graph_of([X, (Y, False)], [["*", [0, 1], {}], ["*", [1, 1], {}], ["+", [2, 3], {}]]))
@example(case=graph_of([X.sum(), X], [["*", [0, 1], {}]]))
def test_gradients_of_sums_and_products(student, case):
    """Graphs of + and * with broadcasting: values and all gradients, however often and on whatever ways a node is used."""
    hint = "gradients that come in several ways are added up; a node's turn comes when all its children have had theirs"
    compare(student.run(probes.graph, *case.arguments), truth(*case.arguments), "a graph of + and *", hint)


@exercise(NAME, points=0.75)
def test_backward_with_and_without_a_gradient(student):
    """Without a gradient a single number of any shape begins with 1; otherwise it has to be given, in the right shape."""
    for shape in ((), (1,), (1, 1)):
        x = normal(3, *shape)
        assert_close(
            student.run(probes.walked_from, x, None), torch.ones(shape, dtype=x.dtype), what=f"grad of a leaf of {shape}"
        )
    for shape in ((), (1,), (3,), (2, 3), (0,), (0, 2)):
        x, g = normal(4, *shape), normal(5, *shape)
        for kind in ("array", "list") if x.numel() else ("array",):
            assert_close(student.run(probes.walked_from, x, g, kind), g, what=f"grad of a leaf that was given {g.tolist()}")
    for shape in ((2,), (0,), (1, 2), (3, 0)):
        x = normal(6, *shape)
        backward = called(f"(x of shape {shape}).backward", lambda x=x: student.run(probes.refused_walk, x, None))
        assert_refused(backward, why="only a single number does without a grad")
    for shape, other in (((2, 3), (3,)), ((2,), (2, 1)), ((2,), (1,)), ((1,), ()), ((), (1,)), ((3,), (2,)), ((2, 3), (3, 2))):
        x, grad = normal(7, *shape), normal(8, *other)
        backward = called(f"(x of shape {shape}).backward", lambda grad, x=x: student.run(probes.refused_walk, x, grad))
        assert_refused(backward, grad, why="its shape is not data's")
    x = normal(9, 3)
    assert_close(student.run(probes.after_a_refused_walk, x), 2 * x, what="the gradient of x * x after a refusal")


@exercise(NAME, points=0.75)
@settings(max_examples=6)
@given(case=graphs_of_sums_and_products(), seed=seeds(), resets=st.booleans())
@example(case=graph_of([X], [["*", [0, 0], {}], ["*", [1, 1], {}]]), seed=1, resets=False)
def test_every_backward_adds(student, case, seed, resets):
    """Several walks, from one root and from others of the same graph, each add to the leaves; None begins anew."""
    nodes = nodes_of(case.leaves, case.operations)
    roots = [i for i in range(len(nodes)) if nodes[i].requires_grad][-3:]
    reset = [0] if resets else []
    roots = [roots[-1], roots[-1], *roots, roots[-1]]
    calls = [[i, normal(seed + i, *nodes[i].shape), reset if k == 2 else []] for k, i in enumerate(roots)]
    actual = student.run(probes.walks, case.leaves, case.operations, calls)
    hint = "only leaves keep gradients from walk to walk; what belongs to one walk is forgotten at its end"
    for k, (found, right) in enumerate(zip(actual, walked(case.leaves, case.operations, calls), strict=True)):
        compare({"values": [], "gradients": found}, {"values": [], "gradients": right}, f"walk {k + 1} of {len(calls)}", hint)
    x = normal(seed, 3)
    expected = [6 * x, 3 * x + 6 * x, 0.5 + 6 * x]
    what = "the gradient of 3 x² after a walk, after half of it and a walk, after a grad of 0.5 and a walk"
    assert_close(student.run(probes.overwritten_between, x, 0.5), expected, what=what, hint="add to what grad is at the moment")


@exercise(NAME, points=0.25)
@settings(max_examples=6)
@given(case=graphs_of_sums_and_products())
def test_leaves_are_found_through_parents(student, case):
    """Whoever follows `parents` from a result comes to every leaf that it depends on and that requires a gradient."""
    nodes = nodes_of(case.leaves, case.operations)
    found = student.run(probes.leaves_found, case.leaves, case.operations)
    if nodes[-1].requires_grad:
        gradients = torch.autograd.grad(nodes[-1].sum(), [x for x in nodes[: len(found)] if x.requires_grad], allow_unused=True)
        expected = iter([g is not None for g in gradients])
        wanted = [next(expected) if wants else found[i] for i, (_, wants) in enumerate(case.leaves)]
        assert_equal(found, wanted, what="whether each leaf is found from the last result", hint="parents holds the operands")


@exercise(NAME, points=0.25)
def test_constants_get_no_gradient(student):
    """A result requires a gradient if any operand does; constants, and leaves it does not depend on, keep None."""
    x, y, z = normal(1, 2), normal(2, 2), normal(3, 2)
    operations = [["*", [0, 1], {}], ["+", [0, 0], {}], ["*", [1, 1], {}], ["sum", [4], {}], ["*", [4, 0], {}]]
    for wanted in ((True, False, True), (False, True, False), (True, True, True), (False, False, True), (False, False, False)):
        leaves = list(zip((x, y, z), wanted))
        nodes = nodes_of(leaves, operations)
        if nodes[-1].requires_grad:
            nodes[-1].sum().backward()  # without anything to do it does nothing, where PyTorch raises an error
        requires, gradients = student.run(probes.wanting, leaves, operations)
        assert_equal(requires, [node.requires_grad for node in nodes], what=f"requires_grad of all nodes, leaves {wanted}")
        expected = {"values": [], "gradients": [node.grad for node in nodes[:3]]}
        compare({"values": [], "gradients": gradients}, expected, f"x + x, where {wanted} require one")
    given = positive(normal(4, 2, 3)), positive(normal(5, 3, 2))
    for wanted in ((False, False), (True, False), (False, True)):
        leaves, operations = list(zip(given, wanted)), [*EACH, ["**", [0], {"exponent": 0}]]
        requires, _ = student.run(probes.wanting, leaves, operations)
        right = [node.requires_grad for node in nodes_of(leaves, operations)[2:]]
        for operation, found, wants in zip(operations, requires[2:], right, strict=True):
            assert_equal(found, wants, what=f"requires_grad of {said(operation)}, leaves {wanted}")
    found = student.run(probes.walks, [(x, False)], [], [[0, y, []]])
    assert_equal(found, [[None]], what="the gradient of a leaf that requires none, after its own backward")


@exercise(NAME, points=0.5)
def test_leaves_are_made_of_anything_numeric(student):
    """float32 and float64 stay, all else becomes float64; a leaf begins without a gradient, and wants none unless told to."""
    for kind in ("a number", "an int", "a bool", "a list", "a tuple", "int64", "uint8", "bool", "float16", "float32", "float64",
                 "np.float32", "np.float64", "nothing"):  # fmt: skip
        data = {
            "a number": 2.5, "an int": 3.0, "a bool": 1.0, "a list": [[1.0, 2, 3], [4, 5, 6]], "a tuple": [0.5, 1.5],
            "int64": [[0.0, 1, 2], [3, 4, 5]], "uint8": [200.0, 250], "bool": [1.0, 0],
            "float16": torch.tensor([0.1, 3.0], dtype=torch.float16), "float32": torch.tensor([[0.1], [3.0]]),
            "float64": [0.1, 3.0], "np.float32": torch.tensor(0.1), "np.float64": 0.1, "nothing": torch.zeros(0, 3),
        }[kind]  # fmt: skip
        expected = torch.as_tensor(data, dtype=torch.float32 if "float32" in kind else torch.float64)
        for (actual, what), wants in zip(student.run(probes.made, kind), (False, True, False), strict=True):
            assert_equal(actual, expected, what=f"data of an Array of {kind}")
            assert_equal(
                what, [True, wants, True, 0], what=f"[is data an ndarray, requires_grad, is grad None, parents] of {kind}"
            )


@exercise(NAME, points=0.75)
@settings(max_examples=1)
@given(seed=seeds())
def test_nothing_that_was_given_is_changed(student, seed):
    """Operands, data and the gradient that backward is given stay what they are; x += y makes something new."""
    leaves = [(positive(normal(seed, 2, 3)), True), (positive(normal(seed + 1, 2, 3)), True)]
    for operations in ([["+", [0, 1], {}], ["*", [2, 0], {}], ["+", [3, 3], {}]], [["+", [0, 0], {}]], [["+", [0, 1], {}]]):
        nodes = nodes_of(leaves, operations)
        weights = [[i, normal(seed + i, 2, 3)] for i in range(len(nodes))]
        changed = student.run(probes.changed, leaves, operations, weights, normal(seed + 9, 2, 3))
        assert_equal(changed, [], what="what was changed", hint="a = a + b makes a new array, a += b changes the old one")
    for operation in EACH:
        signs = torch.tensor([[1.0, -1, 1], [-1, 1, -1]], dtype=torch.float64) if operation[0] == "relu" else 1.0
        given = [(leaves[0][0] * signs, True), (leaves[1][0].mT, True)]
        [*_, result] = nodes_of(given, [operation])
        given.append((normal(seed + 5, *result.shape), True))
        seed_grad = normal(seed + 6, *result.shape)
        for gradients, kept in student.run(probes.beside, given, operation, seed_grad):
            what = f"the gradient of z after z + ({said(operation)}), or ({said(operation)}) + z"
            assert_close(
                gradients, [seed_grad, 2 * seed_grad], what=what, hint="a pullback makes a new array of g, and leaves g alone"
            )
            assert_equal(kept, True, what=f"whether the grad that backward was given is what it was after {said(operation)}")
    x, other = leaves[0][0], leaves[1][0]
    ones = torch.ones(2, 3, dtype=x.dtype)
    for sign, second, y, gradient in (
        ("+", other, x + other, ones), ("-", other, x - other, ones), ("*", other, x * other, other),
        ("/", other, x / other, 1 / other), ("**", 3, x**3, 3 * x**2), ("@", other.mT, x @ other.mT, ones[:, :2] @ other),
    ):  # fmt: skip
        found = student.run(probes.augmented, x, second, sign)
        assert_close(found, [x, y, gradient], what=f"[x, y, x.grad] after y = x; y {sign}= other")


@exercise(NAME, points=0.75)
@settings(max_examples=2)
@given(seed=seeds())
def test_gradients_are_arrays_of_their_own(student, seed):
    """Each gradient is an ndarray that can be written to, and shares memory with nothing."""
    leaves = [(normal(seed + i, 2, 2), True) for i in range(3)]
    hint = "x + y hands one g to both: a leaf takes a copy"
    for operations in (
        [["+", [0, 1], {}], ["+", [3, 2], {}]],
        [["+", [0, 0], {}], ["+", [1, 2], {}], ["+", [3, 4], {}]],
        [["sum", [0], {}], ["sum", [1], {}], ["*", [3, 4], {}], ["+", [5, 2], {}]],
        [["+", [0, 1], {}], ["*", [2, 3], {}]],
    ):
        root, g = len(operations) + 2, normal(seed + 7, 2, 2)
        found, gradients = student.run(probes.shared, leaves, operations, root, g)
        assert_equal(found, [], what="gradients that are not arrays of their own", hint=hint)
        [expected] = walked(leaves, operations, [[root, g, []]])
        compare({"values": [], "gradients": gradients}, {"values": [], "gradients": expected}, "a second walk", hint)
    leaves = [(normal(seed, 2), True), (normal(seed + 1), True), (normal(seed + 2, 1, 2), True)]
    weights = [[3, normal(seed + 3)], [4, normal(seed + 4)], [5, normal(seed + 5)]]
    operations = [["sum", [0], {}], ["*", [1, 1], {}], ["sum", [2], {}]]
    others = student.run(probes.kinds, leaves, operations, weights)
    hint = "of arrays without axes NumPy makes scalars: np.asarray"
    assert_equal(others, [], what="data and gradients that are no np.ndarrays", hint=hint)


@exercise(NAME, points=0.75)
@settings(max_examples=2)
@given(a=SHAPES, seed=seeds())
@example(a=(2, 3), seed=1)
@example(a=(), seed=2)
def test_differences(student, a, seed):
    """x - y and -x, with gradients of both signs."""
    x, y = normal(seed, *a), normal(seed + 1, *a[1:])
    check(student, [x, y], [["-", [0, 1], {}]], "x - y", "to y: -g")
    check(student, [x, y], [["-", [1, 0], {}]], "y - x, where y has fewer axes", "to the second: -g")
    check(student, [x], [["neg", [0], {}]], "-x")
    check(student, [x], [["-", [0, 0], {}], ["neg", [1], {}], ["-", [2, 0], {}]], "-(x - x) - x")


@exercise(NAME, points=0.75)
@settings(max_examples=2)
@given(a=SHAPES, seed=seeds())
@example(a=(2, 3), seed=1)
@example(a=(), seed=2)
def test_quotients(student, a, seed):
    """x / y, with gradients to both."""
    x, y = normal(seed, *a), positive(normal(seed + 1, *a[1:])) * (-1) ** seed
    check(student, [x, y], [["/", [0, 1], {}]], "x / y", "to x: g / y, to y: -g x / y²")
    check(student, [y, positive(x)], [["/", [0, 1], {}]], "y / x, where y has fewer axes")
    check(student, [y], [["/", [0, 0], {}], ["/", [1, 0], {}]], "y / y / y")


@exercise(NAME, points=0.75)
@settings(max_examples=1)
@given(a=SHAPES, seed=seeds())
@example(a=(2, 3), seed=1)
def test_powers(student, a, seed):
    """x ** n for whole, negative, broken and small n; where n is 0 or 1, at 0 too."""
    x = normal(seed, *a)
    for n in (2, 3, 1, 4, 2.0):
        check(student, [x], [["**", [0], {"exponent": n}]], f"x ** {n}", "n x ** (n - 1), where x is negative as well")
    for n in (-1, -2, -3):
        away = torch.where(x > 0, x + 0.3, x - 0.3)
        check(student, [away], [["**", [0], {"exponent": n}]], f"x ** {n}", "where x is negative as well")
    for n in (0.5, -0.5, 2.7):
        check(student, [positive(x)], [["**", [0], {"exponent": n}]], f"x ** {n} of positive numbers")
    zeros = torch.where(x > 0, 0.0, x)
    for n in (0, 0.0, 1, 2, 3):
        powers = [["**", [0], {"exponent": n}], ["+", [0, 1], {}]]
        hint = "n x ** (n - 1), where x is 0 as well" if n else "0 ** -1 is infinite"
        check(student, [zeros], powers, f"x + x ** {n} where x is 0 in places", hint)


@exercise(NAME, points=0.75)
@settings(max_examples=4)
@given(n=st.integers(1, 4), k=st.integers(1, 4), m=st.integers(1, 4), seed=seeds())
@example(n=2, k=3, m=4, seed=1)
def test_products_of_matrices(student, n, k, m, seed):
    """(n, k) @ (k, m), with gradients to both."""
    a, b = normal(seed, n, k), normal(seed + 1, k, m)
    check(student, [a, b], [["@", [0, 1], {}]], "a @ b", "to a: g @ bᵀ, to b: aᵀ @ g")
    check(student, [a, b], [["@", [0, 1], {}], ["T", [2], {}], ["@", [3, 0], {}]][:1], "a @ b")
    square = normal(seed + 2, k, k)
    check(student, [square], [["@", [0, 0], {}], ["@", [1, 0], {}]], "a @ a @ a")


@exercise(NAME, points=0.75)
@settings(max_examples=2)
@given(
    lead=st.lists(st.integers(1, 3), max_size=2).map(tuple),
    n=st.integers(1, 3),
    k=st.integers(1, 3),
    seed=seeds(),
    data=st.data(),
)
@example(lead=(2,), n=2, k=3, seed=1, data=None)
@example(lead=(2, 3), n=2, k=2, seed=1, data=None)
@example(lead=(3,), n=3, k=3, seed=1, data=None)
def test_products_of_vectors_and_batches(student, lead, n, k, seed, data):
    """Vectors on either side, batches of matrices, and leading axes that broadcast."""
    m = n % 3 + 1
    shorter = lead[1:] if data is None else tuple(data.draw(st.sampled_from([size, 1])) for size in lead)
    vector, other = normal(seed, k), normal(seed + 1, k)
    left, right = normal(seed + 2, *lead, n, k), normal(seed + 3, *shorter, k, m)
    hint = "give a vector the axis that it lacks, take it away again, and add up over the leading axes that were broadcast"
    for a, b in ((vector, other), (left, vector), (vector, right), (left, right), (normal(seed + 4, *shorter, m, k), left.mT)):
        shapes = f"{tuple(a.shape)} @ {tuple(b.shape)}"
        check(student, [a, b], [["@", [0, 1], {}]], shapes, hint)
    check(student, [vector], [["@", [0, 0], {}]], "v @ v", hint)
    both = normal(seed + 5, 2, 1, n, k), normal(seed + 6, 1, 3, k, m)
    check(student, both, [["@", [0, 1], {}]], f"(2, 1, {n}, {k}) @ (1, 3, {k}, {m})", hint)


@exercise(NAME, points=0.75)
@settings(max_examples=4)
@given(case=reductions(), keepdims=st.booleans(), seed=seeds())
@example(case=((3, 3), 1), keepdims=False, seed=1)
@example(case=((3, 3), -1), keepdims=True, seed=2)
@example(case=((2, 2, 2), 1), keepdims=False, seed=3)
@example(case=((2, 2, 2), -2), keepdims=False, seed=4)
@example(case=((2, 3, 4), (0, 2)), keepdims=False, seed=5)
@example(case=((2, 3, 4), (1, 2)), keepdims=False, seed=6)
@example(case=((2, 3, 4), (-1, 0)), keepdims=False, seed=7)
@example(case=((2, 2, 2), (-1, 1)), keepdims=False, seed=8)
@example(case=((2, 3, 4), (0, 2)), keepdims=True, seed=9)
@example(case=((2, 3), None), keepdims=True, seed=10)
@example(case=((2, 3), 0), keepdims=False, seed=11)
@example(case=((2, 0), 1), keepdims=False, seed=12)
@example(case=((2, 3, 4), (2, 0)), keepdims=False, seed=13)
@example(case=((2, 2, 2), (-2, -1)), keepdims=False, seed=14)
@example(case=((2, 3, 4, 2), (-1, 1)), keepdims=False, seed=15)
def test_sums_over_axes(student, case, keepdims, seed):
    """Over one axis, several or all, counted from either end, with and without keepdims."""
    a, axis = case
    hint = "the axes that were summed over have to come back, with size 1, before g is broadcast"
    options = {"axis": axis, "keepdims": keepdims}
    check(student, [normal(seed, *a)], [["sum", [0], options]], f"x.sum({axis}, keepdims={keepdims}) of {a}", hint)


@exercise(NAME, points=0.75)
@settings(max_examples=3)
@given(case=reductions(), keepdims=st.booleans(), seed=seeds())
@example(case=((2, 3), None), keepdims=False, seed=1)
@example(case=((2, 3), -1), keepdims=False, seed=2)
@example(case=((2, 3, 4), (0, 2)), keepdims=False, seed=3)
@example(case=((2, 3, 4), (-1, 1)), keepdims=True, seed=4)
@example(case=((3, 3), 1), keepdims=False, seed=5)
@example(case=((0, 3), 1), keepdims=False, seed=6)
def test_means(student, case, keepdims, seed):
    """The same for means."""
    a, axis = case
    options = {"axis": axis, "keepdims": keepdims}
    hint = "divide by the number of numbers that are added for each result, not by all"
    check(student, [normal(seed, *a)], [["mean", [0], options]], f"x.mean({axis}, keepdims={keepdims}) of {a}", hint)


@exercise(NAME, points=0.75)
@settings(max_examples=3)
@given(a=SHAPES, seed=seeds(), data=st.data())
def test_reshapes(student, a, seed, data):
    """Sizes one by one or as a tuple, -1 for what is left, and numbers that lie in memory in another order."""
    x = normal(seed, *a)
    sizes = data.draw(st.permutations(a))
    for shape in ([-1], sizes, [1, *sizes], [-1, *sizes[1:]]):
        for whole in (False, True) if shape else (True,):
            operation = ["reshape", [0], {"shape": list(shape), "whole": whole}]
            check(student, [x], [operation], f"x.reshape({shape}) of {a}", "to x: g in x's shape")
    check(student, [x], [["sum", [0], {}], ["reshape", [1], {"shape": [1, 1]}]], "x.sum().reshape(1, 1)")
    turned = [["T", [0], {}], ["reshape", [1], {"shape": [2, 3]}], ["T", [2], {}], ["reshape", [3], {"shape": [6]}]]
    check(student, [normal(seed, 2, 3)], turned, "x.T.reshape(2, 3).T.reshape(6)", "row by row, whatever the order in memory")


@exercise(NAME, points=0.75)
@settings(max_examples=1)
@given(seed=seeds())
def test_transpositions(student, seed):
    """Any order of the axes, counted from either end; without one, and for .T, the reversed order."""
    hint = "g goes back by the inverse permutation: np.argsort of axes that are counted from 0"
    for sizes in ((2, 3, 4), (2, 2, 2), (2, 3), (2, 2), (3,)):
        x = normal(seed, *sizes)
        for axes in permutations(range(len(sizes))):
            mixed = [axis - len(sizes) * (i % 2) for i, axis in enumerate(axes)]
            pairs = ((True, list(axes)), (False, list(axes)), (True, mixed), (False, mixed))
            operations = [["transpose", [0], {"axes": axes, "whole": whole}] for whole, axes in pairs]
            check(student, [x], operations, f"x.transpose({list(axes)}) and x.transpose({mixed}) of {sizes}", hint)
    four = [["transpose", [0], {"axes": axes, "whole": True}] for axes in ([1, 3, 0, 2], [-1, 0, 1, 2], [3, 1, -4, 2])]
    check(student, [normal(seed, 2, 3, 1, 2)], four, "transpositions of four axes", hint)
    for sizes in ((2, 3, 4, 1), (2, 2, 2), (2, 3), (3,), ()):
        operations = [["transpose", [0], {"axes": []}], ["T", [0], {}]]
        check(student, [normal(seed, *sizes)], operations, f"x.transpose() and x.T of {sizes}", hint)


@exercise(NAME, points=0.75)
@settings(max_examples=2)
@given(a=SHAPES, seed=seeds())
@example(a=(2, 3), seed=1)
def test_exp_log_and_tanh(student, a, seed):
    """The three functions, their gradients, and one after the other."""
    x = normal(seed, *a)
    check(student, [x], [["exp", [0], {}]], "x.exp()", "g exp(x)")
    check(student, [positive(x)], [["log", [0], {}]], "x.log()", "g / x")
    check(student, [x], [["tanh", [0], {}]], "x.tanh()", "g (1 - tanh(x)²)")
    check(student, [x], [["exp", [0], {}], ["tanh", [1], {}], ["log", [2], {}], ["exp", [3], {}]], "exp, tanh, log, exp")
    check(student, [30 * x - 5], [["exp", [0], {}]], "x.exp() of numbers far from 0", "np.exp as it is")
    check(student, [positive(x) * 1e-15], [["log", [0], {}]], "x.log() of tiny numbers", "np.log as it is")
    far = torch.where(x > 0, 800.0, -800.0)
    check(student, [far], [["tanh", [0], {}]], "x.tanh() of ±800", "exp(800) is infinite: np.tanh is not")


@exercise(NAME, points=0.75)
@settings(max_examples=3)
@given(a=SHAPES, seed=seeds())
@example(a=(2, 3), seed=1)
@example(a=(4, 4), seed=3)
def test_relu_and_its_gradient_at_0(student, a, seed):
    """The gradient passes where x is above 0, and not at 0."""
    x = normal(seed, *a)
    check(student, [x], [["relu", [0], {}]], "x.relu()", "g where x is above 0")
    check(student, [torch.where(x > 0.3, x, 0.0)], [["relu", [0], {}]], "x.relu() where x is 0", "at 0 the gradient is 0")
    check(student, [x * 1e-30], [["relu", [0], {}]], "x.relu() of tiny numbers", "above 0 is above 0")
    check(student, [x], [["relu", [0], {}], ["relu", [1], {}]], "x.relu().relu()")


@exercise(NAME, points=0.75)
@settings(max_examples=9)
@given(a=st.lists(st.integers(1, 4), min_size=1, max_size=3).map(tuple), seed=seeds(), data=st.data())
def test_parts_by_integers_and_slices(student, a, seed, data):
    """x[i], x[i, j], slices with steps of either sign, None and Ellipsis."""
    index = data.draw(indices_of(a).filter(lambda parts: all(part[0] != "array" for part in parts)))
    part = ["[]", [0], {"index": index}]
    check(student, [normal(seed, *a)], [part], f"{said(part, 'x')} of {a}", "zeros, and g where it was")
    nothing = [["[]", [0], {"index": [["slice", 0, 0, None]]}], ["sum", [1], {}]]
    check(student, [normal(seed, *a)], nothing, "x[0:0].sum()", "what was not taken has a gradient of 0, and here that is all")
    twice = [["[]", [0], {"index": index}], ["[]", [0], {"index": [["int", 0]]}], ["sum", [1], {}], ["*", [2, 3], {}]]
    check(student, [normal(seed, *a)], twice, "two parts of one array")


@exercise(NAME, points=0.75)
@settings(max_examples=4)
@given(a=st.lists(st.integers(1, 4), min_size=1, max_size=3).map(tuple), seed=seeds(), data=st.data())
@example(a=(3, 2), seed=1, data=None)
def test_parts_by_masks_and_integer_arrays(student, a, seed, data):
    """Boolean masks and integer arrays, with indices that come several times, of which each counts."""
    array = ["array", torch.tensor([2, 0, 2, 2, -1])]
    index = [array] if data is None else data.draw(indices_of(a).filter(lambda parts: any(part[0] == "array" for part in parts)))
    x = normal(seed, *a)
    hint = "whole[index] += g keeps one of several: np.add.at adds them all"
    rows = [["list", [0, 0, a[0] - 1, -1]]]
    grid = [["array", torch.tensor([[0, a[0] - 1], [0, 0]])]]
    pairs = [["array", torch.tensor([0, -1, 0, 0])]] * len(a)
    mixed = [["array", torch.tensor([0, 0, -1])], ["rest"], ["new"]]
    for each in (index, rows, grid, pairs, mixed):
        part = ["[]", [0], {"index": each}]
        check(student, [x], [part], f"{said(part, 'x')} of {a}", hint)
    for each in (["list", [0, -a[0]]], ["array", torch.tensor([-a[0], 0])]):  # the first, counted from either end
        part = ["[]", [0], {"index": [each]}]
        check(student, [x], [part], f"{said(part, 'x')} of {a}", hint)
    part = ["[]", [0], {"index": grid}]
    turned = "g comes in whatever order in memory: each of its numbers goes where the index says"
    check(student, [x], [part, ["T", [1], {}]], f"{said(part, 'x')}.T of {a}", turned)
    every, rows, columns = ["slice", None, None, None], [True, False], ["array", torch.tensor([True, False, True])]
    tuples = [[first, ["list", [0, 0, -1]]] for first in (every, ["int", 1], ["rest"])]
    tuples += [[["list", rows]], [["list", rows], ["int", 1]], [every, columns], [["list", [0, 1]], columns]]
    operations = [["[]", [0], {"index": index}] for index in tuples]
    check(student, [normal(seed, 2, 3)], operations, f"{', '.join(said(part, 'x') for part in operations)} of (2, 3)", hint)


FLOAT32 = [
    [["*", [0, 1], {}], ["+", [2, 1], {}]],
    [["with", [0], {"sign": "*", "other": 2.5, "left": True}], ["with", [2], {"sign": "+", "other": 1, "left": False}]],
    [["with", [1], {"sign": "*", "other": 0.1, "left": False}], ["with", [2], {"sign": "+", "other": 3, "left": True}]],
]


@exercise(NAME, points=0.5)
@settings(max_examples=2)
@given(a=SHAPES, seed=seeds())
@example(a=(2, 3), seed=1)
@example(a=(), seed=1)
def test_float32_stays_float32(student, a, seed):
    """Results and gradients of float32 are float32, Python numbers change nothing, and with float64 each has its own."""
    x, y = normal(seed, *a, dtype=torch.float32), normal(seed + 1, *a[1:], dtype=torch.float32)
    hint = "a Python number takes the dtype of the Array; a gradient that of its own data"
    for operations in FLOAT32:
        check(student, [x, y], operations, "an expression in float32", hint)
    for mixed in ([x, y.double()], [x.double(), y]):  # in NumPy a float64 without axes counts as much as any other
        graph = graph_of(mixed, FLOAT32[0])
        weights = [[i, weight.double()] for i, weight in graph.weights]
        expected = truth([(data.double(), True) for data in mixed], graph.operations, weights)
        expected["gradients"] = [right.to(data.dtype) for right, data in zip(expected["gradients"], mixed)]
        actual = student.run(probes.graph, graph.leaves, graph.operations, weights)
        compare(actual, expected, "an expression of float32 and float64", hint)
    for operations in ([], [["+", [0, 0], {}]]):
        grad = normal(seed + 2, *a)
        [[gradient]] = student.run(probes.walks, [(x, True)], operations, [[len(operations), grad, []]])
        expected = ((1 + len(operations)) * grad).float()
        assert_close(gradient, expected, what="the gradient of float32, backward having been given float64", hint=hint)


@exercise(NAME, points=0.5)
@settings(max_examples=1)
@given(seed=seeds())
def test_every_operation_keeps_float32(student, seed):
    """No operation makes float64 of float32, or float32 of float64 that meets it."""
    x = positive(normal(seed, 2, 3, dtype=torch.float32))
    with_true = [["with", [0], {"sign": sign, "other": True, "left": left}] for sign in "+-*/" for left in (True, False)]
    for operation in [*EACH, *with_true]:  # True is a Python number, too: an int
        check(student, [x, x.mT.contiguous()], [operation], f"{said(operation)} in float32")
    for sign in "+-*/@":
        y = x.mT.contiguous() if sign == "@" else torch.tensor([0.5, 2.0, 4.0])  # whose inverses are exact
        for single, double in (([x, y.double()], [x.double(), y.double()]), ([x.double(), y], [x.double(), y.double()])):
            graph = graph_of(double, [[sign, [0, 1], {}]])
            expected = truth(*graph.arguments)
            expected["gradients"] = [right.to(leaf.dtype) for right, leaf in zip(expected["gradients"], single)]
            actual = student.run(probes.graph, [(leaf, True) for leaf in single], graph.operations, graph.weights)
            compare(actual, expected, f"x {sign} y, of {single[0].dtype} and {single[1].dtype}", "NumPy makes float64 of the two")
        leaf = 2.0 ** torch.arange(-2.0, 4.0).reshape(2, 3) if sign == "/" else x  # inverses are exact here, too
        others = [(y.double(), "a plain array of float64")]  # the same with what is no Array
        if sign != "@":
            others += [(y.double()[1], "a plain array of float64 without axes"), ([2.0, 4.0, 0.5], "a list of floats")]
        for (other, kind), left in product(others, (True, False)):
            operations = [["with", [0], {"sign": sign, "other": other, "left": left}]]
            graph = graph_of([leaf.double()], operations)
            expected = truth(*graph.arguments)
            expected["gradients"] = [right.to(leaf.dtype) for right in expected["gradients"]]
            actual = student.run(probes.graph, [(leaf, True)], graph.operations, graph.weights)
            compare(actual, expected, f"x of float32 {sign} {kind}", "NumPy makes float64 of the two")


@exercise(NAME, points=0.5)
@settings(max_examples=1)
@given(seed=seeds())
def test_every_operation_may_be_walked_again(student, seed):
    """A second walk through the same result, with another gradient, adds what belongs to that and nothing else."""
    leaves = [(positive(normal(seed, 2, 3)), True), (normal(seed + 1, 3, 2), True)]
    for operation in EACH:
        [*_, result] = nodes_of(leaves, [operation])
        calls = [[2, normal(seed + k, *result.shape), []] for k in range(3)]
        actual = student.run(probes.walks, leaves, [operation], calls)
        for k, right in enumerate(walked(leaves, [operation], calls)):
            what, hint = f"walk {k + 1} through {said(operation)}", "keep nothing from a walk" if k else ""
            compare({"values": [], "gradients": actual[k]}, {"values": [], "gradients": right}, what, hint)
    graph, rate = graph_of([data for data, _ in leaves], EACH), 1e-3
    for step, found in enumerate(student.run(probes.descended, *graph.arguments, rate)):
        expected = truth(*graph.arguments)
        compare(found, expected, f"all operations, after {step} steps downhill", "compute from what data is now")
        moved = [(data - rate * right, True) for (data, _), right in zip(graph.leaves, expected["gradients"])]
        graph = Graph(moved, graph.operations, graph.weights)


@exercise(NAME, points=0.75)
@settings(max_examples=1)
@given(a=st.lists(st.integers(1, 3), min_size=1, max_size=3).map(tuple), seed=seeds())
@example(a=(2, 3), seed=1)
@example(a=(3, 2), seed=2)
def test_numbers_and_plain_arrays_on_either_side(student, a, seed):
    """2 - x, x / 2, array - x, x @ array: what is no Array may stand on the left and on the right."""
    x, larger = positive(normal(seed, *a)), positive(normal(seed + 1, 2, *a))
    hint = "__radd__ and its sisters; NumPy leaves them the work where __array_ufunc__ is None"
    for sign in "+-*/":
        for other in (2, -0.3, larger, larger[0, 0], torch.arange(1, a[-1] + 1), [2.0] * a[-1]):
            operations = [["with", [0], {"sign": sign, "other": other, "left": left}] for left in (True, False)]
            kind = {torch.Tensor: "an array", int: "an int", float: "a float", list: "a list"}[type(other)]
            check(student, [x], operations, f"(other {sign} x, x {sign} other), other {kind}", hint)
        operations = [["with", [0], {"sign": sign, "other": 1.3, "left": left, "scalar": True}] for left in (True, False)]
        check(student, [x], operations, f"(np.float64(1.3) {sign} x, x {sign} np.float64(1.3))", hint)
    for y, batch in ((x, ()), (x, (2, 1)), (larger, ())):
        rows, columns = normal(seed + 2, *batch, 2, *y.shape[-2:-1] or y.shape), normal(seed + 3, *batch, y.shape[-1], 2)
        for left, other in ((True, rows), (False, columns)):
            both = [["with", [0], {"sign": "@", "other": operand, "left": left}] for operand in (other, other.tolist())]
            what = "(array @ x, lists @ x)" if left else "(x @ array, x @ lists)"
            check(student, [y], both, f"{what}, array {tuple(other.shape)}, x {tuple(y.shape)}", hint)


@exercise(NAME, points=1)
@settings(max_examples=22)
@given(case=graphs_of_everything())
def test_gradients_of_everything_together(student, case):
    """Random expressions with all operations there are."""
    compare(student.run(probes.graph, *case.arguments), truth(*case.arguments), "an expression of everything")


@exercise(NAME, points=1)
def test_long_chains_and_many_ways(student):
    """Tens of thousands of operations in a row are no problem, and neither are 2 ** 60 ways through 60 of them."""
    n, factor = 10_000, 1 - 1e-5
    value, x_grad, b_grad = student.run(probes.long_chain, n, factor)
    x, powers = torch.tensor([1.0, 2.0], dtype=torch.float64), factor ** torch.arange(1, n + 1, dtype=torch.float64)
    assert_close(value, x * powers[-1] + 0.5 * powers.sum(), what=f"x after {n} additions", rtol=1e-8)
    assert_close(x_grad, torch.full((2,), float(powers[-1]), dtype=torch.float64), what="the gradient of x", rtol=1e-8)
    assert_close(b_grad, 2 * powers.sum(), what="the gradient of b", rtol=1e-8)
    doubled = torch.tensor(2.0**60, dtype=torch.float64)
    assert_close(student.run(probes.ladder, 60), doubled, what="the gradient of x doubled 60 times")
