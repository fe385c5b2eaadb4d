"""Everything that is generated from the solutions: the stubs, and the notebooks of the modules that have a lesson."""

from __future__ import annotations

from pathlib import Path

from autograder.authoring import notebooks, stubs

GenerationError = (stubs.StubError, notebooks.NotebookError, FileNotFoundError)


def sync(course_root: Path, check: bool = False) -> list[Path]:
    """Write what is out of step and return it; with `check` nothing is written. Raises one of `GenerationError`."""
    return [*stubs.sync(course_root, check), *notebooks.notebooks_in_step(course_root, check)]
