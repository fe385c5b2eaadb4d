"""Public tests: pytest exercises/06_kv_cache [-k generate]"""

import torch

from autograder.testing import assert_close, assert_equal, exercise
from autograder.testing.strategies import given, normal, seeds, settings, sizes, st

EXACT = {"rtol": 0, "atol": 1e-10}
SMALL = {"vocab_size": 11, "context_length": 8, "n_layers": 2, "n_heads": 2, "d_model": 6, "d_ff": 5}


# What runs beside your module: each function gets it as its first argument.


def use_cache_object(module, sizes, operations, wrong=()):
    """What each operation on a new KVCache returns, "refused" where a wrong one is, and the length after it."""
    cache = module.KVCache(*sizes, dtype=torch.float64)
    seen = []
    for i, (name, *args) in enumerate(operations):
        try:
            value = getattr(cache, name)(*args)
            seen.append((tuple(x.clone() for x in value) if value else None, cache.length))
        except (ValueError, TypeError, IndexError):
            if i not in wrong:
                raise
            seen.append(("refused", cache.length))
    return seen


def use_pool(module, sizes, operations, wrong=()):
    """What each operation on a new PagedKVCache returns, "refused" where a wrong one is, and the free blocks after it."""
    pool = module.PagedKVCache(*sizes)
    seen = []
    for i, (name, *args) in enumerate(operations):
        try:
            value = getattr(pool, name)(*args)
            seen.append((tuple(x.clone() for x in value) if value else None, pool.n_free_blocks))
        except (ValueError, TypeError, IndexError, KeyError):
            if i not in wrong:
                raise
            seen.append(("refused", pool.n_free_blocks))
    return seen


def bytes_of_cache(module, sizes, dtype):
    """KVCache.nbytes."""
    return module.KVCache(*sizes, dtype=dtype).nbytes


def attend_in_pieces(module, kind, sizes, x, pieces):
    """Weights of a new attention layer, its rows for x piece by piece, and those of its own forward for the whole."""
    import importlib

    earlier = module if hasattr(module, kind) else importlib.import_module("exercises.multi_head_attention")
    attention = getattr(earlier, kind)(*sizes).double()
    n_kv_heads = getattr(attention, "n_kv_heads", attention.n_heads)
    cache = module.KVCache(1, len(x), n_kv_heads, x.shape[1] + 1, attention.head_dim, dtype=x.dtype)
    with torch.no_grad():
        rows = [module.attend_with_cache(attention, piece, cache, 0).clone() for piece in x.split(pieces, dim=1)]
        whole = attention(x, mask=torch.ones(x.shape[1], x.shape[1], dtype=torch.bool).tril())
    return torch.cat(rows, dim=1), whole


def use_model(module, seed, config, max_len, operations, wrong=()):
    """What each operation on a MiniGPT with random weights returns, "refused" where a wrong one is, the length of the
    cache after it, and how many tokens went through the first block for it."""
    import importlib
    import sys

    earlier = module if hasattr(module, "MiniGPT") else importlib.import_module("exercises.decoder_only")
    model = earlier.MiniGPT(sys.modules[earlier.MiniGPT.__module__].GPTConfig(**config)).double()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.5)
    n_read, seen = [0], []

    def count(norm, args, value):
        n_read[0] += args[0].numel() // args[0].shape[-1]

    model.blocks[0].norm_1.register_forward_hook(count)
    b, n_heads = len(operations[0][1]), config["n_heads"]
    cache = None
    for i, (name, ids, *args) in enumerate(operations):
        n_read[0] = 0
        if name in ("prefill", "decode_step") and cache is None:
            sizes = config["n_layers"], b, n_heads, max_len, config["d_model"] // n_heads
            cache = module.KVCache(*sizes, dtype=torch.float64)
        try:
            if name == "model":
                value = model(ids)[0].detach()
            elif name in ("prefill", "decode_step"):
                with torch.no_grad():
                    value = getattr(module, name)(model, ids, cache)
            else:
                home = module if hasattr(module, name) else importlib.import_module("exercises.decoder_only")
                value = getattr(home, name)(model, ids, *args)
        except (ValueError, TypeError, IndexError):
            if i not in wrong:
                raise
            value = "refused"
        seen.append((value, 0 if cache is None else cache.length, n_read[0]))
    return seen


# KVCache


def positions(*numbers, layer=0):
    """Keys of one head and one channel, (2, 1, t, 1): row 0 has these numbers, row 1 ten times as much. Values are negative."""
    k = torch.tensor([numbers, [10 * number for number in numbers]], dtype=torch.float64)[:, None, :, None]
    return ("update", layer, k, -k)


def held(*rows):
    """(k_all, v_all) with these numbers in each row of the batch."""
    k = torch.tensor(rows, dtype=torch.float64)[:, None, :, None]
    return k, -k


@exercise("KVCache")
def test_cache_appends(student):
    seen = student.run(use_cache_object, (1, 2, 1, 5, 1), [positions(1, 2), positions(3)])
    assert_equal(seen[0][0], held([1, 2], [10, 20]), what="what the first update returns")
    assert_equal(seen[1][0], held([1, 2, 3], [10, 20, 30]), what="what the second one returns", hint="all so far")
    assert_equal([length for _, length in seen], [2, 3], what="length")


@exercise("KVCache")
def test_cache_keeps_layers_apart(student):
    """length counts what every layer holds."""
    operations = [positions(1, layer=0), positions(7, layer=1), positions(2, layer=0), positions(8, layer=1)]
    seen = student.run(use_cache_object, (2, 2, 1, 5, 1), operations)
    assert_equal(seen[2][0], held([1, 2], [10, 20]), what="layer 0")
    assert_equal(seen[3][0], held([7, 8], [70, 80]), what="layer 1")
    hint = "in the middle of a pass one layer is ahead of the other"
    assert_equal([length for _, length in seen], [0, 1, 1, 2], what="length", hint=hint)


@exercise("KVCache")
def test_cache_is_cut_back(student):
    seen = student.run(use_cache_object, (1, 2, 1, 5, 1), [positions(1, 2, 3), ("truncate", 1), positions(9)])
    assert_equal(seen[1], (None, 1), what="(truncate(1), length)")
    assert_equal(seen[2][0], held([1, 9], [10, 90]), what="the next update")


@exercise("KVCache")
def test_cache_is_reordered(student):
    for index, expected in (
        ([1, 0], held([10, 20, 5], [1, 2, 50])),
        ([1, 1], held([10, 20, 5], [10, 20, 50])),
        ([0, 0], held([1, 2, 5], [1, 2, 50])),
    ):
        operations = [positions(1, 2), ("reorder", torch.tensor(index)), positions(5)]
        seen = student.run(use_cache_object, (1, 2, 1, 5, 1), operations)
        hint = "row i comes from row beam_index[i]; take all rows out before you write any"
        assert_equal(seen[2][0], expected, what=f"the update after reorder({index})", hint=hint)


@exercise("KVCache")
def test_cache_refuses_what_does_not_fit(student):
    operations = [positions(1, 2), positions(3, 4), positions(5), positions(6), ("truncate", 4), ("truncate", 0)]
    seen = student.run(use_cache_object, (1, 2, 1, 3, 1), operations, wrong=(1, 3, 4))
    hint = "3 positions fit; a refused operation changes nothing"
    assert_equal(
        [(isinstance(value, str), length) for value, length in seen],
        [(False, 2), (True, 2), (False, 3), (True, 3), (True, 3), (False, 0)],
        what="(refused, length) after each operation", hint=hint,
    )  # fmt: skip
    assert_equal(seen[2][0], held([1, 2, 5], [10, 20, 50]), what="the cache when it is full")


@exercise("KVCache")
@settings(max_examples=10)
@given(counts=st.tuples(*[sizes(1, 5)] * 5), dtype=st.sampled_from([torch.float32, torch.float64, torch.bfloat16]))
def test_cache_size_is_cache_bytes(student, counts, dtype):
    n_layers, b, h, max_len, head_dim = counts
    real = torch.empty(2, *counts, dtype=dtype).nbytes
    assert_equal(student.run(bytes_of_cache, counts, dtype), real, what="nbytes", hint="keys and values")


# attend_with_cache


@exercise("attend_with_cache")
@settings(max_examples=20)
@given(
    seed=seeds(), b=sizes(1, 2), heads=st.sampled_from([(1, 1), (2, 2), (4, 2), (3, 1)]),
    pieces=st.lists(sizes(1, 3), min_size=1, max_size=4),
)  # fmt: skip
def test_attention_in_pieces_is_attention(student, seed, b, heads, pieces):
    """Module 03's own forward with a causal mask gives the same rows for the whole text."""
    n_heads, n_kv_heads = heads
    x = normal(seed, b, sum(pieces), 4 * n_heads)
    kinds = {"MultiHeadAttention": (4 * n_heads, n_heads), "GroupedQueryAttention": (4 * n_heads, n_heads, n_kv_heads)}
    for kind, arguments in kinds.items():
        actual, expected = student.run(attend_in_pieces, kind, arguments, x, pieces)
        hint = "new queries against all cached keys; the causal mask is aligned bottom-right"
        assert_close(actual, expected, what=f"{kind}: the rows of pieces of {pieces} tokens", hint=hint)


# prefill and decode_step


def random_ids(seed, *shape):
    """Token ids."""
    return torch.randint(11, shape, generator=torch.Generator().manual_seed(seed))


@exercise("prefill")
@settings(max_examples=15)
@given(seed=seeds(), b=sizes(1, 3), pieces=st.lists(sizes(1, 3), min_size=1, max_size=3).filter(lambda p: sum(p) <= 8))
def test_prefill_agrees_with_the_model(student, seed, b, pieces):
    ids = random_ids(seed, b, sum(pieces))
    reads = [("prefill", piece.contiguous()) for piece in ids.split(pieces, dim=1)]
    *seen, (expected, _, _) = student.run(use_model, seed, SMALL, 8, [*reads, ("model", ids)])
    logits = torch.cat([value for value, _, _ in seen], dim=1)
    hint = "the first new token stands at position cache.length"
    assert_close(logits, expected, what=f"the logits of pieces of {pieces} tokens", hint=hint, **EXACT)
    assert_equal(seen[-1][1], sum(pieces), what="cache.length")


@exercise("decode_step")
@settings(max_examples=15)
@given(seed=seeds(), b=sizes(1, 3), prompt=sizes(1, 4), steps=sizes(1, 4))
def test_steps_agree_with_the_model(student, seed, b, prompt, steps):
    ids = random_ids(seed, b, prompt + steps)
    operations = [("prefill", ids[:, :prompt].contiguous())]
    operations += [("decode_step", column.contiguous()) for column in ids[:, prompt:].T]
    _, *seen, (expected, _, _) = student.run(use_model, seed, SMALL, 8, [*operations, ("model", ids)])
    for i, (logits, length, _) in enumerate(seen, prompt):
        assert_close(logits, expected[:, i], what=f"the logits at position {i}, after a prompt of {prompt}", **EXACT)
        assert_equal(length, i + 1, what=f"cache.length after position {i}")


@exercise("decode_step")
def test_the_context_has_an_end(student):
    """8 tokens fill the context; a ninth is refused, though the cache has room."""
    ids = random_ids(1, 2, 8)
    operations = [("prefill", ids), ("prefill", ids[:, :1].contiguous()), ("decode_step", ids[:, 0].contiguous())]
    seen = student.run(use_model, 1, SMALL, 13, operations, wrong=(1, 2))
    for name, (value, length, _) in zip(("prefill", "decode_step"), seen[1:], strict=True):
        refused = isinstance(value, str)
        assert_equal((refused, length), (True, 8), what=f"({name} of a ninth token is refused, cache.length)")


# generate


@exercise("generate")
@settings(max_examples=15)
@given(seed=seeds(), b=sizes(1, 2), t=sizes(1, 6), n=sizes(0, 8), context_length=sizes(1, 14))
def test_generation_is_the_same_with_and_without_the_cache(student, seed, b, t, n, context_length):
    """Also past the context, where the window moves on."""
    ids = random_ids(seed, b, t)
    operations = [("generate", ids, n), ("generate", ids, n, False), ("generate_greedy", ids, n)]
    seen = student.run(use_model, seed, SMALL | {"context_length": context_length}, 0, operations)
    cached, uncached, greedy = (value for value, _, _ in seen)
    hint = "when the window moves, every position changes: fill the cache again" if t + n > context_length + 1 else ""
    assert_equal(cached, greedy, what="tokens with the cache, beside generate_greedy's", hint=hint)
    assert_equal(uncached, greedy, what="tokens without the cache, beside generate_greedy's")


@exercise("generate")
def test_every_token_is_read_once(student):
    """5 tokens of the prompt and 19 of the 20 new ones: nobody asks what comes after the last."""
    config = SMALL | {"context_length": 40}
    ((_, _, n_read),) = student.run(use_model, 0, config, 0, [("generate", random_ids(0, 1, 5), 20)])
    hint = "after the prompt, read only the new token"
    assert n_read <= 25, f"{n_read} tokens went through the first block, 24 are enough\n  hint: {hint}"


@exercise("generate")
def test_generate_refuses_bad_arguments(student):
    operations = [("generate", random_ids(0, 1, 2), -1), ("generate", random_ids(0, 1, 0), 1)]
    seen = student.run(use_model, 0, SMALL, 0, operations, wrong=(0, 1))
    for (value, _, _), what in zip(seen, ("max_new_tokens=-1", "a prompt of no tokens"), strict=True):
        assert isinstance(value, str), f"{what} should be refused with a ValueError"


# cache_bytes


@exercise("cache_bytes")
def test_bytes_of_gpt2(student):
    """12 layers, 12 heads of 64, 1024 positions: 36 MiB in float16, 72 MiB in float32."""
    for dtype, expected in ((torch.float16, 36 * 2**20), (torch.float32, 72 * 2**20)):
        assert_equal(student.cache_bytes(12, 12, 64, 1024, 1, dtype), expected, what=f"cache_bytes in {dtype}")


# PagedKVCache


def row(*numbers):
    """Keys of one head and one channel, (1, t, 1), and values that are their negatives."""
    k = torch.tensor(numbers, dtype=torch.float32)[None, :, None]
    return k, -k


@exercise("PagedKVCache")
def test_pool_by_hand(student):
    """Four blocks of two positions for three sequences."""
    operations = [
        ("append", "a", *row(1)),  # a has one block, half full
        ("append", "b", *row(10, 20, 30)),  # b has two
        ("append", "a", *row(2, 3)),  # a fills its block and takes the last one
        ("gather", "a"),
        ("gather", "b"),
        ("append", "b", *row(40, 50)),  # one fits, two do not
        ("append", "c", *row(7)),
        ("gather", "c"),
        ("free", "a"),
        ("gather", "a"),
        ("append", "b", *row(40, 50)),
        ("gather", "b"),
    ]
    seen = student.run(use_pool, (4, 2, 1, 1), operations, wrong=(5, 6, 7, 9))
    free = [3, 1, 0, 0, 0, 0, 0, 0, 2, 2, 1, 1]
    assert_equal([n for _, n in seen], free, what="n_free_blocks after each operation")
    assert_equal(seen[3][0], row(1, 2, 3), what='gather("a"), whose blocks do not lie side by side')
    assert_equal(seen[4][0], row(10, 20, 30), what='gather("b")')
    refused = [isinstance(value, str) for value, _ in seen]
    expected = [i in (5, 6, 7, 9) for i in range(len(seen))]
    assert_equal(refused, expected, what="whether each operation was refused", hint="out of blocks; unknown sequence")
    assert_equal(seen[11][0], row(10, 20, 30, 40, 50), what='gather("b") after a block was freed')


@exercise("PagedKVCache")
@settings(max_examples=15)
@given(seed=seeds(), block_size=sizes(1, 4), turns=st.lists(st.tuples(sizes(0, 2), sizes(1, 4)), min_size=1, max_size=6))
def test_pool_returns_what_went_in(student, seed, block_size, turns):
    shapes = [(2, t, 3) for _, t in turns]
    pieces = [(normal(seed + i, *s, dtype=torch.float32), normal(seed + 100 + i, *s)) for i, s in enumerate(shapes)]
    operations = [("append", name, k, v.float()) for (name, _), (k, v) in zip(turns, pieces)]
    names = sorted({name for name, _ in turns})
    seen = student.run(use_pool, (30, block_size, 2, 3), operations + [("gather", name) for name in names])
    for name, (value, _) in zip(names, seen[len(turns) :]):
        mine = [operation for operation in operations if operation[1] == name]
        expected = tuple(torch.cat([operation[j] for operation in mine], dim=1) for j in (2, 3))
        assert_equal(value, expected, what=f"gather({name})")
