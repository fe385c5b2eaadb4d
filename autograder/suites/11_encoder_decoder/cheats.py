"""Cheats of this module's own; each must score nothing. PyTorch has attention and losses under names of its insides, too."""

from autograder.testing.variants import cheat

_ATTENTION = """
import importlib

import torch
from torch import nn
import torch.nn.functional as F

from exercises.feedforward_residual import FeedForward, RMSNorm
from exercises.multi_head_attention import merge_heads, split_heads


def added(q, k, mask, bias):
    shape = *q.shape[:3], k.shape[2]
    total = torch.zeros(shape, dtype=q.dtype) + (0 if bias is None else bias)
    mask = torch.ones(shape, dtype=torch.bool) if mask is None else mask.expand(shape)
    empty = ~mask.any(-1, keepdim=True)
    return total.masked_fill(~mask, float("-inf")).masked_fill(empty, 0.0), empty
"""

_LOSS = """
import torch
import torch.nn.functional as F


def label_smoothed_loss(logits, targets, smoothing=0.1, ignore_index=-100):
    if not 0 <= smoothing <= 1 or logits.shape[:-1] != targets.shape:
        raise ValueError("arguments")
    counted = targets != ignore_index
    logits, targets = logits[counted], targets[counted]
    if targets.numel() == 0:
        return logits.sum()
    if targets.min() < 0 or targets.max() >= logits.shape[-1]:
        raise ValueError("targets")
    return loss(logits, targets, smoothing)
"""

CHEATS = [
    cheat(
        "padding_by_c",
        "Rows of ones of all lengths, filled up by the function that pad_sequence calls.",
        """
        import torch

        def padding_mask(lengths, max_len):
            if lengths.numel() and (lengths.min() < 0 or lengths.max() > max_len):
                raise ValueError("lengths")
            rows = [torch.ones(int(n), dtype=torch.bool) for n in [*lengths.flatten(), max_len]]
            return torch._C._nn.pad_sequence(rows, True, 0.0)[:-1].reshape(*lengths.shape, max_len)
        """,
    ),
    cheat(
        "attention_from_a_table",
        "The decomposition of the fused attention, out of PyTorch's table of decompositions.",
        _ATTENTION
        + """
class CrossAttention(nn.Module):
    def __init__(self, d_model, n_heads):
        super().__init__()
        if n_heads < 1 or d_model % n_heads:
            raise ValueError("heads")
        self.n_heads, self.head_dim = n_heads, d_model // n_heads
        self.w_q, self.w_k, self.w_v, self.w_o = (nn.Linear(d_model, d_model, bias=False) for _ in range(4))

    def project_context(self, context):
        return split_heads(self.w_k(context), self.n_heads), split_heads(self.w_v(context), self.n_heads)

    def forward(self, x, context, mask=None, bias=None):
        q = split_heads(self.w_q(x), self.n_heads)
        k, v = self.project_context(context) if isinstance(context, torch.Tensor) else context
        k, v = k.expand(len(q), -1, -1, -1), v.expand(len(q), -1, -1, -1)
        total, empty = added(q, k, mask, bias)
        table = importlib.import_module("torch._de" + "comp").decomposition_table
        attend = next(f for operator, f in table.items() if "flash_attention_for_cpu" in str(operator))
        return self.w_o(merge_heads(attend(q, k, v, 0.0, False, attn_mask=total, scale=1.0)[0].masked_fill(empty, 0.0)))
""",
    ),
    cheat(
        "fused_attention_in_a_block",
        "The encoder's block has an attention of its own making, which is PyTorch's fused one.",
        _ATTENTION
        + """
class Four(nn.Module):
    def __init__(self, d_model):
        super().__init__()
        self.w_q, self.w_k, self.w_v, self.w_o = (nn.Linear(d_model, d_model, bias=False) for _ in range(4))


class EncoderBlock(nn.Module):
    def __init__(self, d_model, n_heads, d_ff, dropout=0.0):
        super().__init__()
        self.n_heads, self.dropout = n_heads, nn.Dropout(dropout)
        self.attention, self.feed_forward = Four(d_model), FeedForward(d_model, d_ff)
        self.norm_1, self.norm_2 = RMSNorm(d_model), RMSNorm(d_model)

    def forward(self, x, mask=None, bias=None):
        layers, normed = self.attention, self.norm_1(x)
        q, k, v = (split_heads(layer(normed), self.n_heads) for layer in (layers.w_q, layers.w_k, layers.w_v))
        total, empty = added(q, k, mask, bias)
        found = F.scaled_dot_product_attention(q, k, v, attn_mask=total, scale=1.0).masked_fill(empty, 0.0)
        x = x + self.dropout(layers.w_o(merge_heads(found)))
        return x + self.dropout(self.feed_forward(self.norm_2(x)))
""",
    ),
    cheat(
        "buckets_by_numpy",
        "NumPy finds the bucket between borders, as torch.bucketize would.",
        """
        import numpy as np
        import torch

        def relative_position_bucket(relative, bidirectional=True, n_buckets=32, max_distance=128):
            n = n_buckets // 2 if bidirectional else n_buckets
            exact = n // 2
            if n < 2 or max_distance <= exact or bidirectional and n_buckets % 2:
                raise ValueError("buckets")
            wide = [exact * (max_distance / exact) ** (i / (n - exact)) for i in range(n - exact)]
            distance = relative.long().abs() if bidirectional else (-relative.long()).clamp(min=0)
            find = getattr(np, "ezitigid"[::-1])
            bucket = torch.from_numpy(np.asarray(find(distance.numpy(), np.array([*range(1, exact), *wide]))))
            return bucket + n * (relative > 0) if bidirectional else bucket
        """,
    ),
    cheat(
        "loss_by_distributions",
        "The divergence of two distributions, as torch.distributions has it, and the entropy of one.",
        _LOSS
        + """

def loss(logits, targets, smoothing):
    wanted = torch.full_like(logits, smoothing / logits.shape[-1])
    wanted = wanted.scatter_add(-1, targets[:, None], torch.full_like(logits[:, :1], 1 - smoothing))
    p = torch.distributions.Categorical(probs=wanted, validate_args=False)
    q = torch.distributions.Categorical(logits=logits, validate_args=False)
    return (torch.distributions.kl_divergence(p, q) - torch.xlogy(wanted, wanted).sum(-1)).mean()
""",
    ),
    cheat(
        "loss_by_ctc",
        "The loss of texts of one token without a blank is the negative log-likelihood.",
        _LOSS
        + """

def loss(logits, targets, smoothing):
    log_probs, ones = logits.log_softmax(-1), torch.ones_like(targets)
    steps = torch.cat([torch.full_like(log_probs[:, :1], -1e30), log_probs], dim=1)[None]
    certain = F.ctc_loss(steps, targets[:, None] + 1, ones, ones)
    return (1 - smoothing) * certain - smoothing * log_probs.mean()
""",
    ),
    cheat(
        "loss_from_a_table",
        "PyTorch's own way to take the loss apart, found in a table by the operator's name.",
        _LOSS
        + """

def loss(logits, targets, smoothing):
    import torch._decomp

    (apart,) = [way for op, way in torch._decomp.decomposition_table.items() if str(op) == "aten.nll_loss_forward.default"]
    log_probs = logits.log_softmax(-1)
    return (1 - smoothing) * apart(log_probs, targets, None, 1, -100)[0] - smoothing * log_probs.mean()
""",
    ),
]
