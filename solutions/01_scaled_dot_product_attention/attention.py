"""Scaled dot-product attention: the mechanism, a picture of it, and hashing for long inputs.

A query looks for keys that resemble it and takes home the mean of their values, weighted by the resemblance:

    Attention(Q, K, V) = softmax(Q Kᵀ / sqrt(d_k)) V            Vaswani et al. 2017, section 3.2.1

Every query meets every key, so time and memory grow with n_q · n_k. The second half of this file escapes that: after
the softmax only the nearest keys count for much, and near vectors can be found by hashing (Reformer, Kitaev et al.
2020, section 2).

Shapes: q `(..., n_q, d_k)`, k `(..., n_k, d_k)`, v `(..., n_k, d_v)`; leading dimensions broadcast. A mask is boolean
and True means "may attend". A query that may attend to nothing gets zeros, never NaN, and its gradients are finite.
Not handled here: dropout, biases added to the scores, many heads at once (module 03), tiling (module 13).
"""

import math
from collections.abc import Sequence

import torch
from matplotlib.figure import Figure
from torch import Tensor


def check_shapes(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    mask: Tensor | None = None,
    q_buckets: Tensor | None = None,
    k_buckets: Tensor | None = None,
) -> None:
    """Refuse, with a ValueError or TypeError that names the argument, what attention cannot make sense of."""
    for name, x in (("q", q), ("k", k), ("v", v)):
        if x.ndim < 2:
            raise ValueError(f"{name} needs at least two dimensions (length, width), got shape {tuple(x.shape)}")
    if q.shape[-1] != k.shape[-1] or q.shape[-1] == 0:
        raise ValueError(f"q and k need the same width, at least 1, got {tuple(q.shape)} and {tuple(k.shape)}")
    if k.shape[-2] != v.shape[-2]:
        raise ValueError(f"k and v need the same length, got {tuple(k.shape)} and {tuple(v.shape)}")
    if mask is not None and mask.dtype != torch.bool:
        raise TypeError(f"mask must be boolean, True where a query may attend, got {mask.dtype}")
    lead = [x.shape[:-2] for x in (q, k, v)]
    for name, buckets, x in (("q_buckets", q_buckets, q), ("k_buckets", k_buckets, k)):
        if buckets is not None:
            if buckets.ndim < 1 or buckets.shape[-1] != x.shape[-2]:
                raise ValueError(f"{name} must end in {x.shape[-2]}, the length, got shape {tuple(buckets.shape)}")
            lead.append(buckets.shape[:-1])
    try:
        scores = (*torch.broadcast_shapes(*lead), q.shape[-2], k.shape[-2])
        torch.broadcast_shapes(scores, () if mask is None else mask.shape)
    except RuntimeError as error:
        raise ValueError(f"the leading dimensions do not broadcast, or the mask does not: {error}") from None


def causal_mask(n_q: int, n_k: int | None = None) -> Tensor:
    """Who may look at whom when nobody may look ahead: boolean `(n_q, n_k)`, True where the key is not in the future.

    `n_k` defaults to `n_q`. The mask is aligned bottom-right: the last query stands beside the last key and sees every
    key, as when a few new tokens attend to a long past. With fewer keys than queries the first queries see nothing.
    Every call makes a new tensor. Negative sizes are refused with a ValueError.
    """
    if n_q < 0 or (n_k is not None and n_k < 0):
        raise ValueError(f"n_q and n_k must not be negative, got {n_q} and {n_k}")
    ### BEGIN SOLUTION
    n_k = n_q if n_k is None else n_k
    query_position = torch.arange(n_q) + n_k - n_q  # the last query stands at n_k - 1
    return torch.arange(n_k) <= query_position[:, None]
    ### END SOLUTION


def scaled_dot_product_attention(
    q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None, scale: float | None = None
) -> tuple[Tensor, Tensor]:
    """The mean of the values, weighted by softmax(scale · q kᵀ): `(output (..., n_q, d_v), weights (..., n_q, n_k))`.

    `scale` defaults to 1 / sqrt(d_k). `mask` is boolean, broadcasts to the scores `(..., n_q, n_k)`, and is True where
    a query may attend. A query that may attend to nothing gets zero weights and a zero output. Scores as large as their
    dtype can hold neither overflow nor cost the weights their digits. Leading dimensions of q, k and v broadcast; dtype is
    kept, inputs are not changed, gradients flow and are finite. Shapes that do not fit and a mask that is not boolean are
    refused. Source: Vaswani et al. 2017, equation 1.
    """
    check_shapes(q, k, v, mask)
    ### BEGIN SOLUTION
    if scale is None:
        scale = 1 / math.sqrt(q.shape[-1])
    scores = (q * scale) @ k.mT  # (..., n_q, n_k)
    if mask is None:
        weights = scores.softmax(-1)
    else:
        # The lowest finite number, not -inf: a row of -inf alone would be 0 / 0 here and NaN in the gradient.
        scores = torch.where(mask, scores, torch.finfo(scores.dtype).min)
        weights = torch.where(mask, scores.softmax(-1), 0.0)
    return weights @ v, weights
    ### END SOLUTION


def attention_entropy(weights: Tensor) -> Tensor:
    """How widely each query spreads its attention, in nats: -Σ w log w over the keys, `(..., n_q, n_k) -> (..., n_q)`.

    0 when all weight is on one key, log(n_k) when it is spread evenly. 0 log 0 counts as 0, so a row without any weight
    has entropy 0; the gradient is -(1 + log w) at positive weights and finite at weight 0.
    """
    ### BEGIN SOLUTION
    # log is never taken of 0: where() after a log of 0 would still send 0 * inf = NaN back through it.
    log_weights = torch.where(weights > 0, weights, 1.0).log()
    return -(weights * log_weights).sum(-1)
    ### END SOLUTION


def plot_attention(weights: Tensor, query_tokens: Sequence[str], key_tokens: Sequence[str] | None = None) -> Figure:
    """A heat map of attention weights: rows are queries, columns are keys, the tokens are the tick labels.

    weights: `(n_q, n_k)` gives one panel, `(h, n_q, n_k)` one panel a head, in order; they may require grad and have
    any floating dtype. `key_tokens` defaults to `query_tokens` (self-attention). Each panel is one `imshow`; query
    token i is the tick label of row i and key token j that of column j, also where tokens repeat. Returns the Figure
    without showing it; matplotlib's settings and other figures stay as they are. Tokens that do not fit the weights are
    refused with a ValueError.
    Good manners: axis titles, a title for each head, one colour scale for all.
    """
    tokens = len(query_tokens), len(query_tokens if key_tokens is None else key_tokens)
    if weights.ndim not in (2, 3) or tuple(weights.shape[-2:]) != tokens:
        shape = tuple(weights.shape)
        raise ValueError(f"weights must be (n_q, n_k) or (h, n_q, n_k), with (n_q, n_k) = {tokens} tokens, got {shape}")
    ### BEGIN SOLUTION
    key_tokens = query_tokens if key_tokens is None else key_tokens
    heads = weights.detach().float().cpu().reshape(-1, len(query_tokens), len(key_tokens)).numpy()
    columns = max(1, math.ceil(math.sqrt(len(heads))))
    rows = max(1, math.ceil(len(heads) / columns))
    size = columns * (1.4 + 0.3 * len(key_tokens)) + 1, rows * (1.8 + 0.3 * len(query_tokens))
    figure = Figure(figsize=size, layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False).flat
    for head, (axes, head_weights) in enumerate(zip(panels, heads, strict=False)):
        image = axes.imshow(head_weights, vmin=0.0, vmax=1.0, cmap="viridis")
        axes.set_xticks(range(len(key_tokens)), key_tokens, rotation=90)
        axes.set_yticks(range(len(query_tokens)), query_tokens)
        axes.set(xlabel="key", ylabel="query", title=f"head {head}" if weights.ndim == 3 else "")
    for axes in list(figure.axes)[len(heads) :]:  # places in the last row that no head fills
        axes.remove()
    if len(heads):
        figure.colorbar(image, ax=figure.axes, label="weight")
    return figure
    ### END SOLUTION


def lsh_buckets(x: Tensor, n_buckets: int, generator: torch.Generator | None) -> Tensor:
    """Hash vectors so that near ones tend to share a bucket: `(..., n, d) -> (..., n)`, int64 in [0, n_buckets).

    One random rotation R `(d, n_buckets / 2)`, standard normal and drawn with `generator`, serves all leading
    dimensions; the bucket is the argmax over the concatenation [xR; -xR]. So the bucket depends on the direction of x
    alone, not on its length, and -x lands n_buckets / 2 further on (modulo n_buckets). x may have any floating dtype.
    Raises ValueError when `n_buckets` is odd (1 too). Source: Kitaev et al. 2020, section 2.
    """
    ### BEGIN SOLUTION
    if n_buckets < 2 or n_buckets % 2:
        raise ValueError(f"n_buckets must be even and at least 2, got {n_buckets}")
    rotation = torch.randn(x.shape[-1], n_buckets // 2, generator=generator, dtype=x.dtype, device=x.device)
    rotated = x @ rotation  # (..., n, n_buckets / 2)
    return torch.cat([rotated, -rotated], dim=-1).argmax(dim=-1)
    ### END SOLUTION


def attend_in_buckets(
    q: Tensor, k: Tensor, v: Tensor, q_buckets: Tensor, k_buckets: Tensor, causal: bool
) -> tuple[Tensor, Tensor]:
    """The workhorse of the two exercises below, not graded by itself: `(output (..., n_q, d_v), lse (..., n_q))`.

    `output` is what `bucketed_attention` promises. `lse` is the log of the sum of exp(q · k / sqrt(d_k)) over the keys
    that the query saw, -inf where it saw none: what `lsh_attention` needs to weigh one round against another.
    """
    ### BEGIN SOLUTION
    n_q, n_k = q.shape[-2], k.shape[-2]
    lead = torch.broadcast_shapes(q.shape[:-2], k.shape[:-2], v.shape[:-2], q_buckets.shape[:-1], k_buckets.shape[:-1])

    def rows(x: Tensor, *shape: int) -> Tensor:  # lay the rows of all leading indices end to end
        return x.expand(*lead, *shape).flatten(0, len(lead))

    # One number for each (leading index, bucket), so that a single sort serves them all.
    both = torch.cat([q_buckets.expand(*lead, n_q), k_buckets.expand(*lead, n_k)], dim=-1)
    names, group = both.unique(return_inverse=True)
    group = group + len(names) * torch.arange(math.prod(lead), device=q.device).view(*lead, 1)
    q_group, q_order = group[..., :n_q].flatten().sort(stable=True)
    k_group, k_order = group[..., n_q:].flatten().sort(stable=True)

    q_sorted = rows(q, n_q, q.shape[-1])[q_order] / math.sqrt(q.shape[-1])
    k_sorted = rows(k, n_k, k.shape[-1])[k_order]
    v_sorted = rows(v, n_k, v.shape[-1])[k_order]
    # Sorting forgets the order of time: remember where each row came from, the last query beside the last key.
    q_position = rows(torch.arange(n_k - n_q, n_k, device=q.device), n_q)[q_order]
    k_position = rows(torch.arange(n_k, device=q.device), n_k)[k_order]

    groups, q_counts = q_group.unique_consecutive(return_counts=True)
    k_starts = torch.searchsorted(k_group, groups).tolist()
    k_ends = torch.searchsorted(k_group, groups, right=True).tolist()
    outputs, lses, q_end = [v_sorted[:0]], [q_sorted[:0, 0]], 0
    for q_count, k_start, k_end in zip(q_counts.tolist(), k_starts, k_ends, strict=True):
        q_run, q_end = slice(q_end, q_end + q_count), q_end + q_count
        k_run = slice(k_start, k_end)
        scores = q_sorted[q_run] @ k_sorted[k_run].mT  # queries by keys of this bucket alone
        visible = torch.ones_like(scores, dtype=torch.bool)
        if causal:
            visible = k_position[k_run] <= q_position[q_run, None]
        scores = torch.where(visible, scores, torch.finfo(scores.dtype).min)
        outputs.append(torch.where(visible, scores.softmax(-1), 0.0) @ v_sorted[k_run])
        lses.append(torch.where(visible.any(-1), scores.logsumexp(-1), -torch.inf))
    unsort = q_order.argsort()
    return torch.cat(outputs)[unsort].view(*lead, n_q, v.shape[-1]), torch.cat(lses)[unsort].view(*lead, n_q)
    ### END SOLUTION


def bucketed_attention(
    q: Tensor, k: Tensor, v: Tensor, q_buckets: Tensor, k_buckets: Tensor, causal: bool = False
) -> Tensor:
    """Exact attention in which a query sees only the keys of its own bucket: `(..., n_q, d_v)`.

    `q_buckets (..., n_q)` and `k_buckets (..., n_k)` are integers from 0, not all of which need occur; their leading
    dimensions broadcast with those of q, k and v, and each leading index may have buckets of its own. Buckets may
    differ in size; a query whose bucket holds no key gets zeros. `causal` hides keys later than the query in the
    original order, aligned bottom-right as in `causal_mask`. One bucket for all gives full attention. With several
    buckets the `(n_q, n_k)` matrix is never formed, neither of scores nor of booleans. The scale is 1 / sqrt(d_k);
    dtype is kept, inputs are not changed, gradients flow to q, k and v and are finite, large scores do not overflow.
    Shapes that do not fit are refused.
    """
    check_shapes(q, k, v, None, q_buckets, k_buckets)
    ### BEGIN SOLUTION
    output, _ = attend_in_buckets(q, k, v, q_buckets, k_buckets, causal)
    return output
    ### END SOLUTION


def lsh_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    n_buckets: int,
    n_rounds: int = 1,
    causal: bool = False,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Attention to the keys that hash like the query, in several rounds of hashing: `(..., n_q, d_v)`.

    Each round draws a new rotation, which hashes queries and keys alike (`lsh_buckets`), and attends inside the
    buckets. Rounds are combined by their log-sum-exp: round r counts exp(lse_r) / Σ exp(lse). Each round counts in
    full: a key met in two rounds counts twice. A query that saw no key in any round gets zeros. `n_buckets=1` needs no
    hashing and is exact attention; any other odd number is refused, as by `lsh_buckets`. `causal` is as in
    `bucketed_attention`. Leading dimensions of q, k and v broadcast; dtype is kept, inputs are not changed, gradients
    flow and are finite, large scores do not overflow. Without a generator PyTorch's global one is used.
    Source: Kitaev et al. 2020, section 2 (without its correction for keys met twice).
    """
    check_shapes(q, k, v)
    ### BEGIN SOLUTION
    if n_buckets == 1:
        mask = causal_mask(q.shape[-2], k.shape[-2]).to(q.device) if causal else None
        return scaled_dot_product_attention(q, k, v, mask)[0]
    both = torch.cat([q.flatten(0, -2), k.flatten(0, -2)])  # hashed by one call, so by one rotation
    outputs, lses = [], []
    for _ in range(n_rounds):
        q_buckets, k_buckets = lsh_buckets(both, n_buckets, generator).tensor_split([q.shape[:-1].numel()])
        output, lse = attend_in_buckets(q, k, v, q_buckets.view(q.shape[:-1]), k_buckets.view(k.shape[:-1]), causal)
        outputs.append(output)
        lses.append(lse)
    lse = torch.stack(lses)  # (n_rounds, ..., n_q)
    # A query that saw nothing in any round has equal shares of outputs that are all zero.
    share = torch.where(lse > -torch.inf, lse, torch.finfo(lse.dtype).min).softmax(0)
    return (share.unsqueeze(-1) * torch.stack(outputs)).sum(0)
    ### END SOLUTION
