"""FlashAttention: exact attention that never writes down its scores.

A GPU multiplies much faster than it reads. Standard attention writes n² scores to the large, slow memory, reads them
back for the softmax, writes n² weights and reads those back too. FlashAttention (Dao et al. 2022) cuts q, k and v into
tiles that fit into the small, fast memory beside the arithmetic units, and finishes with a tile before it leaves:

    for each tile of queries:
        m, l, acc = -inf, 0, 0                      running maximum, running sum, unnormalised output
        for each tile of keys that it may see:
            scores = q_tile @ k_tile.mT * scale     the only scores that exist
            m, l, acc = online_softmax_tile(m, l, acc, scores, v_tile)
        out = acc / l,  lse = m + log(l)

The running sums are those of Milakov and Gimelshein 2018. The backward pass computes every tile of weights a second
time, from `lse`, which is cheaper than keeping them: n numbers are remembered instead of n². The order of the loops
(queries outside) and the place of the division (after the loop) are those of FlashAttention-2 (Dao 2023).

PyTorch shows here what is computed and how much is remembered. That it is also fast takes a kernel, which is the
second file of this module. Dropout, masks other than the causal one, and heads that share keys are left out.
"""

import math

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


def check_arguments(q: Tensor, k: Tensor, v: Tensor, block_q: int, block_k: int) -> None:
    """Given: raises ValueError, naming the shapes or the block, when the arguments do not fit together."""
    if min(q.dim(), k.dim(), v.dim()) < 2:
        raise ValueError(f"q, k and v need a length and a width, got {q.dim()}, {k.dim()} and {v.dim()} dimensions")
    if not q.shape[:-2] == k.shape[:-2] == v.shape[:-2]:
        shapes = f"{tuple(q.shape)}, {tuple(k.shape)}, {tuple(v.shape)}"
        raise ValueError(f"the leading dimensions of q, k and v must be equal, got {shapes}")
    if q.shape[-1] != k.shape[-1] or q.shape[-1] < 1:
        raise ValueError(f"q and k must have the same width, at least 1, got {q.shape[-1]} and {k.shape[-1]}")
    if k.shape[-2] != v.shape[-2]:
        raise ValueError(f"k and v must have the same length, got {k.shape[-2]} and {v.shape[-2]}")
    if block_q < 1 or block_k < 1:
        raise ValueError(f"blocks must be at least 1, got block_q={block_q}, block_k={block_k}")


def accumulation_dtype(dtype: torch.dtype) -> torch.dtype:
    """Given: what to compute in. float32 for the half precisions, whose sums would stop growing; else the dtype itself."""
    return torch.float32 if dtype in (torch.float16, torch.bfloat16) else dtype


def online_softmax_tile(m: Tensor, l: Tensor, acc: Tensor, scores: Tensor, v: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Take one more tile of keys into account: `(m, l, acc)` after it (Milakov and Gimelshein 2018, algorithm 3).

    `m (..., block_q)`: the maximum of the scores so far. `l (..., block_q)`: the sum of `exp(score - m)` over the keys so
    far. `acc (..., block_q, d_v)`: the sum of `exp(score - m) * value`. `scores (..., block_q, block_k)` come scaled, with
    `-inf` where masked; `v (..., block_k, d_v)` are the tile's values. The state before the first tile is `-inf, 0, 0`.

    The result does not depend on the order of the tiles, up to rounding. A row that has seen nothing keeps that first
    state; nothing is ever NaN, the gradients included, which flow to `scores`, `v`, `l` and `acc`. The arguments are left
    as they are.
    """
    ### BEGIN SOLUTION
    m_new = torch.maximum(m, scores.amax(-1))
    shift = m_new.masked_fill(m_new == -torch.inf, 0.0)  # nothing seen: exp(-inf - 0) is 0, exp(-inf + inf) is NaN
    p = (scores - shift.unsqueeze(-1)).exp()  # (..., block_q, block_k)
    rescale = (m - shift).exp()  # what was summed under the old maximum, under the new one
    return m_new, l * rescale + p.sum(-1), acc * rescale.unsqueeze(-1) + p @ v
    ### END SOLUTION


def flash_attention_forward(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    causal: bool = False,
    block_q: int = 64,
    block_k: int = 64,
    scale: float | None = None,
) -> tuple[Tensor, Tensor]:
    """Exact attention in tiles: `(out, lse)` (Dao et al. 2022, algorithm 1; loops as in Dao 2023).

    `q (..., n_q, d_k)`, `k (..., n_k, d_k)`, `v (..., n_k, d_v)`, all of one dtype, with equal leading dimensions. `out`
    `(..., n_q, d_v)` has q's dtype. `lse (..., n_q)` is the natural log-sum-exp of each query's scaled scores, in float32
    for half-precision inputs, else in q's dtype. `scale` is `1 / sqrt(d_k)` when it is None.

    With `causal`, query i sees the keys up to `i + n_k - n_q`: the diagonal is aligned bottom-right. A query that sees
    nothing gets zeros and an `lse` of `-inf`. Half-precision inputs are computed with in float32, one tile at a time, and
    rounded once, at the end. Lengths need not be multiples of the blocks, and may be 0.

    No tensor larger than a tile, an input or a result is ever made, masks included. Causal tiles wholly above the diagonal
    are skipped: they cost nothing, and NaN in the k and v of such a tile changes no `out` of its queries. No gradients are
    promised: they are the business of `FlashAttention`.

    Raises ValueError when the shapes do not fit together or a block is less than 1 (see `check_arguments`).
    """
    ### BEGIN SOLUTION
    check_arguments(q, k, v, block_q, block_k)
    n_q, n_k = q.shape[-2], k.shape[-2]
    offset = n_k - n_q  # query i sees the keys up to i + offset
    scale = 1 / math.sqrt(q.shape[-1]) if scale is None else scale
    dtype = accumulation_dtype(q.dtype)
    out = q.new_empty(*q.shape[:-1], v.shape[-1])
    lse = q.new_empty(q.shape[:-1], dtype=dtype)

    for top in range(0, n_q, block_q):
        bottom = min(top + block_q, n_q)
        q_tile = q[..., top:bottom, :].to(dtype) * scale
        m = q_tile.new_full(q_tile.shape[:-1], -torch.inf)
        l = torch.zeros_like(m)
        acc = q_tile.new_zeros(*m.shape, v.shape[-1])
        seen = min(bottom + offset, n_k) if causal else n_k  # the tile's last query sees the keys before `seen`
        for left in range(0, seen, block_k):
            right = min(left + block_k, n_k)
            scores = q_tile @ k[..., left:right, :].to(dtype).mT  # (..., block_q, block_k)
            if causal and right > top + offset + 1:  # the diagonal crosses this tile
                columns = torch.arange(left, right, device=q.device)
                rows = torch.arange(top, bottom, device=q.device).unsqueeze(-1)
                scores.masked_fill_(columns > rows + offset, -torch.inf)
            m, l, acc = online_softmax_tile(m, l, acc, scores, v[..., left:right, :].to(dtype))
        l.masked_fill_(m == -torch.inf, 1.0)  # saw nothing: 0 / 1 and -inf + log(1)
        out[..., top:bottom, :] = acc / l.unsqueeze(-1)
        lse[..., top:bottom] = m + l.log()
    return out, lse
    ### END SOLUTION


def flash_attention_backward(
    grad_out: Tensor,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    out: Tensor,
    lse: Tensor,
    causal: bool = False,
    block_q: int = 64,
    block_k: int = 64,
    scale: float | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """The gradients `(dq, dk, dv)` of attention, with every tile of weights computed again (Dao et al. 2022, algorithm 4).

    `grad_out (..., n_q, d_v)` is the gradient of `out`; `out` and `lse` are what `flash_attention_forward` returned for the
    other arguments, which mean the same here. With p = exp(scores - lse), for each tile:

        dv += pᵀ grad_out,   dp = grad_out vᵀ,   ds = p * (dp - delta),   dq += ds k * scale,   dk += dsᵀ q * scale

    where `delta`, a number for each query, is the sum of `grad_out * out` over the channels. `dq`, `dk` and `dv` have the
    shapes and dtypes of q, k and v; half-precision inputs are computed with in float32, q, k and v one tile at a time,
    and rounded once, at the end.

    A query that sees nothing has a gradient of zero and adds nothing to the others. Memory and skipped tiles are as in
    `flash_attention_forward`: NaN in the k and v of a skipped tile changes no `dq` of its queries.

    Raises ValueError when the shapes do not fit together or a block is less than 1 (see `check_arguments`).
    """
    ### BEGIN SOLUTION
    check_arguments(q, k, v, block_q, block_k)
    n_q, n_k = q.shape[-2], k.shape[-2]
    offset = n_k - n_q
    scale = 1 / math.sqrt(q.shape[-1]) if scale is None else scale
    dtype = accumulation_dtype(q.dtype)
    dq = torch.empty_like(q)
    dk, dv = torch.zeros_like(k, dtype=dtype), torch.zeros_like(v, dtype=dtype)

    for top in range(0, n_q, block_q):
        bottom = min(top + block_q, n_q)
        q_tile = q[..., top:bottom, :].to(dtype) * scale
        do = grad_out[..., top:bottom, :].to(dtype)
        delta = (do * out[..., top:bottom, :]).sum(-1, keepdim=True)  # (..., block_q, 1)
        lse_tile = lse[..., top:bottom].unsqueeze(-1)
        lse_tile = lse_tile.masked_fill(lse_tile == -torch.inf, 0.0)  # saw nothing: exp(-inf - 0) is 0
        dq_tile = torch.zeros_like(q_tile)
        seen = min(bottom + offset, n_k) if causal else n_k
        for left in range(0, seen, block_k):
            right = min(left + block_k, n_k)
            k_tile, v_tile = k[..., left:right, :].to(dtype), v[..., left:right, :].to(dtype)
            scores = q_tile @ k_tile.mT
            if causal and right > top + offset + 1:
                columns = torch.arange(left, right, device=q.device)
                rows = torch.arange(top, bottom, device=q.device).unsqueeze(-1)
                scores.masked_fill_(columns > rows + offset, -torch.inf)
            p = (scores - lse_tile).exp()  # the weights, normalised, once more
            dv[..., left:right, :] += p.mT @ do
            ds = p * (do @ v_tile.mT - delta)
            dq_tile += ds @ k_tile
            dk[..., left:right, :] += ds.mT @ q_tile  # q_tile carries the scale
        dq[..., top:bottom, :] = dq_tile * scale
    return dq, dk.to(k.dtype), dv.to(v.dtype)
    ### END SOLUTION


class FlashAttention(torch.autograd.Function):
    """`FlashAttention.apply(q, k, v, causal=False, block_q=64, block_k=64, scale=None) -> out`, with gradients.

    Between the passes it remembers q, k, v, out and lse, and so memory grows with the length, not with its square. It is
    once differentiable: asking for a second derivative raises an error, because `lse` is kept as a number without a past.
    """

    @staticmethod
    def forward(
        ctx,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        causal: bool = False,
        block_q: int = 64,
        block_k: int = 64,
        scale: float | None = None,
    ) -> Tensor:
        """`out` of `flash_attention_forward`; what the backward pass needs goes into `ctx`."""
        ### BEGIN SOLUTION
        out, lse = flash_attention_forward(q, k, v, causal, block_q, block_k, scale)
        ctx.save_for_backward(q, k, v, out, lse)
        ctx.options = (causal, block_q, block_k, scale)
        return out
        ### END SOLUTION

    @staticmethod
    @once_differentiable
    def backward(ctx, grad_out: Tensor) -> tuple[Tensor | None, ...]:
        """A gradient for each argument of `forward`: three tensors, then None for what is no tensor."""
        ### BEGIN SOLUTION
        return *flash_attention_backward(grad_out, *ctx.saved_tensors, *ctx.options), None, None, None, None
        ### END SOLUTION


def hbm_traffic(n: int, d: int, block_q: int, block_k: int, bytes_per_element: int = 2) -> tuple[int, int]:
    """Bytes that one head's forward pass moves to and from the large memory: `(standard, flash)`.

    `n` queries and keys of width `d`. Standard attention reads q and k and writes the scores, reads the scores and writes
    the weights, reads the weights and v and writes the output: `4 n d + 4 n²` elements. FlashAttention reads q once, and
    all of k and v once for each tile of queries (the last one may be a small one), and writes the output and, `n` elements
    more, the lse. `block_k` makes no difference.

    Raises ValueError when an argument is less than 1.
    """
    ### BEGIN SOLUTION
    if min(n, d, block_q, block_k, bytes_per_element) < 1:
        given = f"n={n}, d={d}, block_q={block_q}, block_k={block_k}, bytes_per_element={bytes_per_element}"
        raise ValueError(f"all arguments must be at least 1, got {given}")
    query_tiles = -(-n // block_q)
    standard = 4 * n * d + 4 * n * n
    flash = 2 * n * d + 2 * n * d * query_tiles + n
    return standard * bytes_per_element, flash * bytes_per_element
    ### END SOLUTION


def pick_blocks(d: int, sram_bytes: int, bytes_per_element: int = 2) -> tuple[int, int]:
    """`(block_q, block_k)`, powers of two, that move the fewest bytes for long sequences and fit into the fast memory.

    A tile of q, of k, of v and of the output have to fit side by side:
    `(2 * block_q + 2 * block_k) * d * bytes_per_element <= sram_bytes`. Of the pairs that fit, the result has the largest
    `block_q`, which alone decides the traffic, and then the largest `block_k`; both are at least 1.

    Raises ValueError when not even blocks of 1 fit, or `d` or `bytes_per_element` is less than 1.
    """
    ### BEGIN SOLUTION
    if d < 1 or bytes_per_element < 1:
        raise ValueError(f"d and bytes_per_element must be at least 1, got {d} and {bytes_per_element}")
    rows = sram_bytes // (2 * d * bytes_per_element)  # block_q + block_k may be this many
    if rows < 2:
        raise ValueError(f"blocks of 1 need {4 * d * bytes_per_element} bytes, sram_bytes is {sram_bytes}")
    block_q = 1 << ((rows - 1).bit_length() - 1)  # the largest power of two that leaves room for one key
    block_k = 1 << ((rows - block_q).bit_length() - 1)
    return block_q, block_k
    ### END SOLUTION
