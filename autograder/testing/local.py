"""The student's (or the reference's) module in this very process, behind the interface that tests use."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import torch

from autograder.testing import messages
from autograder.testing.measure import Measurement, cpu_seconds, memory
from autograder.worker import wire


class NotDefined(AssertionError, AttributeError):
    """The module has no such exercise: a failed check, and for those who only look whether a name is there what they expect."""


class LocalModule:
    """Calls go straight to the imported module; arguments are copied first, as they would be on the wire."""

    def __init__(self, module: ModuleType):
        self._module = module
        self.inputs_changed: list[str] = []

    def __getattr__(self, name: str) -> Callable:
        if name.startswith("_"):  # no exercise begins so, and reprs and debuggers go looking for such names
            raise AttributeError(name)
        return self._caller(name)

    def __repr__(self) -> str:
        return self._module.__name__

    def _caller(self, name: str) -> Callable:
        with self._names_are_defined():
            function = getattr(self._module, name)

        def call(*args: Any, **kwargs: Any) -> Any:
            given = {**{position(function, i): copied(arg) for i, arg in enumerate(args)}, **copied(kwargs)}
            before = copied(list(given.values()))
            used = list(given.values())
            with stubs_end_the_test():
                value = wire.plain(function(*used[: len(args)], **dict(zip(kwargs, used[len(args) :], strict=True))))
            self.inputs_changed = [key for key, a, b in zip(given, before, used, strict=True) if not same_bits(a, b)]
            return value

        call.__name__ = name
        return call

    def run(self, scenario: Callable, *args: Any, **kwargs: Any) -> Any:
        """`scenario(module, *args, **kwargs)`."""
        with stubs_end_the_test(), self._names_are_defined():
            return wire.plain(scenario(self._module, *copied(list(args)), **copied(kwargs)))

    @contextmanager
    def _names_are_defined(self) -> Iterator[None]:
        """Of an exercise that the module does not have is said just that."""
        try:
            yield
        except AttributeError as error:
            if error.obj is not self._module or error.name.startswith("_"):
                raise
            if self._module.__name__ == "__main__":
                why = "run its cell, and mend what Python says of it"
                raise NotDefined(f"no cell that was run defines {error.name}: {why}") from None
            raise NotDefined(f"the file does not define {error.name}") from None

    def measure(self, call: str | Callable, *args: Any, warm_up: tuple | None = None, **kwargs: Any) -> Measurement:
        """The call in a fork of this process, with its peak memory read from outside."""

        def invoke(values: tuple) -> Any:
            return getattr(self, call)(*values, **kwargs) if isinstance(call, str) else self.run(call, *values, **kwargs)

        return in_fork(lambda: warm_up is not None and invoke(warm_up), lambda: invoke(args))


@contextmanager
def stubs_end_the_test() -> Iterator[None]:
    """A stub's NotImplementedError becomes StillToDo."""
    try:
        yield
    except NotImplementedError as error:
        if name := messages.todo(error):
            raise messages.StillToDo(f"{messages.TODO}{name}") from error
        raise


def copied(value: Any) -> Any:
    """A copy as the wire would make it: contiguous tensors without gradient history, plain containers."""
    if isinstance(value, torch.Tensor):
        return value.detach().clone(memory_format=torch.contiguous_format)
    if isinstance(value, list | tuple):
        return type(value)(copied(item) for item in value)
    if isinstance(value, dict):
        return {key: copied(item) for key, item in value.items()}
    return value


def same_bits(a: Any, b: Any) -> bool:
    """Whether two argument values are the same to the last bit (NaN included)."""
    if isinstance(a, torch.Tensor):
        if not isinstance(b, torch.Tensor) or a.shape != b.shape or a.dtype != b.dtype:
            return False
        if not a.numel():
            return True
        return torch.equal(wire.flat_bytes(a), wire.flat_bytes(b))
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same_bits, a, b))
    if isinstance(a, dict):
        return list(a) == list(b) and all(map(same_bits, a.values(), b.values()))
    return True


def position(function: Callable, index: int) -> str:
    """The name of a positional parameter, for messages."""
    code = getattr(function, "__code__", None)
    if code is not None and index < code.co_argcount:
        return code.co_varnames[index]
    return f"argument {index + 1}"


def in_fork(warm_up: Callable[[], Any], call: Callable[[], Any]) -> Measurement:
    """Run `call` in a fork, after `warm_up`; the fork waits while its peak memory is read."""
    parent_read, child_write = os.pipe()
    child_read, parent_write = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(parent_read)
        os.close(parent_write)
        _forked(warm_up, call, child_read, child_write)
    os.close(child_write)
    os.close(child_read)
    try:
        os.read(parent_read, 1)
        base, cpu = memory(pid)[0], cpu_seconds(pid)
        os.write(parent_write, b"g")
        with open(parent_read, "rb", closefd=False) as stream:
            header = stream.read(wire.HEADER.size)
            head, body = wire.lengths(header)
            value = wire.decode(stream.read(head), stream.read(body))
        measured = Measurement(value.get("value"), max(0, memory(pid)[1] - base), cpu_seconds(pid) - cpu)
    finally:
        os.close(parent_write)
        os.close(parent_read)
        os.waitpid(pid, 0)
    if "error" in value:
        raise RuntimeError(value["error"])
    return measured


def _forked(warm_up: Callable, call: Callable, child_read: int, child_write: int) -> None:
    torch.set_num_threads(1)  # a fork does not inherit the threads of OpenMP's pool and would wait for them for ever
    try:
        warm_up()
        os.write(child_write, b"r")
        os.read(child_read, 1)
        reply = {"value": call()}
    except BaseException as error:  # the parent must hear of anything at all
        reply = {"error": f"{type(error).__name__}: {error}"}
    data = wire.encode(reply)
    while data:
        data = data[os.write(child_write, data) :]
    os.read(child_read, 1)
    os._exit(0)
