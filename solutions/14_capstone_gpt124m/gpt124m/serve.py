"""The model behind a web address: text in, text out, while it is being written.

WSGI (PEP 3333) is Python's contract between web servers and programs: an application is a function of a request's `environ`
and of `start_response`, and returns the body in pieces of bytes. So it can be tested without a network, and any server can
run it.

    POST /generate    {"prompt": "Once", "max_new_tokens": 20, "temperature": 0.8, "stream": true}
    GET  /health      {"status": "ok"}

With `"stream": true`, the body is JSON Lines: one object a line, sent as soon as it is there, and one at the end that says
that it is the end, so that an answer which was cut off can be told from one that is complete.

The command line: python -m solutions.gpt124m.serve RUN --port 8000
"""

import json
import math
import sys
import threading
from collections.abc import Callable, Collection, Iterable, Iterator
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import torch

from solutions.gpt124m.generate import generate, load_trained
from solutions.gpt124m.model import GPT
from solutions.gpt124m.tokenizer import Tokenizer, decode_stream, load_tokenizer


class BadRequest(ValueError):
    """A request that cannot be answered: `field` is what is wrong with it, the message says why. Given."""

    def __init__(self, field: str, message: str):
        super().__init__(f"{field}: {message}")
        self.field = field


def parse_request(body: bytes, limit: int = 1024) -> dict[str, Any]:
    """The body of POST /generate, checked: a dict of all seven fields, in which those that were left out have their default.

        field             value                                     default
        prompt            text that UTF-8 can encode, not empty     (must be there)
        max_new_tokens    whole number from 0 to `limit`            64 (`limit`, if that is less)
        temperature       finite number, not negative               1.0
        top_k             whole number from 1 on, or null           None
        top_p             number above 0 and up to 1, or null       None
        seed              whole number from 0 to 2⁶³ - 1, or null   None
        stream            true or false                             False

    Whole numbers are written without point and exponent; true and false are not numbers.

    Raises BadRequest, whose `field` is the first wrong one in this order, or one that is unknown where all of these are
    right, and "body" when the body is not a JSON object in UTF-8. Whatever the body is, nothing else is raised.
    """
    ### BEGIN SOLUTION
    try:
        given = json.loads(body.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise BadRequest("body", f"is not JSON: {error}") from None
    if not isinstance(given, dict):
        raise BadRequest("body", "is not a JSON object")

    def whole(value: Any, least: int, most: float) -> bool:
        return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most

    def number(value: Any) -> bool:
        return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= sys.float_info.max

    def text(value: Any) -> bool:  # JSON can spell halves of a character, which no encoding has
        return isinstance(value, str) and value != "" and not any("\ud800" <= character <= "\udfff" for character in value)

    fields = {
        "prompt": (None, text, "must be a text that is not empty"),
        "max_new_tokens": (min(64, limit), lambda x: whole(x, 0, limit), f"must be a whole number from 0 to {limit}"),
        "temperature": (1.0, lambda x: number(x) and x >= 0, "must be a finite number that is not negative"),
        "top_k": (None, lambda x: x is None or whole(x, 1, math.inf), "must be a whole number from 1 on, or null"),
        "top_p": (None, lambda x: x is None or (number(x) and 0 < x <= 1), "must be a number above 0 and up to 1, or null"),
        "seed": (None, lambda x: x is None or whole(x, 0, 2**63 - 1), "must be a whole number from 0 to 2**63 - 1, or null"),
        "stream": (False, lambda x: isinstance(x, bool), "must be true or false"),
    }
    request = {}
    for name, (default, fits, needed) in fields.items():
        request[name] = given.pop(name, default)
        if not fits(request[name]):
            raise BadRequest(name, needed)
    if given:
        raise BadRequest(next(iter(given)), "is not a field that is known here")
    return request
    ### END SOLUTION


def application(
    model: GPT,
    tokenizer: Tokenizer,
    stop: Collection[int] = (),
    limit: int = 1024,
    max_body_bytes: int = 65536,
    generate: Callable[..., Iterator[int]] = generate,
) -> Callable[..., Iterable[bytes]]:
    """A WSGI application that generates text with the model, which it only hands on to `generate`.

    `POST /generate` takes the body that `parse_request(body, limit)` reads. The ids are those of `generate(model, ids of the
    prompt, max_new_tokens, temperature=…, top_k=…, top_p=…, generator=…, stop=stop)`. A request's generator is its own: a
    fresh `torch.Generator`, seeded with `seed` where there is one and differently each time where there is none. So the same
    request with a seed gets the same text.

    - Without stream: `200`, `application/json`, `{"text": "…", "n_tokens": 12}`, the text as `decode_stream` puts it together.
    - With stream: `200`, `application/x-ndjson`. For each piece of `decode_stream`, as soon as it is there, one line
      `{"text": "…"}`; then the line `{"done": true, "n_tokens": 12}`. Every line ends with "\\n", and every chunk of bytes of
      the body is one whole line.
    - `GET /health`: `200`, `{"status": "ok"}`.

    Errors are JSON, too, `{"error": "what is wrong"}`:

    - `400` for what `parse_request` refuses, with `"field"`; for a prompt without a token (`"field": "prompt"`); and for a
      body without a valid length (CONTENT_LENGTH missing, empty, or not a whole number: `"field": "body"`)
    - `404` for an unknown path; `405` for another method at one of these two, with the header `Allow`
    - `413` for a body of more than `max_body_bytes`, of which nothing is read

    Of the body, exactly CONTENT_LENGTH bytes are read: a socket would wait for more for ever. Requests may come from several
    threads. Never does more than one of them run the model, that is, ask an iterator that `generate` returned for its next
    id; but they take turns, token by token, and a client that reads slowly keeps nobody waiting.
    """
    ### BEGIN SOLUTION
    lock = threading.Lock()

    def one_at_a_time(ids: Iterator[int]) -> Iterator[int]:
        while True:
            with lock:  # held while the model works, not while a client reads
                token = next(ids, None)
            if token is None:
                return
            yield token

    def answer(request: dict[str, Any], ids: list[int]) -> Iterator[dict[str, Any]]:
        """The pieces of text, and at the end the number of tokens."""
        generator = torch.Generator()
        generator.manual_seed(request["seed"]) if request["seed"] is not None else generator.seed()
        sampling = {name: request[name] for name in ("temperature", "top_k", "top_p")}
        drawn = generate(model, ids, request["max_new_tokens"], **sampling, generator=generator, stop=stop)
        n_tokens = 0

        def counted() -> Iterator[int]:
            nonlocal n_tokens
            for token in one_at_a_time(drawn):
                n_tokens += 1
                yield token

        for piece in decode_stream(tokenizer, counted()):
            yield {"text": piece}
        yield {"done": True, "n_tokens": n_tokens}

    def read_body(environ: dict[str, Any]) -> bytes:
        length = environ.get("CONTENT_LENGTH") or ""
        if not (length.isascii() and length.isdigit()):
            raise BadRequest("body", "needs a Content-Length")
        if len(length) > 18 or int(length) > max_body_bytes:
            raise OverflowError(f"the body has more than {max_body_bytes} bytes")
        return environ["wsgi.input"].read(int(length))

    def app(environ: dict[str, Any], start_response: Callable) -> Iterable[bytes]:
        def respond(status: str, value: dict[str, Any], *headers: tuple[str, str]) -> list[bytes]:
            body = line(value)
            start_response(status, [("Content-Type", "application/json"), ("Content-Length", str(len(body))), *headers])
            return [body]

        allowed = {"/generate": "POST", "/health": "GET"}.get(environ.get("PATH_INFO", ""))
        if allowed is None:
            return respond("404 Not Found", {"error": "there is POST /generate and GET /health"})
        if environ["REQUEST_METHOD"] != allowed:
            return respond("405 Method Not Allowed", {"error": f"use {allowed}"}, ("Allow", allowed))
        if allowed == "GET":
            return respond("200 OK", {"status": "ok"})
        try:
            request = parse_request(read_body(environ), limit)
            ids = list(tokenizer.encode(request["prompt"]))
            if not ids:
                raise BadRequest("prompt", "has no tokens")
        except BadRequest as error:
            return respond("400 Bad Request", {"error": str(error), "field": error.field})
        except OverflowError as error:
            return respond("413 Content Too Large", {"error": str(error)})
        parts = answer(request, ids)
        if request["stream"]:
            start_response("200 OK", [("Content-Type", "application/x-ndjson")])
            return map(line, parts)
        *pieces, end = parts
        return respond("200 OK", {"text": "".join(piece["text"] for piece in pieces), "n_tokens": end["n_tokens"]})

    return app
    ### END SOLUTION


def line(value: dict[str, Any]) -> bytes:
    """A dict as one line of JSON; given."""
    return json.dumps(value).encode() + b"\n"


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _Handler(WSGIRequestHandler):
    timeout = 60  # seconds without a byte from the client

    def log_message(self, format: str, *args: Any) -> None:
        """One thread a request and no words."""


def serve(app: Callable[..., Iterable[bytes]], host: str = "127.0.0.1", port: int = 8000) -> WSGIServer:
    """A server with a thread for each request, bound but not yet running: call its `serve_forever()`. Given.

    For a classroom and for tests. Towards the world, put a server that is made for it in front.
    """
    return make_server(host, port, app, server_class=_Server, handler_class=_Handler)


def main(arguments: list[str] | None = None) -> None:
    """`python -m solutions.gpt124m.serve RUN`, given."""
    import argparse

    parser = argparse.ArgumentParser(description="Serve a trained model over HTTP.")
    parser.add_argument("run", help="the folder that gpt124m.train was given as --out")
    parser.add_argument("--tokenizer", default="bytes", help="'bytes', or a folder with encoder.json and vocab.bpe")
    parser.add_argument("--eot-id", type=int, default=None, help="generation ends here; default: 256 for bytes, else 50256")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    chosen = parser.parse_args(arguments)
    eot_id = chosen.eot_id if chosen.eot_id is not None else 256 if chosen.tokenizer == "bytes" else 50256
    app = application(load_trained(chosen.run), load_tokenizer(chosen.tokenizer), stop={eot_id})
    with serve(app, chosen.host, chosen.port) as server:
        print(f"http://{chosen.host}:{server.server_port}", flush=True)
        server.serve_forever()


if __name__ == "__main__":
    main()
