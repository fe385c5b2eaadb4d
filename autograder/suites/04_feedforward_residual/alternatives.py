"""Unusual right solutions: each must get full marks."""

import torch
from torch import nn

from autograder.testing.variants import alternative, edit

ALTERNATIVES = [
    edit(
        "weights_made_by_hand",
        "LayerNorm",
        "torch.var_mean with correction=0, and addcmul for the affine part.",
        (
            "centred = z - z.mean(-1, keepdim=True)  # (..., d)",
            "variance, mean = torch.var_mean(z, -1, correction=0, keepdim=True)",
        ),
        ("        variance = centred.square().mean(-1, keepdim=True)  # (..., 1)\n", ""),
        ("normal = centred *", "normal = (z - mean) *"),
        ("(normal * self.weight + self.bias)", "torch.addcmul(self.bias, normal, self.weight)"),
    ),
    edit(
        "rounded_before_the_weight",
        "RMSNorm",
        "Rounds to x's dtype before the weight is applied, as Llama does.",
        ("return (normal * self.weight).to(x.dtype)", "return self.weight.to(x.dtype) * normal.to(x.dtype)"),
    ),
    edit(
        "power_of_minus_a_half",
        "RMSNorm",
        "A negative power for the root, and a norm for the mean square.",
        ("z.square().mean(-1, keepdim=True)", "(torch.einsum('...d,...d->...', z, z) / x.shape[-1]).unsqueeze(-1)"),
        ("torch.rsqrt(", "torch.pow(exponent=-0.5, input="),
    ),
]


@alternative("gelu", "The normal distribution's own function, and tanh(z) = 2 sigmoid(2z) - 1.")
def gelu_by_other_functions(x, approximate="none"):
    if approximate not in ("none", "tanh"):
        raise TypeError(approximate)
    if approximate == "none":
        return x * torch.special.ndtr(x)
    return x * torch.sigmoid(x * (1 + 0.044715 * x.square()) * math.sqrt(8 / math.pi))


@alternative("gelu", "Computed in float64 whatever comes in, erfc for the tail, and an extra keyword.")
def gelu_in_float64(x, approximate="none", *, inner=torch.float64):
    z = x.to(inner)
    match approximate:
        case "none":
            y = z * torch.erfc(-z * 0.5**0.5) / 2
        case "tanh":
            y = z / 2 + z / 2 * torch.tanh((2 / torch.pi) ** 0.5 * (z + 0.044715 * z * z * z))
        case _:
            raise ValueError("no such approximation")
    return y.to(x.dtype)


@alternative("LayerNorm", "Every row on its own, in a loop, in float64.")
class LayerNormByRows(nn.Module):
    def __init__(self, d_model, eps=1e-5):
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(d_model))
        self.weight = nn.Parameter(torch.ones(d_model))
        self.register_buffer("epsilon", torch.tensor(eps, dtype=torch.float64), persistent=False)
        self.eps = eps
        self.d_model = d_model

    def forward(self, x):
        if x.ndim == 0 or x.size(-1) != self.d_model:
            raise IndexError(f"the last dimension should be {self.d_model}")
        rows = []
        for row in x.reshape(-1, self.d_model).double():
            centred = row - row.sum() / self.d_model
            deviation = (centred @ centred / self.d_model + self.eps).sqrt()
            rows.append(centred / deviation * self.weight.double() + self.bias.double())
        return torch.stack(rows).reshape(x.shape).to(x.dtype) if rows else x + 0 * self.bias


@alternative("LayerNorm", "Centring as a matrix, the length by a norm; the parameters through register_parameter.")
class LayerNormByProjection(nn.Module):
    def __init__(self, d_model: int, eps: float = 1e-5):
        super().__init__()
        for name, value in (("weight", 1.0), ("bias", 0.0)):
            self.register_parameter(name, nn.Parameter(torch.full((d_model,), value)))
        self.eps = eps

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        d = self.weight.shape[0]
        if tuple(x.shape[-1:]) != (d,):
            raise ValueError("x has another width")
        z = x.to(torch.float32) if x.dtype.itemsize < 4 else x
        z = z - z[..., :1].detach()
        centred = z @ (torch.eye(d, dtype=z.dtype) - 1 / d)
        centred = centred - centred.mean(dim=-1, keepdim=True)
        squares = torch.sum(centred * centred, dim=-1, keepdim=True) / d
        y = torch.div(centred, torch.sqrt(squares + self.eps))
        return torch.add(torch.mul(y, self.weight.to(z.dtype)), self.bias.to(z.dtype)).type(x.dtype)


@alternative("layer_norm_backward", "In NumPy, in float64, with the full Jacobian of every row.")
def backward_by_jacobian(grad_output, x, weight, eps):
    import numpy as np

    d = x.shape[-1]
    rows, grads = (t.detach().double().numpy().reshape(-1, d) for t in (x, grad_output))
    dx, dweight = np.zeros_like(rows), np.zeros(d)
    for i, (row, grad) in enumerate(zip(rows, grads)):
        centred = row - row.mean()
        deviation = np.sqrt((centred**2).mean() + eps)
        jacobian = (np.eye(d) - 1 / d) / deviation - np.outer(centred, centred) / (d * deviation**3)
        dx[i] = jacobian.T @ (grad * weight.detach().double().numpy())
        dweight += grad * centred / deviation
    results = (dx.reshape(tuple(x.shape)), dweight, grads.sum(0))
    return [torch.from_numpy(np.ascontiguousarray(result)).to(x.dtype) for result in results]


@alternative("layer_norm_backward", "The chain rule step by step: through the deviation, the variance and the mean.")
def backward_step_by_step(grad_output, x, weight, eps=1e-5):
    d = x.size(-1)
    mean = x.mean(dim=-1, keepdim=True)
    centred = x - mean
    variance = (centred**2).sum(dim=-1, keepdim=True) / d
    inverse = (variance + eps) ** -0.5
    d_normal = grad_output * weight
    d_inverse = (d_normal * centred).sum(dim=-1, keepdim=True)
    d_variance = -0.5 * inverse**3 * d_inverse
    d_centred = d_normal * inverse + 2 / d * centred * d_variance
    dx = d_centred - d_centred.sum(dim=-1, keepdim=True) / d
    dweight, dbias = grad_output * centred * inverse, grad_output
    while dbias.ndim > 1:
        dweight, dbias = dweight.sum(dim=0), dbias.sum(dim=0)
    return dx, dweight, dbias.clone()


@alternative("layer_norm_backward", "Sums by einsum over flattened rows; the results are views.")
def backward_by_einsum(grad_output, x, weight, eps):
    d = x.shape[-1]
    flat, grad = x.reshape(-1, d), grad_output.reshape(-1, d)
    variance, mean = torch.var_mean(flat, dim=1, correction=0, keepdim=True)
    inverse = 1 / (variance + eps).sqrt()
    normal = (flat - mean) * inverse
    g = torch.einsum("nd,d->nd", grad, weight)
    along = torch.einsum("nd,nd->n", g, normal).unsqueeze(1)
    dx = (inverse / d) * (d * g - g.sum(1, keepdim=True) - normal * along)
    both = torch.stack([torch.einsum("nd,nd->d", grad, normal), torch.einsum("nd->d", grad)], dim=1)
    return dx.view(x.shape), both[:, 0], both[:, 1]


@alternative("RMSNorm", "The vector's norm, guarded, and every row scaled in float64.")
class RMSNormByLength(nn.Module):
    def __init__(self, d_model: int, eps: float = 1e-6):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(d_model).fill_(1))
        self.eps = eps

    def forward(self, x):
        (d,) = self.weight.shape
        if not x.ndim or x.shape[-1] != d:
            raise ValueError(x.shape)
        z = x.double()
        size = (sum(z[..., i] ** 2 for i in range(d)) / d + self.eps) ** 0.5
        return (z / size[..., None] * self.weight.double()).to(x.dtype)


@alternative(
    "FeedForward", "nn.GELU modules, an expanded weighted sum over hidden units in place of the second layer's call."
)
class FeedForwardByModules(nn.Module):
    def __init__(self, d_model, d_ff, activation="gelu"):
        super().__init__()
        try:
            self.bend = {"relu": nn.ReLU(), "gelu": nn.GELU(), "gelu_tanh": nn.GELU("tanh")}[activation]
        except KeyError:
            raise ValueError(f"unknown activation {activation}") from None
        self.w_in, self.w_out = nn.Linear(d_model, d_ff), nn.Linear(d_ff, d_model)

    def forward(self, x):
        hidden = self.bend(x @ self.w_in.weight.T + self.w_in.bias)
        return torch.einsum("...f,df->...d", hidden, self.w_out.weight) + self.w_out.bias


@alternative(
    "SwiGLU", "One matrix product for both branches, silu by hand, the weights in the state dict all the same."
)
class SwiGLUInOneProduct(nn.Module):
    def __init__(self, d_model, d_ff):
        super().__init__()
        self.w_out = nn.Linear(d_ff, d_model, False)
        self.w_in = nn.Linear(d_model, d_ff, False)
        self.w_gate = nn.Linear(d_model, d_ff, False)

    def forward(self, x):
        both = x @ torch.cat([self.w_gate.weight, self.w_in.weight]).T
        gate, value = both.chunk(2, dim=-1)
        return (value * (gate * torch.sigmoid(gate))) @ self.w_out.weight.T


@alternative(
    "TransformerBlock", "Both orders in one loop over the two sublayers; attention called with an explicit context."
)
class BlockByLoop(nn.Module):
    def __init__(self, d_model: int, n_heads: int, d_ff: int, norm_first: bool = True, eps: float = 1e-5):
        super().__init__()
        self.norm_2, self.norm_1 = LayerNorm(d_model, eps), LayerNorm(d_model, eps)
        self.feed_forward = FeedForward(d_model, d_ff, activation="gelu")
        self.attention = MultiHeadAttention(d_model, n_heads, bias=True)
        self.pre = norm_first

    def forward(self, x, mask=None):
        for norm, layer in ((self.norm_1, lambda y: self.attention(y, y, mask)), (self.norm_2, self.feed_forward)):
            x = torch.add(x, layer(norm(x))) if self.pre else norm(torch.add(x, layer(x)))
        return x


@alternative(
    "TransformerBlock", "The forward is chosen when the block is built; PyTorch's own LayerNorm; a mask is always made."
)
class BlockByChoice(nn.Module):
    def __init__(self, d_model, n_heads, d_ff, norm_first=True):
        super().__init__()
        self.attention = MultiHeadAttention(d_model, n_heads)
        self.norm_1 = nn.LayerNorm(d_model)
        self.feed_forward = FeedForward(d_model, d_ff)
        self.norm_2 = nn.LayerNorm(d_model)
        self.run = self.pre_norm if norm_first else self.post_norm

    def pre_norm(self, x, mask):
        middle = self.attention(self.norm_1(x), mask=mask) + x
        return self.feed_forward(self.norm_2(middle)) + middle

    def post_norm(self, x, mask):
        middle = self.norm_1(self.attention(x, mask=mask) + x)
        return self.norm_2(self.feed_forward(middle) + middle)

    def forward(self, x, mask=None):
        t = x.shape[1]
        return self.run(x, torch.ones(t, t, dtype=torch.bool) if mask is None else mask)


@alternative("memoize", "A callable object; types are told apart; cache_info() is a dict.")
class Memory:
    def __init__(self, function):
        functools.update_wrapper(self, function)
        self.function, self.memory, self.hits = function, {}, 0

    def __call__(self, *args, **kwargs):
        types = tuple(type(arg) for arg in args)
        key = (args, types, tuple(sorted(kwargs)), tuple(kwargs[name] for name in sorted(kwargs)))
        try:
            value = self.memory[key]
        except KeyError:
            pass
        else:
            self.hits += 1
            return value
        value = self.function(*args, **kwargs)
        self.memory[key] = value
        return value

    def cache_info(self):
        return {"hits": self.hits, "misses": len(self.memory)}


@alternative(
    "memoize", "Arguments are bound to the signature, so f(1) and f(x=1) share an entry; a list of entries per hash."
)
def memoize_by_signature(function):
    import inspect
    from types import SimpleNamespace

    signature = inspect.signature(function)
    info = SimpleNamespace(hits=0, misses=0)
    buckets = {}

    @functools.wraps(function)
    def wrapper(*args, **kwargs):
        bound = signature.bind(*args, **kwargs)
        bound.apply_defaults()
        key = []
        for name, value in bound.arguments.items():
            if signature.parameters[name].kind is inspect.Parameter.VAR_KEYWORD:
                value = frozenset(value.items())
            key.append((name, value))
        bucket = buckets.setdefault(hash(tuple(key)), [])
        for known, value in bucket:
            if known == key:
                info.hits += 1
                return value
        info.misses += 1
        value = function(*args, **kwargs)
        bucket.append((key, value))
        return value

    wrapper.cache_info = lambda: info
    return wrapper


@alternative("memoize", "A trie of dictionaries, one level an argument, with a marker between positions and keywords.")
def memoize_by_trie(function):
    root, marker, leaf, counts = {}, object(), object(), [0, 0]

    def remembered(*args, **kwargs):
        node = root
        for part in (*args, marker, *(x for name in sorted(kwargs) for x in (name, kwargs[name]))):
            node = node.setdefault(part, {})
        if leaf in node:
            counts[0] += 1
            return node[leaf]
        counts[1] += 1
        result = function(*args, **kwargs)
        node[leaf] = result
        return result

    remembered.__name__, remembered.__doc__ = function.__name__, function.__doc__
    remembered.cache_info = lambda: tuple(counts)
    return remembered


@alternative("residual_path_counts", "Top-down, memoized, by the recursion as it stands.")
def paths_by_recursion(n_layers):
    if n_layers < 0:
        raise IndexError("no such stack")

    @functools.wraps(residual_path_counts)
    def row(n):
        if n == 0:
            return (1,)
        above = row(n - 1)
        return tuple(above[k - 1] * (k > 0) + (above[k] if k < n else 0) for k in range(n + 1))

    return row(n_layers)


@alternative("residual_path_counts", "One row, changed in place from the right.")
def paths_in_place(n_layers):
    if n_layers < 0:
        raise ValueError(n_layers)
    counts = [1] + [0] * n_layers
    for layer in range(n_layers):
        for k in range(layer + 1, 0, -1):
            counts[k] += counts[k - 1]
    return counts


@alternative("residual_path_counts", "The coefficients of (1 + x)^n, read from one large integer's digits.")
def paths_from_digits(n_layers):
    if n_layers < 0:
        raise ValueError("n_layers")
    shift = n_layers + 1
    power = (1 + (1 << shift)) ** n_layers
    return [(power >> (shift * k)) & ((1 << shift) - 1) for k in range(n_layers + 1)]


@alternative("optimal_checkpoints", "Top-down with a memory of its own; ties go to the right.")
def checkpoints_top_down(costs, n_segments):
    if n_segments <= 0 or min(costs, default=0) < 0:
        raise ValueError("bad arguments")
    costs, memory = tuple(costs), {}

    def best(start, segments):
        if start == len(costs):
            return 0, (start,)
        if segments == 1:
            return sum(costs[start:]), (start, len(costs))
        if (start, segments) not in memory:
            options, filled = [], 0
            for end in range(start + 1, len(costs) + 1):
                filled += costs[end - 1]
                rest, cuts = best(end, segments - 1)
                options.append((max(filled, rest), -end, (start, *cuts)))
            peak, _, cuts = min(options)
            memory[start, segments] = peak, cuts
        return memory[start, segments]

    peak, boundaries = best(0, n_segments)
    return boundaries, peak


@alternative(
    "optimal_checkpoints",
    "Every segment's total is a candidate; bisection finds the smallest that greedy filling can keep.",
)
def checkpoints_by_bisection(costs, n_segments):
    if n_segments < 1 or any(c < 0 for c in costs):
        raise ValueError("bad arguments")
    n = len(costs)
    if n == 0:
        return [0], 0

    def fill(limit):
        boundaries, filled = [0], 0
        for i, cost in enumerate(costs):
            if filled + cost > limit and i > boundaries[-1]:
                boundaries.append(i)
                filled = 0
            filled += cost
        return [*boundaries, n]

    limits = sorted({sum(costs[a:b]) for a in range(n) for b in range(a + 1, n + 1)} if n < 20 else set())
    limits = [limit for limit in limits if limit >= max(costs)] or list(range(max(costs), sum(costs) + 1))
    low, high = 0, len(limits) - 1
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if len(fill(limits[middle])) - 1 <= n_segments else (middle + 1, high)
    boundaries = fill(limits[low])
    return boundaries, max(sum(costs[a:b]) for a, b in pairwise(boundaries))


@alternative("optimal_checkpoints", "Splits until every allowed segment is used, NumPy integers for the boundaries.")
def checkpoints_with_all_segments(costs, n_segments):
    import numpy as np

    if n_segments < 1 or any(cost < 0 for cost in costs):
        raise ValueError("bad arguments")
    n, k = len(costs), min(n_segments, len(costs))
    if not n:
        return [0], 0
    table, choice = {(0, 0): 0}, {}
    for s in range(1, k + 1):
        for end in range(s, n + 1):
            filled, best = 0, None
            for start in range(end - 1, s - 2, -1):
                filled += costs[start]
                if (start, s - 1) in table and (best is None or max(table[start, s - 1], filled) < best):
                    best = max(table[start, s - 1], filled)
                    choice[end, s] = start
            if best is not None:
                table[end, s] = best
    boundaries, end = [n], n
    for s in range(k, 0, -1):
        end = choice[end, s]
        boundaries.append(end)
    return [np.int64(b) for b in reversed(boundaries)], table[n, k]


@alternative("layer_norm_backward", "One fraction with d in it, sums by einsum, a named tuple.")
def one_fraction(grad_output, x, weight, eps):
    from collections import namedtuple

    d = x.shape[-1]
    centred = x - x.mean(-1, keepdim=True)
    std = (centred.pow(2).mean(-1, keepdim=True) + eps).sqrt()
    normal, g = centred / std, grad_output * weight
    along = torch.einsum("...i,...i->...", g, normal).unsqueeze(-1)
    dx = (d * g - g.sum(-1, keepdim=True) - normal * along) / (d * std)
    flat = [torch.einsum("ni->i", y.reshape(y.numel() // d, d)) for y in (grad_output * normal, grad_output)]
    return namedtuple("Gradients", "dx dweight dbias")(dx, *flat)


@alternative("memoize", "An object that can be called, its key sorted by the names of the keywords.")
class Remembering:
    def __init__(self, function):
        functools.update_wrapper(self, function)
        self.function, self.table, self.hits, self.misses = function, {}, 0, 0

    def __call__(self, *args, **kwargs):
        key = args, tuple(sorted(kwargs.items(), key=lambda item: item[0]))
        try:
            value = self.table[key]
        except KeyError:
            pass
        else:
            self.hits += 1
            return value
        self.misses += 1
        return self.table.setdefault(key, self.function(*args, **kwargs))

    def cache_info(self):
        return CacheInfo(hits=self.hits, misses=self.misses)


@alternative("optimal_checkpoints", "Bisection over the totals of all contiguous pieces, filling segments greedily up to each.")
def bisection_over_totals(costs, n_segments):
    costs = list(costs)
    if n_segments < 1 or min(costs, default=0) < 0:
        raise ValueError("costs")
    if not costs:
        return [0], 0

    def cut(limit):
        boundaries, filled = [0], 0
        for i, cost in enumerate(costs):
            if cost > limit:
                return None
            if filled + cost > limit:
                boundaries.append(i)
                filled = 0
            filled += cost
        return [*boundaries, len(costs)] if len(boundaries) <= n_segments else None

    limits = sorted({sum(costs[i:j]) for i in range(len(costs)) for j in range(i + 1, len(costs) + 1)})
    low, high = 0, len(limits) - 1
    while low < high:
        middle = (low + high) // 2
        low, high = (middle + 1, high) if cut(limits[middle]) is None else (low, middle)
    boundaries = cut(limits[low]) or [0, len(costs)]
    return tuple(boundaries), max(sum(costs[a:b]) for a, b in pairwise(boundaries))


@alternative("LayerNorm", "Any arguments go to a method that sets up; the rows go through vmap; a dictionary of settings.")
class LayerNormByVmap(nn.Module):
    def __init__(self, *args, **kwargs):
        super().__init__()
        self.set_up(*args, **kwargs)

    def set_up(self, d_model, eps=1e-5):
        self.bias, self.weight = nn.Parameter(torch.zeros(d_model)), nn.Parameter(torch.ones(d_model))
        self.settings = {"eps": eps, "d": d_model}

    def forward(self, x):
        d = self.settings["d"]
        if x.dim() < 1 or x.shape[-1] != d:
            raise ValueError(f"x is {x.shape}")

        def normalise(row):
            row = row - row.mean()
            return row / (row.dot(row) / d + self.settings["eps"]).sqrt()

        rows = x.to(torch.promote_types(x.dtype, torch.float32)).reshape(-1, d)
        rows = torch.func.vmap(normalise)(rows) if len(rows) else rows
        return (rows.reshape(x.shape) * self.weight + self.bias).to(x.dtype)


@alternative("FeedForward", "ReLU as a clamp, weights drawn with GPT-2's deviation, and a second layer that starts at zero.")
class FeedForwardFromZero(nn.Module):
    def __init__(self, d_model: int, d_ff: int, activation: str = "gelu"):
        super().__init__()
        names = {"gelu": (gelu, ()), "gelu_tanh": (gelu, ("tanh",)), "relu": (torch.clamp_min, (0,))}
        if not isinstance(activation, str) or activation not in names:
            raise TypeError("activation")
        self.function, self.extra = names[activation]
        self.w_out, self.w_in = nn.Linear(d_ff, d_model), nn.Linear(d_model, d_ff)
        nn.init.normal_(self.w_in.weight, std=0.02)
        nn.init.zeros_(self.w_in.bias)
        nn.init.zeros_(self.w_out.weight)

    def forward(self, x):
        return self.w_out(self.function(self.w_in(x), *self.extra))


@alternative("TransformerBlock", "Arguments of forward taken apart by hand, attention under torch.utils.checkpoint.")
class BlockWithCheckpoint(nn.Module):
    def __init__(self, d_model, n_heads, d_ff, norm_first=True):
        super().__init__()
        self.norm_1, self.norm_2 = LayerNorm(d_model), LayerNorm(d_model)
        self.attention = MultiHeadAttention(d_model, n_heads)
        self.feed_forward = FeedForward(d_model, d_ff, "gelu")
        self.around = (lambda x, norm, f: x + f(norm(x))) if norm_first else (lambda x, norm, f: norm(x + f(x)))

    def forward(self, *args, **kwargs):
        from torch.utils.checkpoint import checkpoint

        x, mask = (*args, None)[:2]
        attend = functools.partial(self.attention, mask=kwargs.get("mask", mask))
        x = checkpoint(self.around, x, self.norm_1, attend, use_reentrant=False, preserve_rng_state=False)
        return self.around(x, self.norm_2, self.feed_forward)


@alternative("memoize", "One flat key with a function of its own between positions and keywords; misses counted afterwards.")
def memoize_with_a_flat_key(function):
    table, seen = {}, [0, 0]

    def wrapper(*args, **kwargs):
        key = (*args, wrapper, *(part for name in sorted(kwargs) for part in (name, kwargs[name])))
        if key in table:
            seen[0] += 1
        else:
            table[key] = function(*args, **kwargs)
            seen[1] += 1
        return table[key]

    functools.update_wrapper(wrapper, function)
    wrapper.cache_info = lambda: CacheInfo._make(seen)
    return wrapper


@alternative("optimal_checkpoints", "In exact fractions, from the first segment to the last.")
def checkpoints_in_fractions(costs, n_segments):
    from fractions import Fraction

    exact = [Fraction(cost) for cost in costs]
    if any(cost < 0 for cost in exact) or n_segments < 1:
        raise ValueError("costs or n_segments")
    n, k = len(exact), min(n_segments, len(exact))
    if n == 0:
        return [0], 0
    total = [Fraction(0), *accumulate(exact)]
    best = {(0, s): (Fraction(0), 0) for s in range(k + 1)}
    for s in range(1, k + 1):
        for end in range(1, n + 1):
            starts = [start for start in range(end) if (start, s - 1) in best]
            best[end, s] = min((max(best[start, s - 1][0], total[end] - total[start]), start) for start in starts)
    boundaries, s = [n], k
    while boundaries[0]:
        boundaries.insert(0, best[boundaries[0], s][1])
        s -= 1
    return boundaries, max(sum(costs[a:b]) for a, b in pairwise(boundaries))
