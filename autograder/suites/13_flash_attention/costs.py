"""What tiled attention may cost: the tiles that it has to look at, its largest tensor, its peak memory."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from autograder.testing import assert_equal
from autograder.testing.strategies import normal

MIB = 2**20
LENGTHS = (1536, 3072)
TILE = 64 * 68  # of the default blocks; columns beside the scores, such as the maximum so far, may be joined to them
NOISE = 3 * MIB  # what the allocator may hold back; a byte for each score would be 2.2 MiB and 9 MiB


def visible_tiles(n_q: int, n_k: int, block_q: int, block_k: int) -> int:
    """How many tiles are not wholly above the causal diagonal."""
    last_queries = torch.arange(0, n_q, block_q).add(block_q - 1).clamp(max=n_q - 1)
    first_keys = torch.arange(0, n_k, block_k)
    return int((first_keys <= last_queries.unsqueeze(-1) + n_k - n_q).sum())


def assert_scores_come_in_tiles(student, scenario: Callable, name: str, arguments: list) -> None:
    """`scenario(module, name, arguments)`, of 64 queries and keys in blocks of 16, makes no floating tensor with all scores."""
    made = student.run(scenario, name, arguments)
    assert made < 64 * 64, (
        f"64 queries and 64 keys in blocks of 16: a tensor of {made} numbers was made, and all scores are {64 * 64}\n"
        "  hint: this is attention as it always was; loop over tiles of queries and of keys, and let none of the scores last"
    )


def assert_blocks_are_64(student, scenario: Callable, name: str) -> None:
    """`scenario(module, name)`, the defaults that the signature of `name` gives its blocks, are 64 each."""
    found = student.run(scenario, name)
    hint = "block_q and block_k are 64 when they are not given"
    assert_equal(found, dict.fromkeys(found, 64), what=f"the default blocks of {name}", hint=hint)


def assert_no_tensor_holds_all_scores(
    largest: Callable[[Tensor, Tensor, Tensor, int, int], int], lead: tuple[int, ...], seed: int
) -> None:
    """`largest(q, k, v, block_q, block_k)` stays at the size of a tile or an input; a length may be one tile.

    A tile may have its width as a third dimension on the way, as products written without @ do.
    """
    heads = lead[0] if lead else 1
    for n_q, n_k, block_q, block_k in ((64, 80, 16, 16), (16, 160, 16, 16), (160, 16, 16, 16), (8, 160, 160, 8)):
        q, k, v = normal(seed, *lead, n_q, 3), normal(seed + 1, *lead, n_k, 3), normal(seed + 2, *lead, n_k, 2)
        made, allowed = largest(q, k, v, block_q, block_k), heads * max(3 * 16 * 16, 4 * max(n_q, n_k))
        tile = min(n_q, block_q) * min(n_k, block_k)
        assert made <= allowed, (
            f"{n_q} queries and {n_k} keys, blocks {block_q} and {block_k}: a tensor of {made} elements was made\n"
            f"  a tile has {heads * tile}, q has {heads * n_q * 3}, all scores would be {heads * n_q * n_k}\n"
            "  hint: make the scores, and the mask, of one tile at a time, of block_q queries and block_k keys"
        )


def assert_hidden_tiles_cost_nothing(
    work: Callable[[int, int, bool], int], block_q: int, block_k: int, by_the_way: int, hint: str
) -> None:
    """`work(n_q, n_k, causal)`, counted in products, is with a causal mask the visible tiles' share of it.

    Lengths are whole tiles, and every tile may take what it takes, twice the scores included. What is made once for
    each query, outside the tiles, may take `by_the_way` operations more.
    """
    for n_q, n_k in ((3 * block_q, 5 * block_k), (5 * block_q, 3 * block_k), (5 * block_q, 5 * block_k)):
        made, whole = work(n_q, n_k, True), work(n_q, n_k, False)
        visible, every = visible_tiles(n_q, n_k, block_q, block_k), (n_q // block_q) * (n_k // block_k)
        allowed = whole * visible / every + by_the_way * n_q
        assert made <= allowed, (
            f"{n_q} queries, {n_k} keys, blocks {block_q} and {block_k}: {made} operations in matrix products,\n"
            f"  {whole} without a mask; {visible} of {every} tiles are not wholly hidden, and need {allowed:.0f}\n"
            f"  hint: {hint}"
        )


def assert_never_all_in_memory(student, scenario: Callable, generator: torch.Generator) -> None:
    """`scenario(module, q, k, v, options)` takes clearly less memory than all scores in float32, NumPy's arrays included."""
    n, options = 2048, [True, 256, 256, None]
    small = [normal(generator, 512, 8, dtype=torch.float32) for _ in range(3)]
    q, k, v = (normal(generator, n, 8, dtype=torch.float32) for _ in range(3))
    peak = student.measure(scenario, q, k, v, options, warm_up=(*small, options)).peak_bytes
    assert peak <= 3 * n * n, (  # three quarters of 4 bytes each: tiled attention takes a tenth of all
        f"{n} queries and keys in blocks of 256: {peak / MIB:.1f} MiB were in use at once, and all scores in float32 are "
        f"{4 * n * n / MIB:.0f} MiB\n  hint: make the scores of a tile alone, in NumPy too, and let go of them before the next"
    )


def assert_memory_linear(student, scenario: Callable, generator: torch.Generator) -> None:
    """`scenario(module, q, k, v, options)` takes at most 2.1 times the memory for twice the length, read from outside."""
    options = [True, 256, 256, None]
    small = [normal(generator, 512, 8, dtype=torch.float32) for _ in range(3)]
    peaks = []
    for n in LENGTHS:
        q, k, v = (normal(generator, n, 8, dtype=torch.float32) for _ in range(3))
        peaks.append(student.measure(scenario, q, k, v, options, warm_up=(*small, options)).peak_bytes)
    shown = " and ".join(f"{peak / MIB:.1f} MiB" for peak in peaks)
    assert peaks[1] <= 2.1 * max(peaks[0], NOISE), (
        f"peak memory at n = {LENGTHS[0]} and {LENGTHS[1]}: {shown};\n"
        f"  a single byte for each score would be {LENGTHS[1] ** 2 // MIB} MiB at n = {LENGTHS[1]}\n"
        "  hint: make the scores of a tile alone, in NumPy too, and let go of them before you begin the next"
    )
