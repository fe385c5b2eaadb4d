"""What the student's code really called: forbidden functions and operators, whatever name they were reached by.

A TorchFunctionMode sees PyTorch's Python-level calls, a TorchDispatchMode the operators that were dispatched in the
end. A hit counts for
the exercise in whose code it happened, found on the call stack; calls that no student frame made (a scenario's own) do not count.
"""

from __future__ import annotations

import _thread
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.overrides
import torch.utils._python_dispatch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

Rules = dict[str, dict[str, list[str]]]

# What hides calls from the modes. PyTorch has uses for them; a student's own code has none.
BLINDFOLDS = {
    torch._C: "_DisableTorchDispatch DisableTorchFunction DisableTorchFunctionSubclass _ExcludeDispatchKeyGuard"
    " _AutoDispatchBelowAutograd _pop_torch_function_stack _pop_torch_dispatch_stack _unset_dispatch_mode"
    " _dispatch_tls_set_dispatch_key_excluded _len_torch_dispatch_stack _len_torch_function_stack",
    torch.utils._python_dispatch: "_disable_current_modes _pop_mode _pop_mode_temporarily",
    torch.overrides: "_pop_mode _pop_mode_temporarily",
}
THREAD_STARTERS = ("start_new_thread", "start_new", "start_joinable_thread")


class Audit:
    """The forbidden calls of each exercise, resolved once; `watch()` notes the breaches of one call in `breaches`."""

    def __init__(self, rules: Rules):
        self.breaches: list[tuple[str, str, int]] = []
        self.files: dict[str, str] = {}
        self._exercises = set(rules)
        self._functions: dict[Any, set[str]] = {}
        self._names: dict[Any, str] = {}
        self._operators: dict[str, set[str]] = {}
        self._watched: tuple[str | None] | None = None  # what is called now, where it is watched
        for exercise, forbidden in rules.items():
            for name in forbidden.get("functions", ()):
                function = _resolve(name)
                if function is not None:
                    self._functions.setdefault(function, set()).add(exercise)
                    self._names.setdefault(function, name)
            for name in forbidden.get("operators", ()):
                self._operators.setdefault(name, set()).add(exercise)

    def concerns(self, called: str | None) -> bool:
        """Whether anything is forbidden to this exercise; for a scenario (None), to any."""
        return bool(self._exercises) if called is None else called in self._exercises

    @contextmanager
    def watch(self, called: str | None, line: int = 0) -> Iterator[None]:
        """A context in which forbidden calls are noted; `called` is the exercise that was called, None for a scenario.

        `line` is where a thread was started, for what it calls without any frame of the student's.
        """
        if not self._functions and not self._operators:
            yield
            return
        sealed = self._seal()
        self._watched, outer = (called,), self._watched
        try:
            with _FunctionWatch(self, called, line), _OperatorWatch(self, called, line):
                yield
        finally:
            self._watched = outer
            if self._seal() != sealed:  # the code went through frames to get here, and changed what is forbidden
                self.breaches = [(name, "a change of the grader's own objects", line or 1) for name in self._exercises]

    def guard(self) -> None:
        """From now on the student's threads are watched as well, and what would hide calls from the watch is a breach.

        Called in the worker, before any test's process begins.
        """
        for home, names in BLINDFOLDS.items():
            for name in names.split():
                if hasattr(home, name):
                    setattr(home, name, self._noted(getattr(home, name), f"{home.__name__}.{name}"))
        for name in THREAD_STARTERS:
            if hasattr(_thread, name):
                started = self._followed(getattr(_thread, name))
                for home in (_thread, threading):
                    for alias in (name, f"_{name}"):
                        if hasattr(home, alias):
                            setattr(home, alias, started)

    def _noted(self, function: Callable, name: str) -> Callable:
        def noted(*args: Any, **kwargs: Any) -> Any:
            if self._watched and sys._getframe(1).f_code.co_filename in self.files:
                self._note(name, self._exercises, self._watched[0])
            return function(*args, **kwargs)

        return noted

    def _followed(self, start: Callable) -> Callable:
        def started(function: Callable, *rest: Any, **options: Any) -> Any:
            if self._watched is None:
                return start(function, *rest, **options)
            (called,) = self._watched
            line, exercise = self._place(sys._getframe(1))

            def run(*args: Any, **kwargs: Any) -> Any:
                with self.watch(exercise or called, line):
                    return function(*args, **kwargs)

            return start(run, *rest, **options)

        return started

    def _seal(self) -> tuple:
        """What must be the same after a call as before it."""
        rules = [{name: frozenset(found) for name, found in table.items()} for table in (self._functions, self._operators)]
        kinds = [dict(vars(kind)) for kind in (Audit, _FunctionWatch, _OperatorWatch)]
        return rules, kinds, frozenset(self._exercises), dict(self.files), set(vars(self))

    def function(self, function: Callable, called: str | None, line: int = 0) -> None:
        try:
            forbidden_in = self._functions.get(function)
        except TypeError:
            return
        if forbidden_in:
            self._note(self._names[function], forbidden_in, called, line)

    def operator(self, name: str, called: str | None, line: int = 0) -> None:
        forbidden_in = self._operators.get(name) or self._operators.get(name.rstrip("_"))
        if forbidden_in:
            self._note(f"aten::{name}", forbidden_in, called, line)

    def _note(self, name: str, forbidden_in: set[str], called: str | None, line: int = 0) -> None:
        here, exercise = self._place(sys._getframe(2))
        called, line = exercise or called, here or line
        if line and called in forbidden_in and len(self.breaches) < 20:
            self.breaches.append((called, name, line))

    def _place(self, frame: Any) -> tuple[int, str]:
        """The student's line nearest on the stack (0 if there is none), and the exercise that it belongs to ("" if to none)."""
        line = 0
        while frame is not None:
            code = frame.f_code
            if code.co_filename in self.files:
                line = line or frame.f_lineno
                exercise = code.co_qualname.partition(".")[0]
                if exercise in self._exercises:
                    return line, exercise
            frame = frame.f_back
        return line, ""


class _FunctionWatch(TorchFunctionMode):
    def __init__(self, audit: Audit, called: str | None, line: int):
        super().__init__()
        self._audit, self._called, self._line = audit, called, line

    def __torch_function__(self, function: Callable, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        self._audit.function(function, self._called, self._line)
        return function(*args, **(kwargs or {}))


class _OperatorWatch(TorchDispatchMode):
    def __init__(self, audit: Audit, called: str | None, line: int):
        super().__init__()
        self._audit, self._called, self._line = audit, called, line

    def __torch_dispatch__(self, operator: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        self._audit.operator(operator._schema.name.partition("::")[2], self._called, self._line)
        return operator(*args, **(kwargs or {}))


def _resolve(name: str) -> Any:
    """The object that a dotted name under torch stands for, or None."""
    value: Any = torch
    for part in name.split(".")[1:]:
        value = getattr(value, part, None)
    return value if callable(value) else None
