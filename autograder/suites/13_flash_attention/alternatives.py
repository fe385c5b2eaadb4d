"""Right solutions that were written another way, and must get full marks."""

import math
import runpy
from pathlib import Path

import torch
from torch.autograd.function import once_differentiable

from autograder.testing.variants import alternative, edit

TILE, FORWARD, BACKWARD = "online_softmax_tile", "flash_attention_forward", "flash_attention_backward"
FUNCTION, TRAFFIC, BLOCKS = "FlashAttention", "hbm_traffic", "pick_blocks"

SHIFT = "shift = m_new.masked_fill(m_new == -torch.inf, 0.0)"
TILE_RETURN = "return m_new, l * rescale + p.sum(-1), acc * rescale.unsqueeze(-1) + p @ v"

ALTERNATIVES = [
    edit(
        "maximum_detached_everywhere",
        TILE,
        "the maximum cancels in the result, so it needs no gradient, neither in m nor in the exponents",
        ("torch.maximum(m, scores.amax(-1))", "torch.maximum(m.detach(), scores.detach().amax(-1))"),
    ),
    edit(
        "shift_by_where_and_sum_of_products",
        TILE,
        "where instead of masked_fill, max instead of amax, a sum over products with a third dimension instead of @",
        ("torch.maximum(m, scores.amax(-1))", "torch.max(m, scores.max(dim=-1).values)"),
        ("m_new.masked_fill(m_new == -torch.inf, 0.0)", "torch.where(torch.isinf(m_new), torch.zeros_like(m_new), m_new)"),
        ("+ p @ v", "+ (p.unsqueeze(-1) * v.unsqueeze(-3)).sum(-2)"),
    ),
    edit(
        "powers_of_two_with_the_factor",
        TILE,
        "exp2 with log2(e) in the exponent, as kernels do it",
        ("(scores - shift.unsqueeze(-1)).exp()", "torch.exp2((scores - shift.unsqueeze(-1)) * math.log2(math.e))"),
        ("(m - shift).exp()", "torch.exp2((m - shift) * math.log2(math.e))"),
    ),
    edit(
        "values_with_a_column_of_ones",
        TILE,
        "l is one more column of acc, that of a value of 1; a row that has seen nothing is shifted by the lowest number",
        (SHIFT, "shift = m_new.clamp_min(torch.finfo(m_new.dtype).min)"),
        (
            TILE_RETURN,
            "ones = torch.cat([acc, l.unsqueeze(-1)], -1) * rescale.unsqueeze(-1)\n"
            "    ones = ones + p @ torch.cat([v, v.new_ones(*v.shape[:-1], 1)], -1)\n"
            "    return m_new, ones[..., -1], ones[..., :-1]",
        ),
    ),
]

ALTERNATIVES += [
    edit(
        "tiles_in_reverse_order_masked_and_scaled_late",
        FORWARD,
        "keys from the last seen one backwards; every tile is scaled and masked; where at the end",
        ("q_tile = q[..., top:bottom, :].to(dtype) * scale", "q_tile = q[..., top:bottom, :].to(dtype)"),
        ("for left in range(0, seen, block_k)", "for left in reversed(range(0, seen, block_k))"),
        ("right = min(left + block_k, n_k)", "right = min(left + block_k, seen)"),
        ("k[..., left:right, :].to(dtype).mT  # (..., block_q, block_k)", "k[..., left:right, :].to(dtype).mT * scale"),
        ("if causal and right > top + offset + 1:", "if causal:"),
        ("        l.masked_fill_(m == -torch.inf, 1.0)  # saw nothing: 0 / 1 and -inf + log(1)\n", ""),
        ("acc / l.unsqueeze(-1)", "torch.where(l.unsqueeze(-1) > 0, acc / l.unsqueeze(-1), 0.0)"),
    ),
    edit(
        "dq_from_a_buffer_and_weights_set_to_zero",
        BACKWARD,
        "dq is summed in a buffer of full length, like dk and dv, scaled at the end; the weights are masked, not the scores",
        ("dq = torch.empty_like(q)", "dq = torch.zeros_like(q, dtype=dtype)"),
        ("        dq_tile = torch.zeros_like(q_tile)\n", ""),
        ("scores.masked_fill_(columns > rows + offset, -torch.inf)", "hidden = columns > rows + offset"),
        ("            if causal and right > top", "            hidden = None\n            if causal and right > top"),
        (
            "p = (scores - lse_tile).exp()",
            "p = (scores - lse_tile).exp() if hidden is None else (scores - lse_tile).exp().masked_fill(hidden, 0.0)",
        ),
        ("dq_tile += ds @ k_tile", "dq[..., top:bottom, :] += ds @ k_tile"),
        ("        dq[..., top:bottom, :] = dq_tile * scale\n", ""),
        ("return dq, dk", "return (dq * scale).to(q.dtype), dk"),
    ),
    edit(
        "backward_in_double_precision",
        BACKWARD,
        "half precision is summed in float64 and rounded once; an lse of +inf gives a row of zeros without a mask",
        ("dtype = accumulation_dtype(q.dtype)", "dtype = torch.float64"),
        ("lse_tile.masked_fill(lse_tile == -torch.inf, 0.0)", "torch.where(lse_tile == -torch.inf, torch.inf, lse_tile)"),
        ("return dq, dk", "return dq.to(q.dtype), dk"),
    ),
]

# Other right kernels have a file of their own.
ALTERNATIVES += runpy.run_path(str(Path(__file__).with_name("triton_alternatives.py")))["ALTERNATIVES"]


@alternative(FORWARD, "keys in the outer loop, as in the first FlashAttention: the state of all queries is kept in full length")
def keys_in_the_outer_loop(q, k, v, causal=False, block_q=64, block_k=64, scale=None):
    check_arguments(q, k, v, block_q, block_k)  # noqa: F821
    n_q, n_k = q.shape[-2], k.shape[-2]
    dtype = accumulation_dtype(q.dtype)  # noqa: F821
    if scale is None:
        scale = q.shape[-1] ** -0.5
    m = torch.full(q.shape[:-1], float("-inf"), dtype=dtype)
    total = torch.zeros(q.shape[:-1], dtype=dtype)
    acc = torch.zeros(*q.shape[:-1], v.shape[-1], dtype=dtype)
    for j in range(0, n_k, block_k):
        k_tile, v_tile = k[..., j : j + block_k, :].to(dtype), v[..., j : j + block_k, :].to(dtype)
        for i in range(0, n_q, block_q):
            rows = slice(i, min(n_q, i + block_q))
            if causal and j > rows.stop - 1 + n_k - n_q:
                continue
            scores = torch.matmul(q[..., rows, :].to(dtype), k_tile.transpose(-1, -2)) * scale
            if causal:
                seen = torch.arange(j, j + k_tile.shape[-2])[None, :] <= torch.arange(i, rows.stop)[:, None] + n_k - n_q
                scores = torch.where(seen, scores, float("-inf"))
            state = online_softmax_tile(m[..., rows], total[..., rows], acc[..., rows, :], scores, v_tile)  # noqa: F821
            m[..., rows], total[..., rows], acc[..., rows, :] = state
    nothing = total == 0
    out = (acc / torch.where(nothing, 1.0, total).unsqueeze(-1)).to(q.dtype)
    return out, torch.where(nothing, float("-inf"), m + torch.log(total))


@alternative(FORWARD, "tiles are concatenated at the end; each keeps (out, lse) of the keys so far and merges, as in module 03")
def merging_normalised_parts(q, k, v, causal=False, block_q=64, block_k=64, scale=None):
    check_arguments(q, k, v, block_q, block_k)  # noqa: F821
    n_q, n_k, dtype = q.shape[-2], k.shape[-2], accumulation_dtype(q.dtype)  # noqa: F821
    scale = 1 / math.sqrt(q.shape[-1]) if scale is None else scale
    outs, lses = [q.new_zeros(*q.shape[:-2], 0, v.shape[-1])], [q.new_zeros(*q.shape[:-2], 0, dtype=dtype)]
    for i, q_tile in zip(range(0, n_q, block_q), q.split(block_q, dim=-2)):
        out = torch.zeros(*q_tile.shape[:-1], v.shape[-1], dtype=dtype)
        lse = torch.full(q_tile.shape[:-1], -torch.inf, dtype=dtype)
        for j, k_tile, v_tile in zip(range(0, n_k, block_k), k.split(block_k, dim=-2), v.split(block_k, dim=-2)):
            hidden = torch.arange(j, j + k_tile.shape[-2]) > torch.arange(i, i + q_tile.shape[-2])[:, None] + n_k - n_q
            if causal and hidden.all():
                break
            scores = (q_tile.to(dtype) @ k_tile.to(dtype).mT) * scale
            scores = scores.masked_fill(hidden, -torch.inf) if causal else scores
            part = torch.logsumexp(scores, -1)
            both = torch.logaddexp(lse, part)
            safe = both.masked_fill(both == -torch.inf, 0.0).unsqueeze(-1)
            out = out * (lse.unsqueeze(-1) - safe).exp() + (scores - safe).exp() @ v_tile.to(dtype)
            lse = both
        outs.append(out.to(q.dtype))
        lses.append(lse)
    return torch.cat(outs, -2), torch.cat(lses, -1)


@alternative(BACKWARD, "two passes, as in a kernel: keys outside for dk and dv, queries outside for dq; delta in each tile")
def two_passes(grad_out, q, k, v, out, lse, causal=False, block_q=64, block_k=64, scale=None):
    check_arguments(q, k, v, block_q, block_k)  # noqa: F821
    n_q, n_k, dtype = q.shape[-2], k.shape[-2], accumulation_dtype(q.dtype)  # noqa: F821
    scale = 1 / math.sqrt(q.shape[-1]) if scale is None else scale
    lse = lse.masked_fill(lse == -torch.inf, 0.0)

    def weights(rows, columns):
        p = torch.exp(q[..., rows, :].to(dtype) @ k[..., columns, :].to(dtype).mT * scale - lse[..., rows, None])
        if causal:
            i, j = torch.arange(rows.start, rows.stop), torch.arange(columns.start, columns.stop)
            p = p.masked_fill(j > i[:, None] + n_k - n_q, 0.0)
        do = grad_out[..., rows, :].to(dtype)
        delta = torch.einsum("...ic,...ic->...i", do, out[..., rows, :].to(dtype))
        return p, p * (do @ v[..., columns, :].to(dtype).mT - delta.unsqueeze(-1)) * scale, do

    query_tiles = [slice(i, min(n_q, i + block_q)) for i in range(0, n_q, block_q)]
    key_tiles = [slice(j, min(n_k, j + block_k)) for j in range(0, n_k, block_k)]

    def visible(rows, columns):
        return not causal or columns.start <= rows.stop - 1 + n_k - n_q

    dq, dk, dv = (torch.zeros_like(x) for x in (q, k, v))
    for columns in key_tiles:
        sum_k = torch.zeros(*k[..., columns, :].shape, dtype=dtype)
        sum_v = torch.zeros(*v[..., columns, :].shape, dtype=dtype)
        for rows in (rows for rows in query_tiles if visible(rows, columns)):
            p, ds, do = weights(rows, columns)
            sum_k += ds.mT @ q[..., rows, :].to(dtype)
            sum_v += p.mT @ do
        dk[..., columns, :], dv[..., columns, :] = sum_k.to(k.dtype), sum_v.to(v.dtype)
    for rows in query_tiles:
        sum_q = torch.zeros(*q[..., rows, :].shape, dtype=dtype)
        for columns in (columns for columns in key_tiles if visible(rows, columns)):
            sum_q += weights(rows, columns)[1] @ k[..., columns, :].to(dtype)
        dq[..., rows, :] = sum_q.to(q.dtype)
    return dq, dk, dv


@alternative(FUNCTION, "everything lives on ctx by name, and only what is wanted is returned")
class KeptByName(torch.autograd.Function):
    @staticmethod
    def forward(ctx, q, k, v, causal=False, block_q=64, block_k=64, scale=None):
        out, lse = flash_attention_forward(q, k, v, causal=causal, block_q=block_q, block_k=block_k, scale=scale)  # noqa: F821
        ctx.save_for_backward(q, k, v, out)
        ctx.lse, ctx.keywords = lse, {"causal": causal, "block_q": block_q, "block_k": block_k, "scale": scale}
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx, grad_out):
        q, k, v, out = ctx.saved_tensors
        found = flash_attention_backward(grad_out.contiguous(), q, k, v, out, ctx.lse, **ctx.keywords)  # noqa: F821
        return tuple(x if wanted else None for x, wanted in zip(found, ctx.needs_input_grad)) + (None,) * 4


@alternative(TRAFFIC, "counted tile by tile of queries, with divmod")
def counted_by_divmod(n, d, block_q, block_k, bytes_per_element=2):
    for value in (n, d, block_q, block_k, bytes_per_element):
        if value <= 0:
            raise ValueError(f"must be positive, got {value}")
    whole, rest = divmod(n, block_q)
    tiles = whole + (rest > 0)
    return bytes_per_element * 4 * n * (d + n), bytes_per_element * n * (2 * d * (1 + tiles) + 1)


@alternative(BLOCKS, "powers of two from logarithms, exact for every memory that there is")
def blocks_by_logarithms(d, sram_bytes, bytes_per_element=2):
    if min(d, bytes_per_element) < 1 or sram_bytes < 4 * d * bytes_per_element:
        raise ValueError("d and bytes_per_element are at least 1, and blocks of 1 have to fit")
    rows = sram_bytes // (2 * d * bytes_per_element)
    block_q = 2 ** int(math.log2(rows - 1))
    return block_q, 2 ** int(math.log2(rows - block_q))


@alternative(BLOCKS, "doubling for as long as it fits")
def doubling(d, sram_bytes, bytes_per_element=2):
    if d <= 0 or bytes_per_element <= 0:
        raise ValueError("d and bytes_per_element must be positive")

    def fits(block_q, block_k):
        return (2 * block_q + 2 * block_k) * d * bytes_per_element <= sram_bytes

    if not fits(1, 1):
        raise ValueError("not even blocks of 1 fit")
    block_q = block_k = 1
    while fits(2 * block_q, 1):
        block_q *= 2
    while fits(block_q, 2 * block_k):
        block_k *= 2
    return block_q, block_k


@alternative(FUNCTION, "lse on ctx, and a derivative of the gradient refused by hand, as soon as its graph is asked for")
class RefusesByHand(torch.autograd.Function):
    @staticmethod
    def forward(ctx, q, k, v, causal=False, block_q=64, block_k=64, scale=None):
        with torch.no_grad():
            out, ctx.lse = flash_attention_forward(q, k, v, causal, block_q, block_k, scale)
        ctx.save_for_backward(q, k, v, out)
        ctx.options = {"causal": causal, "block_q": block_q, "block_k": block_k, "scale": scale}
        return out

    @staticmethod
    def backward(ctx, grad_out):
        if torch.is_grad_enabled():
            raise RuntimeError("once differentiable")
        return (*flash_attention_backward(grad_out, *ctx.saved_tensors, ctx.lse, **ctx.options), *[None] * 4)


@alternative(TILE, "the old state is one more key: its score is the old maximum, and its weight counts l times")
def one_more_key(m, l, acc, scores, v):  # noqa: E741
    both = torch.cat([m.unsqueeze(-1), scores], -1)
    top = both.max(-1, keepdim=True)[0]
    weights = torch.exp(both - torch.where(top == -torch.inf, 0.0, top))
    old, p = weights[..., :1], weights[..., 1:]
    return top[..., 0], old[..., 0] * l + torch.einsum("...qk->...q", p), old * acc + torch.einsum("...qk,...kv->...qv", p, v)


@alternative(FORWARD, "one head at a time by recursion, products by einsum and addmm, rows that see nothing never written")
def one_head_at_a_time(q, k, v, causal=False, block_q=64, block_k=64, scale=None):
    check_arguments(q, k, v, block_q, block_k)
    dtype = accumulation_dtype(q.dtype)
    if q.dim() > 2:
        parts = [one_head_at_a_time(*head, causal, block_q, block_k, scale) for head in zip(q, k, v)]
        if not parts:
            return q.new_zeros(*q.shape[:-1], v.shape[-1]), q.new_zeros(q.shape[:-1], dtype=dtype)
        return tuple(map(torch.stack, zip(*parts)))
    (n_q, width), n_k = q.shape, len(k)
    out, lse = torch.zeros(n_q, v.shape[1], dtype=q.dtype), torch.full((n_q,), -torch.inf, dtype=dtype)
    for rows in torch.arange(n_q).split(block_q) if n_q else ():
        m = torch.full((len(rows), 1), -torch.inf, dtype=dtype)
        total, acc = torch.zeros_like(m), torch.zeros(len(rows), v.shape[1], dtype=dtype)
        for left in range(0, max(0, min(n_k, int(rows[-1]) + n_k - n_q + 1)) if causal else n_k, block_k):
            columns = torch.arange(left, min(left + block_k, n_k))
            scores = torch.einsum("id,jd->ij", q[rows].to(dtype), k[columns].to(dtype))
            scores *= width**-0.5 if scale is None else scale
            if causal:
                scores = scores.where(columns <= rows[:, None] + n_k - n_q, -torch.inf)
            new = torch.maximum(m, scores.max(1, keepdim=True).values)
            base = new.where(new > -torch.inf, 0.0)
            p, factor = torch.exp(scores - base), torch.exp(m - base)
            m, total, acc = new, factor * total + p.sum(1, keepdim=True), torch.addmm(factor * acc, p, v[columns].to(dtype))
        seen = total[:, 0] > 0
        out[rows[seen]] = (acc[seen] / total[seen]).to(q.dtype)
        lse[rows[seen]] = (m + total.log())[seen, 0]
    return out, lse


@alternative(BACKWARD, "keys in the outer loop, index_add_, and delta inside the product: do (v - out) in one")
def values_less_out(grad_out, q, k, v, out, lse, causal=False, block_q=64, block_k=64, scale=None):
    check_arguments(q, k, v, block_q, block_k)
    dtype, n_q, n_k = accumulation_dtype(q.dtype), q.shape[-2], k.shape[-2]
    scale = 1 / math.sqrt(q.shape[-1]) if scale is None else scale
    dq, dk, dv = (torch.zeros(x.shape, dtype=dtype) for x in (q, k, v))
    for left in range(0, n_k, block_k):
        columns = torch.arange(left, min(left + block_k, n_k))
        for top in range(0, n_q, block_q):
            rows = torch.arange(top, min(top + block_q, n_q))
            if causal and left > rows[-1] + n_k - n_q:
                continue
            some = ((q, rows), (k, columns), (v, columns), (grad_out, rows), (out, rows))
            q_tile, k_tile, v_tile, do, mean = (x.index_select(-2, i).to(dtype) for x, i in some)
            exponents = torch.einsum("...id,...jd->...ij", q_tile, k_tile) * scale - lse.index_select(-1, rows).unsqueeze(-1)
            if causal:
                exponents = exponents.masked_fill(columns > rows[:, None] + n_k - n_q, -torch.inf)
            p = exponents.exp()
            ds = p * torch.einsum("...id,...ijd->...ij", do, v_tile.unsqueeze(-3) - mean.unsqueeze(-2)) * scale
            dv.index_add_(-2, columns, p.mT @ do)
            dk.index_add_(-2, columns, ds.mT @ q_tile)
            dq.index_add_(-2, rows, ds @ k_tile)
    return dq.to(q.dtype), dk.to(k.dtype), dv.to(v.dtype)


@alternative(FUNCTION, "forward without ctx, setup_context beside it; out and lse are made again in the backward pass")
class MadeAgain(torch.autograd.Function):
    @staticmethod
    def forward(q, k, v, causal=False, block_q=64, block_k=64, scale=None):
        return flash_attention_forward(q, k, v, causal, block_q, block_k, scale)[0]

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.save_for_backward(*inputs[:3])
        ctx.options = inputs[3:]

    @staticmethod
    @once_differentiable
    def backward(ctx, grad_out):
        out, lse = flash_attention_forward(*ctx.saved_tensors, *ctx.options)
        found = flash_attention_backward(grad_out, *ctx.saved_tensors, out, lse, *ctx.options)
        return *found, *[None] * len(ctx.options)


@alternative(TRAFFIC, "a table of tensors and how often each of them is moved")
def moved_how_often(n, d, block_q, block_k, bytes_per_element=2):
    if not all(x >= 1 for x in (n, d, block_q, block_k, bytes_per_element)):
        raise ValueError("every argument is at least 1")
    tiles = len(range(0, n, block_q))
    standard = {"q": n * d, "k": n * d, "scores": 2 * n * n, "weights": 2 * n * n, "v": n * d, "out": n * d}
    flash = {"q": n * d, "k": tiles * n * d, "v": tiles * n * d, "out": n * d, "lse": n}
    return tuple(bytes_per_element * sum(moved.values()) for moved in (standard, flash))


@alternative(FORWARD, "a flat batch, walked along twice: first for lse, then for out, from weights that are normalised already")
def twice_along_the_keys(q, k, v, causal=False, block_q=64, block_k=64, scale=None):
    check_arguments(q, k, v, block_q, block_k)
    lead, n_q, n_k = q.shape[:-2], q.shape[-2], k.shape[-2]
    n, dtype = math.prod(lead), accumulation_dtype(q.dtype)
    scale = 1 / math.sqrt(q.shape[-1]) if scale is None else scale
    flat_q, flat_k, flat_v = (x.reshape(n, *x.shape[-2:]) for x in (q, k, v))
    out, lse = q.new_zeros(n, n_q, v.shape[-1]), q.new_full((n, n_q), -torch.inf, dtype=dtype)

    def tiles(rows):
        for left in range(0, min(int(rows[-1]) + 1 + n_k - n_q, n_k) if causal else n_k, block_k):
            columns = slice(left, min(left + block_k, n_k))
            scores = torch.bmm(flat_q[:, rows].to(dtype), flat_k[:, columns].to(dtype).transpose(1, 2)) * scale
            if causal:
                hidden = torch.arange(columns.start, columns.stop) > rows[:, None] + n_k - n_q
                scores = scores.masked_fill(hidden, -torch.inf)
            yield scores, flat_v[:, columns].to(dtype)

    for top in range(0, n_q, block_q):
        rows = torch.arange(top, min(top + block_q, n_q))
        total = lse[:, rows]
        for scores, _ in tiles(rows):
            total = torch.logaddexp(total, scores.logsumexp(-1))
        acc = torch.zeros(n, len(rows), v.shape[-1], dtype=dtype)
        for scores, values in tiles(rows):
            acc.baddbmm_((scores - total.masked_fill(total == -torch.inf, 0.0).unsqueeze(-1)).exp(), values)
        out[:, rows], lse[:, rows] = acc.to(q.dtype), total
    return out.reshape(*lead, n_q, v.shape[-1]), lse.reshape(*lead, n_q)


@alternative(BACKWARD, "delta as the sum of p * dp, from a walk of its own along the keys; out is not looked at")
def delta_from_a_walk(grad_out, q, k, v, out, lse, causal=False, block_q=64, block_k=64, scale=None):
    check_arguments(q, k, v, block_q, block_k)
    n_q, n_k, dtype = q.shape[-2], k.shape[-2], accumulation_dtype(q.dtype)
    scale = 1 / math.sqrt(q.shape[-1]) if scale is None else scale
    dq, dk, dv = torch.zeros_like(q), torch.zeros_like(k, dtype=dtype), torch.zeros_like(v, dtype=dtype)
    for top in range(0, n_q, block_q):
        rows = torch.arange(top, min(top + block_q, n_q))
        q_tile, do = (x[..., rows, :].to(dtype) for x in (q, grad_out))
        end = min(n_k, max(0, int(rows[-1]) + 1 + n_k - n_q)) if causal else n_k

        def weights(columns):
            later = columns > rows[:, None] + n_k - n_q if causal else torch.zeros(1, dtype=torch.bool)  # noqa: B023
            exponents = q_tile @ k[..., columns, :].to(dtype).mT * scale - lse[..., rows, None]  # noqa: B023
            return exponents.exp().masked_fill(later, 0.0).nan_to_num(0.0), do @ v[..., columns, :].to(dtype).mT  # noqa: B023

        tiles = [torch.arange(left, min(left + block_k, n_k)) for left in range(0, end, block_k)]
        delta, total = do.new_zeros(*do.shape[:-1], 1), torch.zeros_like(q_tile)
        for p, dp in map(weights, tiles):
            delta += (p * dp).sum(-1, keepdim=True)
        for columns in tiles:
            p, dp = weights(columns)
            ds = p * (dp - delta) * scale
            total += ds @ k[..., columns, :].to(dtype)
            dk[..., columns, :] += ds.mT @ q_tile
            dv[..., columns, :] += p.mT @ do
        dq[..., rows, :] = total.to(q.dtype)
    return dq, dk.to(k.dtype), dv.to(v.dtype)
