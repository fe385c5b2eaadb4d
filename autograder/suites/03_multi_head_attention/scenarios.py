"""Build a module, load given weights, run it: what a single call cannot say. These hold no expected values."""

import torch

from autograder.testing.probes import Largest, differences, sets_a_seed, surroundings


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


def forward_again(module, name, config, first, weights, x, context=None, mask=None):
    """The outputs in training and in evaluation mode, of a layer that was in use before with the weights `first`, with
    other inputs and another mask."""
    layer = load(module, name, config, first)
    others = [value if value is None else value.flip(-1) for value in (x, context, mask)]
    for mode in (True, False):
        layer.train(mode)(others[0], **given(*others[1:]))
    with torch.no_grad():
        for value, other in zip([x, context], others):
            if value is not None:
                other.copy_(value)  # the very tensors, with other numbers in them
        for key, parameter in layer.named_parameters():
            parameter.copy_(weights[key])
    return [layer.train(mode)(others[0], **given(others[1], mask)) for mode in (True, False)]


def sets_the_seed(module, name, config):
    """Whether making the layer sets PyTorch's seed."""
    return sets_a_seed(lambda: getattr(module, name)(**config))


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
    second = module.attention_per_head(layer.eval(), x, mask)
    modes = [layer.training]
    module.attention_per_head(layer.train(), x, mask)
    return {
        "training": [*modes, layer.training],
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
