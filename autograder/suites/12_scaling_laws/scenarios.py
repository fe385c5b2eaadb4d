"""Layers, models, networks and groups of processes, built beside the student's code and looked at from there."""

import copy
import threading
from _thread import start_new_thread

import torch
import torch.distributed as dist
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from autograder.testing.probes import differences, surroundings

NAN = float("nan")
REFUSALS = (ValueError, TypeError, IndexError)


def lists_untouched(module, name, args):
    """Whether a call leaves the lists of numbers that it is given as they were, and what it changed around it."""
    given = copy.deepcopy(args)
    torch.set_grad_enabled(True)  # an earlier call may have left it off
    before = surroundings()
    getattr(module, name)(*given)
    return given == args, differences(before)


# Cost


def growth(module, sizes, costs, as_tensors=False):
    """The exponent, and what the function was called with, in order."""
    calls = []
    table = dict(zip(sizes, costs, strict=True))

    def cost(size):
        calls.append(size)
        return torch.tensor(table[size], dtype=torch.float64) if as_tensors else table[size]

    return module.growth_exponent(cost, sizes), calls


def growth_of_cubes(module, sizes):
    """The exponent of n³, computed by whatever kind of number the function is called with."""
    return module.growth_exponent(lambda n: n**3, sizes)


def growth_again(module, sizes):
    """The exponents of n, n² and n³, by functions that come and go, and what one that stays was called with in two calls."""
    exponents = [module.growth_exponent(lambda n, p=p: n**p, sizes) for p in (1, 2, 3)]
    calls = []

    def counted(n):
        calls.append(n)
        return n

    module.growth_exponent(counted, sizes)
    module.growth_exponent(counted, sizes)
    return exponents, calls


def flops(module, fields, lengths):
    """transformer_flops of a configuration for several lengths, and whether the configuration is as it was."""
    config = type("Config", (), fields)()  # its attributes are the class's: there is nothing in its vars()
    counts = [module.transformer_flops(config, t) for t in lengths]
    return counts, not vars(config) and all(getattr(config, name) == value for name, value in fields.items())


# LoRA


def linear(weight, bias=None):
    """An nn.Linear with these very numbers."""
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias is not None, dtype=weight.dtype)
    with torch.no_grad():
        layer.weight.copy_(weight)
        if bias is not None:
            layer.bias.copy_(bias)
    return layer


def adapted(module, weight, bias, a, b, alpha):
    """A LoRALinear that holds these numbers, and its base."""
    base = linear(weight, bias)
    layer = module.LoRALinear(base, len(a), alpha)
    module.LoRALinear(linear(weight, bias), len(a) + 1, alpha + 5.0)  # another one, which should not matter
    with torch.no_grad():
        layer.lora_a.copy_(a)
        layer.lora_b.copy_(b)
    return layer, base


def lora_anatomy(module, weight, bias, rank, alpha):
    """What a new layer is made of, and base's weight after somebody wrote into the merged one."""
    base = linear(weight, bias)
    base.weight.requires_grad_(False)
    layer = module.LoRALinear(base, rank, alpha)
    x = torch.ones(2, weight.shape[1], dtype=weight.dtype)
    found = {
        "parameters": {name: [list(p.shape), p.dtype, p.requires_grad] for name, p in layer.named_parameters()},
        "state": sorted(layer.state_dict()),
        "base is the given layer": layer.base is base,
        "lora_b": layer.lora_b.detach().clone(),
        "starts as base": [layer(x).detach(), base(x).detach()],
    }
    with torch.no_grad():
        layer.merged_weight().zero_()
        for p in layer.merge().parameters():
            p.zero_()
    return found | {"weight": base.weight, "buffers": [name for name, _ in layer.named_buffers()]}


def lora_draws(module, weight, rank, seeds):
    """lora_a of two layers for each seed of a generator, what making them changed around it, and three without one,
    of which the first and the last begin with the same global random state.
    """
    drawn, changed = [], []
    for seed in seeds:
        bases, generator = [linear(weight), linear(weight)], torch.Generator().manual_seed(seed)
        before = surroundings()
        drawn += [module.LoRALinear(base, rank, 1.0, generator=generator).lora_a.detach().clone() for base in bases]
        changed += differences(before)
    bases, free = [linear(weight) for _ in range(3)], []
    for i, base in enumerate(bases):
        if i != 1:
            torch.manual_seed(11)
        free.append(module.LoRALinear(base, rank, 1.0).lora_a.detach().clone())
    return drawn, changed, free


def lora_forward(module, weight, bias, a, b, alpha, x, cotangent):
    """The output and the gradients of x, which is not contiguous, lora_a, lora_b, in training and in eval mode; those of base
    should not exist. Then what a copy with twice the update does, in float32 as well, and the output after base has got
    other numbers.
    """
    layer, base = adapted(module, weight, bias, a, b, alpha)
    found = {}
    for mode, of in ((True, ""), (False, " in eval mode")):
        layer.train(mode).zero_grad()
        x = x.detach().clone().requires_grad_()
        scattered = x.movedim(0, -1).contiguous().movedim(-1, 0)
        y = layer(scattered)
        y.backward(cotangent)
        found |= {"output" + of: y.detach(), "gradients" + of: [x.grad, layer.lora_a.grad, layer.lora_b.grad]}
    found["frozen"] = [p.grad is None for p in base.parameters()]
    twin = copy.deepcopy(layer)
    with torch.no_grad():
        twin.lora_b.mul_(2)
        found["of a copy"] = [twin(scattered), layer(scattered)]
        twin.float()
        found["of a copy in float32"] = [twin(scattered.float()), twin.merged_weight()]
    with torch.no_grad():
        for p in base.parameters():
            p.mul_(2)
    return found | {"with another base": layer(scattered).detach()}


def lora_training(module, weight, bias, rank, x, goal, steps):
    """Losses of training everything that can be trained, and whether base is as it was."""
    base = linear(weight, bias)
    layer = module.LoRALinear(base, rank, 2.0 * rank, generator=torch.Generator().manual_seed(3))
    optimizer = torch.optim.SGD([p for p in layer.parameters() if p.requires_grad], lr=0.05)
    losses = []
    for _ in range(steps):
        loss = (layer(x) - goal).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    merged = layer.merge()
    same = torch.equal(base.weight, weight) and torch.equal(base.bias, bias)
    return losses, same, [layer(x), merged(x)]


def lora_flops(module, weight, a, b, x):
    """Operations of the products of one forward pass: in training, in eval mode, without gradients, with frozen updates. And
    how many matrices as large as base's weight each pass made.
    """
    found = []
    for mode in ("training", "eval", "no_grad", "frozen"):
        layer, base = adapted(module, weight, None, a, b, 1.0)
        layer.train(mode != "eval").requires_grad_(mode != "frozen")
        with FlopCounterMode(display=False) as counter, Sizes(base.weight) as seen, torch.set_grad_enabled(mode != "no_grad"):
            layer(x)
        found.append([counter.get_total_flops(), seen.alike])
    return found


def lora_elsewhere(module):
    """The devices of the parameters of a layer on another device, with and without a bias, and of the merged one's."""
    layers = [module.LoRALinear(nn.Linear(3, 2, bias=bias, device="meta"), 2, 1.0) for bias in (True, False)]
    return sorted({p.device.type for layer in layers for p in [*layer.parameters(), *layer.merge().parameters()]})


def lora_merging(module, weight, bias, a, b, alpha, x):
    """merged_weight and merge, the layer's own numbers before and after, and what became of it when the merged one changed."""
    layer, base = adapted(module, weight, bias, a, b, alpha)
    before = {name: value.clone() for name, value in layer.state_dict().items()}
    expected = layer(x).detach().clone()
    merged_weight = layer.merged_weight().detach().clone()
    trained = {name: p.requires_grad for name, p in layer.named_parameters()}
    merged = layer.merge()
    found = {
        "merged_weight": merged_weight,
        "type": type(merged) is nn.Linear,
        "sizes": [merged.in_features, merged.out_features],
        "state": {name: value.clone() for name, value in merged.state_dict().items()},
        "outputs": [merged(x).detach().clone(), expected],
        "again": layer.merged_weight().detach().clone(),
    }
    with torch.no_grad():
        for p in merged.parameters():
            p.zero_()
        layer.merged_weight().zero_()
    same = layer.training and {name: p.requires_grad for name, p in layer.named_parameters()} == trained
    found["left alone"] = same and all(torch.equal(value, before[name]) for name, value in layer.state_dict().items())
    layer.eval()
    with torch.no_grad():
        layer.lora_b.add_(1)
    found["later"] = layer.merged_weight().detach().clone()
    found["merged later"] = layer.merge().weight.detach()
    found["the first one"] = merged.weight.detach()
    return found


def lora_refusals(module, rank, kind="linear"):
    """Whether it was refused, and whether base can still be trained."""
    kinds = {"linear": nn.Linear, "of a kind of linear": OutProjection, "embedding": nn.Embedding, "look-alike": LookAlike}
    base = kinds[kind](3, 2)
    try:
        module.LoRALinear(base, rank, 1.0)
    except REFUSALS:
        return [True, all(p.requires_grad for p in base.parameters())]
    return [False, True]


def lora_calls_its_base(module, x):
    """The output of a new layer and that of its base, which is a linear layer by inheritance and computes something else."""
    base = Doubled(x.shape[-1], 2, dtype=x.dtype)
    return [module.LoRALinear(base, 2, 1.0)(x).detach(), base(x).detach()]


class Doubled(nn.Linear):
    """Its outputs are twice those of a linear layer."""

    def forward(self, x):
        return 2 * super().forward(x)


class OutProjection(nn.Linear):
    """Some layers are linear by inheritance, that of nn.MultiheadAttention, say."""


class LookAlike(nn.Module):
    """It has what a linear layer has, and does something else."""

    def __init__(self, n_in, n_out):
        super().__init__()
        self.in_features, self.out_features = n_in, n_out
        self.weight, self.bias = nn.Parameter(torch.ones(n_out, n_in)), nn.Parameter(torch.ones(n_out))


class Block(nn.Module):
    """Some of the names that a Transformer's block has."""

    def __init__(self, d, bias):
        super().__init__()
        self.w_q, self.w_k = nn.Linear(d, d, bias=bias), nn.Linear(d, d)
        self.norm = nn.LayerNorm(d)
        self.feed_forward = nn.Sequential(nn.Linear(d, 2 * d), nn.GELU(), nn.Linear(2 * d, d))
        self.w_q_norm = nn.Linear(d, d)  # ends otherwise

    def forward(self, x):
        x = x + self.w_q(x).tanh() * self.w_k(self.norm(x)) + 0.1 * self.w_q_norm(x)
        return x + self.feed_forward(x)


class Model(nn.Module):
    """A small tree of modules: lists, dicts, sequences, and on request layers that are shared or tied."""

    def __init__(self, d, kind):
        super().__init__()
        self.embedding = nn.Embedding(7, d)
        self.blocks = nn.ModuleList([Block(d, True), Block(d, False)])
        self.extra = nn.ModuleDict({"w_q": nn.Linear(d, d), "other": nn.Linear(d, d)})
        self.w_q = nn.Linear(d, d)
        self.head = nn.Linear(d, 7, bias=False)
        if kind == "tied":
            self.head.weight = self.embedding.weight
            self.blocks[1].w_q.weight = self.blocks[0].w_q.weight
        if kind == "shared layer":
            self.blocks[1].w_q = self.blocks[0].w_q
            self.extra["w_k"] = self.blocks[0].w_q
            self.alias = self.twin = self.blocks[0].w_q
        if kind == "called base":
            self.base, self.flora_norm = OutProjection(d, d), nn.LayerNorm(d)
            self.extra.update({"base": nn.Linear(d, d), "7": nn.Linear(d, d)})
        if kind == "shared block":
            self.blocks.append(self.blocks[0])
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, ids):
        x = self.embedding(ids)
        for block in self.blocks:
            x = block(x)
        for layer in self.extra.values():
            x = x + layer(x)
        if hasattr(self, "alias"):
            x = x - self.alias(x) + 2 * self.twin(x)
        if hasattr(self, "base"):
            x = x - self.base(self.flora_norm(x))
        return self.head(self.w_q(x) * self.scale)


def built(kind, d=4, dtype=torch.float64):
    """A Model with numbers that are the same each time."""
    model = Model(d, kind).to(dtype)
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for p in model.parameters():
            p.copy_(torch.randn(p.shape, generator=generator, dtype=torch.float64) * 0.4)
    return model


IDS = torch.tensor([[0, 3, 6], [2, 2, 5]])


def trainable(model):
    """Names of what requires gradients, every name of it."""
    return sorted(name for name, p in model.named_parameters(remove_duplicate=False) if p.requires_grad)


def stir(module, model):
    """Numbers for every lora_b, so that the updates show."""
    generator = torch.Generator().manual_seed(9)
    with torch.no_grad():
        for layer in model.modules():
            if isinstance(layer, module.LoRALinear):
                layer.lora_b.copy_(torch.randn(layer.lora_b.shape, generator=generator, dtype=torch.float64))


def injection(module, kind, names, rank=2, alpha=3.0, dtype=torch.float64):
    """What inject_lora made of a model, seen from outside."""
    model = built(kind, dtype=dtype)
    plain = {path: layer for path, layer in model.named_modules(remove_duplicate=False) if isinstance(layer, nn.Linear)}
    before = model(IDS).detach()
    model.blocks[1].eval()
    modes, embedding = [(layer, layer.training) for layer in model.modules()], model.embedding.weight
    surroundings_before = surroundings()
    given = list(names)
    paths = module.inject_lora(model, given, rank, alpha, generator=torch.Generator().manual_seed(1))
    changed = differences(surroundings_before)
    found = dict(model.named_modules(remove_duplicate=False))
    adapters = [path for path, layer in found.items() if isinstance(layer, module.LoRALinear)]
    after = model(IDS).detach()
    draws = [found[path].lora_a.detach().clone() for path in adapters]
    generator, in_order = torch.Generator().manual_seed(1), {}
    for path in adapters:
        layer = found[path].base
        if layer not in in_order:
            in_order[layer] = module.LoRALinear(linear(layer.weight), rank, alpha, generator=generator).lora_a.detach()
    stir(module, model)
    return {
        "draws in order": [in_order[found[path].base] for path in adapters],
        "returned": paths,
        "names as before": given == names,
        "modes as before": all(layer.training is mode for layer, mode in modes),
        "embedding as before": model.embedding.weight is embedding,
        "adapters": adapters,
        "around the very layers": all(found[path].base is plain[path] for path in adapters),
        "how many different": len({id(found[path]) for path in adapters}),
        "trainable": trainable(model),
        "outputs": [after, before],
        "state": sorted(model.state_dict()),
        "stirred": model(IDS),
        "draws": draws,
        "updates": [
            [layer.merged_weight().detach(), layer.base.weight, layer.lora_b, layer.lora_a] for layer in map(found.get, adapters)
        ],
        "changed around it": changed,
    }


def deep(module, depth, names, rounds):
    """A deep tree in eval mode, injected and merged several times: the paths, and whether the keys are those of before."""
    model = nn.ModuleDict()
    for _ in range(depth):
        model = nn.ModuleDict({"7": nn.Linear(2, 2), "70": nn.Linear(2, 2), "inner": model})
    keys, model = list(model.state_dict()), model.eval()
    found = []
    for _ in range(rounds):
        injected = module.inject_lora(model, names, 1, 1.0)
        for layer in model.modules():
            layer.training = False
        merged = module.merge_lora(model)
        found.append([injected, merged, list(model.state_dict()) == keys])
    return found


def injected_twice(module, first, second):
    """Two injections into one model, which has a layer called base; the names of the second one are a set. In between, one
    LoRALinear is replaced by one of a class that inherits from it.
    """
    model = built("called base")
    module.inject_lora(model, first, 2, 3.0)
    model.extra["w_q"] = type("Adapter", (module.LoRALinear,), {})(model.extra["w_q"].base, 2, 3.0)
    stir(module, model)
    between = model(IDS).detach()
    paths = module.inject_lora(model, set(second), 1, 1.0)
    draws = [layer.lora_a.detach().clone() for layer in model.modules() if isinstance(layer, module.LoRALinear)]
    return {"returned": paths, "trainable": trainable(model), "outputs": [model(IDS), between], "draws": draws}


def injection_refused(module, names, rank=2, after=None):
    """Whether an injection was refused, and whether the model is as it was."""
    model = built("plain")
    if after is not None:
        module.inject_lora(model, after, 2, 1.0)
    model.scale.requires_grad_(False)
    layers, flags, output = list(map(id, model.modules())), trainable(model), model(IDS).detach()
    try:
        module.inject_lora(model, names, rank, 1.0)
    except REFUSALS:
        same = list(map(id, model.modules())) == layers and trainable(model) == flags and torch.equal(model(IDS), output)
        return [True, same]
    return [False, True]


def outside_of_lora(module, model):
    """For each parameter that no LoRALinear holds: its layer and that one's mode, the parameter, and whether it is trained."""
    inside = {id(part) for layer in model.modules() if isinstance(layer, module.LoRALinear) for part in layer.modules()}
    layers = [layer for layer in model.modules() if id(layer) not in inside]
    return [(layer, layer.training, p, p.requires_grad) for layer in layers for p in layer.parameters(recurse=False)]


def lora_by_hand(module, model, names, rank, alpha):
    """What inject_lora does to the model, without it: only merge_lora is asked about."""
    adapters, generator = {}, torch.Generator().manual_seed(1)
    model.requires_grad_(False)
    for layer in list(model.modules()):
        for name, child in layer._modules.items():
            if isinstance(child, nn.Linear) and name in names:
                if child not in adapters:
                    adapters[child] = module.LoRALinear(child, rank, alpha, generator=generator)
                layer._modules[name] = adapters[child]


def merging(module, kind, names, dtype=torch.float64):
    """A model whose layers got their updates by hand, stirred and merged."""
    model = built(kind, dtype=dtype)
    keys, embedding = list(model.state_dict()), model.embedding.weight.detach().clone()
    model.blocks[1].eval()
    lora_by_hand(module, model, names, 2, 3.0)
    stir(module, model)
    stirred = model(IDS).detach()
    model.scale.requires_grad_(True)
    model.scale.grad = torch.ones_like(model.scale)
    outside = outside_of_lora(module, model)
    paths = module.merge_lora(model)
    as_before = [layer.training is mode and p.requires_grad is trained for layer, mode, p, trained in outside]
    as_before.append(model.scale.grad is not None)
    found = dict(model.named_modules(remove_duplicate=False))
    return {
        "returned": paths,
        "left over": [path for path, layer in found.items() if isinstance(layer, module.LoRALinear)],
        "plain": all(type(found[path]) is nn.Linear for path in paths),
        "how many different": len({id(found[path]) for path in paths}),
        "outputs": [model(IDS).detach(), stirred],
        "keys as before": list(model.state_dict()) == keys,
        "outside as before": all(as_before),
        "embedding as before": torch.equal(model.embedding.weight, embedding),
        "state": dict(model.state_dict()),
    }


class Pooling(nn.Module):
    """A layer that merges neighbouring tokens, and has nothing to do with LoRA."""

    def merge(self):
        return nn.Identity()


def merging_by_hand(module, weights):
    """A model with LoRALinears that were put there by hand, merged; its outputs, and whether the plain layer in the place of the
    new one shares its weight. One is frozen, one new, and one of a kind of its own.
    """
    weight, a, b, x = weights
    kind = type("Adapter", (module.LoRALinear,), {})
    first, new, own = (adapter(linear(weight), len(a), 1.0) for adapter in (module.LoRALinear, module.LoRALinear, kind))
    model = nn.Sequential(first, Pooling(), nn.ModuleList(), linear(weight), new, own)
    with torch.no_grad():
        model[0].lora_a.copy_(a)
        model[0].lora_b.copy_(b)
    model[0].requires_grad_(False)
    paths = module.merge_lora(model)
    shared = model[4].weight.data_ptr() == new.base.weight.data_ptr()
    return paths, [type(layer).__name__ for layer in model], model[0](x), shared


def merge_refused(module, after_merging):
    """A model without a LoRALinear is given to merge_lora."""
    model = built("plain")
    if after_merging:
        lora_by_hand(module, model, ["w_q"], 2, 1.0)
        module.merge_lora(model)
    try:
        module.merge_lora(model)
    except REFUSALS:
        return True
    return False


# Eight bits


def quantized_parameter(module, weight):
    """quantize_int8 of a layer's own weight, which is trained."""
    return [value.detach() for value in module.quantize_int8(nn.Parameter(weight))]


# The ring


def ring(module, chunks, spoil=None):
    """The result, the messages of each call of exchange, whether the chunks are as they were, and whether the result shares
    memory with them. `spoil` is (call, rank): what that rank receives in that call is NaN.
    """
    log = []

    def exchange(sent):
        messages = list(sent)
        log.append([message.detach().clone() for message in messages])
        received = [message.clone() for message in messages[-1:] + messages[:-1]]
        if spoil is not None and spoil[0] == len(log) - 1:
            received[spoil[1]].fill_(float("nan"))
        return received

    given = [[chunk.clone() if chunk.dim() < 2 else chunk.mT.contiguous().mT for chunk in own] for own in chunks]
    held = module.ring_all_reduce(given, exchange)
    same = all(torch.equal(x, y) for own, others in zip(given, chunks) for x, y in zip(own, others))
    memory = {x.untyped_storage().data_ptr() for own in given for x in own if x.numel()}
    shared = any(x.untyped_storage().data_ptr() in memory for own in held for x in own if x.numel())
    return {"held": held, "log": log, "untouched": same, "shared": shared}


def ring_of_one_chunk(module, chunk, p):
    """The result where every chunk of every rank is one and the same tensor, expanded."""
    own = [chunk.expand(2, *chunk.shape)] * p
    return module.ring_all_reduce([own] * p)


def ring_without_a_network(module, chunks):
    """The result with the exchange that is the default."""
    return module.ring_all_reduce(chunks)


# Parallel layers


def column_gradients(module, x, weight, bias, n_shards, cotangent):
    """The shards side by side and the gradients of x, weight and bias."""
    leaves = [value.clone().requires_grad_() for value in (x, weight) + (() if bias is None else (bias,))]
    shards = module.column_parallel_linear(*leaves[:2], leaves[2] if bias is not None else None, n_shards)
    torch.cat(list(shards), dim=-1).backward(cotangent)
    return [leaf.grad for leaf in leaves]


def row_gradients(module, xs, weight, bias, cotangent):
    """The gradients of each of xs, which are not contiguous, of weight and of bias."""
    xs = [x.clone().requires_grad_() for x in xs]
    leaves = [value.clone().requires_grad_() for value in (weight,) + (() if bias is None else (bias,))]
    scattered = [x.movedim(0, -1).contiguous().movedim(-1, 0) for x in xs]
    module.row_parallel_linear(scattered, leaves[0], leaves[1] if bias is not None else None).backward(cotangent)
    return [leaf.grad for leaf in xs + leaves]


class Sizes(torch.utils._python_dispatch.TorchDispatchMode):
    """Remembers the size of every tensor that an operator gave, and counts those that are matrices of the shape of `matrix`, or
    of its transpose, in memory of their own.
    """

    def __init__(self, matrix=None):
        super().__init__()
        self.largest, self.alike, self.matrix = 0, 0, matrix

    def __torch_dispatch__(self, operator, types, args=(), kwargs=None):
        value = operator(*args, **(kwargs or {}))
        for x in value if isinstance(value, tuple | list) else [value]:
            if isinstance(x, torch.Tensor):
                self.largest = max(self.largest, x.numel())
                if self.matrix is not None and sorted(x.shape[-2:]) == sorted(self.matrix.shape):
                    self.alike += x.untyped_storage().data_ptr() != self.matrix.untyped_storage().data_ptr()
        return value


def largest_made(module, name, args, training=False):
    """The most elements of any tensor that an operator gave during a call, views by their own size. In training, all floating
    tensors among the arguments require gradients.
    """
    leaves = [x for arg in args for x in (arg if isinstance(arg, list) else [arg]) if isinstance(x, torch.Tensor)]
    for x in leaves:
        x.requires_grad_(training)
    with Sizes() as seen:
        getattr(module, name)(*args)
    return seen.largest


# Data parallelism


class Message:
    """What a collective call gives: what was sent is under way until somebody waits for it."""

    def __init__(self, deliver, tensors=()):
        self.deliver, self.tensors = deliver, list(tensors)

    def wait(self, timeout=None):
        deliver, self.deliver = self.deliver, None
        if deliver is not None:
            with torch.no_grad():
                deliver()
        return True

    def is_completed(self):
        return self.wait()

    def get_future(self):
        self.wait()
        future = torch.futures.Future()
        future.set_result(self.tensors)
        return future


class Classroom(dist.ProcessGroup):
    """A process group whose processes are threads, so that it needs no sockets: each thread has its rank in it.

    What the ranks send is carried by one more thread. Who is deaf, it keeps to itself: to that rank NaN comes for whatever
    was sent.
    """

    def __init__(self, n_ranks, deaf=None):
        super().__init__(0, n_ranks)
        self.here, self.n_ranks = threading.local(), n_ranks
        self.meeting = threading.Barrier(n_ranks + 1, timeout=4)
        self.desk, self.post = [None] * n_ranks, [None] * n_ranks
        self.calls = [0] * n_ranks
        self.gone = []  # ranks that have ended, who come to no more meetings
        self.register()
        start_new_thread(Classroom.carry, (self, deaf))

    def register(self):
        """torch.distributed knows the group, and that rank r of all is rank r in it."""
        dist.distributed_c10d._world.pg_map[self] = ("gloo", None)
        dist.distributed_c10d._world.pg_group_ranks[self] = {rank: rank for rank in range(self.size())}

    def carry(self, deaf):
        """What the ranks brought goes to all of them, for as long as they meet."""
        try:
            while True:
                self.meeting.wait(timeout=1e6)
                seen = list(self.desk)
                for rank in range(self.n_ranks):
                    self.post[rank] = [[x.double().mul(NAN).to(x.dtype) for x in xs] for xs in seen] if rank == deaf else seen
                self.meeting.wait()
        except threading.BrokenBarrierError:
            pass

    def rank(self):
        return self.here.rank

    def size(self):
        return self.n_ranks

    def name(self):
        return "gloo"

    def swap(self, tensors):
        """What every rank brought, once all have come."""
        for x in tensors:
            if not x.is_contiguous():
                raise ValueError("Tensors must be contiguous")
        self.calls[self.here.rank] += 1
        if self.gone:
            raise RuntimeError(f"rank {self.gone[0]} has ended, and makes fewer calls than the others, who would wait for ever")
        self.desk[self.here.rank] = [x.detach().clone() for x in tensors]
        self.meeting.wait()
        self.meeting.wait()
        seen = self.post[self.here.rank]
        kinds = {tuple((tuple(x.shape), x.dtype) for x in brought) for brought in seen}
        if len(kinds) > 1:
            raise RuntimeError(
                f"the ranks brought tensors of different shapes or dtypes: {kinds}\n  hint: what a rank sends must not depend on"
                " which gradients it has; None counts as zeros, and parameters without requires_grad are left out"
            )
        return seen

    def leave(self):
        """This rank has ended: whoever waits for it waits in vain. With the last one, the carrier ends."""
        self.gone.append(self.here.rank)
        if self.meeting.n_waiting > 1 or len(self.gone) == self.n_ranks:
            self.meeting.abort()

    def allreduce(self, tensors, options=None):
        kind = getattr(options, "reduceOp", dist.ReduceOp.SUM)
        if kind != dist.ReduceOp.SUM and kind != dist.ReduceOp.AVG:  # the enum's own == does not know this kind
            raise RuntimeError("this group adds up and takes means, and nothing else")
        seen = self.swap(tensors)

        def deliver():
            for i, x in enumerate(tensors):
                total = sum(brought[i] for brought in seen)
                x.copy_(total if kind == dist.ReduceOp.SUM else total / self.n_ranks)

        return Message(deliver, tensors)

    def allreduce_coalesced(self, tensors, options=None):
        return self.allreduce(tensors, options)

    def allgather(self, outputs, inputs, options=None):
        seen = self.swap(inputs)

        def deliver():
            for i, places in enumerate(outputs):
                for place, brought in zip(places, seen, strict=True):
                    place.copy_(brought[i])

        return Message(deliver, outputs)

    def _allgather_base(self, output, given, options=None):
        seen = self.swap([given])
        together = torch.stack([brought[0] for brought in seen]).view(output.shape)
        return Message(lambda: output.copy_(together), [output])

    all_gather_single = _allgather_base  # its name from torch 2.13 on

    def barrier(self, opts=None):
        self.swap([])
        return Message(None)


class Elsewhere(Classroom):
    """The default group where the call is given another: it has two ranks more, who do not come."""

    def __init__(self, group):
        dist.ProcessGroup.__init__(self, 0, group.n_ranks + 2)
        self.here, self.n_ranks = group.here, group.n_ranks + 2
        self.register()

    def swap(self, tensors):
        raise RuntimeError("a call went to the default group, though another group was given: group=group")


def averaging(module, ranks, default=False, rounds=1, as_iterator=False, strided=False, deaf=None):
    """average_gradients by several ranks at once. `ranks[r]` is a list of (gradient or None, shape, dtype, requires_grad).
    With parameters from an iterator, it is called under no_grad.

    For each rank: the gradients afterwards, whether each tensor is still the same object, in the same memory, whether any has a
    graph, whether gradients are recorded as before; and how many collective calls each rank made.
    """
    group = Classroom(len(ranks), deaf)
    results, failures = [None] * len(ranks), []

    def parameter(gradient, shape, dtype, requires_grad):
        p = nn.Parameter(torch.ones(shape, dtype=dtype), requires_grad=requires_grad)
        if gradient is not None:
            if strided and gradient.dim() >= 2:
                p = nn.Parameter(p.detach().movedim(0, -1).contiguous().movedim(-1, 0), requires_grad=requires_grad)
                gradient = gradient.movedim(0, -1).contiguous().movedim(-1, 0)
            p.grad = gradient.clone()
        return p

    def work(rank, parameters, ended):
        group.here.rank = rank
        try:
            kept = [p.grad for p in parameters]
            places = [None if g is None else (g.data_ptr(), g.stride()) for g in kept]
            values = [p.detach().clone() for p in parameters]
            for _ in range(rounds):
                given = iter(parameters) if as_iterator else parameters
                with torch.set_grad_enabled(not as_iterator):
                    module.average_gradients(given) if default else module.average_gradients(given, group)
                    recording = torch.is_grad_enabled()
            results[rank] = {
                "gradients": [p.grad for p in parameters],
                "same objects": all(old is None or p.grad is old for p, old in zip(parameters, kept)),
                "same memory": all(g is None or (g.data_ptr(), g.stride()) == place for g, place in zip(kept, places)),
                "a graph": any(p.grad is not None and p.grad.requires_grad for p in parameters),
                "parameters untouched": all(torch.equal(p, value) for p, value in zip(parameters, values)),
                "flags": [p.requires_grad for p in parameters],
                "recording as before": recording is not as_iterator,
            }
            group.leave()
        except BaseException as error:
            failures.append(error)
            group.meeting.abort()
        ended.release()

    dist.group.WORLD = group if default else Elsewhere(group)
    ends = [threading.Lock() for _ in ranks]
    every = [[parameter(*given) for given in own] for own in ranks]
    for rank, (parameters, ended) in enumerate(zip(every, ends)):
        ended.acquire()
        start_new_thread(work, (rank, parameters, ended))  # not a Thread, whose target holds the other ranks' gradients
    for ended in ends:
        ended.acquire()
    dist.group.WORLD = None
    first = [error for error in failures if not isinstance(error, threading.BrokenBarrierError)] or failures
    if first:
        raise first[0]
    return results, group.calls
