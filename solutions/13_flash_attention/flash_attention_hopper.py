"""FlashAttention for one kind of GPU: the same algorithm where each warp has a trade of its own. Going further, ungraded.

`flash_attention_triton.py` runs everywhere. On a Hopper GPU (H100, H200) it leaves half of the arithmetic units idle, for a
program there loads, multiplies and exponentiates by turns. Here the three go on at the same time (Shah et al. 2024,
FlashAttention-3, sections 3.1 and 3.2), in Gluon, Triton's language for those who lay out registers and memory themselves.

    a producer, one warp        asks the copy engine (TMA) for the next tiles of k and v, as soon as there is room for them
    two consumers, four warps   own half of the tile's queries each: products on the tensor cores, softmax in between

Tiles go through a *ring*: some places in shared memory, each with two barriers, "full" and "empty". The producer waits for
empty and asks for a tile; when its bytes have come, full opens, and the consumers read; when both have said so, empty opens.
A barrier has phases, and who waits says for which: the i-th tile of a ring of S places uses place i % S for the i // S-th time.
Products are asynchronous too: a consumer starts the scores of the next tile before it takes the last one's values in, and
the consumers take turns in starting products, so that one's softmax runs while the other's products do.

The backward pass walks twice, as in the portable file, and for the same reason: no two programs add to the same place.

Handled: float16 and bfloat16, head_dim 64 and 128, lengths of any kind, rows of 16-byte multiples (`fits` says whether).
At head_dim 64 the portable forward pass is as fast or faster: there, exponentials set the pace, not products.
"""

import functools

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.autograd.function import once_differentiable
from triton.compiler import CompiledKernel
from triton.experimental import gluon
from triton.experimental.gluon import language as gl
from triton.experimental.gluon.language.nvidia.hopper import (
    fence_async_shared,
    mbarrier,
    tma,
    warpgroup_mma,
    warpgroup_mma_wait,
)
from triton.experimental.gluon.nvidia.hopper import TensorDescriptor

from solutions import flash_attention_triton

LOG2_E = 1.4426950408889634
LN_2 = gl.constexpr(0.6931471805599453)
# Triton 3.9 renamed them.
copy_in = getattr(tma, "async_load", None) or tma.async_copy_global_to_shared
copy_out = getattr(tma, "async_store", None) or tma.async_copy_shared_to_global

LENGTHS = ["n_q", "n_k", "n_rows"]  # one compiled kernel serves all of them
BLOCK = 128  # rows of a program's own tile, half of them for each consumer
# Registers for each thread: with three groups of four warps, 168 on the average; a producer needs few.
REGISTERS = dict(num_warps=4, maxnreg=168)
CONSUMER_REGISTERS = gl.constexpr(240)
PRODUCER_REGISTERS = gl.constexpr(24)


@gluon.jit
def _barriers(N: gl.constexpr, ARRIVALS: gl.constexpr):
    """Given: N barriers, each of which opens after so many arrivals."""
    barriers = gl.allocate_shared_memory(gl.int64, [N, 1], mbarrier.MBarrierLayout())
    for i in gl.static_range(N):
        mbarrier.init(barriers.index(i), count=ARRIVALS)
    return barriers


@gluon.jit
def _tiles(desc, N: gl.constexpr):
    """Given: room for N of a descriptor's tiles in shared memory."""
    return gl.allocate_shared_memory(desc.dtype, [N] + desc.block_type.shape, desc.layout)


@gluon.jit
def _ring(desc, STAGES: gl.constexpr):
    """Given: an empty ring for a descriptor's tiles, which two consumers read: (tiles, full, empty)."""
    return _tiles(desc, STAGES), _barriers(STAGES, 1), _barriers(STAGES, 2)


@gluon.jit
def _matrix(tiles, i):
    """Given: the i-th of some tiles (1, 1, rows, width), as a matrix."""
    return tiles.index(i).reshape([tiles.shape[3], tiles.shape[4]])


@gluon.jit
def _send(ring, i, desc, batch, head, row):
    """Given: ask for the tile from `row` on as the i-th of a ring, as soon as its place is empty."""
    tiles, full, empty = ring
    STAGES: gl.constexpr = tiles.shape[0]
    mbarrier.wait(empty.index(i % STAGES), (i // STAGES & 1) ^ 1)
    mbarrier.expect(full.index(i % STAGES), desc.block_type.nbytes)
    copy_in(desc, [batch, head, row, 0], full.index(i % STAGES), tiles.index(i % STAGES))


@gluon.jit
def _receive(ring, i):
    """Given: the i-th tile of a ring, once it is there."""
    tiles, full, empty = ring
    STAGES: gl.constexpr = tiles.shape[0]
    mbarrier.wait(full.index(i % STAGES), i // STAGES & 1)
    return _matrix(tiles, i % STAGES)


@gluon.jit
def _release(ring, i):
    """Given: say that the i-th tile of a ring has been read."""
    tiles, full, empty = ring
    STAGES: gl.constexpr = tiles.shape[0]
    mbarrier.arrive(empty.index(i % STAGES), count=1)


@gluon.jit
def _put(tiles, i, value):
    """Given: write a matrix into the i-th of some tiles, where the copy engine will find it."""
    _matrix(tiles, i).store(value.to(tiles.dtype))
    fence_async_shared()


@gluon.jit
def _store(desc, tiles, i, value, batch, head, row):
    """Given: write a matrix to the rows from `row` on, by way of the i-th of some tiles. Rows beyond the end are left out."""
    _put(tiles, i, value)
    copy_out(desc, [batch, head, row, 0], tiles.index(i))


@gluon.jit
def _key_range(tile, n_q, n_k, CAUSAL: gl.constexpr, BLOCK_Q: gl.constexpr, BLOCK_K: gl.constexpr):
    """Given, for a tile of queries: (whole, n). All of them see the tiles of keys before `whole`, none sees one from n on."""
    whole, end = n_k // BLOCK_K, n_k
    if CAUSAL:  # bottom-right: query i sees the keys up to i + n_k - n_q
        whole = gl.minimum(gl.maximum(tile * BLOCK_Q + n_k - n_q + 1, 0), n_k) // BLOCK_K
        end = gl.minimum(gl.maximum(tile * BLOCK_Q + n_k - n_q + BLOCK_Q, 0), n_k)
    return whole, gl.cdiv(end, BLOCK_K)


@gluon.jit
def _last_seen(queries, n_q, n_k, CAUSAL: gl.constexpr):
    """Given: the last key that each query sees."""
    if CAUSAL:
        last = gl.minimum(queries + n_k - n_q, n_k - 1)
    else:
        last = gl.zeros_like(queries) + n_k - 1
    return last


# Forward: one program for each tile of queries ----------------------------------------------------------------------------


@gluon.jit
def _send_keys(q_desc, k_desc, v_desc, q_tiles, q_full, keys, values, batch, head, kv_head, first, n):
    """The producer: both halves of the queries, then the tiles of keys and values, the last one first."""
    ### BEGIN SOLUTION
    ROWS: gl.constexpr = q_desc.block_type.shape[2]
    BLOCK_K: gl.constexpr = k_desc.block_type.shape[2]
    for half in gl.static_range(2):
        mbarrier.expect(q_full.index(half), q_desc.block_type.nbytes)
        copy_in(q_desc, [batch, head, first + half * ROWS, 0], q_full.index(half), q_tiles.index(half))
    for i in range(n):
        _send(keys, i, k_desc, batch, kv_head, (n - 1 - i) * BLOCK_K)
        _send(values, i, v_desc, batch, kv_head, (n - 1 - i) * BLOCK_K)
    ### END SOLUTION


@gluon.jit
def _softmax(scores, m, start, last_seen, scale_log2, MASKED: gl.constexpr, S_LAYOUT: gl.constexpr):
    """One tile's unnormalised weights: (p, m, rescale), with m the new running maximum, in powers of two."""
    ### BEGIN SOLUTION
    if MASKED:
        keys = start + gl.arange(0, scores.shape[1], layout=gl.SliceLayout(0, S_LAYOUT))
        scores = gl.where(keys[None, :] <= last_seen[:, None], scores, float("-inf"))
    m_new = gl.maximum(m, gl.max(scores, 1) * scale_log2)
    shift = m_new
    if MASKED:
        shift = gl.where(m_new == float("-inf"), 0.0, m_new)  # nothing seen yet: -inf - 0 is no NaN
    return gl.exp2(scores * scale_log2 - shift[:, None]), m_new, gl.exp2(m - shift)
    ### END SOLUTION


@gluon.jit
def _see_tile(
    i, n, m, l, acc, p, q, keys, values, turn, last_seen, scale_log2,
    HALF: gl.constexpr, MASKED: gl.constexpr, S_LAYOUT: gl.constexpr, O_LAYOUT: gl.constexpr,
):  # fmt: skip
    """A consumer's i-th tile: its scores and weights; meanwhile the values of the tile before, whose weights are p."""
    ### BEGIN SOLUTION
    ROWS: gl.constexpr = q.shape[0]
    BLOCK_K: gl.constexpr = keys[0].shape[3]
    zero = gl.zeros([ROWS, BLOCK_K], gl.float32, S_LAYOUT)
    mbarrier.wait(turn.index(HALF), (i & 1) ^ HALF)
    k = _receive(keys, i)
    scores = warpgroup_mma(q, k.permute([1, 0]), zero, use_acc=False, is_async=True)
    v = _receive(values, i - 1)
    acc = warpgroup_mma(p, v, acc, is_async=True)
    mbarrier.arrive(turn.index(1 - HALF), count=1)
    scores = warpgroup_mma_wait(1, deps=[scores])
    _release(keys, i)
    new, m, rescale = _softmax(scores, m, (n - 1 - i) * BLOCK_K, last_seen, scale_log2, MASKED, S_LAYOUT)
    l = l * rescale + gl.sum(new, 1)
    acc, p = warpgroup_mma_wait(0, deps=[acc, p])
    _release(values, i - 1)
    acc *= gl.convert_layout(rescale, gl.SliceLayout(1, O_LAYOUT))[:, None]
    return m, l, acc, gl.convert_layout(new.to(v.dtype), gl.DotOperandLayout(0, O_LAYOUT, 2))
    ### END SOLUTION


@gluon.jit
def _see_keys(work, HALF: gl.constexpr, CAUSAL: gl.constexpr):
    """A consumer: out and lse of half a tile of queries."""
    out_desc, lse_ptr, q_tiles, q_full, keys, values, turn, batch, head, first, whole, n, n_heads, n_q, n_k, scale_log2 = work
    ### BEGIN SOLUTION
    ROWS: gl.constexpr = q_tiles.shape[3]
    WIDTH: gl.constexpr = q_tiles.shape[4]
    BLOCK_K: gl.constexpr = keys[0].shape[3]
    S_LAYOUT: gl.constexpr = gl.NVMMADistributedLayout([3, 0], [4, 1], [16, BLOCK_K, 16])
    O_LAYOUT: gl.constexpr = gl.NVMMADistributedLayout([3, 0], [4, 1], [16, WIDTH, 16])
    queries = first + HALF * ROWS + gl.arange(0, ROWS, layout=gl.SliceLayout(1, S_LAYOUT))
    last_seen = _last_seen(queries, n_q, n_k, CAUSAL)
    m = gl.full([ROWS], float("-inf"), gl.float32, gl.SliceLayout(1, S_LAYOUT))
    l = gl.zeros([ROWS], gl.float32, gl.SliceLayout(1, S_LAYOUT))
    acc = gl.zeros([ROWS, WIDTH], gl.float32, O_LAYOUT)
    q = _matrix(q_tiles, HALF)
    mbarrier.wait(q_full.index(HALF), 0)
    if n > 0:
        zero = gl.zeros([ROWS, BLOCK_K], gl.float32, S_LAYOUT)
        scores = warpgroup_mma(q, _receive(keys, 0).permute([1, 0]), zero, use_acc=False, is_async=True)
        scores = warpgroup_mma_wait(0, deps=[scores])
        _release(keys, 0)
        new, m, rescale = _softmax(scores, m, (n - 1) * BLOCK_K, last_seen, scale_log2, True, S_LAYOUT)
        l = gl.sum(new, 1)
        p = gl.convert_layout(new.to(q.dtype), gl.DotOperandLayout(0, O_LAYOUT, 2))
        for i in range(1, n - whole):
            m, l, acc, p = _see_tile(
                i, n, m, l, acc, p, q, keys, values, turn, last_seen, scale_log2, HALF, True, S_LAYOUT, O_LAYOUT
            )
        for i in range(gl.maximum(n - whole, 1), n):
            m, l, acc, p = _see_tile(
                i, n, m, l, acc, p, q, keys, values, turn, last_seen, scale_log2, HALF, False, S_LAYOUT, O_LAYOUT
            )
        acc = warpgroup_mma(p, _receive(values, n - 1), acc, is_async=True)
        acc, p = warpgroup_mma_wait(0, deps=[acc, p])
    divisor = gl.where(l == 0.0, 1.0, l)
    lse = gl.where(l == 0.0, float("-inf"), (m + gl.log2(divisor)) * LN_2)
    gl.store(lse_ptr + (batch * n_heads + head).to(gl.int64) * n_q + queries, lse, mask=queries < n_q)
    acc *= gl.convert_layout(1.0 / divisor, gl.SliceLayout(1, O_LAYOUT))[:, None]
    _store(out_desc, q_tiles, HALF, acc, batch, head, first + HALF * ROWS)
    tma.store_wait(0)
    ### END SOLUTION


@gluon.jit(do_not_specialize=LENGTHS)
def _forward_kernel(
    q_desc, k_desc, v_desc, out_desc, lse_ptr, n_q, n_k, scale_log2,
    N_HEADS: gl.constexpr, GROUP: gl.constexpr, CAUSAL: gl.constexpr, STAGES: gl.constexpr,
):  # fmt: skip
    """Given: a program's rings and barriers, and who does what."""
    ROWS: gl.constexpr = q_desc.block_type.shape[2]
    BLOCK_K: gl.constexpr = k_desc.block_type.shape[2]
    n_tiles = gl.cdiv(n_q, 2 * ROWS)
    tile = gl.program_id(0) % n_tiles
    if CAUSAL:
        tile = n_tiles - 1 - tile  # the tiles with the longest walk go first, so that none is left over at the end
    batch_head = gl.program_id(0) // n_tiles
    batch, head = batch_head // N_HEADS, batch_head % N_HEADS
    q_tiles, q_full, turn = _tiles(q_desc, 2), _barriers(2, 1), _barriers(2, 1)
    keys, values = _ring(k_desc, STAGES), _ring(v_desc, STAGES)
    fence_async_shared()
    whole, n = _key_range(tile, n_q, n_k, CAUSAL, 2 * ROWS, BLOCK_K)
    first = tile * 2 * ROWS
    consumer = (
        out_desc, lse_ptr, q_tiles, q_full, keys, values, turn, batch, head, first, whole, n, N_HEADS, n_q, n_k, scale_log2,
    )  # fmt: skip
    producer = (q_desc, k_desc, v_desc, q_tiles, q_full, keys, values, batch, head, head // GROUP, first, n)
    gl.warp_specialize(
        [(_see_keys, (consumer, 0, CAUSAL)), (_see_keys, (consumer, 1, CAUSAL)), (_send_keys, producer)],
        [4, 1],
        [CONSUMER_REGISTERS, PRODUCER_REGISTERS],
    )


# Backward: delta, then one program for each tile of keys, then one for each tile of queries ------------------------------------


@triton.jit(do_not_specialize=LENGTHS)
def _delta_kernel(
    out_ptr, grad_ptr, lse_ptr, lse2_ptr, delta_ptr, out_strides, grad_strides, n_q, n_rows,
    N_HEADS: tl.constexpr, HEAD_DIM: tl.constexpr, BLOCK_Q: tl.constexpr,
):  # fmt: skip
    """Given: delta, the row sums of out · grad_out, and lse in powers of two, both for `n_rows` queries of a head.

    lse is inf for a row that sees nothing, and for those beyond n_q, which fill up the last tile: their weights come out as 0.
    """
    n_tiles = n_rows // BLOCK_Q
    tile = tl.program_id(0) % n_tiles
    batch_head = (tl.program_id(0) // n_tiles).to(tl.int64)
    batch, head = batch_head // N_HEADS, batch_head % N_HEADS
    queries = tile * BLOCK_Q + tl.arange(0, BLOCK_Q)
    is_query = queries < n_q
    columns = tl.arange(0, HEAD_DIM)[None, :]
    rows = queries.to(tl.int64)[:, None]
    out = out_ptr + batch * out_strides[0] + head * out_strides[1] + rows * out_strides[2] + columns
    grad = grad_ptr + batch * grad_strides[0] + head * grad_strides[1] + rows * grad_strides[2] + columns
    out = tl.load(out, mask=is_query[:, None], other=0.0).to(tl.float32)
    grad = tl.load(grad, mask=is_query[:, None], other=0.0).to(tl.float32)
    lse = tl.load(lse_ptr + batch_head * n_q + queries, mask=is_query, other=float("-inf"))
    lse2 = tl.where(lse == float("-inf"), float("inf"), lse * 1.4426950408889634)
    tl.store(lse2_ptr + batch_head * n_rows + queries, lse2)
    tl.store(delta_ptr + batch_head * n_rows + queries, tl.sum(out * grad, 1))


@gluon.jit
def _query_range(tile, n_q, n_k, CAUSAL: gl.constexpr, BLOCK_Q: gl.constexpr, BLOCK_K: gl.constexpr):
    """Given, for a tile of keys: (begin, end). Tiles of queries before `begin` see nothing of it; `end` is how many there are."""
    begin, end = 0, gl.cdiv(n_q, BLOCK_Q)
    if CAUSAL:
        begin = gl.minimum(gl.maximum(tile * BLOCK_K - n_k + n_q, 0) // BLOCK_Q, end)
    return begin, end


@gluon.jit
def _send_with_row(ring, numbers, i, desc, number_desc, batch, head, row, at):
    """Given: as `_send`, and with each row of the tile a number, from `at` on."""
    tiles, full, empty = ring
    STAGES: gl.constexpr = tiles.shape[0]
    mbarrier.wait(empty.index(i % STAGES), (i // STAGES & 1) ^ 1)
    mbarrier.expect(full.index(i % STAGES), desc.block_type.nbytes + number_desc.block_type.nbytes)
    copy_in(desc, [batch, head, row, 0], full.index(i % STAGES), tiles.index(i % STAGES))
    copy_in(number_desc, [at], full.index(i % STAGES), numbers.index(i % STAGES))


@gluon.jit
def _send_queries(
    k_desc, v_desc, q_desc, grad_desc, lse_desc, delta_desc, dk_desc, dv_desc, k_tiles, v_tiles, full, done,
    queries, grads, lses, deltas, batch, kv_head, first, begin, end, n_rows, N_HEADS: gl.constexpr, GROUP: gl.constexpr,
):  # fmt: skip
    """The producer: both halves of the keys and values, then the queries of all heads that share them, with lse and delta.

    In the end it copies dk and dv out. The consumers have no register left for the copy engine's orders.
    """
    ### BEGIN SOLUTION
    ROWS: gl.constexpr = k_desc.block_type.shape[2]
    BLOCK_Q: gl.constexpr = q_desc.block_type.shape[2]
    for half in gl.static_range(2):
        mbarrier.expect(full.index(half), 2 * k_desc.block_type.nbytes)
        copy_in(k_desc, [batch, kv_head, first + half * ROWS, 0], full.index(half), k_tiles.index(half))
        copy_in(v_desc, [batch, kv_head, first + half * ROWS, 0], full.index(half), v_tiles.index(half))
    tile, head = begin, kv_head * GROUP
    for i in range(GROUP * (end - begin)):
        at = (batch * N_HEADS + head) * n_rows + tile * BLOCK_Q
        _send_with_row(queries, lses, i, q_desc, lse_desc, batch, head, tile * BLOCK_Q, at)
        _send_with_row(grads, deltas, i, grad_desc, delta_desc, batch, head, tile * BLOCK_Q, at)
        tile += 1
        if tile == end:
            tile = begin
            head += 1
    for half in gl.static_range(2):
        mbarrier.wait(done.index(half), 0)
        copy_out(dk_desc, [batch, kv_head, first + half * ROWS, 0], k_tiles.index(half))
        copy_out(dv_desc, [batch, kv_head, first + half * ROWS, 0], v_tiles.index(half))
    tma.store_wait(0)
    ### END SOLUTION


@gluon.jit
def _add_to_keys(
    i, tile, dk, dv, k, v, queries, grads, lses, deltas, first_seen, scale_log2,
    MASKED: gl.constexpr, S_LAYOUT: gl.constexpr, O_LAYOUT: gl.constexpr,
):  # fmt: skip
    """A consumer's i-th tile of queries: what it adds to dk and dv. The scores are transposed, (keys, queries)."""
    ### BEGIN SOLUTION
    STAGES: gl.constexpr = lses.shape[0]
    ROWS: gl.constexpr = k.shape[0]
    BLOCK_Q: gl.constexpr = lses.shape[1]
    zero = gl.zeros([ROWS, BLOCK_Q], gl.float32, S_LAYOUT)
    q = _receive(queries, i)
    scores = warpgroup_mma(k, q.permute([1, 0]), zero, use_acc=False, is_async=True)
    grad = _receive(grads, i)
    dp = warpgroup_mma(v, grad.permute([1, 0]), zero, use_acc=False, is_async=True)
    lse = lses.index(i % STAGES).load(gl.SliceLayout(0, S_LAYOUT))
    scores = warpgroup_mma_wait(1, deps=[scores])
    p = gl.exp2(scores * scale_log2 - lse[None, :])
    if MASKED:
        rows = tile * BLOCK_Q + gl.arange(0, BLOCK_Q, layout=gl.SliceLayout(0, S_LAYOUT))
        p = gl.where(rows[None, :] >= first_seen[:, None], p, 0.0)
    weights = gl.convert_layout(p.to(q.dtype), gl.DotOperandLayout(0, O_LAYOUT, 2))
    dv = warpgroup_mma(weights, grad, dv, is_async=True)
    delta = deltas.index(i % STAGES).load(gl.SliceLayout(0, S_LAYOUT))
    dp = warpgroup_mma_wait(1, deps=[dp])
    ds = gl.convert_layout((p * (dp - delta[None, :])).to(q.dtype), gl.DotOperandLayout(0, O_LAYOUT, 2))
    dk = warpgroup_mma(ds, q, dk, is_async=True)
    dv, weights = warpgroup_mma_wait(1, deps=[dv, weights])
    _release(grads, i)
    dk, ds = warpgroup_mma_wait(0, deps=[dk, ds])
    _release(queries, i)
    return dk, dv
    ### END SOLUTION


@gluon.jit
def _see_queries(work, HALF: gl.constexpr, GROUP: gl.constexpr, CAUSAL: gl.constexpr):
    """A consumer: dk and dv of half a tile of keys."""
    (
        k_tiles, v_tiles, full, done, queries, grads, lses, deltas,
        batch, kv_head, first, begin, end, n_q, n_k, scale, scale_log2,
    ) = work  # fmt: skip
    ### BEGIN SOLUTION
    ROWS: gl.constexpr = k_tiles.shape[3]
    WIDTH: gl.constexpr = k_tiles.shape[4]
    BLOCK_Q: gl.constexpr = lses.shape[1]
    S_LAYOUT: gl.constexpr = gl.NVMMADistributedLayout([3, 0], [4, 1], [16, BLOCK_Q, 16])
    O_LAYOUT: gl.constexpr = gl.NVMMADistributedLayout([3, 0], [4, 1], [16, WIDTH, 16])
    first_seen = first + HALF * ROWS + gl.arange(0, ROWS, layout=gl.SliceLayout(1, S_LAYOUT)) - n_k + n_q
    dk = gl.zeros([ROWS, WIDTH], gl.float32, O_LAYOUT)
    dv = gl.zeros([ROWS, WIDTH], gl.float32, O_LAYOUT)
    k, v = _matrix(k_tiles, HALF), _matrix(v_tiles, HALF)
    mbarrier.wait(full.index(HALF), 0)
    tile = begin
    for i in range(GROUP * (end - begin)):  # one loop, for a second one would need registers that there are none of
        dk, dv = _add_to_keys(
            i, tile, dk, dv, k, v, queries, grads, lses, deltas, first_seen, scale_log2, CAUSAL, S_LAYOUT, O_LAYOUT
        )
        tile += 1
        if tile == end:
            tile = begin
    _put(k_tiles, HALF, dk * scale)  # k and v have been read; the producer copies out what takes their place
    _put(v_tiles, HALF, dv)
    mbarrier.arrive(done.index(HALF), count=1)
    ### END SOLUTION


@gluon.jit(do_not_specialize=LENGTHS)
def _keys_backward_kernel(
    k_desc, v_desc, q_desc, grad_desc, lse_desc, delta_desc, dk_desc, dv_desc, n_q, n_k, n_rows, scale, scale_log2,
    N_HEADS: gl.constexpr, GROUP: gl.constexpr, CAUSAL: gl.constexpr, STAGES: gl.constexpr,
):  # fmt: skip
    """Given: a program's rings and barriers for dk and dv of a tile of keys, and who does what."""
    ROWS: gl.constexpr = k_desc.block_type.shape[2]
    BLOCK_Q: gl.constexpr = q_desc.block_type.shape[2]
    n_tiles = gl.cdiv(n_k, 2 * ROWS)
    tile = gl.program_id(0) % n_tiles
    batch_head = gl.program_id(0) // n_tiles
    batch, kv_head = batch_head // (N_HEADS // GROUP), batch_head % (N_HEADS // GROUP)
    k_tiles, v_tiles = _tiles(k_desc, 2), _tiles(v_desc, 2)
    full, done = _barriers(2, 1), _barriers(2, 1)
    queries, grads = _ring(q_desc, STAGES), _ring(grad_desc, STAGES)
    lses, deltas = _tiles(lse_desc, STAGES), _tiles(delta_desc, STAGES)
    fence_async_shared()
    begin, end = _query_range(tile, n_q, n_k, CAUSAL, BLOCK_Q, 2 * ROWS)
    first = tile * 2 * ROWS
    consumer = (
        k_tiles, v_tiles, full, done, queries, grads, lses, deltas,
        batch, kv_head, first, begin, end, n_q, n_k, scale, scale_log2,
    )  # fmt: skip
    producer = (
        k_desc, v_desc, q_desc, grad_desc, lse_desc, delta_desc, dk_desc, dv_desc, k_tiles, v_tiles, full, done,
        queries, grads, lses, deltas, batch, kv_head, first, begin, end, n_rows, N_HEADS, GROUP,
    )  # fmt: skip
    gl.warp_specialize(
        [(_see_queries, (consumer, 0, GROUP, CAUSAL)), (_see_queries, (consumer, 1, GROUP, CAUSAL)), (_send_queries, producer)],
        [4, 1],
        [CONSUMER_REGISTERS, PRODUCER_REGISTERS],
    )


@gluon.jit
def _send_keys_again(
    q_desc, grad_desc, k_desc, v_desc, q_tiles, grad_tiles, full, keys, values, batch, head, kv_head, first, n
):
    """The producer: both halves of the queries and of out's gradient, then the tiles of keys and values, the last one first."""
    ### BEGIN SOLUTION
    ROWS: gl.constexpr = q_desc.block_type.shape[2]
    BLOCK_K: gl.constexpr = k_desc.block_type.shape[2]
    for half in gl.static_range(2):
        mbarrier.expect(full.index(half), 2 * q_desc.block_type.nbytes)
        copy_in(q_desc, [batch, head, first + half * ROWS, 0], full.index(half), q_tiles.index(half))
        copy_in(grad_desc, [batch, head, first + half * ROWS, 0], full.index(half), grad_tiles.index(half))
    for i in range(n):
        _send(keys, i, k_desc, batch, kv_head, (n - 1 - i) * BLOCK_K)
        _send(values, i, v_desc, batch, kv_head, (n - 1 - i) * BLOCK_K)
    ### END SOLUTION


@gluon.jit
def _add_to_queries(
    i, n, dq, q, grad, keys, values, lse, delta, last_seen, scale_log2,
    MASKED: gl.constexpr, S_LAYOUT: gl.constexpr, O_LAYOUT: gl.constexpr,
):  # fmt: skip
    """A consumer's i-th tile of keys: what it adds to dq."""
    ### BEGIN SOLUTION
    ROWS: gl.constexpr = q.shape[0]
    BLOCK_K: gl.constexpr = keys[0].shape[3]
    zero = gl.zeros([ROWS, BLOCK_K], gl.float32, S_LAYOUT)
    k = _receive(keys, i)
    scores = warpgroup_mma(q, k.permute([1, 0]), zero, use_acc=False, is_async=True)
    v = _receive(values, i)
    dp = warpgroup_mma(grad, v.permute([1, 0]), zero, use_acc=False, is_async=True)
    scores = warpgroup_mma_wait(1, deps=[scores])
    p = gl.exp2(scores * scale_log2 - lse[:, None])
    if MASKED:
        columns = (n - 1 - i) * BLOCK_K + gl.arange(0, BLOCK_K, layout=gl.SliceLayout(0, S_LAYOUT))
        p = gl.where(columns[None, :] <= last_seen[:, None], p, 0.0)
    dp = warpgroup_mma_wait(0, deps=[dp])
    _release(values, i)
    ds = gl.convert_layout((p * (dp - delta[:, None])).to(q.dtype), gl.DotOperandLayout(0, O_LAYOUT, 2))
    dq = warpgroup_mma(ds, k, dq, is_async=True)
    dq, ds = warpgroup_mma_wait(0, deps=[dq, ds])
    _release(keys, i)
    return dq
    ### END SOLUTION


@gluon.jit
def _see_keys_again(work, HALF: gl.constexpr, CAUSAL: gl.constexpr):
    """A consumer: dq of half a tile of queries."""
    (
        dq_desc, lse_ptr, delta_ptr, q_tiles, grad_tiles, full, keys, values,
        batch, head, first, whole, n, n_heads, n_rows, n_q, n_k, scale, scale_log2,
    ) = work  # fmt: skip
    ### BEGIN SOLUTION
    ROWS: gl.constexpr = q_tiles.shape[3]
    WIDTH: gl.constexpr = q_tiles.shape[4]
    BLOCK_K: gl.constexpr = keys[0].shape[3]
    S_LAYOUT: gl.constexpr = gl.NVMMADistributedLayout([3, 0], [4, 1], [16, BLOCK_K, 16])
    O_LAYOUT: gl.constexpr = gl.NVMMADistributedLayout([3, 0], [4, 1], [16, WIDTH, 16])
    queries = first + HALF * ROWS + gl.arange(0, ROWS, layout=gl.SliceLayout(1, S_LAYOUT))
    last_seen = _last_seen(queries, n_q, n_k, CAUSAL)
    at = (batch * n_heads + head).to(gl.int64) * n_rows + queries
    lse, delta = gl.load(lse_ptr + at), gl.load(delta_ptr + at)
    dq = gl.zeros([ROWS, WIDTH], gl.float32, O_LAYOUT)
    q, grad = _matrix(q_tiles, HALF), _matrix(grad_tiles, HALF)
    mbarrier.wait(full.index(HALF), 0)
    for i in range(0, n - whole):
        dq = _add_to_queries(i, n, dq, q, grad, keys, values, lse, delta, last_seen, scale_log2, True, S_LAYOUT, O_LAYOUT)
    for i in range(n - whole, n):
        dq = _add_to_queries(i, n, dq, q, grad, keys, values, lse, delta, last_seen, scale_log2, False, S_LAYOUT, O_LAYOUT)
    _store(dq_desc, q_tiles, HALF, dq * scale, batch, head, first + HALF * ROWS)
    tma.store_wait(0)
    ### END SOLUTION


@gluon.jit(do_not_specialize=LENGTHS)
def _queries_backward_kernel(
    q_desc, grad_desc, k_desc, v_desc, dq_desc, lse_ptr, delta_ptr, n_q, n_k, n_rows, scale, scale_log2,
    N_HEADS: gl.constexpr, GROUP: gl.constexpr, CAUSAL: gl.constexpr, STAGES: gl.constexpr,
):  # fmt: skip
    """Given: a program's rings and barriers for dq of a tile of queries, and who does what."""
    ROWS: gl.constexpr = q_desc.block_type.shape[2]
    BLOCK_K: gl.constexpr = k_desc.block_type.shape[2]
    n_tiles = gl.cdiv(n_q, 2 * ROWS)
    tile = gl.program_id(0) % n_tiles
    if CAUSAL:
        tile = n_tiles - 1 - tile
    batch_head = gl.program_id(0) // n_tiles
    batch, head = batch_head // N_HEADS, batch_head % N_HEADS
    q_tiles, grad_tiles, full = _tiles(q_desc, 2), _tiles(grad_desc, 2), _barriers(2, 1)
    keys, values = _ring(k_desc, STAGES), _ring(v_desc, STAGES)
    fence_async_shared()
    whole, n = _key_range(tile, n_q, n_k, CAUSAL, 2 * ROWS, BLOCK_K)
    first = tile * 2 * ROWS
    consumer = (
        dq_desc, lse_ptr, delta_ptr, q_tiles, grad_tiles, full, keys, values,
        batch, head, first, whole, n, N_HEADS, n_rows, n_q, n_k, scale, scale_log2,
    )  # fmt: skip
    producer = (
        q_desc, grad_desc, k_desc, v_desc, q_tiles, grad_tiles, full, keys, values, batch, head, head // GROUP, first, n,
    )  # fmt: skip
    gl.warp_specialize(
        [(_see_keys_again, (consumer, 0, CAUSAL)), (_see_keys_again, (consumer, 1, CAUSAL)), (_send_keys_again, producer)],
        [4, 1],
        [CONSUMER_REGISTERS, PRODUCER_REGISTERS],
    )


# From Python ----------------------------------------------------------------------------------------------------------------


NUMBERS = gl.NVMMASharedLayout(0, 32, rank=1)
_COMPILED: dict[tuple, CompiledKernel | None] = {}


def _launch(kernel: triton.JITFunction, like: Tensor, n_programs: int, *args, **constants) -> None:
    """Run a kernel on the device of `like`; `constants` are its last parameters, in their order.

    Triton examines every argument of every launch to find the compiled kernel that it needs, and short sequences wait
    for that. Here dtype, width, device and constants decide and nothing else does: descriptors have no other traits that
    count, lengths are not specialised, scales are floats. So Triton is asked once.
    """
    key = kernel, like.dtype, like.shape[-1], like.device, *constants.values()
    compiled = _COMPILED.get(key)
    if compiled is None:
        _COMPILED[key] = kernel[(n_programs,)](*args, **constants, **REGISTERS)
    else:
        compiled[n_programs, 1, 1](*args, *constants.values())


@functools.cache
def _layout(rows: int, width: int) -> gl.NVMMASharedLayout:
    return gl.NVMMASharedLayout.get_default_for([1, 1, rows, width], gl.float16)  # bfloat16 is as wide


def _descriptor(x: Tensor, rows: int) -> TensorDescriptor:
    """How the copy engine finds tiles of so many rows in a (batch, heads, length, width) tensor, and lays them out."""
    width = x.shape[-1]
    return TensorDescriptor(x, list(x.shape), list(x.stride()), [1, 1, rows, width], _layout(rows, width))


def attention_forward(q: Tensor, k: Tensor, v: Tensor, causal: bool, scale: float) -> tuple[Tensor, Tensor]:
    """Given: `(out, lse)`, as `attention_forward` of the portable file, of what `fits`."""
    batch, n_heads, n_q, head_dim = q.shape
    out = torch.empty_like(q)
    lse = torch.empty(batch, n_heads, n_q, device=q.device, dtype=torch.float32)
    with torch.cuda.device_of(q):
        _launch(
            _forward_kernel, q, triton.cdiv(n_q, BLOCK) * batch * n_heads,
            _descriptor(q, BLOCK // 2), _descriptor(k, 128), _descriptor(v, 128), _descriptor(out, BLOCK // 2), lse,
            n_q, k.shape[2], float(scale) * LOG2_E, N_HEADS=n_heads, GROUP=n_heads // k.shape[1], CAUSAL=causal,
            STAGES=2 if head_dim == 128 else 3,
        )  # fmt: skip
    return out, lse


def attention_backward(
    grad: Tensor, q: Tensor, k: Tensor, v: Tensor, out: Tensor, lse: Tensor, causal: bool, scale: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Given: `(dq, dk, dv)`, as `attention_backward` of the portable file, of what `fits`."""
    batch, n_heads, n_q, head_dim = q.shape
    n_kv_heads, n_k = k.shape[1:3]
    grad = grad if _aligned(grad) else grad.contiguous()
    n_rows = triton.cdiv(n_q, BLOCK) * BLOCK
    lse2, delta = torch.empty(2, batch * n_heads * n_rows, device=q.device, dtype=torch.float32)
    dq, dk, dv = torch.empty_like(q), torch.empty_like(k), torch.empty_like(v)
    block_q, block_k = BLOCK // 2, 64 if head_dim == 128 else 128
    numbers = [TensorDescriptor(x, list(x.shape), [1], [block_q], NUMBERS) for x in (lse2, delta)]
    halves = {name: _descriptor(x, BLOCK // 2) for name, x in dict(q=q, k=k, v=v, grad=grad, dq=dq, dk=dk, dv=dv).items()}
    wholes = [halves["k"], halves["v"]] if block_k == BLOCK // 2 else [_descriptor(k, block_k), _descriptor(v, block_k)]
    common = dict(N_HEADS=n_heads, GROUP=n_heads // n_kv_heads, CAUSAL=causal)
    scales = float(scale), float(scale) * LOG2_E
    with torch.cuda.device_of(q):
        _delta_kernel[(n_rows // 64 * batch * n_heads,)](
            out, grad, lse, lse2, delta, out.stride(), grad.stride(), n_q, n_rows, N_HEADS=n_heads, HEAD_DIM=head_dim, BLOCK_Q=64
        )
        _launch(
            _keys_backward_kernel, k, triton.cdiv(n_k, BLOCK) * batch * n_kv_heads,
            halves["k"], halves["v"], halves["q"], halves["grad"], *numbers, halves["dk"], halves["dv"],
            n_q, n_k, n_rows, *scales, **common, STAGES=3,
        )  # fmt: skip
        _launch(
            _queries_backward_kernel, q, triton.cdiv(n_q, BLOCK) * batch * n_heads,
            halves["q"], halves["grad"], *wholes, halves["dq"], lse2, delta,
            n_q, n_k, n_rows, *scales, **common, STAGES=3 if head_dim == 128 else 2,
        )  # fmt: skip
    return dq, dk, dv


class HopperAttention(torch.autograd.Function):
    """Given: the two passes as one differentiable operation on 4-dimensional tensors."""

    @staticmethod
    def forward(ctx, q: Tensor, k: Tensor, v: Tensor, causal: bool, scale: float) -> Tensor:
        forward = attention_forward if q.shape[-1] == 128 else flash_attention_triton.attention_forward
        out, lse = forward(q, k, v, causal, scale)
        ctx.save_for_backward(q, k, v, out, lse)
        ctx.causal, ctx.scale = causal, scale
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx, grad: Tensor) -> tuple[Tensor | None, ...]:
        q, k, v, out, lse = ctx.saved_tensors
        return *attention_backward(grad, q, k, v, out, lse, ctx.causal, ctx.scale), None, None


def fits(q: Tensor, k: Tensor, v: Tensor) -> bool:
    """Given: whether these kernels can compute attention of 4-dimensional q, k and v that `check_supported` lets pass."""
    on_hopper = q.is_cuda and torch.cuda.get_device_capability(q.device)[0] == 9
    known = q.dtype in (torch.float16, torch.bfloat16) and q.shape[-1] in (64, 128)
    return on_hopper and known and min(q.numel(), k.numel()) > 0 and all(map(_aligned, (q, k, v)))


def _aligned(x: Tensor) -> bool:
    """Whether the copy engine can read it: rows without gaps inside, and steps of 16 bytes between everything else."""
    steps = [stride * x.element_size() for stride in x.stride()[:-1]]
    return x.stride(-1) == 1 and x.data_ptr() % 16 == 0 and all(step > 0 and step % 16 == 0 for step in steps)
