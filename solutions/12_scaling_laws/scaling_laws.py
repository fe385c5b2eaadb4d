"""Scaling: what a model costs before it is built, how good it will be, and how to make it fit.

Large models are planned on paper. Three kinds of arithmetic go into the plan, and this file has one part for each.

    cost        operations counted rather than timed; how they grow (a slope on log-log paper); whether the processor
                or its memory is the limit (the roofline, Williams et al. 2009)
    loss        L(N, D) = E + A / N^alpha + B / D^beta for N parameters and D tokens, fitted to small runs and read off
                for large ones (Hoffmann et al. 2022, "Training compute-optimal large language models": Chinchilla)
    fit         low-rank updates (LoRA, Hu et al. 2021) and eight-bit weights for one machine; a ring of machines that
                add up their gradients, and a layer cut among them (Megatron-LM, Shoeybi et al. 2019)

A flop is one floating-point operation; a multiply-add is two. Bandwidth is in bytes a second, loss in nats a token.
Not handled here: pipelines, sharded optimizer states, and what a network's latency does to all this.
"""

import copy
import math
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import NamedTuple

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn


class ChinchillaParams(NamedTuple):
    """The five constants of L(N, D) = E + A / N^alpha + B / D^beta."""

    E: float  # the loss that no model gets below: the entropy of text
    A: float
    B: float
    alpha: float  # what parameters buy
    beta: float  # what tokens buy


HOFFMANN = ChinchillaParams(E=1.69, A=406.4, B=410.7, alpha=0.34, beta=0.28)  # Hoffmann et al. 2022, equation 10


def fit_power_law(x: Sequence[float] | Tensor, y: Sequence[float] | Tensor) -> tuple[float, float]:
    """The power law y ≈ coefficient · x^exponent through the points (x[i], y[i]): `(coefficient, exponent)`, two floats.

    On log-log paper a power law is a straight line. This is the line with the least sum of squares of the vertical
    distances, log y[i] - log(coefficient · x[i]^exponent), all points counting alike.

    x and y are sequences of numbers (Python's ints may be larger than 64 bits) or 1-D tensors. Computed in float64.
    Raises ValueError when they differ in length, when a number is not positive and finite, and when there are fewer than
    two different values in x.
    """
    ### BEGIN SOLUTION
    xs, ys = [float(v) for v in x], [float(v) for v in y]
    if len(xs) != len(ys) or len(set(xs)) < 2:
        raise ValueError(f"x and y must be of one length, with two different x at least, got {len(xs)} and {len(ys)} numbers")
    if not all(0 < v < math.inf for v in xs + ys):
        raise ValueError("x and y must be positive and finite: a power law has no other values")
    log_x, log_y = torch.tensor([xs, ys], dtype=torch.float64).log()
    centred = log_x - log_x.mean()
    exponent = (centred @ (log_y - log_y.mean()) / (centred @ centred)).item()
    return math.exp(log_y.mean().item() - exponent * log_x.mean().item()), exponent
    ### END SOLUTION


def growth_exponent(function: Callable[[int], float], sizes: Sequence[int]) -> float:
    """The p for which the cost function(n) grows like n^p: the least-squares slope of log cost against log n, a float.

    Big-O, measured: count operations, bytes or comparisons rather than seconds, and the answer is the same on every
    machine. `function` is called once for each of the sizes, with that very number, and returns its cost, a number.
    Terms of lower order pull the slope away from the textbook's p; larger sizes bring it back.

    Raises ValueError when there are fewer than two different sizes, or when a size or a cost is not positive and finite.
    """
    ### BEGIN SOLUTION
    return fit_power_law(sizes, [function(size) for size in sizes])[1]
    ### END SOLUTION


def transformer_flops(config, seq_len: int) -> int:
    """Floating-point operations of the matrix products in one forward pass of module 05's `MiniGPT`, for one sequence.

    `config` is a `GPTConfig` or anything else with its attributes. Counted are, with two operations a multiply-add and
    for all `seq_len` positions:

    - every linear layer: the four of attention, the two of the feed-forward layer, and `lm_head`, tied or not
    - in attention, q kᵀ and weights · v, both in full: the causal mask hides scores, it does not save any

    Not counted: looking up embeddings, adding biases, norms, GELU, softmax, masks. The result is an exact int, for the
    largest models too.

    Raises ValueError when seq_len is not from 1 to `config.context_length`.
    """
    ### BEGIN SOLUTION
    if not 1 <= seq_len <= config.context_length:
        raise ValueError(f"seq_len must be from 1 to the context length of {config.context_length}, got {seq_len}")
    d, t = config.d_model, seq_len
    weights = config.n_layers * (4 * d * d + 2 * d * config.d_ff) + config.vocab_size * d  # each used once a token
    attention = config.n_layers * 2 * t * t * d  # all heads together: n_heads · head_dim is d
    return 2 * (t * weights + attention)
    ### END SOLUTION


def training_flops(n_params, n_tokens):
    """6 · N · D, the operations of training N parameters on D tokens.

    Two for the forward pass, since each weight is multiplied and added once a token, and twice as many for the backward
    pass, which needs the gradient by the inputs and the one by the weights. Attention's own products are left out.

    Ints give an exact int, however large; floats give a float, and tensors, which broadcast, a tensor.
    Source: Kaplan et al. 2020, section 2.1.
    """
    ### BEGIN SOLUTION
    return 6 * n_params * n_tokens
    ### END SOLUTION


def arithmetic_intensity(m: int, n: int, k: int, bytes_per_element: float = 2) -> float:
    """Operations for each byte moved by a matrix product (m, k) @ (k, n), in flops a byte: a float.

    2 · m · n · k operations; each of the three matrices, the result too, crosses the memory's bus once. The sides of a
    square product cancel but for one: n = 1024 in two bytes has 341. A matrix times a vector has about 1.

    Raises ValueError when m, n or k is less than 1 or bytes_per_element is not positive.
    """
    ### BEGIN SOLUTION
    if min(m, n, k) < 1 or not bytes_per_element > 0:
        raise ValueError(f"sizes and bytes must be positive, got m={m}, n={n}, k={k}, bytes_per_element={bytes_per_element}")
    return 2 * m * n * k / (bytes_per_element * (m * k + k * n + m * n))
    ### END SOLUTION


def roofline(intensity, peak_flops, bandwidth):
    """The operations a second that a machine can reach at this intensity: min(peak_flops, intensity · bandwidth).

    intensity is in flops a byte, peak_flops in flops a second, bandwidth in bytes a second. To the left of the ridge, at
    peak_flops / bandwidth, memory is the limit; to its right, arithmetic.

    Numbers give a Python number. Where any argument is a tensor, all of them broadcast and the result is a tensor of the
    dtype that PyTorch's own arithmetic on them has. Raises ValueError when an intensity is negative, or a peak or a
    bandwidth not positive, in any entry, NaN included.
    Source: Williams, Waterman & Patterson 2009.
    """
    ### BEGIN SOLUTION
    for name, fine in (("intensity", intensity >= 0), ("peak_flops", peak_flops > 0), ("bandwidth", bandwidth > 0)):
        if not torch.as_tensor(fine).all():
            raise ValueError(f"{name} must be positive")
    limited = intensity * bandwidth
    below = limited < peak_flops
    return torch.where(below, limited, peak_flops) if isinstance(below, Tensor) else min(limited, peak_flops)
    ### END SOLUTION


def chinchilla_loss(n, d, params: Sequence[float]):
    """L(n, d) = E + A / n^alpha + B / d^beta, the loss that n parameters reach on d tokens.

    params is a `ChinchillaParams` or any other sequence of five numbers in its order. n and d are positive: numbers give
    a float; tensors of floats broadcast, keep their dtype, and let gradients through.
    Source: Hoffmann et al. 2022, equation 2.
    """
    ### BEGIN SOLUTION
    E, A, B, alpha, beta = params
    return E + A / n**alpha + B / d**beta
    ### END SOLUTION


def fit_chinchilla(runs: Sequence[tuple[float, float, float]] | Tensor) -> ChinchillaParams:
    """The five constants of `chinchilla_loss` from training runs `(n, d, loss)`: Hoffmann et al.'s third approach.

    With the logarithms a = log A, b = log B and e = log E, so that A, B and E stay positive, the prediction is

        log L(n, d) = logsumexp(a - alpha log n, b - beta log d, e)

    and the constants are those with the least sum over all runs of Huber(log L(n, d) - log loss), where

        Huber(r) = r²/2 for |r| <= delta, delta (|r| - delta/2) beyond,    delta = 0.001

    so that a run which went wrong pulls with no more than delta. The sum has several valleys: start from many places, and
    keep the best. A few dozen are enough; it is a matter of seconds.

    Promised for at least 16 runs over a grid that spans a factor of 30 or more in n and in d, with losses made by the
    formula (E from 0.5 to 4, A and B from 20 to 5000, alpha and beta from 0.2 to 0.6) in which each of the three terms is
    a tenth of the loss or more in some run. Without noise, the constants come back to one part in a thousand. With noise
    of up to a hundredth and some outliers, the sum is within one part in a hundred of the least there is.

    runs is a sequence of triples or a tensor (n_runs, 3). Returns five floats, as a `ChinchillaParams` or another tuple in
    its order. Raises ValueError when there are fewer than five runs, or when a number is not positive and finite.
    Source: Hoffmann et al. 2022, section 3.3 and appendix D.3.
    """
    ### BEGIN SOLUTION
    table = torch.tensor([[float(v) for v in run] for run in runs], dtype=torch.float64)  # (k, 3)
    if len(table) < 5 or not ((table > 0) & table.isfinite()).all():
        raise ValueError(f"runs must be five triples (n, d, loss) of positive numbers at least, got {len(table)}")
    log_n, log_d, log_loss = table.log().T  # (k,) each
    middle_n, middle_d, middle_loss = log_n.mean(), log_d.mean(), log_loss.mean()
    x, y = log_n - middle_n, log_d - middle_d
    delta = 1e-3

    # A start says how steep the two terms are and how the loss in the middle of the runs is shared among the three.
    slopes = torch.tensor([0.25, 0.5], dtype=torch.float64)
    shares = torch.tensor([[0.33, 0.33, 0.34], [0.6, 0.1, 0.3], [0.1, 0.6, 0.3]], dtype=torch.float64).log()
    steep = torch.cartesian_prod(slopes, slopes)
    theta = torch.cat([(middle_loss + shares).repeat(4, 1), steep.repeat_interleave(3, dim=0)], dim=1)  # (12, 5)

    def residuals(theta):
        """(starts, k) differences of logarithms, and the (starts, k, 5) derivatives: logsumexp's are softmax."""
        a, b, e, alpha, beta = theta.T[..., None]
        terms = torch.stack([a - alpha * x, b - beta * y, e.expand(-1, len(x))], dim=-1)  # (starts, k, 3)
        share = terms.softmax(-1)
        steepness = torch.stack([-share[..., 0] * x, -share[..., 1] * y], dim=-1)
        return terms.logsumexp(-1) - log_loss, torch.cat([share, steepness], dim=-1)

    def huber(r):
        size = r.abs()
        return torch.where(size <= delta, r.square() / 2, delta * (size - delta / 2)).sum(-1)

    # Levenberg-Marquardt on weighted squares: beyond delta a residual counts as if it were just delta long.
    damping = torch.full((len(theta), 1), 1e-2, dtype=torch.float64)
    r, jacobian = residuals(theta)
    for _ in range(150):
        weighted = jacobian * (delta / r.abs().clamp(min=delta))[..., None]
        curvature, gradient = weighted.mT @ jacobian, (weighted.mT @ r[..., None]).squeeze(-1)
        diagonal = curvature.diagonal(dim1=1, dim2=2)
        step = torch.linalg.solve(curvature + torch.diag_embed(damping * diagonal + 1e-12), gradient)
        if step.abs().nan_to_num().max() < 1e-5:  # every start has arrived
            break
        moved = theta - step
        new_r, new_jacobian = residuals(moved)
        better = huber(new_r) < huber(r)
        theta = torch.where(better[:, None], moved, theta)
        r = torch.where(better[:, None], new_r, r)
        jacobian = torch.where(better[:, None, None], new_jacobian, jacobian)
        damping = torch.where(better[:, None], damping / 3, damping * 4).clamp(1e-9, 1e9)

    a, b, e, alpha, beta = theta[huber(r).argmin()]
    constants = e.exp(), (a + alpha * middle_n).exp(), (b + beta * middle_d).exp(), alpha, beta
    return ChinchillaParams(*(value.item() for value in constants))
    ### END SOLUTION


def compute_optimal(c, params: Sequence[float]):
    """The best way to spend c operations of training: `(n, d)`, the least `chinchilla_loss` with 6 · n · d = c.

        n = G (c/6)^(beta / (alpha + beta)),   d = (c/6)^(alpha / (alpha + beta)) / G

    with G = (alpha A / (beta B))^(1 / (alpha + beta)).

    c is a positive number (an int may be longer than 64 bits), and n and d are floats (no whole ones: nothing is rounded);
    or a tensor of floats, and they are tensors like it. params as in `chinchilla_loss`. Raises ValueError when c is not positive.
    Source: Hoffmann et al. 2022, equation 4.
    """
    ### BEGIN SOLUTION
    E, A, B, alpha, beta = params
    if not torch.as_tensor(c > 0).all():
        raise ValueError(f"c must be positive, got {c}")
    G = (alpha * A / (beta * B)) ** (1 / (alpha + beta))
    n = G * (c / 6) ** (beta / (alpha + beta))
    return n, c / 6 / n
    ### END SOLUTION


class LoRALinear(nn.Module):
    """A frozen linear layer and a trainable update of low rank: y = base(x) + (alpha / rank) · x lora_aᵀ lora_bᵀ.

    `base` is the very `nn.Linear` that was given; its weight and bias, if it has one, no longer require gradients.
    `lora_a` (rank, in_features) starts with independent normal numbers of mean 0 and standard deviation
    1 / sqrt(in_features), `lora_b` (out_features, rank) with zeros, so the layer starts as base. Both are parameters of
    base's dtype and on its device, and there are no other parameters or buffers.

    Every draw comes from `generator`; PyTorch's global random state is used only when there is none.
    Raises TypeError when base is not an `nn.Linear`, and ValueError when rank is not a positive whole number; base is then
    as it was.
    Source: Hu et al. 2021, section 4.1.
    """

    def __init__(self, base: nn.Linear, rank: int, alpha: float, generator: torch.Generator | None = None) -> None:
        super().__init__()
        ### BEGIN SOLUTION
        if not isinstance(base, nn.Linear):
            raise TypeError(f"base must be an nn.Linear, not {type(base).__name__}")
        if not isinstance(rank, int) or rank < 1:
            raise ValueError(f"rank must be a positive whole number, got {rank!r}")
        self.base = base.requires_grad_(False)
        self.scale = alpha / rank
        n_out, n_in = base.weight.shape
        self.lora_a = nn.Parameter(base.weight.new_empty(rank, n_in).normal_(std=n_in**-0.5, generator=generator))
        self.lora_b = nn.Parameter(base.weight.new_zeros(n_out, rank))
        ### END SOLUTION

    def forward(self, x: Tensor) -> Tensor:
        """(..., in_features) -> (..., out_features).

        The update is two thin products, rank · (in_features + out_features) multiply-adds a row beside base's own: the
        product of lora_b and lora_a is not formed here.
        """
        ### BEGIN SOLUTION
        return self.base(x) + self.scale * (x @ self.lora_a.mT @ self.lora_b.mT)
        ### END SOLUTION

    def merged_weight(self) -> Tensor:
        """base's weight with the update added, (out_features, in_features): a new tensor. The layer stays as it is."""
        ### BEGIN SOLUTION
        return self.base.weight + self.scale * (self.lora_b @ self.lora_a)
        ### END SOLUTION

    def merge(self) -> nn.Linear:
        """A plain `nn.Linear` that computes the same, in base's dtype and on its device, with a bias if base has one.

        It shares no memory with this layer, which stays as it is. Whether its parameters require gradients is left open.
        """
        ### BEGIN SOLUTION
        merged = copy.deepcopy(self.base)
        with torch.no_grad():
            merged.weight.copy_(self.merged_weight())
        return merged
        ### END SOLUTION


def replace(model: nn.Module, path: str, layer: nn.Module) -> None:
    """Put another layer at this path of the model; given. Lists and dicts of modules know their entries by name, too."""
    parent, _, name = path.rpartition(".")
    setattr(model.get_submodule(parent), name, layer)


def inject_lora(
    model: nn.Module, names: Collection[str], rank: int, alpha: float, generator: torch.Generator | None = None
) -> list[str]:
    """Replace linear layers of the model by `LoRALinear`s around them, in place; freeze everything else.

    Replaced is every `nn.Linear` whose own name, the last part of its path, is one of `names`: with ("w_q", "w_v"), all
    paths that end in those. The `base` of a `LoRALinear` is not one of them. A layer that is found at several such paths
    gets one `LoRALinear`, which stands at all of them.

    Afterwards only `lora_a` and `lora_b` require gradients, those of an earlier injection as well.

    Returns the paths that were replaced, in the order of `model.named_modules(remove_duplicate=False)`; new layers draw
    from `generator` in that order. Raises ValueError when nothing matches, or for a rank that `LoRALinear` refuses; the model
    is then as it was.
    """
    ### BEGIN SOLUTION
    found = {}
    for path, layer in model.named_modules(remove_duplicate=False):
        parent, _, name = path.rpartition(".")
        if isinstance(layer, nn.Linear) and name in names and not isinstance(model.get_submodule(parent), LoRALinear):
            found[path] = layer
    if not found:
        raise ValueError(f"no linear layer of the model is called {' or '.join(names)}")
    adapters = {layer: LoRALinear(layer, rank, alpha, generator) for layer in dict.fromkeys(found.values())}
    model.requires_grad_(False)
    for path, layer in found.items():
        replace(model, path, adapters[layer])
    for module in model.modules():
        if isinstance(module, LoRALinear):
            module.lora_a.requires_grad_(), module.lora_b.requires_grad_()
    return list(found)
    ### END SOLUTION


def merge_lora(model: nn.Module) -> list[str]:
    """Replace every `LoRALinear` in the model by what its `merge` gives, in place: plain layers, the same outputs.

    The keys of the state_dict are then those from before the injection. One that stands at several paths becomes one
    plain layer at all of them. What lies outside stays as it is, the weight that a merged layer was tied to as well.

    Returns the paths in the order of `model.named_modules(remove_duplicate=False)`. Raises ValueError when the model has
    no `LoRALinear` in it.
    """
    ### BEGIN SOLUTION
    found = {path: m for path, m in model.named_modules(remove_duplicate=False) if path and isinstance(m, LoRALinear)}
    if not found:
        raise ValueError("the model has no LoRALinear in it")
    plain = {layer: layer.merge() for layer in dict.fromkeys(found.values())}
    for path, layer in found.items():
        replace(model, path, plain[layer])
    return list(found)
    ### END SOLUTION


def quantize_int8(weight: Tensor) -> tuple[Tensor, Tensor]:
    """Eight bits a weight: `(q, scale)` with weight ≈ q · scale, one scale for each row.

    weight `(..., n)` with n at least 1 -> q of the same shape, int8, and scale `(..., 1)`. A row's scale is its largest
    absolute value divided by 127; q is weight / scale rounded to the nearest whole number, halves to the even one. So q
    lies in -127 .. 127, a zero stays a zero, and no weight moves by more than half a scale. A row of zeros has q = 0 and
    some finite scale.

    Computed in float64 for float64 weights and in float32 for all others; scale has that dtype.
    Raises ValueError when a weight is infinite or NaN.
    """
    ### BEGIN SOLUTION
    if not weight.isfinite().all():
        raise ValueError("weight must be finite")
    weight = weight if weight.dtype == torch.float64 else weight.float()
    scale = weight.abs().amax(-1, keepdim=True) / 127  # (..., 1)
    q = (weight / torch.where(scale > 0, scale, 1)).round().clamp(-127, 127)
    return q.to(torch.int8), scale
    ### END SOLUTION


def pass_on(messages: list[Tensor]) -> list[Tensor]:
    """The network of a ring, given: what rank r sends arrives, as a copy, at rank r + 1; the last one's at rank 0."""
    return [message.clone() for message in messages[-1:] + messages[:-1]]


def ring_all_reduce(
    chunks: Sequence[Sequence[Tensor]], exchange: Callable[[list[Tensor]], list[Tensor]] = pass_on
) -> list[list[Tensor]]:
    """The sum over all ranks, at every rank, each one sending to its right neighbour only.

    `chunks[r]` is what rank r begins with: a vector cut into p chunks, p being the number of ranks. Chunk c has the same
    shape at every rank; different chunks may have different shapes, empty ones too. Result `[r][c]` is the sum over s of
    `chunks[s][c]`, for every r alike.

    A rank knows its own chunks and what arrives. `exchange(messages)` is the network: `messages[r]` is the one chunk (or
    partial sum of one) that rank r sends to rank r + 1, and rank 0 gets the last one's; what it returns holds at r what
    rank r received. It is called 2 (p - 1) times:

        reduce-scatter   p - 1 times. Each rank passes on a partial sum, and adds its own chunk to the one that arrives;
                         then each rank holds one chunk's whole sum
        all-gather       p - 1 times. Each rank passes on a whole sum, and keeps the one that arrives

    so every chunk crosses each of the ring's links but one in each phase: whatever p is, a rank sends less than twice its
    vector, 2 (p - 1) / p of it when chunks are equal. A single rank sends nothing.

    `chunks` stay as they are, the results share no memory with them, and the dtype is kept. Raises ValueError when there
    are no ranks, a rank does not have p chunks, or a chunk's shape differs between ranks.
    Source: Patarasuk & Yuan 2009.
    """
    ### BEGIN SOLUTION
    p = len(chunks)
    shapes = [[chunk.shape for chunk in own] for own in chunks]
    if p == 0 or any(shape != shapes[0] or len(shape) != p for shape in shapes):
        raise ValueError(f"each of the ranks must hold as many chunks as there are ranks, of the same shapes, got {shapes}")
    held = [[chunk.clone() for chunk in own] for own in chunks]
    for step in range(p - 1):
        received = exchange([held[r][(r - step) % p] for r in range(p)])
        for r in range(p):
            held[r][(r - step - 1) % p] += received[r]
    for step in range(p - 1):  # rank r now owns the sum of chunk r + 1
        received = exchange([held[r][(r + 1 - step) % p] for r in range(p)])
        for r in range(p):
            held[r][(r - step) % p] = received[r]
    return held
    ### END SOLUTION


def column_parallel_linear(x: Tensor, weight: Tensor, bias: Tensor | None, n_shards: int) -> list[Tensor]:
    """A linear layer whose outputs are shared out among n_shards devices: a list of what each device computes.

    x `(..., in)` is at every device; weight `(out, in)` and bias `(out,)`, or None, are cut along `out` into n_shards
    contiguous parts as `torch.tensor_split` cuts them: the first out % n_shards have one row more. Shard i gives
    `(..., out_i)`, and the shards side by side are `F.linear(x, weight, bias)`. No tensor holds all outputs; nothing is
    sent. Gradients flow to x, weight and bias; backward, x's gradient is the sum of all shards'.

    Raises ValueError when n_shards is not from 1 to `out`.
    Source: Shoeybi et al. 2019, section 3 (the first layer in their figure 3a).
    """
    ### BEGIN SOLUTION
    if not 1 <= n_shards <= len(weight):
        raise ValueError(f"n_shards must be from 1 to the {len(weight)} outputs, got {n_shards}")
    biases = [None] * n_shards if bias is None else bias.tensor_split(n_shards)
    return [F.linear(x, rows, part) for rows, part in zip(weight.tensor_split(n_shards), biases, strict=True)]
    ### END SOLUTION


def row_parallel_linear(xs: Sequence[Tensor], weight: Tensor, bias: Tensor | None) -> Tensor:
    """A linear layer whose inputs lie on several devices: `F.linear` of the shards side by side, without putting them so.

    xs[i] `(..., in_i)` is at device i, as `column_parallel_linear` left it; the leading dimensions are the same for all.
    weight `(out, in)` is cut along `in` to fit, in order. Each device makes a partial output `(..., out)`; the sum of
    them, which is the one all-reduce of a parallel feed-forward layer, and the bias `(out,)`, once, or None, is the result.
    No tensor holds all inputs. Gradients flow to xs, weight and bias.

    Raises ValueError when xs is empty or the widths of xs do not add up to `in`.
    Source: Shoeybi et al. 2019, section 3 (the second layer in their figure 3a).
    """
    ### BEGIN SOLUTION
    widths = [x.shape[-1] for x in xs]
    if not widths or sum(widths) != weight.shape[1]:
        raise ValueError(f"the widths of xs must add up to {weight.shape[1]}, got {widths}")
    partial = [F.linear(x, columns) for x, columns in zip(xs, weight.split(widths, dim=1), strict=True)]
    total = sum(partial[1:], start=partial[0])  # the all-reduce
    return total if bias is None else total + bias
    ### END SOLUTION


def average_gradients(parameters: Iterable[nn.Parameter], group: dist.ProcessGroup | None = None) -> None:
    """Data parallelism in one step: every gradient becomes its mean over the processes of `group`, in place.

    Each process holds the same parameters and calls this after its own backward pass, with `torch.distributed` running;
    None is the default group. The tensor `p.grad` itself changes, whatever its strides. A parameter whose gradient is
    None counts as one of zeros and has a gradient, the mean, afterwards. Parameters that require no gradient are left
    alone, whatever they hold.

    A message has a price of its own, so gradients travel together: one collective call for each dtype that there is, and
    none where no parameter requires a gradient. `parameters` may be an iterator, such as `model.parameters()`. The
    result has no graph.
    """
    ### BEGIN SOLUTION
    buckets: dict[torch.dtype, list[Tensor]] = {}
    for p in parameters:
        if p.requires_grad:
            if p.grad is not None and p.grad.grad_fn is not None:
                p.grad.detach_()  # it is what backward(create_graph=True) left
            p.grad = torch.zeros_like(p) if p.grad is None else p.grad
            buckets.setdefault(p.grad.dtype, []).append(p.grad.detach())
    for grads in buckets.values():
        bucket = torch.cat([grad.flatten() for grad in grads])
        dist.all_reduce(bucket, group=group)
        bucket /= dist.get_world_size(group)
        for grad, mean in zip(grads, bucket.split([grad.numel() for grad in grads]), strict=True):
            grad.copy_(mean.view(grad.shape))
    ### END SOLUTION
