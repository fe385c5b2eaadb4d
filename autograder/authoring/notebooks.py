"""Notebooks from lessons: `solutions/NN_name/lesson.py` and the solution become one notebook, for instructors and for students.

The lesson (py:percent, read by jupytext) has the prose and the experiments, and says where an exercise stands; the code comes
from the solution file, so that it exists once. The instructor's notebook has nbgrader's marks: exercises are solution cells,
given code is locked, and each exercise is followed by a graded cell that runs its public tests. nbgrader's own preprocessors make
the student's notebook from it. Both depend on the lesson, the solution and `module.toml` alone, to the byte.

A module of several files has its main file in the notebook; the others stay files.
"""

from __future__ import annotations

import argparse
import ast
import copy
import functools
import importlib.util
import os
import re
import shutil
import symtable
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autograder.authoring import stubs
from autograder.course import Course, CourseError, Exercise, Module, load_course

if TYPE_CHECKING:
    from nbformat import NotebookNode

LESSON = "lesson.py"
KERNEL = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
CELL_SECONDS = 120

_MARKER = re.compile(r"exercise +([A-Za-z_]\w*)|given")
_TITLE_LIKE_MARKER = re.compile(r"\s*(exercise|given)\b", re.IGNORECASE)


class NotebookError(ValueError):
    """A lesson from which no notebook can be made; the message names the file and, where it helps, the cell."""


@dataclass(frozen=True)
class _Piece:
    """A piece of the solution file: a definition by its name, or something else."""

    name: str | None
    text: str


def out_of_step(modules: Sequence[Module]) -> stubs.OutOfStep:
    """The student notebooks of these modules that are not those of their lessons.

    A generated notebook whose lesson is gone is to be removed. Raises NotebookError, and StubError for a solution without a stub.
    """
    lessons = [module for module in modules if _lesson(module).is_file()]
    if lessons:
        _need_libraries()
    wanted = {_target(module): to_bytes(student_notebook(module)) for module in lessons}
    written = {target: content for target, content in wanted.items() if not target.is_file() or target.read_bytes() != content}
    stale = (target for module in modules if (target := _target(module)) not in wanted and target.is_file())
    return stubs.OutOfStep(written, tuple(target for target in stale if b'"generated_from"' in target.read_bytes()))


def _need_libraries() -> None:
    missing = [name for name in ("jupytext", "nbgrader") if importlib.util.find_spec(name) is None]
    if missing:
        raise NotebookError(f"notebooks are made with {' and '.join(missing)}: pip install -c constraints.txt -e '.[notebooks]'")


def instructor_notebook(module: Module) -> NotebookNode:
    """The notebook for nbgrader's `source/` folder: solutions between their markers, graded cells with points, no outputs.

    Raises NotebookError for a lesson that does not fit its solution.
    """
    from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

    solution = _solution(module)
    before, written = _pieces(module, solution)
    bound = set(_bound(solution))
    cells = []
    numbered: Counter[str] = Counter()

    def add(kind: str, make: Any, source: str, **marks: Any) -> None:
        nbgrader = {"nbgrader": {**marks, "schema_version": 3, "task": False}} if marks else {}
        numbered[kind] += 1
        name = marks["grade_id"].replace("_", "-") if marks else f"{kind}-{numbered[kind]}"
        cells.append(make(source, id=name[:64], metadata=nbgrader))

    def add_before(exercise: str | None) -> None:
        for piece in before.pop(exercise, ()):
            if piece.name:  # to be written by the student, too, and without points of its own
                add("helper", new_code_cell, piece.text, grade=False, grade_id=piece.name, locked=False, solution=True)
            elif piece.text:
                grade_id = f"given_{numbered['given'] + 1}"
                add("given", new_code_cell, piece.text, grade=False, grade_id=grade_id, locked=True, solution=False)

    def add_exercise(exercise: Exercise, text: str | None) -> None:
        name = exercise.name
        if text is not None:
            add(name, new_code_cell, text, grade=False, grade_id=name, locked=False, solution=True)
        test = f'from autograder.testing.cells import check\n\ncheck("{module.id}", "{name}")'
        marks = {"grade": True, "grade_id": f"check_{name}", "locked": True, "points": exercise.points, "solution": False}
        add("check", new_code_cell, test, **marks)

    names = list(written)
    for number, cell in enumerate(_lesson_cells(module), start=1):
        where = f"{_lesson_path(module)}, cell {number}"
        title = cell.metadata.get("title", "")
        marker = _MARKER.fullmatch(title) if cell.cell_type == "code" else None
        odd = _TITLE_LIKE_MARKER.match(title) or set(cell.metadata) - {"title", "lines_to_next_cell"}
        if marker is None and odd:
            raise NotebookError(f"{where}: a cell begins with '# %%', '# %% [markdown]', '# %% given' or '# %% exercise NAME'")
        if marker is None and cell.cell_type == "markdown":
            add("text", new_markdown_cell, cell.source)
        elif marker is None:
            for name in sorted(bound & set(_bound(cell.source, where))):
                raise NotebookError(f"{where}: defines {name}, which is a name of the solution file; choose another")
            if cell.source.strip():
                add("code", new_code_cell, cell.source)
        elif cell.source.strip():
            raise NotebookError(f"{where}: '# %% {title}' is a whole cell; begin another with '# %%'")
        elif title == "given":
            add_before(names[0] if names else None)
        elif names and marker[1] == names[0]:
            add_before(marker[1])
            add_exercise(module.exercise(marker[1]), written[names.pop(0)])
        else:
            expected = f"the next exercise of the solution file is {names[0]}" if names else "all exercises have their cells"
            raise NotebookError(f"{where}: no place for exercise {marker[1]}: {expected}")
    if names:
        raise NotebookError(f"{_lesson_path(module)}: no cell '# %% exercise {names[0]}'")
    add_before(None)
    for exercise in module.exercises:
        if module.file_of(exercise) != module.main_file:
            add("text", new_markdown_cell, f"`{exercise.name}` is written in the file `{module.file_of(exercise)}`.")
            add_exercise(exercise, None)
    sources = [_lesson_path(module), f"solutions/{module.id}/{module.main_file}"]
    course = {"generated_by": "autograder sync", "generated_from": sources, "module": module.id}
    metadata = {"autograder": course, "kernelspec": dict(KERNEL), "language_info": {"name": "python"}}
    return _preprocessed(new_notebook(cells=cells, metadata=metadata), "CheckCellMetadata")


def student_notebook(module: Module) -> NotebookNode:
    """The instructor's notebook without solutions: what `nbgrader generate_assignment` makes, with the stub's own TODOs."""
    notebook = _preprocessed(instructor_notebook(module), "LockCells", "ClearSolutions", "ClearOutput")
    stub = stubs.stub_source(_solution(module, raw=True), f"solutions/{module.id}/{module.main_file}")
    before, todo = _pieces(module, stub)
    todo |= {piece.name: piece.text for pieces in before.values() for piece in pieces if piece.name}
    for cell in notebook.cells:
        if cell.metadata.get("nbgrader", {}).get("solution"):
            cell.source = todo[cell.metadata.nbgrader.grade_id]
    return _preprocessed(notebook, "ComputeChecksums", "CheckCellMetadata")


def to_bytes(notebook: NotebookNode) -> bytes:
    """The notebook as its file holds it: sorted keys, one space of indent, a newline at the end."""
    import nbformat

    return (nbformat.writes(notebook).rstrip("\n") + "\n").encode()


def executed(notebook: NotebookNode, course: Course, module: Module, allow_errors: bool = False) -> NotebookNode:
    """A copy of the notebook, run from top to bottom in a copy of the course's exercises with the solutions in place.

    Raises nbclient's CellExecutionError when a cell does not end well, unless `allow_errors` leaves that in its output. Only
    for notebooks of our own: nothing confines it.
    """
    from nbclient import NotebookClient

    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        shutil.copytree(course.root / "exercises", root / "exercises", ignore=shutil.ignore_patterns("*.ipynb", "__pycache__"))
        for other in course.modules:
            for source in (other.solution_folder / file for file in other.files):
                if source.is_file():
                    name = source.relative_to(course.root / "solutions").as_posix()
                    text = _from_exercises(source.read_text(encoding="utf-8"), f"solutions/{name}")
                    (root / "exercises" / name).write_text(text, encoding="utf-8")
        path = os.pathsep.join(filter(None, [str(root), os.environ.get("PYTHONPATH")]))
        here = {"metadata": {"path": str(root / "exercises" / module.id)}}
        client = NotebookClient(
            copy.deepcopy(notebook),
            timeout=CELL_SECONDS,
            kernel_name=KERNEL["name"],
            allow_errors=allow_errors,
            extra_arguments=["--log-level=ERROR"],  # a kernel warns of its own means of transport
            resources=here,
        )
        return client.execute(env={**os.environ, "PYTHONPATH": path})


def _target(module: Module) -> Path:
    return (module.folder / module.main_file).with_suffix(".ipynb")


def _lesson(module: Module) -> Path:
    return module.solution_folder / LESSON


def _lesson_path(module: Module) -> str:
    return f"solutions/{module.id}/{LESSON}"


def _lesson_cells(module: Module) -> list[NotebookNode]:
    import jupytext

    text = _lesson(module).read_text(encoding="utf-8")
    if not text.startswith("# %%"):
        raise NotebookError(f"{_lesson_path(module)}: begins with a cell, '# %% [markdown]'; nothing stands before it")
    return jupytext.reads(text, fmt="py:percent").cells


def _solution(module: Module, raw: bool = False) -> str:
    """The main file's solution; it builds on `exercises` unless it is `raw`."""
    text = (module.solution_folder / module.main_file).read_text(encoding="utf-8")
    return text if raw else _from_exercises(text, f"solutions/{module.id}/{module.main_file}")


@functools.cache
def _from_exercises(text: str, path: str) -> str:
    return stubs.import_from_exercises(text, path, list(range(1, text.count("\n") + 2)))


def _pieces(module: Module, text: str) -> tuple[dict[str | None, list[_Piece]], dict[str, str]]:
    """The file's text in pieces: what stands before each exercise (None: after the last), and each exercise's definition.

    `text` is the solution's or the stub's.
    """
    exercises = {exercise.name for exercise in module.exercises if module.file_of(exercise) == module.main_file}
    path = f"solutions/{module.id}/{module.main_file}"
    solution = _split(_solution(module))
    to_write = {piece.name for piece in solution if stubs.BEGIN in piece.text} | exercises
    if None in to_write:
        raise NotebookError(f"{path}: a solution block outside of a definition has no place in a notebook")
    if missing := sorted(exercises - {piece.name for piece in solution}):
        raise NotebookError(f"{path}: has no definition of {missing[0]}")
    before: dict[str | None, list[_Piece]] = {}
    written: dict[str, str] = {}
    waiting: list[_Piece] = []
    for piece in _split(text):
        if piece.name in exercises:
            before[piece.name], waiting = waiting, []
            written[piece.name] = piece.text.strip("\n")
        elif piece.name in to_write:
            waiting.append(_Piece(piece.name, piece.text.strip("\n")))
        elif waiting and waiting[-1].name is None:
            waiting[-1] = _Piece(None, f"{waiting[-1].text}\n{piece.text}".strip("\n"))
        else:
            waiting.append(_Piece(None, piece.text.strip("\n")))
    before[None] = waiting
    return before, written


def _split(text: str) -> list[_Piece]:
    """The top-level statements in order, with the comments above them; the module's docstring is left out."""
    lines = text.split("\n")
    body = ast.parse(text).body
    done = 0
    if body and isinstance(body[0], ast.Expr) and isinstance(body[0].value, ast.Constant):
        done = body.pop(0).end_lineno
    pieces = []
    for statement, after in zip(body, [*body[1:], None]):
        between = range(statement.end_lineno, after.lineno - 1 if after else len(lines))
        # Indented comments below a definition, such as END SOLUTION, are part of it.
        end = max((line + 1 for line in between if lines[line][:1].isspace()), default=statement.end_lineno)
        pieces.append(_Piece(getattr(statement, "name", None), "\n".join(lines[done:end])))
        done = end
    return [*pieces, _Piece(None, "\n".join(lines[done:]))]


def _bound(code: str, where: str = "") -> Iterator[str]:
    """The names that code binds at its top level otherwise than by importing them."""
    try:
        table = symtable.symtable(code, where or "solution", "exec")
    except SyntaxError as error:
        raise NotebookError(f"{where}: does not parse (line {error.lineno}: {error.msg}); magics are not allowed") from None
    for symbol in table.get_symbols():
        if symbol.is_assigned() and not symbol.is_imported():
            yield symbol.get_name()


def _preprocessed(notebook: NotebookNode, *names: str) -> NotebookNode:
    """The notebook after nbgrader's preprocessors of these names."""
    import nbgrader.preprocessors

    for name in names:
        notebook, _ = getattr(nbgrader.preprocessors, name)().preprocess(notebook, {})
    return notebook


def main(arguments: list[str] | None = None) -> None:
    """Build one notebook: `python -m autograder.authoring.notebooks 01 --execute OUT.ipynb`."""
    parser = argparse.ArgumentParser(prog="python -m autograder.authoring.notebooks", description="Build one module's notebook.")
    parser.add_argument("module", help="the module: 01, its folder or its file's name")
    kinds = parser.add_mutually_exclusive_group(required=True)
    kinds.add_argument("--execute", type=Path, metavar="OUT", help="with the solutions, run from top to bottom")
    kinds.add_argument("--instructor", type=Path, metavar="OUT", help="for nbgrader's source folder")
    kinds.add_argument("--student", type=Path, metavar="OUT", help="as `autograder sync` writes it")
    chosen = parser.parse_args(arguments)
    try:
        course = load_course()
        module = course.module(chosen.module)
        notebook = student_notebook(module) if chosen.student else instructor_notebook(module)
        if chosen.execute:
            notebook = executed(notebook, course, module)
        out = chosen.execute or chosen.instructor or chosen.student
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_bytes(to_bytes(notebook))
    except CourseError as error:
        parser.exit(2, f"autograder: {error}\n")
    except (NotebookError, stubs.StubError) as error:
        parser.exit(1, f"autograder: {error}\n")
    except OSError as error:  # there is no lesson, or OUT cannot be written
        parser.exit(2, f"autograder: {error.filename}: {error.strerror}\n")


if __name__ == "__main__":
    main()
