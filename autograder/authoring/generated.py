"""Everything that is generated from the solutions: the stubs, and the notebooks of the modules that have a lesson."""

from __future__ import annotations

from collections.abc import Container
from pathlib import Path

from autograder.authoring import notebooks, stubs

GenerationError = (stubs.StubError, notebooks.NotebookError, FileNotFoundError)


def sync(course_root: Path, check: bool = False, modules: Container[str] | None = None) -> list[Path]:
    """Write what is out of step and return it; with `check` nothing is written. Raises one of `GenerationError`.

    Notebooks are made for all modules, or for those whose ids are in `modules`.
    """
    return [*stubs.sync(course_root, check), *notebooks.notebooks_in_step(course_root, check, modules)]
