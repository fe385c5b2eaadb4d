"""Models built, loaded with given weights and used, beside the student's code."""

import copy
import dataclasses
from types import SimpleNamespace

import torch
from torch import nn

from autograder.testing.probes import Largest, Wrong, changed_around, differences, scattered, sets_a_seed, strided, surroundings


def config_fields(module, *args, **sizes):
    """The fields of a configuration after it was made."""
    config = module.GPTConfig(*args, **sizes)
    names = ("vocab_size", "context_length", "n_layers", "n_heads", "d_model", "d_ff", "tie_embeddings")
    return {name: getattr(config, name) for name in names}


def config_after_a_round_trip(module, sizes, several_others):
    """Whether a configuration that is made again from a dict of the first equals it; its fields; whether those of other sizes
    equal it; and what making them changed.
    """
    before = surroundings()
    config = module.GPTConfig(**sizes)
    again = module.GPTConfig(**dataclasses.asdict(config))
    others = [module.GPTConfig(**other) for other in several_others]
    changed = differences(before)
    return again == config, {name: getattr(again, name) for name in sizes}, [other == config for other in others], changed


def parameter_count(module, **sizes):
    """count_parameters of a configuration."""
    return module.count_parameters(module.GPTConfig(**sizes))


def changed_by_counting(module, **sizes):
    """What count_parameters changed outside its own result, the configuration included."""
    config = module.GPTConfig(**sizes)
    changed = changed_around(module, "count_parameters", [config])
    return changed + ([] if config == module.GPTConfig(**sizes) else ["the configuration"])


def built_parameters(module, **sizes):
    """The number of parameters of a model that was really built."""
    return sum(parameter.numel() for parameter in module.MiniGPT(module.GPTConfig(**sizes)).parameters())


def largest_tensor_while_counting(module, **sizes):
    """Elements of the largest tensor that count_parameters makes, and the type of what it returns."""
    config = module.GPTConfig(**sizes)
    with Largest() as seen:
        value = module.count_parameters(config=config)
    return seen.n_elements, type(value).__name__


def loaded(module, sizes, weights):
    """A MiniGPT that holds the given weights, and its parameters by name (both names of a tied one)."""
    model = module.MiniGPT(module.GPTConfig(**sizes))
    parameters = named_parameters(model)
    with torch.no_grad():
        model.to(next(iter(weights.values())).dtype)
        for name, value in weights.items():
            if name not in parameters:
                others = [other for other in parameters if other not in weights and other != "lm_head.weight"]
                instead = f"{', '.join(others[:3])}{' ...' if len(others) > 3 else ''} instead"
                has = instead if others else "the others" if parameters else "none at all"
                raise Wrong(f"the model has no parameter {name}; it has {has}")
            if parameters[name].shape != value.shape:
                raise Wrong(f"{name} has shape {tuple(parameters[name].shape)} instead of {tuple(value.shape)}")
            parameters[name].copy_(value)
    return model


def named_parameters(model):
    """Parameters by name; one that has two names is there twice."""
    return dict(model.named_parameters(remove_duplicate=False))


def forward(module, sizes, weights, ids, targets=None):
    """What the model returns: (logits, loss)."""
    return loaded(module, sizes, weights)(ids, **({} if targets is None else {"targets": targets}))


def forward_of_several(module, sizes, weights, several_ids):
    """The logits of the same model, in evaluation mode, for each of several inputs in turn; the last without gradients."""
    model = loaded(module, sizes, weights).eval()
    logits = [model(ids)[0] for ids in several_ids[:-1]]
    with torch.no_grad():
        return [*logits, model(several_ids[-1])[0]]


def forward_in_evaluation(module, sizes, weights, ids):
    """The logits in evaluation mode, without gradients."""
    return forward_of_several(module, sizes, weights, [ids])[0]


def forward_of_beginnings(module, sizes, weights, ids, others):
    """The logits of a model in evaluation mode for every beginning of ids and for others of its length; the beginnings again
    without gradients, the longest first.
    """
    model = loaded(module, sizes, weights).eval()
    beginnings = [ids[:, :i].contiguous() for i in range(1, ids.shape[1] + 1)]
    logits, changed = [[model(part)[0] for part in parts] for parts in (beginnings, others)]
    with torch.no_grad():
        return logits, changed, [model(part)[0] for part in reversed(beginnings)][::-1]


def forward_before_and_after(module, sizes, weights, others, ids):
    """The logits of a model in evaluation mode without gradients, again when its weights have become others, and those of a
    copy made before that. Meanwhile there is another model, which has a shorter context.
    """
    model = loaded(module, sizes, weights).eval()
    module.MiniGPT(module.GPTConfig(**(sizes | {"context_length": 1})))
    with torch.no_grad():
        logits, earlier = [model(ids)[0]], copy.deepcopy(model)
        for name, value in others.items():
            named_parameters(model)[name].copy_(value)
        return [*logits, model(ids)[0], earlier(ids)[0]]


def forward_of_scattered_ids(module, sizes, weights, ids, targets):
    """(logits, loss) for ids and targets that lie scattered in memory, and whether both are as they were."""
    read, goals = scattered(ids), scattered(targets)
    logits, loss = loaded(module, sizes, weights)(ids=read, targets=goals)
    return logits, loss, bool(torch.equal(read, ids) and torch.equal(goals, targets))


def changed_by_forward(module, sizes, weights, ids, targets, training):
    """(logits, loss) in training or evaluation mode, with and without gradients, and what the calls changed beside them."""
    model = loaded(module, sizes, weights).train(training)
    results, changed = [], []
    for recording in (True, False):
        with torch.set_grad_enabled(recording):
            before = surroundings()
            alone, _ = model(ids)
            results.append(model(ids, targets))
            changed += differences(before)
        changed += [] if all(part.training == training for part in model.modules()) else ["train or eval mode"]
        carried = [x.requires_grad for x in (alone, *results[-1])]
        said = "no gradient of logits or loss, though gradients are recorded", "a gradient of logits or loss under no_grad"
        changed += [] if carried == [recording] * 3 else [said[not recording]]
    return results, changed


def losses_of_the_same_logits(module, sizes, weights, ids, targets):
    """The loss of the model, and next_token_loss of its logits."""
    logits, loss = loaded(module, sizes, weights)(ids, targets)
    return logits, loss, module.next_token_loss(logits, targets)


def parameter_gradients(module, sizes, weights, ids, cotangent):
    """The logits, and the gradient of sum(logits * cotangent) with respect to every given weight."""
    model = loaded(module, sizes, weights)
    logits, _ = model(ids)
    (logits * cotangent).sum().backward()
    return logits, {name: named_parameters(model)[name].grad for name in weights}


def loss_gradients(module, sizes, weights, ids, targets, none):
    """The logits, the loss and its gradient with respect to every given weight; the loss and next_token_loss for targets none."""
    model = loaded(module, sizes, weights)
    logits, loss = model(ids, targets)
    loss.backward()
    other, empty = model(ids, targets=none)
    gradients = {name: named_parameters(model)[name].grad for name in weights}
    return (logits, loss), gradients, (empty, module.next_token_loss(other, none))


def structure(module, sizes):
    """What later modules take hold of."""
    config = module.GPTConfig(**sizes)
    model = module.MiniGPT(config)
    return {
        "is a module": isinstance(model, nn.Module),
        "config is the one given": model.config == config,
        "its fields": {name: getattr(model.config, name) for name in sizes},
        "the fields of what was given": {name: getattr(config, name) for name in sizes},
        "blocks": len(model.blocks),
        "distinct blocks": len({id(block) for block in model.blocks}),
        "heads": [block.attention.n_heads for block in model.blocks],
        "parts of a block are modules": all(
            isinstance(getattr(block, name), nn.Module)
            for block in model.blocks
            for name in ("attention", "norm_1", "feed_forward", "norm_2")
        ),
        "parts of the model are modules": all(
            isinstance(getattr(model, name), nn.Module)
            for name in ("token_embedding", "position_embedding", "blocks", "final_norm", "lm_head")
        ),
        "lm_head has a bias": getattr(model.lm_head, "bias", None) is not None,
        "lm_head shares its weight": model.lm_head.weight is model.token_embedding.weight,
    }


def still_tied(module, sizes):
    """Whether one parameter serves both ends at first, after a training step, and in a deep copy in float64."""
    model = module.MiniGPT(module.GPTConfig(**sizes))
    ends = [(model.token_embedding.weight, model.lm_head.weight)]
    ids = torch.zeros(1, 1, dtype=torch.long)
    model(ids)[0].sum().backward()
    torch.optim.SGD(model.parameters(), lr=0.1).step()
    ends.append((model.token_embedding.weight, model.lm_head.weight))
    other = copy.deepcopy(model).double()
    ends.append((other.token_embedding.weight, other.lm_head.weight))
    return [a is b for a, b in ends]


def shapes(module, sizes):
    """The names and shapes of a model's parameters."""
    model = module.MiniGPT(module.GPTConfig(**sizes))
    return {name: list(parameter.shape) for name, parameter in model.named_parameters()}


def built_twice(module, sizes):
    """The number of parameters of a model, the names of those that it has in common with another of the same sizes, of those
    that are not float32, and of the weight matrices whose entries are all the same.
    """
    one, other = (module.MiniGPT(module.GPTConfig(**sizes)) for _ in range(2))
    theirs = {id(parameter) for parameter in other.parameters()}
    shared = [name for name, parameter in one.named_parameters() if id(parameter) in theirs]
    wide = [name for name, parameter in one.named_parameters() if parameter.dtype is not torch.float32]
    constant = [name for name, parameter in one.named_parameters() if parameter.dim() > 1 and is_constant(parameter)]
    return sum(parameter.numel() for parameter in one.parameters()), shared, wide, constant


def is_constant(parameter):
    """Whether several numbers are all the same."""
    return parameter.numel() > 1 and bool((parameter == parameter.flatten()[0]).all())


def names_missing_from_saved_weights(module, sizes, names):
    """Those of the names that a model's state_dict does not have."""
    saved = module.MiniGPT(module.GPTConfig(**sizes)).state_dict()
    return [name for name in names if name not in saved]


def changed_by_building(module, sizes):
    """What making a model changes for good. Drawing numbers moves PyTorch's random state on; a seed sets it."""
    config = module.GPTConfig(**sizes)
    with torch.no_grad():
        before = surroundings()
        module.MiniGPT(config)
        changed = [name for name in differences(before) if name != "PyTorch's random state"]
    return changed + (["PyTorch's seed"] if sets_a_seed(lambda: module.MiniGPT(config)) else [])


def initialised(module, sizes, seed, fill=None, dtype=torch.float32, use_global=False):
    """Every parameter by name (both names of a tied one) after `initialise`, when all parameters were `fill` before."""
    model = module.MiniGPT(module.GPTConfig(**sizes)).to(dtype)
    with torch.no_grad():
        for parameter in model.parameters() if fill is not None else ():
            parameter.fill_(fill)
    if use_global:
        torch.manual_seed(seed)
        module.initialise(model)
    else:
        module.initialise(model, torch.Generator().manual_seed(seed))
    return named_parameters(model)


def initialise_twice(module, sizes, first, second):
    """All parameters in one vector, for two models and two seeds, and for the first model with the second seed."""
    one, other = (module.MiniGPT(module.GPTConfig(**sizes)) for _ in range(2))
    vectors = []
    for model, seed in ((one, first), (other, second), (one, second)):
        module.initialise(model, generator=torch.Generator().manual_seed(seed))
        vectors.append(torch.cat([parameter.detach().flatten() for parameter in model.parameters()]))
    return vectors


def initialise_twice_from_one_generator(module, sizes, seed):
    """All parameters in one vector, for two models that are initialised one after the other from the same generator.

    Without a seed there is no generator, and PyTorch's own is used.
    """
    generator, vectors = None if seed is None else torch.Generator().manual_seed(seed), []
    for _ in range(2):
        model = module.initialise(module.MiniGPT(module.GPTConfig(**sizes)), generator)
        vectors.append(torch.cat([parameter.detach().flatten() for parameter in model.parameters()]))
    return vectors


def changed_by_initialise(module, sizes, dtype):
    """What `initialise` with a generator changed outside the model, gradients being recorded and not."""
    model, changed = module.MiniGPT(module.GPTConfig(**sizes)).to(dtype), []
    for recording in (True, False):
        with torch.set_grad_enabled(recording):
            before = surroundings()
            module.initialise(model, torch.Generator().manual_seed(0))
            changed += differences(before)
    return changed


def initialise_in_place(module, sizes, training):
    """What `initialise` must leave as it is."""
    model = module.MiniGPT(module.GPTConfig(**sizes)).train(training)
    model.blocks[0].train(not training)
    modes = [part.training for part in model.modules()]
    frozen = model.position_embedding.requires_grad_(False).weight
    frozen.fill_(7.0)
    before = dict(model.named_parameters())
    required = {name: parameter.requires_grad for name, parameter in before.items()}
    module.initialise(model, torch.Generator().manual_seed(0))
    after = dict(model.named_parameters())
    return {
        "the parameters are the same objects": list(before) == list(after)
        and all(before[k] is after[k] for k in before),
        "they require gradients where they did": required == {name: value.requires_grad for name, value in after.items()},
        "frozen ones have new values": bool((frozen != 7.0).all()),
        "they are leaves of the graph": all(parameter.is_leaf for parameter in after.values()),
        "lm_head shares its weight": model.lm_head.weight is model.token_embedding.weight,
        "gradients are recorded": torch.is_grad_enabled(),
        "the configuration is as it was": {name: getattr(model.config, name) for name in sizes} == sizes,
        "every part is in the mode that it was in": modes == [part.training for part in model.modules()],
    }


def initialise_returns_the_model(module, sizes):
    """Whether the very model comes back."""
    model = module.MiniGPT(module.GPTConfig(**sizes))
    return module.initialise(model, torch.Generator().manual_seed(0)) is model


class Toy(nn.Module):
    """A small causal language model whose prediction depends on every token that it reads and on where it stands.

    It remembers how it was called, and has no loss. embedding (vocab, width), output (width, vocab); the token `banned` has
    probability 0; `dtype` is that of the logits. One that is not causal predicts at each position what it does at the last.
    """

    def __init__(self, embedding, output, context_length, banned=None, dtype=None, causal=True):
        super().__init__()
        self.part, self.banned, self.dtype, self.causal = nn.Identity(), banned, dtype, causal
        self.embedding, self.output = nn.Parameter(embedding), nn.Parameter(output)
        vocab_size, d_model = embedding.shape
        self.config = SimpleNamespace(
            vocab_size=vocab_size, context_length=context_length, n_layers=1, n_heads=1, d_model=d_model,
            d_ff=d_model, tie_embeddings=False,
        )  # fmt: skip
        self.widths, self.recorded = [], []

    def forward(self, ids, targets=None):
        if targets is not None:
            raise TypeError("this model has no loss of its own: call model(ids)")
        n_tokens = ids.shape[1]
        if n_tokens > self.config.context_length:
            raise ValueError(f"{n_tokens} tokens are more than the context length of {self.config.context_length}")
        x = (self.embedding[ids] * torch.arange(1, n_tokens + 1)[:, None]).cumsum(1)
        x = (x if self.causal else x[:, -1:].expand_as(x)).sin()
        logits = (x @ self.output).to(dtype=self.dtype)  # (b, t, vocab)
        self.widths.append(n_tokens)
        self.recorded.append(logits.requires_grad)
        return logits if self.banned is None else logits.index_fill(-1, torch.tensor(self.banned), -torch.inf), None


class Bare(nn.Module):
    """A toy model without a config."""

    def __init__(self, embedding, output, context_length, banned=None, dtype=None):
        super().__init__()
        self.toy = Toy(embedding, output, context_length, banned, dtype)

    def forward(self, ids, targets=None):
        return self.toy(ids, targets)


def log_prob(module, embedding, output, context_length, ids, training=True, banned=None, dtype=None):
    """sequence_log_prob of a toy model, and what is no longer as it was."""
    model, ids_before = Bare(embedding, output, context_length, banned, dtype).train(training), ids.clone()
    modes = [part.training for part in model.modules()]
    ids, before = scattered(ids), surroundings()
    value = module.sequence_log_prob(model, ids)
    changed = differences(before) + ([] if torch.equal(ids, ids_before) else ["ids"])
    as_before = modes == [part.training for part in model.modules()]
    return value, changed + ([] if as_before else ["the modes of the model's parts"])


def log_prob_without_gradients(module, embedding, output, context_length, ids):
    """Whether a graph was recorded though gradients were switched off, and what is no longer as it was."""
    with torch.no_grad():
        model, before = Toy(embedding, output, context_length), surroundings()
        value = module.sequence_log_prob(model, ids)
        return any(model.recorded) or value.requires_grad, differences(before)


def log_prob_gradients(module, embedding, output, context_length, ids, cotangent):
    """The gradient of sum(log_prob * cotangent) with respect to the toy model's weights; log_prob after a step along it."""
    model = Toy(embedding, output, context_length)
    (module.sequence_log_prob(model, ids) * cotangent).sum().backward()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += parameter.grad
    return [parameter.grad for parameter in model.parameters()], module.sequence_log_prob(model, ids)


def log_prob_of_mini_gpt(module, sizes, weights, ids):
    """sequence_log_prob of a MiniGPT."""
    return module.sequence_log_prob(loaded(module, sizes, weights), ids)


def generated(
    module, embedding, output, context_length, ids, max_new_tokens, training=True, recording=True, banned=None, causal=True
):
    """generate_greedy on a toy model, after a call that is refused, and what could be seen from outside meanwhile."""
    model = Toy(embedding, output, context_length, banned, causal=causal).train(training)
    model.embedding.requires_grad_(False)
    model.output.grad = output.detach().clone()
    before, ids = ids.clone(), scattered(ids)
    with torch.set_grad_enabled(recording):
        around = surroundings()
        try:
            module.generate_greedy(model, ids, -1)
        except Exception:
            pass
        value = module.generate_greedy(model, ids, max_new_tokens)
        changed = differences(around)
    return {
        "changed": changed,
        "ids": value,
        "most tokens read at once": max(model.widths, default=0),
        "a graph was recorded": any(model.recorded),
        "the prompt is as it was": torch.equal(ids, before),
        "[model, part] are in training": [model.training, model.part.training],
        "weights and gradients are as they were": all(
            x is not None and torch.equal(x, y)
            for x, y in ((model.embedding, embedding), (model.output, output), (model.output.grad, output))
        ),
        "[embedding, output] require gradients": [model.embedding.requires_grad, model.output.requires_grad],
    }


def generated_in_turn(module, embedding, outputs, context_length, ids, max_new_tokens, dtype=None):
    """generate_greedy on one toy model whose output layer has other weights each time."""
    model, several = Toy(embedding, outputs[0].clone(), context_length, dtype=dtype), []
    for output in outputs:
        with torch.no_grad():
            model.output.copy_(output)
        several.append(module.generate_greedy(model, ids, max_new_tokens))
    return several


def generated_by_mini_gpt(module, sizes, weights, ids, max_new_tokens):
    """generate_greedy on a MiniGPT."""
    with torch.enable_grad():  # and back to what it was before, whatever the call leaves behind
        return module.generate_greedy(model=loaded(module, sizes, weights), ids=ids, max_new_tokens=max_new_tokens)


def read_and_left_alone(module, name, args, others):
    """What a function returns for tensors that are not contiguous; what calls with contiguous ones changed, with and without
    gradients, and which of them require gradients afterwards; what it returns for the same tensors when their values have
    become the others.
    """
    scattered = strided(module, name, args)
    changed = changed_around(module, name, args)
    with torch.no_grad():
        before = surroundings()
        getattr(module, name)(*args)
        changed += differences(before)
    required = [x.requires_grad for x in args if isinstance(x, torch.Tensor)]
    for x, other in zip(args, others):
        x.requires_grad_(False).copy_(other)
    return scattered, changed, required, getattr(module, name)(*args)


def best_sequence_gradients(module, initial, transition, length):
    """ids, and the gradients of the log-probability with respect to both tables."""
    initial, transition = initial.requires_grad_(), transition.requires_grad_()
    ids, log_prob = module.most_likely_sequence(initial, transition, length)
    log_prob.backward()
    return ids, [torch.zeros_like(x) if x.grad is None else x.grad for x in (initial, transition)]
