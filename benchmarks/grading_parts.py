"""The processes that `grading.py` measures: `python grading_parts.py PART OPTIONS`, with the options as JSON.

Each part is a process of its own, so that no measurement inherits another's imports, memory or children. It prints JSON
lines: `{"step": ...}` for progress, and at the end one `{"result": ...}`.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import nbgrader_peer
import pytest
from one_exercise import ROOT
from process_tree import adopt_orphans, cpu_seconds, reap

from autograder.course import Course, Module, load_course
from autograder.grading.grade import AT_ONCE, grade, grade_module, grade_submission, job_for
from autograder.grading.pool import Died, in_forks
from autograder.grading.solutions import solution_files
from autograder.grading.suite import Suites, open_suites
from autograder.grading.warm import zygote_for
from autograder.intake import Submission, SubmittedModule, collect
from autograder.reports.results import ModuleResult, Results, write
from autograder.testing.local import LocalModule
from autograder.worker import pages
from autograder.worker.client import Worker, Zygote

TASK_SECONDS = 600  # a bound on one measured task


def boundary(repeats: int) -> dict:
    """Module 01's tests over the boundary and in one process, in turn: best wall and processor time of each."""
    course, module = _course(ROOT), "01"
    times: dict[str, list[tuple[float, float]]] = {"over": [], "within": []}

    def use(suites: Suites) -> None:
        for number in range(1, repeats + 1):
            _step(f"module 01 over the boundary, {number} of {repeats}")
            times["over"].append(_over_boundary(suites, course.module(module)))
            _step(f"module 01 in one process, {number} of {repeats}")
            times["within"].append(_within(suites, course.module(module)))

    open_suites(course, [course.module(module)], use)
    best = {}
    for side, runs in times.items():
        walls, cpus = zip(*runs, strict=True)
        best[side] = {"wall": min(walls), "cpu": min(cpus)}
    return best


def _over_boundary(suites: Suites, module: Module) -> tuple[float, float]:
    """(wall, CPU) of grading the module as a submission that has the machine to itself; warming up is left out."""
    zygote = zygote_for(suites.course)
    zygote.wait()
    before = cpu_seconds()
    try:
        wall, _ = _in_a_fork(partial(_graded_alone, suites, module, zygote))
    finally:
        zygote.close()
    reap()
    return wall, cpu_seconds() - before


def _within(suites: Suites, module: Module) -> tuple[float, float]:
    before = cpu_seconds()
    wall, _ = _in_a_fork(partial(_tests_here, suites, module))
    return wall, cpu_seconds() - before


def _graded_alone(suites: Suites, module: Module, zygote: Zygote, slot: int) -> bytes:
    result = grade_module(SubmittedModule(module, solution_files(module)), {}, suites, zygote, slot, hands=AT_ONCE)
    _refuse_less_than_full(result.score, result.max_score)
    return b""


def _tests_here(suites: Suites, module: Module, slot: int) -> bytes:
    return _checked(suites.run_here(module, LocalModule(importlib.import_module(f"solutions.{module.stem}"))))


def _checked(outcomes: dict) -> bytes:
    """Refuse to time tests that do not pass; else the time they report themselves."""
    for name, outcome in outcomes.items():
        if outcome.outcome != "passed":
            raise SystemExit(f"{name}: {outcome.outcome}: {outcome.message}")
    return json.dumps(sum(outcome.seconds for outcome in outcomes.values())).encode()


def _in_a_fork(task: Callable[[int], bytes]) -> tuple[float, bytes]:
    """(wall time, answer) of a task run as the grader runs one: in a fork that starts from the collected suites."""
    pages.settle()
    start = time.monotonic()
    ((_, answer),) = in_forks([task], 1, lambda _: TASK_SECONDS)
    if isinstance(answer, Died):
        raise SystemExit(f"a measured task did not end properly: {answer.why}")
    return time.monotonic() - start, answer


def cost(root: str, submission: str, repeats: int) -> dict:
    """What a submission of one module costs beyond its tests in seconds: medians. docs/grading-speed.md defines it."""
    course = _course(Path(root))
    handed_in = collect(Path(submission), course)
    module = course.modules[0]
    whole, beyond, beyond_plain = [], [], []
    stages: dict[str, list[float]] = {"confine": [], "first_fork": [], "close": []}

    def graded(suites: Suites, zygote: Zygote, slot: int) -> bytes:
        (result,) = grade_submission(handed_in, suites, zygote, slot)
        return result.model_dump_json().encode()

    def use(suites: Suites) -> None:
        zygote = zygote_for(course)
        zygote.wait()
        try:
            for number in range(repeats + 1):
                _step(f"cost of a submission, {number} of {repeats}")
                wall, answer = _in_a_fork(partial(graded, suites, zygote))
                start = time.monotonic()
                result = ModuleResult.model_validate_json(answer)
                wall += time.monotonic() - start
                _refuse_less_than_full(result.score, result.max_score)
                plain = float(_in_a_fork(partial(_tests_here, suites, module))[1])
                staged = _stages(suites, module, zygote)
                if number:  # the first round fills the caches
                    whole.append(wall)
                    beyond.append(wall - sum(test.seconds for exercise in result.exercises for test in exercise.tests))
                    beyond_plain.append(wall - plain)
                    for name, seconds in staged.items():
                        stages[name].append(seconds)
        finally:
            zygote.close()

    open_suites(course, [module], use)
    interpreter = []
    for number in (1, 2, 3):
        _step(f"a fresh interpreter that imports torch, {number} of 3")
        start = time.monotonic()
        subprocess.run([sys.executable, "-c", "import torch"], check=True)
        interpreter.append(time.monotonic() - start)
    lists = {"whole": whole, "beyond": beyond, "beyond_plain": beyond_plain, **stages, "interpreter": interpreter}
    return {name: statistics.median(seconds) for name, seconds in lists.items()}


def _stages(suites: Suites, module: Module, zygote: Zygote) -> dict[str, float]:
    job = job_for(module, solution_files(module), suites)
    start = time.monotonic()
    worker = Worker(zygote, job)  # fork, confine, compile
    confined = time.monotonic()
    worker.start()  # fork the first test's child, which imports the file
    ready = time.monotonic()
    worker.close()
    return {"confine": confined - start, "first_fork": ready - confined, "close": time.monotonic() - ready}


def submissions(root: str, folder: str, out: str) -> dict:
    """All submissions in a folder, graded as `autograder grade` does: by one zygote, two at a time on two cores.

    `warm_seconds` and `warm_cpu` leave out the start: they begin when the suites are collected and the zygote is warm.
    """
    course = _course(Path(root))
    began = time.monotonic()
    taken = [collect(path, course) for path in sorted(Path(folder).iterdir())]
    intake = time.monotonic() - began
    zygote = zygote_for(course)
    ready: list[tuple[float, float]] = []
    wait = zygote.wait

    def noted() -> None:
        wait()
        ready.append((time.monotonic(), cpu_seconds()))

    zygote.wait = noted  # `grade` calls it once its suites are collected, before the first submission
    try:
        count = _grade(course, taken, zygote, Path(out))
        end = time.monotonic()
    finally:
        zygote.close()
    reap()
    start, cpu = ready[0]
    return {"count": count, "warm_seconds": end - start + intake, "warm_cpu": cpu_seconds() - cpu, "cpu": cpu_seconds()}


def _grade(course: Course, taken: list[Submission], zygote: Zygote, out: Path) -> int:
    done = 0
    _step(f"{len(taken)} submissions: starting")

    def finished(index: int, result: Results) -> None:
        nonlocal done
        _refuse_less_than_full(result.score, result.max_score)
        write(result, out / result.submission.name / "results.json")
        done += 1
        _step(f"{done} of {len(taken)} submissions")

    grade(course, taken, zygote, finished)
    return done


def nbgrader(root: str, names: list[str]) -> dict:
    """`nbgrader autograde` of the one-exercise notebook for every name."""
    _step("making the nbgrader course")
    nbgrader_peer.make_course(Path(root), names)
    reap()
    before = cpu_seconds()
    count = len(names)
    graded = nbgrader_peer.autograde(Path(root), names, lambda begun: _step(f"nbgrader: {begun} of {count} notebooks"))
    reap()
    for score in graded.scores:
        _refuse_less_than_full(score, 100)
    used = cpu_seconds() - before
    return {"count": count, "seconds": graded.seconds, "warm_seconds": graded.warm_seconds, "cpu": used}


def plain_pytest(at_once: int) -> dict:
    """Module 01's tests on its solution by plain pytest: a fresh process for each submission, and no boundary."""
    _step(f"plain pytest, {at_once} at a time")
    command = [sys.executable, __file__, "one_pytest", "{}"]
    processes = [subprocess.Popen(command, stdout=subprocess.DEVNULL) for _ in range(at_once)]
    if any([process.wait() for process in processes]):
        raise SystemExit("plain pytest failed")
    return {"count": at_once}


def one_pytest() -> dict:
    """One process of `plain_pytest`."""
    course = _course(ROOT)
    module = course.module("01")

    # The `student` of the installed plugin is whatever this name stands for: here the solution, not the stub.
    sys.modules[f"exercises.{module.stem}"] = importlib.import_module(f"solutions.{module.stem}")
    folders = [str(module.folder), str(module.suite_folder)]
    arguments = [*folders, "-q", "--rootdir", str(ROOT), "--import-mode=importlib", "-p", "no:cacheprovider"]
    with contextlib.redirect_stdout(io.StringIO()) as output:
        status = pytest.main(arguments)
    if status:
        raise SystemExit(output.getvalue()[-2000:])
    return {}


def _course(root: Path) -> Course:
    """The course, with its `solutions` and `exercises` before any other of that name."""
    sys.path[:0] = [str(root)]
    return load_course(root)


def _refuse_less_than_full(score: float, max_score: float) -> None:
    if score != max_score:
        raise SystemExit(f"a right submission got {score} of {max_score} points: what was timed is not what was meant")


def _step(text: str) -> None:
    print(json.dumps({"step": text}), flush=True)


PARTS = {part.__name__: part for part in (boundary, cost, submissions, nbgrader, plain_pytest, one_pytest)}

if __name__ == "__main__":
    if os.environ.get("OMP_NUM_THREADS") != "1":
        raise SystemExit("this is the inside of the benchmark, run single-threaded by: python benchmarks/grading.py")
    adopt_orphans()
    answer = PARTS[sys.argv[1]](**json.loads(sys.argv[2]))
    print(json.dumps({"result": answer}), flush=True)
