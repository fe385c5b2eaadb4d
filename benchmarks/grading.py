"""How fast and how large grading is, each figure beside a named peer's in the same run: `python benchmarks/grading.py`.

Prints one table; docs/grading-speed.md says how to read it. Takes a few minutes on a quiet machine with two cores.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import select
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

import nbgrader_peer
import one_exercise
from process_tree import MIB, Memory, memory
from rich.console import Console
from rich.table import Table

PARTS = Path(__file__).with_name("grading_parts.py")
SAMPLE_SECONDS = 0.1  # between two looks at the memory of the processes
PIPED_WIDTH = 150
AT_ONCE = max(1, min(2, os.cpu_count() or 1))  # as the grader itself has it


@dataclass(frozen=True)
class Figure:
    """One line of the table: `ratio` is our figure divided by the peer's, `wanted` what is to be reached."""

    what: str
    ours: float
    unit: str
    peer: float | None = None
    peer_name: str = ""
    wanted: str = ""

    @property
    def ratio(self) -> float | None:
        return self.ours / self.peer if self.peer else None


@dataclass(frozen=True)
class Measured:
    """A part's result, its wall time from the process's start to its exit, and its tree's most memory if watched."""

    result: dict
    seconds: float
    peak: Memory


@dataclass(frozen=True)
class Numbers:
    """How often everything is done."""

    suite_runs: int = 3
    cost_runs: int = 20
    small_submissions: int = 20
    class_size: int = 10
    watched: int = 4


QUICK = Numbers(suite_runs=1, cost_runs=3, small_submissions=2, class_size=2, watched=2)


class Bench:
    """Runs parts in processes of their own, in a temporary folder, and shows how far they are."""

    def __init__(self, folder: Path, say: Callable[[str], None]):
        self.folder = folder
        self.say = say

    def part(self, name: str, watch: bool = False, **options: object) -> Measured:
        """Run one part to its end. RuntimeError with what it printed when it fails."""
        with tempfile.TemporaryFile(dir=self.folder) as errors:
            start = time.monotonic()
            process = subprocess.Popen(
                [sys.executable, str(PARTS), name, json.dumps(options)], cwd=self.folder, env=self._environment(),
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors,
            )  # fmt: skip
            try:
                result, peak = self._follow(process, watch)
                status = process.wait()
            finally:
                if process.poll() is None:
                    process.terminate()
                    process.wait()
            seconds = time.monotonic() - start
            if status or result is None:
                errors.seek(0)
                said = errors.read().decode(errors="replace")[-3000:].strip()
                raise RuntimeError(f"{name} ended with status {status}\n{said}")
        return Measured(result, seconds, peak)

    def _follow(self, process: subprocess.Popen, watch: bool) -> tuple[dict | None, Memory]:
        result, peak, text = None, Memory(), b""
        reader = process.stdout.fileno()
        while True:
            if select.select([reader], [], [], SAMPLE_SECONDS if watch else None)[0]:
                piece = os.read(reader, 1 << 16)
                if not piece:
                    return result, peak
                *lines, text = (text + piece).split(b"\n")
                for message in map(json.loads, filter(None, lines)):
                    result = message.get("result", result)
                    if "step" in message:
                        self.say(message["step"])
            if watch:
                peak = max(peak, memory(process.pid), key=lambda found: found.total_bytes)

    def _environment(self) -> dict[str, str]:
        single = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
        own = {"HYPOTHESIS_STORAGE_DIRECTORY": str(self.folder / "hypothesis"), "MPLBACKEND": "Agg"}
        return {**os.environ, **single, **own}


def boundary(bench: Bench, numbers: Numbers) -> Iterator[Figure]:
    """Module 01's public and hidden tests, over the boundary and in one process."""
    best = bench.part("boundary", repeats=numbers.suite_runs).result
    peer = "the same tests in one process"
    over, within = best["over"], best["within"]
    yield Figure("module 01's suite, wall", over["wall"], "s", within["wall"], peer, "ratio ≤ 1.5; ≤ 10 s")
    yield Figure("module 01's suite, CPU of all processes", over["cpu"], "s", within["cpu"], peer)


def cost(bench: Bench, numbers: Numbers) -> Iterator[Figure]:
    """What one (submission, module) costs beyond its tests."""
    root = bench.folder / "cost"
    one_exercise.make_course(root)
    (path,) = one_exercise.make_submissions(root / "handed_in", ["student"])
    median = bench.part("cost", root=str(root), submission=str(path), repeats=numbers.cost_runs).result
    fresh = median["interpreter"]
    peer = "a fresh Python that imports torch"
    yield Figure("one submission beyond its tests", median["beyond"] * 1e3, "ms", fresh * 1e3, peer, "≤ 50 ms")
    yield Figure("  and beyond the same tests in one process", median["beyond_plain"] * 1e3, "ms", fresh * 1e3, peer)
    yield Figure("  of it: fork, confine, compile", median["confine"] * 1e3, "ms")
    yield Figure("  of it: first test's fork and import", median["first_fork"] * 1e3, "ms")
    yield Figure("  of it: close", median["close"] * 1e3, "ms")


def nbgrader(bench: Bench, numbers: Numbers) -> Iterator[Figure]:
    """Submissions of a one-exercise module against `nbgrader autograde` of notebooks with the same exercise."""
    count = numbers.small_submissions
    names = [f"student-{number:02}" for number in range(1, count + 1)]
    root = bench.folder / "small"
    one_exercise.make_course(root)
    one_exercise.make_submissions(root / "handed_in", names)
    ours = bench.part("submissions", root=str(root), folder=str(root / "handed_in"), out=str(root / "results"))
    theirs = None
    if nbgrader_peer.available():
        notebooks = bench.folder / "notebooks"
        notebooks.mkdir()
        theirs = bench.part("nbgrader", root=str(notebooks), names=names).result

    def figure(what: str, ours: float, unit: str, theirs: float | None, wanted: str = "") -> Figure:
        peer = "nbgrader autograde, one at a time" if theirs else ""
        return Figure(f"{count} one-exercise submissions, {what}", ours, unit, theirs, peer, wanted)

    warm, whole, cpu = ours.result["warm_seconds"], ours.seconds, ours.result["cpu"]
    peer_warm, peer_whole, peer_cpu = (theirs and theirs[key] for key in ("warm_seconds", "seconds", "cpu"))
    yield figure("start-up excluded", count / warm, "/s", peer_warm and count / peer_warm, "ratio ≥ 50")
    yield figure("start-up included", count / whole, "/s", peer_whole and count / peer_whole)
    yield figure("CPU of each, start-up included", cpu / count, "s", peer_cpu and peer_cpu / count)


def whole_class(bench: Bench, numbers: Numbers) -> Iterator[Figure]:
    """Copies of module 01's reference: how many a minute, and the peak memory of all processes together."""
    root = one_exercise.ROOT
    text = next(root.glob("solutions/01_*/attention.py")).read_text(encoding="utf-8")

    def hand_in(name: str, count: int) -> dict[str, str]:
        folder = bench.folder / name
        for number in range(1, count + 1):
            (folder / f"student-{number:02}").mkdir(parents=True)
            (folder / f"student-{number:02}" / "attention.py").write_text(text, encoding="utf-8")
        return {"root": str(root), "folder": str(folder), "out": str(bench.folder / f"{name}-results")}

    timed = bench.part("submissions", **hand_in("class", numbers.class_size))
    pytest = bench.part("plain_pytest", at_once=AT_ONCE)
    # Looking at memory costs time, so it is done in runs of its own.
    watched = bench.part("submissions", watch=True, **hand_in("watched", numbers.watched))
    watched_pytest = bench.part("plain_pytest", watch=True, at_once=AT_ONCE)
    peer = f"plain pytest, a process each, {AT_ONCE} at a time"
    rate = pytest.result["count"] / pytest.seconds * 60
    size, count = numbers.class_size, f"{numbers.class_size} of module 01, {AT_ONCE} at a time"
    yield Figure(f"{count}, start-up excluded", size / timed.result["warm_seconds"] * 60, "/min", rate, peer)
    yield Figure(f"{count}, start-up included", size / timed.seconds * 60, "/min", rate, peer)
    kind = watched.peak.kind
    if watched_pytest.peak.kind != kind:
        peer += f" ({watched_pytest.peak.kind})"
    ours, theirs = watched.peak.total_bytes / MIB, watched_pytest.peak.total_bytes / MIB
    yield Figure(f"peak memory of all processes ({kind})", ours, "MiB", theirs, peer)


SECTIONS = {"boundary": boundary, "cost": cost, "nbgrader": nbgrader, "class": whole_class}


def table(figures: list[Figure]) -> Table:
    """The figures for a person."""
    drawn = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    drawn.add_column("what", overflow="fold")
    for name in ("this grader", "peer", "ratio"):
        drawn.add_column(name, justify="right", no_wrap=True)
    drawn.add_column("the peer", overflow="fold")
    drawn.add_column("wanted", no_wrap=True)
    for figure in figures:
        ratio = "" if figure.ratio is None else _short(figure.ratio)
        peer = "" if figure.peer is None else f"{_short(figure.peer)} {figure.unit}"
        drawn.add_row(figure.what, f"{_short(figure.ours)} {figure.unit}", peer, ratio, figure.peer_name, figure.wanted)
    return drawn


def _short(number: float) -> str:
    return f"{number:.0f}" if number >= 100 else f"{number:.3g}"


def machine() -> dict[str, object]:
    """Where and when the figures were taken."""
    return {
        "cores": os.cpu_count(),
        "machine": platform.machine(),
        "python": platform.python_version(),
        "torch": version("torch"),
        "nbgrader": version("nbgrader") if nbgrader_peer.available() else None,
        "load_before": round(os.getloadavg()[0], 1),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", choices=SECTIONS, action="append", help="one section (may be given more than once)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there as well")
    parser.add_argument("--quick", action="store_true", help="as little of everything as will do to see that it works")
    options = parser.parse_args()
    if sys.platform != "linux":
        parser.error("grading is measured on Linux, where workers are confined")
    errors = Console(stderr=True)
    console = Console(width=None if sys.stdout.isatty() else PIPED_WIDTH)
    here = machine()
    figures: list[Figure] = []
    status = 0
    with tempfile.TemporaryDirectory(prefix="grading-benchmark-", ignore_cleanup_errors=True) as folder:
        with errors.status("starting") as shown:
            last = [""]

            def say(text: str) -> None:
                shown.update(text)
                if not errors.is_terminal and text != last[0]:
                    errors.print(text, highlight=False)
                last[0] = text

            bench = Bench(Path(folder), say)
            for name in options.only or SECTIONS:
                try:
                    figures += SECTIONS[name](bench, QUICK if options.quick else Numbers())
                except RuntimeError as error:
                    errors.print(f"{name} could not be measured: {error}", style="red", markup=False)
                    status = 1
    console.print(table(figures))
    console.print(
        f"\n{here['cores']} cores, {here['machine']}, Python {here['python']}, torch {here['torch']}, "
        f"nbgrader {here['nbgrader'] or 'not installed'}, load {here['load_before']} before the run",
        highlight=False,
    )
    if here["load_before"] > 0.5:
        console.print("The machine was busy with something else: these figures mean little.", style="yellow")
    if options.quick:
        console.print("--quick: too few runs for a figure to mean anything.", style="yellow")
    if "nbgrader" in (options.only or SECTIONS) and not nbgrader_peer.available():
        console.print(nbgrader_peer.MISSING, style="yellow", markup=False, highlight=False)
    if options.json:
        rows = [{**asdict(figure), "ratio": figure.ratio} for figure in figures]
        options.json.write_text(json.dumps({"machine": here, "figures": rows}, indent=2) + "\n", encoding="utf-8")
    return status


if __name__ == "__main__":
    sys.exit(main())
