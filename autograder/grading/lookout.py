"""Which calls of a module's tests are watched for forbidden ones."""

from __future__ import annotations

import random
from typing import Any

import torch


class Lookout:
    """Says which calls to watch: the same ones whenever the same code is graded, and nobody knows beforehand which.

    A watched call takes twice its time or more, and whoever is right without a forbidden call has no need of it. So of each
    name the first call of every test is watched, every one that is larger than all before it, and of the others the n-th
    with a chance of 1/n, drawn by the course's secret.

    One that is `thrifty` watches no test's first calls for being first.
    """

    def __init__(self, secret: str, thrifty: bool = False):
        self._thrifty = thrifty
        self._draws = random.Random(f"watched:{secret}")
        self._calls: dict[str, int] = {}
        self._largest: dict[str, int] = {}
        self.begin()

    def begin(self) -> None:
        """A test begins."""
        self._in_this_test: set[str] = set()

    def wants(self, name: str, arguments: Any) -> bool:
        """Whether to watch this call, which is made now."""
        calls, largest, size = self._calls.get(name, 0) + 1, self._largest.get(name, -1), _size(arguments)
        self._calls[name], self._largest[name] = calls, max(size, largest)
        drawn = self._draws.random() * calls < 1
        first = name not in self._in_this_test and not self._thrifty
        self._in_this_test.add(name)
        return first or drawn or size > largest


def _size(value: Any) -> int:
    """How many numbers the tensors in the value hold together."""
    if isinstance(value, torch.Tensor):
        return value.numel()
    if isinstance(value, dict):
        value = value.values()
    return sum(map(_size, value)) if not isinstance(value, str | bytes) and hasattr(value, "__iter__") else 0
