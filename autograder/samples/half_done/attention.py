"""A submission of module 01 by someone half way through: the mechanism is there, picture and hashing are not."""

import torch


def causal_mask(n_q, n_k=None):
    if n_k is None:
        n_k = n_q
    if n_q < 0 or n_k < 0:
        raise ValueError("sizes must not be negative")
    rows = torch.arange(n_q).unsqueeze(1)
    columns = torch.arange(n_k).unsqueeze(0)
    return columns - rows <= n_k - n_q


def scaled_dot_product_attention(q, k, v, mask=None, scale=None):
    if q.dim() < 2 or k.dim() < 2 or v.dim() < 2:
        raise ValueError("q, k and v need a length and a width")
    if q.shape[-1] != k.shape[-1] or k.shape[-2] != v.shape[-2]:
        raise ValueError("shapes of q, k and v do not fit together")
    if mask is not None and mask.dtype != torch.bool:
        raise ValueError("mask must be boolean")
    scale = q.shape[-1] ** -0.5 if scale is None else scale
    try:
        scores = (q * scale) @ k.transpose(-2, -1)
        if mask is None:
            weights = scores.softmax(dim=-1)
        else:
            weights = scores.masked_fill(~mask, torch.finfo(scores.dtype).min).softmax(dim=-1).masked_fill(~mask, 0)
        return weights @ v, weights
    except RuntimeError as error:
        raise ValueError("leading dimensions do not broadcast") from error


def attention_entropy(weights):
    positive = weights > 0
    logs = torch.log(torch.where(positive, weights, torch.ones_like(weights)))
    return -torch.sum(weights * logs, dim=-1)


def plot_attention(weights, query_tokens, key_tokens=None):
    # TODO: your code goes here, in place of the next line.
    raise NotImplementedError("TODO: plot_attention")


def lsh_buckets(x, n_buckets, generator):
    # TODO: your code goes here, in place of the next line.
    raise NotImplementedError("TODO: lsh_buckets")


def bucketed_attention(q, k, v, q_buckets, k_buckets, causal=False):
    # TODO: your code goes here, in place of the next line.
    raise NotImplementedError("TODO: bucketed_attention")


def lsh_attention(q, k, v, n_buckets, n_rounds=1, causal=False, generator=None):
    # TODO: your code goes here, in place of the next line.
    raise NotImplementedError("TODO: lsh_attention")
