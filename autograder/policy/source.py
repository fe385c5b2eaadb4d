"""Student source → syntax tree, or the place and the reason why there is none."""

from __future__ import annotations

import ast
import contextlib
import io
import re
import sys
import threading
import tokenize
import warnings
from dataclasses import dataclass

_one_at_a_time = threading.Lock()  # catch_warnings changes state that all threads share

LONG = 30_000  # characters: in a shorter text, no number of names and functions takes Python long
FIELDS = 10_000  # in the f-strings of a file: before Python 3.12, to parse one takes the square of their number
NAMES_IN_FUNCTIONS = 10_000_000  # to find what each name of each function belongs to takes a second for 4 millions


@dataclass(frozen=True)
class SyntaxProblem:
    """Why a file does not parse: `line` counts from 1 (0: no line in particular)."""

    line: int
    message: str


def parse(file: str, text: str) -> ast.Module | SyntaxProblem:
    """The syntax tree of `text`. Whatever the text, this returns: it raises nothing and warns of nothing."""
    if sys.version_info < (3, 12) and text.count("{") > FIELDS and (line := _flood_of_fields(text)):
        return SyntaxProblem(line, "too many fields in f-strings")
    try:
        with _one_at_a_time, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(text, filename=file)
    except SyntaxError as error:
        return SyntaxProblem(error.lineno or 0, error.msg or "invalid syntax")
    except (RecursionError, MemoryError):
        return SyntaxProblem(0, "the code is nested too deeply")
    except (ValueError, OverflowError) as error:  # such as NUL bytes, where Python does not call that a SyntaxError
        return SyntaxProblem(0, str(error))
    return SyntaxProblem(0, "too many names and functions") if len(text) > LONG and _is_flood(tree) else tree


def _flood_of_fields(text: str) -> int:
    """The line of the f-string with which all of them together have too many fields; 0 where they have not."""
    fields = 0
    with contextlib.suppress(tokenize.TokenError, SyntaxError, ValueError):  # Python's parser says it better
        for token in tokenize.generate_tokens(io.StringIO(text).readline):
            if token.type == tokenize.STRING and _F_STRING.match(token.string):
                fields += token.string.count("{")
                if fields > FIELDS:
                    return token.start[0]
    return 0


_F_STRING = re.compile(r"[rR]?[fF]")


def _is_flood(tree: ast.Module) -> bool:
    """Whether the compiler, which hands all names around a function on to it, would take long for so many of both."""
    functions, names = 1, 1
    for node in ast.walk(tree):
        functions += isinstance(node, _WITH_NAMES_OF_THEIR_OWN)
        names += isinstance(node, ast.Name | ast.arg | ast.alias) and not isinstance(getattr(node, "ctx", None), ast.Load)
    return functions * names > NAMES_IN_FUNCTIONS


_WITH_NAMES_OF_THEIR_OWN = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda, ast.ListComp, ast.SetComp,
                            ast.DictComp, ast.GeneratorExp)  # fmt: skip
