"""Submissions of module 04 that leave the work to a near relative of the forbidden call: each must score nothing."""

from autograder.testing.variants import cheat

CHEATS = [
    cheat(
        "layer_norm_by_rms_norm",
        "The mean is subtracted by hand; PyTorch's RMS norm does the rest.",
        """
        import torch
        import torch.nn.functional as F
        from torch import nn


        class LayerNorm(nn.Module):
            def __init__(self, d_model, eps=1e-5):
                super().__init__()
                self.eps = eps
                self.weight = nn.Parameter(torch.ones(d_model))
                self.bias = nn.Parameter(torch.zeros(d_model))

            def forward(self, x):
                if x.shape[-1:] != self.weight.shape:
                    raise ValueError("width")
                centred = x - x.mean(-1, keepdim=True)
                return getattr(F, "rms" + "_norm")(centred, self.weight.shape, self.weight, self.eps) + self.bias
        """,
    ),
    cheat(
        "rms_norm_by_layer_norm",
        "x beside -x has mean 0, so that PyTorch's layer norm of both is the RMS norm.",
        """
        import torch
        import torch.nn.functional as F
        from torch import nn


        class RMSNorm(nn.Module):
            def __init__(self, d_model, eps=1e-6):
                super().__init__()
                self.eps = eps
                self.weight = nn.Parameter(torch.ones(d_model))

            def forward(self, x):
                d = len(self.weight)
                if x.shape[-1:] != (d,):
                    raise ValueError("width")
                pair = torch.cat([x, -x], dim=-1)
                return getattr(F, "layer" + "_norm")(pair, (2 * d,), eps=self.eps)[..., :d] * self.weight
        """,
    ),
    cheat(
        "memoize_by_typing",
        "The cache that the typing module has for itself, with the calls and runs counted around it.",
        """
        import functools
        import typing
        from typing import NamedTuple


        class CacheInfo(NamedTuple):
            hits: int
            misses: int


        def memoize(function):
            calls, runs = [], []

            def counted(*args, **kwargs):
                runs.append(1)
                return function(*args, **kwargs)

            cached = getattr(typing, "_tp" + "_cache")(counted)

            @functools.wraps(function)
            def remembering(*args, **kwargs):
                hash((args, tuple(kwargs.values())))
                calls.append(1)
                return cached(*args, **dict(sorted(kwargs.items())))

            remembering.cache_info = lambda: CacheInfo(len(calls) - len(runs), len(runs))
            return remembering
        """,
    ),
]
