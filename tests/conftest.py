"""Shared by the machine's tests: the tiny course and the command line, run as a user would run it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import settings

settings.register_profile("machine", derandomize=True, deadline=None, database=None)  # a run says the same as the last
settings.load_profile("machine")

sys.path.insert(0, str(Path(__file__).parent))

from tiny import make_course  # noqa: E402

torch.set_num_threads(1)  # tests run side by side, and would wait for each other's threads
os.environ |= {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}

# The files that take longest, which two processes share out one by one: a long one at the end would leave the other idle.
LONGEST = "lessons samples release attacks package_modules student nbgrader milestone_gpt124m grade verify policy"
FIRST = [f"test_{name}.py" for name in LONGEST.split()]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: FIRST.index(item.path.name) if item.path.name in FIRST else len(FIRST))


@pytest.fixture(scope="session")
def tiny_course(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the tiny course, its stub written."""
    root = make_course(tmp_path_factory.mktemp("course"))
    finished = autograder("sync", "--course", root)
    assert finished.returncode == 0, finished.stderr
    return root


def autograder(*arguments: object, timeout: float = 570) -> subprocess.CompletedProcess[str]:
    """Run the command line in a process of its own."""
    command = [sys.executable, "-c", "from autograder.cli import main; main()", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout, stdin=subprocess.DEVNULL)


@pytest.fixture(scope="session")
def run_autograder():
    """The function that runs the command line."""
    return autograder


@pytest.fixture(scope="module")
def zygote():
    """A warm process that forks workers for any code."""
    from autograder.worker.client import Zygote

    zygote = Zygote()
    zygote.wait()
    yield zygote
    zygote.close()
