"""What the student's code really called: forbidden functions and operators, whatever name they were reached by.

A TorchFunctionMode sees PyTorch's Python-level calls, a TorchDispatchMode the operators that were dispatched in the
end. A hit counts for
the exercise in whose code it happened, found on the call stack; calls that no student frame made (a scenario's own) do not count.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

Rules = dict[str, dict[str, list[str]]]


class Audit:
    """The forbidden calls of each exercise, resolved once; `watch()` notes the breaches of one call in `breaches`."""

    def __init__(self, rules: Rules):
        self.breaches: list[tuple[str, str, int]] = []
        self.files: dict[str, str] = {}
        self._exercises = set(rules)
        self._functions: dict[Any, set[str]] = {}
        self._names: dict[Any, str] = {}
        self._operators: dict[str, set[str]] = {}
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

    def watch(self, called: str | None) -> ExitStack:
        """A context in which forbidden calls are noted; `called` is the exercise that was called, None for a scenario."""
        stack = ExitStack()
        if self._functions or self._operators:
            stack.enter_context(_FunctionWatch(self, called))
            stack.enter_context(_OperatorWatch(self, called))
        return stack

    def function(self, function: Callable, called: str | None) -> None:
        try:
            forbidden_in = self._functions.get(function)
        except TypeError:
            return
        if forbidden_in:
            self._note(self._names[function], forbidden_in, called)

    def operator(self, name: str, called: str | None) -> None:
        forbidden_in = self._operators.get(name) or self._operators.get(name.rstrip("_"))
        if forbidden_in:
            self._note(f"aten::{name}", forbidden_in, called)

    def _note(self, name: str, forbidden_in: set[str], called: str | None) -> None:
        frame, line = sys._getframe(2), 0
        while frame is not None:
            code = frame.f_code
            if code.co_filename in self.files:
                line = line or frame.f_lineno
                exercise = code.co_qualname.partition(".")[0]
                if exercise in self._exercises:
                    called = exercise
                    break
            frame = frame.f_back
        if line and called in forbidden_in and len(self.breaches) < 20:
            self.breaches.append((called, name, line))


class _FunctionWatch(TorchFunctionMode):
    def __init__(self, audit: Audit, called: str | None):
        super().__init__()
        self._audit, self._called = audit, called

    def __torch_function__(self, function: Callable, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        self._audit.function(function, self._called)
        return function(*args, **(kwargs or {}))


class _OperatorWatch(TorchDispatchMode):
    def __init__(self, audit: Audit, called: str | None):
        super().__init__()
        self._audit, self._called = audit, called

    def __torch_dispatch__(self, operator: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        self._audit.operator(operator._schema.name.partition("::")[2], self._called)
        return operator(*args, **(kwargs or {}))


def _resolve(name: str) -> Any:
    """The object that a dotted name under torch stands for, or None."""
    value: Any = torch
    for part in name.split(".")[1:]:
        value = getattr(value, part, None)
    return value if callable(value) else None
