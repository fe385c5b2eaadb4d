"""PagedKVCache, against a pool of plain lists."""

from functools import partial

import torch

from autograder.testing import assert_equal, assert_refused, exercise
from autograder.testing.hints import called, passes
from autograder.testing.strategies import composite, example, given, normal, seeds, settings, sizes, st

from . import scenarios
from .operations import answers, describe, judge, session


@composite
def pool_sizes(draw, smallest=1):
    """The arguments of a PagedKVCache."""
    return {
        "n_blocks": draw(sizes(smallest, 7)),
        "block_size": draw(sizes(1, 4)),
        "n_kv_heads": draw(sizes(1, 3)),
        "head_dim": draw(sizes(1, 4)),
    }


def new(seed, pool, t, dtype=torch.float32):
    """Keys and values of t positions; no two numbers are the same."""
    shape = pool["n_kv_heads"], t, pool["head_dim"]
    return normal(seed, *shape, dtype=dtype), normal(seed + 1, *shape, dtype=dtype)


expected_of, seen_of = partial(answers, "PagedKVCache"), partial(session, "PagedKVCache")


def check(student, pool, operations, hint=""):
    """Every answer of the student's pool is that of the plain one, to the last bit."""
    of = f"a pool of {pool['n_blocks']} blocks of {pool['block_size']}"
    judge("PagedKVCache", student, pool, operations, of, lambda i, wanted: hint if passes(assert_right, student) else "")


def assert_right(student):
    """Two positions in one block come back as they went in: a mistake has to do with what is unusual elsewhere."""
    pool = {"n_blocks": 2, "block_size": 4, "n_kv_heads": 2, "head_dim": 3}
    k, v = new(1, pool, 2)
    seen = seen_of(student, pool, [("append", "a", k, v), ("gather", "a")])
    assert_equal(seen[-1]["value"], (k, v))


@exercise("PagedKVCache", points=3, core=True)
@settings(max_examples=20)
@given(
    pool=pool_sizes(),
    seed=seeds(),
    turns=st.lists(st.tuples(st.integers(0, 3), sizes(1, 5)), min_size=1, max_size=8),
)
def test_sequences_that_grow_in_turns_come_back_whole_and_in_order(student, pool, seed, turns):
    """Each sequence is where its table says, however its blocks lie among those of others."""
    pool = pool | {"n_blocks": sum(t for _, t in turns)}  # always enough
    operations = []
    for i, (seq_id, t) in enumerate(turns):
        operations.append(("append", seq_id, *new(seed + 2 * i, pool, t)))
        operations += [("gather", other) for other in sorted({seq_id for seq_id, _ in turns[: i + 1]})]
    check(student, pool, operations, hint="position p is in block p // block_size of the table, at slot p % block_size")


GAPS = [("append", 0, 1), ("append", 1, 1), ("append", 2, 1), ("free", 0), ("free", 2), ("append", 2, 2), ("gather", 2)]


@exercise("PagedKVCache", points=2)
@settings(max_examples=40)
@example(pool={"n_blocks": 3, "block_size": 1, "n_kv_heads": 1, "head_dim": 1}, seed=0, plan=GAPS)
@given(
    pool=pool_sizes(),
    seed=seeds(),
    plan=st.lists(
        st.one_of(
            st.tuples(st.just("append"), st.integers(0, 2), sizes(1, 6)),
            st.tuples(st.just("gather"), st.integers(0, 2)),
            st.tuples(st.just("free"), st.integers(0, 2)),
        ),
        min_size=1,
        max_size=14,
    ),
)
def test_any_workload_is_answered_as_by_plain_lists(student, pool, seed, plan):
    """Sequences with names of any kind come, grow, are refused for want of blocks, go and come again."""
    names = [[0, 1, 2], [-1, -2, None], ["", (), (0, "")], [b"0", 0.5, False]][seed % 4]
    plan = [(name, names[i], *args) for name, i, *args in plan]
    operations = [
        (name, seq_id, *(new(seed + 2 * i, pool, *args) if args else ())) for i, (name, seq_id, *args) in enumerate(plan)
    ]
    check(student, pool, operations + [("gather", seq_id) for seq_id in names])


@exercise("PagedKVCache", points=1)
@settings(max_examples=15)
@given(pool=pool_sizes(2), seed=seeds(), t=sizes(1, 9))
def test_a_sequence_takes_a_block_only_when_its_last_one_is_full(student, pool, seed, t):
    """A sequence of n positions has ceil(n / block_size) blocks, whether they came one by one or at once."""
    t = min(t, pool["n_blocks"] * pool["block_size"])
    one_by_one = [("append", 0, *new(seed + 2 * i, pool, 1)) for i in range(t)]
    for operations in (one_by_one, [("append", 0, *new(seed, pool, t))]):
        operations = [("free", 0), *operations, ("free", 0)]  # the first is refused
        found = [entry["n_free_blocks"] for entry in seen_of(student, pool, operations)]
        wanted = [entry["n_free_blocks"] for entry in expected_of(pool, operations)]
        hint = "fill the last block first; free gives all of them back"
        assert_equal(found, wanted, what="n_free_blocks of a new pool, after each append, and after free", hint=hint)


@exercise("PagedKVCache", points=1)
def test_many_sequences_and_long_ones_are_kept(student):
    """A hundred sequences, one of them of more than a thousand positions; blocks of a hundred."""
    pool = {"n_blocks": 6, "block_size": 100, "n_kv_heads": 1, "head_dim": 2}
    operations = [("append", i, *new(2 * i, pool, t)) for i, t in ((0, 150), (1, 70), (0, 120), (1, 70))]
    check(student, pool, [*operations, ("gather", 0), ("gather", 1)], hint="any block_size will do")
    pool = pool | {"n_blocks": 170, "block_size": 16}
    operations = [("append", 0, *new(1, pool, 1000)), *(("append", i, *new(2 * i, pool, 1)) for i in range(1, 100))]
    operations += [("append", 0, *new(3, pool, 70)), *(("gather", i) for i in (0, 1, 50, 99)), ("free", 0), ("gather", 99)]
    actual, expected = seen_of(student, pool, operations), expected_of(pool, operations)
    hint = "nothing but the number of blocks limits the sequences and their lengths"
    refused = [describe(operation) for operation, entry in zip(operations, actual) if entry["refused"]]
    assert_equal(refused, [], what="the operations that were refused, while there were blocks", hint=hint)
    for operation, found, wanted in zip(operations, actual, expected, strict=True):
        assert_equal(found, wanted, what=f"the answer of {describe(operation)}, among a hundred sequences")


@exercise("PagedKVCache", points=1)
def test_the_cost_of_an_append_does_not_grow_with_the_sequence(student):
    """The new positions are written; what the sequence holds stays in the blocks where it lies."""
    pool = {"n_blocks": 50, "block_size": 16, "n_kv_heads": 4, "head_dim": 64}
    room = 12 * 2 * 16 * 4 * 64 * 4  # the bytes of twelve blocks; the sequence has 40
    actual = student.run(scenarios.bytes_made_by_append, pool, 640)
    assert actual <= room, (
        f"an append of 1 position made new tensors and arrays of {actual} bytes with 640 positions in the sequence;"
        f" {room} are plenty\n  hint: write into the blocks of a pool that is allocated once: no torch.cat"
    )


@exercise("PagedKVCache", points=2)
@settings(max_examples=20)
@given(pool=pool_sizes(2), seed=seeds(), excess=sizes(1, 5))
def test_an_append_without_enough_blocks_is_refused_and_changes_nothing(student, pool, seed, excess):
    """Not the sequence, not the free blocks; a sequence that never began is unknown; the last block can be filled."""
    bs, n = pool["block_size"], pool["n_blocks"]
    operations = [
        ("append", "new", *new(seed, pool, n * bs + excess)),
        ("gather", "new"),
        ("append", "old", *new(seed + 2, pool, (n - 1) * bs)),
        ("append", "old", *new(seed + 4, pool, bs + excess)),
        ("append", "new", *new(seed + 6, pool, bs + excess)),
        ("free", "new"),
        ("gather", "old"),
        ("append", "new", *new(seed + 8, pool, bs)),  # exactly the last block
        ("gather", "new"),
        ("append", "old", *new(seed + 10, pool, 1)),
        ("free", "old"),
        ("append", "new", *new(seed + 12, pool, (n - 1) * bs)),
        ("gather", "new"),
        ("free", "new"),
        ("append", "new", *new(seed + 14, pool, n * bs - 1)),
        ("append", "new", *new(seed + 16, pool, 1)),  # no block is free where the last one has room
        ("gather", "new"),
    ]
    check(student, pool, operations, hint="count the blocks that are missing before you take the first one")


@exercise("PagedKVCache", points=1)
def test_an_unknown_sequence_is_refused(student):
    """One that never began, and one that is gone, by gather and by free; any hashable value is a name."""
    pool = {"n_blocks": 5, "block_size": 2, "n_kv_heads": 1, "head_dim": 2}
    operations = [
        ("gather", 0),
        ("free", 0),
        ("append", 0, *new(1, pool, 3)),
        ("gather", 1),
        ("free", "0"),
        ("free", 0),
        ("append", None, *new(5, pool, 1)),
        ("gather", None),
        ("free", None),
        ("append", -1, *new(7, pool, 1)),
        ("append", -2, *new(9, pool, 2)),
        ("append", ("text", 0), *new(11, pool, 2)),
        ("gather", -1),
        ("gather", ("text", 0)),
        ("free", -1),
        ("free", -2),
        ("free", ("text", 0)),
    ]
    operations += [("free", 0), ("gather", 0), ("append", 1, *new(3, pool, 10)), ("gather", 1)]
    check(student, pool, operations)


@exercise("PagedKVCache", points=1)
def test_what_does_not_fit_is_refused(student):
    """Blocks without a slot; keys and values of another shape, which change nothing."""
    pool = {"n_blocks": 4, "block_size": 2, "n_kv_heads": 2, "head_dim": 3}
    for bad in (0, -1):
        make = called("PagedKVCache", lambda **pool: seen_of(student, pool, []))
        assert_refused(make, **(pool | {"block_size": bad}), why="block_size is below 1")
    good, before, after = (2, 1, 3), ("append", 0, *new(1, pool, 1)), [("gather", 0), ("free", 0), ("free", 1)]
    shapes = ((1, 1, 3), (3, 1, 3), (2, 1, 1), (2, 1, 4), (3, 1, 2), (1, 1, 6), (2, 5, 3), (2, 3), (1, 2, 1, 3))
    cases = [(bad, good) for bad in shapes] + [(good, bad) for bad in shapes] + [(bad, bad) for bad in shapes if bad != (2, 5, 3)]
    for seq_id in (0, 1):  # one that has begun, and one that has not
        wrong = [("append", seq_id, *(normal(3, *shape, dtype=torch.float32) for shape in case)) for case in cases]
        actual, wanted = seen_of(student, pool, [before, *wrong, *after]), expected_of(pool, [before, *after])
        for (k, v), entry in zip(cases, actual[1:]):
            assert entry["refused"], f"k of shape {k} and v of shape {v} should be refused by a cache for {good}"
            assert_equal(entry["n_free_blocks"], wanted[0]["n_free_blocks"], what="n_free_blocks after a refused append")
        what = "what refused appends left behind: the answers of gather(0), free(0) and free(1)"
        assert_equal(actual[1 + len(cases) :], wanted[1:], what=what)


@exercise("PagedKVCache", points=1)
def test_keys_and_values_keep_their_dtype(student):
    """The pool takes the dtype and the device of the first keys, and every number that they have."""
    pool = {"n_blocks": 4, "block_size": 2, "n_kv_heads": 2, "head_dim": 3}
    for dtype in (torch.float64, torch.float32, torch.float16, torch.bfloat16):
        k, v = (x * (1e30 if dtype == torch.bfloat16 else 1.0) for x in new(1, pool, 3, dtype))
        k[0, 0, 0], v[0, 0, 0] = torch.inf, -torch.inf
        operations = [("append", 0, k, v), ("append", 1, *new(3, pool, 1, dtype)), ("gather", 0), ("free", 0)]
        operations += [("append", 1, *new(5, pool, 7, dtype)), ("gather", 1)]  # in the blocks that held infinities
        check(student, pool, operations, hint="allocate the pool when the first keys come: only they have a dtype")
        other = torch.float32 if dtype == torch.float64 else torch.float64
        wide = normal(1, 2, 1, 4, dtype=other)
        refused = [("append", 0, *new(1, pool, 9, other)), ("append", 0, new(1, pool, 1, other)[0], new(1, pool, 2, other)[0])]
        refused.append(("append", 0, wide, wide))
        for wrong in refused:
            seen = seen_of(student, pool, [wrong, *operations])
            assert seen[0]["refused"], f"{describe(wrong)} should be refused"
            what = f"what came back from a pool for {dtype} after {other} was refused"
            assert_equal(seen[1:], expected_of(pool, operations), what=what, hint="a failed append changes nothing")
    actual, needed = student.run(scenarios.bytes_made_on, pool, "meta", 3), 2 * 3 * 2 * 3 * 4
    assert actual >= needed, (
        f"{actual} bytes were taken on the device of the first keys, where theirs alone take {needed}"
        "\n  hint: k.new_empty takes dtype and device of k"
    )


@exercise("PagedKVCache", points=1)
@settings(max_examples=15)
@given(pool=pool_sizes(2), seed=seeds())
def test_keys_and_values_are_copied_in_and_out(student, pool, seed):
    """As numbers, without a graph, whatever becomes of k and v; nor does the cache change what it has handed out."""
    pool = pool | {"n_blocks": 1 + seed % 3}
    t = pool["n_blocks"] * pool["block_size"] - seed % 2 * (pool["block_size"] > 1)  # the last block full, or not
    (k, v), other = new(seed, pool, t, torch.float64), new(seed + 2, pool, t, torch.float64)[0]
    (first, second, beside, again), free, left = student.run(scenarios.pool_keeps_copies, pool, k, v, other)
    wanted = {"k and v are as they were": True, "k and v still require gradients": True}
    wanted |= {"gradients stay off where they are off": True, "a graph is kept": False, "changed for everyone": []}
    assert_equal(left, wanted, what="what append and gather left behind", hint="write k.detach() into the pool")
    hint = "gather makes a new tensor every time, and no view of the pool"
    what = "what gather returned, after an earlier result was overwritten and the blocks went to another sequence"
    assert_equal(first, (k, v), what=what, hint=hint)
    assert_equal(second, (other, other), what="the other sequence")
    hint = "the pool, its tables and its free blocks belong to self, not to the class"
    assert_equal((beside, free), ((other, other), [pool["n_blocks"], 0]), what="(a second pool, free blocks of both)", hint=hint)
    assert_equal(again, (other, k), what="a sequence that began again under the name of one that was freed")
