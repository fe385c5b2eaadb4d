"""Which other exercises the tests of an exercise call: one that reads what another wrote cannot pass where that is broken."""

from __future__ import annotations

import ast
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

MODULES = ("student", "module")  # what tests and scenarios call the code under test
NO_TESTS = ("mutants.py", "alternatives.py", "cheats.py")


@dataclass
class _File:
    """A file of a suite: its functions and classes, and what other files' names it has."""

    functions: dict[str, ast.FunctionDef | ast.ClassDef] = field(default_factory=dict)
    imported: dict[str, tuple[str, str]] = field(default_factory=dict)  # a name → a file's stem, and a name in it


def used_by_tests(folders: Iterable[Path], exercises: Iterable[str]) -> dict[str, list[str]]:
    """By exercise, the others that its tests call: `student.name`, `module.name`, there or in a scenario or helper of the suite.

    It is read off the source, so what is only looked up by a computed name is not seen.
    """
    found: dict[str, set[str]] = {exercise: set() for exercise in exercises}
    for folder in folders:
        files = {path.stem: _read(path) for path in sorted(folder.glob("*.py")) if path.name not in NO_TESTS}
        for stem, file in files.items():
            for function in file.functions.values():
                if (exercise := _tested(function)) in found:
                    found[exercise] |= _called(stem, function, files) & found.keys() - {exercise}
    return {exercise: sorted(others) for exercise, others in found.items()}


def _read(path: Path) -> _File:
    file = _File()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            file.functions[node.name] = node
        elif isinstance(node, ast.ImportFrom) and node.level == 1 and node.module:
            file.imported |= {alias.asname or alias.name: (node.module, alias.name) for alias in node.names}
    return file


def _tested(function: ast.FunctionDef | ast.ClassDef) -> str:
    """The exercise of a test: what its `@exercise("name", …)` names."""
    for mark in function.decorator_list:
        if isinstance(mark, ast.Call) and getattr(mark.func, "id", "") == "exercise" and mark.args:
            return str(getattr(mark.args[0], "value", ""))
    return ""


def _called(stem: str, test: ast.AST, files: dict[str, _File]) -> set[str]:
    """The names that the test, and what it refers to in its suite, call on the code under test."""
    calls: set[str] = set()
    seen, todo = set(), [(stem, test)]
    for stem, function in todo:
        referred = []
        for node in ast.walk(function):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                if node.value.id in MODULES:
                    calls.add(node.attr)
                referred.append((node.value.id, node.attr))  # probes.losses
            elif isinstance(node, ast.Name):
                referred.append(files[stem].imported.get(node.id, (stem, node.id)))
        for place in referred:
            if place not in seen and place[0] in files and place[1] in files[place[0]].functions:
                seen.add(place)
                todo.append((place[0], files[place[0]].functions[place[1]]))
    return calls
