"""Hidden tests of unbroadcast, topological_order and gradcheck."""

import math

import torch

from autograder.testing import assert_close, assert_equal, assert_refused, exercise
from autograder.testing.hints import called
from autograder.testing.strategies import composite, example, float_dtypes, given, normal, seeds, settings, st

from . import probes

SHAPES = st.lists(st.integers(1, 4), max_size=4).map(tuple)


@composite
def broadcasts(draw, sizes=SHAPES):
    """(shape, what it is broadcast to)."""
    whole = draw(sizes)
    shape = tuple(draw(st.sampled_from([size, 1])) for size in whole)
    return shape[draw(st.integers(0, len(shape))) :], whole


def sum_back(grad, shape):
    """What autograd does for expand."""
    x = torch.zeros(shape, dtype=grad.dtype, requires_grad=True)
    x.expand(grad.shape).backward(grad)
    return x.grad


def check_unbroadcast(student, grad, shape, layout="plain", hint=""):
    value, kept = student.run(probes.unbroadcasted, grad, list(shape), layout)
    what = f"unbroadcast(grad {tuple(grad.shape)}, {tuple(shape)})"
    assert_close(value, sum_back(grad, shape), what=what, hint=hint or "sum over axes that were added or stretched")
    assert_equal(kept, True, what=f"whether grad is what it was after {what}")


@exercise("unbroadcast", points=3, core=True)
@settings(max_examples=16)
@given(case=broadcasts(), seed=seeds())
@example(case=((3,), (2, 3)), seed=1)
@example(case=((3, 1), (3, 4)), seed=2)
@example(case=((1, 3), (2, 3)), seed=3)
@example(case=((1,), (4,)), seed=4)
@example(case=((), (2, 3)), seed=5)
@example(case=((3, 1, 2), (2, 3, 4, 2)), seed=6)
@example(case=((3, 3), (3, 3, 3)), seed=7)
@example(case=((1, 1), (1, 1, 1)), seed=8)
@example(case=((1, 1, 1, 2, 1), (3, 2, 2, 3, 2, 2)), seed=9)
def test_copies_are_added_up(student, case, seed):
    """The gradient of broadcasting to grad's shape, as PyTorch has it."""
    shape, whole = case
    check_unbroadcast(student, normal(seed, *whole), shape)


@exercise("unbroadcast", points=0.75)
@settings(max_examples=6)
@given(case=broadcasts(), dtype=float_dtypes(), seed=seeds())
@example(case=((3,), (2, 3)), dtype=torch.float32, seed=1)
@example(case=((2, 3), (2, 3)), dtype=torch.float32, seed=1)
@example(case=((3,), (2, 3)), dtype=torch.float16, seed=1)
def test_dtype_of_the_gradient_stays(student, case, dtype, seed):
    """float32 and float64 stay what they are, and float16 as well."""
    shape, whole = case
    check_unbroadcast(student, normal(seed, *whole, dtype=dtype), shape)


@exercise("unbroadcast", points=0.5)
@settings(max_examples=15)
@given(case=broadcasts(st.lists(st.integers(0, 2), max_size=3).map(tuple)), seed=seeds())
@example(case=((0,), (2, 0)), seed=1)
@example(case=((1,), (0,)), seed=2)
@example(case=((1, 3), (0, 3)), seed=3)
def test_sizes_of_0(student, case, seed):
    """A sum of nothing is 0, and an axis of size 0 stays one."""
    shape, whole = case
    check_unbroadcast(student, normal(seed, *whole), shape, hint="an axis of size 1 was stretched to 0 as well")


@exercise("unbroadcast", points=0.75)
@settings(max_examples=4)
@given(case=broadcasts(), seed=seeds())
@example(case=((2, 3), (2, 3)), seed=1)
@example(case=((3,), (2, 3)), seed=2)
def test_gradient_stays_what_it_is(student, case, seed):
    """Whatever the order of its numbers in memory, and if it cannot be written to."""
    shape, whole = case
    for layout in ("turned", "scattered", "read only"):
        check_unbroadcast(student, normal(seed, *whole), shape, layout)


@exercise("unbroadcast", points=1)
def test_shapes_that_do_not_broadcast_are_refused(student):
    """A shape that is longer, has another size than 1 or grad's, or would be the larger one."""
    pairs = [((2,), (3,)), ((3, 2), (3,)), ((2, 3), (2, 1, 3)), ((1,), (3,)), ((1, 3), (2, 3)), ((), (1,)),
             ((3,), (1, 3)), ((2, 3), (2,)), ((2, 2, 3), (3, 3)), ((4,), (2,)), ((1,), (0,)), ((3,), (0,)), ((6,), (2, 3)),
             ((2, 2, 3), (2, 3, 2)), ((2, 3, 4), (3, 2, 4)), ((2, 3, 4), (6, 4)), ((2, 3), (3, 2)),
             ((1,), (1, 1)), ((2, 1), (1, 2, 1)), ((2, 3), (1, 2, 3))]  # fmt: skip
    unbroadcast = called("unbroadcast", lambda grad, shape: student.run(probes.unbroadcasted, grad, shape)[0])
    for whole, shape in pairs:
        why = f"{shape} does not broadcast to {whole}"
        assert_refused(unbroadcast, normal(1, *whole), list(shape), why=why)


# topological_order


@composite
def dags(draw, most=14):
    """For each node the numbers of its parents, which are earlier ones, some of them twice; and a root."""
    parents = [[]]
    for n in range(1, draw(st.integers(1, most))):
        parents.append(draw(st.lists(st.integers(max(0, n - 5), n - 1), max_size=4)))
    return parents, draw(st.integers(0, len(parents) - 1))


def ancestors(parents, root):
    found, waiting = set(), [root]
    while waiting:
        node = waiting.pop()
        if node not in found:
            found.add(node)
            waiting += parents[node]
    return found


def ordered(student, parents, root, *kinds):
    """The order that the student finds for the root."""
    mixed, places = mixed_up(parents)
    return [places[number] for number in student.run(probes.ordered, mixed, places.index(root), *kinds)]


def mixed_up(parents):
    """The same graph with its nodes in another order, from which nothing follows, and which node is at each place."""
    places = torch.randperm(len(parents), generator=torch.Generator().manual_seed(len(parents))).tolist()
    return [[places.index(parent) for parent in parents[node]] for node in places], places


def check_order(order, parents, root):
    """One of the valid orders."""
    wanted = ancestors(parents, root)
    said = f"the order of root {root} in {parents}" if len(parents) < 30 else f"the order of root {root}"
    if not all(isinstance(node, int) for node in order):
        raise AssertionError(f"{said} holds what is no node: {brief(order)}")
    if len(order) != len(set(order)):
        raise AssertionError(f"{said} has {len(order)} entries, but {len(set(order))} nodes\n  hint: each node once")
    if set(order) != wanted:
        missing, more = sorted(wanted - set(order))[:9], sorted(set(order) - wanted)[:9]
        raise AssertionError(
            f"{said} lacks {missing} and has {more} too much\n  hint: all that the root depends on, and the root"
        )
    place = {node: i for i, node in enumerate(order)}
    for node in order:
        for parent in parents[node]:
            if place[parent] > place[node]:
                hint = "append a node when all its parents have been appended, not when it is met"
                raise AssertionError(f"{said}: {brief(order)} has {node} before its parent {parent}\n  hint: {hint}")


def brief(order):
    return str(order) if len(order) < 30 else "it"


DIAMOND = [[], [0], [0], [1, 2]]
LATE = [[], [0], [1], [2], [0, 3], [4, 0, 1]]  # what is met first may depend on what is met last


@exercise("topological_order", points=3, core=True)
@settings(max_examples=28)
@given(case=dags())
@example(case=(DIAMOND, 3))
@example(case=([[], [0, 0]], 1))
@example(case=([[]], 0))
@example(case=(LATE, 5))
@example(case=([nodes[::-1] for nodes in LATE], 5))
@example(case=([[], [0], [0, 1], [1, 2], [2, 3], [3, 4]], 5))
def test_parents_come_before_children(student, case):
    """All that the root depends on and the root itself, each once, parents before children."""
    parents, root = case
    check_order(ordered(student, parents, root), parents, root)


@exercise("topological_order", points=1)
def test_many_ways_are_no_more_work(student):
    """However many ways lead to a node, it is looked at a few times and no more."""
    twice = [[], *([i, i] for i in range(60))]
    check_order(ordered(student, twice, 60, "Counting"), twice, 60)
    ladder = [[], []]
    for i in range(0, 120, 2):
        ladder += [[i, i + 1], [i + 1, i]]
    check_order(ordered(student, ladder, 121, "Counting"), ladder, 121)
    steps = [[], [0], *([i - 1, i - 2] for i in range(2, 400))]
    check_order(ordered(student, steps, 399, "Counting"), steps, 399)
    tangle = [list(range(i)) for i in range(60)]
    check_order(ordered(student, tangle, 59, "Counting"), tangle, 59)


@exercise("topological_order", points=0.5)
@settings(max_examples=8)
@given(case=dags())
@example(case=(DIAMOND, 3))
@example(case=([[], [], [0, 1]], 2))
def test_equal_nodes_are_not_the_same(student, case):
    """Nodes that are equal to each other, cannot be hashed, and are false, are nodes of their own."""
    parents, root = case
    check_order(ordered(student, parents, root, "Twin", "list"), parents, root)


@exercise("topological_order", points=0.5)
@settings(max_examples=8)
@given(case=dags(), other=st.integers(0, 13))
@example(case=(DIAMOND, 3), other=2)
def test_asking_leaves_no_trace(student, case, other):
    """The graph stays as it is, and a second question, for this root or another one, gets its own answer: a list."""
    parents, root = case
    roots = [root, root, other % len(parents), root]
    mixed, places = mixed_up(parents)
    found = student.run(probes.ordered_again, mixed, [places.index(asked) for asked in roots])
    for asked, (order, is_list, unchanged) in zip(roots, found, strict=True):
        check_order([places[number] for number in order], parents, asked)
        assert_equal([is_list, unchanged], [True, True], what="[is it a list, are all parents as they were]")


@exercise("topological_order", points=1)
def test_a_chain_of_100_000_nodes(student):
    """Chains are as long as they like, and a node may have as many parents, at Python's usual recursion limit."""
    chain, wide = student.run(probes.ordered_chain, 100_000, 40_000)
    assert_equal(chain, torch.arange(100_000), what="the order of a chain", hint="from the leaf to the root")
    assert_equal(wide.sort().values, torch.arange(40_001), what="the nodes that one with 40,000 parents depends on")
    assert_equal(int(wide[-1]), 40_000, what="the last node", hint="the root comes last")


# gradcheck


@composite
def problems(draw):
    """Shapes of inputs and a seed."""
    return draw(st.lists(st.lists(st.integers(1, 3), max_size=2).map(tuple), min_size=1, max_size=3)), draw(seeds())


def posed(case):
    """Inputs and coefficients of `probes.function`."""
    shapes, seed = case
    return tuple([normal(seed + 10 * k + i, *shape) for i, shape in enumerate(shapes)] for k in range(2))


THREE = [(2, 3), (), (1,)], 1


@exercise("gradcheck", points=3, core=True)
@settings(max_examples=5)
@given(case=problems())
@example(case=THREE)
@example(case=([(2, 2)], 2))
@example(case=([()], 3))
def test_right_gradients_pass_and_one_wrong_entry_fails(student, case):
    """True where backward is right; False where it is wrong in one entry of one input, whichever that is."""
    inputs, coefficients = posed(case)
    assert_equal(student.run(probes.checked, inputs, coefficients), True, what="gradcheck of a right gradient")
    verdicts = student.run(probes.each_entry_wrong, inputs, coefficients, 0.5)
    hint = "go through every entry of every input, and return False at any that differs, True only after the last"
    assert_equal(verdicts, [False] * len(verdicts), what="gradcheck where one entry is wrong by 0.5, each in turn", hint=hint)


@exercise("gradcheck", points=1)
@settings(max_examples=2)
@given(case=problems(), seed=seeds())
@example(case=THREE, seed=1)
def test_inputs_are_left_as_they_were(student, case, seed):
    """Data, gradients and all else of the inputs, whatever the verdict is."""
    inputs, coefficients = posed(case)
    some = [normal(seed + i, *x.shape) if i % 2 == 0 else None for i, x in enumerate(inputs)]
    tiny = [1e-9 * x for x in inputs]  # of which x - eps + eps is not x
    said = student.run(probes.left_as_they_were, tiny, coefficients, None, some)
    assert_equal(said, [], what="what gradcheck changed of tiny inputs", hint="work on Arrays of your own")
    for old in ([None] * len(inputs), some):
        for error in (None, [0, 0, 1.0], [len(inputs) - 1, inputs[-1].numel() - 1, 1.0]):
            found = student.run(probes.left_as_they_were, inputs, coefficients, error, old)
            assert_equal(found, [], what="what gradcheck changed of its inputs", hint="work on Arrays of your own")


@exercise("gradcheck", points=0.75)
@settings(max_examples=4)
@given(case=problems(), seed=seeds())
@example(case=THREE, seed=1)
def test_gradients_from_before_do_not_count(student, case, seed):
    """A gradient that an input has already makes no right one wrong, and no wrong one right."""
    inputs, coefficients = posed(case)
    old = [normal(seed + i, *x.shape) for i, x in enumerate(inputs)]
    infinite, more = [torch.full_like(x, torch.inf) for x in inputs], "begin with grad None: infinity stays infinite"
    for grads, kind, hint in ((old, "others", "backward adds"), (infinite, "infinite ones", more)):
        said = student.run(probes.checked, inputs, coefficients, old=grads)
        assert_equal(said, True, what=f"gradcheck of a right gradient, the inputs having {kind}", hint=hint)
    missing = [torch.zeros_like(x) for x in inputs]
    missing[-1].view(-1)[-1] = 0.7  # what backward does not hear of is there already
    error = [len(inputs) - 1, inputs[-1].numel() - 1, 0.7]
    said = student.run(probes.checked, inputs, coefficients, error, old=missing)
    assert_equal(said, False, what="gradcheck of a wrong gradient, the difference being in grad from before")


@exercise("gradcheck", points=0.75)
@settings(max_examples=2)
@given(case=problems())
@example(case=THREE)
def test_constants_and_inputs_without_use(student, case):
    """What requires no gradient is held fixed; what backward does not reach has gradient 0; f may return its input itself."""
    inputs, coefficients = posed(case)
    for i, x in enumerate(inputs):
        wanted = [k != i for k in range(len(inputs))]
        said = student.run(probes.checked, inputs, coefficients, [i, x.numel() - 1, 0.5], wanted=wanted)
        assert_equal(said, True, what=f"gradcheck where input {i} requires none, {len(inputs)} in all", hint="hold it fixed")
    point = normal(3, 2)
    for kind, right in (
        ("the first of two", True),
        ("the second of two", True),
        ("no input", True),
        ("no input, but its data", False),
        ("nothing but its data", False),
    ):
        assert_equal(student.run(probes.checked_odd, kind, point), right, what=f"gradcheck of a function of {kind}")
    for kind in ("its own difference", "all but the first"):  # numeric is 0 in each entry, or in the first
        hint = "a numeric of exactly 0 is compared like any other"
        assert_equal(student.run(probes.checked_odd, kind, normal(3, 3)), False, what=f"gradcheck of {kind}", hint=hint)
    for shape in ((), (1,), (1, 1)):
        said = student.run(probes.checked_odd, "the input itself", normal(4, *shape))
        assert_equal(said, True, what="gradcheck of f(x) = x", hint="take the number out: data may be the array you move")
    said = student.run(probes.checked_odd, "a square", torch.zeros(0, 2, dtype=torch.float64))
    assert_equal(said, True, what="gradcheck of an input without entries")


@exercise("gradcheck", points=0.75)
@settings(max_examples=1)
@given(seed=seeds())
def test_each_entry_has_its_own_tolerance(student, seed):
    """A small wrong entry is found beside large right ones, and a difference within the tolerance is none."""
    large, small = positive(normal(seed, 3)) + 3, 0.01 + 0.01 * normal(seed + 1, 2).abs()
    for slope, right in ((1e-3, False), (-1e-3, False), (1e-4, False), (4e-6, False), (0.0, True), (1e-7, True)):
        # The first input's gradients are 100 and more, the second's not even 0.001.
        said = student.run(probes.checked, [large, small, small], [large, small, small], [1, 0, slope])
        assert_equal(said, right, what=f"gradcheck where one small entry is wrong by {slope}", hint="compare entry by entry")
    both = torch.cat([small, large])
    said = student.run(probes.checked, [both, small], [both, small], [0, 1, 1e-3])
    assert_equal(said, False, what="gradcheck where one small entry is wrong, in one input with large ones")
    many = normal(seed, 9, 8)
    said = student.run(probes.checked, [many], [0 * many], [0, 71, 0.5])
    assert_equal(said, False, what="gradcheck where the last of 72 entries is wrong", hint="look at every entry")
    x, c = positive(normal(seed, 2)), positive(normal(seed + 1, 2))
    slope = float(3 * c[0] * x[0] ** 2 + 2 * x.sum())  # of the right gradient
    for part, right in ((2, False), (1e-2, False), (1e-3, False), (5e-5, True)):  # -2: the right one with the other sign
        said = student.run(probes.checked, [x], [c], [0, 0, part * slope])
        assert_equal(said, right, what=f"gradcheck where one entry is wrong by {part} of itself", hint="1e-6 + 1e-4 |numeric|")
        said = student.run(probes.checked, [x], [c], [0, 0, -part * slope])
        assert_equal(said, right, what=f"gradcheck where one entry is wrong by -{part} of itself")
    x, none = torch.tensor([0.005], dtype=torch.float64), torch.zeros(1, dtype=torch.float64)  # the right slope is 0.01
    for slope, right in ((1.8e-6, True), (2.2e-6, False), (-1.8e-6, True), (-2.2e-6, False)):
        said = student.run(probes.checked, [x], [none], [0, 0, slope])
        assert_equal(said, right, what=f"gradcheck where 0.01 is wrong by {slope}", hint="1e-6 + 1e-4 |numeric|: the sum of both")


def positive(x):
    return x.abs() + 0.5


@exercise("gradcheck", points=0.75)
def test_differences_are_central_and_as_wide_as_eps(student):
    """f at entry + eps and at entry - eps, for the eps that was given, or else 1e-6."""
    point = torch.tensor([0.05, -0.05, 3.0], dtype=torch.float64)
    for eps, right in ((None, True), (1e-3, True), (0.04, True), (0.1, False), (1.0, False)):
        said = student.run(probes.checked_odd, "relu", point, eps)
        assert_equal(said, right, what=f"gradcheck of relu 0.05 away from its kink, eps {eps}", hint="both points are eps away")
    for eps in (None, 1e-4, 1e-2, 0.5):
        said = student.run(probes.checked_odd, "a square", point, eps)
        assert_equal(said, True, what=f"gradcheck of a square, eps {eps}", hint="central differences of a square are exact")
        said = student.run(probes.checked_odd, "the square of a sum", point, eps)
        assert_equal(said, True, what=f"gradcheck of the square of a sum, eps {eps}", hint="put each entry back before the next")
        said = student.run(probes.checked_odd, "twice as steep", point, eps)
        assert_equal(said, False, what=f"gradcheck of half the gradient, eps {eps}", hint="divide by 2 eps")
    said = student.run(probes.checked_odd, "relu", torch.tensor([3.0, -3.0], dtype=torch.float64), 2.0)
    assert_equal(said, True, what="gradcheck of relu 3 away from its kink, eps 2", hint="eps is as wide for large entries")
    for side in (0.05, -0.05):  # one of the two points is beyond the kink, from either side
        said = student.run(probes.checked_odd, "relu", torch.tensor([side], dtype=torch.float64), 0.2)
        assert_equal(said, False, what=f"gradcheck of relu at {side}, eps 0.2", hint="one point on each side")


@exercise("gradcheck", points=0.5)
def test_what_is_not_finite_never_agrees(student):
    """NaN and infinity are no gradients, even where both sides have them."""
    for kind in ("nan", "infinite"):
        for point in (normal(1, 2), torch.zeros(1, dtype=torch.float64)):  # at 0 both sides of an infinite slope are infinite
            said = student.run(probes.checked_odd, kind, point)
            assert_equal(said, False, what=f"gradcheck of a function that is {kind}", hint="nan > room is False: ask for <=")
    said = student.run(probes.checked_odd, "a leap from one infinity to the other", torch.zeros(1, dtype=torch.float64))
    hint = "1e-4 * infinity is infinite, and nothing is more"
    assert_equal(said, False, what="gradcheck where backward gives 1, and the differences infinity", hint=hint)


@exercise("gradcheck", points=0.5)
def test_what_cannot_be_checked_is_refused(student):
    """float32 inputs, an eps that is not above 0, and a function of more than one number."""
    gradcheck = called("gradcheck", lambda f, x, **eps: student.run(probes.checked_odd, f.removeprefix("f = "), x, **eps))
    for eps in (0.0, -1e-6, math.nan):
        assert_refused(gradcheck, "f = a square", normal(1, 2), eps=eps, why="eps must be above 0")
    assert_refused(gradcheck, "f = a square", normal(1, 2, dtype=torch.float32), why="the input is float32")
    inputs = [normal(2, 2), normal(3, 2, dtype=torch.float32)]
    with_two = called("gradcheck", lambda _, inputs: student.run(probes.checked, inputs, inputs))
    assert_refused(with_two, "f", inputs, why="the second input is float32")
    wanted = [True, False]
    with_two = called("gradcheck", lambda _, inputs: student.run(probes.checked, inputs, inputs, wanted=wanted))
    assert_refused(with_two, "f", inputs, why="the second input, a constant, is float32")
    for shape in ((2,), (3, 1)):
        for kind in ("not one number", "not one number, and constant"):
            assert_refused(gradcheck, f"f = {kind}", normal(4, *shape), why="f gives several numbers")
