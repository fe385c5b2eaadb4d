"""Everything that is generated from the solutions: the stubs, and the notebooks of the modules that have a lesson."""

from __future__ import annotations

from collections.abc import Container
from pathlib import Path

from autograder.authoring import notebooks, stubs
from autograder.course import CourseError, Module, load_course

GenerationError = (stubs.StubError, notebooks.NotebookError, FileNotFoundError)


def without_solution(module: Module) -> list[str]:
    """A line for each file of the module that has no solution."""
    absent = [name for name in module.files if not (module.solution_folder / name).is_file()]
    return [f"solutions/{module.id}/{name} is missing (module.toml names it)" for name in absent]


def sync(course_root: Path, check: bool = False, modules: Container[str] | None = None) -> stubs.OutOfStep:
    """Mend what is out of step and return it; with `check` nothing is changed. All of it is made before anything is changed.

    All modules need solutions and get notebooks, or those whose ids are in `modules`. Raises CourseError where a solution is
    missing, and one of `GenerationError`.
    """
    found = stubs.out_of_step(course_root)
    chosen = [module for module in load_course(course_root).modules if modules is None or module.id in modules]
    if missing := [line for module in chosen for line in without_solution(module)]:
        raise CourseError("\n".join(missing))
    more = notebooks.out_of_step(chosen)
    both = stubs.OutOfStep({**found.written, **more.written}, (*found.removed, *more.removed))
    if not check:
        both.mend()
    return both
