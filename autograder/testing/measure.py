"""Peak memory and processor time of a process, read from outside it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Measurement:
    """What one call returned and what it cost beyond what its process held before."""

    value: Any
    peak_bytes: int
    cpu_seconds: float


def memory(pid: int) -> tuple[int, int]:
    """(resident bytes now, most resident bytes ever) of a process, as the kernel counts them; zeros when it is gone."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0, 0
    values = dict(line.split(":", 1) for line in lines if line.startswith(("VmRSS:", "VmHWM:")))
    now, peak = (int(values.get(key, "0 kB").split()[0]) * 1024 for key in ("VmRSS", "VmHWM"))
    return now, peak


def cpu_seconds(pid: int) -> float:
    """Processor time that the process has used, all its threads together; zero when it is gone."""
    try:
        threads = list(Path(f"/proc/{pid}/task").iterdir())
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    except OSError:
        return 0.0
    ended_too = (int(fields[11]) + int(fields[12])) / TICKS  # that of threads that are no more as well, but in coarse steps
    return max(sum(_scheduled(thread)[0] for thread in threads), ended_too)


def waiting_seconds(pid: int) -> float:
    """How long the process's main thread could have run and got no processor; zero when it is gone."""
    return _scheduled(Path(f"/proc/{pid}"))[1]


def _scheduled(task: Path) -> tuple[float, float]:
    try:
        running, waiting, _ = (task / "schedstat").read_text().split()
        return int(running) / 1e9, int(waiting) / 1e9
    except (OSError, ValueError):
        return 0.0, 0.0
