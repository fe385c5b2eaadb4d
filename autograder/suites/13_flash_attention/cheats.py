"""Submissions of module 13 that make all scores at once, some where PyTorch does not see it: each must score nothing."""

from autograder.testing.variants import cheat

CHECKED = """
    import math

    import numpy as np
    import torch


    def check_arguments(q, k, v, block_q, block_k):
        if min(q.dim(), k.dim(), v.dim()) < 2 or not q.shape[:-2] == k.shape[:-2] == v.shape[:-2]:
            raise ValueError("dimensions")
        if q.shape[-1] != k.shape[-1] or q.shape[-1] < 1 or k.shape[-2] != v.shape[-2] or block_q < 1 or block_k < 1:
            raise ValueError("shapes or blocks")


    def arrays(*tensors):
        wide = [x.detach().float() if x.dtype.itemsize == 2 else x.detach() for x in tensors]
        return [x.numpy() for x in wide]


    def scores_of(q, k, causal, scale):
        scale = 1 / math.sqrt(q.shape[-1]) if scale is None else scale
        scores = q @ np.swapaxes(k, -1, -2) * q.dtype.type(scale)
        n_q, n_k = scores.shape[-2:]
        return np.where(np.tri(n_q, n_k, n_k - n_q, dtype=bool), scores, -np.inf) if causal else scores
"""

CHEATS = [
    cheat(
        "forward_in_numpy",
        "Standard attention in NumPy, whose arrays are no tensors.",
        CHECKED
        + """

    def flash_attention_forward(q, k, v, causal=False, block_q=64, block_k=64, scale=None):
        check_arguments(q, k, v, block_q, block_k)
        a, b, c = arrays(q, k, v)
        scores = scores_of(a, b, causal, scale)
        top = scores.max(-1, keepdims=True, initial=-np.inf)
        p = np.exp(scores - np.where(np.isneginf(top), 0, top).astype(scores.dtype))
        total = p.sum(-1, keepdims=True)
        with np.errstate(all="ignore"):
            out = np.where(total > 0, p @ (np.nan_to_num(c) if causal else c) / total, 0)
            lse = (top + np.log(total))[..., 0]
        return torch.from_numpy(out).to(q.dtype), torch.from_numpy(lse.astype(a.dtype))
""",
    ),
    cheat(
        "backward_in_numpy",
        "All weights at once in NumPy, whose arrays are no tensors.",
        CHECKED
        + """

    def flash_attention_backward(grad_out, q, k, v, out, lse, causal=False, block_q=64, block_k=64, scale=None):
        check_arguments(q, k, v, block_q, block_k)
        do, a, b, c, o, z = arrays(grad_out, q, k, v, out, lse)
        with np.errstate(all="ignore"):
            p = np.exp(scores_of(a, b, causal, scale) - np.where(np.isneginf(z), 0, z).astype(z.dtype)[..., None])
        factor = a.dtype.type(1 / math.sqrt(q.shape[-1]) if scale is None else scale)
        ds = p * (do @ np.swapaxes(c, -1, -2) - (do * o).sum(-1, keepdims=True)) * factor
        found = ds @ b, np.swapaxes(ds, -1, -2) @ a, np.swapaxes(p, -1, -2) @ do
        return tuple(torch.from_numpy(x).to(y.dtype) for x, y in zip(found, (q, k, v)))
""",
    ),
    cheat(
        "function_around_autograd",
        "Standard attention keeps nothing for the backward pass, in which autograd goes through it once more.",
        """
        import math

        import torch
        from torch.autograd.function import once_differentiable


        def attention(q, k, v, causal, scale):
            n_q, n_k = q.shape[-2], k.shape[-2]
            scores = q @ k.mT * (1 / math.sqrt(q.shape[-1]) if scale is None else scale)
            if causal:
                scores = scores.masked_fill(~torch.ones(n_q, n_k, dtype=torch.bool).tril(n_k - n_q), -torch.inf)
            return scores.softmax(-1).nan_to_num() @ v


        class FlashAttention(torch.autograd.Function):
            @staticmethod
            def forward(ctx, q, k, v, causal=False, block_q=64, block_k=64, scale=None):
                ctx.save_for_backward(q, k, v)
                ctx.options = causal, scale
                return attention(q, k, v, causal, scale)

            @staticmethod
            @once_differentiable
            def backward(ctx, grad_out):
                with torch.enable_grad():
                    inputs = [x.detach().requires_grad_() for x in ctx.saved_tensors]
                    out = attention(*inputs, *ctx.options)
                    return *torch.autograd.grad(out, inputs, grad_out), None, None, None, None
        """,
    ),
]
