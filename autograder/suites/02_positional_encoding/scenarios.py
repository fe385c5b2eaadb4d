"""What one call cannot express: a layer with weights of our choosing, a generator, a figure."""

import copy

import matplotlib.image
import numpy as np
import torch
from matplotlib import pyplot
from matplotlib.figure import Figure

from autograder.testing.probes import differences, sets_a_seed, strided, surroundings


def arguments_after_overwriting(module, name, args):
    """The arguments after results, with gradients recorded and without, were overwritten by whoever they were given to."""
    for recorded in (True, False):
        with torch.set_grad_enabled(recorded):
            getattr(module, name)(*args).untyped_storage().fill_(0)
    return args


def asks_for_gradients(module, name, args):
    """Whether the result requires gradients, although no argument does."""
    return getattr(module, name)(*args).requires_grad


def again_after_overwriting(module, name, args):
    """The results, with gradients recorded and without, of a second call, the first one's having been overwritten."""
    results = []
    for recorded in (True, False):
        with torch.set_grad_enabled(recorded):
            getattr(module, name)(*args).untyped_storage().fill_(0)
            results.append(getattr(module, name)(*args))
    return results


def hands_x_back(module, name, args):
    """Whether the result is the first argument itself."""
    return getattr(module, name)(*args) is args[0]


def after_change(module, name, first, args):
    """The results, with gradients recorded and without, for tensors that held `first` in an earlier call; and the tensors."""
    results, tensors = [], [x for x in args if isinstance(x, torch.Tensor)]
    for recorded in (True, False):
        with torch.set_grad_enabled(recorded):
            held = [x.clone() if isinstance(x, torch.Tensor) else x for x in first]
            getattr(module, name)(*held)
            held_tensors = [x for x in held if isinstance(x, torch.Tensor)]
            for x, values in zip(held_tensors, tensors, strict=True):
                x.copy_(values)
            results.append(getattr(module, name)(*held))
    return [*results, held_tensors]


def frequencies_of_a_learned_table(module, table):
    """channel_frequencies of a table that requires gradients."""
    return module.channel_frequencies(table.requires_grad_())


def embed(module, weight, x, offset=0, dtype=None, training=True):
    """A learned embedding with these weights, applied to x; `dtype` converts the layer first."""
    layer = module.LearnedPositionalEmbedding(*weight.shape).train(training)
    layer = layer if dtype is None else layer.to(dtype)
    with torch.no_grad():
        layer.weight.copy_(weight)
    if offset == 0:
        return layer(x)
    return layer(x, offset) if offset % 2 else layer(x=x, offset=offset)


def embed_again(module, first, weight, x, offset):
    """The sums in training and in evaluation mode, with gradients recorded and without; and x after them.

    The layer was in use in the same mode with the weights `first`.
    """
    layer, sums = module.LearnedPositionalEmbedding(*weight.shape), []
    for training, recorded in [(True, True), (True, False), (False, True), (False, False)]:
        layer.train(training)
        with torch.set_grad_enabled(recorded):
            for values in (first, weight):
                with torch.no_grad():
                    layer.weight.copy_(values)
                total = layer(x, offset)
            sums.append(total)
    return [*sums, x]


def _layer(module, weight):
    layer = module.LearnedPositionalEmbedding(*weight.shape)
    with torch.no_grad():
        layer.weight.copy_(weight)
    return layer


def embed_two_layers(module, weights, x):
    """The sums of two layers of one size, made and filled one after the other, and beside a smaller one."""
    layers = [_layer(module, weight) for weight in weights[:2]]
    module.LearnedPositionalEmbedding(1, 1)
    return [layer(x, 1) for layer in layers]


def embed_after_an_offset(module, weights, x):
    """The sums from row 0 on, in training and in evaluation mode, of a layer that was asked for another row before."""
    layer, sums = _layer(module, weights[0]), []
    for training in (True, False):
        layer.train(training)
        layer(x, 1)
        sums.append(layer(x))
    return sums


def embed_copied_layer(module, weights, x):
    """The sums of a layer and of its copy, whose weights have changed since."""
    layer = _layer(module, weights[0])
    other = copy.deepcopy(layer)
    with torch.no_grad():
        other.weight.copy_(weights[1])
    return [layer(x, 1), other(x, 1)]


def embed_restored_layer(module, weights, x):
    """The sums of a layer, and of another that has loaded what the first one saved."""
    layer, other = _layer(module, weights[0]), _layer(module, weights[1])
    other.load_state_dict(layer.state_dict())
    return [layer(x, 1), other(x, 1)]


def embed_replaced_weight(module, weights, x):
    """The sum of a layer whose parameter has been replaced by another."""
    layer = _layer(module, weights[0])
    layer(x, 1)
    layer.weight = torch.nn.Parameter(weights[1])
    return [layer(x, 1)]


def embedding_sets_a_seed(module, max_len, d_model):
    """Whether making a layer sets PyTorch's seed."""
    return sets_a_seed(lambda: module.LearnedPositionalEmbedding(max_len, d_model))


def embedding_parameters(module, max_len, d_model):
    """{name: [shape, dtype, whether it is trained]} of a new layer's parameters, each under all its names."""
    layer = module.LearnedPositionalEmbedding(max_len, d_model)
    named = torch.nn.Module.named_parameters(layer, remove_duplicate=False)  # whatever the layer may say
    return {name: [list(p.shape), p.dtype, p.requires_grad] for name, p in named}


def embedding_start(module, max_len, d_model):
    """A new layer's weights, on a machine where memory that nobody wrote to reads as NaN."""
    before = torch.get_deterministic_debug_mode()
    torch.set_deterministic_debug_mode("warn")
    try:
        return module.LearnedPositionalEmbedding(max_len, d_model).weight.detach().clone()
    finally:
        torch.set_deterministic_debug_mode(before)


def embedding_gradients(module, weight, x, offset, cotangent, training=True):
    """The gradients of the layer's weights and of its input, then of the weights where the input needs none."""
    layer = _layer(module, weight).train(training)
    parameter = layer.weight  # as an optimizer holds it
    x = x.clone().requires_grad_()
    layer(x, offset).backward(cotangent)
    found = [parameter.grad, x.grad]
    parameter.grad = None
    total = layer(x.detach(), offset)
    if total.requires_grad:
        total.backward(cotangent)
    return [*found, parameter.grad]


def embedding_leaves(module, weight, x):
    """What making a layer changed, but for the random states that it may draw from, what its use changed, and x after it.

    x is also added to weights of zero, and the sums are overwritten.
    """
    before = surroundings()
    layer = _layer(module, weight)
    made = [name for name in differences(before) if "random" not in name]
    before = surroundings()
    layer(x)
    used = differences(before)
    torch.nn.init.zeros_(layer.weight)
    for training, recorded in [(True, True), (True, False), (False, True), (False, False)]:
        layer.train(training)
        with torch.set_grad_enabled(recorded):
            layer(x).untyped_storage().fill_(0)
        used += ["its mode"] * (layer.training != training) + ["whether weight is trained"] * (not layer.weight.requires_grad)
    return [made, used, x]


def signature(module, table, n_bits, seed):
    """The signatures by a new generator with this seed."""
    return module.position_signature(table, n_bits, torch.Generator().manual_seed(seed))


def signature_bit_by_bit(module, table, n_bits, seed):
    """Signatures of one bit each by one generator, side by side."""
    generator = torch.Generator().manual_seed(seed)
    return torch.cat([module.position_signature(table, 1, generator) for _ in range(n_bits)], dim=1)


def signature_leaves_table(module, table, n_bits, seed):
    """The signatures of the table lying contiguous, with no gradients recorded, and strided, and the table afterwards."""
    with torch.no_grad():
        bits = signature(module, table, n_bits, seed)
    return [bits, strided(module, "position_signature", [table, n_bits, torch.Generator().manual_seed(seed)]), table]


def signature_twice(module, table, n_bits, seed):
    """Two signatures by one and the same generator, one after the other."""
    generator = torch.Generator().manual_seed(seed)
    first = module.position_signature(table, n_bits, generator)
    return [first, module.position_signature(table=table, n_bits=n_bits, generator=generator)]


def signature_and_random_state(module, table, n_bits, seed):
    """The signatures by the seed under two global random states, and what the calls changed outside their results."""
    results, changed = [], []
    kept = torch.get_rng_state()
    for other in (1, 2):
        torch.manual_seed(other)
        before = surroundings()
        results.append(module.position_signature(table, n_bits, torch.Generator().manual_seed(seed)))
        changed += differences(before)
    torch.set_rng_state(kept)
    return {"signatures": results, "changed": changed}


def type_of_position(module, vector, table):
    """The name of the type of nearest_position's result."""
    return type(module.nearest_position(vector, table)).__name__


def _drawn(module, table):
    """The figure, and whether drawing it has "shown" or "saved" a picture."""
    calls, kept = [], (pyplot.show, Figure.show, Figure.savefig, matplotlib.image.imsave)
    pyplot.show = Figure.show = lambda *args, **kwargs: calls.append("shown")
    Figure.savefig = matplotlib.image.imsave = lambda *args, **kwargs: calls.append("saved")
    try:
        return module.plot_encoding(table=table), calls
    finally:
        pyplot.show, Figure.show, Figure.savefig, matplotlib.image.imsave = kept


def picture(module, table, as_parameter=False, another=None):
    """What the figure shows: each image's numbers, and the labels of its axes; and the table as it was left.

    `another` is a table that is drawn after it, and then the first one is drawn again.
    """
    table = torch.nn.Parameter(table) if as_parameter else table
    before = surroundings()
    figure, calls = _drawn(module, table)
    changed = differences(before)
    handed_out_again = False
    if another is not None:
        module.plot_encoding(another)
        handed_out_again = module.plot_encoding(table) is figure
    pyplot.close("all")
    if not isinstance(figure, Figure):
        return {"type": type(figure).__name__, "images": []}
    images = [(image, axes) for axes in figure.axes for image in axes.images if image.get_visible()]
    return {
        "type": "Figure",
        # what imshow was given, not what get_array might be made to say
        "images": [torch.as_tensor(np.ma.filled(vars(image)["_A"], float("nan"))).double() for image, _ in images],
        "labels": [[axes.get_xlabel(), axes.get_ylabel()] for _, axes in images],
        "table": [table.detach(), table.requires_grad],
        "changed": changed,
        "shown or saved": calls,
        "handed out again": handed_out_again,
    }
