"""A stand-in for GitHub's API: the few requests that grading makes, in their documented shape, over HTTP, from memory."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

TOKEN = "the-token-of-this-test"
APP = {"id": 7, "slug": "course-grader"}
LINK, SUBMODULE = "120000", "160000"


@dataclass
class Pull:
    """A pull request: its base's and its head's files. A file is bytes, or a mode and bytes; `huge` folders are truncated;
    `into` is the base's branch.
    """

    base: dict[str, Any]
    head: dict[str, Any]
    huge: tuple[str, ...] = ()
    state: str = "open"
    into: str = "main"
    left: dict[str, Any] = field(default_factory=dict)  # the files where it left its base, if that has moved on
    related: bool = True


@dataclass
class State:
    """What the server holds and what it was asked. `faults` are answered, and used up, before anything else."""

    repository: str = "org/course"
    pulls: dict[int, Pull] = field(default_factory=dict)
    comments: dict[int, list[dict[str, Any]]] = field(default_factory=dict)
    checks: list[dict[str, Any]] = field(default_factory=list)
    requests: list[tuple[str, str, str]] = field(default_factory=list)  # method, path, Authorization
    faults: list[tuple[int, dict[str, str], bytes]] = field(default_factory=list)
    trees: dict[str, dict[str, Any]] = field(default_factory=dict)
    blobs: dict[str, bytes] = field(default_factory=dict)
    url: str = ""

    def add(self, number: int, pull: Pull) -> str:
        """Add a pull request; the SHA of its head."""
        self.pulls[number] = pull
        self.comments.setdefault(number, [])
        self._commit(number, "base", pull.base, ())
        self._commit(number, "left", pull.left, ())
        return self._commit(number, "head", pull.head, pull.huge)

    def sha(self, number: int, side: str = "head") -> str:
        return hashlib.sha1(f"commit {number} {side} {self.pulls[number]}".encode()).hexdigest()

    def _commit(self, number: int, side: str, files: dict[str, Any], huge: tuple[str, ...]) -> str:
        sha = self.sha(number, side)
        self.trees[sha] = self._tree(files, "", huge)
        return sha

    def _tree(self, files: dict[str, Any], folder: str, huge: tuple[str, ...]) -> dict[str, Any]:
        entries: dict[str, dict[str, Any]] = {}
        for path, content in files.items():
            mode, data = content if isinstance(content, tuple) else ("100644", content)
            name, _, rest = path.partition("/")
            if rest and not path.startswith("!"):
                entries.setdefault(name, {"path": name, "mode": "040000", "type": "tree"})
                continue
            name = path.removeprefix("!")  # one entry, whatever its name
            blob = hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
            self.blobs[blob] = data
            kind = "commit" if mode == SUBMODULE else "blob"
            entries[name] = {"path": name, "mode": mode, "type": kind, "sha": blob, "size": len(data)}
        for name, entry in entries.items():
            if entry["type"] == "tree":
                below = {path.partition("/")[2]: content for path, content in files.items() if path.startswith(f"{name}/")}
                tree = self._tree(below, f"{folder}{name}/", huge)
                entry["sha"] = hashlib.sha1(json.dumps(tree, sort_keys=True).encode()).hexdigest()
                self.trees[entry["sha"]] = tree
        return {"sha": "0" * 40, "tree": list(entries.values()), "truncated": folder.rstrip("/") in huge and bool(folder)}


class _Handler(BaseHTTPRequestHandler):
    state: State

    def log_message(self, *_: Any) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        self._answer("GET")

    def do_POST(self) -> None:
        self._answer("POST")

    def do_PATCH(self) -> None:
        self._answer("PATCH")

    def _answer(self, method: str) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        state = self.state
        state.requests.append((method, self.path, self.headers.get("Authorization") or ""))
        if state.faults:
            status, headers, text = state.faults.pop(0)
            return self._send(status, text, headers)
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            return self._send(401, b"{}")
        url = urlsplit(self.path)
        parts = url.path.split("/")[2:]  # after "", "repos"
        if url.path.startswith("/moved/"):
            parts = url.path.split("/")[3:]
        if "/".join(parts[:2]) != state.repository:
            return self._send(404, b"{}")
        status, answer = self._route(method, parts[2:], parse_qs(url.query), json.loads(body) if body else {})
        self._send(status, json.dumps(answer).encode())

    def _route(self, method: str, parts: list[str], query: dict[str, list[str]], body: dict[str, Any]) -> tuple[int, Any]:
        state = self.state
        match method, *parts:
            case "GET", "pulls", number if int(number) in state.pulls:
                pull = state.pulls[int(number)]
                base = {"sha": state.sha(int(number), "base"), "ref": pull.into,
                        "repo": {"full_name": state.repository, "default_branch": "main"}}  # fmt: skip
                return 200, {"state": pull.state, "head": {"sha": state.sha(int(number))}, "base": base}
            case "GET", "compare", both:
                base, head = both.split("...")
                number = next((n for n in state.pulls if (state.sha(n, "base"), state.sha(n)) == (base, head)), 0)
                if not number or not state.pulls[number].related:
                    return 404, {}
                return 200, {"merge_base_commit": {"sha": state.sha(number, "left" if state.pulls[number].left else "base")}}
            case "GET", "git", "trees", sha if sha in state.trees:
                return 200, state.trees[sha]
            case "GET", "git", "blobs", sha if sha in state.blobs:
                content = base64.encodebytes(state.blobs[sha]).decode()
                return 200, {"sha": sha, "size": len(state.blobs[sha]), "encoding": "base64", "content": content}
            case "POST", "check-runs":
                if len(body["output"]["annotations"]) > 50:
                    return 422, {}
                state.checks.append({**body, "annotations": list(body["output"]["annotations"])})
                return 201, {"id": len(state.checks), "app": APP}
            case "PATCH", "check-runs", number if 0 < int(number) <= len(state.checks):
                if len(body["output"]["annotations"]) > 50:
                    return 422, {}
                state.checks[int(number) - 1]["annotations"] += body["output"]["annotations"]
                return 200, {"id": int(number), "app": APP}
            case "GET", "issues", number, "comments":
                first = (int(query["page"][0]) - 1) * int(query["per_page"][0])
                return 200, state.comments[int(number)][first : first + int(query["per_page"][0])]
            case "POST", "issues", number, "comments":
                comment = {"id": 1000 + sum(map(len, state.comments.values())), "user": bot(), "body": body["body"]}
                state.comments[int(number)].append(comment)
                return 201, comment
            case "PATCH", "issues", "comments", number:
                comment = next(each for group in state.comments.values() for each in group if each["id"] == int(number))
                comment["body"] = body["body"]
                return 200, comment
            case _:
                return 404, {}

    def _send(self, status: int, text: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(text)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(text)


def bot() -> dict[str, str]:
    """The user that the app's comments are by."""
    return {"login": f"{APP['slug']}[bot]", "type": "Bot"}


@contextmanager
def serving(state: State) -> Iterator[State]:
    """The server, while it runs; its address is `state.url`."""
    handler = type("Handler", (_Handler,), {"state": state})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    state.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)
