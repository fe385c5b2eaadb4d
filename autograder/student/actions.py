"""A pytest plugin for a workflow: what fails is marked in the student's file, and the step's summary has a table.

    pytest exercises -p autograder.student.actions

An exercise that is not written yet is no failure here: the check is red when something that was written is wrong.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from autograder import inert
from autograder.course import Course, Module, load_course
from autograder.definitions import definition_line

MARKS = {"passed": "✅ passed", "failed": "❌ not yet", "todo": "⬜ to do"}
SUMMARY = "GITHUB_STEP_SUMMARY"
MESSAGE_CHARACTERS = 4000


class Remarks:
    """The outcome of every exercise in this run: the worst of its tests, and the first thing that one of them said."""

    def __init__(self, course: Course):
        self.course = course
        self.states: dict[tuple[str, str], str] = {}
        self.said: dict[tuple[str, str], str] = {}
        self.other_failures = False

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        self.other_failures |= report.failed

    def pytest_runtest_logreport(self, report: Any) -> None:
        exercise = getattr(report, "exercise", None)
        if exercise is None:
            self.other_failures |= report.failed
        elif report.failed:
            self._note((report.module, exercise), "todo" if report.todo else "failed", str(report.lesson))
        elif report.when == "call" and report.passed:
            self.states.setdefault((report.module, exercise), "passed")

    def _note(self, key: tuple[str, str], state: str, lesson: str) -> None:
        if self.states.get(key) != "failed":
            if state != self.states.get(key):
                self.said[key] = lesson
            self.states[key] = state

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        only_unwritten = "failed" not in self.states.values() and not self.other_failures
        if session.exitstatus == pytest.ExitCode.TESTS_FAILED and only_unwritten:
            session.exitstatus = pytest.ExitCode.OK

    def pytest_unconfigure(self) -> None:
        for (module, exercise), state in self.states.items():
            if state == "failed":
                lesson = self.said[module, exercise][:MESSAGE_CHARACTERS]
                file, line = _place(self.course.module(module), exercise)
                print("\n" + inert.command("warning", lesson, file=file, line=line, title=f"{module}: {exercise}"))
        if path := os.environ.get(SUMMARY):
            with open(path, "a", encoding="utf-8") as file:
                file.write(self.table())

    def table(self) -> str:
        """A row for each exercise, as Markdown."""
        rows = [
            f"| {inert.name(module)} | {inert.name(name)} | {MARKS[state]} |" for (module, name), state in self.states.items()
        ]
        return "\n".join(["| module | exercise | public tests |", "| --- | --- | --- |", *rows, ""])


def pytest_configure(config: pytest.Config) -> None:
    if not config.option.collectonly:
        config.pluginmanager.register(Remarks(load_course()), "autograder-actions")


def _place(module: Module, exercise: str) -> tuple[str, int]:
    file = module.file_of(module.exercise(exercise))
    path = module.folder / file
    text = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
    return f"{Path('exercises') / module.id / file}", definition_line(text, exercise) or 1
