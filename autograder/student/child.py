"""The process that runs one module's public tests and the student's code with them, and tells of each test as it ends.

It writes one JSON object a line. Whoever started it reads them, and kills it when it says nothing for too long: see
`autograder.student.runs`. `python -m autograder.student.child` warms up, then takes one request from its standard input.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pytest

from autograder.course import load_course
from autograder.testing.clock import TookTooLong, time_limit

PRINTED_CHARACTERS = 1200


@dataclass(frozen=True)
class Request:
    """Which tests to run: a module's, without those in `skip` (test names), the exercise `first` before the others."""

    root: str
    module: str
    skip: tuple[str, ...] = ()
    first: str = ""

    def encode(self) -> str:
        return json.dumps(asdict(self))


def warm_up(preload: Sequence[str]) -> None:
    """Import now what every run needs, single-threaded, so that a fork or a waiting process can begin at once."""
    os.environ.setdefault("MPLBACKEND", "agg")  # a test opens no window
    os.environ.setdefault("TRITON_INTERPRET", "1")  # as in `pytest`; Triton decides when it is imported
    import torch

    import autograder.testing.plugin
    import autograder.testing.probes
    import autograder.testing.strategies  # noqa: F401

    for name in preload:
        try:
            importlib.import_module(name)
        except ImportError:
            pass  # the module that wants it says so when it is imported
    torch.set_num_threads(1)
    square = torch.ones(64, 64, requires_grad=True)
    (square @ square).sum().backward()  # the libraries set themselves up now, not in every run


def run_tests(request: Request, tell: Callable[[dict[str, Any]], None]) -> None:
    """Run the tests in this process, which is good for nothing else afterwards."""
    from autograder.testing.loading import LoadFailure, load_student
    from autograder.testing.messages import todo

    root = Path(request.root)
    module = load_course(root).module(request.module)
    if sys.path[:1] != [request.root]:
        sys.path.insert(0, request.root)
    # A file saved twice in a second at the same size would be taken from its byte code.
    written, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    tell({"event": "loading"})
    try:
        with time_limit(module.limits.load_seconds):
            load_student(module, root)
    except (LoadFailure, TookTooLong) as failure:
        late = TookTooLong in (type(failure), type(failure.__cause__))
        message = f"importing {module.main_file} takes more than {module.limits.load_seconds:g} s: is there an endless loop?"
        tell({"event": "problem", "message": message if late else str(failure)})
        return
    except Exception as error:
        if not todo(error):
            raise
        tell({"event": "problem", "message": f"{module.main_file} calls {todo(error)} while it is imported: that is still TODO"})
        return
    finally:
        sys.dont_write_bytecode = written
    tests = [str(path) for path in sorted(module.folder.glob("test_*.py"))]
    if not tests:
        tell({"event": "problem", "message": f"{module.id} has no public tests"})
        return
    os.environ.update(PYTEST_DISABLE_PLUGIN_AUTOLOAD="1", PYTEST_ADDOPTS="")
    os.environ.pop("PYTEST_PLUGINS", None)
    arguments = [
        *tests, "-c", os.devnull, "--rootdir", request.root, "--import-mode=importlib", "--noconftest",
        "-p", "no:cacheprovider", "-p", "no:terminal", "-p", "no:faulthandler", "-p", "autograder.testing.plugin",
        "-p", "no:unraisableexception", "-W", "ignore",  # that plugin collects all of torch's garbage, twice
    ]  # fmt: skip
    order = [exercise.name for exercise in module.exercises]
    status = pytest.main(arguments, plugins=[_Teller(request, order, module.limits.call_seconds, tell)])
    if status in (pytest.ExitCode.INTERNAL_ERROR, pytest.ExitCode.USAGE_ERROR):
        tell({"event": "problem", "message": f"the public tests could not run (pytest ended with {int(status)})"})
    tell({"event": "end"})


class _Teller:
    """The pytest plugin: order, time limits, and word of every test."""

    def __init__(self, request: Request, order: list[str], seconds: float, tell: Callable[[dict[str, Any]], None]):
        self.request, self.order, self.seconds, self.tell = request, order, seconds, tell
        self.failed: Any = None
        self.skipped = False
        self.late: set[str] = set()

    def pytest_collection_modifyitems(self, items: list[Any]) -> None:
        marks = [(item, mark.args[0]) for item in items if (mark := item.get_closest_marker("exercise"))]
        ranks = {name: index for index, name in enumerate(self.order)}
        marks = [(item, name) for item, name in marks if name in ranks]
        marks.sort(key=lambda pair: (pair[1] != self.request.first, ranks[pair[1]]))
        self.tell({"event": "collected", "tests": [[name, item.nodeid] for item, name in marks]})
        items[:] = [item for item, _ in marks if item.nodeid not in self.request.skip]

    def pytest_collectreport(self, report: Any) -> None:
        if report.failed:
            words = str(report.longrepr).strip().splitlines()
            self.tell({"event": "problem", "message": f"the public tests cannot be read: {words[-1] if words else 'no reason'}"})

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        self.tell({"event": "start", "name": nodeid})
        self.failed, self.skipped = None, False

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self, item: Any) -> Any:
        exercise = item.get_closest_marker("exercise").args[0]
        if exercise in self.late:  # it would most likely take its whole time again
            pytest.skip("an earlier test of this exercise took too long")
        try:
            with time_limit(self.seconds):
                return (yield)
        except TookTooLong:
            self.late.add(exercise)
            raise

    def pytest_runtest_logreport(self, report: Any) -> None:
        if report.failed and self.failed is None:
            self.failed = report
        self.skipped |= report.skipped
        if report.when == "teardown":
            self.tell({"event": "test", "name": report.nodeid, **self._result(report)})

    def _result(self, report: Any) -> dict[str, Any]:
        result = {"exercise": report.exercise, "title": report.title}
        if self.failed is None:
            return {**result, "outcome": "skipped" if self.skipped else "passed"}
        printed = self.failed.capstdout[-PRINTED_CHARACTERS:]
        if self.failed.todo:
            return {**result, "outcome": "todo", "waits_for": self.failed.todo, "message": self.failed.lesson}
        return {**result, "outcome": "failed", "message": self.failed.lesson, "printed": printed}


def teller(descriptor: int) -> Callable[[dict[str, Any]], None]:
    """Writes events to the descriptor."""

    def tell(event: dict[str, Any]) -> None:
        data = (json.dumps(event) + "\n").encode()
        while data:
            data = data[os.write(descriptor, data) :]

    return tell


def main() -> None:
    """Warm up, say so on standard output, take a request, run it. The student's own prints go nowhere else than to the tests."""
    words = os.dup(1)
    silence = os.open(os.devnull, os.O_RDWR)
    os.dup2(silence, 1)
    warm_up(json.loads(sys.argv[1]))
    teller(words)({"event": "ready"})
    line = sys.stdin.readline()
    os.dup2(silence, 0)
    if line:
        taken = json.loads(line)
        run_tests(Request(**{**taken, "skip": tuple(taken["skip"])}), teller(words))


if __name__ == "__main__":
    main()
