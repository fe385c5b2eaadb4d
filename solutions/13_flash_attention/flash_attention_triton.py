"""FlashAttention as a kernel: the algorithm of `flash_attention.py` where it pays, on a GPU, in Triton.

A kernel is a program that a GPU runs many times at once, each time with another number. Here one program owns one tile of
queries of one head: it loads them once, walks along the keys, and keeps the running maximum, the running sum and the
output in registers; tiles of keys and values pass through the fast shared memory. Nothing of size n_q · n_k exists.

    forward       a program for each tile of queries, a loop over the keys        →  out, lse
    backward      a program for each tile of keys, a loop over the queries        →  dk, dv
                  a program for each tile of queries, a loop over the keys        →  dq

The backward pass walks twice, so that no two programs add to the same place: no atomics, and the same bits every time.
Three things make the loops fast. Exponentials are powers of two, which the hardware has, and the factor log2(e) hides in
the scale. The output is divided by the running sum once, at the end. And only the tiles that the causal diagonal or the
end of the keys cuts through are masked: all others are seen whole or never loaded (for these two: Dao 2023, section 3.1).

With TRITON_INTERPRET=1 in the environment, before this file is imported, the kernels run on the CPU, slowly and readably:
`print` and a debugger work in them. Not handled: dropout, masks other than the causal one, widths of v other than k's.
Sources: Dao et al. 2022 (FlashAttention), Dao 2023 (FlashAttention-2), Tillet et al. 2019 (Triton).
"""

import math
from typing import NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.autograd.function import once_differentiable

LOG2_E = tl.constexpr(1.4426950408889634)
LN_2 = tl.constexpr(0.6931471805599453)


@triton.jit
def _head(x, strides, batch, head):
    """Given: a pointer to one head of a (batch, heads, length, width) tensor."""
    return x + batch * strides[0] + head * strides[1]


@triton.jit
def _rows(head, strides, first, N_ROWS: tl.constexpr, WIDTH: tl.constexpr):
    """Given: pointers (N_ROWS, WIDTH) to the rows from `first` on of a head.

    What is added to the first row's address is the same for every tile, so a loop computes it once, in 32 bits.
    """
    within = tl.arange(0, N_ROWS)[:, None] * strides[2] + tl.arange(0, WIDTH)[None, :] * strides[3]
    return head + tl.cast(first, tl.int64) * strides[2] + within


@triton.jit
def _load(pointers, is_row, is_column, SOME_ROWS: tl.constexpr, SOME_COLUMNS: tl.constexpr):
    """Given: a tile, with 0 in place of what lies beyond the tensor's end. A load without a mask is the cheapest."""
    if SOME_ROWS and SOME_COLUMNS:
        x = tl.load(pointers, mask=is_row[:, None] & is_column[None, :], other=0.0)
    elif SOME_ROWS:
        x = tl.load(pointers, mask=is_row[:, None], other=0.0)
    elif SOME_COLUMNS:
        x = tl.load(pointers, mask=is_column[None, :], other=0.0)
    else:
        x = tl.load(pointers)
    return x


@triton.jit
def _load_lse(pointers, is_row):
    """Given: rows of lse, in powers of two. inf for a row that sees nothing, or is none: every weight of it comes out as 0."""
    lse = tl.load(pointers, mask=is_row, other=float("-inf"))
    return tl.where(lse == float("-inf"), float("inf"), lse * LOG2_E)


@triton.jit
def _key_range(first_query, n_q, n_k, CAUSAL: tl.constexpr, BLOCK_Q: tl.constexpr, BLOCK_K: tl.constexpr):
    """Given, for a tile of queries: (whole, end, last_seen).

    Keys before `whole` lie in tiles that every query of the tile sees entirely; none sees a key from `end` on. Query
    row r sees the keys up to `last_seen[r]`, which is negative where it sees nothing.
    """
    if CAUSAL:  # bottom-right: query i sees the keys up to i + n_k - n_q
        seen_by_first = tl.minimum(tl.maximum(first_query + n_k - n_q + 1, 0), n_k)
        end = tl.minimum(tl.maximum(first_query + n_k - n_q + BLOCK_Q, 0), n_k)
        last_seen = tl.minimum(first_query + tl.arange(0, BLOCK_Q) + n_k - n_q, n_k - 1)
    else:
        seen_by_first = n_k
        end = n_k
        last_seen = tl.zeros((BLOCK_Q,), tl.int32) + n_k - 1
    return seen_by_first // BLOCK_K * BLOCK_K, end, last_seen


@triton.jit
def _see_keys(
    m, l, acc, q, k_head, v_head, k_strides, v_strides, begin, end, n_k, last_seen, is_column, scale_log2,
    MASKED: tl.constexpr, PADDED: tl.constexpr, WIDTH: tl.constexpr, BLOCK_K: tl.constexpr,
):  # fmt: skip
    """Take the keys `begin` to `end` into account, a tile at a time: (m, l, acc) after it.

    `q (block_q, width)` is the tile of queries. `m`, `l (block_q,)` and `acc (block_q, width)`, all float32, are the
    running maximum (of scores times log2(e)), the running sum of powers of two, and the unnormalised output. `k_head`
    and `v_head` point to the head's first key and value; `_rows` finds a tile from there. `scale_log2 > 0` is the scale
    times log2(e). With `MASKED`, loads stop at the tensor's end (`n_k`), and query row r sees no key after
    `last_seen[r]`; otherwise every query sees every key. With `PADDED`, columns that are no `is_column` are not loaded.
    A row that has seen nothing keeps m = -inf, l = 0, acc = 0, and nothing is NaN. `tl.dot` needs
    `input_precision="ieee"`, or float32 is cut.
    """
    ### BEGIN SOLUTION
    for start in range(begin, end, BLOCK_K):
        keys = start + tl.arange(0, BLOCK_K)
        k = _load(_rows(k_head, k_strides, start, BLOCK_K, WIDTH), keys < n_k, is_column, MASKED, PADDED)
        scores = tl.dot(q, tl.trans(k), input_precision="ieee")  # (block_q, block_k), float32
        if MASKED:
            scores = tl.where(keys[None, :] <= last_seen[:, None], scores, float("-inf"))
        m_new = tl.maximum(m, tl.max(scores, 1) * scale_log2)
        shift = m_new
        if MASKED:
            shift = tl.where(m_new == float("-inf"), 0.0, m_new)  # nothing seen yet: -inf - 0 is no NaN
        p = tl.exp2(scores * scale_log2 - shift[:, None])
        rescale = tl.exp2(m - shift)
        l = l * rescale + tl.sum(p, 1)
        v = _load(_rows(v_head, v_strides, start, BLOCK_K, WIDTH), keys < n_k, is_column, MASKED, PADDED)
        acc = tl.dot(p.to(v.dtype), v, acc * rescale[:, None], input_precision="ieee")
        m = m_new
    return m, l, acc
    ### END SOLUTION


@triton.jit
def _forward_kernel(
    q_ptr, k_ptr, v_ptr, out_ptr, lse_ptr, q_strides, k_strides, v_strides, out_strides, n_q, n_k, scale_log2,
    N_HEADS: tl.constexpr, GROUP: tl.constexpr, CAUSAL: tl.constexpr, HEAD_DIM: tl.constexpr, WIDTH: tl.constexpr,
    BLOCK_Q: tl.constexpr, BLOCK_K: tl.constexpr,
):  # fmt: skip
    """Given: out and lse of one tile of queries. GROUP heads of q share one of k and v; WIDTH is HEAD_DIM or more."""
    n_tiles = tl.cdiv(n_q, BLOCK_Q)
    tile = tl.program_id(0) % n_tiles
    if CAUSAL:
        tile = n_tiles - 1 - tile  # the tiles with the longest walk go first, so that none is left over at the end
    batch_head = (tl.program_id(0) // n_tiles).to(tl.int64)
    batch, head = batch_head // N_HEADS, batch_head % N_HEADS
    queries = tile * BLOCK_Q + tl.arange(0, BLOCK_Q)
    is_column = tl.arange(0, WIDTH) < HEAD_DIM
    PADDED: tl.constexpr = WIDTH != HEAD_DIM

    q_rows = _rows(_head(q_ptr, q_strides, batch, head), q_strides, tile * BLOCK_Q, BLOCK_Q, WIDTH)
    q = _load(q_rows, queries < n_q, is_column, True, PADDED)
    k_head = _head(k_ptr, k_strides, batch, head // GROUP)
    v_head = _head(v_ptr, v_strides, batch, head // GROUP)
    whole, end, last_seen = _key_range(tile * BLOCK_Q, n_q, n_k, CAUSAL, BLOCK_Q, BLOCK_K)
    m = tl.full((BLOCK_Q,), float("-inf"), tl.float32)
    l = tl.zeros((BLOCK_Q,), tl.float32)
    acc = tl.zeros((BLOCK_Q, WIDTH), tl.float32)
    m, l, acc = _see_keys(
        m, l, acc, q, k_head, v_head, k_strides, v_strides, 0, whole, n_k, last_seen, is_column, scale_log2,
        False, PADDED, WIDTH, BLOCK_K,
    )  # fmt: skip
    m, l, acc = _see_keys(
        m, l, acc, q, k_head, v_head, k_strides, v_strides, whole, end, n_k, last_seen, is_column, scale_log2,
        True, PADDED, WIDTH, BLOCK_K,
    )  # fmt: skip

    divisor = tl.where(l == 0.0, 1.0, l)
    lse = tl.where(l == 0.0, float("-inf"), (m + tl.log2(divisor)) * LN_2)
    tl.store(lse_ptr + batch_head * n_q + queries, lse, mask=queries < n_q)
    out = (acc / divisor[:, None]).to(out_ptr.dtype.element_ty)
    out_rows = _rows(_head(out_ptr, out_strides, batch, head), out_strides, tile * BLOCK_Q, BLOCK_Q, WIDTH)
    tl.store(out_rows, out, mask=(queries < n_q)[:, None] & is_column[None, :])


@triton.jit
def _delta_kernel(
    out_ptr, grad_ptr, delta_ptr, out_strides, grad_strides, n_q,
    N_HEADS: tl.constexpr, HEAD_DIM: tl.constexpr, WIDTH: tl.constexpr, BLOCK_Q: tl.constexpr,
):  # fmt: skip
    """Given: delta, the row sums of out · grad_out, which the gradient of every softmax row needs (Dao 2023, section 3.1.2)."""
    n_tiles = tl.cdiv(n_q, BLOCK_Q)
    tile = tl.program_id(0) % n_tiles
    batch_head = (tl.program_id(0) // n_tiles).to(tl.int64)
    batch, head = batch_head // N_HEADS, batch_head % N_HEADS
    queries = tile * BLOCK_Q + tl.arange(0, BLOCK_Q)
    is_column = tl.arange(0, WIDTH) < HEAD_DIM
    out_rows = _rows(_head(out_ptr, out_strides, batch, head), out_strides, tile * BLOCK_Q, BLOCK_Q, WIDTH)
    grad_rows = _rows(_head(grad_ptr, grad_strides, batch, head), grad_strides, tile * BLOCK_Q, BLOCK_Q, WIDTH)
    out = _load(out_rows, queries < n_q, is_column, True, True)
    grad = _load(grad_rows, queries < n_q, is_column, True, True)
    delta = tl.sum(out.to(tl.float32) * grad.to(tl.float32), 1)
    tl.store(delta_ptr + batch_head * n_q + queries, delta, mask=queries < n_q)


@triton.jit
def _gradient_of_keys(
    dk, dv, k, v, q_head, grad_head, q_strides, grad_strides, lse_ptr, delta_ptr, begin, end, n_q, first_seen, is_column,
    scale_log2, MASKED: tl.constexpr, RAGGED: tl.constexpr, PADDED: tl.constexpr, WIDTH: tl.constexpr, BLOCK_Q: tl.constexpr,
):  # fmt: skip
    """What the queries `begin` to `end` contribute to the gradients of a tile of keys: (dk, dv) after it.

    `k`, `v (block_k, width)` are the tile; `dk`, `dv`, float32, are summed up (dk still without the scale). `q_head`,
    `grad_head`, `lse_ptr` and `delta_ptr` point to what belongs to the head's first query. With `MASKED`,
    key row r is seen by the queries from `first_seen[r]` on, otherwise by all of them. With `RAGGED`, the last tile may reach
    beyond `n_q`, where loads must stop; `PADDED` is as in `_see_keys`.
    Everything is shorter with the scores transposed, (block_k, block_q): then dv and dk are products without a transpose.
    """
    ### BEGIN SOLUTION
    for start in range(begin, end, BLOCK_Q):
        queries = start + tl.arange(0, BLOCK_Q)
        q = _load(_rows(q_head, q_strides, start, BLOCK_Q, WIDTH), queries < n_q, is_column, RAGGED, PADDED)
        lse = _load_lse(lse_ptr + queries, queries < n_q)
        scores = tl.dot(k, tl.trans(q), input_precision="ieee")  # (block_k, block_q)
        if MASKED:
            scores = tl.where(queries[None, :] >= first_seen[:, None], scores, float("-inf"))
        p = tl.exp2(scores * scale_log2 - lse[None, :])
        grad = _load(_rows(grad_head, grad_strides, start, BLOCK_Q, WIDTH), queries < n_q, is_column, RAGGED, PADDED)
        dv = tl.dot(p.to(grad.dtype), grad, dv, input_precision="ieee")
        delta = tl.load(delta_ptr + queries, mask=queries < n_q, other=0.0)
        dp = tl.dot(v, tl.trans(grad), input_precision="ieee")
        ds = p * (dp - delta[None, :])
        dk = tl.dot(ds.to(q.dtype), q, dk, input_precision="ieee")
    return dk, dv
    ### END SOLUTION


@triton.jit
def _keys_backward_kernel(
    q_ptr, k_ptr, v_ptr, grad_ptr, lse_ptr, delta_ptr, dk_ptr, dv_ptr,
    q_strides, k_strides, v_strides, grad_strides, dk_strides, dv_strides, n_q, n_k, scale, scale_log2,
    N_HEADS: tl.constexpr, GROUP: tl.constexpr, CAUSAL: tl.constexpr, RAGGED: tl.constexpr, HEAD_DIM: tl.constexpr,
    WIDTH: tl.constexpr, BLOCK_Q: tl.constexpr, BLOCK_K: tl.constexpr,
):  # fmt: skip
    """Given: dk and dv of one tile of keys, summed over the GROUP heads of q that share it."""
    n_tiles = tl.cdiv(n_k, BLOCK_K)
    tile = tl.program_id(0) % n_tiles
    batch_head = (tl.program_id(0) // n_tiles).to(tl.int64)
    batch, kv_head = batch_head // (N_HEADS // GROUP), batch_head % (N_HEADS // GROUP)
    keys = tile * BLOCK_K + tl.arange(0, BLOCK_K)
    is_key = keys < n_k
    is_column = tl.arange(0, WIDTH) < HEAD_DIM
    PADDED: tl.constexpr = WIDTH != HEAD_DIM

    begin, whole = 0, 0  # queries before `begin` see nothing of the tile, those from `whole` on see all of it
    first_seen = keys - n_k + n_q
    if CAUSAL:
        begin = tl.maximum(tile * BLOCK_K - n_k + n_q, 0) // BLOCK_Q * BLOCK_Q
        whole = tl.minimum(tl.cdiv(tl.maximum(tile * BLOCK_K + BLOCK_K - 1 - n_k + n_q, 0), BLOCK_Q) * BLOCK_Q, n_q)
    k_rows = _rows(_head(k_ptr, k_strides, batch, kv_head), k_strides, tile * BLOCK_K, BLOCK_K, WIDTH)
    v_rows = _rows(_head(v_ptr, v_strides, batch, kv_head), v_strides, tile * BLOCK_K, BLOCK_K, WIDTH)
    k = _load(k_rows, is_key, is_column, True, PADDED)
    v = _load(v_rows, is_key, is_column, True, PADDED)
    dk = tl.zeros((BLOCK_K, WIDTH), tl.float32)
    dv = tl.zeros((BLOCK_K, WIDTH), tl.float32)
    for member in range(GROUP):
        head = kv_head * GROUP + member
        q_head = _head(q_ptr, q_strides, batch, head)
        grad_head = _head(grad_ptr, grad_strides, batch, head)
        lse_head = lse_ptr + (batch * N_HEADS + head) * n_q
        delta_head = delta_ptr + (batch * N_HEADS + head) * n_q
        if CAUSAL:
            dk, dv = _gradient_of_keys(
                dk, dv, k, v, q_head, grad_head, q_strides, grad_strides, lse_head, delta_head, begin, whole, n_q,
                first_seen, is_column, scale_log2, True, RAGGED, PADDED, WIDTH, BLOCK_Q,
            )  # fmt: skip
        dk, dv = _gradient_of_keys(
            dk, dv, k, v, q_head, grad_head, q_strides, grad_strides, lse_head, delta_head, whole, n_q, n_q,
            first_seen, is_column, scale_log2, False, RAGGED, PADDED, WIDTH, BLOCK_Q,
        )  # fmt: skip

    mask = is_key[:, None] & is_column[None, :]
    dk_rows = _rows(_head(dk_ptr, dk_strides, batch, kv_head), dk_strides, tile * BLOCK_K, BLOCK_K, WIDTH)
    dv_rows = _rows(_head(dv_ptr, dv_strides, batch, kv_head), dv_strides, tile * BLOCK_K, BLOCK_K, WIDTH)
    tl.store(dk_rows, (dk * scale).to(dk_ptr.dtype.element_ty), mask=mask)
    tl.store(dv_rows, dv.to(dv_ptr.dtype.element_ty), mask=mask)


@triton.jit
def _gradient_of_queries(
    dq, q, grad, lse, delta, k_head, v_head, k_strides, v_strides, begin, end, n_k, last_seen, is_column, scale_log2,
    MASKED: tl.constexpr, PADDED: tl.constexpr, WIDTH: tl.constexpr, BLOCK_K: tl.constexpr,
):  # fmt: skip
    """What the keys `begin` to `end` contribute to dq, still without the scale: dq after it.

    `q`, `grad (block_q, width)`, `lse` (in powers of two, inf where a row sees nothing) and `delta (block_q,)` belong to the
    tile of queries; the rest is as in `_see_keys`.
    """
    ### BEGIN SOLUTION
    for start in range(begin, end, BLOCK_K):
        keys = start + tl.arange(0, BLOCK_K)
        k = _load(_rows(k_head, k_strides, start, BLOCK_K, WIDTH), keys < n_k, is_column, MASKED, PADDED)
        v = _load(_rows(v_head, v_strides, start, BLOCK_K, WIDTH), keys < n_k, is_column, MASKED, PADDED)
        scores = tl.dot(q, tl.trans(k), input_precision="ieee")  # (block_q, block_k)
        if MASKED:
            scores = tl.where(keys[None, :] <= last_seen[:, None], scores, float("-inf"))
        p = tl.exp2(scores * scale_log2 - lse[:, None])
        dp = tl.dot(grad, tl.trans(v), input_precision="ieee")
        ds = p * (dp - delta[:, None])
        dq = tl.dot(ds.to(k.dtype), k, dq, input_precision="ieee")
    return dq
    ### END SOLUTION


@triton.jit
def _queries_backward_kernel(
    q_ptr, k_ptr, v_ptr, grad_ptr, lse_ptr, delta_ptr, dq_ptr,
    q_strides, k_strides, v_strides, grad_strides, dq_strides, n_q, n_k, scale, scale_log2,
    N_HEADS: tl.constexpr, GROUP: tl.constexpr, CAUSAL: tl.constexpr, HEAD_DIM: tl.constexpr, WIDTH: tl.constexpr,
    BLOCK_Q: tl.constexpr, BLOCK_K: tl.constexpr,
):  # fmt: skip
    """Given: dq of one tile of queries."""
    n_tiles = tl.cdiv(n_q, BLOCK_Q)
    tile = tl.program_id(0) % n_tiles
    if CAUSAL:
        tile = n_tiles - 1 - tile
    batch_head = (tl.program_id(0) // n_tiles).to(tl.int64)
    batch, head = batch_head // N_HEADS, batch_head % N_HEADS
    queries = tile * BLOCK_Q + tl.arange(0, BLOCK_Q)
    is_query = queries < n_q
    is_column = tl.arange(0, WIDTH) < HEAD_DIM
    PADDED: tl.constexpr = WIDTH != HEAD_DIM

    q_rows = _rows(_head(q_ptr, q_strides, batch, head), q_strides, tile * BLOCK_Q, BLOCK_Q, WIDTH)
    grad_rows = _rows(_head(grad_ptr, grad_strides, batch, head), grad_strides, tile * BLOCK_Q, BLOCK_Q, WIDTH)
    q = _load(q_rows, is_query, is_column, True, PADDED)
    grad = _load(grad_rows, is_query, is_column, True, PADDED)
    lse = _load_lse(lse_ptr + batch_head * n_q + queries, is_query)
    delta = tl.load(delta_ptr + batch_head * n_q + queries, mask=is_query, other=0.0)
    k_head = _head(k_ptr, k_strides, batch, head // GROUP)
    v_head = _head(v_ptr, v_strides, batch, head // GROUP)
    whole, end, last_seen = _key_range(tile * BLOCK_Q, n_q, n_k, CAUSAL, BLOCK_Q, BLOCK_K)
    dq = tl.zeros((BLOCK_Q, WIDTH), tl.float32)
    dq = _gradient_of_queries(
        dq, q, grad, lse, delta, k_head, v_head, k_strides, v_strides, 0, whole, n_k, last_seen, is_column, scale_log2,
        False, PADDED, WIDTH, BLOCK_K,
    )  # fmt: skip
    dq = _gradient_of_queries(
        dq, q, grad, lse, delta, k_head, v_head, k_strides, v_strides, whole, end, n_k, last_seen, is_column, scale_log2,
        True, PADDED, WIDTH, BLOCK_K,
    )  # fmt: skip
    dq_rows = _rows(_head(dq_ptr, dq_strides, batch, head), dq_strides, tile * BLOCK_Q, BLOCK_Q, WIDTH)
    tl.store(dq_rows, (dq * scale).to(dq_ptr.dtype.element_ty), mask=is_query[:, None] & is_column[None, :])


class Tiles(NamedTuple):
    """Given: the shape of a kernel's tiles, the warps that share one, how many tiles are on their way at once, and the registers
    that a thread may have: without a number the assembler decides, and may keep some of a program's state in memory to save them.
    """

    block_q: int
    block_k: int
    num_warps: int
    num_stages: int
    maxnreg: int | None = None

    @property
    def options(self) -> dict[str, int | bool]:
        """What Triton's compiler needs to know. Without fusion, each score would cost a product and a sum, not one step."""
        return dict(num_warps=self.num_warps, num_stages=self.num_stages, maxnreg=self.maxnreg, enable_fp_fusion=True)


class Plan(NamedTuple):
    """Given: the tiles of the three kernels that do the work."""

    forward: Tiles
    keys: Tiles
    queries: Tiles


def plan(dtype: torch.dtype, head_dim: int, capability: tuple[int, int] | None, shared: bool) -> Plan:
    """Given: the tiles for a device of this compute capability; None is Triton's interpreter, which likes small ones.

    Hopper (9.0) has 227 KiB of shared memory for a program. Everywhere else the plan stays under the 99 KiB that the
    smallest device since 8.0 offers. float32 products are summed without tensor cores, and need registers most of all, and
    so do key heads that several heads of q have in common (`shared`): one more loop goes around the others.
    The plans are those with which a program's state stays in registers; among them, on Hopper, the fastest of a few on an
    H100 80GB (causal, 4096 tokens, Triton 3.6), but for the keys', which `flash_attention_hopper.py` mostly takes over there.
    """
    width = triton.next_power_of_2(head_dim)
    if capability is None:
        return Plan(Tiles(32, 64, 4, 1), Tiles(32, 64, 4, 1), Tiles(32, 64, 4, 1))
    if dtype == torch.float32:
        if width <= 64:
            return Plan(*[Tiles(32, 32, 8, 1, 255)] * 3)
        return Plan(Tiles(32, 16, 8, 1, 255), Tiles(16, 32, 8, 1, 255), Tiles(32, 16, 8, 1, 255))
    if capability[0] == 9:
        if width <= 64:
            return Plan(Tiles(64, 64, 4, 3), Tiles(32, 128, 8, 3), Tiles(128, 64, 8, 3))
        # Four warps for every 64 keys: with eight, the kernel of dk and dv went at 0.54 of the speed.
        keys = Tiles(32, 64, 8, 2) if shared else Tiles(32, 128, 8, 3)
        return Plan(Tiles(64, 64, 4, 3), keys, Tiles(64, 64, 4, 2))
    if width <= 64:
        return Plan(Tiles(128, 64, 4, 3), Tiles(32, 64, 8, 2), Tiles(64, 64, 4, 2))
    return Plan(Tiles(128, 64, 8, 2), Tiles(32, 64, 8, 2), Tiles(64, 64, 8, 2))


def _plan_for(q: Tensor, k: Tensor) -> Plan:
    capability = torch.cuda.get_device_capability(q.device) if q.is_cuda else None
    return plan(q.dtype, q.shape[-1], capability, q.shape[1] > k.shape[1])


def attention_forward(q: Tensor, k: Tensor, v: Tensor, causal: bool, scale: float) -> tuple[Tensor, Tensor]:
    """Given: `(out, lse)` of q `(b, n_heads, n_q, head_dim)`, k and v `(b, n_kv_heads, n_k, head_dim)`; scale > 0.

    `lse (b, n_heads, n_q)` is the natural log-sum-exp of the scaled scores, float32, -inf for a row that sees nothing.
    """
    batch, n_heads, n_q, head_dim = q.shape
    out = torch.empty_like(q)
    lse = torch.empty(batch, n_heads, n_q, device=q.device, dtype=torch.float32)
    if out.numel() == 0:
        return out, lse
    if k.shape[2] == 0:
        return out.zero_(), lse.fill_(-torch.inf)
    tiles = _plan_for(q, k).forward
    with torch.cuda.device_of(q):
        _forward_kernel[(triton.cdiv(n_q, tiles.block_q) * batch * n_heads,)](
            q, k, v, out, lse, q.stride(), k.stride(), v.stride(), out.stride(), n_q, k.shape[2], scale * LOG2_E.value,
            N_HEADS=n_heads, GROUP=n_heads // k.shape[1], CAUSAL=causal, HEAD_DIM=head_dim,
            WIDTH=triton.next_power_of_2(head_dim), BLOCK_Q=tiles.block_q, BLOCK_K=tiles.block_k,
            **tiles.options,
        )  # fmt: skip
    return out, lse


def attention_backward(
    grad: Tensor, q: Tensor, k: Tensor, v: Tensor, out: Tensor, lse: Tensor, causal: bool, scale: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Given: `(dq, dk, dv)`, shaped as q, k and v, from the gradient of out and what `attention_forward` returned."""
    batch, n_heads, n_q, head_dim = q.shape
    n_kv_heads, n_k = k.shape[1:3]
    dq, dk, dv = torch.empty_like(q), torch.empty_like(k), torch.empty_like(v)
    if q.numel() == 0 or k.numel() == 0:
        return dq.zero_(), dk.zero_(), dv.zero_()
    delta = torch.empty_like(lse)
    work = _plan_for(q, k)
    scales = scale, scale * LOG2_E.value
    shape = dict(N_HEADS=n_heads, HEAD_DIM=head_dim, WIDTH=triton.next_power_of_2(head_dim))
    common = dict(shape, GROUP=n_heads // n_kv_heads, CAUSAL=causal)
    strides = q.stride(), k.stride(), v.stride(), grad.stride()
    with torch.cuda.device_of(q):
        _delta_kernel[(triton.cdiv(n_q, 64) * batch * n_heads,)](
            out, grad, delta, out.stride(), grad.stride(), n_q, BLOCK_Q=64, **shape
        )
        tiles = work.keys
        _keys_backward_kernel[(triton.cdiv(n_k, tiles.block_k) * batch * n_kv_heads,)](
            q, k, v, grad, lse, delta, dk, dv, *strides, dk.stride(), dv.stride(), n_q, n_k, *scales,
            RAGGED=n_q % tiles.block_q != 0, BLOCK_Q=tiles.block_q, BLOCK_K=tiles.block_k,
            **tiles.options, **common,
        )  # fmt: skip
        tiles = work.queries
        _queries_backward_kernel[(triton.cdiv(n_q, tiles.block_q) * batch * n_heads,)](
            q, k, v, grad, lse, delta, dq, *strides, dq.stride(), n_q, n_k, *scales,
            BLOCK_Q=tiles.block_q, BLOCK_K=tiles.block_k, **tiles.options, **common,
        )  # fmt: skip
    return dq, dk, dv


class TritonAttention(torch.autograd.Function):
    """Given: the two passes as one differentiable operation on 4-dimensional tensors."""

    @staticmethod
    def forward(ctx, q: Tensor, k: Tensor, v: Tensor, causal: bool, scale: float) -> Tensor:
        out, lse = attention_forward(q, k, v, causal, scale)
        ctx.save_for_backward(q, k, v, out, lse)
        ctx.causal, ctx.scale = causal, scale
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx, grad: Tensor) -> tuple[Tensor | None, ...]:
        q, k, v, out, lse = ctx.saved_tensors
        return *attention_backward(grad, q, k, v, out, lse, ctx.causal, ctx.scale), None, None


def check_supported(q: Tensor, k: Tensor, v: Tensor, scale: float) -> None:
    """Given: raises ValueError, naming the argument, for what the kernels cannot compute."""
    shapes = f"{tuple(q.shape)}, {tuple(k.shape)} and {tuple(v.shape)}"
    if min(q.dim(), k.dim(), v.dim()) < 2:
        raise ValueError(f"q, k and v need a length and a width, got shapes {shapes}")
    if k.shape != v.shape or q.dim() != k.dim():
        raise ValueError(f"k and v must have one shape, and q as many dimensions, got {shapes}")
    if q.shape[-1] != k.shape[-1] or not 16 <= q.shape[-1] <= 128:
        raise ValueError(f"q, k and v need the same width, 16 to 128, got {shapes}")
    if q.shape[:-3] != k.shape[:-3]:
        raise ValueError(f"the dimensions before the heads must be equal, got {shapes}")
    if q.dim() > 2 and q.shape[-3] != k.shape[-3] and (k.shape[-3] == 0 or q.shape[-3] % k.shape[-3]):
        raise ValueError(f"the heads of q must be a multiple of those of k and v, got {q.shape[-3]} and {k.shape[-3]}")
    if not q.dtype == k.dtype == v.dtype or q.dtype not in (torch.float16, torch.bfloat16, torch.float32):
        raise ValueError(f"q, k and v need one dtype of float16, bfloat16, float32, got {q.dtype}, {k.dtype} and {v.dtype}")
    if not q.device == k.device == v.device:
        raise ValueError(f"q, k and v must be on one device, got {q.device}, {k.device} and {v.device}")
    if not math.isfinite(scale):
        raise ValueError(f"scale must be a finite number, got {scale}")
    interpreted = not isinstance(_forward_kernel, triton.JITFunction)
    if not q.is_cuda and not (interpreted and q.device.type == "cpu"):
        raise ValueError(f"q is on {q.device}: move it to a GPU, or set TRITON_INTERPRET=1 before this file is imported")
    if interpreted and q.dtype == torch.bfloat16:
        raise ValueError("Triton's interpreter computes bfloat16 wrongly: use float16 or float32, or a GPU")


def flash_attention(q: Tensor, k: Tensor, v: Tensor, causal: bool = False, scale: float | None = None) -> Tensor:
    """Exact attention in linear memory: softmax(scale · q kᵀ) v, shaped as q, with gradients for q, k and v.

    q `(..., n_heads, n_q, head_dim)`, k and v `(..., n_kv_heads, n_k, head_dim)`: n_heads is a multiple of n_kv_heads, and
    neighbouring heads of q share one of k and v; all other leading dimensions are equal. Two-dimensional q, k and v are
    one head. float16, bfloat16 (on a GPU) or float32; head_dim from 16 to 128; any lengths, any strides. Sums are float32.
    `causal` is aligned bottom-right: query i sees the keys up to i + n_k - n_q, and a query that sees none gets zeros.
    `scale` defaults to 1 / sqrt(head_dim). Differentiable once. ValueError for anything else.
    """
    if scale is None:
        scale = 1 / math.sqrt(max(1, q.shape[-1]))
    check_supported(q, k, v, scale)
    if scale <= 0:  # the kernels take the maximum first and scale it then, which only a positive scale allows
        return flash_attention(q * math.copysign(float(scale != 0), scale), k, v, causal, abs(scale) or 1.0)
    lead = q.shape[:-3]
    q4, k4, v4 = (x.reshape(math.prod(lead), *x.shape[-3:]) if x.dim() > 2 else x[None, None] for x in (q, k, v))
    ### BEGIN SOLUTION
    # The kernels above are yours to write first; then nothing is left to do here but to call them.
    attention = TritonAttention
    if q.is_cuda and torch.cuda.get_device_capability(q.device)[0] == 9:
        from solutions import flash_attention_hopper as hopper  # going further: the same, with a Hopper GPU's own instructions

        attention = hopper.HopperAttention if hopper.fits(q4, k4, v4) else attention
    return attention.apply(q4, k4, v4, causal, scale).reshape(q.shape)
    ### END SOLUTION
