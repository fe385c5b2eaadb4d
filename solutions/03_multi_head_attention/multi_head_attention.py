"""Multi-head attention: several small attentions side by side, and one large attention in pieces.

One attention looks at a sequence in one way. Vaswani et al. 2017, section 3.2.2, cut the model's width into `n_heads`
slices and let each attend on its own:

    MultiHead(x) = Concat(head_1, ..., head_h) W_O,    head_i = Attention(x W_Q_i, x W_K_i, x W_V_i)

The heads never speak to each other before W_O, so they are parallel work. The keys of one head can be divided as well:
attention over part of the keys is a pair (out, lse), the weighted mean of the part's values and the log of its
softmax's denominator, and two such pairs merge into the pair of both parts. That is what lets attention divide and
conquer here, run as a tree over devices, and stream through a GPU's fast memory in the module on FlashAttention.

Last, query heads may share keys and values (Ainslie et al. 2023), which makes the cache of a generating model smaller.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from solutions.attention import scaled_dot_product_attention


def split_heads(x: Tensor, n_heads: int) -> Tensor:
    """Cut the last dimension into heads and put the heads beside the batch.

    `(b, t, d) -> (b, h, t, d/h)`. Head i holds the channels `i * d/h` up to, not including, `(i + 1) * d/h`.

    Raises ValueError when `n_heads` does not divide `d`.
    """
    ### BEGIN SOLUTION
    d = x.shape[-1]
    if n_heads < 1 or d % n_heads:
        raise ValueError(f"n_heads must divide the width: got n_heads={n_heads} and a width of {d}")
    return x.unflatten(-1, (n_heads, d // n_heads)).transpose(-3, -2)  # (b, t, h, d/h) -> (b, h, t, d/h)
    ### END SOLUTION


def merge_heads(x: Tensor) -> Tensor:
    """Put the heads back side by side: the inverse of `split_heads`.

    `(b, h, t, head_dim) -> (b, t, h * head_dim)`.
    """
    ### BEGIN SOLUTION
    return x.transpose(-3, -2).flatten(-2)  # (b, t, h, head_dim) -> (b, t, h * head_dim)
    ### END SOLUTION


class MultiHeadAttention(nn.Module):
    """Multi-head self-attention and cross-attention (Vaswani et al. 2017, section 3.2.2).

    The parameters are those of four `nn.Linear(d_model, d_model)` layers, `w_q`, `w_k`, `w_v` and `w_o`, all with a
    bias or, with `bias=False`, all without. Head i of the queries is the i-th slice of `w_q(x)`, as `split_heads` cuts
    it, and so for the keys and values. Attributes: `n_heads` and `head_dim = d_model / n_heads`.

    Raises ValueError when `n_heads` does not divide `d_model`.
    """

    def __init__(self, d_model: int, n_heads: int, bias: bool = True):
        super().__init__()
        ### BEGIN SOLUTION
        if n_heads < 1 or d_model % n_heads:
            raise ValueError(f"n_heads must divide d_model: got d_model={d_model}, n_heads={n_heads}")
        self.n_heads = n_heads
        self.head_dim = d_model // n_heads
        self.w_q = nn.Linear(d_model, d_model, bias=bias)
        self.w_k = nn.Linear(d_model, d_model, bias=bias)
        self.w_v = nn.Linear(d_model, d_model, bias=bias)
        self.w_o = nn.Linear(d_model, d_model, bias=bias)
        ### END SOLUTION

    def forward(self, x: Tensor, context: Tensor | None = None, mask: Tensor | None = None) -> Tensor:
        """`x (b, n_q, d_model)` asks, `context (b, n_k, d_model)` answers; the result is `(b, n_q, d_model)`.

        Queries come from `x`, keys and values from `context`, which is `x` itself when it is None (self-attention).
        `mask` is boolean, True where a query may attend, and broadcasts to `(b, h, n_q, n_k)`. A query that may attend
        to nothing gets zeros from every head, and so `w_o(0)`; its gradients are finite. Scores of any size neither
        overflow nor vanish, and a hidden key's score, however large, does not matter.
        """
        ### BEGIN SOLUTION
        context = x if context is None else context
        q = split_heads(self.w_q(x), self.n_heads)  # (b, h, n_q, head_dim)
        k = split_heads(self.w_k(context), self.n_heads)  # (b, h, n_k, head_dim)
        v = split_heads(self.w_v(context), self.n_heads)
        heads, _ = scaled_dot_product_attention(q, k, v, mask=mask)
        return self.w_o(merge_heads(heads))
        ### END SOLUTION


def attention_per_head(module: MultiHeadAttention, x: Tensor, mask: Tensor | None = None) -> Tensor:
    """`module(x, mask=mask)` again, one head at a time: `(b, t, d_model) -> (b, t, d_model)`.

    Each turn of the loop needs only its own head's rows of `w_q`, `w_k` and `w_v` and its own part of the mask, so the
    turns could run on different machines. No tensor of floating-point numbers ever holds the scores of more than one
    head, `b * t * t` numbers, nor does a mask that is turned into numbers. `mask` broadcasts to `(b, h, t, t)`. Gradients
    flow to `x` and to the module's parameters.
    """
    ### BEGIN SOLUTION
    b, t, _ = x.shape
    if mask is not None:
        mask = mask.expand(b, module.n_heads, t, t)  # a view
    heads = []
    for head in range(module.n_heads):
        rows = slice(head * module.head_dim, (head + 1) * module.head_dim)
        q, k, v = (
            F.linear(x, layer.weight[rows], None if layer.bias is None else layer.bias[rows])
            for layer in (module.w_q, module.w_k, module.w_v)
        )  # (b, t, head_dim) each
        out, _ = scaled_dot_product_attention(q, k, v, mask=None if mask is None else mask[:, head])
        heads.append(out)
    return module.w_o(torch.cat(heads, dim=-1))
    ### END SOLUTION


def merge_attention(out_a: Tensor, lse_a: Tensor, out_b: Tensor, lse_b: Tensor) -> tuple[Tensor, Tensor]:
    """Attention over two disjoint sets of keys, from the attention over each: `(out, lse)`.

    `out_a`, `out_b` and `out` are `(..., n_q, d_v)`: the mean of the values, weighted by the softmax over that set.
    `lse_a`, `lse_b` and `lse` are `(..., n_q)`: the natural log-sum-exp of the scores over that set.

    The order of the two does not matter, nor does it matter in which order several parts are merged. A set in which a
    query may attend to nothing has `lse = -inf` there, and counts for nothing; where both are empty so is the result:
    zeros and `-inf`. Scores of any size neither overflow nor vanish. Gradients are finite, empty sets included.
    """
    ### BEGIN SOLUTION
    top = torch.maximum(lse_a, lse_b).detach()  # cancels in the result, so it needs no gradient
    top = top.masked_fill(top == -torch.inf, 0.0)  # two empty sets: exp(-inf - 0) is 0, exp(-inf + inf) is NaN
    weight_a, weight_b = (lse_a - top).exp(), (lse_b - top).exp()  # (..., n_q), the larger one is 1
    total = weight_a + weight_b
    empty = total == 0
    total = total.masked_fill(empty, 1.0)
    out = (weight_a / total).unsqueeze(-1) * out_a + (weight_b / total).unsqueeze(-1) * out_b
    return out, (top + total.log()).masked_fill(empty, -torch.inf)
    ### END SOLUTION


def divide_and_conquer_attention(q: Tensor, k: Tensor, v: Tensor, block: int, mask: Tensor | None = None) -> Tensor:
    """Exact scaled dot-product attention by recursive halving of the keys.

    `q (..., n_q, d_k)`, `k (..., n_k, d_k)`, `v (..., n_k, d_v) -> (..., n_q, d_v)`, scale `1 / sqrt(d_k)`. Leading
    dimensions broadcast; the boolean `mask`, True where a query may attend, broadcasts against `(..., n_q, n_k)`.

    More than `block` keys are cut in half and the halves' results combined by `merge_attention`; a piece of at most
    `block` keys is attended to directly. So each key is scored once, the recursion is about `log2(n_k / block)` deep,
    and no tensor made on the way holds more than `n_q * block` scores per leading index, nor does a mask that is turned
    into numbers. `n_k` may be any number: it need not be a multiple of `block`, and without keys, or with all of them
    masked, a query's output is zero. Scores of any size neither overflow nor vanish. Gradients are finite, rows without a
    key included.

    Raises ValueError when `block` is less than 1.
    """
    ### BEGIN SOLUTION
    if block < 1:
        raise ValueError(f"block must be at least 1, got {block}")
    n_k = k.shape[-2]
    q = q / math.sqrt(q.shape[-1])
    if mask is not None:
        mask = mask.expand(*mask.shape[:-1], n_k)  # a view; a mask may broadcast over the keys too
    if n_k == 0:
        scores = q @ k.mT
        return (scores if mask is None else scores.masked_fill(~mask, 0.0)) @ v  # an empty sum: zeros

    def attend(start: int, stop: int) -> tuple[Tensor, Tensor]:
        if stop - start > block:
            middle = (start + stop) // 2
            return merge_attention(*attend(start, middle), *attend(middle, stop))
        scores = q @ k[..., start:stop, :].mT  # (..., n_q, at most block)
        if mask is not None:
            scores = scores.masked_fill(~mask[..., start:stop], -torch.inf)
        top = scores.detach().amax(-1, keepdim=True)
        top = top.masked_fill(top == -torch.inf, 0.0)  # a row that may attend to nothing here
        weights = (scores - top).exp()
        total = weights.sum(-1, keepdim=True)
        empty = total == 0
        total = total.masked_fill(empty, 1.0)
        out, lse = (weights / total) @ v[..., start:stop, :], (top + total.log()).masked_fill(empty, -torch.inf).squeeze(-1)
        return out, lse.expand(out.shape[:-1])  # v may have leading dimensions that the scores have not

    return attend(0, n_k)[0]
    ### END SOLUTION


class GroupedQueryAttention(nn.Module):
    """Multi-head attention whose query heads share keys and values in groups (Ainslie et al. 2023).

    `n_heads` query heads, `n_kv_heads` key and value heads: query head i attends with key and value head
    `i // (n_heads / n_kv_heads)`. With `n_kv_heads == n_heads` this is `MultiHeadAttention`; with 1 it is multi-query
    attention (Shazeer 2019). `w_q` and `w_o` are `nn.Linear(d_model, d_model)`; `w_k` and `w_v` are
    `nn.Linear(d_model, n_kv_heads * head_dim)`, with `head_dim = d_model / n_heads`; all with a bias or, with
    `bias=False`, all without. Attributes: `n_heads`, `n_kv_heads`, `head_dim`.

    Raises ValueError when `n_heads` does not divide `d_model`, or `n_kv_heads` does not divide `n_heads`.
    """

    def __init__(self, d_model: int, n_heads: int, n_kv_heads: int, bias: bool = True):
        super().__init__()
        ### BEGIN SOLUTION
        if n_heads < 1 or d_model % n_heads:
            raise ValueError(f"n_heads must divide d_model: got d_model={d_model}, n_heads={n_heads}")
        if n_kv_heads < 1 or n_heads % n_kv_heads:
            raise ValueError(f"n_kv_heads must divide n_heads: got n_heads={n_heads}, n_kv_heads={n_kv_heads}")
        self.n_heads = n_heads
        self.n_kv_heads = n_kv_heads
        self.head_dim = d_model // n_heads
        self.w_q = nn.Linear(d_model, d_model, bias=bias)
        self.w_k = nn.Linear(d_model, n_kv_heads * self.head_dim, bias=bias)
        self.w_v = nn.Linear(d_model, n_kv_heads * self.head_dim, bias=bias)
        self.w_o = nn.Linear(d_model, d_model, bias=bias)
        ### END SOLUTION

    def forward(self, x: Tensor, context: Tensor | None = None, mask: Tensor | None = None) -> Tensor:
        """`x (b, n_q, d_model)`, `context (b, n_k, d_model)` or None for `x` itself `-> (b, n_q, d_model)`.

        `mask` is boolean, True where a query may attend, and broadcasts to `(b, n_heads, n_q, n_k)`. A query that may
        attend to nothing gets zeros from every head, and so `w_o(0)`; its gradients are finite. Scores of any size neither
        overflow nor vanish, and a hidden key's score, however large, does not matter.
        """
        ### BEGIN SOLUTION
        context = x if context is None else context
        group = self.n_heads // self.n_kv_heads
        q = split_heads(self.w_q(x), self.n_heads)  # (b, h, n_q, head_dim)
        k = split_heads(self.w_k(context), self.n_kv_heads).repeat_interleave(group, dim=1)  # (b, h, n_k, head_dim)
        v = split_heads(self.w_v(context), self.n_kv_heads).repeat_interleave(group, dim=1)
        heads, _ = scaled_dot_product_attention(q, k, v, mask=mask)
        return self.w_o(merge_heads(heads))
        ### END SOLUTION
