"""The peer: the one-exercise course as an nbgrader course in a folder, and `nbgrader autograde` on its submissions."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import one_exercise

ASSIGNMENT, NOTEBOOK = "ps1", "softmax"
MISSING = (
    "nbgrader and ipykernel are not installed, so the one-exercise course has no peer. They are in the extra `test`: "
    "pip install -c constraints.txt -e '.[test]'"
)


def available() -> bool:
    """Whether nbgrader can run here."""
    return all(importlib.util.find_spec(name) for name in ("nbgrader", "ipykernel"))


@dataclass(frozen=True)
class Autograded:
    """What `nbgrader autograde` did: the whole command, from its first submission on, and the scores it wrote."""

    seconds: float
    warm_seconds: float
    scores: list[float]


def make_course(root: Path, names: list[str]) -> None:
    """Write the source notebook, let nbgrader make the release from it, and hand in a right answer for every name."""
    import nbformat
    from nbformat.v4 import new_code_cell, new_notebook

    def cell(name: str, text: str, **kind: bool | int):
        marks = {"grade": False, "solution": False, "locked": False, "task": False, **kind}
        return new_code_cell(text, metadata={"nbgrader": {"grade_id": name, "schema_version": 3, **marks}})

    notebook = new_notebook(
        cells=[
            cell("imports", one_exercise.IMPORTS.strip(), locked=True),
            cell("softmax", one_exercise.HEAD + one_exercise.MARKED_ANSWER.rstrip(), solution=True),
            cell("checks", one_exercise.cell_of_checks(), grade=True, locked=True, points=100),
        ],
        metadata={"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}},
    )
    source = root / "source" / ASSIGNMENT / f"{NOTEBOOK}.ipynb"
    source.parent.mkdir(parents=True)
    nbformat.write(notebook, source)
    (root / "nbgrader_config.py").write_text(
        "c = get_config()\n"
        "c.CourseDirectory.course_id = 'benchmark'\n"
        f"c.CourseDirectory.root = {str(root)!r}\n"
    )
    for _ in _nbgrader(root, "generate_assignment", ASSIGNMENT):
        pass
    for name in names:
        handed_in = nbformat.read(root / "release" / ASSIGNMENT / f"{NOTEBOOK}.ipynb", as_version=4)
        (answer,) = (cell for cell in handed_in.cells if cell.metadata.nbgrader.solution)
        answer.source = one_exercise.HEAD + one_exercise.ANSWER.rstrip()
        path = root / "submitted" / name / ASSIGNMENT / f"{NOTEBOOK}.ipynb"
        path.parent.mkdir(parents=True)
        nbformat.write(handed_in, path)


def autograde(root: Path, names: list[str], progress: Callable[[int], None]) -> Autograded:
    """Grade all that was handed in. `progress` is told how many notebooks are begun."""
    from nbgrader.api import Gradebook

    start, first, begun = time.monotonic(), 0.0, 0
    for line in _nbgrader(root, "autograde", ASSIGNMENT):
        if "Creating/updating student" in line and not first:
            first = time.monotonic()
        if "Autograding" in line:
            begun += 1
            progress(begun)
    end = time.monotonic()
    with Gradebook(f"sqlite:///{root / 'gradebook.db'}") as book:
        scores = [book.find_submission(ASSIGNMENT, name).score for name in names]
    if not first:
        raise RuntimeError("nbgrader's log no longer says when it begins with a submission")
    return Autograded(end - start, end - first, scores)


def _nbgrader(root: Path, *arguments: str):
    """Run nbgrader in `root`, with every file of its own below it; yield the lines of its log."""
    own = {name: str(root / name.lower()) for name in ("HOME", "IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR")}
    own["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"  # nbgrader calls `alembic` by name
    command = [sys.executable, "-m", "nbgrader", *arguments]
    said = []
    with subprocess.Popen(
        command, cwd=root, env={**os.environ, **own}, text=True, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    ) as process:  # fmt: skip
        for line in process.stdout:
            said.append(line)
            yield line
    if process.returncode:
        raise RuntimeError(f"nbgrader {arguments[0]} failed:\n{''.join(said[-20:])}")
