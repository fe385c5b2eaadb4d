"""Runs of operations on a cache of the student's, each answer judged by that of a cache of plain lists.

Hypothesis draws whole runs, and a cache of the student's lives through each in one call, beside the model in `truth`: a
state machine whose steps are not each a way over the boundary and back, for they share one object that stays there.
"""

from collections.abc import Callable
from functools import partial

import torch

from autograder.testing import assert_equal
from autograder.testing.hints import passes, why_refused

from . import scenarios
from .truth import PlainCache, PlainPool, Refused

KINDS = {"KVCache": (PlainCache, "length"), "PagedKVCache": (PlainPool, "n_free_blocks")}


def answers(kind: str, sizes: dict, operations: list[tuple]) -> list[dict]:
    """What plain lists answer to each operation."""
    plain, count = KINDS[kind]
    plain, seen = plain(**sizes), []
    for name, *args in operations:
        try:
            value, refused = getattr(plain, name)(*args), False
        except Refused:
            value, refused = None, True
        seen.append({"value": value, "refused": refused, count: getattr(plain, count), "left alone": True})
    return seen


def session(kind: str, student, sizes: dict, operations: list[tuple]) -> list[dict]:
    """What the student's own answers."""
    return student.run(scenarios.session, kind, sizes, operations, KINDS[kind][1])


def describe(operation: tuple) -> str:
    """An operation in a few characters."""
    name, first, *kv = operation
    first = f"layer {first}" if name == "update" else first.tolist() if isinstance(first, torch.Tensor) else repr(first)
    return f"{name}({first}, {kv[0].shape[-2]} positions)" if kv else f"{name}({first})"


def judge(kind: str, student, sizes: dict, operations: list[tuple], of: str, hint: Callable) -> None:
    """Every answer is that of plain lists, to the last bit; `hint(i, wanted)` says what to think of at operation i."""
    actual, count = session(kind, student, sizes, operations), KINDS[kind][1]
    for i, (found, wanted) in enumerate(zip(actual, answers(kind, sizes, operations), strict=True)):
        if passes(assert_equal, found, wanted):
            continue
        *before, last = map(describe, operations[: i + 1])
        last += f" of {of}" + (f" after {', '.join(before)}" if before else "")
        if found["refused"] and not wanted["refused"]:
            why_refused(partial(student.run, scenarios.error_of, kind, sizes, operations[: i + 1]), last)
        said = hint(i, wanted)
        if wanted["refused"] and not found["refused"]:
            raise AssertionError(f"{last} should be refused with a ValueError" + f"\n  hint: {said}" * bool(said))
        assert_equal(found["value"], wanted["value"], what=f"what came back from {last}", hint=said)
        assert_equal(found[count], wanted[count], what=f"{count} after {last}", hint=said if wanted["refused"] else "")
        assert found["left alone"], f"{last} changed its arguments, or whether gradients are recorded"
