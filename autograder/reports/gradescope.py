"""A result as the `results.json` that Gradescope reads: one entry for each exercise, its text shown as it is."""

import json

from autograder.reports.results import ExerciseResult, ModuleResult, Results


def gradescope(results: Results) -> str:
    """The document; `results` is what the student may see."""
    tests = [_entry(module, exercise) for module in results.modules for exercise in module.exercises]
    rejected = [f"{module.id}: {module.message}" for module in results.modules if module.status == "rejected"]
    document = {
        "score": results.score,
        "output": "\n".join([f"{results.score:g} of {results.max_score:g} points", *rejected]),
        "output_format": "text",
        "test_output_format": "text",
        "test_name_format": "text",
        "visibility": "visible",
        "stdout_visibility": "hidden",  # what grading prints is for staff
        "tests": tests,
    }
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def _entry(module: ModuleResult, exercise: ExerciseResult) -> dict[str, object]:
    return {
        "name": f"{module.id}: {exercise.name}",
        "score": exercise.score,
        "max_score": exercise.max_score,
        "status": "passed" if exercise.status == "passed" else "failed",
        "output": "to do" if exercise.status == "todo" else exercise.message,
    }
