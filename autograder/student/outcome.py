"""What a run of one module's public tests says, as data."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from autograder.course import Module

Status = Literal["passed", "failed", "todo", "skipped", "not run"]


@dataclass(frozen=True)
class TestResult:
    """One public test. `waits_for` names the exercise whose stub was called; `printed` is what the student's code printed."""

    __test__ = False  # pytest would take the name for a test

    exercise: str
    name: str
    title: str
    outcome: Literal["passed", "failed", "todo", "skipped"]
    message: str = ""
    waits_for: str = ""
    printed: str = ""


@dataclass(frozen=True)
class ExerciseOutcome:
    """One exercise: how it stands, and the first failed test's own words."""

    name: str
    status: Status
    passed: int = 0
    tests: int = 0
    title: str = ""
    message: str = ""
    waits_for: str = ""
    printed: str = ""


@dataclass(frozen=True)
class ModuleOutcome:
    """One module. `problem` says why nothing of it could be tested, where that is so."""

    module: Module
    exercises: tuple[ExerciseOutcome, ...]
    problem: str = ""
    seconds: float = 0.0

    @property
    def passed(self) -> bool:
        """Whether there is nothing left to do."""
        return not self.problem and all(exercise.status in ("passed", "skipped") for exercise in self.exercises)

    @property
    def points(self) -> int:
        """The points of the exercises whose public tests pass."""
        return sum(self.module.exercise(e.name).points for e in self.exercises if e.status == "passed")

    def next_exercise(self, preferred: str = "") -> ExerciseOutcome | None:
        """What to work on: the preferred exercise while it does not pass, else the first that fails, else the first to do."""
        open_ones = [exercise for exercise in self.exercises if exercise.status not in ("passed", "skipped")]
        return min(open_ones, key=lambda e: (e.name != preferred, e.status != "failed"), default=None)


def summarise(
    module: Module, counts: dict[str, int], results: Sequence[TestResult], problem: str, seconds: float
) -> ModuleOutcome:
    """The module's outcome from its tests' results; `counts` is how many tests each exercise has."""
    outcomes = (_exercise(e.name, counts.get(e.name, 0), [r for r in results if r.exercise == e.name]) for e in module.exercises)
    return ModuleOutcome(module, tuple(outcomes), problem, seconds)


def _exercise(name: str, tests: int, results: Sequence[TestResult]) -> ExerciseOutcome:
    passed = sum(result.outcome == "passed" for result in results)
    first = _first(results, "failed") or _first(results, "todo")
    if first is None:
        complete = len(results) >= tests > 0
        skipped = complete and not passed
        return ExerciseOutcome(name, "skipped" if skipped else "passed" if complete else "not run", passed, tests)
    waits = [r.waits_for for r in results if r.outcome == "todo"]
    own = first.outcome == "failed" or any(_stub(w) == name for w in waits)
    return ExerciseOutcome(
        name, first.outcome, passed, tests, first.title, first.message, "" if own else waits[0], first.printed
    )


def _first(results: Iterable[TestResult], outcome: str) -> TestResult | None:
    return next((result for result in results if result.outcome == outcome), None)


def _stub(waits_for: str) -> str:
    """`Block.forward in 04_…` → `Block`."""
    return waits_for.partition(" ")[0].partition(".")[0]
