"""Caches, attention layers and models built, loaded with given weights and used, beside the student's code."""

import importlib
import sys
import tracemalloc

import torch

from autograder.testing.probes import FORMULAS, Flops, InThreads, differences, scattered, surroundings

REFUSALS = (ValueError, TypeError, IndexError)


def kept(value):
    """A copy, since what a cache hands out may change with the cache."""
    if isinstance(value, torch.Tensor):
        return value.detach().clone()
    return tuple(map(kept, value)) if isinstance(value, tuple | list) else value


def refused(call, *args, also=()):
    """(the value, whether it was refused)."""
    try:
        return call(*args), False
    except (*REFUSALS, *also):
        return None, True


def used(call, *args, also=()):
    """`refused`, with a copy of the value and with arguments that are overwritten afterwards, and whether the call
    itself left them, and whether gradients are recorded, as they were."""
    recording = torch.is_grad_enabled()
    lent = [x.clone() if isinstance(x, torch.Tensor) else x for x in args]
    value, was_refused = refused(call, *lent, also=also)
    value, left_alone = kept(value), torch.is_grad_enabled() == recording
    for own, x in zip(lent, args, strict=True):
        if isinstance(x, torch.Tensor):
            left_alone = left_alone and torch.equal(own, x)
            own.zero_()
    return value, was_refused, left_alone


def state_of(target, x):
    """What a module is: what is in it, its modes, what it trains, its gradients, and what it makes of x by itself."""
    parts, weights = list(target.modules()), list(target.parameters())
    with torch.no_grad():
        value = target(x)
    return {
        "what it computes": (value[0] if isinstance(value, tuple) else value).tolist(),
        "the names and dtypes of its state": sorted((name, str(x.dtype)) for name, x in target.state_dict().items()),
        "what attributes it has": [sorted(name for name in vars(part) if not hasattr(type(part), name)) for part in parts],
        "the modes of its parts": [part.training for part in parts],
        "weights that require gradients": [weight.requires_grad for weight in weights],
        "gradients": [None if weight.grad is None else weight.grad.sum().item() for weight in weights],
        "hooks": [len(part._forward_hooks) + len(part._forward_pre_hooks) for part in parts],
    }


def changed(arguments, called, target, x, before, around):
    """What is no longer as it was: of the arguments, by name and whether they still are; of the target, called a layer or
    a model, where `before` is what `state_of` gave; and around it, where `around` is what `surroundings` gave."""
    after = state_of(target, x)
    changes = [name for name, is_kept in arguments.items() if not is_kept]
    return changes + [f"the {called}: {name}" for name in before if after[name] != before[name]] + differences(around)


def session(module, kind, sizes, operations, count):
    """What each operation on a new object of this class returned, whether it was refused, and its count after it."""
    held, seen = getattr(module, kind)(**sizes), []
    also = (KeyError,) if kind == "PagedKVCache" else ()
    for name, *args in operations:
        value, was_refused, left_alone = used(getattr(held, name), *args, also=also)
        seen.append({"value": value, "refused": was_refused, count: getattr(held, count), "left alone": left_alone})
    return seen


def error_of(module, kind, sizes, operations):
    """Raises what the last of these operations raises on a new object of this class."""
    held = getattr(module, kind)(**sizes)
    for name, *args in operations[:-1]:
        used(getattr(held, name), *args, also=(KeyError,))
    name, *args = operations[-1]
    getattr(held, name)(*args)


# KVCache


def cache_size(module, sizes, dtype, fill):
    """nbytes before and after `fill` positions went into every layer, after truncation and after reordering; the
    arguments are given by position."""
    names = ("n_layers", "batch_size", "n_kv_heads", "max_len", "head_dim")
    cache = module.KVCache(*(sizes[name] for name in names), dtype, "cpu")
    seen = [cache.nbytes]
    k = torch.zeros(sizes["batch_size"], sizes["n_kv_heads"], fill, sizes["head_dim"], dtype=dtype)
    for layer in range(sizes["n_layers"]):
        cache.update(layer, k, k)
    seen.append(cache.nbytes)
    cache.truncate(fill // 2)
    seen.append(cache.nbytes)
    cache.reorder(torch.arange(sizes["batch_size"]))
    return [*seen, cache.nbytes]


def cache_copies_in(module, sizes, k, v, more):
    """Append k and v that lie in memory in another order and require gradients, overwrite them, append more; and what
    else could be seen from outside. Some arguments are given by name."""
    before = surroundings()
    cache = module.KVCache(**sizes, dtype=k.dtype)
    given = [scattered(x).requires_grad_() for x in (k, v)]
    cache.truncate(length=0)
    cache.update(0, *given)
    seen = {
        "k and v are as they were": torch.equal(given[0], k) and torch.equal(given[1], v),
        "k and v still require gradients": all(x.requires_grad for x in given),
    }
    with torch.no_grad():
        for x in given:
            x.zero_()
        cache.update(layer=0, k=more[:, :, :0], v=more[:, :, :0])
        seen["gradients stay off where they are off"] = not torch.is_grad_enabled()
    cache.reorder(beam_index=torch.arange(sizes["batch_size"]))
    k_all, v_all = cache.update(0, more, more)
    weight = torch.ones((), dtype=k.dtype, requires_grad=True)
    (k_all * weight + v_all * weight).sum().backward()  # as by a model that is not under no_grad
    return kept((k_all, v_all)), seen | {
        "a graph is kept": k_all.requires_grad or v_all.requires_grad,
        "changed for everyone": differences(before),
    }


def two_caches(module, sizes, k, v):
    """Two caches of one size take turns: k and v go position by position into one, v and k into the other."""
    caches = [module.KVCache(**sizes, dtype=k.dtype) for _ in range(2)]
    for i in range(k.shape[2]):
        caches[0].update(0, k[:, :, i : i + 1], v[:, :, i : i + 1])
        caches[1].update(0, v[:, :, i : i + 1], k[:, :, i : i + 1])
    caches[1].truncate(1)
    return [kept(cache.update(0, k[:, :, :0], v[:, :, :0])) for cache in caches], [cache.length for cache in caches]


class _Made(InThreads):
    """Counts the bytes of the storages that operators made; views of what was there count nothing."""

    def __init__(self, device="cpu"):
        super().__init__()
        self.n_bytes, self.device = 0, device

    def __torch_dispatch__(self, operator, types, args=(), kwargs=None):
        there = set()
        for x in torch.utils._pytree.tree_leaves((args, kwargs)):
            if isinstance(x, torch.Tensor):
                there.add(x.untyped_storage()._cdata)  # on the meta device there is no address
        value = operator(*args, **(kwargs or {}))
        for x in torch.utils._pytree.tree_leaves(value):
            if not isinstance(x, torch.Tensor) or x.device.type != self.device:
                continue
            if x.untyped_storage()._cdata not in there:
                self.n_bytes += x.untyped_storage().nbytes()
        return value


def bytes_made_by_constructor(module, sizes, device):
    """Bytes of the tensors that KVCache makes on this device, given by its name and as a torch.device."""
    n_bytes = []
    for given in (device, torch.device(device)):
        with _Made(device) as made:
            module.KVCache(**sizes, device=given)
        n_bytes.append(made.n_bytes)
    return n_bytes


def bytes_made_by_updates(module, sizes, pieces, others):
    """For one update of layer 0 after the other, of so many positions each: the bytes of the new tensors that it made,
    the most that Python held for it (which NumPy's arrays are part of), and whether what it returned lies in the same
    memory as what the one before it returned. Then what an update of layer 1 with other keys and values returns."""
    cache, before, seen = module.KVCache(**sizes), None, []
    for t in pieces:
        k, v = (torch.ones(sizes["batch_size"], sizes["n_kv_heads"], t, sizes["head_dim"]) for _ in "kv")
        tracemalloc.start()
        with _Made() as made:
            held = cache.update(0, k, v)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        memory = [x.untyped_storage().data_ptr() for x in held]
        seen.append((made.n_bytes, peak, before in (None, memory)))
        before = memory
    return seen, kept(cache.update(1, *others))


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
        rows = [module.attend_with_cache(attention, piece, cache, layer) for piece in x.split(pieces, dim=1)]
    return torch.cat(rows, dim=1)  # each is still what it was when the next was made


def attended_onto(module, sizes, weights, k, v, x, pieces, room=0):
    """The rows of x, piece by piece, on a cache that holds k and v and has more room; the operations of the matrix products."""
    attention = attention_of(module, sizes, weights)
    cache = attention_cache(module, attention, 1, len(x), k.shape[2] + x.shape[1] + room, x.dtype)
    cache.update(0, k, v)
    with torch.no_grad(), Flops() as counter:
        rows = [module.attend_with_cache(attention, piece, cache, 0) for piece in x.split(pieces, dim=1)]
    return torch.cat(rows, dim=1), counter.n_flops


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


def attended_scattered(module, sizes, weights, x, training=True, recording=True):
    """attend_with_cache, gradients being recorded or not, on an x that lies scattered in memory and requires them;
    and what it, and another call that has no room, left behind."""
    attention = attention_of(module, sizes, weights).train(training)
    attention.w_k.train(not training)
    attention.w_v.weight.requires_grad_(False)
    attention.w_o.weight.grad = torch.ones_like(attention.w_o.weight)
    cache = attention_cache(module, attention, 1, len(x), x.shape[1], x.dtype)
    given = scattered(x).requires_grad_()
    with torch.set_grad_enabled(recording):
        state, before = state_of(attention, x), surroundings()
        rows = kept(module.attend_with_cache(attention, given, cache, 0))
        refused(module.attend_with_cache, attention, given, cache, 0, also=(RuntimeError,))
        is_kept = torch.equal(given, x) and given.requires_grad
        return rows, changed({"x": is_kept}, "layer", attention, x, state, before)


def attended_past_the_end(module, sizes, weights, x, too_long):
    """x without its last token, a piece that does not fit, the last token, which is taken back and given again with
    its sign changed: refused? the length after that, and the last two rows."""
    attention = attention_of(module, sizes, weights)
    cache = attention_cache(module, attention, 1, len(x), x.shape[1], x.dtype)
    with torch.no_grad():
        module.attend_with_cache(attention, x[:, :-1], cache, 0)
        _, was_refused = refused(module.attend_with_cache, attention, too_long, cache, 0)
        length = cache.length
        last = module.attend_with_cache(attention, x[:, -1:], cache, 0)
        cache.truncate(length)
        return was_refused, length, [last, module.attend_with_cache(attention, -x[:, -1:], cache, 0)]


def attended_before_and_after_training(module, sizes, first, second, x):
    """The rows of one and the same attention layer with its first weights, then with others; by name."""
    attention, rows = attention_of(module, sizes, first), []
    for weights in (first, second):
        load(attention, weights)
        cache = attention_cache(module, attention, 1, len(x), x.shape[1], x.dtype)
        with torch.no_grad():
            rows.append(kept(module.attend_with_cache(attention=attention, x=x, cache=cache, layer=0)))
    return rows


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
                value, was_refused = refused(getattr(module, name), model, argument, cache)  # its own, whatever follows
            else:
                value, was_refused = refused(getattr(cache, name), argument)
            seen.append({"value": value, "refused": was_refused, "length": cache.length})
    return seen


def error_of_the_model(module, config, weights, b, max_len, operations):
    """Raises what the last of these operations raises, of those of `model_session`."""
    model = model_of(module, config, weights)
    cache = model_cache(module, config, b, max_len, next(iter(weights.values())).dtype)
    with torch.no_grad():
        for name, argument in operations[:-1]:
            reads = name in ("prefill", "decode_step")
            refused(*((getattr(module, name), model, argument, cache) if reads else (getattr(cache, name), argument)))
        name, argument = operations[-1]
        getattr(module, name)(model, argument, cache)


def ids_untouched(module, config, weights, ids, training=True, recording=True):
    """The logits of ids that lie scattered in memory, then those of a step, gradients being recorded or not; and
    what was left behind, also by calls that have no room. The arguments are given by name."""
    model = model_of(module, config, weights).train(training)
    model.position_embedding.weight.requires_grad_(False)
    model.final_norm.weight.grad = torch.ones_like(model.final_norm.weight)
    dtype = next(iter(weights.values())).dtype
    small, cache = (model_cache(module, config, len(ids), max_len, dtype) for max_len in (1, ids.shape[1] + 1))
    given, token_ids = scattered(ids), ids[:, 0].clone()
    with torch.set_grad_enabled(recording):
        state, before = state_of(model, ids), surroundings()

        def left():
            are_kept = {"ids": torch.equal(given, ids), "token_ids": torch.equal(token_ids, ids[:, 0])}
            return changed(are_kept, "model", model, ids, state, before)

        refused(module.prefill, model, given, small, also=(RuntimeError,))
        logits = kept(module.prefill(model=model, ids=given, cache=cache))
        after_prefill = left()
        step = kept(module.decode_step(model=model, token_ids=token_ids, cache=cache))
        refused(module.decode_step, model, token_ids, cache, also=(RuntimeError,))
        return logits, step, after_prefill, left()


def held_after_reading(module, config, weights, pieces):
    """The keys and values of each layer after the pieces of a text were read, with ones appended."""
    model = model_of(module, config, weights)
    b, t = len(pieces[0]), sum(piece.shape[1] for piece in pieces)
    cache = model_cache(module, config, b, t + 1, next(iter(weights.values())).dtype)
    with torch.no_grad():
        for piece in pieces:
            module.prefill(model, piece, cache)
    attention = model.blocks[0].attention
    ones = torch.ones(b, attention.n_heads, 1, attention.head_dim, dtype=next(iter(weights.values())).dtype)
    return [kept(cache.update(layer, ones, ones)) for layer in range(config["n_layers"])]


class _Products(Flops):
    """Counts the matrix products that a weight takes part in, too."""

    def __init__(self, weight):
        super().__init__()
        self.memory, self.n_products = weight.untyped_storage()._cdata, 0

    def __torch_dispatch__(self, operator, types, args=(), kwargs=None):
        if isinstance(operator, torch._ops.OpOverload) and operator.overloadpacket in FORMULAS:
            given = [x.untyped_storage()._cdata for x in args if isinstance(x, torch.Tensor)]
            self.n_products += self.memory in given
        return super().__torch_dispatch__(operator, types, args, kwargs)


def reading_work(module, config, weights, pieces):
    """Operations of the matrix products of prefill on each piece of a text, and how many of the products the first
    feed-forward layer takes part in."""
    model = model_of(module, config, weights)
    max_len = sum(piece.shape[1] for piece in pieces)
    cache, work = model_cache(module, config, len(pieces[0]), max_len, next(iter(weights.values())).dtype), []
    for piece in pieces:
        with torch.no_grad(), _Products(model.blocks[0].feed_forward.w_in.weight) as counter:
            module.prefill(model, piece, cache)
        work.append((counter.n_flops, counter.n_products))
    return work


def step_flops(module, config, weights, prompts):
    """Operations of the matrix products of one decode_step after each of the prompts."""
    model = model_of(module, config, weights)
    counts = []
    for ids in prompts:
        cache = model_cache(module, config, len(ids), ids.shape[1] + 1, next(iter(weights.values())).dtype)
        with torch.no_grad():
            module.prefill(model, ids, cache)
            with Flops() as counter:
                module.decode_step(model, ids[:, 0], cache)
        counts.append(counter.n_flops)
    return counts


# generate


def texts_of(module, config, weights, ids, n):
    """What one model generates with the cache, which is the default, and without it."""
    model = model_of(module, config, weights)
    return [module.generate(model, ids, n), module.generate(model, ids, n, use_cache=False)]


def generated(module, config, weights, ids, n, use_cache=None, training=True, recording=True):
    """generate on a MiniGPT, after a call that is refused, and what could be seen from outside."""
    model = model_of(module, config, weights).train(training)
    model.position_embedding.weight.requires_grad_(False)
    given = scattered(ids)
    recorded, token = [], torch.zeros(1, 1, dtype=torch.long)
    model.final_norm.weight.grad = torch.ones_like(model.final_norm.weight)
    model.final_norm.register_forward_hook(lambda norm, args, value: recorded.append(value.requires_grad))
    with torch.set_grad_enabled(recording):
        state, before = state_of(model, token), surroundings()
        del state["what attributes it has"]  # generate promises less than prefill
        options = {} if use_cache is None else {"use_cache": use_cache}
        refused(module.generate, model, given, -1, also=(RuntimeError,))
        value = module.generate(model, given, n, **options)
        changes = changed({"the prompt": torch.equal(given, ids)}, "model", model, token, state, before)
    return {"ids": kept(value), "a graph was recorded": any(recorded), "changed": changes}


def trained_on_generated(module, config, weights, trained, ids, other, n, use_cache):
    """Generate, then take the gradient of a loss on the generated text, of the token embedding; and what the same
    model generates from the same prompt, and then from another, when training has given it other weights."""
    model = model_of(module, config, weights)
    text = module.generate(model, ids, n, use_cache=use_cache)
    logits, _ = model(text[:, :-1])
    torch.nn.functional.cross_entropy(logits.flatten(0, 1), text[:, 1:].flatten()).backward()
    gradient = model.token_embedding.weight.grad.clone()
    again = kept(module.generate(load(model, trained), ids, n, use_cache=use_cache))
    return gradient, again, kept(module.generate(model=model, ids=other, max_new_tokens=n, use_cache=use_cache))


def generation_flops(module, config, weights, ids, n, use_cache=None, training=True):
    """Operations of the matrix products of a whole generation, how many tokens the first block's norm read for it in
    each of its calls, and the bytes of the tensors that were made. use_cache is left out where it is None."""
    model, n_read = model_of(module, config, weights).train(training), []
    model.blocks[0].norm_1.register_forward_hook(lambda norm, args, value: n_read.append(value.shape[:-1].numel()))
    with _Made() as made, Flops() as counter:
        module.generate(model, ids, n, **({} if use_cache is None else {"use_cache": use_cache}))
    return counter.n_flops, n_read, made.n_bytes


# PagedKVCache


def pool_keeps_copies(module, sizes, k, v, other):
    """Append k and v that lie in memory in another order and require gradients, overwrite them, gather, overwrite what
    was gathered, gather again, give the blocks to another and to a second sequence of the same name; beside it a second
    pool is filled. The arguments of the pool are given by position, those of some operations by name."""
    before = surroundings()
    names = ("n_blocks", "block_size", "n_kv_heads", "head_dim")
    pool, second_pool = (module.PagedKVCache(*(sizes[name] for name in names)) for _ in range(2))
    given = [scattered(x).requires_grad_() for x in (k, v)]
    pool.append("a", *given)
    left = {
        "k and v are as they were": torch.equal(given[0], k) and torch.equal(given[1], v),
        "k and v still require gradients": all(x.requires_grad for x in given),
    }
    with torch.no_grad():
        for x in given:
            x.zero_()
        second_pool.append("a", other, other)
        left["gradients stay off where they are off"] = not torch.is_grad_enabled()
    gathered = pool.gather("a")
    left["a graph is kept"] = any(x.requires_grad for x in gathered)
    with torch.no_grad():
        for x in gathered:
            x.zero_()
    first = pool.gather("a")
    pool.free("a")
    free = [pool.n_free_blocks, second_pool.n_free_blocks]
    pool.append(seq_id="b", k=other, v=other)
    gathered = [first, kept(pool.gather(seq_id="b")), kept(second_pool.gather("a"))]
    pool.free(seq_id="b")
    pool.append("a", other, k)
    left["changed for everyone"] = differences(before)
    return [*gathered, kept(pool.gather("a"))], free, left


def bytes_made_by_append(module, sizes, held):
    """Bytes of new tensors made by an append of one position when `held` are there already, and the most that Python held
    for it, which NumPy's arrays are part of."""
    pool = module.PagedKVCache(**sizes)
    k, one = (torch.ones(sizes["n_kv_heads"], t, sizes["head_dim"]) for t in (held, 1))
    pool.append(0, k, k)
    tracemalloc.start()
    with _Made() as made:
        pool.append(0, one, one)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return made.n_bytes + peak


def bytes_made_on(module, sizes, device, t):
    """Bytes of the tensors that the first append, of t positions, makes on this device."""
    pool = module.PagedKVCache(**sizes)
    k, v = (torch.empty(sizes["n_kv_heads"], t, sizes["head_dim"], device=device) for _ in "kv")
    with _Made(device) as made:
        try:
            pool.append(0, k, v)
        except (RuntimeError, NotImplementedError):  # numbers that a device does not have were asked for
            pass
    return made.n_bytes


# cache_bytes


def bytes_in_float8(module, *counts):
    """cache_bytes in a dtype of eight bits, which caches are kept in and few tables list."""
    return module.cache_bytes(*counts, torch.float8_e4m3fn)


def bytes_made_by_counting(module, *counts):
    """The type of what cache_bytes returns, and the bytes of the tensors that it made."""
    with _Made() as made:
        value = module.cache_bytes(*counts)
    return type(value).__name__, made.n_bytes
