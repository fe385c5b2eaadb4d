"""The pytest plugin: `student` in the student's own checkout, and failures in a few lines instead of a wall of traceback.

A run of nothing but exercises is shown by `autograder.testing.terminal`: one line per exercise, then what each has to
teach. `-vv`, `--tb=…` and `--pdb` give pytest's own reports.
"""

from __future__ import annotations

import hashlib
import importlib
import os
import signal
import sys
import textwrap
from collections.abc import Sequence
from contextlib import nullcontext
from functools import cache, partial
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
import torch

from autograder.course import Course, Module, load_course
from autograder.policy import Breach, check
from autograder.testing import messages
from autograder.testing.clock import TookTooLong
from autograder.testing.loading import Loader, LoadFailure
from autograder.testing.local import LocalModule
from autograder.testing.terminal import ExerciseLines

MARK = "exercise(name, points, core): the exercise that a test belongs to"
LOADER = pytest.StashKey[Loader]()
LINES = "autograder-exercise-lines"
LONG_SECONDS = 20  # a test that runs for longer says so, for its code may never end


def pytest_configure(config: pytest.Config) -> None:
    os.environ.setdefault("TRITON_INTERPRET", "1")  # kernels are tested on the CPU, unless TRITON_INTERPRET=0 says otherwise
    config.addinivalue_line("markers", MARK)
    config.stash[LOADER] = Loader()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """`-k NAME` with the name of an exercise means its tests, whatever they are called, and no others."""
    exercises = {item: mark.args[0] for item in items if (mark := item.get_closest_marker("exercise"))}
    for item, name in exercises.items():
        item.extra_keyword_matches.add(name)
    wanted = getattr(config.option, "keyword", "")
    if wanted in exercises.values():
        config.hook.pytest_deselected(items=[item for item in items if exercises.get(item) != wanted])
        items[:] = [item for item in items if exercises.get(item) == wanted]


def pytest_collection_finish(session: pytest.Session) -> None:
    config = session.config
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    if reporter is None or not session.items or not _short_reports(config) or config.option.collectonly:
        return
    tests = [(_module_of(item), mark.args[0]) for item in session.items if (mark := item.get_closest_marker("exercise"))]
    if len(tests) == len(session.items) and not session.testsfailed:
        config.pluginmanager.register(ExerciseLines(config, reporter, tests), LINES)


@pytest.fixture
def student(request: pytest.FixtureRequest) -> LocalModule:
    """The module under test."""
    root = _root(request.path.parent)
    return LocalModule(request.config.stash[LOADER].load(_module(request.path.parent), root))


@pytest.fixture
def reference(request: pytest.FixtureRequest) -> LocalModule:
    """The course's solution (hidden suites only)."""
    return LocalModule(importlib.import_module(f"solutions.{_module(request.path.parent).dotted}"))


@pytest.fixture
def generator(request: pytest.FixtureRequest) -> torch.Generator:
    """The test's own source of randomness."""
    return torch.Generator().manual_seed(seed_for("", request.node.name))


def seed_for(secret: str, name: str) -> int:
    """A 63-bit seed from the offering's secret and the test's name."""
    return int.from_bytes(hashlib.sha256(f"{secret}\0{name}".encode()).digest()[:8], "big") >> 1


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Any:
    """While an exercise's test takes long, say so once, and where the student's code is."""
    free = hasattr(signal, "SIGALRM") and signal.getsignal(signal.SIGALRM) is signal.SIG_DFL
    if not free or item.get_closest_marker("exercise") is None or not item.config.pluginmanager.has_plugin(LINES):
        return (yield)
    signal.signal(signal.SIGALRM, partial(_say_it_takes_long, item))
    signal.setitimer(signal.ITIMER_REAL, LONG_SECONDS)
    try:
        return (yield)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, signal.SIG_DFL)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo) -> Any:
    """An exercise's test reports its `module`, `exercise` and `title`, and, failed, its `todo`, `load` and `lesson`."""
    report = yield
    mark = item.get_closest_marker("exercise")
    if mark is None:
        return report
    report.module, report.exercise, report.title = _module_of(item), mark.args[0], title(item)
    if report.when == "call" and report.passed and (said := _forbidden(item)):
        report.outcome, report.todo, report.load, report.lesson = "failed", None, False, said
        report.longrepr = _short(report)
        return report
    if call.excinfo is None or report.outcome != "failed":
        return report
    error = call.excinfo.value
    report.todo = _unwritten(item, error)
    report.load = isinstance(error, LoadFailure)
    report.lesson = _lesson(item, error)
    if _short_reports(item.config):
        report.longrepr = _short(report)
    return report


def pytest_report_teststatus(report: pytest.TestReport) -> tuple[str, str, str] | None:
    if report.failed and getattr(report, "todo", None):
        return "todo", "T", f"TODO ({report.todo})"
    return None


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    reports = terminalreporter.stats.get("todo", [])
    if reports and not config.pluginmanager.has_plugin(LINES):
        names = list(dict.fromkeys(report.todo for report in reports))
        terminalreporter.write_sep("-", "still to do")
        terminalreporter.write_line(textwrap.fill(", ".join(names), 100))


def title(item: pytest.Item) -> str:
    """What a test asks for: the first line of its docstring, or else its name as a sentence."""
    text = (getattr(getattr(item, "obj", None), "__doc__", None) or "").strip().partition("\n")[0]
    return text or getattr(item, "originalname", item.name).removeprefix("test_").replace("_", " ")


def _say_it_takes_long(item: pytest.Item, number: int, frame: FrameType | None) -> None:
    files, place = {str(path) for path in _files(item)}, ""
    while frame is not None and not place:
        if frame.f_code.co_filename in files:
            place = f", and is at {Path(frame.f_code.co_filename).name}, line {frame.f_lineno}"
        frame = frame.f_back
    reporter, capture = map(item.config.pluginmanager.get_plugin, ("terminalreporter", "capturemanager"))
    with capture.global_and_fixture_disabled() if capture else nullcontext():
        name = item.get_closest_marker("exercise").args[0]
        reporter.write_line(f"  {name}: a test has run for {LONG_SECONDS} s{place}")
        reporter.write_line("  Control-C ends it; `autograder check` stops by itself what never ends")
        reporter.flush()


def _short_reports(config: pytest.Config) -> bool:
    option = config.option
    whole = getattr(option, "verbose", 0) >= 2 or getattr(option, "tbstyle", "auto") != "auto"
    return not whole and not getattr(option, "usepdb", False)


def _short(report: Any) -> str:
    if report.todo:
        return f"{report.exercise}: {report.lesson}"
    return textwrap.indent(f"{report.exercise}: {report.title}\n\n{report.lesson}", "  ").replace("  ", "", 1)


def _lesson(item: pytest.Item, error: BaseException) -> str:
    """What the student reads of a failure: the check's own words, or the line of their file that raised."""
    if unwritten := _unwritten(item, error):
        return f"TODO: {unwritten} is not written yet"
    if isinstance(error, LoadFailure):
        return str(error)
    place = messages.place(error, _files(item))
    if isinstance(error, TookTooLong):
        return str(error) + (f"\n  it was at {place}" if place else "")
    if place and not isinstance(error, AssertionError):
        said = "input() has nobody to ask" if "reading from stdin" in str(error) else str(error)  # pytest speaks of its options
        raised = f"{type(error).__name__}: {said}" if said else type(error).__name__
        return f"your code raised {raised}\n  {place}" + messages.example(error)
    return messages.failure(error)


def _forbidden(item: pytest.Item) -> str:
    """What to say where the exercise's source has a call that it forbids: its grade would be 0, however well it works."""
    module = _module(item.path.parent)
    loaded = getattr(sys.modules.get(f"exercises.{module.dotted}"), "__file__", None)
    if loaded is None or Path(loaded).resolve() != (module.folder / module.main_file).resolve():
        return ""  # a notebook's cells, say
    found = [breach for breach in _breaches(module) if breach.exercise == item.get_closest_marker("exercise").args[0]]
    return f"{found[0].message}\n  Using it scores 0, so no test counts as passed." if found else ""


@cache
def _breaches(module: Module) -> Sequence[Breach]:
    files = {name: module.folder / name for name in module.files}
    texts = {name: file.read_text(encoding="utf-8", errors="replace") for name, file in files.items() if file.is_file()}
    return check(module, texts)


def _files(item: pytest.Item) -> Sequence[Path]:
    """The student's files that a test of this module passes through: its own and those of the modules it builds on."""
    course, module = _course(_root(item.path.parent)), _module(item.path.parent)
    modules = [module, *(course.module(name) for name in module.requires)]
    here = item.path.parents[1]  # as pytest spells it: a symbolic link on the way is resolved in the course's own paths
    return [folder / name for m in modules for folder in (m.folder, here / m.id) for name in m.files]


def _module(folder: Path) -> Module:
    """The module of a test's folder: `exercises/NN_name`, or `autograder/suites/NN_name`."""
    return _course(_root(folder)).module(folder.name)


def _module_of(item: pytest.Item) -> str:
    return item.path.parent.name


def _root(folder: Path) -> Path:
    for parent in folder.parents:
        if (parent / "exercises").is_dir():
            return parent
    raise pytest.UsageError(f"{folder} is not in the folder `exercises` of a course: its tests need what lies around it")


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
