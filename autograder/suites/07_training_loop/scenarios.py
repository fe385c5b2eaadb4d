"""Losses, optimisers, checkpoints and whole runs, beside the student's code."""

import contextlib
import copy
import io
import os
import pickle
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from torch import nn

from autograder.testing.probes import differences, surroundings

REFUSALS = (ValueError, TypeError, IndexError)


def kept(value):
    """A copy without a graph, of whatever is made of tensors and plain values."""
    if isinstance(value, torch.Tensor):
        return value.detach().clone()
    if isinstance(value, dict):
        return {key: kept(x) for key, x in value.items()}
    return [kept(x) for x in value] if isinstance(value, tuple | list) else value


def scatter(x):
    """A copy that lies in memory in another order, with gaps."""
    larger = torch.zeros([2 * size for size in reversed(x.shape)], dtype=x.dtype)
    view = larger[tuple(slice(None, None, 2) for _ in x.shape)].permute(*reversed(range(x.ndim))) if x.ndim else larger
    return view.copy_(x)


# Losses


def attached(module, logits, targets):
    """The gradient that backpropagation takes to the logits from twice the loss, and whether the loss still has a graph."""
    logits = logits.clone().requires_grad_()
    loss = module.cross_entropy(logits=logits, targets=targets)
    has_graph = loss.requires_grad
    if has_graph:
        (2.0 * loss).backward()
    return {"a graph": has_graph, "gradient": logits.grad}


def losses(module, cases):
    """The losses of several (logits, targets)."""
    return [module.cross_entropy(*case) for case in cases]


def within_a_graph(module, logits, targets):
    """The closed form on logits that require gradients and were computed: their own gradient works afterwards."""
    leaf = logits.clone().requires_grad_()
    computed = (leaf * 1.5).exp()
    module.cross_entropy_gradient(logits=computed, targets=targets)
    computed.square().sum().backward()
    return leaf.grad


# Optimisers


def optimizer_session(module, name, values, arguments, operations, layout="plain"):
    """An optimiser of tensors with these values lives through the operations; what could be seen after each of them.

    "gradients" gives each parameter a new gradient tensor, "overwrite" writes new numbers into those that are there.
    """
    params = [nn.Parameter(scatter(x) if layout == "scattered" else x.clone()) for x in values]
    optimizer = getattr(module, name)(iter(params), **arguments)
    places, saved, seen = [p.data_ptr() for p in params], {}, []
    for operation, *details in operations:
        if operation == "gradients":
            for p, gradient in zip(params, details[0], strict=True):
                p.grad = None if gradient is None else scatter(gradient) if layout == "scattered" else gradient.clone()
        elif operation == "overwrite":
            for p, gradient in zip(params, details[0], strict=True):
                p.grad.copy_(gradient)
        elif operation == "lr":
            optimizer.lr = details[0]
        elif operation == "save":
            saved[details[0]] = optimizer.state_dict()
        elif operation == "load":
            optimizer.load_state_dict(saved[details[0]])
        elif operation == "values":
            with torch.no_grad():
                for p, value in zip(params, details[0], strict=True):
                    p.copy_(value)
        elif operation == "another":
            optimizer = getattr(module, name)(params, *details[0].values())  # all of them, in the signature's order
        elif operation == "zero_grad":
            optimizer.zero_grad()
            seen.append([None if p.grad is None else p.grad.clone() for p in params])
        elif operation == "step":
            gradients = [(p.grad, kept(p.grad)) for p in params]
            optimizer.step()
            left = all(p.grad is g and (g is None or torch.equal(g, copy)) for p, (g, copy) in zip(params, gradients))
            seen.append({
                "parameters": kept(params),
                "gradients as they were": left,
                "in place": [p.data_ptr() for p in params] == places and all(p.requires_grad and p.is_leaf for p in params),
                "lr": float(optimizer.lr),
            })  # fmt: skip
    return seen


def optimizers_side_by_side(module, name, values, arguments, gradients):
    """Two optimisers of equal parameters take turns, the second one with the gradients in reverse order. The lists that they
    were given are empty by then."""
    params = [[nn.Parameter(x.clone()) for x in values] for _ in range(2)]
    handed = [list(own) for own in params]
    optimizers = [getattr(module, name)(own, **arguments) for own in handed]
    for own in handed:
        own.clear()
    for turn in zip(gradients, reversed(gradients), strict=True):
        for own, optimizer, new in zip(params, optimizers, turn, strict=True):
            for p, gradient in zip(own, new, strict=True):
                p.grad = gradient.clone()
            optimizer.step()
    return kept(params)


def optimizer_surroundings(module, name, arguments, dtypes):
    """What steps changed around them, after a real backward pass; whether dtypes stayed and numbers are finite."""
    before = surroundings()
    params = [nn.Parameter(torch.ones(3, dtype=dtype)) for dtype in dtypes]
    optimizer = getattr(module, name)((p for p in params), **arguments)
    for _ in range(3):
        optimizer.zero_grad()
        sum((p.square() * 0.5).sum().double() for p in params).backward()
        optimizer.step()
    return {
        "changed": differences(before),
        "dtypes": [p.dtype for p in params],
        "finite and moved": [bool(p.isfinite().all() and (p != 1).all()) for p in params],
        "a graph": any(p.grad_fn is not None or p.grad.requires_grad for p in params),
    }


def build(module, name, values, arguments):
    """Make an optimiser."""
    getattr(module, name)(params=[nn.Parameter(x) for x in values], **arguments)


def load_foreign_state(module, name, n_own, n_other):
    """The state of an optimiser of n_other parameters goes into one of n_own."""
    own, other = ([nn.Parameter(torch.ones(2)) for _ in range(n)] for n in (n_own, n_other))
    optimizers = [getattr(module, name)(params, lr=0.1) for params in (own, other)]
    for params, optimizer in zip((own, other), optimizers):
        for p in params:
            p.grad = torch.ones(2)
        optimizer.step()
    optimizers[0].load_state_dict(optimizers[1].state_dict())


def states_around_new_gradients(module, name, values, arguments, gradients, others):
    """The state after a step, before and after other numbers are written into the gradients."""
    params = [nn.Parameter(x.clone()) for x in values]
    optimizer = getattr(module, name)(params, **arguments)
    for p, gradient in zip(params, gradients, strict=True):
        p.grad = gradient.clone()
    optimizer.step()
    before = kept(optimizer.state_dict())
    for p, other in zip(params, others, strict=True):
        p.grad.copy_(other)
    return before, kept(optimizer.state_dict())


def plain_state(module, name, arguments):
    """The types that occur in a state_dict after a step, and how deep."""
    params = [nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(()))]
    optimizer = getattr(module, name)(params, **arguments)
    params[0].grad = torch.ones(2)
    optimizer.step()

    def types_in(value):
        if isinstance(value, dict):
            return {type(value).__name__}.union(*map(types_in, value.keys()), *map(types_in, value.values()))
        if isinstance(value, list | tuple):
            return {type(value).__name__}.union(*map(types_in, value))
        if isinstance(value, torch.Tensor):
            return {"tensor with a graph" if value.requires_grad else "Tensor"}
        return {type(value).__name__}

    return sorted(types_in(optimizer.state_dict()))


# Clipping


def clip(module, gradients, max_norm, as_generator=False, times=1, layout="plain"):
    """The norms that calls returned, the gradients after them, and what became of their tensors and their parameters."""
    params = [nn.Parameter(torch.ones((), dtype=torch.float32) if g is None else torch.ones_like(g)) for g in gradients]
    for p, gradient in zip(params, gradients, strict=True):
        p.grad = None if gradient is None else scatter(gradient) if layout == "scattered" else gradient.clone()
    tensors, places = [p.grad for p in params], [p.grad.data_ptr() for p in params if p.grad is not None]
    before = surroundings()
    given = {"max_norm": max_norm}
    norms = [module.clip_grad_norm(params=iter(params) if as_generator else params, **given) for _ in range(times)]
    return {
        "norms": list(map(float, norms)),
        "scalars": all(not isinstance(norm, torch.Tensor) or norm.dim() == 0 for norm in norms),
        "gradients": [None if p.grad is None else p.grad.clone() for p in params],
        "in place": all(p.grad is tensor for p, tensor in zip(params, tensors))
        and [p.grad.data_ptr() for p in params if p.grad is not None] == places,
        "parameters as they were": all(bool((p == 1).all()) and p.requires_grad for p in params),
        "changed": differences(before),
    }


# Schedule, batches, vocabulary


def schedule(module, steps, *arguments):
    """The learning rates of these steps."""
    given, found = dict(zip(("warmup_steps", "total_steps", "max_lr", "min_lr"), arguments, strict=True)), []
    for step in steps:
        try:
            found.append(float(module.cosine_schedule(step=step, **given)))
        except ArithmeticError as error:
            error.args = (f"{error}, where step={step}, {', '.join(f'{name}={value}' for name, value in given.items())}",)
            raise
    return found


def batches(module, data, batch_size, context_length, seed, n=1, strided=False):
    """The x and y of n calls with one generator, and what the calls changed around them."""
    generator = torch.Generator().manual_seed(seed)
    own = scatter(data) if strided else data.clone()
    given = {"batch_size": batch_size, "context_length": context_length, "generator": generator}
    before, seen = surroundings(), []
    for _ in range(n):
        seen.append(kept(module.get_batch(data=own, **given)))
    return {"batches": seen, "data as it was": torch.equal(own, data), "changed": differences(before)}


def batch_is_a_copy(module, data, batch_size, context_length):
    """Whether the data stays as it is when the batch is overwritten, and the batch when the data is."""
    own, generator = data.clone(), torch.Generator().manual_seed(0)
    first = module.get_batch(own, batch_size, context_length, generator)
    copy = kept(first)
    own.zero_()
    follows_data = not all(map(torch.equal, first, copy))
    own.copy_(data)
    for x in module.get_batch(own, batch_size, context_length, generator):
        x.fill_(1)
    return {"the batch changes with the data": follows_data, "the data changes with the batch": not torch.equal(own, data)}


def vocabulary(module, text, texts, ids):
    """What a vocabulary of the text says of itself, encodes and decodes."""
    vocabulary = module.CharVocabulary(text)
    again = module.CharVocabulary(vocabulary.chars)
    return {
        "len": len(vocabulary),
        "chars": vocabulary.chars,
        "encoded": [vocabulary.encode(text) for text in texts],
        "decoded": [vocabulary.decode(x) for x in ids],
        "made again": [again.chars, *(again.encode(text) for text in texts)],
    }


def two_vocabularies(module, one, other, texts):
    """What two vocabularies say, the first one asked after the second was made."""
    both = [module.CharVocabulary(text=one), module.CharVocabulary(text=other)]
    return [(len(vocabulary), vocabulary.encode(text=text)) for vocabulary, text in zip(both, texts)]


def encode(module, text, unknown):
    """Encode a text with a vocabulary of another."""
    return module.CharVocabulary(text).encode(unknown)


def decode(module, text, ids):
    """Decode ids with the vocabulary of a text."""
    return module.CharVocabulary(text).decode(ids=ids)


# Checkpoints


class Net(nn.Module):
    """Dropout, buffers that change with every pass, one of them float64, a weight with two names, and a frozen parameter."""

    def __init__(self, width=4, dropout=0.5):
        super().__init__()
        self.one, self.other = nn.Linear(width, width), nn.Linear(width, width)
        self.other.weight = self.one.weight
        self.frozen = nn.Parameter(torch.randn(width), requires_grad=False)
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("total", torch.zeros((), dtype=torch.float64))
        self.register_buffer("n_passes", torch.zeros((), dtype=torch.long))
        self.dropout = nn.Dropout(dropout)

    def forward(self, x):
        if self.training:
            self.mean = 0.9 * self.mean + 0.1 * x.detach().mean(0)
            self.total += x.detach().double().sum() / 3
            self.n_passes += 1
        return self.other(self.dropout(torch.tanh(self.one(x - self.mean)))) * self.frozen * (1 + 0.01 * self.n_passes)


class Momentum:
    """An optimiser whose state is nested: dicts with numbers as keys, tuples, None, booleans, numbers and tensors."""

    def __init__(self, params, lr):
        self.params, self.lr, self.n_steps, self.velocities = [p for p in params if p.requires_grad], lr, 0, {}

    def step(self):
        self.n_steps += 1
        with torch.no_grad():
            for i, p in enumerate(self.params):
                self.velocities[i] = 0.9 * self.velocities.get(i, 0.0) + p.grad
                p -= self.lr / self.n_steps**0.5 * self.velocities[i]
                p.grad = None

    def state_dict(self):
        extra = {"name": "momentum", "none": None, "flag": True, "pair": (0.5, 1e-300)}
        return {"state": self.velocities, "groups": [{"lr": self.lr, "params": [0, 1], **extra}], "n_steps": self.n_steps}

    def load_state_dict(self, state):
        group = state["groups"][0]
        if group["name"] != "momentum" or group["none"] is not None or group["flag"] is not True:
            raise RuntimeError("the optimiser's state has changed on its way")
        if tuple(group["pair"]) != (0.5, 1e-300):
            raise RuntimeError("the optimiser's state has changed on its way")
        self.lr, self.n_steps = group["lr"], state["n_steps"]
        self.velocities = {i: x.clone() for i, x in state["state"].items()}


class Run:
    """A model, an optimiser and a generator; global randomness goes in by dropout."""

    def __init__(self, seed, optimizer=Momentum, lr=0.1, dropout=0.5, dtype=torch.float32):
        torch.manual_seed(seed)
        self.model, self.dtype = Net(dropout=dropout).to(dtype), dtype
        self.optimizer = optimizer([p for p in self.model.parameters() if p.requires_grad], lr)
        self.generator = torch.Generator().manual_seed(seed)

    def go(self, n):
        """n steps; the losses, and everything in the model afterwards."""
        losses = []
        for _ in range(n):
            x = torch.randn(5, 4, generator=self.generator, dtype=self.dtype)
            loss = (self.model(x) - x.flip(1)).square().mean()
            loss.backward()
            self.optimizer.step()
            if hasattr(self.optimizer, "zero_grad"):
                self.optimizer.zero_grad()
            losses.append(loss.item())
        return {"losses": losses, "model": kept(dict(self.model.state_dict()))}


@contextlib.contextmanager
def folder():
    """An empty folder, gone afterwards; where files may be written says the environment of the moment."""
    with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR")) as name:
        yield Path(name)


def resumed(module, seed, before, after, progress, name="run.pt", optimizer=None, **kinds_of_run):
    """A run is saved in the middle and goes on; another one, of other weights and other dice, loads that and goes on.

    Gives what both did, and what the first one does when nobody saves it.
    """
    kinds = {None: Momentum, "SGD": lambda params, lr: module.SGD(params, lr, 0.9)}
    kind = kinds.get(optimizer) or (lambda params, lr: module.AdamW(params, lr))
    undisturbed = Run(seed, kind, **kinds_of_run)
    undisturbed.go(before)
    wanted = undisturbed.go(after)
    with folder() as home:
        first = Run(seed, kind, **kinds_of_run)
        first.go(before)
        module.save_checkpoint(home / name, first.model, first.optimizer, first.generator, progress)
        went_on = first.go(after)
        other = Run(seed + 1, kind, lr=0.3, **kinds_of_run)
        other.go(before + 2)
        found = copy.deepcopy(module.load_checkpoint(home / name, other.model, other.optimizer, other.generator))
        loaded = other.go(after)
        again = copy.deepcopy(module.load_checkpoint(home / name, other.model, other.optimizer, other.generator))
        second_time = other.go(after)
    return {
        "undisturbed": wanted, "after saving": went_on, "after loading": loaded, "after loading again": second_time,
        "progress": found, "progress again": again, "progress is equal": found == progress and again == progress,
    }  # fmt: skip


def saved_over(module, seed, n, relative, as_text):
    """n checkpoints of a run under one name, one after the other; what is in the folder, what a reader of the old ones saw
    that had opened them before, and what loading each of them gives."""
    here = os.getcwd()
    with folder() as home:
        (home / "notes.txt").write_text("mine")
        if relative:
            os.chdir(home)
        try:
            path = Path("run.v1.pt") if relative else home / "run.v1.pt"
            path = str(path) if as_text else path
            run, other, readers, listings, progress = Run(seed), Run(seed + 1), [], [], []
            for i in range(n):
                run.go(1)
                module.save_checkpoint(path, run.model, run.optimizer, run.generator, {"step": i})
                listings.append(sorted(os.listdir(home)))
                progress.append(kept(module.load_checkpoint(path, other.model, other.optimizer, other.generator)))
                readers.append((open(path, "rb"), Path(path).read_bytes()))  # noqa: SIM115
            old_is_whole = []
            for reader, content in readers:
                with reader:
                    old_is_whole.append(reader.read() == content)
            weights = kept(dict(run.model.state_dict()))
            return {
                "listings": listings, "a reader of the old file reads on": old_is_whole, "progress": progress,
                "weights": kept(dict(other.model.state_dict())), "weights when saved": weights,
                "notes": (home / "notes.txt").read_text(),
            }  # fmt: skip
        finally:
            os.chdir(here)


def renamed(module, seed, n):
    """n checkpoints under one name. For all files that are moved meanwhile: whether the checkpoint of before was there at that
    moment, and whether the file came from the checkpoint's folder, so that it lies in the same file system."""
    with folder() as home:
        path, run, seen = home / "a.folder" / "run.pt", Run(seed), []
        path.parent.mkdir()

        def noted(move):
            def noting(source, target, *args, **kwargs):
                near = path.parent.resolve() in Path(source).resolve().parents or kwargs.get("src_dir_fd") is not None
                seen.append([not saved or path.exists(), near])
                return move(source, target, *args, **kwargs)

            return noting

        kept_names = {name: getattr(os, name) for name in ("replace", "rename")}
        for name, move in kept_names.items():
            setattr(os, name, noted(move))
        try:
            for saved in range(n):
                run.go(1)
                module.save_checkpoint(path, run.model, run.optimizer, run.generator, {"step": saved})
        finally:
            for name, move in kept_names.items():
                setattr(os, name, move)
        return seen


class Unsaveable:
    """Nothing that could be written to a file."""

    def __init__(self, error):
        self.error = error

    def __reduce_ex__(self, protocol):
        raise self.error

    def __repr__(self):
        raise self.error


def saving_fails(module, seed, there_was_one, where):
    """A value that cannot be saved sits at the end of what is saved: what was raised, and what is in the folder then."""
    with folder() as home:
        path, run = home / "run.pt", Run(seed)
        run.go(2)
        content = None
        if there_was_one:
            module.save_checkpoint(path, run.model, run.optimizer, run.generator, {"step": 2})
            content = path.read_bytes()
        run.go(1)
        progress = {"step": 3, "history": {"loss": [1.0, 2.0]}}
        optimizer = run.optimizer
        if where != "optimizer":
            error = TypeError if where == "progress" else pickle.PicklingError
            progress["history"]["last"] = [Unsaveable(error("this cannot be saved"))]
        else:
            optimizer = Momentum([], 0.1)
            optimizer.velocities = {0: torch.ones(2), 1: Unsaveable(OSError("no space left on device"))}
        try:
            module.save_checkpoint(path, run.model, optimizer, run.generator, progress)
            raised = False
        except NotImplementedError:
            raise
        except Exception:
            raised = True
        return {
            "raised": raised,
            "folder": sorted(os.listdir(home)),
            "as it was": path.exists() and path.read_bytes() == content,
            "loads": kept(module.load_checkpoint(path, run.model)) if there_was_one and path.exists() else None,
        }


def saving_changes(module, seed):
    """What saving changed: in the model, in what was handed over, and around."""
    with folder() as home:
        run = Run(seed)
        run.go(2)
        run.model.eval()
        run.model.one.train()
        for p in run.model.parameters():
            p.grad = torch.full_like(p, 2.0)
        progress = {"step": 2, "history": {"loss": [0.5, 0.25]}}
        modes = [part.training for part in run.model.modules()]
        model, state = kept(dict(run.model.state_dict())), run.generator.get_state()
        handed = {"path": home / "a.pt", "model": run.model, "optimizer": run.optimizer, "generator": run.generator}
        before = surroundings()
        module.save_checkpoint(progress=progress, **handed)
        changed = differences(before)
        return {
            "changed": changed,
            "modes": [part.training for part in run.model.modules()] == modes,
            "model": all(torch.equal(model[name], x) for name, x in run.model.state_dict().items()),
            "gradients": all(p.grad is not None and bool((p.grad == 2).all()) for p in run.model.parameters()),
            "generator": torch.equal(state, run.generator.get_state()),
            "progress": progress,
        }


def loading_in_place(module, seed):
    """Whose objects the parameters are after loading, and what else became of the model."""
    with folder() as home:
        run, other = Run(seed), Run(seed + 1)
        run.go(3)
        module.save_checkpoint(home / "a.pt", run.model, run.optimizer, run.generator, {})
        other.model.eval()
        other.model.other.train()
        modes, params = [part.training for part in other.model.modules()], list(other.model.parameters())
        places = [p.data_ptr() for p in params]
        module.load_checkpoint(home / "a.pt", other.model, other.optimizer, other.generator)
        return {
            "the same parameters": all(p is q for p, q in zip(params, other.model.parameters(), strict=True)),
            "in the same places": [p.data_ptr() for p in params] == places,
            "still tied": other.model.one.weight is other.model.other.weight,
            "the same modes": [part.training for part in other.model.modules()] == modes,
            "require gradients": [p.requires_grad for p in other.model.parameters()],
        }


def loading_parts(module, seed, parts):
    """Only these parts are handed over: which of all parts changed."""
    with folder() as home:
        run, other = Run(seed), Run(seed + 1)
        run.go(3)
        module.save_checkpoint(home / "a.pt", run.model, run.optimizer, run.generator, {"step": 3})
        other.go(1)
        torch.manual_seed(seed + 7)
        before = [other.optimizer.n_steps, other.generator.get_state(), torch.get_rng_state()]
        handed = {part: getattr(other, part) for part in parts}
        progress = module.load_checkpoint(path=home / "a.pt", model=other.model, **handed)
        after = [other.optimizer.n_steps, other.generator.get_state(), torch.get_rng_state()]
        same = [torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b for a, b in zip(before, after)]
        weights = all(torch.equal(a, b) for a, b in zip(run.model.state_dict().values(), other.model.state_dict().values()))
        return {"left alone": same, "weights": weights, "progress": kept(progress)}


class Program:
    """Unpickling one of these makes a folder."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


def loading_runs_code(module, seed, kind):
    """A file that would run a program, loaded as a checkpoint: whether that was an error, and whether the program ran."""
    with folder() as home:
        trace, path, run = home / "trace", home / "a.pt", Run(seed)
        program = Program(trace)
        if kind == "in a checkpoint's place":
            torch.save(program, path)
        elif kind == "beside a checkpoint's content":
            torch.save({"model": run.model.state_dict(), "progress": {"step": 1}, "more": program}, path)
        elif kind == "pickle":
            path.write_bytes(pickle.dumps({"model": program}))
        else:
            with open(path, "wb") as file:
                np.save(file, np.array([program], dtype=object), allow_pickle=True)
        try:
            module.load_checkpoint(path, run.model, run.optimizer, run.generator)
            raised = False
        except NotImplementedError:
            raise
        except Exception:
            raised = True
        return {"an error": raised, "the program ran": trace.exists()}


# Evaluation and training


class TinyLM(nn.Module):
    """A language model small enough to be computed by hand: the mean of all embeddings so far, then a linear layer.

    It notes what it is given, in which mode, and whether gradients are recorded; with dropout it takes chances in training.
    """

    def __init__(self, vocab, width, weights, dropout=0.0, stop_at=None):
        super().__init__()
        self.embedding, self.head = nn.Embedding(vocab, width), nn.Linear(width, vocab)
        self.dropout, self.idle = nn.Sequential(nn.Dropout(dropout)), nn.Linear(2, 2)  # idle never gets a gradient
        self.frozen = nn.Parameter(torch.full((vocab,), 0.5), requires_grad=False)
        self.double()
        with torch.no_grad():
            for name, value in weights.items():
                self.get_parameter(name).copy_(value)
            self.idle.weight.fill_(1.0), self.idle.bias.fill_(1.0)
        self.notes, self.stop_at = [], stop_at

    def forward(self, ids, targets=None):
        if self.training and self.stop_at is not None and len(self.training_notes()) == self.stop_at:
            raise RuntimeError("the machine was taken away")
        self.notes.append({"training": self.training, "recording": torch.is_grad_enabled(), "ids": ids.clone()})
        counts = torch.arange(1, ids.shape[1] + 1, dtype=torch.float64)[:, None]
        x = self.embedding(ids).cumsum(1) / counts
        logits = self.head(self.dropout(x)) + self.frozen
        if targets is None:
            return logits, None
        chosen = logits.log_softmax(-1).gather(-1, targets.long().unsqueeze(-1))
        return logits, -chosen.mean()

    def training_notes(self):
        """What it was given to learn from."""
        return [note["ids"] for note in self.notes if note["training"]]


class Terminal(io.StringIO):
    """Something to write to that says of itself what we tell it to say."""

    def __init__(self, is_terminal):
        super().__init__()
        self.is_terminal = is_terminal

    def isatty(self):
        return self.is_terminal


def model_of(weights, **options):
    """A TinyLM with these weights."""
    vocab, width = weights["embedding.weight"].shape
    return TinyLM(vocab, width, weights, **options)


def evaluation(module, weights, data, batch_size, context_length, dropout=0.0, mixed=False):
    """What evaluate returned, what the model was given, and what was changed. With `mixed`, parts of the model are in evaluation
    mode, and the call stands under torch.no_grad()."""
    model = model_of(weights, dropout=dropout)
    model.train(not mixed)
    model.head.train()
    model.dropout[0].train(mixed)
    model.head.weight.grad = torch.full_like(model.head.weight, 3.0)
    modes, wanted = [part.training for part in model.modules()], [p.requires_grad for p in model.parameters()]
    own = data.clone()
    with torch.set_grad_enabled(not mixed):
        before = surroundings()
        value = module.evaluate(model=model, data=own, batch_size=batch_size, context_length=context_length)
        changed = differences(before)
    return {
        "value": float(value),
        "a float": isinstance(value, float),
        "shapes": [tuple(note["ids"].shape) for note in model.notes],
        "in training mode": any(note["training"] for note in model.notes),
        "with a graph": any(note["recording"] for note in model.notes),
        "modes as before": [part.training for part in model.modules()] == modes,
        "requires_grad as before": [p.requires_grad for p in model.parameters()] == wanted,
        "changed": changed,
        "gradients as before": bool((model.head.weight.grad == 3).all()) and model.embedding.weight.grad is None,
        "data as before": torch.equal(own, data),
        "weights as before": all(torch.equal(model.get_parameter(name), value) for name, value in weights.items()),
    }


def training(module, weights, data, config, dropout=0.0, stale=False, seed=0, runs=1):
    """Runs of train from the same weights: histories, what the model learnt from and was asked, the weights at the end."""
    seen = []
    for _ in range(runs):
        model = model_of(weights, dropout=dropout)
        torch.manual_seed(seed)
        if stale:
            for p in model.parameters():
                p.grad = torch.full_like(p, 100.0)
        model.eval()
        history = module.train(model, tuple(data), module.TrainConfig(**config))
        seen.append({
            "history": kept(history),
            "learnt from": kept(model.training_notes()),
            "evaluated on": [note["ids"] for note in model.notes if not note["training"]],
            "recorded": [note["recording"] for note in model.notes if note["training"]],
            "weights": {name: kept(p) for name, p in model.named_parameters()},
        })  # fmt: skip
    return seen


def interrupted(module, weights, others, data, config, stop_at, dropout):
    """A whole run; a run that breaks off and is begun again with another model; and that one begun again when it is done."""
    seen = []
    with folder() as home:
        torch.manual_seed(1)
        whole = model_of(weights, dropout=dropout)
        history = module.train(whole, tuple(data), module.TrainConfig(**config))
        seen.append({"history": kept(history), "weights": {name: kept(p) for name, p in whole.named_parameters()}})
        path = home / "run.pt"
        config = module.TrainConfig(**config, checkpoint_path=path if stop_at % 2 else str(path))
        torch.manual_seed(1)
        raised = False
        try:
            module.train(model_of(weights, dropout=dropout, stop_at=stop_at), tuple(data), config)
        except RuntimeError:
            raised = True
        listing = os.listdir(home)
        for _ in range(2):
            torch.manual_seed(99)
            model = model_of(others, dropout=dropout)
            history = module.train(model, tuple(data), config)
            passes = len(model.training_notes())
            weights_now = {name: kept(p) for name, p in model.named_parameters()}
            seen.append({"history": kept(history), "weights": weights_now, "passes": passes})
    return {"runs": seen, "broke off": raised, "folder": listing}


def files_of_a_run(module, weights, data, config):
    """The files in a folder into which a run writes its checkpoints."""
    with folder() as home:
        module.train(model_of(weights), tuple(data), module.TrainConfig(**config, checkpoint_path=home / "run.pt"))
        return os.listdir(home)


def train_surroundings(module, weights, data, config):
    """What train changed around it, and the data."""
    own, model = [x.clone() for x in data], model_of(weights)
    before = surroundings()
    module.train(model=model, data=tuple(own), config=module.TrainConfig(**config))
    return {"changed": differences(before), "data as it was": all(map(torch.equal, own, data))}


def printed(module, weights, data, config, terminals):
    """How many characters train writes to stdout and to stderr, where these say that they are terminals or that they are not."""
    before, streams = (sys.stdout, sys.stderr), tuple(map(Terminal, terminals))
    sys.stdout, sys.stderr = streams
    try:
        module.train(model_of(weights), tuple(data), module.TrainConfig(**config))
    finally:
        sys.stdout, sys.stderr = before
    return [len(stream.getvalue()) for stream in streams]


def batches_of_a_run(module, data, batch_size, context_length, seed, n):
    """The x of n batches that get_batch gives from a generator of this seed."""
    generator = torch.Generator().manual_seed(seed)
    return [kept(module.get_batch(data, batch_size, context_length, generator)[0]) for _ in range(n)]
