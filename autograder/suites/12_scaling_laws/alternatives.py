"""Unusual right solutions: each must get full marks."""

import copy
import math

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import nn

from autograder.testing.variants import alternative

# These names belong to the solution's file, which every definition below is put into.
pass_on = fit_power_law = LoRALinear = None


@alternative("fit_power_law", "torch's least squares on a matrix with a column of ones.")
def by_lstsq(x, y):
    x, y = [torch.tensor([float(v) for v in values], dtype=torch.float64) for values in (x, y)]
    if x.shape != y.shape or x.unique().numel() < 2 or not bool((torch.cat([x, y]).isfinite() & (torch.cat([x, y]) > 0)).all()):
        raise ValueError("x and y")
    table = torch.stack([x.log(), torch.ones_like(x)], dim=1)
    slope, intercept = torch.linalg.lstsq(table, y.log()[:, None]).solution.squeeze(1)
    return intercept.exp().item(), slope.item()


@alternative("fit_power_law", "The normal equations in plain Python, with fsum and logarithms to base 2.")
def by_normal_equations(x, y):
    x, y = [float(v) for v in x], [float(v) for v in y]
    if len(x) != len(y):
        raise IndexError("lengths")
    for v in x + y:
        if v != v or v <= 0 or v == math.inf:
            raise ValueError(v)
    if len({*x}) < 2:
        raise ValueError("one x")
    u, v = [math.log2(a) for a in x], [math.log2(b) for b in y]
    middle_u, middle_v = math.fsum(u) / len(u), math.fsum(v) / len(v)
    slope = math.fsum((a - middle_u) * (b - middle_v) for a, b in zip(u, v)) / math.fsum((a - middle_u) ** 2 for a in u)
    return [2 ** (middle_v - slope * middle_u), slope][0], slope


@alternative("fit_power_law", "NumPy's least squares.")
def by_numpy(x, y):
    import numpy as np

    x, y = np.array([float(v) for v in x]), np.array([float(v) for v in y])
    if x.shape != y.shape or np.unique(x).size < 2 or not np.all(np.isfinite(x) & (x > 0) & np.isfinite(y) & (y > 0)):
        raise ValueError("x and y")
    (slope, intercept), *_ = np.linalg.lstsq(np.stack([np.log(x), np.ones(len(x))], axis=1), np.log(y), rcond=None)
    return float(np.exp(intercept)), float(slope)


@alternative("growth_exponent", "On its own, from the largest size down; costs kept in a dict.")
def from_the_largest_down(function, sizes):
    costs = {}
    for size in sorted(sizes, reverse=True):
        costs.setdefault(float(size), []).append(float(function(size)))
    points = [(size, cost) for size, values in costs.items() for cost in values]
    if len(costs) < 2 or not all(0 < a < math.inf and 0 < b < math.inf for a, b in points):
        raise ValueError("sizes and costs")
    n = len(points)
    u, v = sum(math.log(a) for a, _ in points) / n, sum(math.log(b) for _, b in points) / n
    over = sum((math.log(a) - u) * (math.log(b) - v) for a, b in points)
    return over / sum((math.log(a) - u) ** 2 for a, _ in points)


@alternative("transformer_flops", "Product by product, head by head.")
def product_by_product(config, seq_len):
    if seq_len not in range(1, config.context_length + 1):
        raise IndexError(seq_len)
    head = config.d_model // config.n_heads
    products = [(seq_len, config.d_model, config.vocab_size)]
    for _ in range(config.n_layers):
        products += [(seq_len, config.d_model, config.d_model)] * 4
        products += [(seq_len, head, seq_len), (seq_len, seq_len, head)] * config.n_heads
        products += [(seq_len, config.d_model, config.d_ff), (seq_len, config.d_ff, config.d_model)]
    return sum(2 * m * k * n for m, k, n in products)


@alternative("training_flops", "Forward and backward apart.")
def forward_and_backward_apart(n_params, n_tokens):
    forward = 2 * (n_params * n_tokens)
    return forward + 2 * forward


@alternative("arithmetic_intensity", "A sum of reciprocals: 2 / (bytes · (1/m + 1/n + 1/k)).")
def reciprocals(m, n, k, bytes_per_element=2):
    for value in (m, n, k, bytes_per_element):
        if value <= 0:
            raise ValueError(value)
    return 2 / (bytes_per_element * (1 / m + 1 / n + 1 / k))


@alternative("roofline", "Tensors all the way by torch.minimum; a number comes back from .item().")
def by_minimum(intensity, peak_flops, bandwidth):
    values = [intensity, peak_flops, bandwidth]
    checked = [torch.as_tensor(v, dtype=v.dtype if isinstance(v, torch.Tensor) else torch.float64) for v in values]
    if not (checked[0] >= 0).all() or not (checked[1] > 0).all() or not (checked[2] > 0).all():
        raise ValueError("a number is not positive")
    if not any(isinstance(v, torch.Tensor) for v in values):
        return torch.minimum(checked[1], checked[0] * checked[2]).item()
    memory, peak = intensity * bandwidth, peak_flops
    dtype = (memory + 0 * peak).dtype
    memory, peak = torch.broadcast_tensors(torch.as_tensor(memory, dtype=dtype), torch.as_tensor(peak, dtype=dtype))
    return torch.minimum(memory, peak)


@alternative("chinchilla_loss", "Powers with a negative exponent, through exp and log for tensors.")
def negative_powers(n, d, params):
    E, A, B, alpha, beta = (float(v) for v in params)

    def power(x, p):
        return torch.exp(-p * torch.log(x)) if isinstance(x, torch.Tensor) else math.exp(-p * math.log(x))

    return A * power(n, alpha) + B * power(d, beta) + E


@alternative("fit_chinchilla", "LBFGS from a grid of starts on centred logarithms.")
def by_lbfgs(runs):
    table = (
        torch.stack([torch.tensor([float(v) for v in run], dtype=torch.float64) for run in runs])
        if len(runs)
        else torch.ones(0, 3)
    )
    if len(table) < 5 or not bool((table.isfinite() & (table > 0)).all()):
        raise ValueError("runs")
    x, y, goal = table.log().unbind(1)
    mx, my, mz = x.mean(), y.mean(), goal.mean()

    def objective(theta):
        a, b, e, alpha, beta = theta
        terms = torch.stack([a - alpha * (x - mx), b - beta * (y - my), e + 0 * x])
        return F.huber_loss(torch.logsumexp(terms, 0), goal, reduction="sum", delta=1e-3) * 1e6

    best, best_value = None, math.inf
    for alpha in (0.35,):
        for beta in (0.35,):
            for shares in ((0.3, 0.3, 0.4), (0.15, 0.6, 0.25), (0.6, 0.15, 0.25)):
                theta = torch.tensor([mz + math.log(s) for s in shares] + [alpha, beta], dtype=torch.float64, requires_grad=True)
                settings = {"max_iter": 150, "history_size": 20, "tolerance_grad": 1e-10, "tolerance_change": 1e-14}
                optimizer = torch.optim.LBFGS([theta], line_search_fn="strong_wolfe", **settings)

                def closure(theta=theta, optimizer=optimizer):
                    optimizer.zero_grad()
                    value = objective(theta)
                    value.backward()
                    return value

                optimizer.step(closure)
                with torch.no_grad():
                    value = objective(theta).item()
                if value < best_value:
                    best, best_value = theta.detach().clone(), value
                if best_value < 1e-6:
                    break
    a, b, e, alpha, beta = best.tolist()
    return math.exp(e), math.exp(a + alpha * mx.item()), math.exp(b + beta * my.item()), alpha, beta


@alternative("compute_optimal", "d first, by the mirrored formula, then n; the root of the derivative.")
def tokens_first(c, params):
    _, A, B, alpha, beta = [float(v) for v in params]
    if isinstance(c, torch.Tensor):
        if bool((c <= 0).any()):
            raise ValueError("c")
    elif c <= 0:
        raise ValueError("c")
    d = (beta * B / (alpha * A)) ** (1 / (alpha + beta)) * (c / 6) ** (alpha / (alpha + beta))
    return c / (6 * d), d


@alternative("LoRALinear", "base called under a name of its own; the scale goes into x; merge fills a new layer.")
class ScaledInput(nn.Module):
    def __init__(self, base, rank, alpha, generator=None):
        if type(rank) is not int or rank <= 0:
            raise TypeError("rank")
        if not isinstance(base, nn.Linear):
            raise TypeError("base")
        super().__init__()
        for p in base.parameters():
            p.requires_grad = False
        self.base, self.rank, self.alpha = base, rank, alpha
        spread = 1 / math.sqrt(base.in_features)
        options = {"dtype": base.weight.dtype, "device": base.weight.device}
        drawn = torch.randn(rank, base.in_features, generator=generator, dtype=torch.float32)
        self.lora_a = nn.Parameter((drawn * spread).to(**options))
        self.lora_b = nn.Parameter(torch.zeros(base.out_features, rank, **options))

    def forward(self, x):
        return self.base(x) + F.linear(F.linear(x * (self.alpha / self.rank), self.lora_a), self.lora_b)

    def merged_weight(self):
        return torch.addmm(self.base.weight, self.lora_b, self.lora_a, alpha=self.alpha / self.rank).detach()

    def merge(self):
        weight = self.base.weight
        plain = nn.Linear(
            self.base.in_features, self.base.out_features, self.base.bias is not None, dtype=weight.dtype, device=weight.device
        )
        plain.weight.data = self.merged_weight()
        if plain.bias is not None:
            plain.bias.data = self.base.bias.data.clone()
        return plain


@alternative("LoRALinear", "lora_a by nn.init; the update by einsum; merge by state_dict.")
class ByInit(nn.Module):
    def __init__(self, base, rank, alpha, generator=None):
        super().__init__()
        if not isinstance(base, nn.Linear) or not isinstance(rank, int) or isinstance(rank, bool) or rank < 1:
            raise ValueError("base or rank")
        weight = base.weight
        self.lora_b = nn.Parameter(torch.zeros_like(weight[:, :1]).repeat(1, rank))
        self.lora_a = nn.Parameter(torch.empty_like(weight[:1]).repeat(rank, 1))
        nn.init.normal_(self.lora_a, 0.0, weight.shape[1] ** -0.5, generator=generator)
        self.factor = alpha / rank
        self.base = base
        base.weight.requires_grad_(False)
        if base.bias is not None:
            base.bias.requires_grad_(False)

    def forward(self, x):
        narrow = torch.einsum("...i,ri->...r", x, self.lora_a)
        return torch.einsum("...r,or->...o", narrow, self.lora_b).mul(self.factor).add(self.base(x))

    def merged_weight(self):
        return self.base.weight.detach().clone().add_(self.factor * self.lora_b.detach().mm(self.lora_a.detach()))

    def merge(self):
        state = {name: value.clone() for name, value in self.base.state_dict().items()}
        state["weight"] = self.merged_weight()
        weight = state["weight"]
        layer = nn.Linear(*weight.mT.shape, bias="bias" in state, device=weight.device, dtype=weight.dtype)
        layer.load_state_dict(state)
        return layer


@alternative("inject_lora", "Recursion over children; a memo for shared layers; the paths by asking the model afterwards.")
def recursive_injection(model, names, rank, alpha, generator=None):
    names = set(names)
    targets = [
        (path, layer)
        for path, layer in model.named_modules(remove_duplicate=False)
        if isinstance(layer, nn.Linear)
        and path.split(".")[-1] in names
        and not isinstance(model.get_submodule(".".join(path.split(".")[:-1])), LoRALinear)
    ]
    if not targets:
        raise ValueError("nothing matches")
    made = {}
    for _, layer in targets:
        if id(layer) not in made:
            made[id(layer)] = LoRALinear(layer, rank, alpha, generator=generator)

    def visit(parent, seen):
        if id(parent) in seen or isinstance(parent, LoRALinear):
            return
        seen.add(id(parent))
        for name, child in list(parent._modules.items()):
            if name in names and id(child) in made:
                parent._modules[name] = made[id(child)]
            elif child is not None:
                visit(child, seen)

    visit(model, set())
    for p in model.parameters():
        p.requires_grad = False
    for layer in model.modules():
        if isinstance(layer, LoRALinear):
            layer.lora_a.requires_grad = layer.lora_b.requires_grad = True
    return [path for path, _ in targets]


@alternative("merge_lora", "setattr for attributes, indices for sequences, keys for dicts.")
def by_kind_of_parent(model):
    places = [(p, m) for p, m in model.named_modules(remove_duplicate=False) if isinstance(m, LoRALinear) and p != ""]
    if len(places) == 0:
        raise ValueError("nothing to merge")
    merged = {}
    for path, layer in places:
        if id(layer) not in merged:
            merged[id(layer)] = layer.merge()
        *above, name = path.split(".")
        parent = model.get_submodule(".".join(above))
        if isinstance(parent, nn.Sequential | nn.ModuleList):
            parent[int(name)] = merged[id(layer)]
        elif isinstance(parent, nn.ModuleDict):
            parent[name] = merged[id(layer)]
        else:
            setattr(parent, name, merged[id(layer)])
    return [path for path, _ in places]


@alternative("quantize_int8", "Through float64, row by row; the scale of a row of zeros is 1.")
def row_by_row(weight):
    dtype = torch.float64 if weight.dtype == torch.float64 else torch.float32
    rows = weight.to(dtype).reshape(-1, weight.shape[-1])
    if not bool(torch.isfinite(rows).all()):
        raise ValueError("weight")
    codes, scales = torch.empty(rows.shape, dtype=torch.int8), torch.empty(len(rows), 1, dtype=dtype)
    for i, row in enumerate(rows):
        largest = row.abs().max()
        scales[i] = largest / 127 if largest > 0 else 1.0
        codes[i] = torch.round(row / scales[i]).clamp(-127, 127).to(torch.int8)
    return codes.view(weight.shape), scales.view(*weight.shape[:-1], 1)


@alternative("quantize_int8", "Largest and smallest by aminmax; NaN where a row is zero becomes 0.")
def by_aminmax(weight):
    if bool((weight.isnan() | weight.isinf()).any()):
        raise ValueError("weight")
    wide = weight.to(torch.promote_types(weight.dtype, torch.float32))
    low, high = torch.aminmax(wide, dim=-1, keepdim=True)
    scale = torch.maximum(high, -low).div(127.0)
    return torch.nan_to_num(wide / scale, nan=0.0).round().clamp(-127, 127).char(), scale


@alternative("ring_all_reduce", "Rank r begins with chunk r + 1, and messages come from functions that keep no state.")
def another_beginning(chunks, exchange=pass_on):
    p = len(chunks)
    if p < 1 or any(len(own) != p for own in chunks):
        raise ValueError("chunks")
    for c in range(p):
        if len({tuple(own[c].shape) for own in chunks}) > 1:
            raise ValueError("shapes")
    held = [[c.detach().clone() for c in own] for own in chunks]
    moving = [held[r][(r + 1) % p] for r in range(p)]
    for step in range(1, p):
        arrived = exchange(moving)
        moving = [arrived[r] + chunks[r][(r + 1 - step) % p] for r in range(p)]
    done = [[None] * p for _ in range(p)]
    for r in range(p):
        done[r][(r + 2) % p if p > 1 else 0] = moving[r].clone()
    for step in range(1, p):
        moving = exchange(moving)
        for r in range(p):
            done[r][(r + 2 - step) % p] = moving[r].clone()
    return done


@alternative("ring_all_reduce", "Tuples of chunks; what arrives is added to, and not what was there.")
def adds_to_what_arrives(chunks, exchange=pass_on):
    n = len(chunks)
    if n == 0:
        raise IndexError("no ranks")
    for own in chunks:
        if len(own) != n or [x.shape for x in own] != [x.shape for x in chunks[0]]:
            raise ValueError("chunks")
    work = [{c: x.clone() for c, x in enumerate(own)} for own in chunks]
    for phase in (0, 1):
        for s in range(n - 1):
            arrived = exchange([work[r][(r + phase - s) % n].clone() for r in range(n)])
            for r in range(n):
                c = (r + phase - s - 1) % n
                work[r][c] = arrived[r] if phase else arrived[r].add_(work[r][c])
    return [[own[c] for c in range(n)] for own in work]


@alternative("column_parallel_linear", "Slices by hand; the bias is added afterwards.")
def slices_of_rows(x, weight, bias, n_shards):
    n_out = weight.size(0)
    if n_shards < 1 or n_shards > n_out:
        raise ValueError("n_shards")
    shards, start = [], 0
    for i in range(n_shards):
        end = start + n_out // n_shards + (i < n_out % n_shards)
        y = x @ weight[start:end].t()
        shards.append(y if bias is None else y + bias[start:end])
        start = end
    return shards


@alternative("row_parallel_linear", "The bias begins the sum; slices by a running start.")
def bias_begins(xs, weight, bias):
    if len(xs) == 0:
        raise ValueError("no shards")
    if sum(x.shape[-1] for x in xs) != weight.shape[-1]:
        raise ValueError("widths")
    total, start = 0 if bias is None else bias, 0
    for x in xs:
        total = total + torch.matmul(x, weight.narrow(1, start, x.shape[-1]).T)
        start += x.shape[-1]
    return total


@alternative("average_gradients", "Divided first, then added up; dtypes in a fixed order; written back by slices.")
def divided_first(parameters, group=None):
    trained = [p for p in parameters if p.requires_grad]
    for p in trained:
        if p.grad is None:
            p.grad = torch.zeros_like(p, requires_grad=False)
    for dtype in sorted({p.grad.dtype for p in trained}, key=str):
        own = [p.grad for p in trained if p.grad.dtype == dtype]
        flat = torch.cat([g.detach().reshape(-1) for g in own]) / dist.get_world_size(group)
        dist.all_reduce(flat, op=dist.ReduceOp.SUM, group=group)
        start = 0
        with torch.no_grad():
            for g in own:
                g[...] = flat[start : start + g.numel()].reshape(g.shape)
                start += g.numel()


@alternative("average_gradients", "It looks first whether there is a group, and who is in it; in float64.")
def looks_at_the_group(parameters, group=None):
    if not dist.is_available() or not dist.is_initialized():
        raise RuntimeError("torch.distributed has not been initialized")
    members = dist.get_process_group_ranks(group)
    if not 0 <= dist.get_rank(group) < len(members) <= dist.get_world_size():
        raise RuntimeError("this process is not in the group")
    kinds = {}
    for p in parameters:
        if p.requires_grad:
            p.grad = torch.zeros_like(p.detach()) if p.grad is None else p.grad
            kinds.setdefault(p.grad.dtype, []).append(p.grad.detach())
    for grads in kinds.values():
        mean = torch.cat([grad.reshape(-1).double() for grad in grads]) / len(members)
        dist.all_reduce(mean, group=group)
        for grad, part in zip(grads, mean.split([grad.numel() for grad in grads])):
            grad.copy_(part.view(grad.shape))


@alternative("average_gradients", "The group itself takes the mean.")
def averaged_by_the_group(parameters, group=None):
    kinds = {}
    for p in filter(lambda p: p.requires_grad, parameters):
        p.grad = p.data.new_zeros(p.shape) if p.grad is None else p.grad
        kinds.setdefault(p.grad.dtype, []).append(p.grad.data)
    for grads in kinds.values():
        mean = torch.cat([grad.ravel() for grad in grads])
        dist.all_reduce(mean, dist.ReduceOp.AVG, group)
        for grad in grads:
            part, mean = mean[: grad.numel()], mean[grad.numel() :]
            grad.copy_(part.reshape(grad.shape))


@alternative("average_gradients", "All ranks' gradients are gathered, and every rank takes the mean by itself.")
def gathered(parameters, group=None):
    by_dtype = {}
    for p in parameters:
        if p.requires_grad:
            if p.grad is None:
                p.grad = torch.zeros_like(p.data)
            by_dtype.setdefault(p.grad.dtype, []).append(p.grad.data)
    for own in by_dtype.values():
        flat = torch.cat([g.contiguous().view(-1) for g in own])
        everybody = [torch.empty_like(flat) for _ in range(dist.get_world_size(group))]
        dist.all_gather(everybody, flat, group=group)
        mean = torch.stack(everybody).mean(0)
        for g, part in zip(own, torch.split(mean, [g.numel() for g in own])):
            g.copy_(part.view_as(g))


@alternative("average_gradients", "torch's own flattening, and an asynchronous call that is waited for.")
def asynchronous(parameters, group=None):
    from torch._utils import _flatten_dense_tensors, _unflatten_dense_tensors

    kinds = {}
    for p in parameters:
        if not p.requires_grad:
            continue
        p.grad = torch.zeros(p.shape, dtype=p.dtype, device=p.device) if p.grad is None else p.grad
        kinds.setdefault(p.grad.dtype, []).append(p.grad.detach())
    n = dist.get_world_size(group=group)
    for grads in kinds.values():
        flat = _flatten_dense_tensors([g.contiguous() for g in grads])
        dist.all_reduce(flat, group=group, async_op=True).wait()
        for g, mean in zip(grads, _unflatten_dense_tensors(flat.div_(n), grads)):
            g.copy_(mean)


@alternative("inject_lora", "A deep copy decides nothing: layers are matched by a tuple of names and put in by _modules.")
def by_modules(model, names, rank, alpha, generator=None):
    wrapped = {id(m.base) for m in model.modules() if isinstance(m, LoRALinear)}
    places = [
        (path, layer)
        for path, layer in model.named_modules(remove_duplicate=False)
        if path.rsplit(".", 1)[-1] in tuple(names) and isinstance(layer, nn.Linear) and id(layer) not in wrapped
    ]
    if not places:
        raise ValueError("nothing")
    adapters = {}
    for _, layer in places:
        if layer not in adapters:
            adapters[layer] = LoRALinear(layer, rank, alpha, generator)
    for p in model.parameters():
        p.requires_grad_(False)
    for path, layer in places:
        above, _, name = path.rpartition(".")
        (model.get_submodule(above) if above else model)._modules[name] = adapters[layer]
    for m in model.modules():
        if isinstance(m, LoRALinear):
            m.lora_a.requires_grad_(True)
            m.lora_b.requires_grad_(True)
    return [path for path, _ in places]


@alternative("merge_lora", "The merged layers are deep copies of their bases with other numbers.")
def copies_of_the_bases(model):
    found = [(n, m) for n, m in model.named_modules(remove_duplicate=False) if isinstance(m, LoRALinear)]
    if not found:
        raise ValueError("nothing to merge")
    memo = {}
    for path, layer in found:
        if layer not in memo:
            memo[layer] = copy.deepcopy(layer.base)
            memo[layer].weight = nn.Parameter(layer.merged_weight().detach().clone())
        model.set_submodule(path, memo[layer])
    return [n for n, _ in found]


@alternative("average_gradients", "PyTorch's parameters_to_vector; all ranks' vectors are gathered into one tensor.")
def gathered_into_one_tensor(parameters, group=None):
    kinds = {}
    for p in parameters:
        if p.requires_grad:
            if p.grad is None:
                p.grad = torch.zeros_like(p, memory_format=torch.preserve_format)
            kinds.setdefault(p.dtype, []).append(p)
    world = dist.get_world_size() if group is None else dist.get_world_size(group)
    gather = getattr(dist, "all_gather_single", None) or dist.all_gather_into_tensor
    for own in kinds.values():
        flat = torch.nn.utils.parameters_to_vector([p.grad.contiguous() for p in own])
        together = flat.new_empty(world * flat.numel())
        gather(together, flat, group=group)
        for p, part in zip(own, together.view(world, -1).mean(0).split([p.numel() for p in own])):
            p.grad[...] = part.view_as(p)


@alternative("transformer_flops", "One block of the model, made on the meta device, says which linear layers there are.")
def asking_the_model(config, seq_len):
    from types import SimpleNamespace

    from exercises.decoder_only import MiniGPT

    if seq_len < 1 or seq_len > config.context_length:
        raise ValueError("seq_len")
    names = "vocab_size", "context_length", "n_heads", "d_model", "d_ff", "tie_embeddings"
    with torch.device("meta"):
        model = MiniGPT(SimpleNamespace(n_layers=1, **{name: getattr(config, name) for name in names}))
    flops = config.n_layers * 4 * seq_len**2 * config.d_model
    for name, layer in model.named_modules():
        if isinstance(layer, nn.Linear):
            times = 1 if name == "lm_head" else config.n_layers
            flops += times * 2 * seq_len * layer.in_features * layer.out_features
    return flops


@alternative("ring_all_reduce", "Each rank is a generator: it yields what it sends and is sent what arrives.")
def ranks_as_generators(chunks, exchange=pass_on):
    p = len(chunks)
    if p == 0 or any([x.shape for x in own] != [x.shape for x in chunks[0]] or len(own) != p for own in chunks):
        raise ValueError("chunks")

    def rank(i, own):
        for step in range(2 * (p - 1)):
            arrived = yield own[i]
            i = (i - 1) % p
            own[i] = own[i] + arrived if step < p - 1 else arrived
        yield own

    ranks = [rank(r, [x.clone() for x in own]) for r, own in enumerate(chunks)]
    sent = [next(own) for own in ranks]
    for _ in range(2 * (p - 1)):
        sent = [own.send(arrived) for own, arrived in zip(ranks, exchange(sent))]
    return sent


@alternative(
    "average_gradients",
    "All calls are started before the first is waited for; a one travels along, and the ones count the ranks.",
)
def futures(parameters, group=None):
    kinds = {}
    for p in parameters:
        if p.requires_grad:
            p.grad = torch.zeros_like(p) if p.grad is None else p.grad
            kinds.setdefault(p.dtype, []).append(p.grad.detach())
    under_way = []
    for dtype, own in kinds.items():
        flat = torch.cat([torch.ones(1, dtype=dtype)] + [g.flatten() for g in own])
        under_way.append((own, dist.all_reduce(flat, group=group, async_op=True).get_future()))
    for own, future in under_way:
        (flat,) = future.wait()
        for g, mean in zip(own, (flat[1:] / flat[0]).split([g.numel() for g in own])):
            g.copy_(mean.view(g.shape))


@alternative("column_parallel_linear", "Each output is a sum of products, without a matrix product.")
def sums_of_products(x, weight, bias, n_shards):
    if not 0 < n_shards <= len(weight):
        raise ValueError("n_shards")
    shards = []
    for numbers in torch.arange(len(weight)).tensor_split(n_shards):
        first, last = numbers[0].item(), numbers[-1].item() + 1
        shard = (x.unsqueeze(-2) * weight[first:last]).sum(-1)
        shards.append(shard if bias is None else shard + bias[first:last])
    return shards


@alternative("row_parallel_linear", "From the last shard to the first, in sums of products.")
def products_from_the_last_shard(xs, weight, bias):
    if not xs or sum(x.size(-1) for x in xs) != weight.size(-1):
        raise ValueError("widths")
    total, end = 0.0, weight.size(-1)
    for x in reversed(xs):
        total = total + (x.unsqueeze(-2) * weight[:, end - x.size(-1) : end]).sum(-1)
        end -= x.size(-1)
    return total if bias is None else total + bias
