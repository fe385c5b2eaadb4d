"""A result, checked before anybody is told of it: that it is one, that it is of these files and this course, that it adds up.

The job that posts trusts neither the job that graded nor the way between them.
"""

from __future__ import annotations

from pathlib import Path

from pydantic import ValidationError

from autograder.course import Course, Module
from autograder.intake import Submission
from autograder.reports.results import ModuleResult, Results

RESULTS_BYTES = 32 * 1024 * 1024


class Invalid(Exception):
    """The result cannot be what grading this submission gave; the sentence says why."""


def validated(path: Path, submission: Submission, course: Course) -> Results:
    """The result in the file. Raises `Invalid`."""
    results = _read(path)
    if (results.submission.name, results.submission.digest) != (submission.name, submission.digest):
        raise Invalid("the result is of other files than those that were fetched")
    if results.course.digest != course.digest():
        raise Invalid("the result was made with another state of the course")
    wanted = [item.module for item in submission.modules]
    if [result.id for result in results.modules] != [module.id for module in wanted]:
        raise Invalid("the result is of other modules than those that were to be graded")
    for result, module in zip(results.modules, wanted, strict=True):
        _check(result, module)
    _adds_up(results, results.modules, "the result")
    return results


def _read(path: Path) -> Results:
    try:
        with path.open("rb") as file:
            text = file.read(RESULTS_BYTES + 1)
    except OSError as error:
        raise Invalid(f"the result cannot be read ({error.strerror})") from None
    if len(text) > RESULTS_BYTES:
        raise Invalid("the result is too large")
    try:
        return Results.model_validate_json(text)
    except ValidationError as error:
        raise Invalid(f"the result does not fit its schema ({error.error_count()} entries are wrong)") from None


def _check(result: ModuleResult, module: Module) -> None:
    points = [(exercise.name, exercise.points) for exercise in module.exercises]
    if [(exercise.name, exercise.max_score) for exercise in result.exercises] != points:
        raise Invalid(f"the exercises of {module.id} are not the course's")
    if result.status == "rejected" and result.score:
        raise Invalid(f"{module.id} was not graded and has points")
    for exercise in result.exercises:
        if exercise.score > exercise.max_score or (exercise.status in ("failed", "todo", "policy") and exercise.score):
            raise Invalid(f"{module.id}: {exercise.name} has points that it cannot have")
        if exercise.status == "passed" and exercise.score != exercise.max_score:
            raise Invalid(f"{module.id}: {exercise.name} has passed without all of its points")
        # Each test's points are rounded to hundredths, their sum is not made of the rounded ones.
        if abs(exercise.score - sum(test.points for test in exercise.tests)) > 0.005 * (len(exercise.tests) + 1) + 1e-9:
            raise Invalid(f"{module.id}: the points of {exercise.name} do not add up")
    _adds_up(result, result.exercises, module.id)


def _adds_up(whole, parts, what: str) -> None:
    scores = (round(sum(part.score for part in parts), 2), round(sum(part.max_score for part in parts), 2))
    if scores != (whole.score, whole.max_score):
        raise Invalid(f"the points of {what} do not add up")
