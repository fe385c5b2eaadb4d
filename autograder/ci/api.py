"""The few requests to GitHub's API that grading makes: bounded, patient, and with the token kept to one host.

The base address and the token come from the environment (`GITHUB_API_URL`, `GITHUB_TOKEN`), never from an argument.
A redirect is followed only where it stays on the same origin, and only for a GET; any other would carry the token away.
"""

from __future__ import annotations

import http.client
import json
import os
import random
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib import error, parse, request

API = "https://api.github.com"
ANSWER_BYTES = 8 * 1024 * 1024
ATTEMPTS = 5
LONGEST_PAUSE = LIMITED_PAUSE = 60.0  # where a limit is reached and nothing is said, GitHub asks for a minute
TIMEOUT_SECONDS = 30.0
REDIRECTS = 3

_REPOSITORY = re.compile(r"(?!\.)[A-Za-z0-9_.-]{1,100}/(?!\.{1,2}$)[A-Za-z0-9_.-]{1,100}")
_SHA = re.compile("[0-9a-f]{40}")
_LOOPBACK = ("127.0.0.1", "::1", "localhost")


class ApiError(Exception):
    """A request that did not succeed: what was asked, what came, what to do. Never holds the token or the answer's text."""

    def __init__(self, message: str, status: int = 0):
        super().__init__(message)
        self.status = status


class TooLarge(ApiError):
    """The answer has more bytes than were asked for."""


@dataclass(frozen=True)
class Api:
    """GitHub's API at `base`. `pause` is slept with between attempts."""

    base: str
    token: str = field(default="", repr=False)
    pause: Callable[[float], None] = field(default=time.sleep, repr=False)

    def get(self, path: str, limit: int = ANSWER_BYTES) -> Any:
        """The JSON document at `path` (which begins with a slash), at most `limit` bytes of it."""
        return self._send("GET", path, None, limit)

    def post(self, path: str, body: Mapping[str, Any], harmless_twice: bool = False) -> Any:
        """Create something. It is tried again only where the server says that it did nothing, unless it is harmless twice."""
        return self._send("POST", path, body, ANSWER_BYTES, harmless_twice)

    def patch(self, path: str, body: Mapping[str, Any], harmless_twice: bool = False) -> Any:
        """Change something; tried again as `post` is."""
        return self._send("PATCH", path, body, ANSWER_BYTES, harmless_twice)

    def _send(self, method: str, path: str, body: Mapping[str, Any] | None, limit: int, harmless_twice: bool = True) -> Any:
        asked = f"{method} {path.partition('?')[0]}"
        for attempt in range(1, ATTEMPTS + 1):
            try:
                return self._once(method, path, body, limit, asked, harmless_twice)
            except _Again as again:
                wait = again.seconds if again.seconds is not None else 2 ** (attempt - 1) * random.uniform(0.75, 1.25)
                if attempt == ATTEMPTS or wait > LONGEST_PAUSE:
                    raise ApiError(f"{asked}: {again.reason}; try again later", again.status) from None
                self.pause(wait)
        raise AssertionError("unreachable")

    def _once(
        self, method: str, path: str, body: Mapping[str, Any] | None, limit: int, asked: str, harmless_twice: bool
    ) -> Any:
        url = self.base + path
        for _ in range(REDIRECTS + 1):
            try:
                with _OPENER.open(self._request(method, url, body), timeout=TIMEOUT_SECONDS) as answer:
                    text = answer.read(limit + 1)
            except error.HTTPError as answer:
                with answer:
                    if answer.code in (301, 302, 307, 308) and method == "GET":
                        url = self._same_origin(url, answer.headers.get("Location", ""), asked)
                        continue
                    raise _refused(answer, asked, harmless_twice) from None
            except (OSError, http.client.HTTPException) as problem:  # a URLError is an OSError, and so is what TLS raises
                reason = f"no answer ({type(getattr(problem, 'reason', problem)).__name__})"
                raise _Again(reason, 0) if harmless_twice else ApiError(f"{asked}: {reason}; it may have been done") from None
            return _parsed(text, limit, asked)
        raise ApiError(f"{asked}: more than {REDIRECTS} redirects")

    def _request(self, method: str, url: str, body: Mapping[str, Any] | None) -> request.Request:
        headers = {
            "Accept": "application/vnd.github+json",
            "User-Agent": "llm-from-scratch-course",
            "X-GitHub-Api-Version": "2022-11-28",
        }
        data = None
        if body is not None:
            data, headers["Content-Type"] = json.dumps(body).encode(), "application/json"
        made = request.Request(url, data=data, headers=headers, method=method)
        if self.token:
            made.add_unredirected_header("Authorization", f"Bearer {self.token}")
        return made

    def _same_origin(self, url: str, location: str, asked: str) -> str:
        target = parse.urljoin(url, location)
        if _origin(target) != _origin(self.base):
            raise ApiError(f"{asked}: the answer leads to another host, which is not followed")
        return target


def from_environment() -> Api:
    """The API that the environment names. ApiError for an address to which no token may be sent."""
    base = os.environ.get("GITHUB_API_URL", "") or API
    parts = parse.urlsplit(base)
    if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in _LOOPBACK):
        raise ApiError("GITHUB_API_URL must begin with https://")
    if not parts.hostname or parts.username or parts.query or parts.fragment:
        raise ApiError("GITHUB_API_URL must be a plain address such as https://api.github.com")
    return Api(base.rstrip("/"), os.environ.get("GITHUB_TOKEN", ""))


def is_repository(text: str) -> bool:
    """Whether the text is `OWNER/NAME` and nothing that would mean more in a path."""
    return _REPOSITORY.fullmatch(text) is not None


def is_sha(text: str) -> bool:
    """Whether the text is a whole commit SHA."""
    return _SHA.fullmatch(text) is not None


class _Again(Exception):
    """The request may be tried again; after so many seconds, where the server says so."""

    def __init__(self, reason: str, status: int, seconds: float | None = None):
        super().__init__(reason)
        self.reason, self.status, self.seconds = reason, status, seconds


class _NoRedirects(request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        return None


_OPENER = request.build_opener(_NoRedirects)


def _refused(answer: error.HTTPError, asked: str, harmless_twice: bool) -> Exception:
    """429 and a 403 that names a limit say that nothing was done; so does 503. Other 5xx leave it open."""
    status, headers = answer.code, answer.headers
    limited = status == 429 or (status == 403 and (headers.get("Retry-After") or headers.get("X-RateLimit-Remaining") == "0"))
    if not limited and status == 403:
        limited = b"rate limit" in answer.read(4096).lower()
    if limited:
        wait = _seconds(headers)
        return _Again(f"too many requests (status {status})", status, LIMITED_PAUSE if wait is None else wait)
    if status == 503 or (status >= 500 and harmless_twice):
        return _Again(f"the server failed (status {status})", status, _seconds(headers))
    advice = {
        401: "the token in GITHUB_TOKEN is missing, wrong or expired",
        403: "the token in GITHUB_TOKEN may not do this",
        404: "there is no such thing, or the token in GITHUB_TOKEN may not see it",
    }
    return ApiError(f"{asked}: status {status}: {advice.get(status, 'refused')}", status)


def _seconds(headers: Mapping[str, str]) -> float | None:
    """How long to wait, as the server says it: `Retry-After` in seconds, else when the limit is lifted."""
    try:
        if after := headers.get("Retry-After"):
            return max(0.0, float(after))
        if headers.get("X-RateLimit-Remaining") == "0" and (reset := headers.get("X-RateLimit-Reset")):
            return max(0.0, float(reset) - time.time())
    except ValueError:
        pass
    return None


def _parsed(text: bytes, limit: int, asked: str) -> Any:
    if len(text) > limit:
        raise TooLarge(f"{asked}: the answer is larger than {limit} bytes")
    try:
        return json.loads(text) if text.strip() else None
    except (ValueError, RecursionError):
        raise ApiError(f"{asked}: the answer is not JSON") from None


def _origin(url: str) -> tuple[str, str | None, int | None]:
    parts = parse.urlsplit(url)
    try:
        port = parts.port or {"https": 443, "http": 80}.get(parts.scheme)
    except ValueError:
        port = None
    return parts.scheme, parts.hostname, port
