"""A complete submission of module 01, written as a student might: every exercise right, none as the course has it."""

import math

import torch
from matplotlib.figure import Figure


def check_widths(q, k, v, mask=None):
    if min(q.dim(), k.dim(), v.dim()) < 2 or q.shape[-1] != k.shape[-1] or k.shape[-2] != v.shape[-2]:
        raise ValueError(f"q {tuple(q.shape)}, k {tuple(k.shape)} and v {tuple(v.shape)} do not fit")
    if mask is not None and mask.dtype != torch.bool:
        raise TypeError("mask is not boolean")


def causal_mask(n_q, n_k=None):
    n_k = n_q if n_k is None else n_k
    if n_q < 0 or n_k < 0:
        raise ValueError("sizes cannot be negative")
    return torch.ones(n_q, n_k, dtype=torch.bool).tril(n_k - n_q)


def attend(q, k, v, mask=None, scale=None):
    """Output, weights, and the log-sum-exp of each query's scores."""
    if scale is None:
        scale = q.shape[-1] ** -0.5
    scores = (scale * q) @ k.mT
    if mask is None:
        mask = torch.ones_like(scores, dtype=torch.bool)
    mask = mask.expand(torch.broadcast_shapes(mask.shape, scores.shape))
    blind = ~mask.any(-1)
    scores = scores.masked_fill(~mask, -math.inf).masked_fill(blind[..., None], 0.0)
    weights = torch.softmax(scores, -1).masked_fill(~mask, 0.0)
    return weights @ v, weights, torch.logsumexp(scores, -1).masked_fill(blind, -math.inf)


def scaled_dot_product_attention(q, k, v, mask=None, scale=None):
    check_widths(q, k, v, mask)
    try:
        output, weights, _ = attend(q, k, v, mask, scale)
    except RuntimeError as error:
        raise ValueError(str(error)) from error
    return output, weights


def attention_entropy(weights):
    logs = weights.masked_fill(weights <= 0, 1.0).log()
    return (-weights * logs).sum(dim=-1)


def plot_attention(weights, query_tokens, key_tokens=None):
    if key_tokens is None:
        key_tokens = query_tokens
    if weights.dim() not in (2, 3) or weights.shape[-2:] != (len(query_tokens), len(key_tokens)):
        raise ValueError(f"weights {tuple(weights.shape)} do not fit the tokens")
    heads = weights.detach().to(torch.float32).numpy()
    heads = heads[None] if weights.dim() == 2 else heads
    figure = Figure(figsize=(1 + 3 * len(heads), 4), layout="constrained")
    for i, head in enumerate(heads):
        axes = figure.add_subplot(1, len(heads), i + 1)
        axes.imshow(head, vmin=0, vmax=1)
        axes.set_xticks(range(len(key_tokens)), labels=list(key_tokens), rotation=60)
        axes.set_yticks(range(len(query_tokens)), labels=list(query_tokens))
        axes.set_xlabel("keys")
        axes.set_ylabel("queries")
        axes.set_title(f"head {i}")
    return figure


def lsh_buckets(x, n_buckets, generator):
    if n_buckets <= 0 or n_buckets % 2 == 1:
        raise ValueError(f"{n_buckets} is not a positive even number of buckets")
    rotation = torch.randn(x.shape[-1], n_buckets // 2, generator=generator, dtype=x.dtype, device=x.device)
    projected = x @ rotation
    return torch.argmax(torch.cat((projected, -projected), dim=-1), dim=-1)


def attend_by_bucket(q, k, v, q_buckets, k_buckets, causal):
    """Output and log-sum-exp, one leading index and one bucket after the other."""
    n_q, n_k, d_v = q.shape[-2], k.shape[-2], v.shape[-1]
    lead = torch.broadcast_shapes(q.shape[:-2], k.shape[:-2], v.shape[:-2], q_buckets.shape[:-1], k_buckets.shape[:-1])
    count = math.prod(lead)
    q, k, v = (x.expand(lead + x.shape[-2:]).reshape((count,) + x.shape[-2:]) for x in (q, k, v))
    q_buckets = q_buckets.expand(lead + (n_q,)).reshape(count, n_q)
    k_buckets = k_buckets.expand(lead + (n_k,)).reshape(count, n_k)
    outputs, sums = [v.new_zeros(0, n_q, d_v)], [v.new_zeros(0, n_q)]
    for i in range(count):
        order, output, lse = [], [v.new_zeros(0, d_v)], [v.new_zeros(0)]
        for bucket in q_buckets[i].unique():
            mine = (q_buckets[i] == bucket).nonzero().flatten()
            theirs = (k_buckets[i] == bucket).nonzero().flatten()
            mask = theirs[None, :] <= mine[:, None] + (n_k - n_q) if causal else None
            part, _, part_lse = attend(q[i, mine], k[i, theirs], v[i, theirs], mask)
            order += mine.tolist()
            output.append(part)
            lse.append(part_lse)
        back = torch.tensor(order, dtype=torch.int64, device=q.device).argsort()
        outputs.append(torch.cat(output)[back][None])
        sums.append(torch.cat(lse)[back][None])
    return torch.cat(outputs).reshape(lead + (n_q, d_v)), torch.cat(sums).reshape(lead + (n_q,))


def bucketed_attention(q, k, v, q_buckets, k_buckets, causal=False):
    check_widths(q, k, v)
    if q_buckets.shape[-1:] != q.shape[-2:-1] or k_buckets.shape[-1:] != k.shape[-2:-1]:
        raise ValueError("one bucket is needed for each query and each key")
    try:
        return attend_by_bucket(q, k, v, q_buckets, k_buckets, causal)[0]
    except RuntimeError as error:
        raise ValueError(str(error)) from error


def lsh_attention(q, k, v, n_buckets, n_rounds=1, causal=False, generator=None):
    check_widths(q, k, v)
    if n_buckets == 1:
        mask = causal_mask(q.shape[-2], k.shape[-2]) if causal else None
        return scaled_dot_product_attention(q, k, v, mask)[0]
    d = q.shape[-1]
    total = largest = weighted = None
    for _ in range(n_rounds):
        buckets = lsh_buckets(torch.cat((q.reshape(-1, d), k.reshape(-1, d))), n_buckets, generator)
        q_buckets = buckets[: q[..., 0].numel()].reshape(q.shape[:-1])
        k_buckets = buckets[q[..., 0].numel() :].reshape(k.shape[:-1])
        output, lse = attend_by_bucket(q, k, v, q_buckets, k_buckets, causal)
        if total is None:
            largest = lse.detach().clamp(min=torch.finfo(lse.dtype).min)
            total = (lse - largest).exp()
            weighted = total[..., None] * output
        else:
            higher = torch.maximum(largest, lse.detach())
            share, shrink = (lse - higher).exp(), (largest - higher).exp()
            total = total * shrink + share
            weighted = weighted * shrink[..., None] + share[..., None] * output
            largest = higher
    return weighted / total.masked_fill(total == 0, 1.0)[..., None]
