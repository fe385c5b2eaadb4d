"""A student's module, imported; and, where that fails, the few lines that say why."""

from __future__ import annotations

import importlib
import sys
import traceback
from pathlib import Path
from types import ModuleType

from autograder.course import Module
from autograder.testing import messages


class LoadFailure(Exception):
    """The student's file cannot be imported. The message names the file, the line and the reason."""


def load_student(module: Module, root: Path) -> ModuleType:
    """The student's file of `module` as `exercises.<stem>`.

    `LoadFailure` says why it cannot be imported; a stub that is called by the import itself raises what stubs raise.
    """
    name = f"exercises.{module.dotted}"
    try:
        return importlib.import_module(name)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # a file may raise anything while it is imported, SystemExit too
        if messages.todo(error):
            raise
        raise LoadFailure(explain(error, module, root)) from error


def explain(error: BaseException, module: Module, root: Path) -> str:
    """Why the import of the module's main file failed: the reason, then the line of a student's file that it stopped at."""
    file = module.main_file
    if isinstance(error, ModuleNotFoundError) and f"exercises.{module.dotted}.".startswith(f"{error.name}."):
        return f"{file} is not there: put it back at exercises/{module.id}/{file}"
    if isinstance(error, SyntaxError) and error.filename:
        text = (error.text or "").strip()
        place = f"{Path(error.filename).name}, line {error.lineno}"
        return f"Python cannot read {Path(error.filename).name}: {error.msg}\n  {place}" + (f": {text}" if text else "")
    what = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    if isinstance(error, SystemExit):
        what = "it ends the program (sys.exit), which no exercise needs"
    return f"{file} cannot be imported: {what}" + _place(error, root)


def _place(error: BaseException, root: Path) -> str:
    exercises = (root / "exercises").resolve()
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        path = Path(frame.filename)
        if path.is_file() and exercises in path.resolve().parents and not path.name.startswith("test_"):
            return f"\n  {path.name}, line {frame.lineno}: {frame.line}"
    return ""


class Loader:
    """Imports each module once in a session; a failure is remembered, so that a slow import is not tried for every test."""

    def __init__(self) -> None:
        self._failures: dict[str, BaseException] = {}

    def load(self, module: Module, root: Path) -> ModuleType:
        """As `load_student`, remembered."""
        if module.id in self._failures and f"exercises.{module.dotted}" not in sys.modules:
            raise self._failures[module.id].with_traceback(None)
        try:
            return load_student(module, root)
        except Exception as error:
            self._failures[module.id] = error
            raise
