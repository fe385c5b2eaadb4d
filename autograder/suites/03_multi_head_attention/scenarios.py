"""Build a module, load given weights, run it: what a single call cannot say. These hold no expected values."""

import random

import numpy as np
import torch
from torch.utils._python_dispatch import TorchDispatchMode


def surroundings():
    """Everything global that a call might change without being asked to, away from where an earlier call left it."""
    torch.set_default_dtype(torch.float32)
    torch.rand(1), np.random.rand(), random.random()
    return state()


def state():
    """The global states by name."""
    return {
        "PyTorch's random state": torch.get_rng_state().tolist(),
        "NumPy's random state": repr(np.random.get_state()),
        "Python's random state": random.getstate(),
        "the default dtype": torch.get_default_dtype(),
        "whether gradients are recorded": torch.is_grad_enabled(),
    }


def changed_around(module, name, args):
    """What a call of module.name(*args) changed outside its own result."""
    before = surroundings()
    getattr(module, name)(*args)
    return differences(before)


def differences(before):
    """The names of what is no longer as it was."""
    after = state()
    return [name for name in before if before[name] != after[name]]


def load(module, name, config, weights):
    """`module.name(**config)` in the weights' dtype, holding the weights: a dict of tensors by parameter name."""
    layer = getattr(module, name)(**config)
    for value in list(weights.values())[:1]:
        layer = layer.to(value.dtype)
    parameters = dict(layer.named_parameters())
    with torch.no_grad():
        for key, value in weights.items():
            if key not in parameters:
                raise AttributeError(f"{name} has no parameter {key}: it has {', '.join(parameters)}")
            parameters[key].copy_(value)
    return layer


def given(context, mask):
    """The keyword arguments that are really there."""
    return {key: value for key, value in (("context", context), ("mask", mask)) if value is not None}


def parameters(module, name, config):
    """The shapes of all trainable parameters by name, and the public attributes."""
    layer = getattr(module, name)(**config)
    shapes = {key: list(value.shape) for key, value in layer.named_parameters() if value.requires_grad}
    attributes = {key: getattr(layer, key, None) for key in ("n_heads", "n_kv_heads", "head_dim")}
    return {"shapes": shapes, "attributes": attributes}


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


def forward_positionally(module, name, config, weights, x, context, mask):
    """The output of the loaded module, its arguments given without their names."""
    return load(module, name, config, weights)(x, context, mask)


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
        "changed": differences(before),
    }


def forward_strided(module, name, config, weights, x, mask=None):
    """The output for an x whose memory is laid out with time before batch."""
    x = x.transpose(0, 1).contiguous().transpose(0, 1)
    return load(module, name, config, weights)(x, **given(None, mask))


def gradients(module, name, config, weights, cotangent, x, context=None, mask=None):
    """The output, and the gradients of the inputs and of every parameter when `cotangent` is pulled back."""
    layer = load(module, name, config, weights)
    return pull_back(layer, lambda x, context: layer(x, **given(context, mask)), cotangent, x, context)


def per_head(module, config, weights, x, mask=None):
    """`attention_per_head` of the loaded multi-head attention."""
    layer = load(module, "MultiHeadAttention", config, weights)
    return module.attention_per_head(layer, x, **given(None, mask))


def per_head_gradients(module, config, weights, cotangent, x, mask=None):
    """As `gradients`, through `attention_per_head`."""
    layer = load(module, "MultiHeadAttention", config, weights)
    return pull_back(layer, lambda x, _: module.attention_per_head(layer, x, **given(None, mask)), cotangent, x, None)


def per_head_twice(module, config, weights, x, mask):
    """What two calls of `attention_per_head` leave behind."""
    layer = load(module, "MultiHeadAttention", config, weights)
    before = surroundings()
    first = module.attention_per_head(layer, x, mask).detach().clone()
    second = module.attention_per_head(layer, x, mask)
    return {
        "first": first,
        "second": second,
        "inputs": [x, mask],
        "weights": {key: value.detach() for key, value in layer.named_parameters()},
        "changed": differences(before),
    }


def per_head_largest(module, config, weights, x):
    """The number of elements of the largest tensor that `attention_per_head` made."""
    layer = load(module, "MultiHeadAttention", config, weights)
    with Largest() as seen, torch.no_grad():
        module.attention_per_head(layer, x)
    return seen.n_elements


def pull_back(layer, call, cotangent, x, context):
    """The gradients of `call(x, context)`."""
    x = x.clone().requires_grad_()
    context = context if context is None else context.clone().requires_grad_()
    value = call(x, context)
    value.backward(cotangent)
    return {
        "value": value.detach(),
        "x": x.grad,
        "context": None if context is None else context.grad,
        "parameters": {key: parameter.grad for key, parameter in layer.named_parameters()},
    }


class Largest(TorchDispatchMode):
    """Remembers the most elements that the storage of any operator's result could hold."""

    def __init__(self):
        super().__init__()
        self.n_elements = 0

    def __torch_dispatch__(self, operator, types, args=(), kwargs=None):
        value = operator(*args, **(kwargs or {}))
        for x in value if isinstance(value, tuple | list) else [value]:
            if isinstance(x, torch.Tensor):
                self.n_elements = max(self.n_elements, x.untyped_storage().nbytes() // x.element_size())
        return value
