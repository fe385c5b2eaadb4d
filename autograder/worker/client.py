"""The trusted side of the boundary: a worker for one submission's module, and a session for one test."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from autograder.testing.measure import cpu_seconds, memory, waiting_seconds
from autograder.worker import wire
from autograder.worker.channel import CUT_OFF, FAILED, Channel, Closed, Deadline, DeadlinePassed
from autograder.worker.launch import GraderError, Zygote

CONFINE_SECONDS = 20
MOST_TOLD, MOST_LINES = 100, 1_000_000
PATIENCE = 4  # where processors are short, a module may take so many times its seconds by the clock


class Stopped(Exception):
    """The worker stopped answering: `kind` is timeout, crashed or garbled, and the message says what happened."""

    def __init__(self, kind: str, message: str):
        super().__init__(message)
        self.kind = kind


class LoadError(Exception):
    """The student's file could not be imported; `details` is the error as `server.describe` gives it."""

    def __init__(self, details: dict[str, Any]):
        super().__init__(details.get("message", ""))
        self.details = details


@dataclass(frozen=True)
class Job:
    """What a worker needs to know of one submission's module; `compiled` is the byte code of the files that are the course's."""

    files: dict[str, str]
    main: str
    compiled: dict[str, bytes] = field(default_factory=dict)
    scenarios: dict[str, bytes] = field(default_factory=dict)
    rules: dict[str, dict[str, list[str]]] = field(default_factory=dict)
    memory_mb: int = 2048
    load_seconds: float = 10
    call_seconds: float = 10
    module_seconds: float = 60
    slot: int = 0


class Worker:
    """One submission's module in a confined process; `start()` begins a test in a fresh fork of it.

    With `later` the worker is only asked for, and `confined()` waits until it is there.
    """

    def __init__(self, zygote: Zygote, job: Job, later: bool = False):
        self.job = job
        self.folder = Path(tempfile.mkdtemp(dir=zygote.folder))
        self.folder.chmod(0o711)
        self.pid = 0
        self.sandbox: list[str] = []
        self._number = 0
        self._test: Channel | None = None
        self._begin()
        self._control = Channel(zygote.connect())
        config = {
            "files": job.files, "main": job.main, "compiled": job.compiled, "scenarios": job.scenarios, "rules": job.rules,
            "slot": job.slot, "memory_mb": job.memory_mb, "cpu_seconds": job.module_seconds + 5, "work": str(self.folder),
        }  # fmt: skip
        self._confining(self._control.send, config)
        if not later:
            self.confined()

    def _begin(self) -> None:
        """No test has run yet."""
        self._last = time.monotonic() + PATIENCE * self.job.module_seconds
        self._spent = 0.0  # by the tests that are over
        self._asked = self._starved = 0.0  # how long the running test's child was waited for, and it for a processor
        self.call_seconds = self.job.call_seconds  # for whoever is in a hurry to change
        self._told: dict[str, list[Any]] = {}
        self._used = self._ready = False
        self.is_loaded = False  # whether the student's file could ever be imported

    def replace(self, files: dict[str, str], compiled: dict[str, bytes]) -> None:
        """End the running test, and begin anew with these files in the place of the job's own; those that are not named stay.

        Only for what the course's authors wrote themselves: the code that is `compiled` is taken as it is.
        """
        self.stop()
        self._begin()
        self._control.send_raw(b"v")
        self._control.send({"files": files, "compiled": compiled})

    def confined(self) -> Worker:
        """Wait until the worker has confined itself. GraderError when it cannot."""
        answer: dict[str, Any] = {}
        while "pid" not in answer or not answer.keys() & {"sandbox", "failed"}:  # the zygote tells the one, the worker the other
            answer |= self._confining(self._control.receive)
        self.pid = answer["pid"]
        if "failed" in answer:
            self.close()
            raise GraderError(f"a worker could not be confined: {answer['failed']}")
        self.sandbox = answer["sandbox"]
        return self

    def _confining(self, step: Callable[..., Any], *args: Any) -> Any:
        try:
            return step(*args, Deadline(CONFINE_SECONDS))
        except (Closed, DeadlinePassed, wire.WireError) as error:
            self.close()
            raise GraderError(f"a worker could not be confined ({type(error).__name__})") from None

    @property
    def seconds_left(self) -> float:
        """What is left of the module's time. What counts is the time in which its code is waited for and does not itself wait
        for a processor, so that a busy machine costs nobody points.
        """
        spent = self._spent + max(0.0, self._asked - self._starved)
        return min(self.job.module_seconds - spent, self._last - time.monotonic())

    def start(self) -> None:
        """Fork a child and let it import the student's module. LoadError or Stopped when that fails."""
        if self._test is None or self._used:
            self.stop()
            self._fork()
        if self._ready:
            return
        answer = self._receive(*self._deadline(self.job.load_seconds, "importing the file took longer than"))
        if "error" in answer:
            self.stop()
            raise LoadError(answer["error"])
        self.is_loaded = self._ready = True

    def renew(self) -> None:
        """The test is over: replace its child by a fresh one, which gets ready while the next test does."""
        if self._test is not None and self._used:
            self._settle()
            self._test.close()
            self._control.send_raw(b"q")
            self._fork()

    def _fork(self) -> None:
        ours, theirs = socket.socketpair()
        socket.send_fds(self._control.socket, [b"t"], [theirs.fileno()])
        theirs.close()
        self._test, self._used, self._ready = Channel(ours), False, False

    def request(self, **request: Any) -> dict[str, Any]:
        """Send one request to the running test's child and return its reply. Stopped when it does not answer properly in time."""
        if self._test is None:
            self.start()
        self._used = True
        self._number = secrets.randbits(60)  # which nobody can guess who has not been asked
        deadline, late = self._deadline(self.call_seconds, "the call did not return within")
        reply = self._receive(deadline, late, wire.encode({"id": self._number, **request}))
        if reply.get("id") != self._number:
            raise self._stopped("garbled", "the reply belongs to no question")
        if isinstance(reply.get("written"), bytes):  # while it was watched
            try:
                written = wire.decode_frame(reply.pop("written"))
            except wire.WireError as error:
                raise self._stopped("garbled", str(error)) from None
            reply |= {key: written.get(key) for key in ("value", "changed")} if isinstance(written, dict) else {}
        return reply

    def told(self) -> list[Any]:
        """What the running test's child told of since this was last asked: the first forbidden call of each exercise."""
        told, self._told = list(self._told.values()), {}
        return told

    def usage(self) -> tuple[int, int, float]:
        """(resident bytes, most resident bytes, processor seconds) of the running test's child, read from outside."""
        child = self._child()
        return (*memory(child), cpu_seconds(child)) if child else (0, 0, 0.0)

    def stop(self) -> int:
        """End the running test's child, if any; returns its wait status (9 when it had to be killed, as always when it lives)."""
        if self._test is None:
            return 0
        self._settle()
        self._test.close()
        self._test = None
        try:
            self._control.send_raw(b"k")
            return self._control.receive(Deadline(CONFINE_SECONDS))["status"]
        except (Closed, DeadlinePassed, wire.WireError):
            raise GraderError("a worker is gone that should have been there") from None

    def close(self) -> None:
        """End the worker and everything in it, and remove its work folder."""
        if self._test is not None:
            self._test.close()
        self._control.close()
        if self.pid:
            try:
                os.kill(self.pid, signal.SIGKILL)
            except (ProcessLookupError, PermissionError):
                pass
        shutil.rmtree(self.folder, ignore_errors=True)

    def _deadline(self, seconds: float, what: str) -> tuple[Deadline, str]:
        """A deadline for the child, and what to say when it passes. A child that the system keeps waiting gets more time."""

        def starved() -> bool:  # only asked once the time is up: a call in time costs nothing for it
            child = self._child()
            return _is_runnable(child) and cpu_seconds(child) < seconds / 2

        if self.seconds_left < seconds:
            self._look()
        if self.seconds_left < seconds:
            asked, start = self._asked, time.monotonic()

            def some_is_left() -> bool:
                self._asked = asked + time.monotonic() - start
                self._look()
                return self.seconds_left > 0

            return Deadline(max(0.05, self.seconds_left), some_is_left), "the time for this module was used up"
        return Deadline(seconds, starved), f"{what} {seconds:g} s"

    def _look(self) -> None:
        """See what the running test's child has waited for a processor."""
        self._starved = max(self._starved, waiting_seconds(self._child()))

    def _settle(self) -> None:
        """The running test is over: what it spent is spent."""
        self._look()
        self._spent += max(0.0, self._asked - self._starved)
        self._asked = self._starved = 0.0

    def _child(self) -> int:
        """The process number of the running test's child, as seen from here; 0 when there is none."""
        try:
            children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
        except OSError:
            return 0
        return int(children[0]) if len(children) == 1 else 0

    def _receive(self, deadline: Deadline, late: str, request: bytes = b"") -> dict[str, Any]:
        """The next reply of the running test's child: to `request`, if there is one."""
        asked, start = self._asked, time.monotonic()
        try:
            try:
                self._test.send_raw(request, deadline)
                while isinstance(reply := self._test.receive(deadline), dict) and reply.keys() == {"told"}:
                    self._note(reply["told"])
            finally:
                self._asked = asked + time.monotonic() - start
        except DeadlinePassed:
            raise self._stopped("timeout", late) from None
        except Closed:
            raise self._stopped("crashed", "") from None
        except wire.WireError as error:
            raise self._stopped("garbled", str(error)) from None
        if not isinstance(reply, dict):
            raise self._stopped("garbled", "the reply is not one")
        return reply

    def _note(self, told: Any) -> None:
        """Keep what the child tells of. What the grader's own code does not say there must not fill the place of what it does."""
        match told:
            case [str(exercise), str(), int(line)] if 0 < line < MOST_LINES and len(self._told.keys() | {exercise}) <= MOST_TOLD:
                self._told.setdefault(exercise, told)
            case _:
                raise self._stopped("garbled", "nobody asked for what it told")

    def _stopped(self, kind: str, message: str) -> Stopped:
        status = self.stop()
        if kind == "crashed":
            message = _cause(status)
        elif kind == "garbled":
            kind, message = "crashed", f"the code wrote to the grader's channel: {message}"
        return Stopped(kind, message)


def _is_runnable(pid: int) -> bool:
    """Whether a thread of the process would run if it got a processor (and does not sleep)."""
    try:
        threads = list(Path(f"/proc/{pid}/task").iterdir())
        return any((thread / "stat").read_text().rpartition(") ")[2].startswith("R") for thread in threads)
    except OSError:
        return False


def _cause(status: int) -> str:
    """A wait status in words."""
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        names = {
            signal.SIGKILL: "it was stopped by the system (out of memory or processor time)",
            signal.SIGSEGV: "segmentation fault, or native code gave up: often endless recursion, memory that was already freed, "
            "or an array that a library cannot describe",
            signal.SIGXCPU: "it used more processor time than the module allows",
            signal.SIGXFSZ: "it wrote a file larger than allowed",
        }
        return names.get(number, f"it was ended by signal {number}")
    if os.WEXITSTATUS(status) == FAILED:
        return "its process could not go on, most probably since the memory that it may use was full"
    if os.WEXITSTATUS(status) == CUT_OFF:
        return "the code put something else in the place of the grader's channel"
    return f"it ended the process (exit status {os.WEXITSTATUS(status)}) instead of returning"
