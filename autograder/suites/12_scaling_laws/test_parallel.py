"""Hidden tests: the ring, layers in parts, and gradients averaged by several processes (see scenarios.Classroom)."""

import torch
import torch.nn.functional as F

from autograder.testing import assert_close, assert_equal, assert_inputs_untouched, assert_refused, exercise
from autograder.testing.probes import strided
from autograder.testing.strategies import example, given, leading_shapes, normal, seeds, settings, sizes, st

from . import scenarios

# ring_all_reduce


def vectors(seed, p, lengths, dtype=torch.float64):
    """chunks[r][c] for p ranks; chunk c has the shape lengths[c % len(lengths)]."""
    shapes = [lengths[c % len(lengths)] for c in range(p)]
    return [[normal(seed + 31 * r + c, *shape, dtype=dtype) for c, shape in enumerate(shapes)] for r in range(p)]


def sums(chunks):
    """What every rank should hold."""
    total = [sum(own[c] for own in chunks) for c in range(len(chunks))]
    return [total for _ in chunks]


@exercise("ring_all_reduce", points=3, core=True)
@settings(max_examples=15)
@given(p=sizes(1, 6), length=sizes(1, 4), seed=seeds())
@example(p=1, length=3, seed=1)
@example(p=2, length=1, seed=2)
@example(p=5, length=3, seed=3)
@example(p=9, length=2, seed=4)
@example(p=17, length=1, seed=4)
def test_every_rank_ends_with_the_sum(student, p, length, seed):
    """Each of the p chunks, at each of the p ranks, with the network that is given and with the one of the module."""
    chunks = vectors(seed, p, [(length,)])
    found = student.run(scenarios.ring, chunks)
    assert_close(found["held"], sums(chunks), what="the chunks of each rank", hint="[rank][chunk]")
    assert_close(student.ring_all_reduce(chunks), sums(chunks), what="the chunks, exchange being the default")
    assert_inputs_untouched(student, "clone each chunk before anything is added to it")


def marked(p, lengths):
    """chunks[r][c], full of 2^(p c + r): a sum of some of them says which ones are in it."""
    return [[torch.full(lengths[c % len(lengths)], 2.0 ** (p * c + r), dtype=torch.float64) for c in range(p)] for r in range(p)]


def read(message, p):
    """Which chunk a message is of, and of how many ranks it is the sum; (-1, 0) for what is no such sum."""
    value = int(message.flatten()[0]) if message.numel() and bool(message.isfinite().all()) else 0
    c = (value.bit_length() - 1) // p
    return (c, value.bit_count()) if value > 0 and value % 2 ** (p * c) == 0 and bool((message == value).all()) else (-1, 0)


@exercise("ring_all_reduce", points=2, core=True)
def test_the_network_is_used_as_a_ring_uses_it(student):
    """2 (p - 1) calls, in each of which every rank sends one chunk; first sums of 1, 2, … ranks, then whole sums."""
    for p, lengths in ((1, [(4,)]), (2, [(3,)]), (3, [(5,)]), (4, [(2,), (7,), (1,), (3,)]), (6, [(2,)])):
        log = student.run(scenarios.ring, marked(p, lengths))["log"]
        hint = "p - 1 exchanges to add up, p - 1 to hand out"
        assert_equal([len(call) for call in log], [p] * (2 * (p - 1)), what=f"messages in each exchange of {p} ranks", hint=hint)
        sent = [[read(message, p) for message in call] for call in log]
        for i, call in enumerate(sent):
            of = sorted(c for c, _ in call)
            hint = "each rank sends another chunk, and one only"
            assert_equal(of, list(range(p)), what=f"the chunks that {p} ranks send in exchange {i}", hint=hint)
            sizes = [list(message.shape) for message in log[i]]
            expected = [list(lengths[c % len(lengths)]) for c, _ in call]
            assert_equal(sizes, expected, what=f"the shapes of what is sent in exchange {i}")
            hint = "a partial sum is passed on, with the rank's own chunk in it; then a whole one"
            what = f"of how many ranks each message in exchange {i} of {2 * (p - 1)} is the sum"
            assert_equal([n for _, n in call], [min(i + 1, p)] * p, what=what, hint=hint)


@exercise("ring_all_reduce", points=1, core=True)
def test_what_arrives_is_what_counts(student):
    """A message that is spoilt on its way spoils what the rank makes of it, and nothing that does not depend on it."""
    for p in (2, 3, 4):
        for call in range(2 * (p - 1)):
            for rank in range(p):
                found = student.run(scenarios.ring, marked(p, [(2,)]), (call, rank))
                assert_equal([len(own) for own in found["held"]], [p] * p, what="chunks at each rank")
                c, _ = read(found["log"][call][rank - 1], p)
                after = range(p if call < p - 1 else 2 * (p - 1) - call)
                expected = sorted([(rank + i) % p, c] for i in after)
                spoilt = [[r, i] for r, own in enumerate(found["held"]) for i, chunk in enumerate(own) if chunk.isnan().any()]
                what = f"[rank, chunk] of what is spoilt, of {p} ranks, when what rank {rank} receives in exchange {call} is NaN"
                assert_equal(spoilt, expected, what=what, hint="a rank knows only its own chunks and what arrives")


@exercise("ring_all_reduce", points=1)
def test_chunks_of_any_shape(student):
    """Chunks that differ in size, empty ones, matrices and single numbers, in the dtype that they have."""
    for p, lengths in (
        (3, [(2,), (0,), (5,)]),
        (2, [(2, 3), ()]),
        (4, [(1,), (1,), (0,), (0,)]),
        (2, [(1500,), (2, 1, 3)]),
        (2, [(0,)]),
    ):
        for dtype in (torch.float64, torch.float32, torch.bfloat16, torch.float16):
            chunks = vectors(p, p, lengths, dtype)
            wide = sums([[chunk.double() for chunk in own] for own in chunks])
            expected = [[chunk.to(dtype) for chunk in own] for own in wide]
            room = {torch.bfloat16: {"rtol": 2e-2, "atol": 4e-2}, torch.float16: {"rtol": 3e-3, "atol": 5e-3}}.get(dtype, {})
            found = student.run(scenarios.ring, chunks)
            assert_close(found["held"], expected, what=f"the chunks in {dtype}", **room)
            what = f"how often exchange was called with chunks of shapes {lengths}"
            assert_equal(len(found["log"]), 2 * (p - 1), what=what, hint="an empty chunk travels like any other")
    whole = [[torch.tensor([r * 10 + c, 2**40]) for c in range(3)] for r in range(3)]
    assert_equal(student.ring_all_reduce(whole), sums(whole), what="the chunks of whole numbers")
    small = [[chunk.remainder(100).int() for chunk in own] for own in whole]
    assert_equal(student.ring_all_reduce(small), sums(small), what="the chunks of int32")
    many = [[torch.tensor(r * 70 + c) for c in range(70)] for r in range(70)]
    assert_equal(student.ring_all_reduce(many), sums(many), what="the chunks of 70 ranks")
    tuples = tuple(map(tuple, whole))
    assert_equal(student.ring_all_reduce(tuples), sums(whole), what="the chunks, which were given in tuples")


@exercise("ring_all_reduce", points=0.5)
def test_a_rank_keeps_what_it_had(student):
    """The chunks that came in are as they were, be they one tensor many times, and what goes out is in other memory."""
    for p in (1, 2, 4):
        found = student.run(scenarios.ring, vectors(p, p, [(3,), (2,)]))
        assert_equal(found["untouched"], True, what="whether the chunks are as they were", hint="clone, then add")
        assert_equal(found["shared"], False, what="whether the result shares memory with the chunks")
    chunk = normal(1, 3)
    held = student.run(scenarios.ring_of_one_chunk, chunk, 3)
    what, hint = "the chunks, all being one tensor at first", "clone each: a deep copy of all together keeps them one"
    assert_close(held, [[(3 * chunk).expand(2, 3)] * 3] * 3, what=what, hint=hint)


@exercise("ring_all_reduce", points=0.5)
def test_vectors_that_do_not_fit_together_are_refused(student):
    """No ranks, too few or too many chunks, at one rank or at all, and shapes that differ."""
    x = torch.ones(2)
    for chunks in ([], [[x, x], [x]], [[x], [x]], [[x, x, x], [x, x, x]], [[x, x], [x, torch.ones(3)]], [[]], [[x, x]]):
        assert_refused(student.ring_all_reduce, chunks, why=f"the ranks have {[len(own) for own in chunks]} chunks")
    assert_refused(student.ring_all_reduce, [[x, torch.ones(1)], [x, x]], why="a chunk has two shapes")
    assert_refused(student.ring_all_reduce, [[x, x, x], [x, x, x], [x, x, torch.ones(1)]], why="a chunk has two shapes")
    assert_refused(student.ring_all_reduce, [[x, torch.ones(2, 1)], [x, x]], why="a chunk has two shapes")


# Parallel layers

HALF = {torch.bfloat16: {"rtol": 2e-2, "atol": 0.1}, torch.float16: {"rtol": 3e-3, "atol": 1e-2}}


def layer(seed, n_in, n_out, with_bias, dtype=torch.float64):
    return normal(seed, n_out, n_in, dtype=dtype), normal(seed + 1, n_out, dtype=dtype) if with_bias else None


@exercise("column_parallel_linear", points=1.5, core=True)
@settings(max_examples=20)
@given(lead=leading_shapes(), n_in=sizes(1, 5), n_out=sizes(1, 9), with_bias=st.booleans(), seed=seeds())
@example(lead=(2,), n_in=3, n_out=7, with_bias=True, seed=2)
@example(lead=(0,), n_in=3, n_out=7, with_bias=True, seed=2)
@example(lead=(2,), n_in=3, n_out=70, with_bias=True, seed=69)
def test_shards_side_by_side_are_the_layer(student, lead, n_in, n_out, with_bias, seed):
    """Each shard is its stretch of the outputs, the first ones one longer where it does not come out even."""
    weight, bias = layer(seed, n_in, n_out, with_bias)
    x, n_shards = normal(seed + 2, *lead, n_in), 1 + seed % n_out
    expected = list(F.linear(x, weight, bias).tensor_split(n_shards, dim=-1))
    actual = student.column_parallel_linear(x, weight, bias, n_shards)
    assert_inputs_untouched(student)
    assert_close(actual, expected, what=f"{n_shards} shards of {n_out} outputs", hint="rows of the weight, and their biases")


@exercise("column_parallel_linear", points=0.25)
def test_column_shards_of_tensors_of_any_strides(student):
    """Transposed or scattered in memory, and in half precision."""
    x, (weight, bias) = normal(1, 2, 3, 4), layer(2, 4, 5, True)
    expected = F.linear(x, weight, bias).tensor_split(2, dim=-1)
    found = student.run(strided, "column_parallel_linear", [x, weight, bias, 2])
    assert_close(found, list(expected), what="two shards of five outputs")
    for dtype, room in HALF.items():
        found = student.column_parallel_linear(x.to(dtype), weight.to(dtype), bias.to(dtype), 2)
        assert_close(found, [shard.to(dtype) for shard in expected], what=f"two shards in {dtype}", **room)


@exercise("column_parallel_linear", points=0.75)
def test_no_device_makes_all_outputs(student):
    """The largest tensor is a shard's, not the whole layer's, with a bias or without, in training or not."""
    x, (weight, bias) = normal(1, 64, 1), layer(2, 1, 12, True)
    for n_shards, given_x, given_bias, training in (
        (2, x, bias, False), (3, x, None, False), (4, x, bias, True),
        (5, x.view(8, 8, 1), bias, False), (2, x, None, True),
    ):  # fmt: skip
        args = [given_x, weight, given_bias, n_shards]
        largest = student.run(scenarios.largest_made, "column_parallel_linear", args, training)
        allowed = 64 * -(-12 // n_shards)
        assert 0 < largest <= allowed, f"a tensor of {largest} numbers was made; a shard has {allowed}, the layer {64 * 12}"


@exercise("column_parallel_linear", points=1)
@settings(max_examples=6)
@given(n_out=sizes(2, 7), with_bias=st.booleans(), dtype=st.sampled_from([torch.float64, torch.float32]), seed=seeds())
@example(n_out=5, with_bias=True, dtype=torch.float64, seed=1)
def test_gradients_of_a_column_parallel_layer(student, n_out, with_bias, dtype, seed):
    """x's gradient is the sum over the shards; weight and bias, be it of zeros, get the layer's."""
    weight, bias = layer(seed, 4, n_out, with_bias, dtype)
    zeros = None if bias is None else torch.zeros_like(bias)
    for n_shards, lead, own in ((2, (3,), bias), (1, (3,), bias), (n_out, (2, 1, 3), bias), (2, (), zeros)):
        x, cotangent = normal(seed + 2, *lead, 4, dtype=dtype), normal(seed + 3, *lead, n_out, dtype=dtype)
        found = student.run(scenarios.column_gradients, x, weight, own, n_shards, cotangent)
        rows = cotangent.view(-1, n_out)
        expected = [cotangent @ weight, rows.T @ x.view(-1, 4)] + ([rows.sum(0)] if with_bias else [])
        assert_close(found, expected, what=f"the gradients of x, weight, bias with {n_shards} shards")


@exercise("column_parallel_linear", points=0.5)
def test_more_shards_than_outputs_are_refused(student):
    """None, a negative number, or one that leaves a shard empty."""
    weight, bias = layer(3, 2, 4, True)
    for n_shards in (0, -1, 5):
        assert_refused(student.column_parallel_linear, torch.ones(1, 2).double(), weight, bias, n_shards, why="4 outputs")
        assert_refused(
            student.column_parallel_linear, torch.ones(1, 2).double(), weight, None, n_shards, why="4 outputs, no bias"
        )
    single = student.column_parallel_linear(torch.ones(2).double(), weight, bias, 4)
    assert_equal([list(shard.shape) for shard in single], [[1]] * 4, what="the shapes of four shards of four outputs")


@exercise("row_parallel_linear", points=1.5, core=True)
@settings(max_examples=20)
@given(lead=leading_shapes(), widths=st.lists(sizes(1, 4), min_size=1, max_size=4), with_bias=st.booleans(), seed=seeds())
@example(lead=(2,), widths=[3, 1, 2], with_bias=True, seed=2)
@example(lead=(0,), widths=[3, 1], with_bias=True, seed=2)
@example(lead=(2,), widths=[1, 2] * 35, with_bias=True, seed=2)
def test_partial_outputs_add_up_to_the_layer(student, lead, widths, with_bias, seed):
    """Shards of any widths, in order; the bias counts once."""
    weight, bias = layer(seed, sum(widths), 1 + seed % 5, with_bias)
    xs = [normal(seed + 2 + i, *lead, width) for i, width in enumerate(widths)]
    actual = student.row_parallel_linear(xs, weight, bias)
    assert_inputs_untouched(student)
    expected = F.linear(torch.cat(xs, dim=-1), weight, bias)
    assert_close(actual, expected, what=f"the layer on shards of {widths}", hint="the bias once, not once a shard")
    assert_close(student.row_parallel_linear(tuple(xs), weight, bias), expected, what="the layer on a tuple of shards")


@exercise("row_parallel_linear", points=0.25)
def test_row_shards_in_half_precision(student):
    """The dtype is kept."""
    xs, (weight, bias) = [normal(i, 3, width) for i, width in enumerate((2, 1))], layer(5, 3, 4, True)
    expected = F.linear(torch.cat(xs, dim=-1), weight, bias)
    for dtype, room in HALF.items():
        found = student.row_parallel_linear([x.to(dtype) for x in xs], weight.to(dtype), bias.to(dtype))
        assert_close(found, expected.to(dtype), what=f"the layer in {dtype}", **room)


@exercise("row_parallel_linear", points=0.75)
def test_no_device_holds_all_inputs(student):
    """The largest tensor is a shard or an output, with a bias or without, in training or not."""
    weight, bias = layer(5, 12, 1, True)
    for widths, lead, given_bias, training in (
        ((4, 4, 4), (64,), bias, False), ((3, 5, 4), (64,), None, False),
        ((4, 8), (8, 8), bias, True), ((6, 6), (64,), None, True),
    ):  # fmt: skip
        xs = [normal(i, *lead, width) for i, width in enumerate(widths)]
        largest = student.run(scenarios.largest_made, "row_parallel_linear", [xs, weight, given_bias], training)
        assert 0 < largest < 64 * 12, f"a tensor of {largest} numbers was made: all inputs together, which no device should hold"


@exercise("row_parallel_linear", points=1)
@settings(max_examples=6)
@given(with_bias=st.booleans(), dtype=st.sampled_from([torch.float64, torch.float32]), seed=seeds())
@example(with_bias=True, dtype=torch.float64, seed=1)
def test_gradients_of_a_row_parallel_layer(student, with_bias, dtype, seed):
    """Every shard, which is not contiguous, the weight and the bias, be it of zeros, get the layer's gradients."""
    weight, bias = layer(seed, 5, 4, with_bias, dtype)
    zeros = None if bias is None else torch.zeros_like(bias)
    for widths, lead, own in (
        ((2, 3), (2, 3), bias), ((5,), (3,), bias), ((1, 2, 1, 1), (3,), bias), ((2, 2, 1), (), zeros),
    ):  # fmt: skip
        xs = [normal(seed + 2 + i, *lead, width, dtype=dtype) for i, width in enumerate(widths)]
        cotangent = normal(seed + 9, *lead, 4, dtype=dtype)
        found = student.run(scenarios.row_gradients, xs, weight, own, cotangent)
        rows = cotangent.view(-1, 4)
        by_weight = rows.T @ torch.cat(xs, dim=-1).view(-1, 5)
        expected = [*(cotangent @ weight).split(widths, dim=-1), by_weight] + ([rows.sum(0)] if with_bias else [])
        assert_close(found, expected, what=f"the gradients of shards of {widths}, weight, bias")


@exercise("row_parallel_linear", points=0.5)
def test_shards_that_do_not_fit_the_weight_are_refused(student):
    """Too narrow or too wide together, or none."""
    weight, bias = layer(3, 4, 3, True)
    for widths in ((2,), (2, 1), (2, 3), (4, 1), (4, 4), ()):
        xs = [torch.ones(2, width).double() for width in widths]
        assert_refused(student.row_parallel_linear, xs, weight, bias, why=f"widths {widths} are not 4")
        assert_refused(student.row_parallel_linear, xs, weight, None, why=f"widths {widths} are not 4, and there is no bias")


# average_gradients


SHAPES = [(3, 2), (4,), (), (2, 1, 3), (0, 2)]


def gradients_of(seed, n_ranks, dtype=torch.float64, missing=()):
    """For each rank (gradient or None, shape, dtype, requires_grad) of each parameter; missing has (rank, parameter)."""
    ranks = []
    for r in range(n_ranks):
        own = [normal(seed + 17 * r + i, *shape, dtype=dtype) for i, shape in enumerate(SHAPES)]
        ranks.append([(None if (r, i) in missing else g, list(g.shape), dtype, True) for i, g in enumerate(own)])
    return ranks


def means(ranks):
    """The mean of each parameter's gradients, None counting as zeros."""
    columns = zip(*ranks)
    filled = [[torch.zeros(s, dtype=t) if g is None else g for g, s, t, _ in column] for column in columns]
    return [torch.stack(column).mean(0) for column in filled]


def check_averages(results, ranks, rtol=1e-9):
    """Every rank has the mean."""
    expected = means(ranks)
    for r, found in enumerate(results):
        assert_close(
            found["gradients"], expected, what=f"the gradients at rank {r}", rtol=rtol, hint="the sum over the number of ranks"
        )


@exercise("average_gradients", points=1.5, core=True)
@settings(max_examples=4)
@given(n_ranks=sizes(2, 4), seed=seeds())
@example(n_ranks=3, seed=1)
@example(n_ranks=1, seed=2)
@example(n_ranks=9, seed=2)
def test_every_rank_gets_the_mean_of_all_gradients(student, n_ranks, seed):
    """Parameters of any shapes; their own numbers stay, and a second averaging changes nothing more. What counts is what comes
    through the group.
    """
    ranks = gradients_of(seed, n_ranks)
    for rounds in (1, 2):
        results, _ = student.run(scenarios.averaging, ranks, rounds=rounds)
        check_averages(results, ranks)
        assert all(found["parameters untouched"] for found in results), "the parameters themselves have changed"
    if n_ranks > 1:
        results, _ = student.run(scenarios.averaging, ranks, deaf=0)
        for r, found in enumerate(results):
            spoilt = [bool(g.isnan().all()) for g in found["gradients"] if g.numel()]
            what = f"whether the gradients at rank {r} are NaN when nothing but NaN comes through the group to rank 0"
            assert_equal(spoilt, [r == 0] * len(spoilt), what=what, hint="use what the collective call gave")


@exercise("average_gradients", points=0.75, core=True)
def test_a_missing_gradient_counts_as_zeros(student):
    """Missing at one rank or at all, where there is one rank too; afterwards every rank has the mean."""
    for missing in (
        [(0, 1)], [(1, 0), (1, 3)], [(0, 2), (1, 2), (2, 2)],
        [(1, i) for i in range(5)], [(r, i) for r in range(3) for i in range(5)],
    ):  # fmt: skip
        ranks = gradients_of(5, 3, missing=missing)
        results, _ = student.run(scenarios.averaging, ranks)
        check_averages(results, ranks)
        for found in results:
            assert_equal(found["a graph"], False, what="whether a gradient has a graph", hint="zeros have none")
    alone = gradients_of(5, 1, missing=[(0, 1)])
    check_averages(student.run(scenarios.averaging, alone)[0], alone)


@exercise("average_gradients", points=0.5)
def test_gradients_change_in_place_and_without_a_graph(student):
    """p.grad is the tensor that it was, in its memory, whatever its strides; parameters may come from an iterator."""
    ranks = gradients_of(8, 2)
    results, _ = student.run(scenarios.averaging, ranks, as_iterator=True, strided=True)
    check_averages(results, ranks)
    for found in results:
        assert_equal(found["same objects"], True, what="whether each p.grad is the tensor that it was", hint="copy_ into it")
        hint = "copy_ into p.grad; p.grad.data = ... puts other memory in its place"
        assert_equal(found["same memory"], True, what="whether each p.grad has the memory and strides that it had", hint=hint)
        assert_equal(found["a graph"], False, what="whether a gradient has a graph")
    for found in student.run(scenarios.averaging, ranks)[0] + results:
        hint = "torch.no_grad() in a with statement, and nothing else, changes it"
        assert_equal(found["recording as before"], True, what="whether gradients are recorded as before the call", hint=hint)


@exercise("average_gradients", points=0.5)
def test_gradients_travel_together(student):
    """One collective call for each dtype, and none without gradients."""
    ranks = gradients_of(9, 2, missing=[(0, 1)])
    _, calls = student.run(scenarios.averaging, ranks)
    assert_equal(calls, [1, 1], what="calls for five parameters of one dtype", hint="send them as one flat tensor")
    single = [[*gradients_of(9 + r, 1)[0], *gradients_of(20 + r, 1, torch.float32)[0]] for r in range(2)]
    results, calls = student.run(scenarios.averaging, single)
    check_averages(results, single, rtol=1e-5)
    assert_equal(calls, [2, 2], what="calls for parameters of two dtypes")
    single = [
        own + [(None if i % 2 == r else normal(i, 1), [1], torch.float64, True) for i in range(70)]
        for r, own in enumerate(single)
    ]
    for r, own in enumerate(single):
        own[0] = (None, *own[0][1:]) if r == 0 else own[0]
        own.append((normal(r, 300, 250, dtype=torch.float32), [300, 250], torch.float32, True))
    results, calls = student.run(scenarios.averaging, single)
    check_averages(results, single, rtol=1e-5)
    assert_equal(calls, [2, 2], what="calls for many and large parameters of two dtypes, the first gradient missing at one rank")
    halves = [
        [own for dtype in (torch.float16, torch.bfloat16, torch.float32) for own in gradients_of(9 + r, 1, dtype)[0]]
        for r in range(2)
    ]
    for i in range(5):
        halves[0][i] = (None, *halves[0][i][1:])
    results, calls = student.run(scenarios.averaging, halves)
    check_averages(results, halves, rtol=2e-2)
    assert_equal(calls, [3, 3], what="calls for three dtypes, those in float16 missing at one rank")
    assert_equal(student.run(scenarios.averaging, [[], []])[1], [0, 0], what="calls for no parameters")


@exercise("average_gradients", points=0.5)
def test_frozen_parameters_are_left_alone(student):
    """Without a gradient they get none, and an old one stays as it is."""
    frozen = [(normal(r, 2), [2], torch.float64, False) for r in range(2)]
    ranks = [[(None, [3], torch.float64, False), own, *gradients_of(3 + r, 1)[0][:2]] for r, own in enumerate(frozen)]
    results, _ = student.run(scenarios.averaging, ranks)
    expected = means([own[2:] for own in ranks])
    for r, found in enumerate(results):
        assert_equal(found["gradients"][0], None, what="the gradient of a frozen parameter that had none")
        assert_equal(found["gradients"][1], frozen[r][0], what="the gradient that a frozen parameter had")
        assert_close(found["gradients"][2:], expected, what="the other gradients")
        assert_equal(found["flags"], [False, False, True, True], what="what requires gradients")


@exercise("average_gradients", points=0.25)
def test_the_default_group_is_used_where_none_is_given(student):
    """With group=None."""
    ranks = gradients_of(12, 3)
    check_averages(student.run(scenarios.averaging, ranks, default=True)[0], ranks)
