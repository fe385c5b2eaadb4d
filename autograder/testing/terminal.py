"""How a pytest run of exercises looks: one line per exercise as it is decided, then what each failed one has to teach."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

UNDECIDED = "not run"
UNLIMITED = 10**6  # columns of a file or pipe


@dataclass
class Tally:
    """What is known of one exercise's tests so far."""

    module: str
    name: str
    tests: int
    passed: int = 0
    skipped: int = 0
    failed: list[Any] = field(default_factory=list)
    todo: list[Any] = field(default_factory=list)
    ended: int = 0

    def verdict(self) -> tuple[str, str]:
        """What its line says, and in which colour."""
        count = f"{self.passed} of {self.tests} tests" if self.tests > 1 else f"{self.passed} of 1 test"
        if any(report.load for report in self.failed):
            return UNDECIDED, "red"
        if self.failed:
            return f"FAILED   {count}", "red"
        if self.todo:
            return _waits(self), "yellow"
        if self.ended < self.tests:
            return UNDECIDED, "yellow"
        if self.skipped:
            return f"skipped  {self.skipped} of {self.tests}", "yellow"
        return f"passed   {count}", "green"


class ExerciseLines:
    """A pytest plugin, registered once it is known that every collected test belongs to an exercise."""

    def __init__(self, config: pytest.Config, reporter: Any, tests: Sequence[tuple[str, str]]):
        self.reporter = reporter
        self.tallies = {key: Tally(*key, tests=count) for key, count in Counter(tests).items()}
        self.width = max(len(name) for _, name in self.tallies)
        self.module = ""
        self.quiet_tests = config.option.verbose < 1
        config.option.tbstyle = "no"  # the lessons below stand in for pytest's FAILURES and ERRORS
        if config.option.reportchars == "fE":  # pytest's default; `-r` asks for more
            reporter.reportchars = ""
        if self.quiet_tests:
            reporter.showfspath = False
            reporter._show_progress_info = False

    @pytest.hookimpl(tryfirst=True, wrapper=True)
    def pytest_report_teststatus(self, report: Any) -> Any:
        """pytest counts each test and, without -v, prints nothing of it."""
        category, letter, word = yield
        return (category, "", "") if self.quiet_tests else (category, letter, word)

    @pytest.hookimpl(trylast=True)
    def pytest_runtest_logreport(self, report: Any) -> None:
        tally = self.tallies[report.module, report.exercise]
        if report.failed:
            (tally.todo if report.todo else tally.failed).append(report)
        elif report.skipped:
            tally.skipped += 1
        elif report.when == "call":
            tally.passed += 1
        if report.when == "teardown":
            tally.ended += 1
            if tally.ended == tally.tests and self.quiet_tests:
                self._line(tally)

    def pytest_terminal_summary(self) -> None:
        for tally in self.tallies.values():
            if not self.quiet_tests or tally.ended < tally.tests:
                self._line(tally)
        unread = {r.module: r.lesson for t in self.tallies.values() for r in t.failed if r.load}
        for module, message in unread.items():
            self.reporter.write_line(f"\nNothing of {module} can be tested yet:\n{textwrap.indent(message, '  ')}", red=True)
        for tally in self.tallies.values():
            taught = [report for report in tally.failed if not report.load]
            if taught:
                self._lesson(tally.name, taught)

    def _line(self, tally: Tally) -> None:
        if tally.module != self.module:
            self.module = tally.module
            self.reporter.write_line(f"\n{tally.module}")
        verdict, colour = tally.verdict()
        self._write(f"  {tally.name:{self.width}}  {verdict}", hang=6, **{colour: True})

    def _lesson(self, exercise: str, reports: Sequence[Any]) -> None:
        """The first failure in full, the others by name: they often have the same reason."""
        first, *others = reports
        self.reporter.write_line("")
        self._write(f"{exercise}: {first.title}", hang=2, red=True, bold=True)
        for line in first.lesson.splitlines():
            self._write(f"  {line}", hang=4 + len(line) - len(line.lstrip()))
        for name, text in first.sections:
            if name == "Captured stdout call":
                self.reporter.write_line(f"  your code printed:\n{textwrap.indent(_last(text), '    ')}")
        if others:
            names = ", ".join(dict.fromkeys(report.nodeid.rpartition("::")[2] for report in others))
            more = f"it fails {len(others)} more test{'s' if len(others) > 1 else ''}: {names}"
            self._write(textwrap.fill(more, min(110, self._columns()), initial_indent="  ", subsequent_indent="    "))

    def _write(self, text: str, hang: int = 4, **style: bool) -> None:
        """One line; on a terminal too narrow for it, it goes on between two words, `hang` columns to the right."""
        if len(text) > self._columns() and "\n" not in text:
            wrapped = textwrap.wrap(
                text, self._columns(), subsequent_indent=" " * hang, break_long_words=False, break_on_hyphens=False
            )
            text = "\n".join(wrapped)
        self.reporter.write_line(text, **style)

    def _columns(self) -> int:
        return self.reporter._tw.fullwidth if self.reporter.isatty else UNLIMITED


def _waits(tally: Tally) -> str:
    """`TODO`, with the methods of a class, or with what it waits for where that is another exercise."""
    parts = [report.todo for report in tally.todo if report.todo.startswith(f"{tally.name}.")]
    if parts:
        return f"TODO     {', '.join(dict.fromkeys(parts))}"
    others = [report.todo for report in tally.todo if report.todo.partition(".")[0].partition(" ")[0] != tally.name]
    if len(others) < len(tally.todo):
        return "TODO"
    return f"TODO     first finish {others[0].replace(' in ', ' of ')}"


def _last(text: str, lines: int = 12) -> str:
    shown = text.rstrip().splitlines()
    return "\n".join((["…"] if len(shown) > lines else []) + shown[-lines:])
