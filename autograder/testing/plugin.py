"""The pytest plugin: `student` in the student's own checkout, and failures in a few lines instead of a wall of traceback.

An exercise that is still a stub reads as TODO. `-vv`, `--tb=…` and `--pdb` give pytest's own reports.
"""

from __future__ import annotations

import hashlib
import importlib
import textwrap
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch

from autograder.course import Course, Module, load_course
from autograder.testing import messages
from autograder.testing.local import LocalModule

MARK = "exercise(name, points, core): the exercise that a test belongs to"


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", MARK)


@pytest.fixture
def student(request: pytest.FixtureRequest) -> LocalModule:
    """The module under test."""
    return LocalModule(importlib.import_module(f"exercises.{_module(request.path.parent).stem}"))


@pytest.fixture
def reference(request: pytest.FixtureRequest) -> LocalModule:
    """The course's solution (hidden suites only)."""
    return LocalModule(importlib.import_module(f"solutions.{_module(request.path.parent).stem}"))


@pytest.fixture
def generator(request: pytest.FixtureRequest) -> torch.Generator:
    """The test's own source of randomness."""
    return torch.Generator().manual_seed(seed_for("", request.node.name))


def seed_for(secret: str, name: str) -> int:
    """A 63-bit seed from the offering's secret and the test's name."""
    return int.from_bytes(hashlib.sha256(f"{secret}\0{name}".encode()).digest()[:8], "big") >> 1


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo) -> Any:
    report = yield
    mark = item.get_closest_marker("exercise")
    if mark is None or call.excinfo is None or report.outcome != "failed":
        return report
    error = call.excinfo.value
    report.todo = _unwritten(item, error)
    option = item.config.option
    if option.verbose < 2 and option.tbstyle == "auto" and not option.usepdb:
        report.longrepr = _short(item, mark.args[0], error)
    return report


def pytest_report_teststatus(report: pytest.TestReport) -> tuple[str, str, str] | None:
    if report.failed and getattr(report, "todo", None):
        return "todo", "T", f"TODO ({report.todo})"
    return None


def pytest_terminal_summary(terminalreporter: Any) -> None:
    reports = terminalreporter.stats.get("todo", [])
    if reports:
        names = list(dict.fromkeys(report.todo for report in reports))
        terminalreporter.write_sep("-", "still to do")
        terminalreporter.write_line(textwrap.fill(", ".join(names), 100))


def _short(item: pytest.Item, exercise: str, error: BaseException) -> str:
    title = (getattr(item.obj, "__doc__", None) or "").strip().partition("\n")[0]
    if unwritten := _unwritten(item, error):
        return f"{exercise}: TODO: {unwritten} is not written yet"
    module = _module(item.path.parent)
    files = [module.folder / name for name in module.files]
    place = messages.place(error, files)
    if place and not isinstance(error, AssertionError):
        text = f"your code raised {type(error).__name__}: {error}\n  {place}" + messages.example(error)
    else:
        text = messages.failure(error)
    return textwrap.indent(f"{exercise}: {title}\n\n{text}", "  ").replace("  ", "", 1)


def _module(folder: Path) -> Module:
    """The module of a test's folder: `exercises/NN_name`, or `autograder/suites/NN_name`."""
    return _course(_root(folder)).module(folder.name)


def _root(folder: Path) -> Path:
    return next(parent for parent in folder.parents if (parent / "exercises").is_dir())


def _unwritten(item: pytest.Item, error: BaseException) -> str | None:
    """The exercise whose stub was called, with its module where that is an earlier one: `causal_mask in 01_…`."""
    name = messages.todo(error)
    if name is None:
        return None
    here = item.path.parent
    exercise = name.partition(".")[0]
    owners = [m.id for m in _course(_root(here)).modules if any(e.name == exercise for e in m.exercises)]
    return f"{name} in {owners[0]}" if owners and here.name not in owners else name


@cache
def _course(root: Path) -> Course:
    return load_course(root)
