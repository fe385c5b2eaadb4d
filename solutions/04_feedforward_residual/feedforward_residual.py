"""The other half of the transformer block, and two habits of thought that pay for themselves in it.

Attention moves information between positions; the feed-forward layer works on each position alone, and the residual
stream carries the sum of everything that was ever added to it:

    pre-norm    x = x + attention(norm(x));   x = x + feed_forward(norm(x))
    post-norm   x = norm(x + attention(x));   x = norm(x + feed_forward(x))

Because every layer either is walked through or walked around, a stack of n layers is a bundle of 2^n paths. Counting
them, and choosing where to keep activations for the backward pass, are dynamic programmes: solve each smaller problem
once, keep the answer, build on it. `memoize` is that idea as a decorator.

Sources: Vaswani et al. 2017 (the block); Ba et al. 2016 (layer norm); Zhang & Sennrich 2019 (RMS norm); Hendrycks &
Gimpel 2016 (GELU); Shazeer 2020 (SwiGLU); Xiong et al. 2020 (pre-norm and post-norm); Veit et al. 2016 (paths);
Chen et al. 2016 (checkpoints).
"""

import functools
import math
from collections.abc import Callable, Hashable, Sequence
from itertools import accumulate, pairwise
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import nn

from solutions.multi_head_attention import MultiHeadAttention

HALF = (torch.float16, torch.bfloat16)


def gelu(x: torch.Tensor, approximate: str = "none") -> torch.Tensor:
    """Gaussian error linear unit: x times the probability that a standard normal variable is below x.

    `"none"` is exact, x Φ(x) with Φ(x) = (1 + erf(x / √2)) / 2; `"tanh"` is the approximation that GPT-2 uses,
    x (1 + tanh(√(2/π) (x + 0.044715 x³))) / 2. Any other `approximate` is a ValueError.

    Shapes: any -> the same, in x's dtype. Source: Hendrycks & Gimpel 2016, section 2.
    """
    ### BEGIN SOLUTION
    if approximate == "none":
        return 0.5 * x * (1 + torch.erf(x / math.sqrt(2)))
    if approximate == "tanh":
        return 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
    raise ValueError(f'approximate must be "none" or "tanh", not {approximate!r}')
    ### END SOLUTION


class LayerNorm(nn.Module):
    """Every vector of the last dimension is brought to mean 0 and variance 1, then scaled and shifted.

        y = (x - mean) / sqrt(var + eps) * weight + bias

    The variance is the biased one (divide by d_model, not d_model - 1). Subtract the mean before squaring: a vector far
    from zero must not lose its digits. float16 and bfloat16 inputs are normalised in float32 and rounded once at the
    end, after weight and bias, so that squares do not overflow.

    Parameters: `weight` (d_model,), ones at the start; `bias` (d_model,), zeros at the start; no others.
    Shapes: (..., d_model) -> the same, in x's dtype. ValueError where x's last dimension is not d_model.
    Source: Ba et al. 2016, section 3.
    """

    def __init__(self, d_model: int, eps: float = 1e-5):
        super().__init__()
        ### BEGIN SOLUTION
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(d_model))
        self.bias = nn.Parameter(torch.zeros(d_model))
        ### END SOLUTION

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        ### BEGIN SOLUTION
        if x.shape[-1:] != self.weight.shape:
            raise ValueError(f"x must end in d_model = {len(self.weight)}, not have shape {tuple(x.shape)}")
        z = x.float() if x.dtype in HALF else x
        centred = z - z.mean(-1, keepdim=True)  # (..., d)
        variance = centred.square().mean(-1, keepdim=True)  # (..., 1)
        normal = centred * torch.rsqrt(variance + self.eps)
        return (normal * self.weight + self.bias).to(x.dtype)
        ### END SOLUTION


def layer_norm_backward(
    grad_output: torch.Tensor, x: torch.Tensor, weight: torch.Tensor, eps: float
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The gradients of layer norm, by hand.

    `grad_output` is the gradient of some loss by y = x̂ * weight + bias, with x̂ = (x - mean) / sqrt(var + eps) as in
    `LayerNorm`. Each entry of x moves y in three ways: directly, through the mean and through the variance; `dx` adds
    up the three. `dweight` and `dbias` add up over all leading dimensions, since all vectors share the parameters.

    Shapes: grad_output and x (..., d), with any number of leading dimensions, none too, of any size, 0 too; weight (d,)
    -> dx (..., d), dweight (d,), dbias (d,), in x's dtype. Nothing is promised for half precision.
    """
    ### BEGIN SOLUTION
    centred = x - x.mean(-1, keepdim=True)  # (..., d)
    inverse_std = torch.rsqrt(centred.square().mean(-1, keepdim=True) + eps)  # (..., 1)
    normal = centred * inverse_std
    g = grad_output * weight
    dx = inverse_std * (g - g.mean(-1, keepdim=True) - normal * (g * normal).mean(-1, keepdim=True))
    d = x.shape[-1]
    return dx, (grad_output * normal).reshape(-1, d).sum(0), grad_output.reshape(-1, d).sum(0)
    ### END SOLUTION


class RMSNorm(nn.Module):
    """Layer norm without the mean and the bias: only the length of the vector is brought to a common size.

        y = x / sqrt(mean(x²) + eps) * weight

    float16 and bfloat16 inputs are normalised in float32 and rounded at the end. Some models, Llama among them, round
    before the weight is multiplied, too, and multiply in x's dtype; here either will do.

    Parameters: `weight` (d_model,), ones at the start; no others.
    Shapes: (..., d_model) -> the same, in x's dtype. ValueError where x's last dimension is not d_model.
    Source: Zhang & Sennrich 2019, equation 4.
    """

    def __init__(self, d_model: int, eps: float = 1e-6):
        super().__init__()
        ### BEGIN SOLUTION
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(d_model))
        ### END SOLUTION

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        ### BEGIN SOLUTION
        if x.shape[-1:] != self.weight.shape:
            raise ValueError(f"x must end in d_model = {len(self.weight)}, not have shape {tuple(x.shape)}")
        z = x.float() if x.dtype in HALF else x
        normal = z * torch.rsqrt(z.square().mean(-1, keepdim=True) + self.eps)
        return (normal * self.weight).to(x.dtype)
        ### END SOLUTION


class FeedForward(nn.Module):
    """Two linear layers with a non-linearity between them, applied to each position alone.

        y = w_out(activation(w_in(x)))

    `activation` is "gelu" (exact), "gelu_tanh" (GPT-2's) or "relu" (the 2017 paper's); anything else is a ValueError
    when the layer is built.

    Submodules: `w_in`, a linear layer d_model -> d_ff, and `w_out`, d_ff -> d_model, both with biases.
    Shapes: (..., d_model) -> (..., d_model). Source: Vaswani et al. 2017, section 3.3.
    """

    def __init__(self, d_model: int, d_ff: int, activation: str = "gelu"):
        super().__init__()
        ### BEGIN SOLUTION
        activations = {"gelu": gelu, "gelu_tanh": functools.partial(gelu, approximate="tanh"), "relu": torch.relu}
        if activation not in activations:
            raise ValueError(f"activation must be one of {', '.join(activations)}, not {activation!r}")
        self.activation = activations[activation]
        self.w_in = nn.Linear(d_model, d_ff)
        self.w_out = nn.Linear(d_ff, d_model)
        ### END SOLUTION

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        ### BEGIN SOLUTION
        return self.w_out(self.activation(self.w_in(x)))  # (..., d) -> (..., d_ff) -> (..., d)
        ### END SOLUTION


class SwiGLU(nn.Module):
    """A feed-forward layer with a gate: one projection says what could pass, the other how much of it does.

        y = w_out(silu(w_gate(x)) * w_in(x)),   silu(z) = z * sigmoid(z)

    Submodules: `w_gate` and `w_in`, linear layers d_model -> d_ff, and `w_out`, d_ff -> d_model, none with a bias.
    A gate may be as large as 1000 or -1000: values and gradients are finite.
    Shapes: (..., d_model) -> (..., d_model). Source: Shazeer 2020, equation 6.
    """

    def __init__(self, d_model: int, d_ff: int):
        super().__init__()
        ### BEGIN SOLUTION
        self.w_gate = nn.Linear(d_model, d_ff, bias=False)
        self.w_in = nn.Linear(d_model, d_ff, bias=False)
        self.w_out = nn.Linear(d_ff, d_model, bias=False)
        ### END SOLUTION

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        ### BEGIN SOLUTION
        return self.w_out(F.silu(self.w_gate(x)) * self.w_in(x))
        ### END SOLUTION


class TransformerBlock(nn.Module):
    """Attention, then the feed-forward layer, each added to the residual stream.

        norm_first=True    x = x + attention(norm_1(x));   x = x + feed_forward(norm_2(x))
        norm_first=False   x = norm_1(x + attention(x));   x = norm_2(x + feed_forward(x))

    Pre-norm leaves the residual stream untouched from the first layer to the last, which is why deep stacks train
    without a warm-up; post-norm is the 2017 original.

    Submodules: `attention` (MultiHeadAttention with biases), `norm_1` (LayerNorm), `feed_forward` (FeedForward with
    exact GELU), `norm_2` (LayerNorm). A deep copy is a layer of its own.
    Shapes: x (b, t, d_model); mask broadcasting to (b, n_heads, t, t), True = may attend, no mask = everything may
    -> (b, t, d_model). Source: Vaswani et al. 2017, section 3.1; Xiong et al. 2020, table 1.
    """

    def __init__(self, d_model: int, n_heads: int, d_ff: int, norm_first: bool = True):
        super().__init__()
        ### BEGIN SOLUTION
        self.norm_first = norm_first
        self.attention = MultiHeadAttention(d_model, n_heads)
        self.norm_1 = LayerNorm(d_model)
        self.feed_forward = FeedForward(d_model, d_ff)
        self.norm_2 = LayerNorm(d_model)
        ### END SOLUTION

    def forward(self, x: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        ### BEGIN SOLUTION
        if self.norm_first:
            x = x + self.attention(self.norm_1(x), mask=mask)
            return x + self.feed_forward(self.norm_2(x))
        x = self.norm_1(x + self.attention(x, mask=mask))
        return self.norm_2(x + self.feed_forward(x))
        ### END SOLUTION


class CacheInfo(NamedTuple):
    """How a memoized function was used: calls answered from memory, and calls that had to run the function."""

    hits: int
    misses: int


def memoize(function: Callable[..., Any]) -> Callable[..., Any]:
    """A decorator that calls `function` once per distinct set of hashable arguments and remembers what it returned.

    - Two calls are the same when their positional arguments are equal in order and their keyword arguments are equal by
      name, in whatever order the keywords come. A positional argument and a keyword are different things:
      `f(("a", 1))` is not `f(a=1)`. Left open: whether `f(1)` and `f(x=1)` share an entry, and whether equal arguments
      of different types (1, 1.0, True) do, as they would as keys of a dict.
    - Any value is remembered, None and False too. A call that raises is not remembered: the next one runs again. It is
      no hit; whether it counts as a miss is left open.
    - The memory has no bounds, and a call is found in it as quickly when it is large, as a key is in a dict.
    - An unhashable argument, such as a list, is a TypeError, and `function` does not run.
    - Each decorated function has a memory of its own, which its own recursive calls use as well.
    - `decorated.cache_info()` returns `CacheInfo(hits, misses)`; name and docstring of `function` are kept.
    """
    ### BEGIN SOLUTION
    results: dict[Hashable, Any] = {}
    hits = misses = 0

    @functools.wraps(function)
    def remembering(*args: Any, **kwargs: Any) -> Any:
        nonlocal hits, misses
        key = args, frozenset(kwargs.items())
        if key in results:
            hits += 1
        else:
            misses += 1
            results[key] = function(*args, **kwargs)
        return results[key]

    remembering.cache_info = lambda: CacheInfo(hits, misses)
    return remembering
    ### END SOLUTION


def residual_path_counts(n_layers: int) -> list[int]:
    """How many paths through a residual stack go through exactly 0, 1, ..., n_layers layers.

    At each layer x + f(x) a path goes through f or around it, so there are 2^n_layers paths in all: far too many to
    walk. Build the counts of n layers from those of n - 1 layers instead. With no layers there is one path, of
    length 0.

    Returns n_layers + 1 exact Python ints, for stacks of hundreds of layers too. ValueError where n_layers is negative.
    Source: Veit et al. 2016, section 3.
    """
    ### BEGIN SOLUTION
    if n_layers < 0:
        raise ValueError(f"n_layers must not be negative, as {n_layers} is")
    counts = [1]
    for _ in range(n_layers):
        counts = [around + through for around, through in zip([*counts, 0], [0, *counts])]
    return counts
    ### END SOLUTION


def optimal_checkpoints(costs: Sequence[float], n_segments: int) -> tuple[list[int], float]:
    """Split consecutive layers into at most `n_segments` segments so that the most expensive one is as cheap as can be.

    With activations kept only where segments begin, the backward pass recomputes one segment at a time, so the largest
    segment's cost (the memory of its activations) is the peak. There are exponentially many splits, but few smaller
    problems: the best split of the first `end` layers into at most s segments, for each `end` and s.

    Returns `(boundaries, peak)`: boundaries begin with 0, rise strictly and end with len(costs), and segment i is
    `costs[boundaries[i]:boundaries[i + 1]]`; peak is the largest segment's total. Where several splits are equally good
    any of them will do. No layers at all: `([0], 0)`. Integer costs give an exact integer peak.

    ValueError where a cost is negative or n_segments is below 1. The work is polynomial: a hundred layers are
    no trouble.
    Source: Chen et al. 2016, section 4, gives the idea; the dynamic programme is the classic linear partition.
    """
    ### BEGIN SOLUTION
    if n_segments < 1:
        raise ValueError(f"n_segments must be at least 1, not {n_segments}")
    if any(cost < 0 for cost in costs):
        raise ValueError(f"costs must not be negative, as {min(costs)} is")
    # The last segment of the best split of `end` layers begins at some `start`, after the best split of `start` layers
    # into one segment less: peak(end, s) = min over start of max(peak(start, s - 1), cost of layers start..end-1).
    n = len(costs)
    total = [0, *accumulate(costs)]  # total[end] - total[start] is the cost of layers start..end-1
    peak = total  # peak[end] for the first `end` layers in one segment
    starts = []  # starts[s][end]: where the last of at most s + 2 segments begins
    for _ in range(1, min(n_segments, n)):
        best = [(0, 0)] + [
            min((max(peak[start], total[end] - total[start]), start) for start in range(end)) for end in range(1, n + 1)
        ]
        peak = [value for value, _ in best]
        starts.append([start for _, start in best])

    boundaries = [n]
    while boundaries[0] > 0:
        boundaries.insert(0, starts.pop()[boundaries[0]] if starts else 0)
    return boundaries, max((sum(costs[start:end]) for start, end in pairwise(boundaries)), default=0)
    ### END SOLUTION
