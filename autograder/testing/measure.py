"""Peak memory and processor time of a process, read from outside it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any


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
    """Processor time that the process's main thread has used; zero when it is gone."""
    return _scheduled(pid)[0]


def waiting_seconds(pid: int) -> float:
    """How long the process's main thread could have run and got no processor; zero when it is gone."""
    return _scheduled(pid)[1]


def _scheduled(pid: int) -> tuple[float, float]:
    try:
        running, waiting, _ = Path(f"/proc/{pid}/schedstat").read_text().split()
        return int(running) / 1e9, int(waiting) / 1e9
    except (OSError, ValueError):
        return 0.0, 0.0
