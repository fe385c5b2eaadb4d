"""What the student's last runs said and which hints were shown, kept in `.autograder/progress.json` of their checkout.

The file is theirs to delete. One that cannot be read, or that a newer version wrote, is put aside, and a new one is begun.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, NonNegativeInt, ValidationError

from autograder.course import Module
from autograder.student.outcome import ExerciseOutcome, ModuleOutcome

FOLDER = ".autograder"
FILE = "progress.json"


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ExerciseRecord(_Record):
    """One exercise at its last run."""

    status: Literal["passed", "failed", "todo", "skipped", "not run"]
    passed: NonNegativeInt = 0
    tests: NonNegativeInt = 0
    waits_for: str = ""


class ModuleRecord(_Record):
    """One module's last run. `digest` is of the files that decided it: the student's, those it builds on, the tests."""

    digest: str
    problem: str = ""
    exercises: dict[str, ExerciseRecord]


class _File(_Record):
    schema_version: Literal[1] = 1
    modules: dict[str, ModuleRecord] = {}
    hints: dict[str, dict[str, NonNegativeInt]] = {}


@dataclass
class Progress:
    """The student's progress; `remember` and `hint_shown` write it at once.

    `notice` says what was wrong with the file, if anything.
    """

    root: Path
    notice: str = ""
    _content: _File = field(default_factory=_File)

    def record(self, module: Module) -> ModuleRecord | None:
        """The module's last run, if there was one."""
        return self._content.modules.get(module.id)

    def hints_shown(self, module: Module, exercise: str) -> int:
        """How many hints of the exercise the student has seen."""
        return self._content.hints.get(module.id, {}).get(exercise, 0)

    def remember(self, outcome: ModuleOutcome, digest: str) -> None:
        """Keep what a finished run said of files with this digest (taken before the run)."""
        exercises = {exercise.name: _record(exercise) for exercise in outcome.exercises}
        record = ModuleRecord(digest=digest, problem=_encodable(outcome.problem), exercises=exercises)
        modules = {**self._reread().modules, outcome.module.id: record}
        self._write(self._content.model_copy(update={"modules": modules}))

    def hint_shown(self, module: Module, exercise: str, level: int) -> None:
        """Remember that the first `level` hints were shown."""
        hints = self._reread().hints
        hints = {**hints, module.id: {**hints.get(module.id, {}), exercise: level}}
        self._write(self._content.model_copy(update={"hints": hints}))

    def _reread(self) -> _File:
        """What another process may have written in the meantime."""
        self._content, notice = _read(self.root)
        self.notice = self.notice or notice
        return self._content

    def _write(self, content: _File) -> None:
        self._content = content
        folder = self.root / FOLDER
        passing = folder / f".{FILE}.{os.getpid()}"
        try:
            folder.mkdir(exist_ok=True)
            if not (folder / ".gitignore").exists():
                (folder / ".gitignore").write_text("*\n", encoding="utf-8")
            passing.write_text(content.model_dump_json(indent=1) + "\n", encoding="utf-8")
            os.replace(passing, folder / FILE)
        except OSError as error:
            self.notice = f"progress could not be kept in {FOLDER}/{FILE}: {error.strerror}"


def load_progress(root: Path) -> Progress:
    """The progress in this checkout; an empty one where there is none or where it cannot be read."""
    content, notice = _read(root)
    return Progress(root, notice, content)


def _read(root: Path) -> tuple[_File, str]:
    path = root / FOLDER / FILE
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return _File(), ""
    except (OSError, UnicodeDecodeError):
        return _File(), _put_aside(path, "cannot be read")
    try:
        return _File.model_validate_json(text), ""
    except ValidationError:
        return _File(), _put_aside(path, "is of a newer version" if _newer(text) else "is damaged")


def _newer(text: str) -> bool:
    try:
        version = json.loads(text).get("schema_version")
    except (ValueError, AttributeError, RecursionError):
        return False
    return isinstance(version, int) and version > 1


def _put_aside(path: Path, why: str) -> str:
    shown = f"{FOLDER}/{FILE}"
    try:
        os.replace(path, path.with_suffix(".json.old"))
    except OSError:
        return f"{shown} {why}, and progress starts anew"
    return f"{shown} {why}: it is now {FILE}.old, and progress starts anew"


def _record(exercise: ExerciseOutcome) -> ExerciseRecord:
    waits_for = _encodable(exercise.waits_for)
    return ExerciseRecord(status=exercise.status, passed=exercise.passed, tests=exercise.tests, waits_for=waits_for)


def _encodable(text: str) -> str:
    """The text with `?` for halves of a surrogate pair, which a student's error may quote and UTF-8 cannot say."""
    return text.encode("utf-8", "replace").decode()
