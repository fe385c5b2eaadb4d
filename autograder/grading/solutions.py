"""The solutions' files: as a submission would have them, and beside a submission that builds on their modules."""

from __future__ import annotations

import functools
import marshal

from autograder.course import Course, Module
from autograder.intake import as_handed_in


def solution_files(module: Module) -> dict[str, str]:
    """The module's solution as a submission would be: it builds on `exercises`, not on `solutions`."""
    texts = {name: (module.solution_folder / name).read_text(encoding="utf-8") for name in module.files}
    return {name: as_handed_in(text) for name, text in texts.items()}


def with_dependencies(
    module: Module, files: dict[str, str], own: dict[str, dict[str, str]], course: Course
) -> tuple[dict[str, str], list[str]]:
    """The module's files with those of every module it builds on, and the ids of those where the solution had to stand in."""
    together: dict[str, str] = {}
    substituted = []
    for needed in course.built_on(module):
        if needed.id in own:
            together |= own[needed.id]
        else:
            together |= solution_files(needed)
            substituted.append(needed.id)
    return together | files, substituted


def compiled_solutions(module: Module, course: Course) -> dict[str, tuple[str, bytes]]:
    """Text and byte code of every solution that a worker for this module may get, by the file's name.

    Most of what makes a worker is compiling, and most of what it compiles are the course's own files.
    """
    files, _ = with_dependencies(module, solution_files(module), {}, course)
    return {name: (text, code) for name, text in files.items() if (code := byte_code_of(name, text))}


@functools.cache
def byte_code_of(name: str, text: str) -> bytes:
    """The byte code, or nothing where there is none: what is wrong is said where the file is imported."""
    try:
        return marshal.dumps(compile(text.encode(), name, "exec", dont_inherit=True))
    except (SyntaxError, ValueError):
        return b""
