"""What is said about an exercise, at the line where the student wrote it."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from autograder import inert
from autograder.course import Course, CourseError, Module
from autograder.definitions import definition_line
from autograder.reports.results import ExerciseResult, ModuleResult, Results

Level = Literal["failure", "warning", "notice"]

COMMANDS: dict[Level, str] = {"failure": "error", "warning": "warning", "notice": "notice"}
_NAMED_LINE = re.compile(r"([\w/]+\.py), line ([0-9]{1,7})\b")


@dataclass(frozen=True)
class Annotation:
    """A remark at a line (from 1) of a file, whose path is relative to the repository's root."""

    path: str
    line: int
    level: Level
    title: str
    message: str


def annotations(results: Results, course: Course, sources: Mapping[str, str]) -> list[Annotation]:
    """One remark for each exercise that needs work, in course order; a rejected module has one altogether.

    `results` is what a student may see (see `visibility`); `sources` are the submission's texts by path
    (`exercises/NN_name/file.py`). What is not written yet is a notice, what is wrong a warning, a breach of policy and a
    rejected module a failure.
    """
    found = []
    for result in results.modules:
        try:
            module = course.module(result.id)
        except CourseError:
            continue
        found += _module(result, module, sources)
    return found


def commands(remarks: Sequence[Annotation]) -> str:
    """The remarks as GitHub's workflow commands, one a line."""
    lines = [
        inert.command(COMMANDS[each.level], each.message, file=each.path, line=each.line, title=each.title) for each in remarks
    ]
    return "".join(line + "\n" for line in lines)


def _module(result: ModuleResult, module: Module, sources: Mapping[str, str]) -> list[Annotation]:
    if result.status == "rejected":
        file, line = _place_in(result.message, module, module.main_file, sources)
        return [Annotation(_path(module, file), line, "failure", f"{module.id}: not graded", result.message)]
    return [_exercise(each, module, sources) for each in result.exercises if each.status != "passed"]


def _exercise(result: ExerciseResult, module: Module, sources: Mapping[str, str]) -> Annotation:
    known = {exercise.name: module.file_of(exercise) for exercise in module.exercises}
    file = known.get(result.name, module.main_file)
    line = definition_line(sources.get(_path(module, file), ""), result.name) or 1
    if result.status == "policy":
        file, line = _place_in(result.message, module, file, sources, line)
    title = f"{result.name}: {result.score:g} of {result.max_score:g} points"
    if result.status == "todo":
        return Annotation(_path(module, file), line, "notice", title, f"{result.name} is not written yet.")
    level: Level = "failure" if result.status == "policy" else "warning"
    return Annotation(_path(module, file), line, level, title, result.message or f"{result.name} does not pass yet.")


def _place_in(message: str, module: Module, file: str, sources: Mapping[str, str], line: int = 1) -> tuple[str, int]:
    """The file and the line that a sentence names, where they are the module's and there; else those given."""
    for name, number in _NAMED_LINE.findall(message):
        text = sources.get(_path(module, name)) if name in module.files else None
        if text is not None and 1 <= int(number) <= text.count("\n") + 1:
            return name, int(number)
    return file, line


def _path(module: Module, file: str) -> str:
    return f"exercises/{module.id}/{file}"
