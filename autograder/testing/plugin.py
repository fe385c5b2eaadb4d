"""The pytest plugin: `student` in the student's own checkout, and failures in a few lines instead of a wall of traceback."""

from __future__ import annotations

import hashlib
import importlib
from pathlib import Path

import pytest
import torch

from autograder.testing.local import LocalModule


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "exercise(name, points, core): the exercise that a test belongs to")


@pytest.fixture
def student(request: pytest.FixtureRequest) -> LocalModule:
    """The module under test."""
    return LocalModule(importlib.import_module(f"exercises.{_stem(request.path.parent)}"))


@pytest.fixture
def reference(request: pytest.FixtureRequest) -> LocalModule:
    """The course's solution (hidden suites only)."""
    return LocalModule(importlib.import_module(f"solutions.{_stem(request.path.parent)}"))


@pytest.fixture
def generator(request: pytest.FixtureRequest) -> torch.Generator:
    """The test's own source of randomness."""
    return torch.Generator().manual_seed(seed_for("", request.node.name))


def seed_for(secret: str, name: str) -> int:
    """A 63-bit seed from the offering's secret and the test's name."""
    return int.from_bytes(hashlib.sha256(f"{secret}\0{name}".encode()).digest()[:8], "big") >> 1


def _stem(folder: Path) -> str:
    from autograder.course import load_course

    return load_course().module(folder.name).stem
