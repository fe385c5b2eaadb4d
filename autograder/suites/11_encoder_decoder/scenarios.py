"""Layers and models built, loaded with given weights and used, beside the student's code."""

import copy
import dataclasses
import difflib

import torch
from torch import nn

from autograder.testing.probes import Flops, Largest, Wrong, differences, scattered, sets_a_seed, surroundings


def kept(value):
    """A copy without a graph, whatever the tensors are in."""
    if isinstance(value, torch.Tensor):
        return value.detach().clone()
    if isinstance(value, tuple | list):
        return [kept(part) for part in value]
    return value


def all_scattered(x):
    """Nested tensors, each scattered in memory."""
    return type(x)(map(all_scattered, x)) if isinstance(x, tuple | list) else scattered(x)


def load(target, weights):
    """The module with the given weights in place of its own."""
    parameters = dict(target.named_parameters(remove_duplicate=False))
    if weights:
        target.to(next(iter(weights.values())).dtype)
    with torch.no_grad():
        for name, value in weights.items():
            if name not in parameters:
                others = [other for other in parameters if other not in weights] or list(parameters)
                nearest = ", ".join(difflib.get_close_matches(name, others, 3, cutoff=0.0))
                raise Wrong(f"there is no parameter {name}; the nearest names are {nearest or 'none'}")
            if parameters[name].shape != value.shape:
                raise Wrong(f"{name} has shape {tuple(parameters[name].shape)} instead of {tuple(value.shape)}")
            parameters[name].copy_(value)
    return target


def layer(module, name, sizes, weights):
    """A CrossAttention, a RelativePositionBias or a block."""
    return load(getattr(module, name)(*sizes), weights)


def model_of(module, config, weights):
    """A MiniT5 with these weights."""
    return load(module.MiniT5(module.MiniT5Config(**config)), weights)


# Layers


def called(module, name, sizes, weights, args, kwargs=None):
    """What the layer gives for these arguments."""
    return layer(module, name, sizes, weights)(*args, **(kwargs or {}))


def called_in_turns(module, name, sizes, weights, others, several):
    """What two layers give that take turns on several lists of arguments, in evaluation mode without gradients."""
    pair = [layer(module, name, sizes, each).eval() for each in (weights, others)]
    with torch.no_grad():
        return [[kept(one(*args)) for one in pair] for args in several]


def called_after_a_change(module, name, sizes, weights, others, args):
    """What one and the same layer gives with its first weights and then with others, in evaluation mode."""
    one, found = layer(module, name, sizes, weights).eval(), []
    with torch.no_grad():
        for each in (weights, others):
            found.append(kept(load(one, each)(*args)))
    return found


def called_scattered(module, name, sizes, weights, args):
    """What the layer gives for arguments in another order in memory; whether they are as they were; what else changed."""
    one, read = layer(module, name, sizes, weights), all_scattered(args)
    before = surroundings()
    found = kept(one(*read))
    changed = differences(before)
    return found, same(read, args), changed


def same(a, b):
    """Whether nested tensors are equal."""
    if isinstance(a, torch.Tensor):
        return bool(torch.equal(a, b))
    if isinstance(a, tuple | list):
        return len(a) == len(b) and all(map(same, a, b))
    return a == b


def projected(module, sizes, weights, x, context, mask=None, bias=None):
    """The projected context, and what the attention gives for it and for the context itself."""
    one = layer(module, "CrossAttention", sizes, weights)
    pair = one.project_context(context)
    return kept(pair), one(x, (pair[0], pair[1]), mask, bias), one(x, context, mask, bias)


def attended_to_any_pair(module, sizes, weights, x, k, v, mask=None):
    """What the attention gives for keys and values that it has not made itself, and whether these are as they were."""
    one, pair = layer(module, "CrossAttention", sizes, weights), (k.clone(), v.clone())
    found = one(x, pair, mask=mask)
    return found, torch.equal(pair[0], k) and torch.equal(pair[1], v)


def layer_gradients(module, name, sizes, weights, args, cotangent, wrt, as_pair=False):
    """The gradients of sum(output * cotangent): of every weight by name, and of the arguments at the positions `wrt`.

    With `as_pair` a DecoderBlock gets its context as the pair that its cross-attention makes of it.
    """
    one, args = layer(module, name, sizes, weights), list(args)
    for i in wrt:
        args[i] = args[i].clone().requires_grad_()
    found = one(args[0], tuple(one.cross_attention.project_context(args[1])), *args[2:]) if as_pair else one(*args)
    found = found[0] if isinstance(found, tuple | list) else found
    (found * cotangent).sum().backward()
    parameters = dict(one.named_parameters())
    own = {each: zeros(parameters[each]) for each in (weights or parameters)}
    return own, [zeros(args[i]) for i in wrt]


def gradients_through_the_pair(module, sizes, weights, args, cotangent, wrt):
    """The same of a CrossAttention in evaluation mode that gets its context as the pair which it made of it before."""
    one, args = layer(module, "CrossAttention", sizes, weights).eval(), list(args)
    for i in wrt:
        args[i] = args[i].clone().requires_grad_()
    x, context, *rest = args
    (one(x, tuple(one.project_context(context)), *rest) * cotangent).sum().backward()
    parameters = dict(one.named_parameters())
    return {each: zeros(parameters[each]) for each in weights}, [zeros(args[i]) for i in wrt]


def zeros(leaf):
    """Its gradient; one that is not there is zero."""
    return torch.zeros_like(leaf) if leaf.grad is None else leaf.grad


def structure(module, name, sizes):
    """The shapes of a new layer's parameters by name, its heads, what two layers share, what making one changed."""
    before = surroundings()
    one, other = getattr(module, name)(*sizes), getattr(module, name)(*sizes)
    changed = [each for each in differences(before) if each != "PyTorch's random state"]
    theirs = {id(parameter) for parameter in other.parameters()}
    return {
        "parameters": {each: list(parameter.shape) for each, parameter in one.named_parameters()},
        "is a module": isinstance(one, nn.Module),
        "shared by two": [each for each, parameter in one.named_parameters() if id(parameter) in theirs],
        "changed": changed + (["PyTorch's seed"] if sets_a_seed(lambda: getattr(module, name)(*sizes)) else []),
    }


def heads_of(module, d_model, n_heads):
    """n_heads and head_dim of a CrossAttention."""
    one = module.CrossAttention(d_model, n_heads)
    return [one.n_heads, one.head_dim]


def made(module, name, *sizes):
    """Whether a layer of these sizes can be made."""
    return isinstance(getattr(module, name)(*sizes), nn.Module)


def bias_of(module, sizes, weight, several):
    """The biases that one table gives for several (n_q, n_k) in turn."""
    one = layer(module, "RelativePositionBias", sizes, {"embedding.weight": weight})
    return [kept(one(n_q, n_k)) for n_q, n_k in several]


def bias_gradient(module, sizes, weight, n_q, n_k, cotangent):
    """The gradient of the table."""
    one = layer(module, "RelativePositionBias", sizes, {"embedding.weight": weight})
    (one(n_q, n_k) * cotangent).sum().backward()
    return one.embedding.weight.grad


def with_dropout(module, name, sizes, dropout, weights, args):
    """What a layer with dropout gives in evaluation mode, twice in train mode, in evaluation mode again; and without dropout."""
    one, without = layer(module, name, [*sizes, dropout], weights), layer(module, name, sizes, weights)

    def first(found):
        return kept(found[0] if isinstance(found, tuple | list) else found)

    torch.manual_seed(0)
    found = [first(one.eval()(*args)), first(one.train()(*args)), first(one(*args)), first(one.eval()(*args))]
    return found, first(without(*args))


def dropped(module, name, sizes, dropout, weights, args, n):
    """What is added to x in evaluation mode, and `n` times in train mode, half of them without gradients."""
    one, found = layer(module, name, [*sizes, dropout], weights), []
    torch.manual_seed(1)
    for i in range(n + 1):
        with torch.set_grad_enabled(i % 2 == 0):
            found.append(one.train(i > 0)(*args))
    quiet, *noisy = [kept(each[0] if isinstance(each, tuple | list) else each) - args[0] for each in found]
    return quiet, torch.stack(noisy)


def decoded_in_pieces(module, sizes, weights, x, context, context_mask, bias, pieces, as_pair):
    """A DecoderBlock's rows piece by piece, the keys and values in the end, and whether each past was left as it was."""
    block, rows, past, untouched, at = layer(module, "DecoderBlock", sizes, weights), [], None, True, 0
    if as_pair:
        context = block.cross_attention.project_context(context)
    for n in pieces:
        piece_bias = None if bias is None else bias[..., at : at + n, : at + n]
        before = kept(past)
        row, present = block(x[:, at : at + n], context, context_mask, piece_bias, past)
        untouched = untouched and (past is None or same(list(map(kept, past)), before))
        rows.append(row)
        past, at = tuple(present), at + n
    return torch.cat(rows, dim=1), kept(past), untouched


def two_continuations(module, sizes, weights, x, first, second, context):
    """Two texts that begin with x, both from one past that has itself grown; then each goes on with the other's last rows."""
    block = layer(module, "DecoderBlock", sizes, weights)
    with torch.no_grad():
        _, past = block(x[:, :2], context)
        _, past = block(x[:, 2:], context, past=tuple(past))
        once = [block(more, context, past=tuple(past)) for more in (first, second)]
        twice = [block(more, context, past=tuple(pair))[0] for more, (_, pair) in zip((second, first), once)]
    return [kept(rows) for rows, _ in once], kept(twice)


def gradient_through_a_past(module, sizes, weights, x, n_first, context, cotangent):
    """The gradient of sum(rows * cotangent) with respect to x, the first positions being there as the past alone, the others
    coming one by one, in evaluation mode."""
    block, x = layer(module, "DecoderBlock", sizes, weights).eval(), x.clone().requires_grad_()
    _, past = block(x[:, :n_first], context)
    rows = []
    for position in range(n_first, x.shape[1]):
        row, past = block(x[:, position : position + 1], context, past=past)
        rows.append(row)
    (torch.cat(rows, dim=1) * cotangent).sum().backward()
    return zeros(x)


# MiniT5


def config_fields(module, *args, **sizes):
    """The fields of a configuration after it was made."""
    return dataclasses.asdict(module.MiniT5Config(*args, **sizes))


def config_survives(module, **sizes):
    """Whether a configuration can be made again from its fields, and equals one made alike."""
    config = module.MiniT5Config(**sizes)
    return module.MiniT5Config(**dataclasses.asdict(config)) == config


def logits(module, config, weights, source, ids, mask=None):
    """What the model gives."""
    return model_of(module, config, weights)(source, ids, mask)


def logits_of_several(module, config, weights, several):
    """The logits of one model, in evaluation mode, for several (source, ids, mask) in turn; the last without gradients."""
    model = model_of(module, config, weights).eval()
    found = [kept(model(*each)) for each in several[:-1]]
    with torch.no_grad():
        return [*found, kept(model(*several[-1]))]


def logits_before_and_after(module, config, weights, others, source, ids, mask):
    """The logits of a model in evaluation mode, of a copy that gets other weights, and of the model when it gets them too."""
    model, found = model_of(module, config, weights).eval(), []
    with torch.no_grad():
        found.append(kept(model(source, ids, mask)))
        found.append(kept(load(copy.deepcopy(model), others)(source, ids, mask)))
        found.append(kept(model(source, ids, mask)))
        found.append(kept(load(model, others)(source, ids, mask)))
    return found


def encoded(module, config, weights, source, mask=None):
    """The encoder's output."""
    return model_of(module, config, weights).encode(source, mask)


def logits_in_two_steps(module, config, weights, source, ids, mask):
    """The logits from `encode` and `decode`, and the shapes of what `decode` gives as the past."""
    model = model_of(module, config, weights)
    found, past = model.decode(ids, model.encode(source, mask), mask)
    return found, [[list(x.shape) for x in pair] for pair in past]


def logits_in_pieces(module, config, weights, source, ids, mask, pieces, as_pairs):
    """The logits piece by piece, and whether each past was left as it was."""
    model, rows, past, untouched = model_of(module, config, weights), [], None, True
    context = model.encode(source, mask)
    if as_pairs:
        context = [block.cross_attention.project_context(context) for block in model.decoder]
    for piece in ids.split(pieces, dim=1):
        before = kept(past)
        row, present = model.decode(piece, context, mask, past)
        untouched = untouched and (past is None or same([list(map(kept, pair)) for pair in past], before))
        rows.append(row)
        past = [tuple(pair) for pair in present]
    return torch.cat(rows, dim=1), untouched


def model_gradients(module, config, weights, source, ids, mask, cotangent):
    """The gradient of sum(logits * cotangent) with respect to every weight."""
    model = model_of(module, config, weights)
    (model(source, ids, mask) * cotangent).sum().backward()
    parameters = dict(model.named_parameters())
    return {name: zeros(parameters[name]) for name in weights}


def model_gradients_in_pieces(module, config, weights, source, ids, mask, cotangent, pieces, as_pairs):
    """The same in evaluation mode, the text decoded in pieces, the context as it is or projected for each block."""
    model, rows, past = model_of(module, config, weights).eval(), [], None
    context = model.encode(source, mask)
    if as_pairs:
        context = [block.cross_attention.project_context(context) for block in model.decoder]
    for piece in ids.split(pieces, dim=1):
        row, past = model.decode(piece, context, mask, past)
        rows.append(row)
    (torch.cat(rows, dim=1) * cotangent).sum().backward()
    parameters = dict(model.named_parameters())
    return {name: zeros(parameters[name]) for name in weights}


def first_weights(module, config):
    """The weights of a new model's embeddings and attentions."""
    model = module.MiniT5(module.MiniT5Config(**config))
    return {name: kept(weight) for name, weight in model.named_parameters() if "embedding" in name or "attention" in name}


def model_structure(module, config):
    """What a new model is made of."""
    made_of = module.MiniT5Config(**config)
    model, other = module.MiniT5(made_of), module.MiniT5(made_of)
    theirs = {id(parameter) for parameter in other.parameters()}
    return {
        "parameters": {each: list(weight.shape) for each, weight in model.named_parameters(remove_duplicate=False)},
        "config is the one given": model.config == made_of,
        "shared by two": [each for each, parameter in model.named_parameters() if id(parameter) in theirs],
        "blocks": [len(model.encoder), len(model.decoder)],
        "heads": [[block.attention.n_heads for block in stack] for stack in (model.encoder, model.decoder)],
    }


def changed_by_building(module, config):
    """What making a model changes for good."""
    made_of = module.MiniT5Config(**config)
    before = surroundings()
    module.MiniT5(made_of)
    changed = [name for name in differences(before) if name != "PyTorch's random state"]
    return changed + (["PyTorch's seed"] if sets_a_seed(lambda: module.MiniT5(made_of)) else [])


def logits_of_scattered(module, config, weights, source, ids, mask, training):
    """The logits for arguments in another order in memory, and what the call changed."""
    model = model_of(module, config, weights).train(training)
    read = all_scattered([source, ids, mask])
    before = surroundings()
    found = model(*read)
    changed = differences(before) + ([] if same(read, [source, ids, mask]) else ["the arguments"])
    changed += [] if all(part.training == training for part in model.modules()) else ["train or eval mode"]
    return kept(found), changed + ([] if found.requires_grad else ["whether the logits carry a gradient"])


def model_with_dropout(module, config, dropout, weights, source, ids, mask):
    """The logits of a model with dropout in evaluation mode, twice in train mode, in evaluation mode again."""
    model = model_of(module, config | {"dropout": dropout}, weights)
    torch.manual_seed(0)
    arguments = source, ids, mask
    return [kept(model.eval()(*arguments)), kept(model.train()(*arguments)), kept(model(*arguments)),
            kept(model.eval()(*arguments))]  # fmt: skip


def encoded_and_decoded_with_dropout(module, config, dropout, weights, source, ids, n):
    """What encode and decode give in train mode, `n` times."""
    model = model_of(module, config | {"dropout": dropout}, weights).train()
    torch.manual_seed(2)
    memory = [kept(model.encode(source)) for _ in range(n)]
    return torch.stack(memory), torch.stack([kept(model.decode(ids, memory[0])[0]) for _ in range(n)])


# Losses and data


def loss_and_gradient(module, logits, targets, *args, **kwargs):
    """The loss, its gradient with respect to the logits (None where there is none), whether both arguments are as they were, and
    the loss where no gradients are recorded.
    """
    leaf, goals = logits.clone().requires_grad_(), targets.clone()
    loss = module.label_smoothed_loss(leaf, goals, *args, **kwargs)
    loss.backward()
    with torch.no_grad():
        unrecorded = module.label_smoothed_loss(leaf, goals, *args, **kwargs)
    return kept(loss), leaf.grad, torch.equal(leaf, logits) and torch.equal(goals, targets), unrecorded


def corrupted(module, ids, sentinels, seed, *args, times=1, **kwargs):
    """`times` results with one generator, whether ids and sentinels are as they were, and what else was changed."""
    generator, read, own = torch.Generator().manual_seed(seed), ids.clone(), type(sentinels)(sentinels)
    before = surroundings()
    found = [list(module.span_corrupt(read, own, generator, *args, **kwargs)) for _ in range(times)]
    changed = differences(before)
    changed += [] if torch.equal(read, ids) and own == sentinels else ["the arguments"]
    return found, changed


# translate


def translated(module, config, weights, source, start_id, eos_id, n, mask=None, **options):
    """The translations, and what the call changed."""
    model = model_of(module, config, weights).eval()
    read, read_mask = source.clone(), None if mask is None else mask.clone()
    before = surroundings()
    found = module.translate(model, read, start_id, eos_id, n, read_mask, **options)
    changed = differences(before) + ([] if torch.equal(read, source) else ["the source"])
    changed += [] if mask is None or torch.equal(read_mask, mask) else ["the mask"]
    changed += ["train or eval mode"] if any(part.training for part in model.modules()) else []
    return found, changed


def translated_by_position(module, config, weights, source, start_id, eos_id, n, mask, beam_size, length_penalty, use_cache):
    """The same, all arguments by position."""
    model = model_of(module, config, weights)
    return module.translate(model, source, start_id, eos_id, n, mask, beam_size, length_penalty, use_cache)


def translated_alone(module, config, weights, source, start_id, eos_id, n, lengths, **options):
    """Each source without its padding, alone, in one process."""
    model = model_of(module, config, weights)
    rows = [row[None, :length] for row, length in zip(source, lengths)]
    return [module.translate(model, row, start_id, eos_id, n, **options)[0] for row in rows]


def translating_flops(module, config, weights, source, start_id, eos_id, n, mask=None, **options):
    """The translations, the floating-point operations of the matrix products, how many texts the encoder has read."""
    model, read = model_of(module, config, weights), []
    model.encoder_norm.register_forward_hook(lambda part, args, found: read.append(len(found)))
    with Flops() as counter:
        found = module.translate(model, source, start_id, eos_id, n, mask, **options)
    return found, counter.n_flops, sum(read)


def translated_in_train_mode(module, config, weights, source, start_id, eos_id, n, **options):
    """Whether a model in train mode stays in it, has gradients afterwards, can be trained on; and the translations after that."""
    model = model_of(module, config, weights).train()
    first = module.translate(model, source, start_id, eos_id, n, **options)
    with torch.no_grad():
        module.translate(model, source, start_id, eos_id, 1, **options)
        stay_off = not torch.is_grad_enabled()
    trained = {"gradients that were off stay off": stay_off}
    trained |= {"still training": all(part.training for part in model.modules())}
    trained["gradients are recorded"] = torch.is_grad_enabled()
    trained["no gradient was left"] = all(weight.grad is None for weight in model.parameters())
    ids = torch.zeros(len(source), 1, dtype=torch.int64)
    model(source, ids).square().sum().backward()
    with torch.no_grad():
        for weight in model.parameters():
            weight.neg_()
    return first, trained, module.translate(model, source, start_id, eos_id, n, **options)


def translating_keeps_a_graph(module, config, weights, source, start_id, eos_id, n):
    """Whether any logits that the model computed on the way carried a graph."""
    model, seen = model_of(module, config, weights), []
    model.decoder_norm.register_forward_hook(lambda part, args, found: seen.append(found.requires_grad))
    module.translate(model, source, start_id, eos_id, n)
    return any(seen)


def kinds_of_translations(module, config, weights, source, start_id, eos_id, n, **options):
    """Whether what comes back is a list of lists of ints."""
    found = module.translate(model_of(module, config, weights), source, start_id, eos_id, n, **options)
    return isinstance(found, list) and all(isinstance(text, list) and all(type(i) is int for i in text) for text in found)


def bleu_of(module, hypotheses, references, *args):
    """The score, and whether the lists are as they were."""
    own = list(hypotheses), [list(several) for several in references]
    score = module.bleu(*own, *args)
    return score, own == (list(hypotheses), [list(several) for several in references]), type(score) is float


def largest(module, name, args):
    """Elements of the largest tensor that a call makes."""
    with Largest() as seen:
        getattr(module, name)(*args)
    return seen.n_elements
