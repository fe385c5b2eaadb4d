"""Models, corpora and training runs beside the student's code."""

import contextlib
import copy
import functools
import importlib
import io
import json
import os
import shutil
import tempfile
import time
import types
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import nn
from torch._C._distributed_c10d import _create_work_from_future

from autograder.testing.probes import Wrong, differences, scattered, surroundings

REFUSALS = (ValueError, TypeError, IndexError)


def part(module, name):
    """The file of that name beside the module's main file."""
    package = module.__name__.rpartition(".")[0]
    return importlib.import_module(f"{package}.{name}") if package else module


def refused(call, *args, **kwargs):
    """Whether the call was refused."""
    try:
        call(*args, **kwargs)
    except REFUSALS:
        return True
    return False


def in_a_folder(scenario):
    """The scenario in an empty folder of its own, which is gone afterwards."""

    @functools.wraps(scenario)
    def run(*args, **kwargs):
        before, folder = os.getcwd(), tempfile.mkdtemp(dir=".")
        os.chdir(folder)
        try:
            return scenario(*args, **kwargs)
        finally:
            os.chdir(before)
            shutil.rmtree(folder, ignore_errors=True)

    return run


def kept(value):
    """A copy without a graph."""
    if isinstance(value, torch.Tensor):
        return value.detach().clone()
    return tuple(map(kept, value)) if isinstance(value, tuple | list) else value


# The model


def config_fields(module, fields=None):
    """The fields of GPTConfig(**fields), or of gpt2_124m()."""
    if fields is None:
        with contextlib.suppress(AttributeError):  # one that cannot be changed is nobody's to change
            module.GPTConfig.gpt2_124m().n_layers = 3  # whose next one is another
    config = module.GPTConfig.gpt2_124m() if fields is None else module.GPTConfig(**fields)
    names = ("vocab_size", "context_length", "n_layers", "n_heads", "d_model", "dropout")
    return {name: getattr(config, name) for name in names}


def configs_refused(module, all_fields):
    """Which of these fields are refused."""
    return [refused(module.GPTConfig, **fields) for fields in all_fields]


def filled(target, weights):
    """The module with the given weights in place of its own, in their dtype."""
    parameters = dict(target.named_parameters(remove_duplicate=False))
    target.to(next(iter(weights.values())).dtype)
    with torch.no_grad():
        for name, value in weights.items():
            if name not in parameters:
                others = ", ".join(sorted(dict(target.named_parameters()).keys() - weights.keys())[:4])
                instead = f"it has {others} instead" if others else "nor another one in its place"
                raise Wrong(f"{type(target).__name__} has no parameter called {name}; {instead}")
            parameters[name].copy_(value)
    return target


def layer_of(module, name, config, weights, training=False):
    """A CausalSelfAttention, MLP or Block with these weights."""
    return filled(getattr(module, name)(module.GPTConfig(**config)), weights).train(training)


def layer_rows(module, name, config, weights, x, training=False):
    """The layer's value at x, which lies in memory in another order; whether x is as it was; what changed elsewhere."""
    layer = layer_of(module, name, config, weights, training)
    given = scattered(x)
    before = surroundings()
    value = kept(layer(given))
    with torch.no_grad():
        layer(given)
    return value, bool(torch.equal(given, x)), differences(before)


def layer_in_turn(module, config, weights, x, all_pieces):
    """The rows of one attention layer for several texts, each in pieces through a cache of its own."""
    target, found = layer_of(module, "CausalSelfAttention", config, weights), []
    with torch.no_grad():
        for pieces in all_pieces:
            cache = module.KVCache(module.GPTConfig(**config), len(x), x.dtype)
            rows = [kept(target(piece, cache, 0)) for piece in x[:, : sum(pieces)].split(pieces, dim=1)]
            found.append(torch.cat(rows, dim=1))
    return found


def after_new_weights(module, config, first, second, ids):
    """The logits of a model whose weights were changed after it had been used, and those of a copy from before."""
    model = gpt_of(module, config, first).eval()
    with torch.no_grad():
        model(ids)
        twin = copy.deepcopy(model)
        filled(model, second)
        return kept(model(ids)[0]), kept(twin(ids)[0])


def layer_copied(module, name, config, weights, x):
    """The value of a copy of the layer, whose own weights are 0 by then."""
    layer = layer_of(module, name, config, weights)
    twin = copy.deepcopy(layer)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.zero_()
        return kept(twin(x))


def layer_gradients(module, name, config, weights, x, cotangent):
    """The gradients of x and of every parameter, in training mode without dropout."""
    layer = layer_of(module, name, config, weights, training=True)
    x = x.clone().requires_grad_()
    layer(x).backward(cotangent)
    gradients = {name: parameter.grad for name, parameter in layer.named_parameters()}
    return {"x": x.grad, **gradients}


def layer_parameters(module, name, config):
    """Names and shapes."""
    layer = getattr(module, name)(module.GPTConfig(**config))
    return {name: list(x.shape) for name, x in sorted(layer.state_dict().items())}


def layer_in_pieces(module, name, config, weights, x, pieces, layers=1, layer=0):
    """The rows of pieces that are given one after the other, and how many positions the cache's layers then hold."""
    target = layer_of(module, name, config, weights)
    cache = module.KVCache(module.GPTConfig(**{**config, "n_layers": layers}), len(x), x.dtype)
    with torch.no_grad():
        rows = [kept(target(piece, cache, layer)) for piece in x.split(pieces, dim=1)]
    return torch.cat(rows, dim=1), list(cache.lengths)


def dropped(module, name, config, weights, x, training):
    """Several values at the same x after one seed, with the config's dropout."""
    layer = layer_of(module, name, config, weights, training)
    torch.manual_seed(5)
    with torch.no_grad():
        return torch.stack([layer(x) for _ in range(4)])


def gpt_of(module, config, weights):
    return filled(module.GPT(module.GPTConfig(**config)), weights)


def gpt_outputs(module, config, weights, ids, targets=None, training=False, place=torch.clone):
    """(logits, loss), and what changed besides."""
    model = gpt_of(module, config, weights).train(training)
    given, aims = place(ids), None if targets is None else place(targets)
    before = surroundings()
    logits, loss = model(given, aims)
    left = {
        "the ids are as they were": bool(torch.equal(given, ids)),
        "the targets are as they were": targets is None or bool(torch.equal(aims, targets)),
        "changed for everyone": differences(before),
    }
    return kept(logits), kept(loss), left


def gpt_outputs_anywhere(module, config, weights, ids, targets):
    """The same where ids and targets do not lie together in memory."""
    return gpt_outputs(module, config, weights, ids, targets, place=scattered)


def gpt_parts(module, config):
    """What is in a model's state, on the meta device."""
    with torch.device("meta"):
        model = module.GPT(module.GPTConfig(**config) if config else module.GPTConfig.gpt2_124m())
    return {
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "shapes": {name: list(x.shape) for name, x in sorted(model.state_dict().items())},
        "one parameter": model.lm_head.weight is model.wte.weight,
        "training": model.training,
        "config": isinstance(getattr(model, "config", None), module.GPTConfig),
    }


def initial_state(module, config, seed, own_generator=True):
    """A new model's state; what its making changed elsewhere; the next number of the generator that it drew from."""
    generator = torch.Generator().manual_seed(seed) if own_generator else None
    before = surroundings()
    if not own_generator:
        torch.manual_seed(seed)
    model = module.GPT(module.GPTConfig(**config), *([generator] if own_generator else []))
    changed = differences(before) if own_generator else []
    return {name: kept(x) for name, x in model.state_dict().items()}, changed


def first_weights(module, config, own_generator):
    """Where two models that are made one after the other begin, from one generator or without."""
    options = [torch.Generator().manual_seed(3)] if own_generator else []
    return [kept(module.GPT(module.GPTConfig(**config), *options).wte.weight) for _ in range(2)]


def last_logits(module, config, b, t):
    """The shape of the last logits alone."""
    model = module.GPT(module.GPTConfig(**config)).eval()
    with torch.no_grad():
        return list(model(torch.zeros(b, t, dtype=torch.int64), last_only=True)[0].shape)


def gpt_gradients(module, config, weights, ids, targets):
    """The gradient of the loss by every parameter, in training mode."""
    model = gpt_of(module, config, weights).train()
    model(ids, targets)[1].backward()
    return {name: parameter.grad for name, parameter in model.named_parameters()}


def gpt_in_pieces(module, config, weights, ids, pieces):
    """Logits of pieces through a cache of the model's own, those with last_only, the cache's length; and the whole text's
    last logits without a cache."""
    model = gpt_of(module, config, weights).eval()
    caches = model.new_cache(len(ids)), model.new_cache(len(ids))
    with torch.no_grad():
        rows = [kept(model(piece, cache=caches[0])[0]) for piece in ids.split(pieces, dim=1)]
        last = [kept(model(piece, cache=caches[1], last_only=True)[0]) for piece in ids.split(pieces, dim=1)]
        alone = kept(model(ids, last_only=True)[0])
    return torch.cat(rows, dim=1), torch.cat(last, dim=1), alone, [cache.length for cache in caches]


def gpt_past_the_end(module, config, weights, ids, more):
    """Read ids, then more than fits (refused?), then the cache's lengths and the logits of one token."""
    model = gpt_of(module, config, weights).eval()
    cache = model.new_cache(len(ids))
    with torch.no_grad():
        model(ids, cache=cache)
        was_refused = refused(model, more, cache=cache)
        lengths = list(cache.lengths)
        return was_refused, lengths, kept(model(more[:, :1], cache=cache)[0])


def gpt_cache(module, config, weights, b):
    """What a new cache is like."""
    model = gpt_of(module, config, weights)
    first, second = model.new_cache(b), model.new_cache()
    found = [list(first.keys.shape), first.keys.dtype, first.length, list(second.keys.shape), first.keys is not second.keys]
    return found + [model.to("meta").new_cache().keys.device.type]


def gpt_refuses(module, config, weights, texts):
    """Which ids are refused; each is given alone."""
    model = gpt_of(module, config, weights).eval()
    return [refused(model, ids) for ids in texts]


def embeddings_dropped(module, config, weights, ids, training):
    """What comes out of the embeddings, as the first block gets it."""
    model = gpt_of(module, config, weights).train(training)
    seen = []
    model.h[0].register_forward_pre_hook(lambda _, args, named: seen.append(args[0] if args else named["x"]), with_kwargs=True)
    torch.manual_seed(3)
    with torch.no_grad():
        model(ids)
    return kept(seen[0])


def two_models(module, configs, first, second, ids, more):
    """The logits of two models, the first one's after the second was made and used."""
    one, two = gpt_of(module, configs[0], first).eval(), gpt_of(module, configs[1], second).eval()
    with torch.no_grad():
        return kept(two(more)[0]), kept(one(ids)[0])


# Published weights


def loaded(module, config, state, ids, dtype, seed=0):
    """Load, run, and what could be seen from outside."""
    model = module.GPT(module.GPTConfig(**config), torch.Generator().manual_seed(seed)).to(dtype).eval()
    objects = {name: id(x) for name, x in model.named_parameters(remove_duplicate=False)}
    copies = {name: x.clone() for name, x in state.items()}
    given = types.MappingProxyType(state)  # whoever changes it is told
    value = module.load_gpt2_state_dict(model, given)
    seen = {
        "it returns the model": value is model,
        "the parameters are the same objects": objects == {n: id(x) for n, x in model.named_parameters(remove_duplicate=False)},
        "they require gradients": all(x.requires_grad for x in model.parameters()),
        "the state is as it was": all(torch.equal(x, copies[name]) for name, x in state.items()) and len(state) == len(copies),
    }
    for x in state.values():
        x.zero_()  # whoever kept a view loses it
    with torch.no_grad():
        logits = model(ids)[0]
    return kept(logits), {name: kept(x) for name, x in model.state_dict().items()}, seen


def load_refused(module, config, states):
    """For each state: whether it is refused, and whether the model is unchanged."""
    answers = []
    for state in states:
        model = module.GPT(module.GPTConfig(**config), torch.Generator().manual_seed(1)).double()
        before = {name: x.clone() for name, x in model.state_dict().items()}
        was_refused = refused(module.load_gpt2_state_dict, model, state)
        same = all(torch.equal(x, before[name]) for name, x in model.state_dict().items())
        answers.append((was_refused, same))
    return answers


# Corpora


class Characters:
    """A tokenizer of characters: ids by their numbers."""

    answers = {}

    def encode(self, text):
        return [ord(character) for character in text]


class Spelled:
    """A tokenizer of texts such as "12 7 300": ids by their numbers. Its answers are lists that it keeps."""

    def __init__(self, watch=None):
        self.watch, self.answers = watch, {}

    def encode(self, text):
        if self.watch:
            self.watch(text)
        return self.answers.setdefault(text, [int(word) for word in text.split()])

    def decode(self, ids):
        return " ".join(map(str, ids))


def write_documents(documents, folder, how, characters=False):
    """Files with these documents: one .jsonl, one .txt each, or both kinds; returns their paths, which no sorting keeps."""
    os.makedirs(folder, exist_ok=True)
    texts = ["".join(map(chr, ids)) if characters else " ".join(map(str, ids)) for ids in documents]
    texts = [text or " " * (i % 2) for i, text in enumerate(texts)]  # neither has a token, but one is not empty
    if how == "txt":
        groups = [[text] for text in texts]
    elif how == "jsonl":
        groups = [texts]
    else:
        middle = len(texts) // 2
        groups = [texts[:middle], *([text] for text in texts[middle:])]
    paths = []
    for i, group in enumerate(groups):
        as_lines = how == "jsonl" or (how == "both" and i == 0)
        paths.append(os.path.join(folder, f"{999 - i}.{'jsonl' if as_lines else 'txt'}"))
        with open(paths[-1], "w") as file:
            file.write("".join(json.dumps({"text": text}) + "\n" for text in group) if as_lines else group[0])
    return paths


def files_in(folder):
    """The files of a folder: numbers for the shards, what JSON says for the manifest, names for the rest."""
    found = {}
    for name in sorted(os.listdir(folder)):
        path = os.path.join(folder, name)
        if name.endswith(".bin"):
            with open(path, "rb") as file:
                found[name] = np.frombuffer(file.read(), dtype="<u2").tolist()
        elif name == "manifest.json":
            with open(path, encoding="utf-8") as file:
                found[name] = json.load(file)
        else:
            found[name] = "unknown"
    return found


@in_a_folder
def prepared(
    module, documents, shard_tokens, eot_id, n_validation=None, how="jsonl", folder="made/corpus", twice=None, characters=False
):
    """What prepare_corpus returns, and what is then in the folder; and whether the tokenizer's lists are as they were."""
    data = part(module, "data")
    paths = write_documents(documents, "texts", how, characters)
    tokenizer = Characters() if characters else Spelled()
    options = {} if n_validation is None else {"n_validation": n_validation}
    if twice is not None:  # a corpus from before, in other shards
        data.prepare_corpus(write_documents(twice, "before", "jsonl"), Spelled(), folder, 1, eot_id)
        listed = set(os.listdir(folder))
    where = Path(folder) if how == "txt" else folder
    manifest = data.prepare_corpus(iter(paths), tokenizer, where, shard_tokens, eot_id, **options)
    intact = all(ids == [int(word) for word in text.split()] for text, ids in tokenizer.answers.items())
    files = files_in(folder)
    if twice is not None:
        wanted = {shard["file"] for split in manifest["splits"].values() for shard in split["shards"]}
        files = {name: x for name, x in files.items() if name in wanted or name == "manifest.json" or name not in listed}
    return json.loads(json.dumps(manifest)), files, intact


@in_a_folder
def waiting(module, documents, shard_tokens, n_validation):
    """The most tokens that were read and not on the disk whenever another document was to be read, or encoded."""
    data = part(module, "data")
    paths = write_documents(documents, "texts", "jsonl")
    n_read, most, seen, read_documents = 0, 0, set(), data.read_documents

    def watch(text):
        nonlocal n_read, most
        sizes = (
            [os.path.getsize(os.path.join("corpus", name)) for name in os.listdir("corpus")] if os.path.isdir("corpus") else []
        )
        most = max(most, n_read - sum(sizes) // 2)
        n_read += (1 + len(text.split())) * (text not in seen)  # whoever reads or encodes a text twice does not have it twice
        seen.add(text)

    def watched(paths):
        for text in read_documents(paths):
            watch(text)
            yield text

    data.read_documents = watched
    try:
        data.prepare_corpus(paths, Spelled(watch), "corpus", shard_tokens, 0, n_validation)
    finally:
        data.read_documents = read_documents
    return most


@in_a_folder
def corpora_refused(module, cases):
    """For each (documents, shard_tokens, eot_id, n_validation): whether it is refused, and whether there is a manifest
    then, where there was one before."""
    data, answers = part(module, "data"), []
    for i, (documents, shard_tokens, eot_id, n_validation) in enumerate(cases):
        folder = f"corpus{i}"
        data.prepare_corpus(write_documents([[1], [2]], f"before{i}", "jsonl"), Spelled(), folder, 8, 0)
        paths = write_documents(documents, f"texts{i}", "jsonl")
        was_refused = refused(data.prepare_corpus, paths, Spelled(), folder, shard_tokens, eot_id, n_validation)
        complete = os.path.exists(os.path.join(folder, "manifest.json"))
        answers.append((was_refused, complete))
    return answers


@in_a_folder
def last_shard_unwritable(module):
    """Whether there is a manifest after a run whose last shard could not be written, where there was one before and where not."""
    data, answers = part(module, "data"), []
    for folder in ("used", "new"):
        if folder == "used":
            data.prepare_corpus(write_documents([[1], [2]], "before", "jsonl"), Spelled(), folder, 8, 0)
            os.remove("used/validation_00000.bin")
        os.makedirs(f"{folder}/validation_00000.bin")  # a folder stands where the file should go
        with contextlib.suppress(Exception):
            data.prepare_corpus(write_documents([[1], [2], [3]], "texts", "jsonl"), Spelled(), folder, 8, 0)
        answers.append(os.path.exists(f"{folder}/manifest.json"))
    return answers


def write_corpus(splits, folder="corpus"):
    """A folder as prepare_corpus makes it: {"train": [tokens of each shard], …}."""
    os.makedirs(folder, exist_ok=True)
    manifest = {"dtype": "uint16", "eot_id": 0, "splits": {}}
    for split, shards in splits.items():
        entries = []
        for i, tokens in enumerate(shards):
            name = f"{split}_{i:05}.bin"
            np.array(tokens, dtype="<u2").tofile(os.path.join(folder, name))
            entries.append({"file": name, "n_tokens": len(tokens)})
        manifest["splits"][split] = {"n_documents": 1, "n_tokens": sum(map(len, shards)), "shards": entries}
    with open(os.path.join(folder, "manifest.json"), "w") as file:
        json.dump(manifest, file)
    return folder


def hash_elsewhere(value):
    """hash() as another process has it: other numbers for texts and bytes, the same for all else."""
    parts = value if isinstance(value, tuple) else (value,)
    return hash(value) ^ (0x5EED * any(isinstance(part, str | bytes) for part in parts))


@in_a_folder
def epoch(module, shards, size, t, world=1, seed=None, epoch=None, split="train", elsewhere=False):
    """All batches of an epoch for every rank: [rank][step] -> (x, y); len for each; whether the position and all else stayed.
    `elsewhere`: as in another process, where hash() of a text is another number."""
    data = part(module, "data")
    folder = write_corpus({split: shards, "other": [[9] * 50]})
    options = {} if seed is None else {"shuffle_seed": seed}
    if elsewhere and not hasattr(data, "hash"):
        data.hash = hash_elsewhere
    ranks = [data.TokenShards(folder, split, size, t, rank, world, **options) for rank in range(world)]
    which = () if epoch is None else (epoch,)
    before = surroundings()
    batches = [[kept(own.batch(step, *which)) for step in range(len(own))] for own in ranks]
    still = all([own.epoch, own.step] == [0, 0] for own in ranks) and not differences(before)
    if vars(data).get("hash") is hash_elsewhere:
        del data.hash
    return batches, [len(own) for own in ranks], still


@in_a_folder
def followed(module, shards, size, t, n, seed=None, rank=0, world=1):
    """n batches by next_batch, and the position (epoch, step) after each; the batches are overwritten by whoever got them, and
    stay so (`intact`), while batch gives what it gave before (`fresh`)."""
    data = part(module, "data")
    own = data.TokenShards(write_corpus({"train": shards}), "train", size, t, rank, world, shuffle_seed=seed)
    before, seen, held, fresh = surroundings(), [], [], True
    for i in range(1, n + 1):
        place = own.step, own.epoch
        batch = own.next_batch()
        x, y = batch
        seen.append((kept(batch), [own.epoch, own.step]))
        x.fill_(-i)  # which is nobody's business but the caller's
        y.fill_(i)
        held.append((x, y))
        for _ in range(2):
            again = own.batch(*place)
            fresh &= all(torch.equal(a, b) for a, b in zip(again, seen[-1][0]))
            again[0].fill_(-i)
            again[1].fill_(i)
    intact = all(bool((x == -i).all() and (y == i).all()) for i, (x, y) in enumerate(held, 1))
    return seen, differences(before), files_in("corpus"), intact, fresh


@in_a_folder
def resumed(module, shards, size, t, before, after, seed=None, world=1):
    """The batches of one TokenShards, after `before` others; those of a second and of another rank that take its state, which has
    been through JSON, and of the first one itself, sent back; whether a state stays as it is; and whether those of
    both ranks are alike."""
    data = part(module, "data")
    folder = write_corpus({"train": shards})
    make = [data.TokenShards(folder, "train", size, t, rank, world, shuffle_seed=seed) for rank in (0, 0, world - 1, world - 1)]
    for own in (make[0], make[3]):
        for _ in range(before):
            own.next_batch()
    state = make[0].state_dict()
    text, alike = json.dumps(state), state == make[3].state_dict()
    runs = [[kept(own.next_batch()) for _ in range(after)] for own in (make[0], make[3])]
    make[0].state_dict()  # a later one, which is another
    unchanged = json.dumps(state) == text
    for own in (make[1], make[2], make[0]):
        given = json.loads(text)
        own.load_state_dict(given)
        runs.append([kept(own.next_batch()) for _ in range(after)])
        unchanged &= json.dumps(given) == text
    return runs, unchanged, alike


@in_a_folder
def states_refused(module, shards, first, others, n):
    """Whether the state of TokenShards(**first) after n batches is refused by those with other options, and the next batch's
    position then."""
    data = part(module, "data")
    folder = write_corpus({"train": shards, "validation": shards})
    source = data.TokenShards(folder, **first)
    for _ in range(n):
        source.next_batch()
    state = source.state_dict()
    answers = []
    for options in others:
        own = data.TokenShards(folder, **options)
        own.next_batch()
        answers.append((refused(own.load_state_dict, dict(state)), [own.epoch, own.step]))
    return answers


@in_a_folder
def shards_refused(module, shards, all_options, damage=()):
    """Which options are refused; so many bytes, `damage`, are added to each shard's file, or taken from it."""
    data = part(module, "data")
    folder = write_corpus({"train": shards})
    for i, more in enumerate(damage):
        path = os.path.join(folder, f"train_{i:05}.bin")
        with open(path, "r+b") as file:
            file.truncate(os.path.getsize(path) + more)
    return [refused(data.TokenShards, folder, **options) for options in all_options]


@in_a_folder
def steps_refused(module, shards, size, t, steps, **options):
    """Which numbers of batches are refused."""
    own = part(module, "data").TokenShards(Path(write_corpus({"train": shards})), "train", size, t, **options)
    return [refused(own.batch, step) for step in steps]


@in_a_folder
def batch_of_many(module, n_tokens, n_shards, size, t, step, tail):
    """A batch from files with holes in them, which take no room: zeros but for the `tail` at the end of each. n_tokens is that
    of a shard."""
    data = part(module, "data")
    entries = []
    for i in range(n_shards):
        name = f"train_{i:05}.bin"
        with open(name, "wb") as file:
            file.truncate(2 * (n_tokens - len(tail)))
            file.seek(0, 2)
            file.write(np.array(tail, dtype="<u2").tobytes())
        entries.append({"file": name, "n_tokens": n_tokens})
    split = {"n_documents": 1, "n_tokens": n_tokens * n_shards, "shards": entries}
    with open("manifest.json", "w") as file:
        json.dump({"dtype": "uint16", "eot_id": 0, "splits": {"train": split}}, file)
    return kept(data.TokenShards(".", "train", size, t).batch(step))


# Training


class Pretended(dist.ProcessGroup):
    """One of two processes, whose counterpart has zeros: a sum over both is what this one has. Needs no socket."""

    def getBackendName(self):  # noqa: N802 (PyTorch's name)
        return "pretended"

    def done(self, value):
        future = torch.futures.Future()
        future.set_result(value)
        return _create_work_from_future(future)

    def allreduce(self, tensors, options=None):
        if options is not None and options.reduceOp == dist.ReduceOp.AVG:
            for x in tensors:
                x /= self.size()
        return self.done(tensors)

    def reduce(self, tensors, options=None):
        return self.done(tensors)

    def broadcast(self, tensors, options=None):
        return self.done(tensors)

    def allgather(self, outputs, inputs, options=None):
        for all_of_it, x in zip(outputs, inputs):
            for rank, output in enumerate(all_of_it):  # sizes have to agree, so DistributedDataParallel gets the same twice
                output.copy_(x if rank == self.rank() or not x.is_floating_point() else torch.zeros_like(x))
        return self.done(outputs)

    def gather(self, outputs, inputs, options=None):
        return self.allgather(outputs, inputs)

    def barrier(self, options=None, **others):
        return self.done([])


@contextlib.contextmanager
def one_of_two_processes(rank):
    if not hasattr(dist.Backend, "PRETENDED"):
        dist.Backend.register_backend("pretended", lambda store, rank, size, timeout: Pretended(rank, size), devices=["cpu"])
    dist.init_process_group("pretended", store=dist.HashStore(), rank=rank, world_size=2)
    try:
        yield
    finally:
        dist.destroy_process_group()


class TinyLM(nn.Module):
    """Predicts the next token from the last two; has every kind of parameter, dropout, and notes what it sees."""

    seconds = 0  # that each pass takes at least

    def __init__(self, vocab=7, width=5, dropout=0.0, noise=False):
        super().__init__()
        self.embedding = nn.Embedding(vocab, width)
        self.norm = nn.LayerNorm(width)
        self.mix = nn.Linear(width, width)
        self.scale = nn.Parameter(torch.ones(()))
        self.frozen = nn.Parameter(torch.ones(width, width), requires_grad=False)
        self.head = nn.Linear(width, vocab, bias=False)
        self.head.weight = self.embedding.weight
        self.dropout, self.noise, self.seen = nn.Sequential(nn.Dropout(dropout)), noise, []
        self.again = nn.Sequential(self.dropout[0])  # a part of two others

    def forward(self, ids, targets=None):
        time.sleep(self.seconds)
        x = self.embedding(ids)
        x = x + self.mix(self.norm(torch.cat([x[:, :1], x[:, :-1]], dim=1))) @ self.frozen
        if self.noise:
            x = x + 0.1 * torch.randn(x.shape).to(x)
        logits = self.head(self.dropout(x) * self.scale)
        autocast = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else None
        self.seen.append((self.training, torch.is_grad_enabled(), autocast, logits.dtype, self.dropout[0].training))
        return logits, None if targets is None else F.cross_entropy(logits.flatten(0, 1), targets.flatten())


def tiny(seed, **options):
    """A TinyLM in float64 with weights that matter."""
    model = TinyLM(**options).double()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            parameter.copy_(0.6 * noise + (parameter.ndim < 2))
    return model


class Batches:
    """Stands in for TokenShards: batches that are given, again and again from the beginning."""

    def __init__(self, batches, fails_at=None):
        self.batches, self.epoch, self.step, self.fails_at = batches, 0, 0, fails_at

    def __len__(self):
        return len(self.batches)

    @property
    def position(self):
        return self.epoch * len(self) + self.step

    @position.setter
    def position(self, n):
        self.epoch, self.step = divmod(n, len(self))

    def batch(self, step, epoch=0):
        if step == self.fails_at:
            raise OSError("the disk is gone")
        x, y = self.batches[step + epoch]  # of epoch 0 alone there are so many
        return x.clone(), y.clone()

    def next_batch(self):
        step = self.step
        self.position += 1
        return self.batch(step)

    def state_dict(self):
        return {"position": self.position}

    def load_state_dict(self, state):
        self.position = state["position"]


def state_of(model):
    return {name: kept(x) for name, x in model.state_dict().items()}


def groups_of(module, weight_decay, kind):
    """param_groups of a model, by names; and what it is like. `kind` says which model."""
    model = TinyLM()
    if kind == "odd names":
        model = nn.Module()
        model.bias = nn.Parameter(torch.ones(2, 3))
        model.weight = nn.Parameter(torch.ones(4))
        model.ln_1 = nn.Conv1d(2, 3, 1, bias=True)
        model.scale = nn.Parameter(torch.ones(1, 1))
    if kind == "matrices only":
        model = nn.Linear(3, 2, bias=False)
    if kind == "vectors only":
        model = nn.LayerNorm(3)
    if kind == "on the meta device":
        model = nn.Linear(3, 2, device="meta")
    if kind == "frozen":
        model.embedding.weight.requires_grad_(False)
        model.norm.bias.requires_grad_(False)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    groups = part(module, "train").param_groups(model, weight_decay)
    if not isinstance(groups, list | tuple) or not all(isinstance(group, dict) for group in groups):
        return None, []
    torch.optim.AdamW(groups, lr=0.1)  # takes them
    found = [
        {"weight_decay": group["weight_decay"], "params": [names.get(id(p), "?") for p in group["params"]]} for group in groups
    ]
    return found, [parameter.requires_grad for parameter in model.parameters()]


def schedule(module, steps, *args):
    """The learning rates of these steps."""
    return [part(module, "train").cosine_schedule(step, *args) for step in steps]


def evaluated(module, seed, batches, n, modes=(True, True), fails_at=None, noise=False, twice=False):
    """The loss; and what is not as before. modes: of the model and of its dropout."""
    train = part(module, "train")
    model = tiny(seed, dropout=0.5, noise=noise).train(modes[0])
    model.dropout.train(modes[1])
    model.scale.grad = torch.ones(()).double()
    shards = Batches(batches, fails_at)
    shards.position = 1
    torch.set_grad_enabled(modes[0])
    before, value = surroundings(), None
    try:
        value = [train.evaluate(model, shards, n) for _ in range(1 + twice)]
    except OSError:
        value = "raised"
    left = {
        "the modes": [model.training, model.dropout[0].training, model.norm.training, model.again.training],
        "how the model ran": sorted({(seen[0], seen[4], seen[1]) for seen in model.seen}),
        "the position": shards.position,
        "trained": sum(parameter.requires_grad for parameter in model.parameters()),
        "gradients": [float(parameter.grad.sum()) for parameter in model.parameters() if parameter.grad is not None],
        "changed for everyone": differences(before),
    }
    return value, left


def evaluation_refused(module, batches, counts):
    """Which numbers of batches are refused."""
    model = tiny(0)
    return [refused(part(module, "train").evaluate, model, Batches(batches), n) for n in counts]


@contextlib.contextmanager
def renaming(path):
    """A list that says, whenever a file is renamed meanwhile, whether there is one under `path` just before."""
    there, originals = [], {name: getattr(os, name) for name in ("rename", "replace")}

    def noted(original):
        def rename(*args, **kwargs):
            there.append(os.path.exists(path))
            return original(*args, **kwargs)

        return rename

    for name, original in originals.items():
        setattr(os, name, noted(original))
    try:
        yield there
    finally:
        for name, original in originals.items():
            setattr(os, name, original)


@in_a_folder
def checkpoints(module, states, path):
    """What torch.load finds after each state was saved under one path, whether the old file is whole for who reads it, and
    whether there is one until the new one takes its place; and the folder's files, of which one is somebody else's."""
    train, seen = part(module, "train"), []
    for state in states:
        first = not os.path.exists(path)
        old = io.BytesIO() if first else open(path, "rb")  # somebody who is reading the old one
        with old, renaming(path) as there:
            whole = old.read()
            train.save_checkpoint(Path(path) if len(seen) % 2 else path, state)
            old.seek(0)
            seen.append((torch.load(path, weights_only=True), old.read() == whole, first or all(there)))
        Path(path).with_name("log.jsonl").touch()
    return seen, sorted(os.listdir(os.path.dirname(path) or "."))


class Unwritable:
    """Cannot be saved."""

    def __init__(self, error):
        self.error = error

    def __reduce__(self):
        raise self.error


@in_a_folder
def checkpoint_failed(module, state, path, first, full):
    """Save a state, if `first`, then one that breaks down half-way, since the disk is `full` or since it has a part that nobody
    can pickle: was the error passed on, what is there under path, and which files are there."""
    train = part(module, "train")
    os.makedirs(os.path.dirname(path), exist_ok=True)
    Path(path).with_name("log.jsonl").touch()  # somebody else's
    if first:
        train.save_checkpoint(path, state)
    told, error = False, OSError("the disk is full") if full else TypeError("cannot pickle this")
    try:
        train.save_checkpoint(path, {"weights": torch.zeros(100), "broken": Unwritable(error)})
    except (OSError, TypeError):
        told = True
    try:
        found = torch.load(path, weights_only=True) if os.path.exists(path) else None
    except Exception:  # whatever a broken file does to it
        found = "a file that torch.load cannot read"
    return told, found, sorted(os.listdir(os.path.dirname(path)))


@in_a_folder
def checkpoint_in_the_way(module):
    """The files in the folder when there is a folder under the path, so that no file can take that name."""
    os.makedirs("runs/checkpoint.pt")
    with contextlib.suppress(Exception):
        part(module, "train").save_checkpoint("runs/checkpoint.pt", {"step": 1})
    return sorted(os.listdir("runs"))


def run(
    module, seed, batches, config, model=None, validation=None, training=True, dropping=None, stale=False, position=0,
    global_seed=None, dtype=torch.float64,
):  # fmt: skip
    """train on a tiny model: its state, the history, the position, what it saw, whether the config is as it was. training and
    dropping: the modes of the model and of its dropout before."""
    train = part(module, "train")
    lm = tiny(seed, **(model or {})).train(training).to(dtype)
    lm.dropout.train(training if dropping is None else dropping)
    if stale:
        for parameter in lm.parameters():
            if parameter.requires_grad:  # an optimiser knows no others
                parameter.grad = torch.full_like(parameter, 3.0)
    shards = Batches(batches)
    shards.position = position
    held_out = None if validation is None else Batches(validation)
    torch.manual_seed(seed if global_seed is None else global_seed)
    given = train.TrainConfig(**config)
    before = dict(vars(given))
    history = train.train(lm, shards, given, held_out)
    seen = [list(map(str, notes)) for notes in lm.seen]
    history = {key: [list(x) if isinstance(x, tuple) else x for x in value] for key, value in history.items()}
    same = vars(given) == before
    modes = [lm.training, lm.dropout[0].training, lm.norm.training]
    found = {"state": state_of(lm), "history": history, "position": shards.position, "training": modes, "seen": seen}
    return found | {"the config is as it was": same}


@in_a_folder
def interrupted(module, seed, batches, config, stops, model=None, validation=None):
    """As `run`, in several goes: each builds everything anew, from another seed, and ends after so many steps; the last one finds
    that all is done. `same`: whether each left its model in the checkpoint. All but the first get theirs in evaluation mode, and
    shards that have been moved on."""
    train, lengths, same = part(module, "train"), [], True
    for go, stop in enumerate([*stops, None, None]):
        lm = tiny(seed if go == 0 else seed + 50 + go, **(model or {})).train(go == 0)
        shards = Batches(batches)
        shards.position = go
        torch.manual_seed(seed if go == 0 else seed + 1000 * go)
        held_out = None if validation is None else Batches(validation)
        history = train.train(lm, shards, train.TrainConfig(**config, stop_after=stop, checkpoint_path="run/c.pt"), held_out)
        lengths.append(len(history["loss"]))
        saved = torch.load("run/c.pt", weights_only=True)["model"] if os.path.exists("run/c.pt") else {}
        same = same and all(name in saved and torch.equal(x, saved[name]) for name, x in lm.state_dict().items())
    history = {key: [list(x) if isinstance(x, tuple) else x for x in value] for key, value in history.items()}
    files = sorted(os.listdir("run"))
    return {"state": state_of(lm), "history": history, "position": shards.position}, files, same, lengths


@in_a_folder
def joined(module, seed, batches, config, rank):
    """As one of two processes: the history of train, and the files that it wrote."""
    train = part(module, "train")
    config = train.TrainConfig(**config, checkpoint_path="c.pt", log_path="log.jsonl")
    with one_of_two_processes(rank):
        history = train.train(tiny(seed), Batches(batches), config, Batches(batches))
    return {key: [list(x) if isinstance(x, tuple) else x for x in values] for key, values in history.items()}, sorted(
        os.listdir(".")
    )


@in_a_folder
def joined_again(module, seed, batches, config, rank):
    """As one of two processes that go on from their checkpoint after the first step: the steps that are done at the end, and the
    passes that it took."""
    train = part(module, "train")
    options = {**config, "checkpoint_path": "c.pt"}
    with one_of_two_processes(0):
        train.train(tiny(seed), Batches(batches), train.TrainConfig(**options, stop_after=1), Batches(batches))
    lm = tiny(seed + 1)
    with one_of_two_processes(rank):
        history = train.train(lm, Batches(batches), train.TrainConfig(**options), Batches(batches))
    return [len(history["loss"]), sum(notes[0] for notes in lm.seen)]


class HalfLosses(nn.Module):
    """A model whose loss, in bfloat16, is 1 and 128ths as many as the text says."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones((), dtype=torch.bfloat16))

    def forward(self, ids, targets=None):
        return None, (1 + ids.float().mean() / 128).bfloat16()


def evaluated_in_bfloat16(module, batches):
    """The loss that evaluate gives for HalfLosses."""
    return part(module, "train").evaluate(HalfLosses(), Batches(batches), len(batches))


def evaluated_together(module, seed, batches):
    """The loss that evaluate gives as one of two processes."""
    with one_of_two_processes(1):
        return part(module, "train").evaluate(tiny(seed), Batches(batches), len(batches))


@in_a_folder
def crashed(module, seed, batches, config, every, at):
    """A run with a checkpoint after `every` steps whose data fail after `at` batches; then a second run from there, how many
    batches that one read, the steps that were in the log after the crash, and whether the checkpoint stayed whole for who was
    reading it."""
    train = part(module, "train")
    config = train.TrainConfig(**config, checkpoint_path="run/c.pt", checkpoint_every=every, log_path="log.jsonl")
    with contextlib.suppress(OSError):
        train.train(tiny(seed), Batches(batches, fails_at=at), config)
    logged = []
    if os.path.exists("log.jsonl"):
        with open("log.jsonl", encoding="utf-8") as file:
            logged = [json.loads(line)["step"] for line in file]
    lm, shards = tiny(seed + 1), Batches(batches)
    old = open("run/c.pt", "rb") if os.path.exists("run/c.pt") else io.BytesIO()  # somebody who is reading the old one
    with old:
        before = old.read()
        history = train.train(lm, shards, config)
        old.seek(0)
        whole = old.read() == before
    n_read = len(lm.seen)
    return {"state": state_of(lm), "history": dict(history), "position": shards.position}, n_read, logged, whole


@in_a_folder
def compiled(module, seed, batches, config):
    """train with a compiler that only notes what it was given: how often that ran; the loss; the names in the checkpoint and in
    the model."""
    train, n_runs = part(module, "train"), 0

    def noted(target=None, **options):
        def run(*args, **kwargs):
            nonlocal n_runs
            n_runs += 1
            return target(*args, **kwargs)

        if target is None:
            return noted
        return Compiled(target, run) if isinstance(target, nn.Module) else run

    lm, before = tiny(seed), torch.compile
    torch.compile = noted
    try:
        history = train.train(lm, Batches(batches), train.TrainConfig(**config, compile=True, checkpoint_path="c.pt"))
    finally:
        torch.compile = before
    return n_runs, history["loss"], sorted(torch.load("c.pt", weights_only=True)["model"]), sorted(lm.state_dict())


class Compiled(nn.Module):
    """What torch.compile makes of a model: another one, with the first inside of it."""

    def __init__(self, model, run):
        super().__init__()
        self._orig_mod, self.run = model, run

    def forward(self, *args, **kwargs):
        return self.run(*args, **kwargs)


@in_a_folder
def logged(module, seed, batches, config, validation):
    """The lines of a log to which a second run appends, and the histories."""
    train = part(module, "train")
    histories = []
    for again in range(2):
        options = train.TrainConfig(**config, log_path="log.jsonl")
        histories.append(train.train(tiny(seed + again), Batches(batches), options, Batches(validation)))
    with open("log.jsonl", encoding="utf-8") as file:
        return [json.loads(line) for line in file], [{key: list(value) for key, value in h.items()} for h in histories]


@in_a_folder
def speeds(module, seed, batches, config, seconds):
    """The tokens per second in the log of a run whose passes take so many seconds at least, and how long the run took."""
    train, lm = part(module, "train"), tiny(seed)
    lm.seconds, start = seconds, time.perf_counter()
    train.train(lm, Batches(batches), train.TrainConfig(**config, log_path="log.jsonl"))
    took = time.perf_counter() - start
    with open("log.jsonl", encoding="utf-8") as file:
        return [json.loads(line)["tokens_per_second"] for line in file], took


@in_a_folder
def training_refused(module, batches, configs):
    """For each config, without a checkpoint and then with one from before: whether it is refused, and whether the model is as
    it was."""
    train, answers = part(module, "train"), []
    first = train.TrainConfig(total_steps=1, warmup_steps=0, checkpoint_path="c.pt")
    train.train(tiny(2), Batches(batches), first)
    for config in [config | {"checkpoint_path": path} for config in configs for path in (None, "c.pt")]:
        model = tiny(1)
        before = state_of(model)
        was_refused = refused(train.train, model, Batches(batches), train.TrainConfig(**config))
        answers.append((was_refused, all(torch.equal(x, before[name]) for name, x in model.state_dict().items())))
    return answers
