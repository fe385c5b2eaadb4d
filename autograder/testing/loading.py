"""A student's module, imported; and, where that fails, the few lines that say why."""

from __future__ import annotations

import ast
import importlib
import sys
import traceback
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from types import ModuleType

from autograder.course import Module, load_course
from autograder.intake import text_of
from autograder.sources import FILE_BYTES, Refusal
from autograder.testing import messages


class LoadFailure(Exception):
    """The student's file cannot be imported. The message names the file, the line and the reason."""


def load_student(module: Module, root: Path) -> ModuleType:
    """The student's file of `module` as `exercises.<stem>`.

    `LoadFailure` says why it cannot be imported; a stub that is called by the import itself raises what stubs raise.
    """
    name = f"exercises.{module.dotted}"
    if name not in sys.modules:
        _check_files(module, root)
    try:
        return importlib.import_module(name)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # a file may raise anything while it is imported, SystemExit too
        if messages.todo(error):
            raise
        raise LoadFailure(explain(error, module, root)) from error


def _check_files(module: Module, root: Path) -> None:
    """What would keep the module from being graded at all is said here as well, though Python itself would read the file."""
    for file in module.files:
        try:
            with open(root / "exercises" / module.id / file, "rb") as opened:
                text = text_of(file, opened.read(FILE_BYTES + 1))
        except FileNotFoundError:
            continue
        except (Refusal, OSError) as error:
            raise LoadFailure(str(error)) from None
        if imported := _of_other_modules(text):
            course = load_course(root)
            absent = _names(course.modules) - _names([module, *course.built_on(module)])
            for name, line in imported:
                if name in absent:
                    said = f"exercises.{name} is not there when this module is graded, which does not build on it"
                    raise LoadFailure(f"{file}, line {line}: {said}")


def _of_other_modules(text: str) -> list[tuple[str, int]]:
    """`x` and the line of every `import exercises.x` and `from exercises.x import …` that the file begins with."""
    try:
        statements = ast.parse(text).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return []
    found = []
    for node in statements:
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and not node.level:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        found += [(name.split(".")[1], node.lineno) for name in names if name.startswith("exercises.")]
    return found


def _names(modules: Iterable[Module]) -> set[str]:
    """What stands after `exercises.` in imports of their files."""
    return {PurePosixPath(file).parts[0].removesuffix(".py") for module in modules for file in module.files}


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
