"""Student source → syntax tree, or the place and the reason why there is none."""

from __future__ import annotations

import ast
import threading
import warnings
from dataclasses import dataclass

_one_at_a_time = threading.Lock()  # catch_warnings changes state that all threads share


@dataclass(frozen=True)
class SyntaxProblem:
    """Why a file does not parse: `line` counts from 1 (0: no line in particular)."""

    line: int
    message: str


def parse(file: str, text: str) -> ast.Module | SyntaxProblem:
    """The syntax tree of `text`. Whatever the text, this returns: it raises nothing and warns of nothing."""
    try:
        with _one_at_a_time, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ast.parse(text, filename=file)
    except SyntaxError as error:
        return SyntaxProblem(error.lineno or 0, error.msg or "invalid syntax")
    except (RecursionError, MemoryError):
        return SyntaxProblem(0, "the code is nested too deeply")
    except (ValueError, OverflowError) as error:  # such as NUL bytes, where Python does not call that a SyntaxError
        return SyntaxProblem(0, str(error))
