"""KVCache, against a cache of plain lists."""

from functools import partial

import torch

from autograder.testing import assert_equal, exercise
from autograder.testing.hints import hinted
from autograder.testing.strategies import composite, given, normal, seeds, settings, sizes, st

from . import scenarios
from .operations import answers, judge, session

DTYPES = (torch.float64, torch.float32, torch.float16, torch.bfloat16)


@composite
def cache_sizes(draw, smallest=1):
    """The arguments of a KVCache."""
    return {
        "n_layers": draw(sizes(1, 3)),
        "batch_size": draw(sizes(1, 3)),
        "n_kv_heads": draw(sizes(1, 3)),
        "max_len": draw(sizes(smallest, 7)),
        "head_dim": draw(sizes(1, 4)),
    }


def new(seed, cache, t, dtype=torch.float32):
    """Keys and values of t positions; no two numbers are the same."""
    shape = cache["batch_size"], cache["n_kv_heads"], t, cache["head_dim"]
    return normal(seed, *shape, dtype=dtype), normal(seed + 1, *shape, dtype=dtype)


def step(seed, cache, t):
    """The updates of one forward pass: every layer, in order."""
    return [("update", layer, *new(seed + 2 * layer, cache, t)) for layer in range(cache["n_layers"])]


expected_of, seen_of = partial(answers, "KVCache"), partial(session, "KVCache")


def check(student, cache, operations, hint="", about="update"):
    """Every answer of the student's cache is that of the plain one, to the last bit.

    The hint is about one operation, and is not given where something went wrong before that was asked for; or it is
    about what should be refused and was not.
    """

    def concerned(i, wanted):
        names = [name for name, *_ in operations[: i + 1]]
        return hint if about == "refusal" and wanted["refused"] or about in names else ""

    of = f"a cache for {cache['max_len']}"
    judge("KVCache", student, cache, operations, of, concerned)


def assert_session(found, wanted, what):
    """The answers of a few updates, after something else was refused."""
    assert_equal([entry["refused"] for entry in found], [False] * len(found), what=f"whether {what} were refused, too")
    values, expected = ([entry["value"] for entry in entries] for entries in (found, wanted))
    assert_equal(values, expected, what=f"what came back from {what}")
    assert_equal(found, wanted, what=what)


@exercise("KVCache", points=5, core=True)
@settings(max_examples=20)
@given(cache=cache_sizes(), seed=seeds(), pieces=st.lists(sizes(1, 3), min_size=1, max_size=5), spare=sizes(0, 2))
def test_each_update_returns_all_keys_and_values_of_its_layer(student, cache, seed, pieces, spare):
    """What was appended comes back in the order of the positions, each layer's own, and nothing behind it."""
    cache = cache | {"max_len": sum(pieces) + spare}
    operations = [operation for i, t in enumerate(pieces) for operation in step(seed + 100 * i, cache, t)]
    check(student, cache, operations, hint="append along the positions; return the part that is filled")


@exercise("KVCache", points=3)
@settings(max_examples=40)
@given(
    cache=cache_sizes(),
    seed=seeds(),
    plan=st.lists(
        st.one_of(
            st.tuples(st.just("step"), sizes(1, 3)),
            st.tuples(st.just("update"), st.integers(0, 2), sizes(1, 3)),
            st.tuples(st.just("truncate"), st.integers(0, 6)),
            st.tuples(st.just("reorder"), st.integers(0, 99)),
        ),
        min_size=1,
        max_size=10,
    ),
)
def test_any_sequence_of_operations_is_answered_as_by_plain_lists(student, cache, seed, plan):
    """Updates in any order of the layers, truncations and reorderings, some refused: nothing gets lost or mixed up."""
    operations = []
    for i, (name, *args) in enumerate(plan):
        if name == "step":
            operations += step(seed + 100 * i, cache, *args)
        elif name == "update":
            operations.append(("update", args[0] % cache["n_layers"], *new(seed + 100 * i, cache, args[1])))
        elif name == "reorder":
            operations.append(("reorder", some_rows(args[0], cache["batch_size"])))
        else:
            operations.append((name, *args))
    check(student, cache, operations + step(seed + 5000, cache, 1))


def some_rows(seed, b):
    """A beam index."""
    return torch.randint(b, (b,), generator=torch.Generator().manual_seed(seed))


@exercise("KVCache", points=2)
@settings(max_examples=20)
@given(seed=seeds(), lengths=st.lists(sizes(0, 4), min_size=1, max_size=4), order=seeds())
def test_length_counts_the_positions_that_every_layer_holds(student, seed, lengths, order):
    """In the middle of a pass some layers are ahead; the length is that of the layers that are not."""
    cache = {"n_layers": len(lengths), "batch_size": 2, "n_kv_heads": 1, "max_len": 5, "head_dim": 2}
    layers = torch.randperm(len(lengths), generator=torch.Generator().manual_seed(order)).tolist()
    operations = [("update", layer, *new(seed + i, cache, 1)) for i in range(4) for layer in layers if i < lengths[layer]]
    seen = seen_of(student, cache, [("truncate", 0), *operations])
    wanted = [entry["length"] for entry in expected_of(cache, [("truncate", 0), *operations])]
    hint = "the smallest of the layers' own counts"
    found = [entry["length"] for entry in seen]
    what = f"the length after truncate(0), then updates of the layers {[operation[1] for operation in operations]},"
    assert_equal(found, wanted, what=what, hint=hint)


@exercise("KVCache", points=2)
@settings(max_examples=20)
@given(cache=cache_sizes(2), seed=seeds(), t=sizes(1, 6), keep=sizes(0, 6), more=sizes(1, 6))
def test_a_truncated_cache_goes_on_after_the_positions_it_kept(student, cache, seed, t, keep, more):
    """Truncate keeps the first positions of every layer, and the room behind them is free again."""
    t = min(t, cache["max_len"])
    keep = min(keep, t)
    more = max(1, min(more, cache["max_len"] - keep))
    operations = [*step(seed, cache, t), ("truncate", keep), *step(seed + 100, cache, more)]
    hint = "keep the first `length` positions, in every layer"
    check(student, cache, operations, hint=hint, about="truncate")
    if t < cache["max_len"]:  # one layer is ahead, and is cut back to what every layer holds
        ahead = ("update", cache["n_layers"] - 1, *new(seed + 50, cache, 1))
        operations = [*step(seed, cache, t), ahead, ("truncate", t), *step(seed + 100, cache, 1)]
        check(student, cache, operations, hint=hint, about="truncate")


@exercise("KVCache", points=1)
@settings(max_examples=15)
@given(cache=cache_sizes(3), seed=seeds(), too_many=sizes(1, 4))
def test_truncate_refuses_what_is_not_there_and_changes_nothing(student, cache, seed, too_many):
    """More positions than every layer holds, and fewer than none."""
    cache = cache | {"n_layers": 2}
    t = cache["max_len"] - 2
    ahead = ("update", 0, *new(seed + 50, cache, 2))  # one layer holds two positions more than the other
    last = [("update", 1, *new(seed + 60, cache, 2)), ("update", 0, *new(seed + 70, cache, 0))]
    wrong = (t + 1, t + too_many, -1)
    operations = [*step(seed, cache, t), ahead, *(("truncate", bad) for bad in wrong), *last]
    actual = seen_of(student, cache, operations)
    for bad, entry in zip(wrong, actual[3:]):
        assert entry["refused"], f"truncate({bad}) should be refused: not every layer holds more than {t} positions"
    wanted = expected_of(cache, [operation for operation in operations if operation[0] == "update"])
    assert_session(actual[-2:], wanted[-2:], "the updates after truncate was refused")


@exercise("KVCache", points=3)
@settings(max_examples=20)
@given(cache=cache_sizes(2), seed=seeds(), rows=seeds(), t=sizes(1, 6))
def test_reorder_takes_every_row_from_where_the_index_says(student, cache, seed, rows, t):
    """Row i becomes what row beam_index[i] was: rows swapped, repeated and dropped, in all layers, in one that is ahead too."""
    t, b = min(t, cache["max_len"] - 1), cache["batch_size"] + 1
    cache, operations = cache | {"batch_size": b}, []
    for index in (some_rows(rows, b), torch.arange(b).roll(1), torch.tensor([*range(b - 2), b - 1, b - 2])):
        first, *others = step(seed + 100, cache, 1)  # layer 0 is ahead
        operations += [("truncate", 0), *step(seed, cache, t), first, ("reorder", index), *others, *step(seed, cache, 0)]
    hint = "row i comes from row beam_index[i], in all keys and values; copy the rows out before you write any"
    check(student, cache, operations, hint=hint, about="reorder")


@exercise("KVCache", points=1)
def test_reorder_refuses_rows_that_do_not_exist_and_changes_nothing(student):
    """An index of another length than the batch or of another shape, and a row past the last."""
    cache = {"n_layers": 2, "batch_size": 3, "n_kv_heads": 1, "max_len": 4, "head_dim": 2}
    first, then = step(3, cache, 2), step(9, cache, 1)
    wrong = ([0, 1], [0, 1, 2, 0], [2], [0, 3, 1], [2, 0, 3], [[2], [1], [0]], [[2, 1, 0]])
    operations = [*first, *(("reorder", torch.tensor(bad)) for bad in wrong), *then]
    actual = seen_of(student, cache, operations)
    for bad, entry in zip(wrong, actual[2:]):
        assert entry["refused"], f"reorder({bad}) of a batch of 3 should be refused"
    wanted = expected_of(cache, first + then)[2:]
    assert_session(actual[2 + len(wrong) :], wanted, "the updates after reorder was refused")
    wrong = (0, [[0]], [0, 0], [1])
    operations = [("reorder", torch.tensor(bad)) for bad in wrong]
    actual = seen_of(student, cache | {"batch_size": 1}, operations)
    for bad, entry in zip(wrong, actual, strict=True):
        assert entry["refused"], f"reorder({bad}) of a batch of 1 should be refused: beam_index is (1,), and names row 0"


@exercise("KVCache", points=3)
@settings(max_examples=20)
@given(cache=cache_sizes(), seed=seeds(), excess=sizes(1, 3))
def test_an_update_that_does_not_fit_is_refused_and_changes_nothing(student, cache, seed, excess):
    """Too many positions for the whole cache, for what is left of it, and for the one layer that is ahead."""
    cache = cache | {"n_layers": 2, "max_len": cache["max_len"] + 1}
    n = cache["max_len"]
    full = [
        ("update", 1, *new(seed, cache, n)),
        ("update", 0, *new(seed + 10, cache, n - 1)),
    ]  # the later layer is full
    operations = [
        ("update", 0, *new(seed + 20, cache, n + excess)),
        *full,
        ("update", 1, *new(seed + 30, cache, excess)),
        ("update", 0, *new(seed + 40, cache, 1 + excess)),
        ("update", 0, *new(seed + 50, cache, 1)),  # exactly fits
        ("truncate", n - 1),
        ("update", 1, *new(seed + 60, cache, 1)),
        ("update", 0, *new(seed + 70, cache, 1)),
    ]
    hint = "compare this layer's own count with max_len before you write anything"
    check(student, cache, operations, hint=hint, about="refusal")


@exercise("KVCache", points=1)
def test_keys_and_values_of_another_shape_are_refused(student):
    """Another batch, number of heads or width, keys unlike values, of no position too; a batch of 1 is not spread out."""
    cache = {"n_layers": 2, "batch_size": 2, "n_kv_heads": 3, "max_len": 5, "head_dim": 4}
    good, last = (2, 3, 1, 4), new(5, cache, 1)
    wrong = [(1, 3, 1, 4), (3, 3, 1, 4), (2, 1, 1, 4), (2, 1, 3, 4), (2, 6, 1, 4), (2, 3, 1, 1), (2, 3, 1, 8)]
    wrong += [(3, 2, 1, 4), (2, 4, 1, 3)]  # as many numbers
    wrong += [(1, 3, 0, 4), (2, 3, 0, 8), (2, 3, 4), (1, 2, 3, 1, 4)]
    cases = [(bad, bad) for bad in wrong] + [(good, bad) for bad in wrong] + [(good, (2, 3, 2, 4)), ((2, 3, 2, 4), good)]
    first = [("update", 0, *new(3, cache, 2)), ("update", 1, *new(7, cache, 3))]
    then = [("update", 1, *last), ("update", 0, *last)]
    operations = [*first, *(("update", 1, normal(1, *k), normal(2, *v)) for k, v in cases), *then]
    actual = seen_of(student, cache, operations)
    for (k, v), entry in zip(cases, actual[2:]):
        assert entry["refused"], f"k of shape {k} and v of shape {v} should be refused by a cache for {good}"
    wanted = expected_of(cache, first + then)[2:]
    assert_session(actual[2 + len(cases) :], wanted, "the updates after others were refused")
    single, wrong = cache | {"batch_size": 1, "n_kv_heads": 1}, [(1, 2, 4), (2, 4), (4,)]
    operations = [("update", 0, normal(1, *shape), normal(2, *shape)) for shape in wrong]
    for shape, entry in zip(wrong, seen_of(student, single, operations), strict=True):
        assert entry["refused"], f"k and v of shape {shape} should be refused: they have four dimensions, of a batch of 1 too"


@exercise("KVCache", points=1)
@settings(max_examples=15)
@given(cache=cache_sizes(), seed=seeds(), t=sizes(0, 6))
def test_an_update_of_no_positions_reads_the_layer(student, cache, seed, t):
    """t may be 0, on an empty cache too."""
    t = min(t, cache["max_len"])
    check(student, cache, [*step(seed, cache, t), *step(seed, cache, 0)])


@exercise("KVCache", points=1)
@settings(max_examples=15)
@given(cache=cache_sizes(), dtype=st.sampled_from((*DTYPES, torch.int8)), fill=sizes(0, 7))
def test_nbytes_is_the_whole_capacity_of_keys_and_values(student, cache, dtype, fill):
    """However much of it is filled, in any dtype, after truncation and reordering too."""
    actual = student.run(scenarios.cache_size, cache, dtype, min(fill, cache["max_len"]))
    n = 2 * dtype.itemsize
    for size in cache.values():
        n *= size
    what = "nbytes of the empty cache, of the filled one, after truncate and after reorder"
    assert_equal(actual, [n] * 4, what=what, hint="keys and values of n_layers, batch_size, n_kv_heads, max_len, head_dim")


@exercise("KVCache", points=1)
def test_the_cache_has_the_dtype_it_was_made_with(student):
    """float32 where none is given; keys and values of another dtype take that of the cache."""
    cache = {"n_layers": 1, "batch_size": 2, "n_kv_heads": 2, "max_len": 4, "head_dim": 3}
    for dtype in (None, *DTYPES):
        own = dtype or torch.float32
        for given_dtype in (own, torch.float32, torch.float64):
            k, v = (x * (1e30 if own == torch.bfloat16 else 1.0) for x in new(1, cache, 3, given_dtype))
            k[0, 0, 0, 0], v[0, 0, 0, 0] = torch.inf, -torch.inf  # numbers like any other
            then, swap = new(3, cache, 3, given_dtype), torch.tensor([1, 0])
            operations = [("update", 0, k, v), ("reorder", swap), ("update", 0, k[:, :, :0], v[:, :, :0])]
            operations += [("truncate", 0), ("update", 0, *then)]
            actual = seen_of(student, cache | ({"dtype": dtype} if dtype else {}), operations)
            what = f"of a cache with dtype={dtype}, given {given_dtype} and infinities,"
            refusals = [[name, entry["refused"]] for (name, *_), entry in zip(operations, actual, strict=True)]
            assert_equal(refusals, [[name, False] for name, *_ in operations], what=f"what was refused {what}")
            assert_equal(actual[0]["value"], (k.to(own), v.to(own)), what=f"(k_all, v_all) {what}")
            hint = "copy the rows as they are: 0 times infinity is NaN"
            assert_equal(actual[2]["value"], (k[swap].to(own), v[swap].to(own)), what=f"those {what} after reorder", hint=hint)
            hint = "what was forgotten must not matter: assign, and neither add nor multiply"
            assert_equal(actual[4]["value"], tuple(x.to(own) for x in then), what=f"those {what} after truncate(0)", hint=hint)


@exercise("KVCache", points=1)
def test_the_memory_is_taken_on_the_device_that_was_asked_for(student):
    """On PyTorch's meta device, which has room for any shape and holds no numbers."""
    cache = {"n_layers": 3, "batch_size": 2, "n_kv_heads": 2, "max_len": 50, "head_dim": 3}
    actual, needed = student.run(scenarios.bytes_made_by_constructor, cache, "meta"), 2 * 3 * 2 * 2 * 50 * 3 * 4
    said = f"with device='meta', then torch.device('meta'), {actual} bytes were taken there and not {needed}"
    assert min(actual) >= needed, f"{said}\n  hint: pass device on"


@exercise("KVCache", points=1)
@settings(max_examples=10)
@given(cache=cache_sizes(3), seed=seeds())
def test_two_caches_do_not_meet(student, cache, seed):
    """Each has its own memory and its own counts, though they are of one size."""
    k, v = new(seed, cache, 3)
    held, lengths = student.run(scenarios.two_caches, cache | {"n_layers": 1}, k, v)
    hint = "buffers and counts belong to self, not to the class or the module"
    what, when = "what two caches hold, filled in turns", partial(check, student, cache, step(seed, cache, 1) * 3)
    hinted(assert_equal, held, [(k, v), (v[:, :, :1], k[:, :, :1])], what=what, hint=hint, when=when)
    hinted(assert_equal, lengths, [3, 1], what="their lengths", hint=hint, when=when)


@exercise("KVCache", points=1)
@settings(max_examples=12)
@given(cache=cache_sizes(2), seed=seeds())
def test_keys_and_values_are_copied_in(student, cache, seed):
    """As numbers, without a graph, whatever happens to k and v afterwards, and however they lie in memory."""
    t = cache["max_len"] - 1
    k, v, more = *new(seed, cache, t, torch.float64), new(seed + 9, cache, 1, torch.float64)[0]
    actual, left = student.run(scenarios.cache_copies_in, cache, k, v, more)
    wanted = {"k and v are as they were": True, "k and v still require gradients": True, "a graph is kept": False}
    wanted |= {"gradients stay off where they are off": True, "changed for everyone": []}
    assert_equal(left, wanted, what="what update left behind", hint="write k.detach() into the cache's own memory")
    expected = torch.cat([k, more], 2), torch.cat([v, more], 2)
    what, hint = "(k_all, v_all), the caller having overwritten k and v", "write into memory of the cache's own"
    when = partial(check, student, cache, [*step(seed, cache, t), *step(seed, cache, 1)])
    hinted(assert_equal, actual, expected, what=what, hint=hint, when=when)


@exercise("KVCache", points=1)
def test_the_cost_of_an_update_does_not_grow_with_what_the_cache_holds(student):
    """The new positions are written, and the rest is handed out as it lies: nothing that is there is copied."""
    cache = {"n_layers": 2, "batch_size": 1, "n_kv_heads": 2, "max_len": 1100, "head_dim": 32}
    pieces, held = [10, 1, 488, 1, 4, 0, 8, 512, 0, 1, 1, 70], 0
    hint = "allocate once, write into a slice, return a view: no torch.cat, no clone, no larger buffer later"
    others = new(6, cache, 300)
    seen, held_by_the_other_layer = student.run(scenarios.bytes_made_by_updates, cache, pieces, others)
    for t, (actual, peak, as_before) in zip(pieces, seen, strict=True):
        room = 8 * 2 * 2 * 32 * 4 * max(1, t)  # eight times the bytes of the new positions' keys and values
        assert actual <= room, (
            f"an update of {t} position(s) made new tensors of {actual} bytes with {held} positions in the cache;"
            f" {room} are plenty\n  hint: {hint}"
        )
        if held >= 500:  # by then Python has imported and remembered whatever it will
            said = f"an update of {t} position(s) made objects of {peak} bytes with {held} positions in the cache"
            assert peak <= room + 2**16, f"{said}\n  hint: {hint}, and no array either"
        said = f"with {held} positions in the cache, what an update returned lies in other memory than before"
        assert as_before, f"{said}\n  hint: {hint}"
        held += t
    what = "(k_all, v_all) of 300 positions in layer 1, while layer 0 holds others"
    assert_equal(held_by_the_other_layer, others, what=what, hint="each layer has its own keys and its own values")


@exercise("cache_bytes", points=3, core=True)
@settings(max_examples=12)
@given(counts=st.tuples(sizes(0, 5), sizes(1, 5), sizes(1, 9), sizes(0, 99), sizes(0, 7)))
def test_bytes_are_those_of_real_tensors(student, counts):
    """Keys and values for every layer, head, position, text and channel, in any dtype."""
    n_layers, n_kv_heads, head_dim, seq_len, batch_size = counts
    for dtype in (*DTYPES, torch.int8, torch.uint8, torch.int32, torch.complex64):
        real = torch.empty(2, *counts, dtype=dtype)
        actual = student.cache_bytes(n_layers, n_kv_heads, head_dim, seq_len, batch_size, dtype)
        hint = "keys and values; dtype.itemsize bytes for each number, of any dtype"
        assert_equal(actual, real.nbytes, what=f"cache_bytes({', '.join(map(str, counts))}, {dtype})", hint=hint)


@exercise("cache_bytes", points=1)
def test_bytes_of_large_models_are_exact_and_take_no_memory(student):
    """Llama 3.1 405B at its full context, for a thousand users: 67,645,734,912,000 bytes."""
    actual = student.cache_bytes(126, 8, 128, 131_072, 1000, torch.bfloat16)
    assert_equal(actual, 67_645_734_912_000, what="cache_bytes(126, 8, 128, 131_072, 1000, torch.bfloat16)")
    actual = student.cache_bytes(3, 3, 3, 10**8 + 1, 10**7 + 1, torch.int8)  # a float has no room for all its digits
    expected, what = 54 * (10**8 + 1) * (10**7 + 1), "cache_bytes(3, 3, 3, 10**8 + 1, 10**7 + 1, torch.int8)"
    assert_equal(actual, expected, what=what, hint="whole numbers all the way")
    actual, what = student.cache_bytes(1, 1, 1, 10**15, 1, torch.float32), "cache_bytes(1, 1, 1, 10**15, 1, torch.float32)"
    assert_equal(actual, 8 * 10**15, what=what, hint="multiply the sizes, and allocate nothing to count it")
    assert_equal(student.cache_bytes(2, 3, 4, 5, 0, torch.float32), 0, what="bytes of no text at all")
    assert_equal(student.cache_bytes(2, 3, 4, 0, 5, torch.float32), 0, what="bytes of texts without a token")
    actual = student.cache_bytes(n_layers=12, n_kv_heads=12, head_dim=64, seq_len=1, batch_size=1, dtype=torch.float16)
    assert_equal(actual, 36 * 1024, what="bytes of one token of GPT-2")
    for dtype, expected in ((torch.bool, 18 * 1024), (torch.int16, 36 * 1024), (torch.int64, 144 * 1024)):
        actual = student.cache_bytes(12, 12, 64, 1, 1, dtype)
        assert_equal(actual, expected, what=f"bytes of one token in {dtype}", hint="any dtype: dtype.itemsize")
    actual = student.run(scenarios.bytes_in_float8, 12, 12, 64, 1, 1)
    assert_equal(actual, 18 * 1024, what="bytes of one token in torch.float8_e4m3fn", hint="any dtype: dtype.itemsize")
    kind, n_bytes = student.run(scenarios.bytes_made_by_counting, 12, 12, 64, 1024, 1, torch.float16)
    assert_equal(kind, "int", what="the type of what comes back", hint="a NumPy number overflows, and json refuses it")
    assert n_bytes < 2**20, f"tensors of {n_bytes:,} bytes were made to count those of others\n  hint: multiply the sizes"
