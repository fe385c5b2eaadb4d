"""How much this machine can do at a time."""

from __future__ import annotations

import math
import os
from pathlib import Path

BYTES_EACH = 3 << 30  # what a module may take, and the grader beside it
_CGROUP, _MEMORY = Path("/sys/fs/cgroup/cpu.max"), Path("/proc/meminfo")


def at_once(quota: Path = _CGROUP, meminfo: Path = _MEMORY) -> int:
    """How many modules to grade side by side: one for each processor that this process may use, as far as the memory reaches.

    What cannot be read here, and on another system, is no limit.
    """
    processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    limits: list[float] = [processors]
    try:
        most, period = quota.read_text().split()
        limits.append(math.ceil(int(most) / int(period)))
    except (OSError, ValueError):  # ValueError: the quota is "max"
        pass
    try:
        available = next(line for line in meminfo.read_text().splitlines() if line.startswith("MemAvailable:"))
        limits.append(int(available.split()[1]) * 1024 // BYTES_EACH)
    except (OSError, ValueError, StopIteration):
        pass
    return max(1, int(min(limits)))
