"""Streams, generation, files and requests beside the student's code. Models and iterators of ids are brought along."""

import contextlib
import functools
import importlib
import io
import json
import os
import shutil
import tempfile
import threading
import time
import types
from pathlib import Path

import torch
from torch import nn

from autograder.testing.probes import differences, surroundings

REFUSALS = (ValueError, TypeError, IndexError)


def part(module, name):
    """The file of that name beside the module's main file."""
    package = module.__name__.rpartition(".")[0]
    return importlib.import_module(f"{package}.{name}") if package else module


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


# Text


class Bytes:
    """A tokenizer whose token i has the bytes `pieces[i]`, a byte each where there is no list; 256 and beyond have no text."""

    def __init__(self, pieces=None):
        self.pieces = pieces or [bytes([i]) for i in range(256)]

    def encode(self, text):
        return [] if text == "\0" else list(text.encode())  # a tokenizer may make nothing of a text

    def decode(self, ids):
        return b"".join(self.pieces[i] if i < len(self.pieces) else b"" for i in ids).decode("utf-8", errors="replace")


def streamed(module, pieces, ids):
    """The pieces of text; for each, how many ids had been asked for when it came; and how many at the end."""
    n_asked, seen = 0, []

    def asked():
        nonlocal n_asked
        for i in ids:
            n_asked += 1
            yield i

    for text in part(module, "tokenizer").decode_stream(Bytes(pieces), asked()):
        seen.append((text, n_asked))
    return seen, n_asked


def streams_at_once(module, first, second):
    """Two streams of bytes, one of an iterator and one of a list, taken in turns."""
    decode_stream = part(module, "tokenizer").decode_stream
    streams, texts = [decode_stream(Bytes(), ids) for ids in (iter(first), second)], ["", ""]
    for _ in range(len(first) + len(second)):
        for i, stream in enumerate(streams):
            texts[i] += next(stream, "")
    return texts


# Sampling and generation


def draws(module, logits, n, seed, options):
    """n tokens from one generator; whether all are ints; the global random state; whether logits are as they were."""
    next_token = part(module, "generate").next_token
    generator, given = torch.Generator().manual_seed(seed), logits.clone()
    before = surroundings()
    drawn = generator.get_state()
    tokens = [next_token(given, generator=generator, **options) for _ in range(n)]
    left = {
        "the generator is as it was": bool(torch.equal(generator.get_state(), drawn)),
        "all are ints": all(type(token) is int for token in tokens),
        "logits are as they were": bool(torch.equal(given, logits)),
        "changed for everyone": differences(before),
    }
    return torch.tensor(tokens), left


def draws_globally(module, logits, n, seeds, options):
    """n tokens for each seed of PyTorch's global random state."""
    next_token, found = part(module, "generate").next_token, []
    for seed in seeds:
        torch.manual_seed(seed)
        found.append([next_token(logits, **options) for _ in range(n)])
    return found


def draws_refused(module, logits, all_options):
    """Which options are refused, where the logits have a graph behind them."""
    answers, logits = [], logits.clone().requires_grad_() * 1.0
    for options in all_options:
        try:
            part(module, "generate").next_token(logits, **options)
            answers.append(False)
        except REFUSALS:
            answers.append(True)
    return answers


class Held:
    """The stand-in's cache."""

    def __init__(self):
        self.ids = []

    @property
    def length(self):
        return len(self.ids)

    def truncate(self, length):
        self.ids = self.ids[:length]


class StandIn(nn.Module):
    """A language model whose logits depend on every token of the window and on where it stands; it notes what it reads."""

    def __init__(self, seed, vocab, context_length):
        super().__init__()
        self.config = types.SimpleNamespace(context_length=context_length)  # nothing else is promised
        generator = torch.Generator().manual_seed(seed)
        self.table = torch.randn(context_length, vocab, 6, generator=generator, dtype=torch.float64)
        self.head = nn.Parameter(3 * torch.randn(6, vocab, generator=generator, dtype=torch.float64))
        self.n_read, self.modes, self.caches = [], set(), 0

    def new_cache(self, batch_size=1):
        self.caches += 1
        return Held()

    def forward(self, ids, targets=None, cache=None, last_only=False):
        assert ids.ndim == 2 and len(ids) == 1 and ids.dtype == torch.int64, "ids must be (1, t) of int64"
        cache = Held() if cache is None else cache
        if len(cache.ids) + ids.shape[1] > self.config.context_length:
            raise ValueError("the text is longer than the context length")
        start = len(cache.ids)
        cache.ids = cache.ids + ids[0].tolist()
        self.n_read.append(ids.shape[1])
        self.modes.add((self.training, torch.is_grad_enabled()))
        x = torch.stack([self.table[i, token] for i, token in enumerate(cache.ids)]).cumsum(0)[start:]
        logits = torch.sin(x) @ self.head  # (t, vocab)
        return (logits[None, -1:] if last_only else logits[None]), None


def window_logits(model, text):
    """The logits after a text, its last context_length tokens read at once."""
    with torch.no_grad():
        return StandIn.forward(model, torch.tensor([text[-model.config.context_length :]]))[0][0, -1]


def generated(module, spec, ids, n, options, seed=0, as_tensor=False, training=True, recording=True):
    """The tokens, those that the student's next_token draws when the whole window is read at every step, and what was left."""
    files = part(module, "generate")
    model = StandIn(*spec).train(training)
    prompt = torch.tensor(ids) if as_tensor else list(ids)
    options = options | {"stop": (tuple, set, list)[n % 3](options.get("stop", ()))}
    with torch.set_grad_enabled(recording):
        before = surroundings() if recording else None
        tokens = list(files.generate(model, prompt, n, generator=torch.Generator().manual_seed(seed), **options))
        left = {
            "all are ints": all(type(token) is int for token in tokens),
            "the prompt is as it was": list(ids) == [int(i) for i in prompt],
            "modes and whether a graph was recorded": sorted(model.modes),
            "the mode afterwards": model.training,
            "changed for everyone": differences(before) if recording else [],
            "recording afterwards": torch.is_grad_enabled(),
        }
    generator, text = torch.Generator().manual_seed(seed), list(ids)
    stop = options.get("stop", ())
    sampling = {name: value for name, value in options.items() if name != "stop"}
    for _ in range(n):
        token = files.next_token(window_logits(model, text), generator=generator, **sampling)
        if token in stop:
            break
        text.append(token)
    return tokens, text[len(ids) :], model.n_read[: len(model.n_read)], left


def generated_globally(module, spec, ids, n, seeds):
    """n tokens for each seed of PyTorch's global random state, without a generator."""
    model, found = StandIn(*spec), []
    for seed in seeds:
        torch.manual_seed(seed)
        found.append(list(part(module, "generate").generate(model, ids, n)))
    return found


def read_for(module, spec, ids, n, stop=()):
    """How many tokens the model reads at each step of a greedy generation."""
    model = StandIn(*spec)
    tokens = list(part(module, "generate").generate(model, ids, n, temperature=0, stop=stop))
    return tokens, model.n_read


def greedily(module, spec, ids, n):
    """The tokens of temperature 0 when the whole window is read at every step."""
    model, text = StandIn(*spec), list(ids)
    for _ in range(n):
        text.append(int(window_logits(model, text).argmax()))
    return text[len(ids) :]


def steps_of(module, spec, ids, n, take):
    """What was read before the first id was asked for, and after each of `take` ids; whether gradients are recorded then."""
    model = StandIn(*spec)
    stream = part(module, "generate").generate(model, ids, n, temperature=0)
    seen = [(sum(model.n_read), torch.is_grad_enabled())]
    for _ in range(take):
        next(stream)
        seen.append((sum(model.n_read), torch.is_grad_enabled()))
    return seen


def recording_after_a_failure(module, spec, ids):
    """Whether gradients are recorded when the model has raised in the second step."""
    model = StandIn(*spec)
    stream = part(module, "generate").generate(model, ids, 4, temperature=0)
    next(stream)
    model.table = model.table[:0]  # the next token finds no row
    with contextlib.suppress(IndexError):
        next(stream)
    recording = torch.is_grad_enabled()
    torch.set_grad_enabled(True)
    return recording


def generations_at_once(module, spec, first, second, n):
    """Two greedy generations with one model, taken in turns."""
    model, generate = StandIn(*spec), part(module, "generate").generate
    streams = [generate(model, ids, n, temperature=0) for ids in (first, second)]
    pairs = list(zip(*streams))
    return [list(tokens) for tokens in zip(*pairs)]


def generations_refused(module, spec, cases):
    """For each (ids, n, options): whether it is refused by the time of the first id."""
    answers = []
    for ids, n, options in cases:
        try:
            next(part(module, "generate").generate(StandIn(*spec), ids, n, **options), None)
            answers.append(False)
        except REFUSALS:
            answers.append(True)
    return answers


# Files


@in_a_folder
def written(module, tensors, metadata=None, how="plain"):
    """The file's bytes, and whether the tensors are as they were. `how` says how they lie in memory."""
    given = {name: x.clone() for name, x in tensors.items()}
    if how == "scattered":
        for name, x in given.items():
            order = tuple(reversed(range(x.ndim)))
            given[name] = x.permute(order).contiguous().permute(order)
    if how == "strided":
        given = {name: torch.stack([x, x], dim=-1)[..., 0] for name, x in given.items()}
    if how == "trained":
        given = {name: x.requires_grad_() if x.is_floating_point() else x for name, x in given.items()}
    options = () if metadata is None else (metadata,)
    requires = {name: x.requires_grad for name, x in given.items()}
    places = {name: (x.data_ptr(), x.stride()) for name, x in given.items()}
    where = Path("x.safetensors")
    where.write_bytes(b"what was here before" * 200)
    part(module, "generate").write_safetensors(where if how == "strided" else str(where), types.MappingProxyType(given), *options)
    data = where.read_bytes()
    same = all(torch.equal(x, tensors[name]) and x.requires_grad == requires[name] for name, x in given.items())
    same = same and places == {name: (x.data_ptr(), x.stride()) for name, x in given.items()}
    return data, same, sorted(os.listdir("."))


@in_a_folder
def written_shared(module, x):
    """Overlapping views of one tensor, and the tensor twice; the bytes."""
    part(module, "generate").write_safetensors("x", {"a": x[:3], "b": x[1:], "c": x, "d": x, "e": x[:1].expand(4, *x.shape[1:])})
    with open("x", "rb") as file:
        return file.read()


@in_a_folder
def writes_refused(module, all_tensors):
    """Which tensors are refused."""
    answers = []
    for tensors in all_tensors:
        given = {name: torch.zeros(2, dtype=getattr(torch, dtype)) for name, dtype in tensors.items()}
        try:
            part(module, "generate").write_safetensors("x", given)
            answers.append(False)
        except REFUSALS:
            answers.append(True)
    return answers


def gpt_like(config, weights):
    """Modules of PyTorch's under a GPT's names, with these weights: what export reads of a model, and no more."""
    d, model = config["d_model"], nn.Module()
    model.config = types.SimpleNamespace(**{"dropout": 0.0, **config})
    model.wte, model.wpe = nn.Embedding(config["vocab_size"], d), nn.Embedding(config["context_length"], d)
    model.h = nn.ModuleList()
    for _ in range(config["n_layers"]):
        block = nn.Module()
        block.ln_1, block.ln_2, block.attn, block.mlp = nn.LayerNorm(d), nn.LayerNorm(d), nn.Module(), nn.Module()
        block.attn.c_attn, block.attn.c_proj = nn.Linear(d, 3 * d), nn.Linear(d, d)
        block.mlp.c_fc, block.mlp.c_proj = nn.Linear(d, 4 * d), nn.Linear(4 * d, d)
        model.h.append(block)
    model.ln_f, model.lm_head = nn.LayerNorm(d), nn.Linear(d, config["vocab_size"], bias=False)
    model.lm_head.weight = model.wte.weight
    model.to(next(iter(weights.values())).dtype)
    model.load_state_dict({**weights, "lm_head.weight": weights["wte.weight"]})
    return model


@in_a_folder
def exported(module, config, weights, path):
    """The file's bytes, config.json, the folder's files, and whether the model is as it was."""
    model, export = gpt_like(config, weights), part(module, "generate").export
    before = surroundings()
    export(model, Path(path) if "/" in path else path)
    changed = differences(before)
    folder = os.path.dirname(path) or "."
    with open(path, "rb") as file:
        data = file.read()
    with open(os.path.join(folder, "config.json"), encoding="utf-8") as file:
        described = json.load(file)
    same = all(torch.equal(x, weights[name]) for name, x in model.state_dict().items() if name != "lm_head.weight")
    same &= model.training and all(x.requires_grad for x in model.parameters())
    return data, described, sorted(os.listdir(folder)), same and model.lm_head.weight is model.wte.weight, changed


# Requests


def parsed(module, body, options):
    """What parse_request makes of a body."""
    return part(module, "serve").parse_request(body, **options)


def parsed_in_turn(module, bodies):
    """What parse_request made of each body, looked at when all are read."""
    return [part(module, "serve").parse_request(body) for body in bodies]


def fields_at_fault(module, bodies, options):
    """For each body, the field that is refused, or None; and what else was raised."""
    serve, answers = part(module, "serve"), []
    for body in bodies:
        try:
            serve.parse_request(body, **options)
            answers.append(None)
        except serve.BadRequest as error:
            answers.append(error.field)
        except Exception as error:
            answers.append(f"raises {type(error).__name__}")
    return answers


class Socket(io.RawIOBase):
    """A request's body on a connection that stays open: reading past its end would wait for ever."""

    def __init__(self, body):
        self.body, self.n_read = body, 0

    def read(self, size=-1):
        if size is None or size == -1:
            raise RuntimeError("this read, to the end, waits for ever: the client sends no more")
        if size < 0 or self.n_read + size > len(self.body):
            raise RuntimeError(f"read({size}) waits for ever: the client sends no more")
        self.n_read += size
        return self.body[self.n_read - size : self.n_read]


def environ_of(method, path, body, length="right"):
    environ = {
        "REQUEST_METHOD": method, "PATH_INFO": path, "QUERY_STRING": "", "SCRIPT_NAME": "", "SERVER_NAME": "localhost",
        "SERVER_PORT": "80", "SERVER_PROTOCOL": "HTTP/1.1", "CONTENT_TYPE": "application/json", "wsgi.input": Socket(body),
        "wsgi.errors": io.StringIO(), "wsgi.url_scheme": "http", "wsgi.version": (1, 0), "wsgi.multithread": True,
        "wsgi.multiprocess": False, "wsgi.run_once": False,
    }  # fmt: skip
    if length is not None:
        environ["CONTENT_LENGTH"] = str(len(body)) if length == "right" else length
    return environ


class Exchange:
    """A request under way: `chunks` of the body, as the server asks for them."""

    def __init__(self, app, method, path, body, length="right"):
        self.environ = environ_of(method, path, body, length)
        self.status, self.headers = None, {}
        self.result = app(self.environ, self.start)
        self.chunks = iter(self.result)

    def start(self, status, headers, exc_info=None):
        if self.status is not None and exc_info is None:
            raise RuntimeError("start_response was called twice in one answer")  # as PEP 3333 has it
        self.status, self.headers = status, {name.lower(): value for name, value in headers}
        return lambda data: None

    def whole(self):
        chunks = list(self.chunks)
        for chunk in chunks:
            if not isinstance(chunk, bytes | bytearray | memoryview):
                raise TypeError(f"the application should return a list or an iterator of bytes, and gave {chunk!r:.60}")
        body = b"".join(chunks)
        if hasattr(self.result, "close"):
            self.result.close()
        return body

    def answer(self):
        body = self.whole()
        try:
            value = json.loads(body)
        except ValueError:
            value = body.decode("utf-8", errors="replace")
        return {
            "status": self.status.partition(" ")[0],
            "type": self.headers.get("content-type", "").partition(";")[0].strip(),
            "allow": self.headers.get("allow"),
            "length": self.headers.get("content-length") in (None, str(len(body))),
            "value": value,
            "read": self.environ["wsgi.input"].n_read,
        }


class Script:
    """Stands in for `generate`: yields ids that were given, and notes what it was called with."""

    def __init__(self, tokens):
        self.tokens, self.calls, self.n_yielded, self.inside, self.most = tokens, [], 0, 0, 0
        self.generators = [torch.default_generator]

    def __call__(self, model, ids, max_new_tokens, temperature=1.0, top_k=None, top_p=None, generator=None, stop=()):
        number = torch.rand(2, generator=generator, dtype=torch.float64).tolist()
        own = isinstance(generator, torch.Generator) and not any(generator is other for other in self.generators)
        self.generators.append(generator)
        sampling = {"temperature": temperature, "top_k": top_k, "top_p": top_p, "stop": sorted(stop), "own generator": own}
        self.calls.append({"ids": [int(i) for i in ids], "n": max_new_tokens, "drawn": number, "model": model, **sampling})
        return self.ids(max_new_tokens)

    def ids(self, n):
        for token in self.tokens[:n]:
            if token is None:
                raise OSError("the accelerator is gone")
            self.inside += 1
            self.most = max(self.most, self.inside)
            time.sleep(0.001)
            self.inside -= 1
            self.n_yielded += 1
            yield token


def app_of(module, script, pieces=None, **options):
    return part(module, "serve").application("the model", Bytes(pieces), generate=script, **options)


def answered(module, requests, tokens, pieces=None, options=None, n_apps=1):
    """The answers of each of so many applications to [(method, path, body, length)], and what generate was called with."""
    script = Script(tokens)
    apps = [app_of(module, script, pieces, **(options or {})) for _ in range(n_apps)]
    before = surroundings()
    answers = [Exchange(app, *request).answer() for app in apps for request in requests]
    return answers, script.calls, differences(before)


def lines_of(module, body, tokens, pieces=None):
    """The chunks of a streamed answer, each with the number of ids that had been drawn by then; status and type."""
    script = Script(tokens)
    exchange = Exchange(app_of(module, script, pieces), "POST", "/generate", body)
    seen = [(chunk, script.n_yielded) for chunk in exchange.chunks]
    return seen, exchange.status.partition(" ")[0], exchange.headers.get("content-type", "").partition(";")[0].strip()


def comes_to_its_end(function):
    """Call the function in a thread of its own, and tell whether it returns within four seconds.

    A thread that no processor has run for a second waits for what nobody is going to do, and is not waited for any longer.
    """
    clocks = []

    def run():
        clocks.append(time.pthread_getcpuclockid(threading.get_ident()))
        function()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    end, used, looks_alike = time.monotonic() + 4.0, -1, 0
    while thread.is_alive() and time.monotonic() < end and looks_alike < 20:
        thread.join(0.05)
        with contextlib.suppress(IndexError, OSError):  # it has not begun yet, or has just ended
            before, used = used, time.clock_gettime_ns(clocks[0])
            looks_alike = looks_alike + 1 if used == before else 0
    return not thread.is_alive()


def taking_turns(module, body, tokens):
    """Begin to read one streamed answer, read another to its end in a thread of its own, then the rest of the first."""
    app = app_of(module, Script(tokens))
    slow = Exchange(app, "POST", "/generate", body)
    first, other = [next(slow.chunks)], []
    comes_to_its_end(lambda: other.append(Exchange(app, "POST", "/generate", body).whole()))
    if not other:
        return None
    return b"".join([*first, *slow.chunks]) == other[0]


def while_decoding(module, body, tokens):
    """Whether a second request is answered while the first one, which wants no stream, has its first id decoded."""
    other, asked = [], []

    class Slow(Bytes):
        def decode(self, ids):
            if not asked:
                asked.append(ids)
                comes_to_its_end(lambda: other.append(Exchange(app, "POST", "/generate", body).whole()))
                other.append(None)
            return super().decode(ids)

    app = part(module, "serve").application("the model", Slow(), generate=Script(tokens))
    own = Exchange(app, "POST", "/generate", body).whole()
    return other[0] == own


def after_a_failure(module, bodies, tokens):
    """The answers to requests, one after the other, whose model fails where a token is None; None if one gets no answer."""
    script, answers = Script(tokens), []
    app = app_of(module, script)

    def ask(body):
        try:
            answers.append(Exchange(app, "POST", "/generate", body).whole())
        except OSError:
            answers.append(b"failed")

    for body in bodies:
        if not comes_to_its_end(lambda body=body: ask(body)):
            return None
    return answers


def at_once(module, bodies, tokens):
    """The answers to requests from as many threads, and the most of them that drew a token at the same time."""
    script, answers = Script(tokens), [None] * len(bodies)
    app = app_of(module, script)

    def ask(i):
        answers[i] = Exchange(app, "POST", "/generate", bodies[i]).whole()

    threads = [threading.Thread(target=ask, args=(i,), daemon=True) for i in range(len(bodies))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(5.0)
    return answers, script.most
