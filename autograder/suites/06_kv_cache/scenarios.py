"""Caches, attention layers and models built, loaded with given weights and used, beside the student's code."""

import importlib
import sys

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

REFUSALS = (ValueError, TypeError, IndexError)


def kept(value):
    """A copy, since what a cache hands out may change with the cache."""
    if isinstance(value, torch.Tensor):
        return value.detach().clone()
    return tuple(map(kept, value)) if isinstance(value, tuple | list) else value


def refused(call, *args, also=()):
    """(the value, whether it was refused)."""
    try:
        return kept(call(*args)), False
    except (*REFUSALS, *also):
        return None, True


# KVCache


def cache_session(module, sizes, dtype, operations):
    """What each operation on a new cache returned, whether it was refused, and the length after it."""
    cache = module.KVCache(**sizes) if dtype is None else module.KVCache(**sizes, dtype=dtype)
    seen = []
    for name, *args in operations:
        value, was_refused = refused(getattr(cache, name), *args)
        seen.append({"value": value, "refused": was_refused, "length": cache.length})
    return seen


def cache_size(module, sizes, dtype, fill):
    """nbytes before and after `fill` positions went into every layer."""
    cache = module.KVCache(**sizes, dtype=dtype)
    before = cache.nbytes
    k = torch.zeros(sizes["batch_size"], sizes["n_kv_heads"], fill, sizes["head_dim"], dtype=dtype)
    for layer in range(sizes["n_layers"]):
        cache.update(layer, k, k)
    return [before, cache.nbytes]


def cache_copies_in(module, sizes, k, v, more):
    """Append k and v that lie in memory in another order, overwrite them, append more; whether inputs were changed."""
    cache = module.KVCache(**sizes, dtype=k.dtype)
    scattered = [x.permute(3, 2, 1, 0).contiguous().permute(3, 2, 1, 0) for x in (k, v)]
    cache.update(0, *scattered)
    unchanged = torch.equal(scattered[0], k) and torch.equal(scattered[1], v)
    for x in scattered:
        x.zero_()
    return kept(cache.update(0, more, more)), unchanged


class _Made(TorchDispatchMode):
    """Counts the bytes of the storages that operators made; views of what was there count nothing."""

    def __init__(self):
        super().__init__()
        self.n_bytes = 0

    def __torch_dispatch__(self, operator, types, args=(), kwargs=None):
        there = set()
        for x in torch.utils._pytree.tree_leaves((args, kwargs)):
            if isinstance(x, torch.Tensor):
                there.add(x.untyped_storage().data_ptr())
        value = operator(*args, **(kwargs or {}))
        for x in torch.utils._pytree.tree_leaves(value):
            if isinstance(x, torch.Tensor) and x.untyped_storage().data_ptr() not in there:
                self.n_bytes += x.untyped_storage().nbytes()
        return value


def bytes_made_by_update(module, sizes, held, t):
    """Bytes of new tensors made by an update of t positions when `held` are there already."""
    cache = module.KVCache(**sizes)
    shape = sizes["batch_size"], sizes["n_kv_heads"], held, sizes["head_dim"]
    cache.update(0, torch.ones(shape), torch.ones(shape))
    k, v = torch.ones(*shape[:2], t, shape[3]), torch.ones(*shape[:2], t, shape[3])
    with _Made() as made:
        cache.update(0, k, v)
    return made.n_bytes


# Attention and models


def course(module, name, home):
    """A class of an earlier module: as this module has it, or else from where it is at home."""
    return getattr(module, name, None) or getattr(importlib.import_module(f"exercises.{home}"), name)


def load(target, weights):
    """The module with the given weights in place of its own."""
    parameters = dict(target.named_parameters(remove_duplicate=False))
    target.to(next(iter(weights.values())).dtype)
    with torch.no_grad():
        for name, value in weights.items():
            parameters[name].copy_(value)
    return target


def attention_of(module, sizes, weights):
    """A MultiHeadAttention, or a GroupedQueryAttention where n_kv_heads is given, with these weights."""
    name = "GroupedQueryAttention" if "n_kv_heads" in sizes else "MultiHeadAttention"
    return load(course(module, name, "multi_head_attention")(**sizes), weights)


def attention_cache(module, attention, n_layers, b, max_len, dtype):
    """A cache for such a layer."""
    n_kv_heads = getattr(attention, "n_kv_heads", attention.n_heads)
    return module.KVCache(n_layers, b, n_kv_heads, max_len, attention.head_dim, dtype=dtype)


def attended(module, sizes, weights, x, pieces, max_len, n_layers=1, layer=0):
    """attend_with_cache on x piece by piece, put together again."""
    attention = attention_of(module, sizes, weights)
    cache = attention_cache(module, attention, n_layers, len(x), max_len, x.dtype)
    with torch.no_grad():
        rows = [kept(module.attend_with_cache(attention, piece, cache, layer)) for piece in x.split(pieces, dim=1)]
    return torch.cat(rows, dim=1)


def attended_in_two_layers(module, sizes, first, second, x):
    """Two attention layers take turns on one cache, token by token: the rows of both."""
    layers = [attention_of(module, sizes, first), attention_of(module, sizes, second)]
    cache = attention_cache(module, layers[0], 2, len(x), x.shape[1], x.dtype)
    rows = [[], []]
    with torch.no_grad():
        for token in x.split(1, dim=1):
            for layer, attention in enumerate(layers):
                rows[layer].append(kept(module.attend_with_cache(attention, token, cache, layer)))
    return [torch.cat(parts, dim=1) for parts in rows]


def keys_after_attending(module, sizes, weights, x, pieces):
    """All that the layer holds after x was attended to, in pieces, and one more update with ones; and cache.length."""
    attention = attention_of(module, sizes, weights)
    cache = attention_cache(module, attention, 1, len(x), x.shape[1] + 1, x.dtype)
    with torch.no_grad():
        for piece in x.split(pieces, dim=1):
            module.attend_with_cache(attention, piece, cache, 0)
    length = cache.length
    n_kv_heads = getattr(attention, "n_kv_heads", attention.n_heads)
    ones = torch.ones(len(x), n_kv_heads, 1, attention.head_dim, dtype=x.dtype)
    return kept(cache.update(0, ones, ones)), length


def attended_scattered(module, sizes, weights, x):
    """attend_with_cache on an x that lies in memory in another order, and whether x is as it was."""
    attention = attention_of(module, sizes, weights)
    cache = attention_cache(module, attention, 1, len(x), x.shape[1], x.dtype)
    scattered = x.permute(2, 1, 0).contiguous().permute(2, 1, 0)
    with torch.no_grad():
        rows = kept(module.attend_with_cache(attention, scattered, cache, 0))
    return rows, torch.equal(scattered, x)


def attended_past_the_end(module, sizes, weights, x, too_long):
    """x without its last token, a piece that does not fit, the last token: refused? and the last row."""
    attention = attention_of(module, sizes, weights)
    cache = attention_cache(module, attention, 1, len(x), x.shape[1], x.dtype)
    with torch.no_grad():
        module.attend_with_cache(attention, x[:, :-1], cache, 0)
        _, was_refused = refused(module.attend_with_cache, attention, too_long, cache, 0)
        length = cache.length
        return was_refused, length, kept(module.attend_with_cache(attention, x[:, -1:], cache, 0))


def model_of(module, config, weights):
    """A MiniGPT with the given weights."""
    gpt = course(module, "MiniGPT", "decoder_only")
    return load(gpt(sys.modules[gpt.__module__].GPTConfig(**config)), weights)


def model_cache(module, config, b, max_len, dtype):
    """A cache for such a model."""
    return module.KVCache(config["n_layers"], b, config["n_heads"], max_len, config["d_model"] // config["n_heads"], dtype=dtype)


def model_session(module, config, weights, b, max_len, operations):
    """What each operation returned, whether it was refused, and the cache's length after it.

    `prefill` and `decode_step` take ids; `truncate` and `reorder` are the cache's own.
    """
    model = model_of(module, config, weights)
    cache = model_cache(module, config, b, max_len, next(iter(weights.values())).dtype)
    seen = []
    with torch.no_grad():
        for name, argument in operations:
            if name in ("prefill", "decode_step"):
                value, was_refused = refused(getattr(module, name), model, argument, cache)
            else:
                value, was_refused = refused(getattr(cache, name), argument)
            seen.append({"value": value, "refused": was_refused, "length": cache.length})
    return seen


def ids_untouched(module, config, weights, ids):
    """Whether ids that lie in memory column by column give logits and are left as they are."""
    model = model_of(module, config, weights)
    cache = model_cache(module, config, len(ids), ids.shape[1] + 1, next(iter(weights.values())).dtype)
    scattered = ids.t().contiguous().t()
    with torch.no_grad():
        logits = kept(module.prefill(model, scattered, cache))
        step = kept(module.decode_step(model, scattered[:, 0], cache))
    return logits, step, torch.equal(scattered, ids)


def step_flops(module, config, weights, prompts):
    """Operations of the matrix products of one decode_step after each of the prompts."""
    model = model_of(module, config, weights)
    counts = []
    for ids in prompts:
        cache = model_cache(module, config, len(ids), ids.shape[1] + 1, next(iter(weights.values())).dtype)
        with torch.no_grad():
            module.prefill(model, ids, cache)
            with FlopCounterMode(display=False) as counter:
                module.decode_step(model, ids[:, 0], cache)
        counts.append(counter.get_total_flops())
    return counts


# generate


def generated(module, config, weights, ids, n, use_cache=None, training=True):
    """generate on a MiniGPT, and what could be seen from outside."""
    model = model_of(module, config, weights).train(training)
    scattered = ids.t().contiguous().t()
    recorded = []
    model.final_norm.register_forward_hook(lambda norm, args, value: recorded.append(value.requires_grad))
    value = module.generate(model, scattered, n, **({} if use_cache is None else {"use_cache": use_cache}))
    return {
        "ids": kept(value),
        "the prompt is as it was": torch.equal(scattered, ids),
        "a graph was recorded": any(recorded),
        "training": model.training,
        "gradients are recorded afterwards": torch.is_grad_enabled() and not torch.is_inference_mode_enabled(),
        "weights require gradients afterwards": all(weight.requires_grad for weight in model.parameters()),
    }


def trained_on_generated(module, config, weights, ids, n):
    """Generate, then take the gradient of a loss on the generated text: of the token embedding."""
    model = model_of(module, config, weights)
    text = module.generate(model, ids, n)
    logits, _ = model(text[:, :-1])
    torch.nn.functional.cross_entropy(logits.flatten(0, 1), text[:, 1:].flatten()).backward()
    return model.token_embedding.weight.grad


def generation_flops(module, config, weights, ids, n, use_cache):
    """Operations of the matrix products of a whole generation."""
    model = model_of(module, config, weights)
    with FlopCounterMode(display=False) as counter:
        module.generate(model, ids, n, use_cache=use_cache)
    return counter.get_total_flops()


# PagedKVCache


def pool_session(module, sizes, operations):
    """What each operation on a new pool returned, whether it was refused, and the free blocks after it."""
    pool = module.PagedKVCache(**sizes)
    seen = [{"value": None, "refused": False, "free": pool.n_free_blocks}]
    for name, *args in operations:
        value, was_refused = refused(getattr(pool, name), *args, also=(KeyError,))
        seen.append({"value": value, "refused": was_refused, "free": pool.n_free_blocks})
    return seen


def pool_keeps_copies(module, sizes, k, v, other):
    """Append k and v that lie in memory in another order, overwrite them, gather, and give the blocks to another."""
    pool = module.PagedKVCache(**sizes)
    scattered = [x.permute(2, 1, 0).contiguous().permute(2, 1, 0) for x in (k, v)]
    pool.append("a", *scattered)
    unchanged = torch.equal(scattered[0], k) and torch.equal(scattered[1], v)
    for x in scattered:
        x.zero_()
    first = pool.gather("a")
    pool.free("a")
    pool.append("b", other, other)
    return first, kept(pool.gather("b")), unchanged
