"""Build a module, load given weights, run it: what a single call cannot say. These hold no expected values."""

import copy
import sys

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from autograder.testing.probes import Largest, Wrong, changed_around, differences, sets_a_seed, surroundings


def load(module, name, config, weights):
    """`module.name(**config)` in the weights' dtype, holding the weights: a dict of tensors by parameter name."""
    layer = getattr(module, name)(**config)
    for value in list(weights.values())[:1]:
        layer = layer.to(value.dtype)
    parameters = dict(layer.named_parameters())
    with torch.no_grad():
        for key, value in weights.items():
            if key not in parameters:
                raise Wrong(f"{name} has no parameter {key}: it has {', '.join(parameters) or 'none'}")
            parameters[key].copy_(value)
    return layer


def given(context, mask):
    """The keyword arguments that are really there."""
    return {key: value for key, value in (("context", context), ("mask", mask)) if value is not None}


def parameters(module, name, config):
    """The shapes of all parameters under every name they have, those that do not train, and the public attributes."""
    layer = getattr(module, name)(**config)
    named = dict(layer.named_parameters(remove_duplicate=False))
    return {
        "shapes": {key: list(value.shape) for key, value in named.items()},
        "frozen": [key for key, value in named.items() if not value.requires_grad],
        "attributes": {x: getattr(layer, x, "missing") for x in ("n_heads", "n_kv_heads", "head_dim")},
    }


def two_new_layers(module, name, config):
    """The parameters of two layers made one after the other, and which of them the two have in common."""
    layers = [getattr(module, name)(**config) for _ in range(2)]
    one, two = (dict(layer.named_parameters()) for layer in layers)
    common = [key for key in one if key in two and one[key].data_ptr() == two[key].data_ptr()]
    values = [{key: value.detach().clone() for key, value in named.items()} for named in (one, two)]
    return {"first": values[0], "second": values[1], "common": common}


def build(module, name, config):
    """Build the module and say that it went well."""
    getattr(module, name)(**config)
    return "built"


def build_positionally(module, name, args):
    """The shapes of the parameters of `module.name(*args)`."""
    return {key: list(value.shape) for key, value in getattr(module, name)(*args).named_parameters()}


def forward(module, name, config, weights, x, context=None, mask=None):
    """The output of the loaded module."""
    return load(module, name, config, weights)(x, **given(context, mask))


MODES = [(training, recorded) for training in (True, False) for recorded in (True, False)]


def in_every_mode(layer, call):
    """What `call()` gives in training and in evaluation mode, each with gradients recorded and without."""
    outputs = []
    for training, recorded in MODES:
        layer.train(training)
        with torch.set_grad_enabled(recorded):
            outputs.append(call().detach())
    return outputs


def forward_in_every_mode(module, name, config, weights, x, context=None, mask=None):
    """The outputs of the loaded module in training and in evaluation mode, with gradients recorded and without."""
    layer = load(module, name, config, weights)
    return in_every_mode(layer, lambda: layer(x, **given(context, mask)))


def per_head_in_every_mode(module, config, weights, x, mask=None):
    """The same through `attention_per_head`."""
    layer = load(module, "MultiHeadAttention", config, weights)
    return in_every_mode(layer, lambda: module.attention_per_head(layer, x, **given(None, mask)))


def forward_positionally(module, name, config, weights, x, context, mask):
    """The output of the loaded module, its arguments given without their names."""
    return load(module, name, config, weights)(x, context, mask)


def forward_again(module, name, config, first, weights, x, context=None, mask=None):
    """The outputs in training and in evaluation mode, and then without a mask, of a copy of a layer that was in use before with
    the weights `first`, with other inputs and another mask, and is not the last that was made; and of a new layer that loads
    the copy's weights."""
    layer = load(module, name, config, first)
    getattr(module, name)(**{key: 1 if key in ("n_heads", "n_kv_heads") else value for key, value in config.items()})
    others = [value if value is None else value.flip(-1) for value in (x, context, mask)]
    for mode in (True, False):  # in evaluation no gradients are recorded
        with torch.set_grad_enabled(mode):
            layer.train(mode)(others[0], **given(*others[1:]))
    layer = copy.deepcopy(layer)
    with torch.no_grad():
        for value, other in zip([x, context], others):
            if value is not None:
                other.copy_(value)  # the very tensors, with other numbers in them
        for key, parameter in layer.named_parameters():
            parameter.copy_(weights[key])
    outputs = []
    for mode in (True, False):
        with torch.set_grad_enabled(mode):
            outputs.append(layer.train(mode)(others[0], **given(others[1], mask)).detach())
    outputs.append(layer(others[0], **given(others[1], None)).detach())
    new = getattr(module, name)(**config).to(others[0].dtype)
    new.load_state_dict(layer.state_dict())
    return [*outputs, new(others[0], **given(others[1], mask)).detach()]


def left_behind(module, name, args):
    """What a call of module.name changed outside its own result, flags of its arguments included."""
    changed = changed_around(module, name, args)
    return changed + [f"argument {i} requires gradients" for i, x in enumerate(args) if getattr(x, "requires_grad", False)]


def with_other_numbers(module, name, args):
    """The results, without gradients recorded and with, of later calls with the very tensors of the first ones, other
    numbers in them by now."""
    held = [others_than(x) for x in args]
    for recorded in (False, True):
        with torch.set_grad_enabled(recorded):
            getattr(module, name)(*held)
    for tensor, x in zip(held, args):
        if isinstance(x, torch.Tensor):
            tensor.copy_(x)
    results = []
    for recorded in (False, True):
        with torch.set_grad_enabled(recorded):
            results.append(getattr(module, name)(*held))
    return results


def others_than(x):
    """A tensor like x with other numbers in it; anything else as it is."""
    if not isinstance(x, torch.Tensor):
        return x
    return ~x if x.dtype is torch.bool else x + 1


def made(module, name, config):
    """What making the layer changes beside PyTorch's random state, and whether it sets the seed of that."""
    seeded = sets_a_seed(lambda: getattr(module, name)(**config))
    changed = changed_around(module, name, (), config)
    return [*(["PyTorch's seed"] if seeded else []), *(each for each in changed if each != "PyTorch's random state")]


def forward_twice(module, name, config, weights, x, context, mask):
    """Both outputs of two calls, the second in evaluation mode; inputs and weights afterwards; what else changed."""
    layer = load(module, name, config, weights)
    before = surroundings()
    first = layer(x, context=context, mask=mask).detach().clone()
    second = layer.eval()(x, context=context, mask=mask)
    return {
        "first": first,
        "second": second,
        "inputs": [x, context, mask],
        "weights": {key: value.detach() for key, value in layer.named_parameters()},
        "changed": differences(before) + ["x or context requires gradients" for y in (x, context) if y.requires_grad],
    }


def laid_out_otherwise(x):
    """The same numbers in memory of another order, the last dimension first, with gaps between them."""
    if x is None:
        return None
    view = x.new_zeros(*reversed(x.shape), 2)[..., 1].permute(*reversed(range(x.dim())))
    return view.copy_(x)


def strided(module, name, x, *args):
    """module.name of an x that is not contiguous and does not begin where its memory begins."""
    return getattr(module, name)(laid_out_otherwise(x), *args)


def forward_strided(module, name, config, weights, x, context=None, mask=None):
    """The output for inputs and a mask that are not contiguous."""
    x, context, mask = map(laid_out_otherwise, (x, context, mask))
    return load(module, name, config, weights)(x, **given(context, mask))


def gradients(module, name, config, weights, cotangent, x, context=None, mask=None, training=True):
    """The output, and the gradients of the inputs and of every parameter when `cotangent` is pulled back."""
    layer = load(module, name, config, weights).train(training)
    return pull_back(layer, lambda x, context: layer(x, **given(context, mask)), cotangent, x, context)


def per_head(module, config, weights, x, mask=None):
    """`attention_per_head` of the loaded multi-head attention."""
    layer = load(module, "MultiHeadAttention", config, weights)
    return module.attention_per_head(layer, x, **given(None, mask))


def per_head_strided(module, config, weights, x, mask=None):
    """The same for an input and a mask that are not contiguous."""
    return per_head(module, config, weights, laid_out_otherwise(x), laid_out_otherwise(mask))


def per_head_again(module, config, first, weights, x, mask):
    """Two outputs, with and without gradients, of a module used before with the weights `first` and another mask."""
    layer = load(module, "MultiHeadAttention", config, first)
    held = x.flip(-1)
    for recorded in (True, False):
        with torch.set_grad_enabled(recorded):
            module.attention_per_head(layer, held, ~mask)
    with torch.no_grad():
        held.copy_(x)
        for key, parameter in layer.named_parameters():
            parameter.copy_(weights[key])
    outputs = []
    for recorded in (True, False):
        with torch.set_grad_enabled(recorded):
            outputs.append(module.attention_per_head(layer, held, mask).detach())
    return outputs


def per_head_gradients(module, config, weights, cotangent, x, mask=None, training=True):
    """As `gradients`, through `attention_per_head`."""
    layer = load(module, "MultiHeadAttention", config, weights).train(training)
    return pull_back(layer, lambda x, _: module.attention_per_head(layer, x, **given(None, mask)), cotangent, x, None)


def per_head_twice(module, config, weights, x, mask):
    """What calls of `attention_per_head` leave behind, of a module that holds gradients and does not train w_v."""
    layer = load(module, "MultiHeadAttention", config, weights)
    layer.w_v.requires_grad_(False)
    for parameter in layer.parameters():
        parameter.grad = torch.ones_like(parameter)
    before, attributes = surroundings(), set(vars(layer))
    first = module.attention_per_head(layer, x, mask).detach().clone()
    second = module.attention_per_head(layer.eval(), x, mask)
    modes = [layer.training]
    module.attention_per_head(layer.train(), x, mask)
    return {
        "training": [*modes, layer.training],
        "first": first,
        "second": second,
        "inputs": [x, mask],
        "weights": {key: value.detach() for key, value in layer.named_parameters()},
        "gradients": {key: value.grad for key, value in layer.named_parameters()},
        "frozen": sorted(key for key, value in layer.named_parameters() if not value.requires_grad),
        "changed": differences(before) + sorted(f"the module's {name}" for name in set(vars(layer)) ^ attributes),
    }


class LargestOfFloats(Largest):
    """The same for floating-point tensors alone: a mask, or a view of one, holds no scores."""

    def counts(self, x):
        return x.is_floating_point()


def largest_of_floats(module, name, args):
    """The results of module.name without gradients and with them, and the number of elements of the largest floating-point
    tensor made on the way to either."""
    live = [x.clone().requires_grad_() if torch.is_tensor(x) and x.is_floating_point() else x for x in args]
    with LargestOfFloats() as seen:
        with torch.no_grad():
            values = [getattr(module, name)(*args)]
        values.append(getattr(module, name)(*live).detach())
    return values, seen.n_elements


class Counted:
    """A function that counts its calls."""

    def __init__(self, function):
        self.function, self.n_calls = function, 0

    def __call__(self, *args, **kwargs):
        self.n_calls += 1
        return self.function(*args, **kwargs)


def per_head_largest(module, config, weights, x, mask=None, recorded=False):
    """What `attention_per_head` gives, the elements of the largest floating-point tensor made on the way and of all of them,
    and how often the layer itself was called."""
    layer = load(module, "MultiHeadAttention", config, weights)
    layer.forward = Counted(layer.forward)
    with LargestOfFloats() as seen, torch.set_grad_enabled(recorded):
        value = module.attention_per_head(layer, x, **given(None, mask))
    return value.detach(), seen.n_elements, seen.total, layer.forward.n_calls


class Nested(TorchDispatchMode):
    """Remembers how often one function at most was under way, within itself, when an operator was called."""

    def __init__(self):
        super().__init__()
        self.depth, self.outside = 0, sys._getframe(1)

    def __torch_dispatch__(self, operator, types, args=(), kwargs=None):
        frame, under_way = sys._getframe(1), {}
        while frame is not None and frame is not self.outside:
            under_way[frame.f_code] = under_way.get(frame.f_code, 0) + 1
            frame = frame.f_back
        self.depth = max(self.depth, *under_way.values())
        return operator(*args, **(kwargs or {}))


def taken_apart(module, name, args):
    """The result of module.name, how deep the recursion went, and how often merge_attention was called."""
    merge = module.merge_attention
    module.merge_attention = Counted(merge)
    try:
        with Nested() as seen:
            value = getattr(module, name)(*args)
        return value, seen.depth, module.merge_attention.n_calls
    finally:
        module.merge_attention = merge


def pull_back(layer, call, cotangent, x, context):
    """The gradients of `call(x, context)`: of all, of the parameters where inputs need none, of inputs where no layer trains."""

    def pulled(of_inputs, of_parameters):
        inputs = [y if y is None else y.clone().requires_grad_(of_inputs) for y in (x, context)]
        layer.requires_grad_(of_parameters).zero_grad()
        value = call(*inputs)
        if value.requires_grad:
            value.backward(cotangent)
        gradients = {key: parameter.grad for key, parameter in layer.named_parameters()}
        return value.detach(), *(y if y is None else y.grad for y in inputs), gradients

    value, x_grad, context_grad, gradients = pulled(True, True)
    return {
        "value": value,
        "x": x_grad,
        "context": context_grad,
        "parameters": gradients,
        "parameters alone": pulled(False, True)[-1],
        "inputs alone": pulled(True, False)[1:3],
    }
