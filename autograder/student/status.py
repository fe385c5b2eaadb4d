"""How the student stands: what the last runs said, what has changed since, what comes next. Nothing is run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from autograder.course import Course, Exercise, Module
from autograder.student.files import digest
from autograder.student.outcome import ExerciseOutcome, ModuleOutcome
from autograder.student.progress import Progress
from autograder.student.written import unwritten


@dataclass(frozen=True)
class Standing:
    """One module as it was at its last run. `stale`: its files have changed since. `ran`: there was a run at all."""

    outcome: ModuleOutcome
    ran: bool
    stale: bool

    @property
    def module(self) -> Module:
        return self.outcome.module

    @property
    def begun(self) -> bool:
        """Whether anything is written, or left of the stubs to be written in another way."""
        return any(exercise.status != "todo" for exercise in self.outcome.exercises)


def standing(course: Course, module: Module, progress: Progress) -> Standing:
    """From the last run and from the text of the file, without running anything."""
    record = progress.record(module)
    stale = record is not None and record.digest != digest(course, module)
    stubs = unwritten(module)
    exercises = []
    for exercise in module.exercises:
        known = record.exercises.get(exercise.name) if record else None
        if exercise.name in stubs and (known is None or stale):
            exercises.append(ExerciseOutcome(exercise.name, "todo"))
        elif known is None or (stale and known.status == "todo"):
            exercises.append(ExerciseOutcome(exercise.name, "not run"))
        else:
            exercises.append(ExerciseOutcome(exercise.name, known.status, known.passed, known.tests, waits_for=known.waits_for))
    problem = record.problem if record and not stale else ""
    return Standing(ModuleOutcome(module, tuple(exercises), problem), record is not None, stale)


def next_step(standings: list[Standing]) -> tuple[Module, Exercise] | None:
    """The first exercise of the course that does not pass; None when all do."""
    for one in standings:
        if found := one.outcome.next_exercise():
            return one.module, one.module.exercise(found.name)
    return None


def as_data(standings: list[Standing]) -> dict[str, Any]:
    """For machines."""
    step = next_step(standings)
    return {
        "schema_version": 1,
        "modules": [
            {
                "id": one.module.id,
                "title": one.module.title,
                "ran": one.ran,
                "stale": one.stale,
                "problem": one.outcome.problem,
                "points": one.outcome.points,
                "exercises": [
                    {
                        "name": exercise.name,
                        "status": exercise.status,
                        "points": one.module.exercise(exercise.name).points,
                        "passed": exercise.passed,
                        "tests": exercise.tests,
                    }
                    for exercise in one.outcome.exercises
                ],
            }
            for one in standings
        ],
        "next": {"module": step[0].id, "exercise": step[1].name} if step else None,
    }
