"""Which test caught each mutant the last time: `verify` tries that one first, and the others only where it passes.

What stands in the file decides how long a proof takes, never how it ends.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from autograder.course import Module

FIRST_LINE = "# Written by `autograder verify --note`: each mutant of mutants.py, and the test that is tried first on it."


def read(module: Module) -> dict[str, str]:
    """The test's name by the mutant's; empty where nothing was noted yet."""
    path = _path(module)
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    pairs = (line.partition(" ") for line in lines if not line.startswith("#"))
    return {mutant: test for mutant, _, test in pairs}


def write(module: Module, caught_by: Mapping[str, str]) -> None:
    """Note them all, by name; nothing where no mutant was caught."""
    if caught_by:
        lines = [FIRST_LINE, *(f"{mutant} {test}" for mutant, test in sorted(caught_by.items()))]
        _path(module).write_text("\n".join(lines) + "\n", encoding="utf-8")


def _path(module: Module) -> Path:
    return module.suite_folder / "caught_by.txt"
