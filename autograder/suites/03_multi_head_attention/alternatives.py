"""Unusual right solutions: each must score full marks."""

import math

import torch
import torch.nn.functional as F
from torch import nn

from autograder.testing.variants import alternative

MultiHeadAttention = nn.Module  # a base class while this file is read; the solution's own where it is put to use


@alternative("split_heads", "stacks slices of the channels")
def split_by_slices(x, n_heads):
    width, rest = divmod(x.shape[-1], n_heads)
    if rest:
        raise ValueError("the heads do not divide the width")
    return torch.stack([x[..., i * width : (i + 1) * width] for i in range(n_heads)], dim=-3)


@alternative("split_heads", "unfolds windows over the channels; the result is a view with unusual strides")
def split_by_unfold(x, n_heads):
    if x.size(-1) % n_heads != 0:
        raise TypeError("n_heads")
    return x.unfold(-1, x.size(-1) // n_heads, x.size(-1) // n_heads).movedim(2, 1)


@alternative("split_heads", "names the three dimensions and writes head by head into a new tensor")
def split_into_new_tensor(x, n_heads):
    b, t, d = x.shape
    if d % n_heads:
        raise ValueError(f"{d} % {n_heads}")
    out = x.new_empty(b, n_heads, t, d // n_heads)
    for head, part in enumerate(x.chunk(n_heads, dim=2)):
        out[:, head] = part
    return out


@alternative("merge_heads", "concatenates the heads")
def merged_by_cat(x):
    return torch.cat(list(x.unbind(dim=1)), dim=-1)


@alternative("merge_heads", "permutes, makes contiguous and views")
def merged_by_view(x):
    b, h, t, head_dim = x.size()
    return x.permute(0, 2, 1, 3).contiguous().view(b, t, h * head_dim)


@alternative("merge_heads", "joins two halves of the heads recursively")
def merged_recursively(x):
    h = x.shape[1]
    if h == 1:
        return x[:, 0]
    return torch.cat((merged_recursively(x[:, : h // 2]), merged_recursively(x[:, h // 2 :])), dim=2)


@alternative("MultiHeadAttention", "einsum over weights viewed as (h, head_dim, d), no helper of the file used")
class MultiHeadAttentionByEinsum(nn.Module):
    def __init__(self, d_model, n_heads, bias=True):
        super().__init__()
        if d_model % n_heads != 0:
            raise ValueError(f"{d_model} is not a multiple of {n_heads}")
        for name in ("w_o", "w_v", "w_k", "w_q"):
            setattr(self, name, nn.Linear(d_model, d_model, bias=bias))
        self.d_model, self.n_heads, self.head_dim = d_model, n_heads, d_model // n_heads

    def project(self, layer, x):
        weight = layer.weight.view(self.n_heads, self.head_dim, self.d_model)
        y = torch.einsum("btd,hed->bhte", x, weight)
        return y if layer.bias is None else y + layer.bias.view(self.n_heads, 1, self.head_dim)

    def forward(self, x, context=None, mask=None):
        if context is None:
            context = x
        q, k, v = self.project(self.w_q, x), self.project(self.w_k, context), self.project(self.w_v, context)
        scores = torch.einsum("bhqe,bhke->bhqk", q, k) / self.head_dim**0.5
        if mask is not None:
            allowed = mask.broadcast_to(scores.shape)
            weights = torch.where(allowed, scores, torch.finfo(scores.dtype).min).softmax(-1) * allowed
        else:
            weights = scores.softmax(-1)
        y = torch.einsum("bhqk,bhke->bqhe", weights, v)
        return self.w_o(y.reshape(x.shape[0], -1, self.d_model))


@alternative("MultiHeadAttention", "one fused projection, heads folded into the batch, NaN replaced after the softmax")
class MultiHeadAttentionFused(nn.Module):
    def __init__(self, d_model: int, n_heads: int, bias: bool = True, dropout: float = 0.0):
        super().__init__()
        head_dim, left = divmod(d_model, n_heads)
        if left != 0:
            raise ValueError("d_model")
        self.head_dim = head_dim
        self.n_heads = n_heads
        self.w_q, self.w_k, self.w_v, self.w_o = (nn.Linear(d_model, d_model, bias) for _ in range(4))
        self.dropout = nn.Dropout(dropout)
        self.register_buffer("scale", torch.tensor(float(head_dim)) ** 0.0, persistent=False)

    def heads(self, layer, x):
        return layer(x).view(*x.shape[:2], self.n_heads, -1).transpose(1, 2).flatten(0, 1)

    def forward(self, x, context=None, mask=None, need_weights=False):
        source = context if context is not None else x
        q, k, v = self.heads(self.w_q, x), self.heads(self.w_k, source), self.heads(self.w_v, source)
        scores = torch.bmm(q, k.transpose(1, 2)) / math.sqrt(self.head_dim) * self.scale
        if mask is not None:
            full = mask.expand(x.size(0), self.n_heads, x.size(1), source.size(1)).flatten(0, 1)
            scores.masked_fill_(full.logical_not(), float("-inf"))
        weights = torch.nan_to_num(self.dropout(F.softmax(scores, dim=-1)), nan=0.0)
        out = torch.bmm(weights, v).unflatten(0, (x.size(0), self.n_heads))
        out = self.w_o(out.permute(0, 2, 1, 3).reshape(x.shape))
        return (out, weights) if need_weights else out


@alternative("MultiHeadAttention", "loops over batch and heads, computes in float64 and casts back")
class MultiHeadAttentionInLoops(nn.Module):
    def __init__(self, d_model, n_heads, bias=True):
        nn.Module.__init__(self)
        if n_heads <= 0 or d_model / n_heads != d_model // n_heads:
            raise ValueError("n_heads must divide d_model")
        self.n_heads, self.head_dim = n_heads, int(d_model / n_heads)
        self.w_q = nn.Linear(in_features=d_model, out_features=d_model, bias=bool(bias))
        self.w_k = nn.Linear(in_features=d_model, out_features=d_model, bias=bool(bias))
        self.w_v = nn.Linear(in_features=d_model, out_features=d_model, bias=bool(bias))
        self.w_o = nn.Linear(in_features=d_model, out_features=d_model, bias=bool(bias))

    def forward(self, x, context=None, mask=None):
        y = x if context is None else context
        q, k, v = self.w_q(x).double(), self.w_k(y).double(), self.w_v(y).double()
        if mask is not None:
            mask = torch.broadcast_to(mask, (len(x), self.n_heads, q.shape[1], k.shape[1]))
        rows = []
        for i in range(len(x)):
            heads = []
            for h in range(self.n_heads):
                s = slice(h * self.head_dim, h * self.head_dim + self.head_dim)
                scores = q[i][:, s] @ k[i][:, s].T * self.head_dim**-0.5
                seen = scores if mask is None else scores.masked_fill(~mask[i, h], -torch.inf)
                e = (seen - seen.detach().amax(1, keepdim=True).clamp(min=-1e300)).exp()
                total = e.sum(1, keepdim=True)
                heads.append(e / torch.where(total > 0, total, 1) @ v[i][:, s])
            rows.append(torch.hstack(heads))
        return self.w_o(torch.stack(rows).to(x.dtype))


@alternative("MultiHeadAttention", "linear layers of its own class, weights by log_softmax, head_dim a property")
class MultiHeadAttentionLogSpace(nn.Module):
    class Projection(nn.Linear):
        def forward(self, x):
            y = x @ self.weight.mT
            return y if self.bias is None else y + self.bias

    n_heads = 0

    def __init__(self, d_model, n_heads, bias=True):
        super().__init__()
        if d_model % n_heads:
            raise ValueError("n_heads")
        self.n_heads = n_heads
        self.w_q = self.Projection(d_model, d_model, bias)
        self.w_k = self.Projection(d_model, d_model, bias)
        self.w_v = self.Projection(d_model, d_model, bias)
        self.w_o = self.Projection(d_model, d_model, bias)

    @property
    def head_dim(self):
        return self.w_q.out_features // self.n_heads

    def forward(self, x, context=None, mask=None):
        context = x if context is None else context
        q = split_heads(self.w_q(x), self.n_heads)
        k = split_heads(self.w_k(context), self.n_heads)
        v = split_heads(self.w_v(context), self.n_heads)
        scores = q @ k.mT / self.head_dim**0.5
        if mask is None:
            mask = torch.ones((), dtype=torch.bool)
        allowed = mask.expand_as(scores)
        empty = ~allowed.any(-1, keepdim=True)
        scores = torch.where(allowed | empty, scores, -torch.inf)
        weights = torch.where(empty, 0.0, F.log_softmax(scores, dim=-1).exp())
        return self.w_o(merge_heads(weights @ v))


@alternative("attention_per_head", "no concatenation: each head's own columns of w_o, summed, the bias once")
def heads_summed_through_w_o(module, x, mask=None):
    h, width = module.n_heads, module.head_dim
    total = 0
    for i in range(h):
        s = slice(i * width, i * width + width)
        layers = (module.w_q, module.w_k, module.w_v)
        q, k, v = (x @ w.weight[s].T + (0 if w.bias is None else w.bias[s]) for w in layers)
        allowed = None
        if mask is not None:
            allowed = mask if mask.dim() < 3 else mask[..., i if mask.shape[-3] > 1 else 0, :, :]
        total = total + scaled_dot_product_attention(q, k, v, allowed)[0] @ module.w_o.weight[:, s].T
    return total if module.w_o.bias is None else total + module.w_o.bias


@alternative("attention_per_head", "projects once, then writes each head's output into its place")
def heads_written_into_place(module, x, mask=None, context=None):
    q, k, v = module.w_q(x), module.w_k(x), module.w_v(x)
    out = torch.zeros_like(q)
    b, t = x.shape[0], x.shape[1]
    for i in reversed(range(module.n_heads)):
        for j in range(b):
            here = (j, slice(None), slice(i * module.head_dim, (i + 1) * module.head_dim))
            allowed = None if mask is None else torch.broadcast_to(mask, (b, module.n_heads, t, t))[j, i]
            out[here] = scaled_dot_product_attention(q[here], k[here], v[here], mask=allowed)[0]
    return module.w_o(out)


@alternative("attention_per_head", "recursive over the heads, on heads that were split first")
def heads_recursively(module, x, mask=None):
    q, k, v = (split_heads(layer(x), module.n_heads) for layer in (module.w_q, module.w_k, module.w_v))
    if mask is not None:
        mask = mask.expand(x.shape[0], module.n_heads, x.shape[1], x.shape[1])

    def rest(i):
        if i == module.n_heads:
            return []
        head, _ = scaled_dot_product_attention(q[:, i], k[:, i], v[:, i], None if mask is None else mask[:, i])
        return [head, *rest(i + 1)]

    return module.w_o(merge_heads(torch.stack(rest(0), dim=1)))


@alternative("merge_attention", "a softmax over the two lse, stacked; empty rows are made safe before it")
def merged_by_softmax(out_a, lse_a, out_b, lse_b):
    lse = torch.stack([lse_a, lse_b], dim=-1)
    empty = (lse == -math.inf).all(-1)
    safe = torch.where(empty.unsqueeze(-1), torch.zeros_like(lse), lse)
    weights = torch.softmax(safe, dim=-1) * ~empty.unsqueeze(-1)
    out = (torch.stack([out_a, out_b], dim=-1) * weights.unsqueeze(-2)).sum(-1)
    return out, torch.where(empty, -torch.inf, torch.logsumexp(safe, dim=-1))


@alternative("merge_attention", "sigmoid of the difference for the weights, softplus for the lse, in float64")
def merged_by_sigmoid(out_a, lse_a, out_b, lse_b):
    dtype, inf = out_a.dtype, float("inf")
    a, b = lse_a.double(), lse_b.double()
    no_a, no_b = a == -inf, b == -inf
    difference = a.masked_fill(no_a, 0.0) - b.masked_fill(no_b, 0.0)
    share = torch.sigmoid(difference).masked_fill(no_a, 0.0).masked_fill(no_b & ~no_a, 1.0)
    other = torch.sigmoid(-difference).masked_fill(no_b, 0.0).masked_fill(no_a & ~no_b, 1.0)
    lse = torch.where(difference > 0, a.masked_fill(no_a, 0.0), b.masked_fill(no_b, 0.0)) + F.softplus(
        -difference.abs(), threshold=50
    )
    lse = torch.where(no_a, b, torch.where(no_b, a, lse))
    return [(share[..., None] * out_a + other[..., None] * out_b).to(dtype), lse.to(lse_a.dtype)]


@alternative("merge_attention", "logaddexp on values that are safe, then out by its definition")
def merged_by_logaddexp(out_a, lse_a, out_b, lse_b):
    nothing = torch.isneginf(lse_a) & torch.isneginf(lse_b)
    a, b = torch.where(nothing, 0, lse_a), torch.where(nothing, 0, lse_b)
    lse = torch.logaddexp(a, b)
    out = out_a * torch.exp(a - lse)[..., None] + out_b * torch.exp(b - lse)[..., None]
    return torch.where(nothing[..., None], 0, out), torch.where(nothing, -torch.inf, lse)


@alternative("divide_and_conquer_attention", "no recursion: pieces merged pair by pair through a queue")
def pieces_through_a_queue(q, k, v, block, mask=None):
    from collections import deque

    if not block >= 1:
        raise ValueError("block")
    n_k = k.size(-2)
    if n_k == 0:
        lead = torch.broadcast_shapes(q.shape[:-2], k.shape[:-2], v.shape[:-2], () if mask is None else mask.shape[:-2])
        return q.new_zeros(*lead, q.shape[-2], v.shape[-1])
    waiting = deque()
    for start in range(0, n_k, block):
        stop = min(start + block, n_k)
        scores = torch.einsum("...qd,...kd->...qk", q, k[..., start:stop, :]) * q.shape[-1] ** -0.5
        if mask is not None:
            piece = mask if mask.shape[-1] == 1 else mask[..., start:stop]
            scores = torch.where(piece, scores, -torch.inf)
        empty = scores.isneginf().all(-1, keepdim=True)
        safe = torch.where(empty, 0.0, scores)
        out = (safe.softmax(-1) * ~empty) @ v[..., start:stop, :]
        waiting.append((out, safe.logsumexp(-1).masked_fill(empty.squeeze(-1), -torch.inf)))
    while len(waiting) > 1:
        waiting.append(merge_attention(*waiting.popleft(), *waiting.popleft()))
    return waiting.pop()[0]


@alternative("divide_and_conquer_attention", "halves tensors, not ranges; cuts at whole blocks; softmax, nan_to_num")
def halved_tensors(q, k, v, block, mask=None):
    if block < 1:
        raise ValueError(block)

    def solve(k, v, mask):
        n = k.shape[-2]
        if n <= block:
            scores = q @ k.transpose(-1, -2) / math.sqrt(k.shape[-1])
            if mask is not None:
                scores = scores.masked_fill(mask.logical_not(), -math.inf)
            return scores.softmax(-1).nan_to_num(0.0) @ v, scores.logsumexp(-1)
        half = -(-n // (2 * block)) * block
        masks = (None, None) if mask is None else (mask[..., :half], mask[..., half:])
        left = solve(k[..., :half, :], v[..., :half, :], masks[0])
        right = solve(k[..., half:, :], v[..., half:, :], masks[1])
        return merge_attention(*right, *left)

    if mask is not None:
        mask = torch.broadcast_to(mask, (*mask.shape[:-1], k.shape[-2]))
    return solve(k, v, mask)[0]


@alternative("divide_and_conquer_attention", "goes over the pieces in turn and merges each into what came before")
def one_piece_after_the_other(q, k, v, block, mask=None):
    if int(block) <= 0:
        raise ValueError("a block has at least one key")
    out = (q[..., :, :1] * 0) @ (k[..., :0, :1].sum(-2, keepdim=True) * 0) @ v[..., :0, :].sum(-2, keepdim=True)
    lse = torch.full(out.shape[:-1], -torch.inf, dtype=q.dtype)
    if mask is not None:
        mask = mask.expand(*mask.shape[:-1], k.shape[-2])
    for start in range(0, k.shape[-2], block):
        piece = slice(start, start + block)
        scores = q @ k[..., piece, :].mT / math.sqrt(q.shape[-1])
        allowed = torch.ones_like(scores, dtype=torch.bool) if mask is None else mask[..., piece]
        top = torch.where(allowed, scores, -torch.inf).detach().amax(-1, keepdim=True)
        top = top.clamp(min=torch.finfo(top.dtype).min)
        weights = torch.where(allowed, (scores - top).clamp(max=0).exp(), 0.0)
        total = weights.sum(-1)
        here = torch.where(total > 0, top.squeeze(-1) + total.clamp(min=1e-30).log(), -torch.inf)
        mean = weights @ v[..., piece, :] / torch.where(total > 0, total, 1.0)[..., None]
        shape = torch.broadcast_shapes(out.shape, mean.shape)
        rows = torch.broadcast_shapes(lse.shape, here.shape)
        out, lse = merge_attention(out.expand(shape), lse.expand(rows), mean.expand(shape), here.expand(rows))
    return out


@alternative("GroupedQueryAttention", "repeats no head: query heads as (n_kv_heads, group), keys as (n_kv_heads, 1)")
class GroupedQueryAttentionByBroadcast(nn.Module):
    def __init__(self, d_model, n_heads, n_kv_heads, bias=True):
        super().__init__()
        if d_model % n_heads or n_heads % n_kv_heads:
            raise ValueError(f"{d_model}, {n_heads}, {n_kv_heads}")
        self.head_dim, self.n_heads, self.n_kv_heads = d_model // n_heads, n_heads, n_kv_heads
        self.w_q, self.w_o = nn.Linear(d_model, d_model, bias), nn.Linear(d_model, d_model, bias)
        self.w_k, self.w_v = (nn.Linear(d_model, self.head_dim * n_kv_heads, bias) for _ in range(2))

    def forward(self, x, context=None, mask=None):
        y = x if context is None else context
        b, n_q, _ = x.shape
        q = self.w_q(x).view(b, n_q, self.n_kv_heads, -1, self.head_dim).permute(0, 2, 3, 1, 4)
        k = self.w_k(y).view(b, y.shape[1], self.n_kv_heads, 1, self.head_dim).permute(0, 2, 3, 1, 4)
        v = self.w_v(y).view(b, y.shape[1], self.n_kv_heads, 1, self.head_dim).permute(0, 2, 3, 1, 4)
        if mask is not None:
            mask = mask.expand(b, self.n_heads, n_q, y.shape[1]).unflatten(1, (self.n_kv_heads, -1))
        heads, _ = scaled_dot_product_attention(q, k, v, mask)
        return self.w_o(heads.flatten(1, 2).transpose(1, 2).flatten(2))


@alternative("GroupedQueryAttention", "a MultiHeadAttention with smaller key and value layers, heads picked by index")
class GroupedQueryAttentionByIndex(MultiHeadAttention):
    def __init__(self, d_model, n_heads, n_kv_heads, bias=True):
        super().__init__(d_model, n_heads, bias)
        if n_kv_heads < 1 or n_kv_heads > n_heads or n_heads % n_kv_heads:
            raise ValueError("n_kv_heads")
        self.n_kv_heads = n_kv_heads
        self.w_k = nn.Linear(d_model, n_kv_heads * self.head_dim, bias=bias)
        self.w_v = nn.Linear(d_model, n_kv_heads * self.head_dim, bias=bias)

    def forward(self, x, context=None, mask=None):
        source = x if context is None else context
        shared = torch.arange(self.n_heads) * self.n_kv_heads // self.n_heads
        q = split_heads(self.w_q(x), self.n_heads)
        k = split_heads(self.w_k(source), self.n_kv_heads)[:, shared]
        v = split_heads(self.w_v(source), self.n_kv_heads).index_select(1, shared)
        return self.w_o(merge_heads(scaled_dot_product_attention(q, k, v, mask=mask)[0]))


@alternative("GroupedQueryAttention", "loops over the key heads and over the query heads of each")
class GroupedQueryAttentionInLoops(nn.Module):
    def __init__(self, d_model, n_heads, n_kv_heads, bias=True):
        super().__init__()
        if d_model % n_heads:
            raise ValueError("d_model")
        if n_heads % n_kv_heads:
            raise ValueError("n_heads")
        self.n_heads, self.n_kv_heads = n_heads, n_kv_heads
        self.head_dim = d_model // n_heads
        self.w_k = nn.Linear(d_model, n_kv_heads * self.head_dim, bias=bias)
        self.w_v = nn.Linear(d_model, n_kv_heads * self.head_dim, bias=bias)
        self.w_q = nn.Linear(d_model, d_model, bias=bias)
        self.w_o = nn.Linear(d_model, d_model, bias=bias)

    def forward(self, x, context=None, mask=None):
        if context is None:
            context = x
        if mask is not None:
            mask = mask.expand(x.size(0), self.n_heads, x.size(1), context.size(1))
        q = self.w_q(x).split(self.head_dim, dim=-1)
        k, v = self.w_k(context).split(self.head_dim, dim=-1), self.w_v(context).split(self.head_dim, dim=-1)
        heads = []
        for shared in range(self.n_kv_heads):
            for _ in range(self.n_heads // self.n_kv_heads):
                i = len(heads)
                allowed = None if mask is None else mask[:, i]
                heads.append(scaled_dot_product_attention(q[i], k[shared], v[shared], allowed)[0])
        return self.w_o(torch.cat(heads, -1))


@alternative("MultiHeadAttention", "one product for queries, keys and values in self-attention; layers made in another order")
class MultiHeadAttentionOneProduct(nn.Module):
    def __init__(self, d_model, n_heads, bias=True):
        super().__init__()
        if d_model % n_heads != 0:
            raise ValueError("n_heads")
        self.n_heads, self.head_dim = n_heads, d_model // n_heads
        for name in ("w_o", "w_v", "w_k", "w_q"):
            setattr(self, name, nn.Linear(d_model, d_model, bias))

    def forward(self, x, context=None, mask=None):
        if context is None:
            layers = self.w_q, self.w_k, self.w_v
            bias = None if self.w_q.bias is None else torch.cat([layer.bias for layer in layers])
            q, k, v = F.linear(x, torch.cat([layer.weight for layer in layers]), bias).chunk(3, -1)
        else:
            q, k, v = self.w_q(x), self.w_k(context), self.w_v(context)
        q, k, v = (y.unflatten(-1, (self.n_heads, self.head_dim)).transpose(1, 2) for y in (q, k, v))
        scores = torch.einsum("bhqd,bhkd->bhqk", q, k) * self.head_dim**-0.5
        empty = torch.zeros((), dtype=torch.bool)
        if mask is not None:
            scores = scores.masked_fill(~mask, float("-inf"))
            empty = ~mask.expand_as(scores).any(-1, keepdim=True)
        weights = scores.masked_fill(empty, 0.0).softmax(-1).masked_fill(empty, 0.0)
        return self.w_o(torch.einsum("bhqk,bhkd->bqhd", weights, v).flatten(2))


@alternative("merge_attention", "the larger side first, the other as a correction to it; a named tuple")
def merged_as_a_correction(out_a, lse_a, out_b, lse_b):
    from collections import namedtuple

    swap = lse_b > lse_a
    high, low = torch.where(swap, lse_b, lse_a), torch.where(swap, lse_a, lse_b)
    empty, zero = high == -torch.inf, torch.zeros_like(high)
    share = torch.where(empty, zero, low - torch.where(empty, zero, high)).exp()
    large, small = torch.where(swap[..., None], out_b, out_a), torch.where(swap[..., None], out_a, out_b)
    out = ((large + share[..., None] * small) / (1 + share)[..., None]).masked_fill(empty[..., None], 0.0)
    return namedtuple("Part", "out lse")(out, high + torch.log1p(share))


@alternative("GroupedQueryAttention", "repeats rows of the weights of w_k and w_v in place of the heads")
class GroupedQueryAttentionWiderWeights(nn.Module):
    def __init__(self, d_model, n_heads, n_kv_heads, bias=True):
        super().__init__()
        if d_model % n_heads or n_heads % n_kv_heads:
            raise TypeError("heads")
        self.n_heads, self.n_kv_heads = n_heads, n_kv_heads
        self.w_q, self.w_o = (nn.Linear(d_model, d_model, bias=bias) for _ in range(2))
        self.w_k, self.w_v = (nn.Linear(d_model, d_model // n_heads * n_kv_heads, bias=bias) for _ in range(2))

    @property
    def head_dim(self):
        return self.w_q.out_features // self.n_heads

    def wide(self, layer, x):
        group = self.n_heads // self.n_kv_heads
        weight, bias = (
            y if y is None else y.unflatten(0, (self.n_kv_heads, -1)).repeat_interleave(group, 0).flatten(0, 1)
            for y in (layer.weight, layer.bias)
        )
        return split_heads(F.linear(x, weight, bias), self.n_heads)

    def forward(self, x, context=None, mask=None):
        context = x if context is None else context
        k, v = self.wide(self.w_k, context), self.wide(self.w_v, context)
        return self.w_o(merge_heads(scaled_dot_product_attention(split_heads(self.w_q(x), self.n_heads), k, v, mask)[0]))


@alternative("split_heads", "any arguments passed on to an inner function that picks channels by an index")
def split_by_index(*args, **kwargs):
    def inner(x, n_heads):
        if x.shape[2] % n_heads != 0:
            raise ValueError(n_heads)
        return x[:, :, torch.arange(x.shape[2]).view(n_heads, -1)].transpose(1, 2)

    return inner(*args, **kwargs)


@alternative("split_heads", "strides by hand, both arguments by position alone")
def split_by_strides(x, n_heads, /):
    b, t, d = x.shape
    if d % n_heads:
        raise ValueError("n_heads does not divide the width")
    x, width = x.contiguous(), d // n_heads
    return torch.as_strided(x, (b, n_heads, t, width), (t * d, width, d, 1), x.storage_offset())


@alternative("merge_heads", "a product with a selection matrix")
def merged_by_einsum(x):
    b, h, t, width = x.shape
    place = torch.eye(h * width, dtype=x.dtype).view(h, width, h * width)
    return torch.einsum("bhtw,hwd->btd", x, place)


@alternative("merge_heads", "vectorised over the batch by torch.vmap")
def merged_by_vmap(x):
    return torch.vmap(lambda y: y.swapaxes(0, 1).reshape(y.shape[1], y.shape[0] * y.shape[2]))(x)


@alternative("MultiHeadAttention", "one head of one batch entry, mapped over both by torch.vmap")
class MultiHeadAttentionByVmap(nn.Module):
    def __init__(self, d_model, n_heads, bias=True):
        super().__init__()
        if d_model % n_heads:
            raise ValueError("d_model")
        self.n_heads, self.head_dim = n_heads, d_model // n_heads
        for name in sorted(("w_q", "w_k", "w_v", "w_o")):
            self.add_module(name, nn.Linear(d_model, d_model, bias=bias))

    def forward(self, x, context=None, mask=None):
        context = x if context is None else context
        q, k, v = (split_heads(y, self.n_heads) for y in (self.w_q(x), self.w_k(context), self.w_v(context)))
        mask = torch.ones((), dtype=torch.bool) if mask is None else mask

        def one(q, k, v, allowed):
            scores = torch.where(allowed, (q @ k.T) * self.head_dim**-0.5, -torch.inf)
            weights = torch.exp(scores - torch.nan_to_num(scores.max(-1, keepdim=True).values, neginf=0.0))
            total = weights.sum(-1, keepdim=True)
            return (weights / torch.where(total == 0, 1.0, total)) @ v

        heads = torch.vmap(torch.vmap(one))(q, k, v, mask.broadcast_to(*q.shape[:3], k.shape[2]))
        return self.w_o(merge_heads(heads))


@alternative("MultiHeadAttention", "layers begin with Xavier's weights and zero biases; one query after the other")
class MultiHeadAttentionRowByRow(nn.Module):
    def __init__(self, d_model: int, n_heads: int, bias: bool = True, device=None, dtype=None):
        super().__init__()
        if n_heads < 1 or d_model % n_heads:
            raise ValueError("n_heads")
        self.n_heads, self.head_dim = n_heads, d_model // n_heads
        self.w_q, self.w_k, self.w_v, self.w_o = (nn.Linear(d_model, d_model, bias, device=device, dtype=dtype) for _ in range(4))
        for layer in self.children():
            nn.init.xavier_uniform_(layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)

    def forward(self, x, context=None, mask=None):
        context = x if context is None else context
        q, k, v = (split_heads(y, self.n_heads) for y in (self.w_q(x), self.w_k(context), self.w_v(context)))
        full = None if mask is None else mask.expand(x.shape[0], self.n_heads, x.shape[1], context.shape[1])
        rows = []
        for i in range(x.shape[1]):
            allowed = None if full is None else full[:, :, i : i + 1]
            rows.append(scaled_dot_product_attention(q[:, :, i : i + 1], k, v, allowed)[0])
        return self.w_o(merge_heads(torch.cat(rows, 2)))


@alternative("MultiHeadAttention", "head_dim by __getattr__, weights as exp(scores - logsumexp), forward passes all on")
class MultiHeadAttentionByGetattr(nn.Module):
    def __init__(self, d_model, n_heads, bias=True):
        super().__init__()
        if divmod(d_model, n_heads)[1]:
            raise ValueError("n_heads must divide d_model")
        self.sizes = d_model, n_heads
        vars(self)["n_heads"] = n_heads
        for name in "qkvo":
            setattr(self, "w_" + name, nn.Linear(d_model, d_model, bias=bias))

    def __getattr__(self, name):
        return self.sizes[0] // self.sizes[1] if name == "head_dim" else super().__getattr__(name)

    def forward(self, *args, **kwargs):
        return self.attend(*args, **kwargs)

    def attend(self, x, context=None, mask=None):
        context = (context, x)[context is None]
        q, k, v = (y.unflatten(2, (self.n_heads, -1)) for y in (self.w_q(x), self.w_k(context), self.w_v(context)))
        scores = torch.einsum("bqhc,bkhc->bhqk", q, k) / math.sqrt(self.head_dim)
        if mask is not None:
            scores = scores.masked_fill(~mask, -math.inf)
        weights = torch.exp(scores - scores.logsumexp(-1, keepdim=True).nan_to_num(neginf=0.0))
        return self.w_o(torch.einsum("bhqk,bkhc->bqhc", weights, v).flatten(-2))


@alternative("attention_per_head", "a generator of heads; scores by baddbmm, masked in place")
def heads_from_a_generator(module, x, mask=None):
    n_heads, width = module.n_heads, module.head_dim

    def heads():
        for i in range(n_heads):
            q, k, v = (layer(x)[..., i * width : (i + 1) * width] for layer in (module.w_q, module.w_k, module.w_v))
            scores = torch.baddbmm(torch.zeros((), dtype=x.dtype), q, k.transpose(1, 2), beta=0, alpha=width**-0.5)
            if mask is not None:
                scores.masked_fill_(~mask.expand(len(x), n_heads, x.shape[1], x.shape[1]).select(1, i), -torch.inf)
            yield torch.nan_to_num(torch.softmax(scores, 2), nan=0.0).bmm(v)

    return module.w_o(torch.dstack(list(heads())))


@alternative("attention_per_head", "the mask negated for all heads before the loop, float64 inside")
def heads_in_double(module, x, mask=None):
    b, t, _ = x.shape
    hidden = None if mask is None else ~mask.expand(b, module.n_heads, t, t)
    heads = []
    for i in range(module.n_heads):
        rows = slice(i * module.head_dim, (i + 1) * module.head_dim)
        q, k, v = (
            F.linear(x, y.weight[rows], y.bias if y.bias is None else y.bias[rows]).double()
            for y in (module.w_q, module.w_k, module.w_v)
        )
        heads.append(scaled_dot_product_attention(q, k, v, None if mask is None else ~hidden[:, i])[0].to(x.dtype))
    return module.w_o(torch.cat(heads, -1))


@alternative("merge_attention", "the shares by tanh of half the difference")
def merged_by_tanh(out_a, lse_a, out_b, lse_b):
    nothing = torch.maximum(lse_a, lse_b) == -torch.inf
    a, b = lse_a.masked_fill(nothing, 0), lse_b.masked_fill(nothing, 0)
    tilt = torch.tanh((a - b) / 2)[..., None]
    out = (1 + tilt) / 2 * out_a + (1 - tilt) / 2 * out_b
    return torch.where(nothing[..., None], 0.0, out), torch.logaddexp(a, b).masked_fill(nothing, -torch.inf)


@alternative("divide_and_conquer_attention", "cuts the list of blocks in half, not the keys; no branch without keys")
def blocks_halved(q, k, v, block, mask=None):
    if block < 1:
        raise ValueError("block")
    n_k, scale = k.shape[-2], math.sqrt(q.shape[-1])

    def part(start, stop):
        scores = q @ k[..., start:stop, :].mT / scale
        if mask is not None:
            scores = scores.masked_fill(~(mask if mask.shape[-1] == 1 else mask[..., start:stop]), -torch.inf)
        if start == stop:
            return scores @ v[..., start:stop, :], None
        top = scores.amax(-1, keepdim=True).clamp(min=torch.finfo(scores.dtype).min)
        weights = torch.exp(scores - top)
        total = weights.sum(-1, keepdim=True)
        lse = (top + torch.where(total > 0, total, 1.0).log()).masked_fill(total == 0, -torch.inf).squeeze(-1)
        return weights / total.clamp(min=torch.finfo(scores.dtype).tiny) @ v[..., start:stop, :], lse

    def solve(spans):
        if len(spans) == 1:
            return part(*spans[0])
        half = len(spans) // 2
        return merge_attention(*solve(spans[:half]), *solve(spans[half:]))

    return solve([(start, min(start + block, n_k)) for start in range(0, n_k, block)] or [(0, 0)])[0]


@alternative("GroupedQueryAttention", "folds the query heads of a group into the rows of its key head")
class GroupedQueryAttentionFolded(nn.Module):
    def __init__(self, d_model, n_heads, n_kv_heads, bias=True):
        super().__init__()
        for name, rest in (("n_heads", d_model % n_heads), ("n_kv_heads", n_heads % n_kv_heads)):
            if rest:
                raise ValueError(name)
        self.n_heads, self.n_kv_heads, self.head_dim = n_heads, n_kv_heads, d_model // n_heads
        widths = {"w_q": d_model, "w_k": n_kv_heads * self.head_dim, "w_v": n_kv_heads * self.head_dim, "w_o": d_model}
        vars(self)["_modules"].update({name: nn.Linear(d_model, width, bias=bias) for name, width in widths.items()})

    def forward(self, x, context=None, mask=None):
        context = x if context is None else context
        b, n_q, _ = x.shape
        q = split_heads(self.w_q(x), self.n_heads).reshape(b, self.n_kv_heads, -1, self.head_dim)
        k, v = (split_heads(layer(context), self.n_kv_heads) for layer in (self.w_k, self.w_v))
        if mask is not None:
            mask = mask.expand(b, self.n_heads, n_q, context.shape[1]).reshape(b, self.n_kv_heads, -1, context.shape[1])
        heads, _ = scaled_dot_product_attention(q, k, v, mask)
        return self.w_o(merge_heads(heads.reshape(b, self.n_heads, n_q, self.head_dim)))


@alternative("attention_per_head", "two threads, a head at a time in each")
def heads_in_threads(module, x, mask=None):
    from concurrent.futures import ThreadPoolExecutor

    (b, t, _), width, recorded = x.shape, module.head_dim, torch.is_grad_enabled()

    def attended(head):
        rows = slice(head * width, (head + 1) * width)
        with torch.set_grad_enabled(recorded):  # each thread has a switch of its own
            layers = module.w_q, module.w_k, module.w_v
            q, k, v = (x @ y.weight[rows].mT + (0 if y.bias is None else y.bias[rows]) for y in layers)
            own = None if mask is None else mask.expand(b, module.n_heads, t, t)[:, head]
            return scaled_dot_product_attention(q, k, v, own)[0]

    with ThreadPoolExecutor(2) as pool:
        return module.w_o(torch.cat(list(pool.map(attended, range(module.n_heads))), dim=-1))


@alternative("merge_attention", "both sides stacked in front of all dimensions, logsumexp over them")
def merged_by_logsumexp(out_a, lse_a, out_b, lse_b):
    sides = torch.stack([lse_a, lse_b])
    empty = (sides == -torch.inf).all(0)
    sides = sides.masked_fill(empty, 0.0)
    lse = sides.logsumexp(0)
    out = ((sides - lse).exp().unsqueeze(-1) * torch.stack([out_a, out_b])).sum(0)
    return out.masked_fill(empty.unsqueeze(-1), 0.0), lse.masked_fill(empty, -torch.inf)


@alternative("merge_attention", "an attention over two keys, the lse their scores, by a matrix product")
def merged_by_attention(out_a, lse_a, out_b, lse_b):
    scores, values = torch.stack([lse_a, lse_b], -1), torch.stack([out_a, out_b], -2)
    mask = scores > -torch.inf
    scores = torch.where(mask, scores, torch.finfo(scores.dtype).min)
    weights = torch.where(mask, scores.softmax(-1), 0.0).unsqueeze(-2)  # (..., n_q, 1, 2)
    return (weights @ values).squeeze(-2), torch.where(mask.any(-1), scores.logsumexp(-1), -torch.inf)
