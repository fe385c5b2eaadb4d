"""Code as it looks when names, comments and layout do not count: what the leak check compares.

A text becomes a run of tokens. A variable is `n` whatever it is called, a string is `s`; attributes, keywords, builtins,
numbers and operators stay, since they say what the code does. Parentheses, comments and line breaks are left out, so that
the same code in another layout gives the same run. A *shingle* is WIDTH tokens in a row.
"""

from __future__ import annotations

import ast
import builtins
import keyword
import re
from collections.abc import Iterator
from dataclasses import dataclass

WIDTH = 9
TELLING = 2  # tokens of a shingle that say something; a row of bare names and commas is found everywhere

_KEPT = frozenset(keyword.kwlist) | frozenset(name for name in dir(builtins) if name.islower())
_SILENT = frozenset({"n", "s", ",", "=", "[", "]", ":", "{", "}"})
_LEXER = re.compile(
    r"""(?P<comment>\#[^\n\r]*)
    |(?P<string>(?:\b[rbfuRBFU]{1,2})?(?:"(?:\\.|[^"\\\n\r])*"|'(?:\\.|[^'\\\n\r])*'))
    |(?P<name>[^\W\d]\w*)
    |(?P<number>\d[\w.]*)
    |(?P<line>\n)
    |(?P<other>\*\*=?|//=?|==|!=|<=|>=|->|:=|[-+*/@%&|^]=|\.\.\.|[^\s\w])""",
    re.VERBOSE,
)
_TRIPLE = re.compile(r'(?:\b[rbfuRBFU]{1,2})?("""|\'\'\')')
_DROPPED = frozenset("()\\;`\"'")


@dataclass(frozen=True)
class Tokens:
    """A normalised text: its tokens and the line that each stands in, counted from 1."""

    tokens: tuple[str, ...]
    lines: tuple[int, ...]

    def shingles(self) -> Iterator[tuple[int, tuple[str, ...]]]:
        """Every run of WIDTH tokens that says something, with the place where it begins."""
        telling = [token not in _SILENT for token in self.tokens]
        count = sum(telling[:WIDTH])
        for start in range(len(self.tokens) - WIDTH + 1):
            if count >= TELLING:
                yield start, self.tokens[start : start + WIDTH]
            if start + WIDTH < len(telling):
                count += telling[start + WIDTH] - telling[start]


def tokens_of(text: str) -> Tokens:
    """The normalised tokens of any text, Python or not."""
    tokens: list[str] = []
    lines: list[int] = []
    line, after_dot = 1, False
    for match in _LEXER.finditer(_TRIPLE.sub(" ", text)):
        kind, value = match.lastgroup, match.group()
        if kind == "line":
            line += 1
            continue
        if kind == "comment" or value in _DROPPED:
            continue
        if kind == "name":
            token = _attribute(value) if after_dot else value if value in _KEPT else "n"
        elif kind == "string":
            token = "s"
        elif kind == "number":
            token = _number(value)
        elif value in "]}" and tokens and tokens[-1] == ",":
            tokens[-1], token = value, ""
        else:
            token = value
        if after_dot and tokens and tokens[-1] == "." and kind == "name":
            tokens.pop()
            lines.pop()
        after_dot = value == "."
        if token:
            tokens.append(token)
            lines.append(line)
    return Tokens(tuple(tokens), tuple(lines))


def _number(text: str) -> str:
    """A number by its value where it is a whole one: 0xC0 and 192 are the same."""
    try:
        return str(int(text, 0))
    except ValueError:
        return text


def _attribute(name: str) -> str:
    return "._" if name.startswith("_") else f".{name}"


def statements_of(body: list[ast.stmt]) -> list[tuple[str, int]]:
    """Each simple statement and each head of a compound one, at any depth, normalised, with the number of its nodes."""
    return [_shape(node) for node in nested(body) if not isinstance(node, _PLAIN)]


def nested(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """The statements and all inside them, outer ones first. Expressions hold none, and are most of a tree."""
    for statement in body:
        yield statement
        for name in _BLOCKS:
            inside = getattr(statement, name, None)
            if inside:
                yield from nested(inside)
        for part in (*getattr(statement, "handlers", ()), *getattr(statement, "cases", ())):
            yield from nested(part.body)


_BLOCKS = ("body", "orelse", "finalbody")
_PLAIN = (ast.Pass, ast.Import, ast.ImportFrom, ast.Global, ast.Nonlocal)
_NESTED = ("body", "orelse", "finalbody", "handlers", "cases", "decorator_list", "returns", "annotation")


def _shape(node: ast.AST) -> tuple[str, int]:
    """The node as text without names, nested statements and annotations; and how many nodes that is."""
    if isinstance(node, ast.Name):
        return (node.id if node.id in _KEPT else "n"), 1
    if isinstance(node, ast.Constant):
        return ("s" if isinstance(node.value, str) else repr(node.value)), 1
    if isinstance(node, ast.JoinedStr):
        return "s", 1
    if isinstance(node, ast.arg):
        return "n", 1
    if isinstance(node, ast.Attribute):
        inside, size = _shape(node.value)
        return f"{inside}{_attribute(node.attr)}", size + 1
    parts, total = [], 1
    for name, value in ast.iter_fields(node):
        if name in ("ctx", "type_comment", "kind", "name", "type_params") or (isinstance(node, ast.stmt) and name in _NESTED):
            continue
        for item in value if isinstance(value, list) else [value]:
            if isinstance(item, ast.AST):
                text, size = _shape(item)
                parts.append(text)
                total += size
    return f"{type(node).__name__}({' '.join(parts)})", total
