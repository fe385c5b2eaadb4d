"""From a submission to the milestone's result, in the form that all results have."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch

from autograder.course import Course
from autograder.grading.score import score_module, totals
from autograder.intake import Submission
from autograder.milestones import flash_attention
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
    module = flash_attention.milestone_module(course)
    specs = flash_attention.manifest(scale)
    item = submission.modules[0]
    sandbox: list[str] = []
    if item.problem or flash_attention.FILE not in item.files:
        rejected = item.problem or f"{flash_attention.FILE} is missing: the milestone is about this file."
        result = score_module(module, specs, {}, rejected=rejected)
    elif breaches := flash_attention.breaches_of(module, item.files):
        result = score_module(module, specs, {}, breaches=breaches)
    else:
        private = [course.root / name for name in ("autograder", "solutions", "exercises", "docs", "tests", "benchmarks")]
        milestone = flash_attention.Milestone(scale, ceiling * MARGIN, free_bytes(scale.device), private, say=say)
        outcomes, sandbox = flash_attention.run(milestone, item.files)
        result = score_module(module, specs, outcomes)
    score, max_score = totals([result])
    return Results(
        course=Identity(name=course.settings.name, digest=course.digest()),
        submission=Identity(name=submission.name, digest=submission.digest),
        environment=environment(scale.device), sandbox=sandbox, score=score, max_score=max_score, modules=[result],
    )  # fmt: skip


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
