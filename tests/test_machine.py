"""As many modules are graded side by side as the machine has processors for, and memory."""

import os

from autograder.grading.machine import BYTES_EACH, at_once

MANY = len(os.sched_getaffinity(0)) + 5


def test_processors_their_quota_and_the_memory_are_limits(tmp_path):
    quota, meminfo = tmp_path / "cpu.max", tmp_path / "meminfo"

    def with_limits(cpus: str, modules: float) -> int:
        quota.write_text(cpus)
        meminfo.write_text(f"MemTotal: 1 kB\nMemAvailable: {int(modules * BYTES_EACH) // 1024} kB\n")
        return at_once(quota, meminfo)

    assert with_limits("max 100000", MANY) == MANY - 5
    assert with_limits("100000 100000", MANY) == 1
    assert with_limits("20000 100000", MANY) == 1
    assert with_limits("max 100000", 1.9) == 1
    assert with_limits("max 100000", 0.5) == 1


def test_what_cannot_be_read_is_no_limit(tmp_path):
    (tmp_path / "empty").write_text("")
    assert at_once(tmp_path / "empty", tmp_path / "empty") == at_once(tmp_path / "none", tmp_path / "none") == MANY - 5
