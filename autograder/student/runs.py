"""One module's public tests, run in a process that is killed when it says nothing for too long.

On Linux a warm process (torch and pytest imported, one thread) is forked for each run. Elsewhere libraries do not survive a
fork, so the next process is started and warmed up in advance. Either way a run begins within some milliseconds.
"""

from __future__ import annotations

import gc
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from autograder.course import Course, Module
from autograder.student.outcome import ModuleOutcome, TestResult, summarise

START_SECONDS = 180.0  # importing torch on a slow disk
BETWEEN_SECONDS = 20.0  # collection, and pytest's own work between tests
SPARE_SECONDS = 2.0  # a test's fixtures
SLEEPING_FACTOR = 3.0  # wall time beyond the processor time that the child itself allows
THREADS = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


@dataclass(frozen=True)
class Process:
    """A running child: its process number, which is its group's too, the descriptor of its words, how to wait for it."""

    pid: int
    words: int
    wait: Callable[[], Any]
    ready: bool

    def kill(self) -> None:
        """End it and what it started, if it still runs, and forget it."""
        try:
            os.killpg(self.pid, signal.SIGKILL) if hasattr(os, "killpg") else os.kill(self.pid, signal.SIGTERM)
        except OSError:
            pass  # it has ended
        os.close(self.words)
        self.wait()


class Starter(Protocol):
    """What makes processes; warm, it makes them at once."""

    def start(self, request: Any) -> Process: ...

    def close(self) -> None: ...


class Forks:
    """This very process, warmed up, is forked for each run."""

    def __init__(self, preload: Sequence[str]):
        from autograder.student import child

        self._child = child
        child.warm_up(preload)

    def start(self, request: Any) -> Process:
        words, theirs = os.pipe()
        sys.stdout.flush()
        sys.stderr.flush()
        gc.freeze()  # a collection in the fork would touch, and so copy, every page with an object in it
        pid = os.fork()
        if pid == 0:
            self._work(request, theirs)
        gc.unfreeze()
        os.close(theirs)
        return Process(pid, words, lambda: os.waitpid(pid, 0), ready=True)

    def close(self) -> None:
        pass

    def _work(self, request: Any, words: int) -> None:
        status = 1
        try:
            os.setsid()
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, signal.SIG_DFL)
            silence = os.open(os.devnull, os.O_RDWR)
            for descriptor in (0, 1, 2):
                os.dup2(silence, descriptor)
            self._child.run_tests(request, self._child.teller(words))
            status = 0
        finally:
            os._exit(status)


class Standby:
    """The process of the next run is started when the last one begins."""

    def __init__(self, preload: Sequence[str]):
        self._command = [sys.executable, "-m", "autograder.student.child", json.dumps(list(preload))]
        self._next = self._spawn()

    def start(self, request: Any) -> Process:
        process, self._next = self._next, self._spawn()
        try:
            process.stdin.write((request.encode() + "\n").encode())
            process.stdin.close()
        except OSError:
            pass  # it died while it waited: its words end, and that is noticed
        words = os.dup(process.stdout.fileno())
        process.stdout.close()
        return Process(process.pid, words, process.wait, ready=False)

    def close(self) -> None:
        self._next.kill()
        self._next.wait()
        self._next.stdin.close()
        self._next.stdout.close()

    def _spawn(self) -> subprocess.Popen:
        path = os.pathsep.join([_package_folder(), *filter(None, [os.environ.get("PYTHONPATH")])])
        return subprocess.Popen(
            self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, bufsize=0,
            start_new_session=True, env={**os.environ, **THREADS, "PYTHONPATH": path},
        )  # fmt: skip


def warm(modules: Sequence[Module], fork: bool | None = None) -> Starter:
    """The fitting starter, warmed up with what the modules preload. `fork` overrules the choice (trials)."""
    os.environ.update(THREADS)
    preload = list(dict.fromkeys(name for module in modules for name in module.preload))
    if fork is None:
        fork = sys.platform.startswith("linux")
    if fork:
        forks = Forks(preload)
        if _threads() == 1:  # a fork has none of the others, and waits for ever for what they hold
            return forks
    return Standby(preload)


class Run:
    """A module's public tests while they run. `poll` takes in what the child says; `outcome` is what is known so far."""

    def __init__(self, course: Course, module: Module, starter: Starter, first: str = ""):
        from autograder.student.child import Request

        self.module = module
        self.results: list[TestResult] = []
        self.problem = ""
        self.finished = False
        self._starter = starter
        self._request = Request(str(course.root), module.id, (), first)
        self._tests: dict[str, str] = {}  # test → exercise, in the order in which they run
        self._began = time.monotonic()
        self._seconds = 0.0
        self._begin()

    @property
    def words(self) -> int:
        """The descriptor to wait on."""
        return self._process.words

    @property
    def at(self) -> tuple[str, float]:
        """The exercise that is being tested, and for how many seconds by now; no name between tests."""
        return self._tests.get(self._running, ""), time.monotonic() - self._since

    def poll(self, seconds: float = 0.0) -> None:
        """Wait so long for word of the child, at most, and take in all there is. Ends the child when its time is up."""
        if self.finished:
            return
        if select.select([self.words], [], [], seconds)[0]:
            data = os.read(self.words, 1 << 16)
            if not data:
                self._ended("your code ended the whole process (a crash, or os._exit)")
                return
            *lines, self._rest = (self._rest + data).split(b"\n")
            for line in lines:
                try:
                    self._hear(json.loads(line))
                except (ValueError, KeyError, TypeError):
                    continue  # the student's code wrote to a descriptor that is not its own
                if self.finished:
                    return
        if time.monotonic() > self._deadline:
            self._ended("this did not end in time, and had to be stopped: is there a loop that never ends?")

    def wait(self, each: Callable[[], None] = lambda: None) -> ModuleOutcome:
        """Until the end; calls `each` several times a second."""
        try:
            while not self.finished:
                self.poll(0.1)
                each()
        finally:
            self.stop()
        return self.outcome()

    def stop(self) -> None:
        """End it now."""
        if not self.finished:
            self._finish()

    def outcome(self) -> ModuleOutcome:
        """What is known; an exercise with tests still to come is `not run` unless one has failed."""
        counts: dict[str, int] = {}
        for exercise in self._tests.values():
            counts[exercise] = counts.get(exercise, 0) + 1
        seconds = self._seconds if self.finished else time.monotonic() - self._began
        return summarise(self.module, counts, self.results, self.problem, seconds)

    def _begin(self) -> None:
        self._process = self._starter.start(self._request)
        self._rest = b""
        self._running, self._since = "", time.monotonic()
        self._started = False
        self._allow(BETWEEN_SECONDS if self._process.ready else START_SECONDS)

    def _allow(self, seconds: float) -> None:
        self._deadline = time.monotonic() + seconds

    def _hear(self, event: dict[str, Any]) -> None:
        limits = self.module.limits
        match event["event"]:
            case "ready":
                self._allow(BETWEEN_SECONDS)
            case "loading":
                self._allow(SLEEPING_FACTOR * limits.load_seconds + SPARE_SECONDS)
            case "collected":
                self._started = True
                self._allow(BETWEEN_SECONDS)
                self._tests = {name: exercise for exercise, name in event["tests"]}
            case "start":
                self._running, self._since = event["name"], time.monotonic()
                self._allow(SLEEPING_FACTOR * limits.call_seconds + SPARE_SECONDS)
            case "test":
                self._running = ""
                self.results.append(TestResult(**{key: value for key, value in event.items() if key != "event"}))
                self._allow(BETWEEN_SECONDS)
            case "problem":
                self.problem = event["message"]
                self._finish()
            case "end":
                self._finish()

    def _ended(self, reason: str) -> None:
        """The child is gone, or has to go. The exercise that it was at has failed; the others get another process."""
        self._process.kill()
        if not self._running:
            before = "the public tests stopped without a word" if self._started else f"{self.module.main_file} cannot be imported"
            self.problem = f"{before}: {reason}"
            self._finish(killed=True)
            return
        exercise = self._tests[self._running]
        # The exercise's other tests would most likely end in the same way, each after its time.
        done = {result.name for result in self.results}
        for name in [name for name, owner in self._tests.items() if owner == exercise and name not in done]:
            title = name.rpartition("::")[2].removeprefix("test_").replace("_", " ")
            message = reason if name == self._running else "not run: an earlier test of this exercise had to be stopped"
            self.results.append(TestResult(exercise, name, title, "failed", message))
        self._request = replace(self._request, skip=tuple(result.name for result in self.results))
        if len(self._request.skip) < len(self._tests):
            self._begin()
        else:
            self._finish(killed=True)

    def _finish(self, killed: bool = False) -> None:
        if not killed:
            self._process.kill()
        self._seconds = time.monotonic() - self._began
        self.finished = True


def _threads() -> int:
    return len(os.listdir("/proc/self/task"))


def _package_folder() -> str:
    return os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
