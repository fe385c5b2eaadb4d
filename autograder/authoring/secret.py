"""What must not leave the house: solution bodies, hidden tests and what they stand on, known mistakes and unusual answers."""

from __future__ import annotations

import ast
import dis
import re
import types
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

from autograder.authoring.fingerprints import Tokens, nested, statements_of, tokens_of
from autograder.authoring.stubs import BEGIN, END
from autograder.course import OFFERING, Course, Module, secret_seeds

Kind = Literal["solution", "hidden test", "test helper", "variant", "sentence", "seed"]

VARIANTS = ("mutants.py", "alternatives.py", "cheats.py")
SENTENCE_WORDS = 9
PROSE = 0.9  # of a sentence's characters are letters, blanks and plain punctuation; code has more of others

_DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
_WORD = re.compile(r"[^\W\d_]+")
_LOCAL = frozenset({"LOAD_FAST", "STORE_FAST", "DELETE_FAST", "LOAD_DEREF", "STORE_DEREF", "LOAD_CLOSURE"})
_SILENT_CODE = frozenset({"RESUME", "CACHE", "NOP", "PRECALL", "PUSH_NULL", "COPY_FREE_VARS", "MAKE_CELL", "EXTENDED_ARG"})


@dataclass(frozen=True)
class Secret:
    """One part that a release must not hold: what it is called, where it is written, and how it looks."""

    kind: Kind
    name: str
    place: str
    tokens: Tokens
    shapes: tuple[tuple[str, int], ...] = ()
    code: tuple[str, ...] = ()
    text: str = ""

    def __str__(self) -> str:
        return f"the {self.kind} {self.name} ({self.place})"


def secrets_of(course: Course, solved: Iterable[str] = ()) -> tuple[Secret, ...]:
    """Everything secret in the course; the solutions of the modules `solved` are given away and are not."""
    found: list[Secret] = []
    for module in course.modules:
        if module.id not in solved:
            for file in sorted(module.solution_folder.rglob("*.py")):
                if file.name != "lesson.py":
                    found += _bodies(file, course.root)
        for file in sorted(module.suite_folder.rglob("*.py")):
            found += _suite_parts(file, course.root)
    for seed in sorted(secret_seeds(course)):
        found.append(Secret("seed", "grading_seed", str(OFFERING), Tokens((), ()), text=seed))
    return tuple(found)


def public_tests(modules: Iterable[Module]) -> Iterator[Path]:
    """The public tests, which hidden ones may resemble."""
    for module in modules:
        yield from sorted(module.folder.glob("test_*.py"))


def words_of(text: str) -> Tokens:
    """The words of a text in lower case, with their lines."""
    words, lines = [], []
    for number, line in enumerate(text.split("\n"), 1):
        for match in _WORD.finditer(line):
            words.append(match.group().lower())
            lines.append(number)
    return Tokens(tuple(words), tuple(lines))


def code_tokens(code: types.CodeType) -> tuple[str, ...]:
    """Byte code as tokens: the operations with attributes, globals and numbers, whatever the variables are called."""
    tokens = []
    for instruction in dis.get_instructions(code):
        name = instruction.opname
        if name in _SILENT_CODE:
            continue
        if name in _LOCAL or name.startswith(("LOAD_FAST", "STORE_FAST")):
            tokens.append("n")
        elif name == "LOAD_CONST":
            value = instruction.argval
            tokens.append(repr(value) if isinstance(value, int | float | bool | None) else type(value).__name__)
        elif isinstance(instruction.argval, str) and not name.startswith(("JUMP", "POP_JUMP")):
            tokens.append(f"{name} {instruction.argval}")
        else:
            tokens.append(name)
    return tuple(tokens)


def code_objects(code: types.CodeType) -> Iterator[types.CodeType]:
    """A code object and all inside it."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from code_objects(constant)


@cache
def _read(file: Path) -> tuple[str, ast.Module, dict[tuple[str, int], types.CodeType]]:
    text = file.read_text(encoding="utf-8")
    compiled = compile(text, str(file), "exec", dont_inherit=True)
    return text, ast.parse(text), {(code.co_name, code.co_firstlineno): code for code in code_objects(compiled)}


def _bodies(file: Path, root: Path) -> Iterator[Secret]:
    """The marked parts of a solution, each with the function it belongs to."""
    text, tree, codes = _read(file)
    lines, statements = text.split("\n"), list(nested(tree.body))
    begin = 0
    for number, line in enumerate(lines, 1):
        if line.strip() == BEGIN:
            begin = number
        elif line.strip() == END:
            owners = [s for s in statements if isinstance(s, _DEFINITIONS) and s.lineno <= begin <= s.end_lineno]
            yield Secret(
                kind="solution",
                name=".".join(owner.name for owner in owners) or file.stem,
                place=f"{file.relative_to(root).as_posix()}:{begin + 1}",
                tokens=tokens_of("\n".join(lines[begin : number - 1])),
                shapes=tuple(statements_of(_between(statements, begin, number))),
                code=_code(owners[-1], codes) if owners else (),
            )


def _suite_parts(file: Path, root: Path) -> Iterator[Secret]:
    text, tree, codes = _read(file)
    lines = text.split("\n")
    path = file.relative_to(root).as_posix()
    for definition in tree.body:
        if not isinstance(definition, _DEFINITIONS):
            continue
        body = definition.body[1:] if ast.get_docstring(definition) is not None else definition.body
        if not body:
            continue
        kind: Kind = "variant" if file.name in VARIANTS else "test helper"
        if file.name.startswith("test_") and definition.name.startswith("test_"):
            kind = "hidden test"
        yield Secret(
            kind=kind,
            name=definition.name,
            place=f"{path}:{definition.lineno}",
            tokens=tokens_of("\n".join(lines[body[0].lineno - 1 : definition.end_lineno])),
            shapes=tuple(statements_of(body)),
            code=_code(definition, codes),
        )
    if file.name in VARIANTS:
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and "\n" not in node.value:
                words = words_of(node.value)
                if len(words.tokens) >= SENTENCE_WORDS and _is_prose(node.value):
                    yield Secret("sentence", f"{node.value[:40]!r}…", f"{path}:{node.lineno}", words)


def _is_prose(text: str) -> bool:
    plain = sum(character.isalpha() or character in " ,.:;'-" for character in text)
    return text[:1].isupper() and plain >= PROSE * len(text)


def _between(statements: list[ast.stmt], begin: int, end: int) -> list[ast.stmt]:
    """The outermost of a file's statements between two lines."""
    inside = [statement for statement in statements if begin < statement.lineno and statement.end_lineno < end]
    outermost: list[ast.stmt] = []
    for statement in sorted(inside, key=lambda node: (node.lineno, node.col_offset, -node.end_lineno)):
        if not outermost or statement.lineno > outermost[-1].end_lineno:
            outermost.append(statement)
    return outermost


def _code(definition: ast.stmt, codes: dict[tuple[str, int], types.CodeType]) -> tuple[str, ...]:
    first = min([definition.lineno, *(d.lineno for d in definition.decorator_list)])
    code = codes.get((definition.name, first)) or codes.get((definition.name, definition.lineno))
    if code is None:
        return ()
    return tuple(token for part in code_objects(code) for token in code_tokens(part))
