"""The mark that ties a test to an exercise and its points."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import pytest

Function = TypeVar("Function", bound=Callable)


def exercise(name: str, points: float = 0, core: bool = False) -> Callable[[Function], Function]:
    """Mark a test as belonging to the exercise `name`, worth `points` (hidden suites only).

    A core test carries its exercise: unless every core test of an exercise passes, the exercise earns nothing.
    """
    return pytest.mark.exercise(name, points=points, core=core)
