"""What a suite holds and what came of each test: plain data, fixed before any student code runs."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

PARTS = 2  # of a module, each with a worker and module_seconds of its own
Tier = Literal["public", "hidden"]
Outcome = Literal["passed", "failed", "error", "timeout", "crashed", "todo"]


@dataclass(frozen=True)
class TestSpec:
    """One test of a module: whose points it decides, how many, and what it is called.

    `name` is unique in the module, `title` is one line in plain words. An exercise of which a `core` test does
    not pass earns nothing. The points of a public test do not count.
    """

    __test__ = False  # pytest: a noun, not a test

    name: str
    exercise: str
    points: float = 0
    tier: Tier = "hidden"
    core: bool = False
    title: str = ""


@dataclass(frozen=True)
class TestOutcome:
    """What came of one test. `diagnosis` names the mistake where one is recognised, else it is empty."""

    __test__ = False

    outcome: Outcome
    message: str = ""
    diagnosis: str = ""
    seconds: float = 0.0


def parts_of(manifest: Sequence[TestSpec]) -> list[frozenset[str]]:
    """The exercises of a module in at most PARTS parts with about as many tests each."""
    tests = Counter(spec.exercise for spec in manifest)
    parts: list[list[str]] = [[] for _ in range(PARTS)]
    for exercise in tests:
        min(parts, key=lambda part: sum(tests[name] for name in part)).append(exercise)
    return [frozenset(part) for part in parts if part]
