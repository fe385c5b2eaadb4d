"""The autograded notebook: the submitted cells' texts, the released cells that nbgrader locks, and what the tests said."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from autograder.notebook import Cell

if TYPE_CHECKING:
    from nbformat import NotebookNode

KERNEL = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
MISSING = "# This cell was missing from the submission.\n"


@dataclass(frozen=True)
class Released:
    """A named cell, as the gradebook has it from `nbgrader generate_assignment`; `points` are None where it is not graded."""

    name: str
    kind: str
    source: str
    checksum: str | None
    locked: bool
    solution: bool
    task: bool
    points: float | None


def autograded(submitted: Sequence[Cell], released: Sequence[Released], reports: Mapping[str, str]) -> bytes:
    """The notebook's file. `reports` has what stands below a graded cell, by the cell's name.

    Every released cell is in it once: where it was handed in (the last of its name), else behind its exercise, else at the end.
    Of a submission nothing is taken over but the cells' kinds and texts.
    """
    import nbformat
    from nbformat.v4 import new_notebook

    known = {cell.name: cell for cell in released}
    last = {cell.grade_id: cell.number for cell in submitted if cell.grade_id in known}
    placed: list[tuple[str, NotebookNode]] = []
    for cell in submitted:
        if last.get(cell.grade_id) == cell.number:
            of = known[cell.grade_id]
            placed.append((of.name, _marked(of, of.source if of.locked else cell.source, reports)))
        else:
            placed.append(("", _plain(cell.kind, cell.source)))
    for of in sorted(released, key=lambda cell: cell.points is not None):  # exercises before their graded cells
        if of.name not in last:
            there = [i for i, (name, _) in enumerate(placed, start=1) if name and of.name.endswith(f"_{name}")]
            source = of.source if of.locked or of.kind != "code" else MISSING + of.source
            placed.insert(there[-1] if there else len(placed), (of.name, _marked(of, source, reports)))
    cells = [cell for _, cell in placed]
    for number, cell in enumerate(cells):
        cell["id"] = f"cell-{number:04}"
    metadata = {"kernelspec": dict(KERNEL), "language_info": {"name": "python"}}
    notebook = new_notebook(cells=cells, metadata=metadata)
    return (nbformat.writes(notebook).rstrip("\n") + "\n").encode("utf-8", "replace")


def _plain(kind: str, source: str) -> NotebookNode:
    from nbformat import v4

    make = {"code": v4.new_code_cell, "markdown": v4.new_markdown_cell, "raw": v4.new_raw_cell}[kind]
    return make(source.encode("utf-8", "replace").decode())


def _marked(of: Released, source: str, reports: Mapping[str, str]) -> NotebookNode:
    from nbformat.v4 import new_output

    cell = _plain(of.kind, source)
    marks = {
        "cell_type": of.kind, "checksum": of.checksum, "grade": of.points is not None and not of.task, "grade_id": of.name,
        "locked": of.locked, "schema_version": 3, "solution": of.solution, "task": of.task,
    }  # fmt: skip
    cell.metadata["nbgrader"] = marks | ({} if of.points is None else {"points": of.points})
    if of.kind == "code" and of.name in reports:
        cell["outputs"] = [new_output("stream", name="stdout", text=reports[of.name] + "\n")]
    return cell
