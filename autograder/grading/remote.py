"""The student's module as tests see it in grading: the interface of `LocalModule`, answered by a confined worker."""

from __future__ import annotations

import builtins
import functools
import inspect
import marshal
import re
import textwrap
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from autograder.grading.lookout import Lookout
from autograder.notebook import UNREADABLE
from autograder.sources import printable
from autograder.testing.assertions import REFUSALS, refusal_is_expected
from autograder.testing.measure import Measurement
from autograder.testing.messages import UNUSABLE, advice
from autograder.worker.client import LoadError, Stopped, Worker
from autograder.worker.wire import WireError

SHARED_SCENARIOS = ("scenarios.py", "probes.py")
KEPT_FIRST, KEPT_LAST = 8, 4  # executions of a test body that are kept for diagnosis
FIRST_CALLS, LAST_CALLS = 12, 12  # and so of the calls of one execution: what came last most often failed the test
KEPT_BYTES = 8 << 20  # in tensors, of a test that passed
_ABSENT = re.compile(r"No module named 'exercises\.(\w+)'")
_UNDEFINED = re.compile(r"module 'exercises\.[\w.]+' has no attribute '(\w+)'.*", re.DOTALL)


class Stop(BaseException):
    """Ends a test at once, past Hypothesis and `pytest.raises`: there is nothing more to learn from this module.

    `outcome` is todo, timeout, crashed or failed.
    """

    def __init__(self, outcome: str, message: str):
        super().__init__(message)
        self.outcome = outcome


@dataclass(frozen=True)
class Call:
    """One call of the student's code and what came of it: a value with the inputs it changed, or an exception's type, by
    name, and what it `said`.

    Where a test wants the call refused, `refused` says whether it was, and of a value it only matters whether it is None.
    """

    name: str
    args: tuple
    kwargs: dict[str, Any]
    scenario: Callable | None = None
    value: Any = None
    changed: tuple[str, ...] = ()
    error: str = ""
    said: str = ""
    refused: bool | None = None


@dataclass
class Transcript:
    """The calls of a test, one list for each execution of its body: the first few and the last few."""

    executions: list[list[Call]] = field(default_factory=lambda: [[]])

    def begin(self) -> None:
        """The test's body starts (again, when Hypothesis runs it many times)."""
        if self.executions[-1]:
            self.executions.append([])
        if len(self.executions) > KEPT_FIRST + KEPT_LAST:
            del self.executions[KEPT_FIRST]

    def add(self, call: Call) -> None:
        calls = self.executions[-1]
        calls.append(call)
        if len(calls) > FIRST_CALLS + LAST_CALLS:
            del calls[FIRST_CALLS]

    def is_small(self) -> bool:
        """Whether it can be kept until all tests of the exercise have run."""
        calls = [call for execution in self.executions for call in execution]
        return sum(_bytes((call.args, call.kwargs, call.value)) for call in calls) <= KEPT_BYTES


class RemoteModule:
    """The student's module in a worker. One object serves one test, which may watch for forbidden calls if it is `policed`."""

    def __init__(
        self,
        worker: Worker,
        exercises: frozenset[str],
        breaches: dict[str, tuple[str, int]],
        lookout: Lookout,
        policed: bool = True,
    ):
        self._worker = worker
        self._lookout = lookout
        self._policed = policed
        self._exercises = exercises
        self._breaches = breaches
        self._transcript = Transcript()
        self._started = False
        self.inputs_changed: list[str] = []

    def __getattr__(self, name: str) -> Callable:
        if name.startswith("_"):  # no exercise begins so, and reprs and debuggers go looking for such names
            raise AttributeError(name)

        def call(*args: Any, **kwargs: Any) -> Any:
            return self._ask(Call(name, args, kwargs), op="call", name=name)

        call.__name__ = name
        return call

    def __repr__(self) -> str:
        return "student"

    def run(self, scenario: Callable, *args: Any, **kwargs: Any) -> Any:
        """`scenario(module, *args, **kwargs)` beside the student's code."""
        key, code = scenario_code(scenario)
        return self._ask(
            Call(scenario.__name__, args, kwargs, scenario), op="run", name=scenario.__name__, scenarios=key, code=code
        )

    def measure(self, call: str | Callable, *args: Any, warm_up: tuple | None = None, **kwargs: Any) -> Measurement:
        """The call in a fresh child, with its peak memory and processor time read from outside."""
        invoke = getattr(self, call) if isinstance(call, str) else lambda *a, **k: self.run(call, *a, **k)
        watch, self._policed = self._policed, False  # to watch takes time and memory, which are not the code's
        try:
            self._start()
            if warm_up is not None:
                invoke(*warm_up, **kwargs)
            before, _, cpu = self._worker.usage()
            value = invoke(*args, **kwargs)
            after, peak, cpu_after = self._worker.usage()
        finally:
            self._policed = watch
        if watch and self._lookout.wants(call if isinstance(call, str) else call.__name__, (args, kwargs)):
            self._worker.renew()  # in a child that cannot know that it is not the measured one
            self._started = False
            if warm_up is not None:
                invoke(*warm_up, **kwargs)
            invoke(*args, **kwargs)
        held = min(before, after)  # what was let go of in the meantime was kept to make room, and is no reason to use more
        return Measurement(value, max(0, peak - held), cpu_after - cpu)

    def _start(self) -> None:
        if self._worker.seconds_left <= 0:
            raise Stop("timeout", "the time for this module was used up before this test could run")
        try:
            self._worker.start()
        except LoadError as error:
            raise load_failure(error, self._worker) from None
        except Stopped as stopped:
            raise Stop(stopped.kind, f"while the file was imported: {stopped}") from None
        self._started = True

    def _ask(self, call: Call, **request: Any) -> Any:
        if not self._started:
            self._start()
        try:
            watched = self._policed and self._lookout.wants(call.name, (call.args, call.kwargs))
            reply = self._worker.request(args=tuple(call.args), kwargs=call.kwargs, watched=watched, **request)
        except Stopped as stopped:
            self._started = False
            raise Stop(stopped.kind, f"{_whose(call)}: {stopped}") from None
        except (TypeError, WireError) as error:
            raise TypeError(f"the test sends what cannot cross the boundary: {error}") from None
        finally:
            self._note_breaches(self._worker.told())
        self._note_breaches(reply.get("breaches"))
        if "error" in reply:
            raise self._exception(call, reply["error"])
        changed = reply.get("changed")
        self.inputs_changed = [str(name)[:80] for name in changed[:20]] if isinstance(changed, list) else []
        value = reply.get("value")
        self._transcript.add(replace(call, value=value, changed=tuple(self.inputs_changed), refused=_refused()))
        return value

    def _note_breaches(self, breaches: Any) -> None:
        """Keep what a reply says, or was told before it: a list in the worker could be emptied by the code that it is about."""
        for breach in breaches if isinstance(breaches, list) else []:
            match breach:
                case (str(exercise), str(name), int(line)) if exercise in self._exercises and 0 < line < 1_000_000:
                    self._breaches.setdefault(exercise, (printable(name[:80]), line))

    def _exception(self, call: Call, details: Any) -> BaseException:
        kind, message, where = "Exception", "", ""
        bases: list[Any] = []
        if isinstance(details, dict):
            kind, message, where = (str(details.get(key, ""))[:2000] for key in ("type", "message", "where"))
            bases = details["bases"] if isinstance(details.get("bases"), list) else []
            if isinstance(details.get("returned"), str):
                return self._said(AssertionError, f"{_whose(call)} returned {details['returned'][:500]}", call, "AssertionError")
        message = _without_paths(message, self._worker)
        if kind == "NotImplementedError" and message.startswith("TODO"):
            return Stop("todo", f"{message} is not written yet")
        absent = _ABSENT.fullmatch(message)
        if kind == "ModuleNotFoundError" and not where and absent:  # it was the test that asked for it
            return Stop("failed", f"{absent[1]}.py was not handed in")
        undefined = _UNDEFINED.fullmatch(message)
        if kind == "AttributeError" and not where and undefined and undefined[1] in self._exercises:
            return Stop("failed", f"the file does not define {undefined[1]}")
        if kind == "SyntaxError" and message.startswith(UNREADABLE):  # what stands in for a cell has no line of the student's
            return Stop("failed", message)
        if kind == "Wrong" and not where and call.scenario is not None:  # a probe's own words
            return self._said(AssertionError, message, replace(call, said=message), kind)
        builtin = builtin_exception(bases)
        said = f"{kind[:80]}: {message}" + (f"\n  {where}" if where else advice(message))
        if where or call.scenario is None:
            said = f"{_whose(call)} raised {said}"
        else:
            said = f"{UNUSABLE}: {said}"
        return self._said(builtin, said, replace(call, said=message), kind)

    def _said(self, kind: type[Exception], said: str, call: Call, error: str) -> Exception:
        self._transcript.add(replace(call, error=error, refused=_refused(kind)))
        exception = kind(said)
        exception.from_student = True
        return exception


def _whose(call: Call) -> str:
    """Who answers a call, for messages: a function by the name that the student knows; a scenario's name is the tests' own."""
    return call.name if call.scenario is None else "your code"


def _refused(error: type[Exception] | None = None) -> bool | None:
    """Whether a call that ended so was refused; None where nobody wants that."""
    return (error is not None and issubclass(error, REFUSALS)) if refusal_is_expected() else None


def _bytes(value: Any) -> int:
    """What the tensors in the value take."""
    if isinstance(value, torch.Tensor):
        return value.nbytes
    if isinstance(value, dict):
        value = tuple(value.values())
    return sum(map(_bytes, value)) if isinstance(value, tuple | list) else 0


def transcript(module: RemoteModule) -> Transcript:
    """What the module was asked and what it answered."""
    return module._transcript


def builtin_exception(bases: list[Any]) -> type[Exception]:
    """The nearest builtin exception type of that name that a single message can construct; RuntimeError for what is
    no Exception.
    """
    for name in bases[:20]:
        kind = getattr(builtins, name, None) if isinstance(name, str) else None
        if isinstance(kind, type) and issubclass(kind, Exception):
            try:
                kind("a message")
            except TypeError:
                continue
            return kind
    return RuntimeError


def load_failure(error: LoadError, worker: Worker) -> Stop:
    """Why the student's file cannot be imported, as the outcome of a test."""
    details = error.details if isinstance(error.details, dict) else {}
    kind, message, where = (str(details.get(key, ""))[:2000] for key in ("type", "message", "where"))
    message = _without_paths(message, worker)
    if kind == "NotImplementedError" and message.startswith("TODO"):
        return Stop("todo", f"{message} is not written yet, and the file needs it when it is imported")
    said = f"the file cannot be imported: {kind[:80]}: {message}"
    if kind == "ModuleNotFoundError":
        said += "\n  hint: only the files that the course names are graded, and only the packages that it installs are there"
    return Stop("failed", said + (f"\n  {where}" if where else ""))


@functools.cache
def scenario_code(scenario: Callable) -> tuple[str, bytes]:
    """(key, byte code) of a scenario: shared files are known to the worker by their key and travel with the job, others
    travel with the call.
    """
    path = Path(inspect.getsourcefile(scenario) or "")
    if path.name in SHARED_SCENARIOS:
        return shared_key(path), b""
    key = f"{path.name}:{scenario.__qualname__}"
    return key, compiled(key, textwrap.dedent(inspect.getsource(scenario)))


def compiled(key: str, source: str) -> bytes:
    """A scenario's source as byte code for the worker, so that it is compiled once and not in every worker."""
    return marshal.dumps(compile(source, f"<{key}>", "exec"))


def shared_key(path: Path) -> str:
    """The name under which a shared scenario file is known to workers."""
    return f"{path.parent.name}/{path.name}"


def _without_paths(message: str, worker: Worker) -> str:
    return message.replace(f"{worker.folder}/", "").replace(str(worker.folder), ".")
