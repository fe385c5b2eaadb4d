"""From a submission to the milestone's result, in the form that all results have."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path

import torch

from autograder.course import Course, Module
from autograder.grading.manifest import TestOutcome, TestSpec
from autograder.grading.score import score_module, totals
from autograder.grading.solutions import solution_files
from autograder.intake import Submission
from autograder.milestones import flash_attention, gpt124m
from autograder.reports.results import Environment, Identity, Results

MARGIN = 1.1  # above the ceiling that was measured, for a ceiling measured on a hot device


def grade(
    course: Course,
    submission: Submission,
    scale: flash_attention.Scale,
    ceiling: float,
    say: Callable[[str], object] = lambda text: None,
) -> Results:
    """The result of the FlashAttention milestone. `ceiling` is in operations a second; `say` is told what is being measured."""

    def run(files: dict[str, str]) -> tuple[dict[str, TestOutcome], list[str]]:
        milestone = flash_attention.Milestone(scale, ceiling * MARGIN, free_bytes(scale.device), private_to(course), say=say)
        return flash_attention.run(milestone, files)

    missing = "" if flash_attention.FILE in submission.modules[0].files else flash_attention.FILE
    specs, module = flash_attention.manifest(scale), flash_attention.milestone_module(course)
    return _graded(course, submission, module, specs, missing, flash_attention.breaches_of, run, scale.device)


def grade_training(
    course: Course,
    submission: Submission,
    scale: gpt124m.Scale,
    text: str,
    say: Callable[[str], object] = lambda text: None,
) -> Results:
    """The result of the 124M milestone: GPT is trained on `text`, but for its end, and judged by the end."""
    module = gpt124m.milestone_module(course)

    def run(files: dict[str, str]) -> tuple[dict[str, TestOutcome], list[str]]:
        own = {name: text for name, text in files.items() if name in module.files}
        solution = solution_files(module)
        milestone = gpt124m.Milestone(scale, text, course.root, solution, free_bytes(scale.device), private_to(course), say=say)
        return gpt124m.run(milestone, own)

    missing = next((name for name in gpt124m.NEEDED if name not in submission.modules[0].files), "")
    return _graded(course, submission, module, gpt124m.manifest(scale), missing, gpt124m.breaches_of, run, scale.device)


def _graded(
    course: Course,
    submission: Submission,
    module: Module,
    specs: list[TestSpec],
    missing: str,
    breaches_of: Callable[[Module, dict[str, str]], Mapping[str, str]],
    run: Callable[[dict[str, str]], tuple[dict[str, TestOutcome], list[str]]],
    device: str,
) -> Results:
    item = submission.modules[0]
    sandbox: list[str] = []
    if item.problem or missing:
        rejected = item.problem or f"{missing} is missing: the milestone is about this file."
        result = score_module(module, specs, {}, rejected=rejected)
    elif breaches := breaches_of(module, item.files):
        result = score_module(module, specs, {}, breaches=breaches)
    else:
        outcomes, sandbox = run(item.files)
        result = score_module(module, specs, outcomes)
    score, max_score = totals([result])
    return Results(
        course=Identity(name=course.settings.name, digest=course.digest()),
        submission=Identity(name=submission.name, digest=submission.digest),
        environment=environment(device), sandbox=sandbox, score=score, max_score=max_score, modules=[result],
    )  # fmt: skip


def private_to(course: Course) -> list[Path]:
    """The course's folders that a submission must not read."""
    return [course.root / name for name in ("autograder", "solutions", "exercises", "docs", "tests", "benchmarks")]


def environment(device: str) -> Environment:
    """This machine, with its GPU: times mean nothing without it."""
    here = Environment.here()
    gpu = torch.cuda.get_device_name(torch.device(device)) if device.startswith("cuda") else None
    return here.model_copy(update={"machine": f"{here.machine}, {gpu}"}) if gpu else here


def free_bytes(device: str) -> Callable[[], int]:
    """How much of the device's memory is free, whoever has the rest. On a CPU nothing is watched."""
    if not device.startswith("cuda"):
        return lambda: 0
    return lambda: torch.cuda.mem_get_info(torch.device(device))[0]


def device_ceiling(device: torch.device, n: int = 8192, repeats: int = 20) -> float:
    """Operations a second of the fastest of some large bfloat16 matrix products, which no attention can exceed."""
    a, b = (torch.randn(n, n, device=device, dtype=torch.bfloat16) for _ in range(2))
    best = float("inf")
    for _ in range(repeats):
        torch.cuda.synchronize(device)
        start = time.perf_counter()
        a @ b
        torch.cuda.synchronize(device)
        best = min(best, time.perf_counter() - start)
    return 2.0 * n**3 / best
