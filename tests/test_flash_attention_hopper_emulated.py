"""The kernels for Hopper, run on a CPU by `gluon_emulator`: their numbers, and the agreements between their groups of warps."""

from __future__ import annotations

import types
from pathlib import Path

import pytest
import torch
from gluon_emulator import Hazard, load, scheduled
from torch import Tensor

FILE = Path(__file__).resolve().parent.parent / "solutions/13_flash_attention/flash_attention_hopper.py"
ROUNDING = {torch.float16: 2.0**-11, torch.bfloat16: 2.0**-8}
FLOAT32 = 1e-5  # a few hundred float32 roundings, relative to the size of what is added up
SCHEDULES = [("early", 0), ("late", 0), ("late", 1), ("random", 0), ("random", 1)]


@pytest.fixture(scope="module")
def kernels() -> types.ModuleType:
    return load(FILE)


def inputs(batch: int, n_heads: int, n_kv_heads: int, n_q: int, n_k: int, head_dim: int, dtype: torch.dtype) -> list[Tensor]:
    """q, k, v and the gradient of out."""
    generator = torch.Generator().manual_seed(n_q * 1000 + n_k)
    shapes = [(n_heads, n_q), (n_kv_heads, n_k), (n_kv_heads, n_k), (n_heads, n_q)]
    return [torch.randn(batch, *shape, head_dim, generator=generator).to(dtype) for shape in shapes]


def excess(kernels: types.ModuleType, q: Tensor, k: Tensor, v: Tensor, grad: Tensor, causal: bool) -> dict[str, float]:
    """How far each result is from float64 attention, by what rounding to the inputs' dtype explains: right is at most 1."""
    scale = q.shape[-1] ** -0.5
    out, lse = kernels.attention_forward(q, k, v, causal, scale)
    found = dict(zip(("dq", "dk", "dv"), kernels.attention_backward(grad, q, k, v, out, lse, causal, scale), strict=True))
    found |= {"out": out, "lse": lse}
    want, allowed = attention(q, k, v, grad, causal, scale, ROUNDING[q.dtype])
    return {name: worst(found[name].double(), want[name], allowed[name]) for name in want}


def worst(found: Tensor, want: Tensor, allowed: Tensor) -> float:
    error = torch.where(found == want, 0.0, (found - want).abs())
    return float((error / allowed).nan_to_num(nan=torch.inf).max())


def attention(
    q: Tensor, k: Tensor, v: Tensor, grad: Tensor, causal: bool, scale: float, rounding: float
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """out, lse and the gradients in float64, and how far rounded weights, score gradients and results may be from them."""
    q, k, v, grad = (x.double() for x in (q, k, v, grad))
    n_kv_heads, group = k.shape[1], q.shape[1] // k.shape[1]
    k, v = (x.repeat_interleave(group, dim=1) for x in (k, v))
    scores = q @ k.mT * scale
    if causal:
        n_q, n_k = scores.shape[-2:]
        scores = scores.masked_fill(torch.ones(n_q, n_k).triu(n_k - n_q + 1).bool(), -torch.inf)
    lse = scores.logsumexp(-1)
    p = (scores - lse.unsqueeze(-1)).exp().nan_to_num()
    out, dp = p @ v, grad @ v.mT
    ds = p * (dp - (out * grad).sum(-1, keepdim=True))

    def of_group(x: Tensor) -> Tensor:
        return x.unflatten(1, (n_kv_heads, group)).sum(2)

    want = {"out": out, "lse": lse, "dq": scale * ds @ k, "dk": of_group(scale * ds.mT @ q), "dv": of_group(p.mT @ grad)}
    unit = rounding + FLOAT32
    out_off = unit * (p @ v.abs() + out.abs())
    ds_off = unit * ds.abs() + p * ((out_off * grad.abs()).sum(-1, keepdim=True) + FLOAT32 * (grad.abs() @ v.abs().mT))
    allowed = {
        "out": out_off,
        "lse": FLOAT32 * (1 + lse.abs()),
        "dq": scale * ds_off @ k.abs() + unit * want["dq"].abs(),
        "dk": of_group(scale * ds_off.mT @ q.abs()) + unit * want["dk"].abs(),
        "dv": of_group(unit * p.mT @ grad.abs()) + unit * want["dv"].abs(),
    }
    return want, {name: bound + 1e-7 for name, bound in allowed.items()}


@pytest.mark.parametrize(("when", "seed"), SCHEDULES)
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("head_dim", [64, 128])
def test_results_are_those_of_attention_whatever_comes_first(
    kernels: types.ModuleType, head_dim: int, causal: bool, when: str, seed: int
) -> None:
    with scheduled(when, seed):
        for n_q, n_k in ((128, 640), (450, 130), (257, 513)):
            off = excess(kernels, *inputs(1, 2, 1, n_q, n_k, head_dim, torch.float16), causal)
            assert max(off.values()) <= 1, (n_q, n_k, off)


EVERY_PAIR = [  # of heads, masks and dtypes
    ((1, 1), True, torch.bfloat16),
    ((1, 1), False, torch.float16),
    ((3, 1), True, torch.float16),
    ((3, 1), False, torch.bfloat16),
    ((4, 2), True, torch.bfloat16),
    ((4, 2), False, torch.float16),
]


@pytest.mark.parametrize(("heads", "causal", "dtype"), EVERY_PAIR, ids=str)
def test_any_heads_lengths_and_dtypes(
    kernels: types.ModuleType, heads: tuple[int, int], causal: bool, dtype: torch.dtype
) -> None:
    with scheduled("random", 7):
        for n_q, n_k in ((1, 1), (1, 200), (200, 1), (129, 127)):
            for head_dim in (64, 128):
                off = excess(kernels, *inputs(2, *heads, n_q, n_k, head_dim, dtype), causal)
                assert max(off.values()) <= 1, (n_q, n_k, head_dim, off)


def test_strides_other_than_those_of_a_contiguous_tensor(kernels: types.ModuleType) -> None:
    with scheduled("random", 3):
        q, k, v, grad = (x.transpose(1, 2).contiguous().transpose(1, 2) for x in inputs(2, 4, 2, 150, 140, 64, torch.float16))
        off = excess(kernels, q, k, v, grad, True)
    assert not q.is_contiguous() and max(off.values()) <= 1, off


WAIT_EMPTY = "    mbarrier.wait(empty.index(i % STAGES), (i // STAGES & 1) ^ 1)\n"
EXPECT = "    mbarrier.expect(full.index(i % STAGES), desc.block_type.nbytes)\n"
EXPECT_BOTH = "    mbarrier.expect(full.index(i % STAGES), desc.block_type.nbytes + number_desc.block_type.nbytes)\n"
SCORES_WAIT, KEYS_READ = "    scores = warpgroup_mma_wait(1, deps=[scores])\n", "    _release(keys, i)\n"
ACC_WAIT, VALUES_READ = "    acc, p = warpgroup_mma_wait(0, deps=[acc, p])\n", "    _release(values, i - 1)\n"
DK_WAIT, QUERIES_READ = "    dk, ds = warpgroup_mma_wait(0, deps=[dk, ds])\n", "    _release(queries, i)\n"
NEXT_TILE = "        tile += 1\n        if tile == end:\n            tile = begin\n"
NEXT_HEAD = "            head += 1\n"
SENT = "    for i in range(GROUP * (end - begin)):\n        at"
DONE = "    mbarrier.arrive(done.index(HALF), count=1)\n"
PUT = "    _put(k_tiles, HALF, dk * scale)  # k and v have been read; the producer copies out what takes their place\n"
PUT += "    _put(v_tiles, HALF, dv)\n"
COPIED = "        copy_out(dv_desc, [batch, kv_head, first + half * ROWS, 0], v_tiles.index(half))\n    tma.store_wait(0)\n"
DQ_STORED = "    _store(dq_desc, q_tiles, HALF, dq * scale, batch, head, first + HALF * ROWS)\n"
BROKEN = {
    "room_for_a_tile_not_awaited": (WAIT_EMPTY + EXPECT, EXPECT),
    "room_for_queries_not_awaited": (WAIT_EMPTY + EXPECT_BOTH, EXPECT_BOTH),
    "bytes_not_expected": (EXPECT, ""),
    "numbers_not_expected": (EXPECT_BOTH, EXPECT),
    "tiles_not_awaited": ("    mbarrier.wait(full.index(i % STAGES), i // STAGES & 1)\n", ""),
    "wrong_phase": ("full.index(i % STAGES), i // STAGES & 1)", "full.index(i % STAGES), (i // STAGES & 1) ^ 1)"),
    "phase_of_the_place": ("full.index(i % STAGES), i // STAGES & 1)", "full.index(i % STAGES), i & 1)"),
    "queries_not_awaited": ("    mbarrier.wait(q_full.index(HALF), 0)\n", ""),
    "values_released_while_read": (ACC_WAIT + VALUES_READ, VALUES_READ + ACC_WAIT),
    "queries_released_while_read": (DK_WAIT + QUERIES_READ, QUERIES_READ + DK_WAIT),
    "product_not_awaited": (SCORES_WAIT + KEYS_READ, SCORES_WAIT.replace("1", "2") + KEYS_READ),
    "turns_never_given": ("    mbarrier.arrive(turn.index(1 - HALF), count=1)\n", ""),
    "own_turn_again": ("turn.index(1 - HALF)", "turn.index(HALF)"),
    "tile_not_reset_by_the_consumer": (NEXT_TILE + "    _put", "        tile += 1\n    _put"),
    "tile_not_reset_by_the_producer": (NEXT_TILE + NEXT_HEAD, NEXT_TILE.replace("            tile = begin\n", "") + NEXT_HEAD),
    "one_head_again_and_again": (NEXT_HEAD, ""),
    "next_head_at_every_tile": (NEXT_HEAD, NEXT_HEAD[4:]),
    "one_tile_too_few_sent": (SENT, SENT.replace("begin))", "begin) - 1)")),
    "tiles_sent_that_nobody_reads": (SENT, SENT.replace("begin))", "begin) + 9)")),
    "heads_of_one_head": ("tile, head = begin, kv_head * GROUP", "tile, head = begin, kv_head"),
    "no_fence": ("to(tiles.dtype))\n    fence_async_shared()\n", "to(tiles.dtype))\n"),
    "copied_out_before_done": ("        mbarrier.wait(done.index(half), 0)\n", ""),
    "done_before_it_is_put": (PUT + DONE, DONE + PUT),
    "never_done": (DONE, ""),
    "one_half_done_twice": ("done.index(HALF)", "done.index(0)"),
    "keys_copy_not_awaited": (COPIED, COPIED.replace("    tma.store_wait(0)\n", "")),
    "queries_copy_not_awaited": (DQ_STORED + "    tma.store_wait(0)\n", DQ_STORED),
    "top_left_mask": ("last = gl.minimum(queries + n_k - n_q, n_k - 1)", "last = gl.minimum(queries, n_k - 1)"),
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
def test_a_kernel_with_a_fault_is_found_out(name: str) -> None:
    kernels = load(FILE, BROKEN[name])
    for when, seed in SCHEDULES:
        with scheduled(when, seed):
            try:
                off = [excess(kernels, *inputs(1, 4, 2, 300, 420, head_dim, torch.float16), True) for head_dim in (64, 128)]
            except Hazard:
                return
        if max(value for each in off for value in each.values()) > 1:
            return
    pytest.fail("no schedule shows the fault")
