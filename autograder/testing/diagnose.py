"""Which known mistake gives exactly these answers? A failed test's calls are replayed through the mutants of its exercise.

A mutant explains the failure when it answers every recorded call as the student's code did, and at least one of them
differently from the solution; where the answers are numbers, the solution's lie much further from the student's. Several may.
Then the mistake's name is that of the mutant which behaves like the student's code in most tests of the exercise, passed ones
included, and the first in the order of `mutants.py` where that leaves a choice.
"""

from __future__ import annotations

import functools
import json
import linecache
import math
import os
import pickle
import random
import re
import resource
import select
import signal
import sys
import tempfile
import time
import types
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

from autograder.testing import variants
from autograder.testing.assertions import REFUSALS, difference
from autograder.testing.local import LocalModule
from autograder.worker.zygote import SEED

SECONDS = 5  # of processor time, for a failed test: a busy machine says what an idle one says
EXERCISE_SECONDS = 12  # for all failed tests of an exercise: those that come first are the core tests
WAIT_SECONDS = 60.0
FLOAT32 = 1e-6  # what float32 leaves of an answer, relative to its largest number
NEARER = 0.05  # at most so much of the solution's distance from an answer is the distance of what explains it
ROOM = (1e-5, 1e-10)  # relative errors: those of another order of summation; and where nothing else differs, hardly any


class Recorded(Protocol):
    """One recorded call; see `autograder.grading.remote.Call`."""

    name: str
    args: tuple
    kwargs: dict[str, Any]
    scenario: Any
    value: Any
    changed: tuple[str, ...]
    error: str
    said: str
    refused: bool | None


Executions = Sequence[Sequence[Recorded]]  # the calls of each execution of a test's body


@dataclass(frozen=True)
class Version:
    """A version of a solution's file; `says` names the mistake in it."""

    text: str
    file: str
    says: str = ""


@dataclass(frozen=True)
class Known:
    """An exercise's solution and its known mistakes."""

    right: Version
    wrong: tuple[Version, ...]


@functools.cache
def byte_code(version: Version) -> types.CodeType:
    """The version compiled, once a process."""
    return compile(version.text, version.file, "exec")


@functools.cache
def known_mistakes(suite_folder: Path, solution: Path, exercise: str) -> Known:
    """What the answers to an exercise are compared with. Made once a process, since many tests of many students need it."""
    text = solution.read_text(encoding="utf-8")
    mutants = [mutant for mutant in variants.load(suite_folder / "mutants.py") if mutant.exercise == exercise]
    wrong = tuple(Version(mutant.apply(text), f"{mutant.name}/{solution.name}", mutant.says) for mutant in mutants)
    return Known(Version(text, str(solution)), wrong)


@dataclass
class Explanations:
    """What explains the failed tests of an exercise, looked for as they fail, within a time for all of them."""

    known: Known
    module_name: str
    by_test: dict[str, list[str]] = field(default_factory=dict)
    spent: float = 0.0  # seconds of processor time
    crashes: set[tuple[str, str]] = field(default_factory=set)  # that nothing explained

    def look_for(self, test: str, executions: Executions) -> None:
        """Note what explains the failed test.

        A crash that no mistake explained in one test is not tried in the next: where all tests crash alike, that would take long.
        """
        crashed = _crash(executions)
        seconds = min(SECONDS, math.ceil(EXERCISE_SECONDS - self.spent))
        if crashed in self.crashes or seconds <= 0:
            return
        before = _seconds_of_forks()
        self.by_test[test] = diagnose(executions, self.known, self.module_name, seconds)
        self.spent += _seconds_of_forks() - before
        if crashed and not self.by_test[test]:
            self.crashes.add(crashed)

    def names(self, passed: Sequence[Executions]) -> dict[str, str]:
        """The name of the mistake for each failed test that has one; see `name_mistakes`."""
        return name_mistakes(self.by_test, passed, self.known, self.module_name)


def _crash(executions: Executions) -> tuple[str, str] | None:
    """How the code broke the test off: the error's type and its gist. None where it did not."""
    call = executions[-1][-1] if executions and executions[-1] else None
    return (call.error, _gist(call.said)) if call and call.error and call.refused is None else None


def _seconds_of_forks() -> float:
    """The processor time of this process's forks that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def diagnose(executions: Executions, known: Known, module_name: str, seconds: int = SECONDS) -> list[str]:
    """The sentence of every mutant that explains the recorded calls, as far as so many seconds reach."""
    for version in (known.right, *known.wrong):
        byte_code(version)  # made here, and not again in the fork for each failed test
    return in_a_fork(lambda: _matches(executions, known, module_name), seconds)


def name_mistakes(
    explanations: Mapping[str, Sequence[str]], passed: Sequence[Executions], known: Known, module_name: str
) -> dict[str, str]:
    """One of its explanations for each failed test of an exercise; `passed` holds the calls of the tests that passed."""
    counts = Counter(says for found in explanations.values() for says in found)
    open_choice = {says for found in explanations.values() if len(set(found)) > 1 for says in found}
    if open_choice:
        counts.update(in_a_fork(lambda: _imitated(passed, known, open_choice, module_name)))
    return {test: max(found, key=counts.__getitem__) for test, found in explanations.items() if found}


def in_a_fork(work: Callable[[], Iterable[str]], seconds: int = SECONDS, wait: float = WAIT_SECONDS) -> list[str]:
    """What `work` gives in so much processor time, and time to wait, computed in a fork and in a folder of its own.

    A mutant may change global state, loop, crash, write a file or print.
    """
    reader, writer = os.pipe()
    end = time.monotonic() + wait
    data = b""
    with tempfile.TemporaryDirectory(prefix="diagnosis-") as folder:
        pid = os.fork()
        if pid == 0:
            try:
                os.close(reader)
                os.chdir(folder)
                nowhere = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, 1), os.dup2(nowhere, 2)
                resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
                warnings.simplefilter("ignore")  # what a wrong version warns of is nobody's concern
                for found in work():
                    os.write(writer, json.dumps(found).encode() + b"\n")
            finally:
                os._exit(0)
        os.close(writer)
        try:
            while select.select([reader], [], [], max(0.0, end - time.monotonic()))[0]:
                piece = os.read(reader, 1 << 16)
                if not piece:
                    break
                data += piece
        finally:
            os.close(reader)
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
    return [json.loads(line) for line in data.split(b"\n")[:-1]]


def _matches(executions: Executions, known: Known, module_name: str) -> Iterator[str]:
    calls = [call for execution in executions for call in execution]
    state = _seeded()
    right = load_module(known.right, module_name)
    # What came last most often failed the test. A version that does not answer one telling call is tried on no other.
    found = ((call, room) for room in ROOM for call in reversed(calls) if not _same(call, right, room))
    telling, room = next(found, (None, ROOM[0]))
    if telling is None or (_random_state() != state and _answers(known.right, calls, module_name, room)):
        return
    first = [telling, *(call for call in calls if call is not telling)]
    for version in known.wrong:
        alike = _answers(version, first, module_name, room)
        alike = alike or (_random_state() != state and _answers(version, calls, module_name, room))  # who draws draws in order
        if alike and _explains(version, known.right, telling, module_name):
            yield version.says


def _explains(version: Version, right: Version, call: Recorded, module_name: str) -> bool:
    """Whether the version's answer lies much nearer to the one recorded than the solution's does.

    Where a mistake moves an answer by little, all mistakes that do so agree within the room that rounding is given. True
    where that cannot be told: of no numbers, or of an answer that hangs on the calls before.
    """
    if call.error or call.refused is not None:
        return True

    def distance(one: Version) -> tuple[float, float]:
        _seeded()
        return _apart(call.value, _answer(call, LocalModule(load_module(one, module_name)))[0])

    try:
        near, size = distance(version)
        if near <= FLOAT32 * size or near > ROOM[0] * size:
            return True
        return near <= NEARER * distance(right)[0]
    except Exception:
        return True


def _apart(a: Any, b: Any) -> tuple[float, float]:
    """(the largest difference between the floating-point numbers of two answers, the largest number of the first); what is
    not finite does not count. A ValueError where they are not of one form.
    """
    if isinstance(a, torch.Tensor) and isinstance(b, torch.Tensor) and a.shape == b.shape:
        if not a.is_floating_point() or not a.numel():
            return 0.0, 0.0
        a, b = (x.double().nan_to_num(nan=0.0, posinf=0.0, neginf=0.0) for x in (a, b))
        return float((a - b).abs().max()), float(a.abs().max())
    if isinstance(a, float) and isinstance(b, float):
        return (abs(a - b), abs(a)) if math.isfinite(a) and math.isfinite(b) else (0.0, 0.0)
    if isinstance(a, dict) and isinstance(b, dict) and set(a) == set(b):
        a, b = list(a.values()), [b[key] for key in a]
    if isinstance(a, tuple | list) and isinstance(b, tuple | list) and len(a) == len(b):
        found = [_apart(x, y) for x, y in zip(a, b)]
        return max((d for d, _ in found), default=0.0), max((s for _, s in found), default=0.0)
    if type(a) is not type(b) or isinstance(a, torch.Tensor | tuple | list | dict):
        raise ValueError("answers of two forms")
    return 0.0, 0.0


def _answers(version: Version, calls: Sequence[Recorded], module_name: str, room: float) -> bool:
    """Whether the version, as in a test's child that begins, answers every call as it was recorded."""
    _seeded()
    module = load_module(version, module_name)
    return all(_same(call, module, room) for call in calls)


def _seeded() -> tuple:
    """The global random states, set to what every test's child begins with; gradients are recorded there."""
    torch.set_grad_enabled(True)
    random.seed(SEED)
    np.random.seed(SEED)
    torch.default_generator.manual_seed(SEED)  # torch.manual_seed writes down where it was called from: 6 ms in a test
    return _random_state()


def _random_state() -> tuple:
    return random.getstate(), pickle.dumps(np.random.get_state()), bytes(torch.get_rng_state().numpy())


def _imitated(passed: Sequence[Executions], known: Known, wanted: set[str], module_name: str) -> Iterator[str]:
    """Each wanted sentence once for every passed test in which its mutant behaves as the student's code did.

    All are tried on a test before the next, since the time may run out.
    """
    candidates = [(version.says, load_module(version, module_name)) for version in known.wrong if version.says in wanted]
    for executions in passed:
        calls = [call for execution in executions for call in execution]
        for says, wrong in candidates:
            sys.modules[module_name] = wrong
            _seeded()
            if all(_same(call, wrong, ROOM[0]) for call in calls):
                yield says


def load_module(version: Version, name: str) -> types.ModuleType:
    """The version as a module of its own, under a name that `inspect` and `pickle` can find, its source where `inspect` looks."""
    module = types.ModuleType(name)
    module.__file__ = file = version.file
    linecache.cache[file] = (len(version.text), None, version.text.splitlines(keepends=True), file)
    sys.modules[name] = module
    exec(byte_code(version), module.__dict__)
    return module


def _gist(message: str) -> str:
    """An error's first line without its numbers: of two crashes of the same kind, whether they are the same."""
    return re.sub(r"\d+", "0", message.partition("\n")[0])


def _answer(call: Recorded, local: LocalModule) -> tuple[Any, tuple[str, ...]]:
    """What the module makes of the call: a value, and the inputs that it changed."""
    if call.scenario is not None:
        return local.run(call.scenario, *call.args, **call.kwargs), ()
    value = local._caller(call.name)(*call.args, **call.kwargs)
    return value, tuple(local.inputs_changed)


def _same(call: Recorded, module: types.ModuleType, room: float) -> bool:
    """Whether the module answers the call as it was recorded, within a relative error of `room`."""
    local = LocalModule(module)
    try:
        value, changed = _answer(call, local)
    except Exception as error:
        if call.refused is not None and isinstance(error, REFUSALS):
            return call.refused
        return call.error == type(error).__name__ and _gist(call.said) == _gist(str(error))
    if call.refused is not None:
        return not call.refused and not call.error and (value is None) == (call.value is None)
    if call.error or len(changed) != len(call.changed):
        return False
    try:
        return not difference(call.value, value, "", room, room / 1000, True)
    except TypeError:
        return False
