"""Processor time and memory of a process and of everything that it started, on Linux."""

from __future__ import annotations

import ctypes
import os
import resource
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PR_SET_CHILD_SUBREAPER = 36  # include/uapi/linux/prctl.h
MIB = 1 << 20


def adopt_orphans() -> None:
    """Make this process the parent of every descendant whose own parent ends, so that none is lost to the account."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def reap(seconds: float = 2.0) -> None:
    """Wait until this process has no child, at most for so long. Nobody else may be waiting for one."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            if not os.waitpid(-1, os.WNOHANG)[0]:
                time.sleep(0.005)
        except ChildProcessError:
            return


def cpu_seconds() -> float:
    """Processor time of this process, of its living children, and of all descendants that were waited for."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    total = sum(usage.ru_utime + usage.ru_stime for usage in used)
    tick = os.sysconf("SC_CLK_TCK")
    for pid in _children(os.getpid()):
        try:
            text = Path(f"/proc/{pid}/stat").read_text()
        except OSError:
            continue
        fields = text.rpartition(")")[2].split()  # from field 3 of proc(5) on; the name before it may hold anything
        total += sum(map(int, fields[11:15])) / tick  # utime, stime, cutime, cstime
    return total


@dataclass(frozen=True)
class Memory:
    """Memory of a process tree at one moment. `by_rss` of its `processes` could only be counted by resident size."""

    total_bytes: int = 0
    processes: int = 0
    by_rss: int = 0

    @property
    def kind(self) -> str:
        """PSS counts a page shared by n processes as 1/n of a page in each; RSS counts it whole in each."""
        return "PSS" if not self.by_rss else f"PSS, RSS for {self.by_rss} of {self.processes} processes"


def memory(pid: int) -> Memory:
    """What the process and its descendants hold now."""
    found = [held for held in map(_held, _tree(pid)) if held is not None]
    return Memory(sum(held for held, _ in found), len(found), sum(not proportional for _, proportional in found))


def _tree(pid: int) -> Iterator[int]:
    yield pid
    for child in _children(pid):
        yield from _tree(child)


def _children(pid: int) -> list[int]:
    children = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            children += map(int, task.read_text().split())
        except OSError:
            pass  # the process ended meanwhile
    return children


def _held(pid: int) -> tuple[int, bool] | None:
    """(bytes, whether they are proportional); None for a process that has ended."""
    for name, key in (("smaps_rollup", "Pss:"), ("status", "VmRSS:")):
        try:
            lines = Path(f"/proc/{pid}/{name}").read_text().splitlines()
        except OSError:
            continue
        for line in lines:
            if line.startswith(key):
                return int(line.split()[1]) * 1024, name == "smaps_rollup"
    return None
