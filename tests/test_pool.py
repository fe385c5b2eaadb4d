"""Tasks in forks: what they return, how they may end, and that nothing of them outlives the grader. And a module's parts."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from autograder.grading.manifest import PARTS, TestSpec, parts_of

SCRIPT = """
import os, signal, sys, time
from autograder.grading.pool import Died, in_forks

def nested(slot):
    def sleeper(_):
        print(os.getpid(), flush=True)
        time.sleep(600)
    return b"".join(answer for _, answer in in_forks([sleeper], 1, lambda _: 600))

def killed(slot):
    os.kill(os.getpid(), signal.SIGSEGV)

def failed(slot):
    sys.stderr = open(os.devnull, "w")
    raise ValueError("a task of its own making")

def late(slot):
    time.sleep(600)

def large(slot):
    return b"x" * 3_000_000

def slot(slot):
    time.sleep(0.1)
    return str(slot).encode()
"""


def python(code: str, **options) -> subprocess.Popen:
    """A process that runs SCRIPT and then this code: the grader forks only while it has one thread, and pytest may have more."""
    return subprocess.Popen([sys.executable, "-c", SCRIPT + textwrap.dedent(code)], stdout=subprocess.PIPE, text=True, **options)


def said(code: str) -> str:
    process = python(code)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    return out


def test_answers_come_back_whole_and_a_task_that_ends_badly_says_how() -> None:
    out = said("""
        tasks = [large, killed, failed, late, lambda slot: b""]
        for index, answer in sorted(in_forks(tasks, 2, lambda index: 0.3 if index == 3 else 60), key=lambda pair: pair[0]):
            print(index, answer.why if isinstance(answer, Died) else len(answer))
    """)
    assert out.splitlines() == [
        "0 3000000", "1 it was ended by SIGSEGV", "2 it ended with status 3", "3 it took too long", "4 0",
    ]  # fmt: skip


def test_no_two_running_tasks_share_a_slot() -> None:
    assert said("print(sorted(answer for _, answer in in_forks([slot] * 2, 2, lambda _: 60)))").strip() == "[b'0', b'1']"


def test_a_task_is_made_while_the_one_before_it_runs() -> None:
    out = said("""
        made = []

        def tasks():
            for number in range(3):
                made.append(number)
                yield slot

        for index, _ in in_forks(tasks(), 1, lambda _: 60):
            print(index, made)
    """)
    assert out.splitlines() == ["0 [0, 1]", "1 [0, 1, 2]", "2 [0, 1, 2]"]


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] not in "ZX"
    except FileNotFoundError:
        return False


@pytest.mark.parametrize("seconds", ["0.5", "600"], ids=["late", "grader killed"])
def test_what_a_task_forked_ends_with_it(seconds: str) -> None:
    process = python(f"list(in_forks([nested], 1, lambda _: {seconds})); time.sleep(600)")
    innermost = int(process.stdout.readline())
    if seconds == "600":
        assert alive(innermost)
        os.kill(process.pid, signal.SIGKILL)
    end = time.monotonic() + 20
    while alive(innermost) and time.monotonic() < end:
        time.sleep(0.05)
    assert not alive(innermost)
    process.kill()
    process.communicate()


def manifest(**tests: int) -> list[TestSpec]:
    return [TestSpec(f"test_{name}_{i}", name) for name, count in tests.items() for i in range(count)]


@pytest.mark.parametrize(
    "tests", [{"a": 3}, {"a": 3, "b": 1}, {"a": 1, "b": 9, "c": 4, "d": 4}, dict.fromkeys("abcdefghij", 7)], ids=str
)
def test_a_module_is_parted_by_exercise_into_about_equal_parts(tests: dict[str, int]) -> None:
    parts = parts_of(manifest(**tests))
    assert sorted(name for part in parts for name in part) == sorted(tests)
    assert len(parts) == min(PARTS, len(tests))
    sizes = [sum(tests[name] for name in part) for part in parts]
    assert max(sizes) - min(sizes) <= max(tests.values()) or len(tests) == 1
    assert parts == parts_of(manifest(**tests))


def test_a_module_without_tests_has_no_parts() -> None:
    assert parts_of([]) == []
