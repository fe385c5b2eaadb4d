"""A student's file and the course's new stub of it, made into one: what is written stays, what is not comes from the stub.

What is new goes where it stands in the stub: imports at the top, a definition or constant before the one that it precedes.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from itertools import takewhile

from autograder.student.manifest import Definition, Part, assigned, parts_of

_IMPORTS = (ast.Import, ast.ImportFrom)
_MERGED = (*_IMPORTS, ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)  # and constants


class Refused(Exception):
    """The upgrade would lose work or break it; nothing was changed. One reason a line."""

    def __init__(self, reasons: list[str]):
        super().__init__("\n".join(reasons))
        self.reasons = reasons


def merge(mine: str, old: Mapping[str, Definition], stub: str, path: str) -> tuple[str, list[str]]:
    """The student's file with what the new stub brings and the student has not touched; and what to say about it.

    Raises:
        Refused: the signature of something written has changed.
        SyntaxError: the student's file does not parse.
    """
    written, wanted = parts_of(mine), parts_of(stub)
    replaced: dict[str, str] = {}
    added: list[str] = []
    notes: list[str] = []
    reasons: list[str] = []
    for name, part in wanted.items():
        before, have = old.get(name), written.get(name)
        if part.definition().text in (before and before.text, have and have.definition().text):
            continue  # the course has not changed it, or it is there already
        if have is None:
            added.append(name)
            notes.append(f"{path}: {name} is new")
        elif before and have.definition().text == before.text:
            replaced[name] = part.text
            untouched = "you had not begun it" if part.unwritten else "yours was as it came"
            notes.append(f"{path}: {name} has changed; {untouched}")
        else:
            for function, signature in part.signatures.items():
                was, yours = (before.signatures if before else {}).get(function), have.signatures.get(function)
                if signature not in (was, yours):
                    reasons.append(_signature_reason(path, function, yours, signature))
            notes.append(f"{path}: the course has changed {name} around your code; compare it with new/ in the backup folder")
    if reasons:
        raise Refused(reasons)
    lines = mine.rstrip("\n").split("\n")
    for name in sorted(replaced, key=lambda name: written[name].first, reverse=True):
        lines[written[name].first - 1 : written[name].last] = replaced[name].split("\n")
    text = _with_imports("\n".join(lines) + "\n", stub)
    for name in added:
        text = _placed(text, wanted, name)
    compile(text, path, "exec", dont_inherit=True)
    notes += [
        f"{path}: the course's file has `{words} …` outside functions and classes, and yours has not: "
        "compare it with new/ in the backup folder"
        for words in _not_merged(mine, stub)
    ]
    return text, notes


def _placed(text: str, wanted: Mapping[str, Part], name: str) -> str:
    """The text with a new definition before the one that it precedes in the stub, which may need it."""
    have, names, new = parts_of(text), list(wanted), wanted[name]
    following = next((have[other] for other in names[names.index(name) + 1 :] if other in have), None)
    if following is None:
        return f"{text}\n\n{new.text}\n"
    lines = text.split("\n")
    at = following.first - 1
    while at and lines[at - 1].startswith("#"):
        at -= 1  # a comment above a definition belongs to it
    gap = ["", ""] if new.signatures or following.signatures else []
    return "\n".join([*lines[:at], new.text, *gap, *lines[at:]])


def _signature_reason(path: str, function: str, yours: str | None, wanted: str) -> str:
    have = f"yours is {yours}" if yours else "your file has none of that name"
    return (
        f"{path}: the signature of {function} changed under your code: it is {wanted} now, {have}. "
        "Change yours to the new one and upgrade again"
    )


def _with_imports(text: str, stub: str) -> str:
    """The text with the imports that the stub has and the text lacks, below those at its top."""
    body = ast.parse(text).body
    have = {ast.dump(node) for node in body}
    missing = [node for node in ast.parse(stub).body if isinstance(node, _IMPORTS) and ast.dump(node) not in have]
    docstring = list(takewhile(_is_text, body[:1]))
    top = [*docstring, *takewhile(lambda node: isinstance(node, _IMPORTS), body[len(docstring) :])]
    lines = text.split("\n")
    for above, first in ((top, False), (docstring, True)):  # nothing but the docstring may stand above a __future__ import
        at = above[-1].end_lineno if above else 0
        chosen = [node for node in missing if (getattr(node, "module", "") == "__future__") == first]
        lines[at:at] = [ast.get_source_segment(stub, node) for node in chosen]
    return "\n".join(lines)


def _not_merged(mine: str, stub: str) -> list[str]:
    """What else the stub has at its top level and the student's file lacks, in its first words: `try: import triton`, say."""
    have = {ast.dump(node) for node in ast.parse(mine).body}
    others = [node for node in ast.parse(stub).body if not (isinstance(node, _MERGED) or assigned(node) or _is_text(node))]
    return [" ".join(ast.unparse(node).split()[:6]) for node in others if ast.dump(node) not in have]


def _is_text(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
