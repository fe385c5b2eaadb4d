"""Which known mistake gives exactly these answers? A failed test's calls are replayed through the mutants of its exercise.

A mutant explains the failure when it answers every recorded call as the student's code did, and at least one of them
differently from the solution. The first such mutant, in the order of `mutants.py`, names the mistake.
"""

from __future__ import annotations

import functools
import os
import select
import signal
import sys
import types
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from autograder.testing import variants
from autograder.testing.assertions import difference
from autograder.testing.local import LocalModule

SECONDS = 5.0


class Recorded(Protocol):
    """One recorded call; see `autograder.grading.remote.Call`."""

    name: str
    args: tuple
    kwargs: dict[str, Any]
    scenario: Any
    value: Any
    changed: tuple[str, ...]
    error: str


@dataclass(frozen=True)
class Known:
    """An exercise's solution and its known mistakes, each a sentence and the whole file with the mistake in it, compiled."""

    file: str
    right: types.CodeType
    wrong: tuple[tuple[str, types.CodeType], ...]


@functools.cache
def known_mistakes(suite_folder: Path, solution: Path, exercise: str) -> Known:
    """What the answers to an exercise are compared with. Compiled once a process, since many tests of many students need it."""
    text = solution.read_text(encoding="utf-8")
    mutants = [mutant for mutant in variants.load(suite_folder / "mutants.py") if mutant.exercise == exercise]
    wrong = tuple((mutant.says, compile(mutant.apply(text), str(solution), "exec")) for mutant in mutants)
    return Known(str(solution), compile(text, str(solution), "exec"), wrong)


def diagnose(executions: Sequence[Sequence[Recorded]], known: Known, module_name: str) -> str:
    """The sentence of the first mutant that explains the recorded calls; empty when none does. Gives up after a few seconds."""
    return in_a_fork(lambda: _first_match(executions, known, module_name), SECONDS)


def in_a_fork(work: Callable[[], str], seconds: float) -> str:
    """What `work` returns, computed in a fork, since a mutant may change global state, loop or crash; empty when it does not."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.close(reader)
            os.write(writer, work().encode()[:4096])
        finally:
            os._exit(0)
    os.close(writer)
    try:
        ready = select.select([reader], [], [], seconds)[0]
        return os.read(reader, 4096).decode() if ready else ""
    finally:
        os.close(reader)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def _first_match(executions: Sequence[Sequence[Recorded]], known: Known, module_name: str) -> str:
    calls = [call for execution in executions for call in execution]
    right = load_module(known.right, known.file, module_name)
    telling = [call for call in calls if not _same(call, right)]
    if not telling:
        return ""
    others = [call for call in calls if not any(call is other for other in telling)]
    for says, code in known.wrong:
        wrong = load_module(code, known.file, module_name)
        if all(_same(call, wrong) for call in (*telling, *others)):
            return says
    return ""


def load_module(code: types.CodeType, file: str, name: str) -> types.ModuleType:
    """The code as a module of its own, under a name that `inspect` and `pickle` can find."""
    module = types.ModuleType(name)
    module.__file__ = file
    sys.modules[name] = module
    exec(code, module.__dict__)
    return module


def _same(call: Recorded, module: types.ModuleType) -> bool:
    """Whether the module answers the call as it was recorded."""
    local = LocalModule(module)
    try:
        if call.scenario is not None:
            value, changed = local.run(call.scenario, *call.args, **call.kwargs), ()
        else:
            value = local._caller(call.name)(*call.args, **call.kwargs)
            changed = tuple(local.inputs_changed)
    except Exception as error:
        return call.error == type(error).__name__
    if call.error or len(changed) != len(call.changed):
        return False
    try:
        return not difference(call.value, value, "", 1e-5, 1e-8, True)
    except TypeError:
        return False
