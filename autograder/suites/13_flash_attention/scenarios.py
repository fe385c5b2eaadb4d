"""What a single call cannot say: many tiles in a row, gradients, what is alive on the way. These hold no expected values."""

import torch

from autograder.testing.probes import Largest, differences, surroundings


def one_after_another(module, name, calls, kwargs):
    """The results of several calls, all looked at after the last one."""
    return [getattr(module, name)(*args, **kwargs) for args in calls]


def in_used_memory(module, name, args):
    """What the call returns where memory is not what it was when it was new: what is never written is NaN."""
    before = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    torch.use_deterministic_algorithms(True, warn_only=True)  # PyTorch then fills what `empty` hands out
    try:
        return getattr(module, name)(*args)
    finally:
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])


def block_defaults(module, name):
    """What block_q and block_k are when they are not given, where the signature says a number."""
    import inspect

    function = getattr(module, name)
    parameters = inspect.signature(getattr(function, "forward", function)).parameters
    found = {block: parameters[block].default for block in ("block_q", "block_k") if block in parameters}
    return {block: default for block, default in found.items() if type(default) is int}


class LargestFloat(Largest):
    """As Largest, counting floating numbers alone: scores and weights, not masks."""

    def counts(self, x):
        return x.is_floating_point()


def largest_float(module, name, args):
    """The number of elements of the largest floating tensor that the call made."""
    with LargestFloat() as seen:
        getattr(module, name)(*args)
    return seen.n_elements


class LargestConversion(Largest):
    """The most elements of half precision that were turned into a wider dtype at once."""

    def __torch_dispatch__(self, operator, types, args=(), kwargs=None):
        value = operator(*args, **(kwargs or {}))
        name = operator.overloadpacket.__name__
        source = args[0] if name == "_to_copy" else args[1] if name == "copy_" else None
        if source is not None and source.dtype.itemsize == 2 and value.dtype.itemsize > 2 and value.is_floating_point():
            self.n_elements = max(self.n_elements, source.numel())
        return value


def largest_conversion(module, name, args):
    """The number of elements of half precision that the call converted at most at once."""
    with LargestConversion() as seen:
        getattr(module, name)(*args)
    return seen.n_elements


class LargestInFloat32(Largest):
    """As Largest, counting float32 alone."""

    def __torch_dispatch__(self, operator, types, args=(), kwargs=None):
        value = operator(*args, **(kwargs or {}))
        for x in value if isinstance(value, tuple | list) else [value]:
            if isinstance(x, torch.Tensor) and x.dtype == torch.float32:
                self.n_elements = max(self.n_elements, x.numel())
        return value


def largest_in_float32(module, name, args):
    """The number of elements of the largest float32 tensor that the call made."""
    with LargestInFloat32() as seen:
        getattr(module, name)(*args)
    return seen.n_elements


def first_state(scores, v):
    """m, l, acc before the first tile."""
    m = torch.full(scores.shape[:-1], -torch.inf, dtype=scores.dtype)
    return m, torch.zeros_like(m), torch.zeros(*m.shape, v.shape[-1], dtype=v.dtype)


def tiles_in_a_row(module, scores, v, cuts):
    """The states after each tile, the keys cut at `cuts`."""
    state, states = first_state(scores, v), []
    for left, right in zip([0, *cuts], [*cuts, scores.shape[-1]]):
        state = module.online_softmax_tile(*state, scores[..., left:right], v[..., left:right, :])
        states.append(list(state))
    return states


def tiles_in_order(module, scores, v, tiles):
    """The last state when the tiles (start, stop) come in the order of the list."""
    state = first_state(scores, v)
    for left, right in tiles:
        state = module.online_softmax_tile(*state, scores[..., left:right], v[..., left:right, :])
    return list(state)


def tile_gradients(module, scores, v, cuts, cotangent_out, cotangent_lse):
    """The gradients of scores and v through (out, lse) of the normalised result; rows that see nothing have out 0."""
    scores, v = scores.clone().requires_grad_(), v.clone().requires_grad_()
    m, l, acc = first_state(scores, v)
    for left, right in zip([0, *cuts], [*cuts, scores.shape[-1]]):
        m, l, acc = module.online_softmax_tile(m, l, acc, scores[..., left:right], v[..., left:right, :])
    seen = (scores.detach() > -torch.inf).any(-1)
    total = torch.where(seen, l, torch.ones_like(l))
    out = acc / total.unsqueeze(-1)
    lse = torch.where(seen, m + total.log(), torch.zeros_like(m))
    loss = (out * cotangent_out).sum() + (lse * cotangent_lse).sum()
    if loss.requires_grad:
        loss.backward()
    return {"scores": scores.grad, "v": v.grad}


def carried_gradients(module, m, l, acc, scores, v, cotangent):
    """The gradients of l and acc, what was summed before, through acc / l after one more tile."""
    l, acc = l.clone().requires_grad_(), acc.clone().requires_grad_()
    _, total, after = module.online_softmax_tile(m, l, acc, scores, v)
    ((after / total.unsqueeze(-1)) * cotangent).sum().backward()
    return {"l": l.grad, "acc": acc.grad}


def applied(module, q, k, v, options, wrt=(0, 1, 2), cotangent=None):
    """out of FlashAttention.apply and the gradients of the inputs at `wrt`; without a cotangent, those of out.sum().

    "inputs" is what the call left of them, and of the cotangent.
    """
    inputs = [x.clone().requires_grad_(i in wrt) for i, x in enumerate((q, k, v))]
    out = module.FlashAttention.apply(*inputs, *options)
    if cotangent is None:
        out.sum().backward()
    else:
        out.backward(cotangent)
    kept = [x.detach() for x in inputs] + ([] if cotangent is None else [cotangent])
    return {"out": out.detach(), "gradients": [x.grad for x in inputs], "inputs": kept}


def applied_twice(module, first, second):
    """out and gradients of two problems, (q, k, v, options, cotangent) each: both forward passes, then both backward, twice.

    Also what the calls changed that belongs to neither.
    """
    before, runs = surroundings(), []
    for q, k, v, options, cotangent in (first, second):
        inputs = [x.clone().requires_grad_() for x in (q, k, v)]
        runs.append((inputs, module.FlashAttention.apply(*inputs, *options), cotangent))
    for _, out, cotangent in runs:
        out.backward(cotangent, retain_graph=True)
        out.backward(cotangent)
    changed = differences(before)
    return [{"out": out.detach(), "gradients": [x.grad for x in inputs]} for inputs, out, _ in runs] + [changed]


def applied_through_views(module, q, k, v, options, cotangent):
    """As `applied`, but each input is a transposed view of what its gradient belongs to."""
    leaves = [x.transpose(0, 1).contiguous().requires_grad_() for x in (q, k, v)]
    out = module.FlashAttention.apply(*(x.transpose(0, 1) for x in leaves), *options)
    out.transpose(0, 1).backward(cotangent.transpose(0, 1).contiguous())
    return {"out": out.detach(), "gradients": [x.grad.transpose(0, 1) for x in leaves]}


def without_gradients(module, q, k, v, options):
    """out under no_grad, and whether it is attached to anything."""
    with torch.no_grad():
        out = module.FlashAttention.apply(q.clone().requires_grad_(), k, v, *options)
    return {"out": out, "attached": out.requires_grad}


def second_derivative(module, q, k, v):
    """What asking for a second derivative gives: "refused", or the gradient of out and of the squared gradient together."""
    q = q.clone().requires_grad_()
    out = module.FlashAttention.apply(q, k, v)
    try:  # to refuse the graph of the first is to refuse the second
        (first,) = torch.autograd.grad(out.square().sum(), q, create_graph=True)
        (out.sum() + first.square().sum()).backward()
    except Exception:
        return "refused"
    return q.grad


def is_a_function(module):
    """Whether FlashAttention is what autograd calls a Function."""
    return isinstance(module.FlashAttention, type) and issubclass(module.FlashAttention, torch.autograd.Function)


def train(module, q, k, v, options):
    """One forward and one backward pass; a number to show for it."""
    inputs = [x.requires_grad_() for x in (q, k, v)]
    module.FlashAttention.apply(*inputs, *options).sum().backward()
    return float(inputs[0].grad.abs().sum())


def forward_of(module, q, k, v, options):
    """The sum of lse: a number to show for a forward pass."""
    return float(module.flash_attention_forward(q, k, v, *options)[1].sum())


def backward_of(module, q, k, v, options):
    """A number to show for a backward pass with q in the place of out and of its gradient (of equal shape)."""
    lse = torch.full(q.shape[:-1], 40.0, dtype=q.dtype)
    return float(module.flash_attention_backward(q, q, k, v, q, lse, *options)[0].abs().sum())


def largest_in_training(module, q, k, v, options):
    """The number of elements of the largest tensor of a forward and a backward pass."""
    inputs = [x.clone().requires_grad_() for x in (q, k, v)]
    with Largest() as seen:
        module.FlashAttention.apply(*inputs, *options).sum().backward()
    return seen.n_elements


def kept_for_backward(module, q, k, v, options):
    """How many elements autograd keeps from the forward pass for the backward pass, inputs and outputs included."""
    kept = {}
    inputs = [x.clone().requires_grad_() for x in (q, k, v)]

    def keep(x):
        kept[x.untyped_storage().data_ptr()] = x.untyped_storage().nbytes() // x.element_size()
        return x

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda x: x):
        out = module.FlashAttention.apply(*inputs, *options)
    on_the_side = [x for x in vars(out.grad_fn).values() if isinstance(x, torch.Tensor)] if out.grad_fn else []
    for x in on_the_side:
        keep(x)
    return sum(kept.values())
