"""Which known mistake gives exactly these answers? A failed test's calls are replayed through the mutants of its exercise.

A mutant explains the failure when it answers every recorded call as the student's code did, and at least one of them
differently from the solution. The first such mutant, in the order of `mutants.py`, names the mistake.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import types
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

from autograder.testing.assertions import difference
from autograder.testing.local import LocalModule
from autograder.testing.variants import Variant

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


def diagnose(
    executions: Sequence[Sequence[Recorded]], mutants: Sequence[Variant], solution: Path, module_name: str
) -> str:
    """The sentence of the first mutant that explains the recorded calls; empty when none does. Gives up after a few seconds."""
    return in_a_fork(lambda: _first_match(executions, mutants, solution, module_name), SECONDS)


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


def _first_match(
    executions: Sequence[Sequence[Recorded]], mutants: Sequence[Variant], solution: Path, module_name: str
) -> str:
    calls = [call for execution in executions for call in execution]
    text = solution.read_text(encoding="utf-8")
    right = load_module(text, solution, module_name)
    telling = [call for call in calls if not _same(call, right)]
    if not telling:
        return ""
    others = [call for call in calls if not any(call is other for other in telling)]
    for mutant in mutants:
        wrong = load_module(mutant.apply(text), solution, module_name)
        if all(_same(call, wrong) for call in (*telling, *others)):
            return mutant.says
    return ""


def load_module(text: str, file: Path, name: str) -> types.ModuleType:
    """The text as a module of its own, under a name that `inspect` and `pickle` can find."""
    module = types.ModuleType(name)
    module.__file__ = str(file)
    sys.modules[name] = module
    exec(compile(text, str(file), "exec"), module.__dict__)
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
