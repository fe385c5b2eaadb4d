"""Named variations of a solution: mutants that must be caught, alternatives that must be accepted, cheats that must
get nothing.
"""

from __future__ import annotations

import ast
import functools
import inspect
import runpy
import textwrap
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path


class VariantError(Exception):
    """A variant that does not fit the solution it varies; the message names the variant."""


@dataclass(frozen=True)
class Variant:
    """One variation. Either `edits` within the exercise's definition, or a new `definition` of it, or a whole `source`."""

    name: str
    exercise: str
    says: str
    kind: str = ""
    edits: tuple[tuple[str, str], ...] = ()
    definition: str = ""
    source: str = ""
    file: str = ""

    def apply(self, solution: str) -> str:
        """The solution's text with this variation in it."""
        if self.source:
            return self.source
        start, end = _span(solution, self)
        lines = solution.splitlines(keepends=True)
        body = "".join(lines[start:end])
        if self.definition:
            body = self.definition + "\n"
        for old, new in self.edits:
            if body.count(old) != 1:
                times = f"{old!r} occurs {body.count(old)} times in {self.exercise}, not once"
                raise VariantError(f"{self.kind} {self.name}: {times}")
            body = body.replace(old, new)
        return "".join(lines[:start]) + body + "".join(lines[end:])


def edit(name: str, exercise: str, says: str, *edits: tuple[str, str], file: str = "") -> Variant:
    """Replace each (old, new) text within the exercise's definition; each old text must occur there exactly once."""
    return Variant(name, exercise, says, edits=tuple(edits), file=file)


def mutant(exercise: str, says: str, file: str = "") -> Callable[[Callable], Callable]:
    """Decorate a wrong definition of the exercise; its own name is the mutant's name."""
    return _marked("mutant", exercise, says, file)


def alternative(exercise: str, says: str, file: str = "") -> Callable[[Callable], Callable]:
    """Decorate an unusual right definition of the exercise; its own name is the alternative's name."""
    return _marked("alternative", exercise, says, file)


def cheat(name: str, says: str, source: str) -> Variant:
    """A whole submission file that must score zero."""
    return Variant(name, "", says, source=textwrap.dedent(source).lstrip("\n"))


def load(path: Path) -> tuple[Variant, ...]:
    """The variants of `mutants.py`, `alternatives.py` or `cheats.py`, in the order of the file; none where there is no file."""
    return _load(path, path.stat().st_mtime_ns) if path.exists() else ()


@functools.cache
def _load(path: Path, changed: int) -> tuple[Variant, ...]:
    kind = path.stem.removesuffix("s")
    namespace = runpy.run_path(str(path))
    found = list(namespace.get(path.stem.upper(), []))
    marked = [value for value in namespace.values() if getattr(value, "__variant__", ("", ""))[0] == kind]
    found += [_from_definition(value) for value in marked if value.__module__ == "<run_path>"]
    names = [variant.name for variant in found]
    repeated = {name for name in names if names.count(name) > 1}
    if repeated:
        raise VariantError(f"{path.name}: more than one {kind} is called {', '.join(sorted(repeated))}")
    return tuple(replace(variant, kind=kind) for variant in found)


def _marked(kind: str, exercise: str, says: str, file: str) -> Callable[[Callable], Callable]:
    def mark(definition: Callable) -> Callable:
        definition.__variant__ = (kind, exercise, says, file)
        definition.__source__ = textwrap.dedent(inspect.getsource(definition))
        return definition

    return mark


def _from_definition(definition: Callable) -> Variant:
    _, exercise, says, file = definition.__variant__
    text = definition.__source__
    node = ast.parse(text).body[0]
    node.decorator_list = [d for d in node.decorator_list if "mutant" not in ast.dump(d) and "alternative" not in ast.dump(d)]
    return Variant(definition.__name__, exercise, says, definition=_renamed(node, exercise), file=file)


def _renamed(node: ast.FunctionDef | ast.ClassDef, name: str) -> str:
    """The definition under the exercise's name; `super(Old, self)` and calls to itself follow."""
    old = node.name
    node.name = name
    for child in ast.walk(node):
        if isinstance(child, ast.Name) and child.id == old:
            child.id = name
    return ast.unparse(node)


def _span(solution: str, variant: Variant) -> tuple[int, int]:
    if variant.exercise not in _spans(solution):
        raise VariantError(f"{variant.kind} {variant.name}: the solution does not define {variant.exercise}")
    return _spans(solution)[variant.exercise]


@functools.lru_cache(16)
def _spans(solution: str) -> dict[str, tuple[int, int]]:
    """From which line to which each function and class of the solution goes, its decorators included."""
    return {
        node.name: (min([node.lineno, *(d.lineno for d in node.decorator_list)]) - 1, node.end_lineno)
        for node in reversed(ast.parse(solution).body)
        if isinstance(node, ast.FunctionDef | ast.ClassDef)
    }
