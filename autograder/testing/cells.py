"""The public tests of an exercise, run on what a notebook has defined."""

from __future__ import annotations

import ast
import contextlib
import io
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

from autograder import policy
from autograder.course import Course, Module, load_course
from autograder.testing import messages

# The last plugin collects all of torch's garbage, twice, which takes longer than most tests.
OPTIONS = ["-q", "--capture=no", "-p", "no:cacheprovider", "-p", "no:unraisableexception"]


class NotYet(AssertionError):
    """A public test failed; a notebook shows the message without the traceback, which has nothing of the student's."""

    def _render_traceback_(self) -> list[str]:
        return str(self).splitlines()


def check(module: str, exercise: str) -> None:
    """Run the exercise's public tests on the definitions of the running program (`__main__`) and say how they went.

    An exercise of another file than the module's main one is tested as that file has it: no notebook defines it.

    Raises:
        NotYet: a test failed, or the exercise is still to do; the message is the one that `pytest exercises` gives.
    """
    found = _course().module(module)
    tests = [str(path) for path in sorted(found.folder.glob("test_*.py"))]
    name = f"exercises.{found.dotted}"
    run = _Run(found.exercise(exercise).name)
    before = sys.modules.get(name)
    if found.file_of(found.exercise(exercise)) == found.main_file:
        sys.modules[name] = sys.modules["__main__"]  # what the `student` fixture imports
    said = io.StringIO()
    try:
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            status = pytest.main([*OPTIONS, *tests], plugins=[run])
    finally:
        sys.modules.pop(name, None)
        if before is not None:
            sys.modules[name] = before
    if run.failures:
        raise NotYet("\n\n".join(run.failures[:1]) + _more(len(run.failures) - 1))
    if status != pytest.ExitCode.OK or not run.passed:
        raise NotYet(f"{exercise}: the public tests could not be run:\n{said.getvalue()[-2000:]}")
    if calls := _forbidden(found, exercise):
        reason = "this exercise asks you to write it yourself. Using it scores 0."
        raise NotYet(f"{exercise}: {', '.join(calls)} is not allowed: {reason}")
    print(f"{exercise}: {run.passed} public test{'s' * (run.passed != 1)} passed")


def _forbidden(module: Module, exercise: str) -> list[str]:
    """The forbidden calls in what the cells that ran so far define; of a name that was defined again, the last counts."""
    parts: dict[object, str] = {}
    for number, cell in enumerate(vars(sys.modules["__main__"]).get("In", ())):  # IPython keeps them there
        try:
            statements = ast.parse(cell).body
        except SyntaxError:
            continue
        for place, node in enumerate(statements):
            key = node.name if isinstance(node, ast.FunctionDef | ast.ClassDef) else (number, place)
            parts.pop(key, None)
            parts[key] = ast.unparse(node)
    found = policy.check(module, {module.main_file: "\n".join(parts.values())})
    return list(dict.fromkeys(breach.call for breach in found if breach.exercise == exercise))


def _course() -> Course:
    """The course that the notebook lies in; for a notebook elsewhere, the one with this package."""
    here = Path.cwd()
    roots = (folder for folder in (here, *here.parents) if any(folder.glob("exercises/[0-9][0-9]_*/module.toml")))
    return load_course(next(roots, None))


class _Run:
    """A pytest plugin that keeps one exercise's tests and remembers how they went."""

    def __init__(self, exercise: str):
        self.exercise = exercise
        self.passed = 0
        self.failures: list[str] = []

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        marks = [item.get_closest_marker("exercise") for item in items]
        items[:] = [item for item, mark in zip(items, marks) if mark is not None and mark.args[0] == self.exercise]

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.passed += report.when == "call" and report.passed

    def pytest_exception_interact(self, call: pytest.CallInfo, report: Any) -> None:
        error = call.excinfo.value
        if not getattr(report, "lesson", None):  # not an exercise's test: a test file that cannot be imported
            self.failures.append(report.longreprtext)
        elif report.todo:
            self.failures.append(f"{self.exercise}: {report.lesson}")
        else:
            raised = not isinstance(error, AssertionError) and _in_notebook(error)
            lesson = f"your code raised {type(error).__name__}: {error}{messages.example(error)}" if raised else report.lesson
            self.failures.append(f"{self.exercise}: {report.title}\n\n{textwrap.indent(lesson, '  ')}")


def _in_notebook(error: BaseException) -> bool:
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_globals is sys.modules["__main__"].__dict__:
            return True
        trace = trace.tb_next
    return False


def _more(count: int) -> str:
    return f"\n\n(and {count} more public test{'s' * (count != 1)})" if count > 0 else ""
