"""Which files of the package a student needs: what their commands, tests and notebooks import, and what that imports."""

from __future__ import annotations

import ast
import json
from collections.abc import Iterable, Iterator
from pathlib import Path

# What only staff need. Nothing that a student has may import from here.
STAFF = ("authoring", "benchmarks", "ci", "grading", "milestones", "nbgrader", "reports", "samples", "suites")
ROOTS = (
    "autograder/__main__.py", "autograder/cli.py", "autograder/data.py", "autograder/testing/__init__.py",
    "autograder/testing/plugin.py",
)  # fmt: skip
ROOT_FOLDERS = ("autograder/student",)
# The command line names commands whose code a release leaves out; it offers those that are there.
COMMAND_LINE = "autograder/cli.py"


class LeftOutError(Exception):
    """Something that a release holds imports what it leaves out; the message names both."""


def needed_files(house: Path, outside: Iterable[Path]) -> list[Path]:
    """The package's files that `outside` (tests, stubs and notebooks) and a student's commands need, sorted.

    Raises LeftOutError where one of them needs a file that is for staff only.
    """
    todo = [house / root for root in ROOTS if (house / root).is_file()]
    for folder in ROOT_FOLDERS:
        todo += sorted((house / folder).rglob("*.py"))
    found: set[Path] = set()
    for file in outside:
        for module, line in imports_of(file, ""):
            todo += _files(house, module, f"{file.name}, line {line}")
    while todo:
        file = todo.pop()
        if file in found:
            continue
        found.add(file)
        path = file.relative_to(house).as_posix()
        package = path.rpartition("/")[0].replace("/", ".")
        for module, line in imports_of(file, package):
            if not (path == COMMAND_LINE and _is_staff(module)):
                todo += _files(house, module, f"{path}, line {line}")
    return sorted(found)


def imports_of(file: Path, package: str) -> Iterator[tuple[str, int]]:
    """Every module that a file imports, anywhere in it, with the line; `from a import b` gives `a` and `a.b`.

    Of a notebook, which imports as its code cells do, the lines count through all of these.
    """
    text = file.read_text(encoding="utf-8")
    if file.suffix == ".ipynb":
        text = "\n".join("".join(cell["source"]) for cell in json.loads(text)["cells"] if cell["cell_type"] == "code")
    for node in ast.walk(ast.parse(text, str(file))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, node.lineno
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*parents, *([base] if base else [])])
            yield base, node.lineno
            for alias in node.names:
                yield f"{base}.{alias.name}", node.lineno


def _files(house: Path, module: str, where: str) -> list[Path]:
    """The files that importing the module runs, of this package."""
    parts = module.split(".")
    if parts[0] != "autograder":
        return []
    if _is_staff(module):
        raise LeftOutError(f"{where}: imports {module}, which a release leaves out")
    files = []
    for length in range(1, len(parts) + 1):
        place = house.joinpath(*parts[:length])
        files += [file for file in (place / "__init__.py", place.with_suffix(".py")) if file.is_file()]
    return files


def _is_staff(module: str) -> bool:
    parts = module.split(".")
    return parts[0] == "autograder" and len(parts) > 1 and parts[1] in STAFF
