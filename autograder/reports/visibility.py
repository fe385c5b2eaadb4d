"""A result as a student may see it: what a hidden test says is the instructor's choice.

| `show_hidden` | of a hidden test a student sees |
| --- | --- |
| `"nothing"` | nothing: the exercise's points say that something is missing |
| `"title"` | its name, its title, its outcome, and the mistake where it is a known one |
| `"message"` | all of this and what the test said |

What is said about the student's own file (a rejected module, a forbidden call) and about public tests is always shown.
"""

from typing import Literal

from autograder.reports.results import ExerciseResult, ModuleResult, Results, TestResult

ShowHidden = Literal["nothing", "title", "message"]
UNSEEN = "A hidden test of this exercise does not pass yet: read its docstring again and try unusual inputs."


def visible(results: Results, show_hidden: ShowHidden) -> Results:
    """The result with what a student may not see taken out. Scores, statuses and public tests stay as they are."""
    if show_hidden == "message":
        return results
    return results.model_copy(update={"modules": [_module(module, show_hidden) for module in results.modules]})


def _module(module: ModuleResult, show_hidden: ShowHidden) -> ModuleResult:
    keep = module.status == "rejected"  # its tests did not run, and all that is said is about the submission
    exercises = [_exercise(exercise, show_hidden, keep) for exercise in module.exercises]
    return module.model_copy(update={"exercises": exercises})


def _exercise(exercise: ExerciseResult, show_hidden: ShowHidden, keep_message: bool) -> ExerciseResult:
    tests = [_shown(test, show_hidden) for test in exercise.tests]
    shown = [test for test in tests if test is not None]
    keep = keep_message or exercise.status == "policy"
    message = exercise.message if keep else _advice(exercise, shown)
    return exercise.model_copy(update={"message": message, "tests": shown})


def _shown(test: TestResult, show_hidden: ShowHidden) -> TestResult | None:
    if test.tier == "public":
        return test
    return None if show_hidden == "nothing" else test.model_copy(update={"message": ""})


def _advice(exercise: ExerciseResult, shown: list[TestResult]) -> str:
    """What to read first, made anew of what may be seen; the message there is where that is among it."""
    if not exercise.message:
        return ""
    missed = [test for test in shown if test.outcome != "passed"]
    named = [test.diagnosis for test in missed if test.diagnosis]
    said = [test.message for test in missed if test.message.strip()]
    if exercise.message in (*named, *said):
        return exercise.message
    titles = [f"A hidden test does not pass: {test.title or test.name}" for test in missed if test.tier == "hidden"]
    return (named or said or titles or [UNSEEN])[0]
