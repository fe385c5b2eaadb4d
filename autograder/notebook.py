"""A submitted notebook becomes the text of the module that it defines. Nothing of it is run, and nothing in it is trusted.

Taken are the exercises' cells and the given ones, which nbgrader's metadata names, or, where that is gone, the exercises'
definitions wherever they stand; and of the rest of the notebook the definitions that these use. Of an exercise's cell its
definitions are taken, with the variables that they use: trying things out there does no harm. As in a kernel that ran all
cells from top to bottom, the last definition of a name counts, and a cell that is not Python spoils no other.
"""

from __future__ import annotations

import ast
import json
import re
import symtable
import sys
from collections import defaultdict
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from autograder.course import CourseError, load_course
from autograder.policy.source import SyntaxProblem, parse
from autograder.sources import FILE_BYTES, Refusal, size

FROM_CELLS = "# From the cells of "
UNREADABLE = "Python cannot read cell "
NOTEBOOK_BYTES = 8 * 1024 * 1024
NOTEBOOK_CELLS = 5_000
NAMED = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
IMPORTS = ast.Import | ast.ImportFrom

_MAGIC = re.compile(r"[%!?]|[\w.]+\?{1,2}[ \t]*\Z")  # %time, !ls, ?name, name??
_BOUND_MAGIC = re.compile(r"=[ \t]*[%!]")  # files = !ls
_MAGICS_OF_PYTHON = ("%%time", "%%capture")  # cell magics whose cell is Python and binds its names as any other does
_NBGRADER_STUB = re.compile(r"(# YOUR CODE HERE\n\s*raise NotImplementedError)\(\)")


@dataclass(frozen=True)
class Cell:
    """A cell as far as it is believed. `number` counts from 1; `grade_id` and `role` come from nbgrader's metadata."""

    number: int
    kind: str  # "code", "markdown" or "raw"
    source: str
    grade_id: str = ""
    role: str = ""  # "solution", "given" (locked), "grade" (a test) or ""


@dataclass(frozen=True)
class _Statement:
    """A top-level statement: where it stands, its text, the names it binds, the names it mentions."""

    place: tuple[int, int]
    text: str
    tree: ast.stmt
    binds: frozenset[str]
    uses: frozenset[str]
    role: str


def read_cells(data: bytes, name: str) -> list[Cell]:
    """The cells of a notebook (nbformat 4). Refusal says what is wrong with it."""
    if len(data) > NOTEBOOK_BYTES:
        raise Refusal(f"{name} is larger than {size(NOTEBOOK_BYTES)}: clear its outputs and hand it in again.")
    if not data.strip():
        raise Refusal(f"{name} is empty: save your work into it and hand it in again.")
    try:
        notebook = json.loads(data.decode("utf-8-sig"))
    except (ValueError, RecursionError, MemoryError):
        raise Refusal(f"{name} is not a notebook, or it is damaged: open it in Jupyter, save it and hand it in again.") from None
    if not isinstance(notebook, dict) or notebook.get("nbformat") != 4 or not isinstance(notebook.get("cells"), list):
        raise Refusal(f"{name} is not a notebook of format 4: open it in a current Jupyter, save it and hand it in again.")
    if len(notebook["cells"]) > NOTEBOOK_CELLS:
        raise Refusal(f"{name} has more than {NOTEBOOK_CELLS} cells: hand in the notebook of the module.")
    return [_cell(cell, number, name) for number, cell in enumerate(notebook["cells"], start=1)]


def module_text(data: bytes, name: str, exercises: Collection[str]) -> str:
    """The Python file that the notebook `name` amounts to: imports, what is given, and the exercises of these names.

    Raises:
        Refusal: it is no readable notebook, it is too large, or it has none of the exercises.
    """
    cells = [cell for cell in read_cells(data, name) if cell.kind == "code"]
    if sum(len(cell.source) for cell in cells) > FILE_BYTES:
        raise Refusal(f"{name} has more than {size(FILE_BYTES)} of code: keep data out of it.")
    statements: list[_Statement] = []
    broken: list[_Statement] = []
    for cell in cells:
        role = "solution" if cell.grade_id in exercises else cell.role
        if role == "grade":
            continue
        tree, source = _parsed(cell.source)
        if isinstance(tree, ast.Module):
            statements += _statements(tree, source, cell.number, role)
        elif role == "given":
            raise Refusal(f"{name}, cell {cell.number}: Python cannot read this given cell: put back what stood there.")
        else:
            broken += _stand_ins(cell, tree, exercises)
    defined = {exercise for exercise in exercises if any(exercise in statement.binds for statement in statements)}
    taken = _taken([*statements, *(stand_in for stand_in in broken if not stand_in.binds & defined)], exercises)
    if not any(statement.binds & set(exercises) for statement in taken):
        raise Refusal(f"{name} has no exercise of this module: it would define {', '.join(list(exercises)[:3])}, …")
    return _written(sorted(taken, key=lambda statement: statement.place), statements, name, exercises)


def yields_to_notebook(text: str, exercises: Collection[str]) -> bool:
    """Whether a module's file holds nothing that its notebook does not: it was made from it, or every exercise is still to do."""
    todo = (rf"""NotImplementedError\(["']TODO: {exercise}[."']""" for exercise in exercises)
    return text.startswith(FROM_CELLS) or all(re.search(pattern, text) for pattern in todo)


def _cell(cell: Any, number: int, name: str) -> Cell:
    if not isinstance(cell, dict):
        raise Refusal(f"{name}, cell {number} is damaged: open the notebook in Jupyter, save it and hand it in again.")
    kind, source, metadata = cell.get("cell_type"), cell.get("source", ""), cell.get("metadata")
    if isinstance(source, list) and all(isinstance(line, str) for line in source):
        source = "".join(source)
    if kind not in ("code", "markdown", "raw") or not isinstance(source, str):
        raise Refusal(f"{name}, cell {number} is damaged: open the notebook in Jupyter, save it and hand it in again.")
    marks = metadata.get("nbgrader") if isinstance(metadata, dict) else None
    marks = marks if isinstance(marks, dict) else {}
    grade_id = marks.get("grade_id")
    ways = {"solution": "solution", "grade": "grade", "locked": "given"}
    role = next((role for mark, role in ways.items() if marks.get(mark) is True), "")
    source = source.replace("\r\n", "\n").replace("\r", "\n")
    return Cell(number, kind, source, grade_id if isinstance(grade_id, str) else "", role)


def _parsed(source: str) -> tuple[ast.Module | SyntaxProblem, str]:
    """A code cell's tree and the text it was made from: lines that only IPython understands become `pass`."""
    first, _, rest = source.lstrip().partition("\n")
    if first.startswith("%%"):
        source = "\n" + rest if first.split()[0] in _MAGICS_OF_PYTHON else ""
    tree = _tree(source)
    if isinstance(tree, SyntaxProblem):
        plain = "\n".join(map(_without_magic, source.split("\n")))
        again = _tree(plain)
        if isinstance(again, ast.Module):
            return again, plain
    return tree, source


def _without_magic(line: str) -> str:
    """The line, or `pass` where only IPython understands it. Takes time in proportion to the line's length, whatever it is."""
    rest = line.lstrip(" \t")
    if _MAGIC.match(rest) or _BOUND_MAGIC.search(re.split("[#'\"]", rest, maxsplit=1)[0]):
        return line[: len(line) - len(rest)] + "pass"
    return line


def _tree(source: str) -> ast.Module | SyntaxProblem:
    tree = parse("cell", source)
    if isinstance(tree, ast.Module):
        try:
            symtable.symtable(source, "cell", "exec")  # refuses what parsing lets pass, such as a stray nonlocal
        except SyntaxError as error:
            return SyntaxProblem(error.lineno or 0, error.msg)
        except (RecursionError, MemoryError):
            return SyntaxProblem(0, "the code is nested too deeply")
    return tree


def _statements(tree: ast.Module, source: str, cell: int, role: str) -> Iterator[_Statement]:
    lines = source.split("\n")
    encoded = [line.encode() for line in lines]
    body = tree.body
    starts = [min([node.lineno, *(d.lineno for d in getattr(node, "decorator_list", []))]) for node in body]
    for i, (node, start) in enumerate(zip(body, starts)):
        text = "\n".join(lines[start - 1 : node.end_lineno])
        if (i and body[i - 1].end_lineno == start) or (i + 1 < len(body) and starts[i + 1] == node.end_lineno):
            text = _between(encoded, node)  # another statement stands on one of its lines
        yield _Statement((cell, i), text, node, frozenset(_bound(node)), frozenset(_global_names(text)), role)


def _between(encoded: list[bytes], node: ast.stmt) -> str:
    part = encoded[node.lineno - 1 : node.end_lineno]
    part[-1] = part[-1][: node.end_col_offset]
    part[0] = part[0][node.col_offset :]
    return b"\n".join(part).decode()


def _bound(node: ast.AST) -> Iterator[str]:
    """The names that a statement binds or changes in the module: `f`, `f.attribute = …` and `f[0] = …` all count for `f`."""
    nodes = [node]
    while nodes:
        node = nodes.pop()
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                yield node.name
                continue
            case ast.Import() | ast.ImportFrom():
                yield from (alias.asname or alias.name.partition(".")[0] for alias in node.names)
            case ast.Name(ctx=ast.Store() | ast.Del()):
                yield node.id
            case ast.Attribute(ctx=ast.Store()) | ast.Subscript(ctx=ast.Store()):
                root: ast.AST = node
                while isinstance(root, ast.Attribute | ast.Subscript):
                    root = root.value
                if isinstance(root, ast.Name):
                    yield root.id
        nodes += ast.iter_child_nodes(node)


def _global_names(text: str) -> Iterator[str]:
    """The module's and the builtin names that a statement mentions, in its functions too; not what is local to these."""
    tables = [symtable.symtable(text, "statement", "exec")]
    while tables:
        table = tables.pop()
        in_module = table.get_type() == "module"
        for symbol in table.get_symbols():
            if symbol.is_referenced() and (in_module or symbol.is_global()):
                yield symbol.get_name()
        tables += table.get_children()


def _stand_ins(cell: Cell, problem: SyntaxProblem, exercises: Collection[str]) -> Iterator[_Statement]:
    """For each exercise in a cell that is not Python, a function that says so when it is called."""
    names = {cell.grade_id} | set(re.findall(r"^(?:def|class)\s+(\w+)", cell.source, re.MULTILINE))
    line = f", line {problem.line}" if problem.line else ""
    says = ascii(f"{UNREADABLE}{cell.number}{line}: {problem.message}"[:300])
    for i, name in enumerate(exercise for exercise in exercises if exercise in names):
        text = f"def {name}(*args, **kwargs):\n    raise SyntaxError({says})"
        yield _Statement((cell.number, i), text, ast.parse(text).body[0], frozenset([name]), frozenset(), "solution")


def _taken(statements: list[_Statement], exercises: Collection[str]) -> set[_Statement]:
    """The statements that the module is made of: those that belong to it, and, from these on, what they use."""
    home = [s for s in statements if s.role == "given" or _belongs(s, exercises)]
    known = {name for s in home for name in s.binds}
    by_name: dict[str, list[_Statement]] = defaultdict(list)
    for statement in statements:
        if isinstance(statement.tree, NAMED | IMPORTS) or statement.role == "solution" or _is_plain_value(statement.tree):
            for name in statement.binds:
                by_name[name].append(statement)
    taken = set(home)
    waiting = list(home)
    while waiting:
        for name in waiting.pop().uses:
            for statement in by_name.pop(name, ()):
                # What an experiment calls by the same name as the module does is none of the module's business.
                if statement not in taken and (statement.role == "solution" or name not in known):
                    taken.add(statement)
                    waiting.append(statement)
    return taken


def _belongs(statement: _Statement, exercises: Collection[str]) -> bool:
    is_exercise = not statement.binds.isdisjoint(exercises)
    if statement.role == "solution":
        return is_exercise or isinstance(statement.tree, NAMED | IMPORTS)
    return is_exercise and isinstance(statement.tree, NAMED)


def _is_plain_value(node: ast.stmt) -> bool:
    """An assignment that calls nothing: a constant, a lambda, a table of numbers."""
    return isinstance(node, ast.Assign | ast.AnnAssign) and not any(isinstance(part, ast.Call) for part in ast.walk(node))


def _written(taken: list[_Statement], all_statements: list[_Statement], name: str, exercises: Collection[str]) -> str:
    features = {alias.name for s in all_statements if _is_future(s.tree) for alias in s.tree.names}
    parts = [f"{FROM_CELLS}{PurePosixPath(name).name}."]
    parts += [f"from __future__ import {feature}" for feature in sorted(features)]
    cell = 0
    for statement in taken:
        if _is_future(statement.tree):
            continue
        if statement.place[0] != cell:
            cell = statement.place[0]
            parts.append(f"\n\n# cell {cell}")
        text = statement.text
        for exercise in statement.binds & set(exercises):  # nbgrader's stubs do not say whose they are
            text = _NBGRADER_STUB.sub(rf'\1("TODO: {exercise}")', text)
        parts.append(text)
    return "\n".join(parts) + "\n"


def _is_future(node: ast.stmt) -> bool:
    return isinstance(node, ast.ImportFrom) and node.module == "__future__" and not node.level


def main() -> None:
    """Write the notebook's module beside it, so that later modules can import it: `python -m autograder.notebook FILE.ipynb`."""
    if len(sys.argv) != 2 or not sys.argv[1].endswith(".ipynb"):
        print("usage: python -m autograder.notebook FILE.ipynb", file=sys.stderr)
        sys.exit(2)
    path = Path(sys.argv[1])
    if not path.is_file():
        sys.exit(f"{path}: there is no such file")
    try:
        module = load_course().module(path.stem)
        names = [exercise.name for exercise in module.exercises if module.file_of(exercise) == module.main_file]
        text = module_text(path.read_bytes(), path.name, names)
    except (CourseError, OSError, Refusal) as error:
        sys.exit(f"{path.name}: {error}")
    target = path.with_name(PurePosixPath(module.main_file).name)
    if target.exists() and not yields_to_notebook(target.read_text(encoding="utf-8"), names):
        sys.exit(f"{target.name} has work of its own in it, which would be lost: move it away first")
    target.write_text(text, encoding="utf-8")
    print(f"written: {target}")


if __name__ == "__main__":
    main()
