"""The milestone of module 13: a submission's kernel on a GPU, first for what it computes, then for how fast and how lean it is.

Each measurement draws inputs of its own in the worker, inside the time that counts, from a seed that comes with the
question. The answer carries a random projection of every output, head by head, whose signs come with the question too: there
is no way to it but through the whole output. After the clock has stopped, rows at fresh random places are asked for and
compared. A time below what the GPU's arithmetic units could do is refused. Standard attention is measured by the same
protocol, and what the protocol itself costs is measured with a function that computes nothing, and taken off both.
"""

from __future__ import annotations

import hashlib
import secrets
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from autograder.course import Course, Module
from autograder.grading.manifest import TestOutcome, TestSpec
from autograder.milestones.gpu_client import Failed, GpuWorker
from autograder.milestones.problem import Problem, grain, inputs, project, reference
from autograder.policy import check

MODULE, EXERCISE, FILE = "13_flash_attention", "flash_attention", "flash_attention_triton.py"
SPEEDUP, MEMORY_SHARE, GROWTH = 3.0, 0.5, 2.1
LENGTHS = (1024, 2048, 4096, 8192, 16384)
LONGEST = 65536
# Of a batch: shorter sequences come in larger batches, so that the GPU is what takes the time, not Python that asks it to. With
# 16,384 tokens at 1K, an H100 had 0.8 ms of work and launching took 2.7. Standard attention's scores limit the longer ones.
TOKENS = 65536
ROWS = 64
CALL_SECONDS = 60.0
OUTPUTS = ("out", "dq", "dk", "dv")
# Of a row's grain: eight times what one rounding to the dtype can do, for the weights, out and the row sums are all rounded;
# float32 rounds less often than it sums, and gets more.
ROOM = {"bfloat16": 2**-6, "float16": 2**-9, "float32": 2**-16}

STANDARD = """
import torch

def flash_attention(q, k, v, causal=False, scale=None):
    group = q.shape[-3] // k.shape[-3]
    if group > 1:
        k, v = k.repeat_interleave(group, -3), v.repeat_interleave(group, -3)
    scores = q @ k.mT * scale
    if causal:
        n_q, n_k = scores.shape[-2:]
        seen = torch.ones(n_q, n_k, dtype=torch.bool, device=q.device).tril(n_k - n_q)
        scores = scores.masked_fill(~seen, float("-inf"))
    return scores.softmax(-1) @ v
"""
NOTHING = """
import torch

class Nothing(torch.autograd.Function):
    @staticmethod
    def forward(ctx, q, k, v):
        ctx.save_for_backward(q, k, v)
        return torch.empty_like(q)

    @staticmethod
    def backward(ctx, grad):
        return tuple(torch.empty_like(x) for x in ctx.saved_tensors)

def flash_attention(q, k, v, causal=False, scale=None):
    return Nothing.apply(q, k, v)
"""


@dataclass(frozen=True)
class Scale:
    """How large the milestone's problems are; tests make them small."""

    device: str = "cuda"
    lengths: tuple[int, ...] = LENGTHS
    longest: int = LONGEST
    tokens: int = TOKENS
    n_heads: int = 16
    head_dim: int = 128
    dtype: str = "bfloat16"
    repeats: int = 5
    calls: int = 5

    def batch(self, n: int) -> int:
        """Sequences of n tokens at once: as many as the tokens allow, and no more scores than the longest length has."""
        return max(1, min(self.tokens, max(self.lengths) ** 2 // n) // n)


@dataclass
class Milestone:
    """What is known while one submission is measured."""

    scale: Scale
    ceiling: float  # operations a second that a large matrix product reaches on this very device
    free_bytes: Callable[[], int]
    private: Sequence[Path]
    draw: Callable[[], int] = lambda: secrets.randbits(31)
    say: Callable[[str], object] = lambda text: None  # told what is being measured
    baselines: dict[tuple[str, Problem], Timing | None] = field(default_factory=dict)  # None: it ran out of memory

    def worker(self, files: Mapping[str, str]) -> GpuWorker:
        torch.cuda.empty_cache()  # this process's own references take no memory from the worker
        return GpuWorker(files, self.scale.device, self.private, self.free_bytes)


def problems(scale: Scale) -> list[Problem]:
    """What is timed: every length, forward alone and with the backward pass, causal, as in a language model."""
    return [
        Problem(scale.batch(n), scale.n_heads, scale.n_heads, n, n, scale.head_dim, scale.dtype, True, backward)
        for backward in (False, True)
        for n in scale.lengths
    ]


def correctness_problems(scale: Scale) -> list[Problem]:
    """What is only checked: dtypes, ragged lengths, odd widths, shared heads, rows that see nothing."""
    dtypes = ["float16", "float32"] + (["bfloat16"] if scale.device.startswith("cuda") else [])
    shapes = [
        (2, 4, 4, 128, 128, 64, True),
        (1, 4, 2, 65, 97, 80, True),
        (1, 2, 1, 97, 33, 24, True),
        (1, 2, 2, 70, 131, 128, False),
    ]
    return [Problem(b, h, kv, n, m, d, dtype, c, True) for dtype in dtypes for b, h, kv, n, m, d, c in shapes]


def manifest(scale: Scale) -> list[TestSpec]:
    """The milestone's tests and points; 100 in all."""

    def spec(name: str, points: float, title: str, core: bool = False) -> TestSpec:
        return TestSpec(name=name, exercise=EXERCISE, points=points, core=core, title=title)

    checks = correctness_problems(scale)
    specs = [spec(name_of(p), 30 / len(checks), "Values and gradients are those of attention.", True) for p in checks]
    timed = problems(scale)
    for p in timed:
        kind = "forward and backward" if p.backward else "forward"
        words = f"{kind} over {p.n_q} tokens"
        faster = f"At least {SPEEDUP:g} times as fast as standard attention: {words}."
        leaner = f"At most {MEMORY_SHARE:g} of standard attention's peak memory: {words}."
        specs.append(spec(f"speed_{name_of(p)}", 40 / len(timed), faster))
        specs.append(spec(f"memory_{name_of(p)}", 20 / len(timed), leaner))
    longest = f"{scale.longest} tokens at once, in memory that grows with their number."
    return [*specs, spec(f"forward_{scale.longest}", 10, longest)]


def name_of(problem: Problem) -> str:
    """A test's name for a problem."""
    p = problem
    kind = "backward" if p.backward else "forward"
    lengths = f"{p.n_q}" if p.n_q == p.n_k else f"{p.n_q}x{p.n_k}"
    return f"{kind}_{lengths}_d{p.head_dim}_h{p.n_heads}{f'on{p.n_kv_heads}' if p.n_heads != p.n_kv_heads else ''}_{p.dtype}" + (
        "_causal" if p.causal else ""
    )


def run(milestone: Milestone, files: Mapping[str, str]) -> tuple[dict[str, TestOutcome], list[str]]:
    """Every test's outcome, and the sandbox that was in force."""
    outcomes: dict[str, TestOutcome] = {}
    scale = milestone.scale
    try:
        with milestone.worker(files) as worker:  # correctness, in a run of its own
            sandbox = worker.sandbox
            for p in correctness_problems(scale):
                milestone.say(f"values: {name_of(p)}")
                outcomes[name_of(p)] = attempted(lambda p=p: check_values(worker, p, milestone))
                if outcomes[name_of(p)].outcome in ("timeout", "crashed"):
                    break
    except Failed as failed:
        outcome = TestOutcome(failed.kind, str(failed))
        return {spec.name: outcome for spec in manifest(scale)}, []
    if any(outcome.outcome != "passed" for outcome in outcomes.values()):
        first = next(outcome for outcome in outcomes.values() if outcome.outcome != "passed")
        kind = "todo" if first.outcome == "todo" else "failed"
        waits = TestOutcome(kind, "not measured, since the values are not right yet")
        return {spec.name: outcomes.get(spec.name, waits) for spec in manifest(scale)}, sandbox
    for p in problems(scale):
        milestone.say(f"speed and memory: {name_of(p)}")
        speed, memory = measured(milestone, files, p)
        outcomes |= {f"speed_{name_of(p)}": speed, f"memory_{name_of(p)}": memory}
    milestone.say(f"{scale.longest} tokens at once")
    outcomes[f"forward_{scale.longest}"] = attempted(lambda: check_longest(milestone, files))
    return outcomes, sandbox


def attempted(test: Callable[[], str]) -> TestOutcome:
    """The outcome of a test that returns what it found, or raises Failed or AssertionError."""
    try:
        return TestOutcome("passed", test())
    except Failed as failed:
        return TestOutcome(failed.kind, str(failed))
    except AssertionError as error:
        return TestOutcome("failed", str(error))


def check_values(worker: GpuWorker, problem: Problem, milestone: Milestone) -> str:
    """All values and gradients of a small problem."""
    seed = milestone.draw()
    reply, _, _ = worker.measure(problem, [seed], milestone.draw(), CALL_SECONDS, values=True)
    expected = reference(problem, inputs(problem, seed, torch.device(milestone.scale.device)))
    values = reply.get("values")
    assert isinstance(values, list) and len(values) == len(expected), "expected out, dq, dk and dv"
    for name, x, want, size in zip(OUTPUTS, values, expected, grain(expected)):
        compare(name, x, want.cpu(), size.cpu(), problem)
    return ""


def compare(name: str, actual: Any, expected: torch.Tensor, size: torch.Tensor, problem: Problem) -> None:
    """AssertionError unless every row `(..., head_dim)` differs by no more than rounding can explain; `size` is its grain."""
    assert isinstance(actual, torch.Tensor) and actual.shape == expected.shape, f"{name}: expected shape {tuple(expected.shape)}"
    dtype = str(actual.dtype).removeprefix("torch.")
    assert dtype == problem.dtype, f"{name}: expected {problem.dtype}, got {dtype}"
    error = (actual.to(expected) - expected).square().mean(-1).sqrt()
    worst = float((error / (ROOM[problem.dtype] * size).clamp_min(1e-30)).nan_to_num(torch.inf).max())
    assert worst <= 1, f"{name}: a row differs by {worst:.3g} times what rounding can explain ({name_of(problem)})"


@dataclass(frozen=True)
class Timing:
    """Seconds of one pass, the protocol's own included, and peak bytes beyond the inputs."""

    seconds: float
    peak_bytes: int


def timing(milestone: Milestone, worker: GpuWorker, problem: Problem, checked: bool) -> Timing:
    """The median of several calls, each over fresh inputs, each rechecked, in a worker that has done nothing yet.

    The first call compiles, and shows the peak: later ones find the memory that it took still at hand.
    """
    device = torch.device(milestone.scale.device)
    _, _, peak = worker.measure(problem, [milestone.draw()], milestone.draw(), CALL_SECONDS)
    seconds = []
    for _ in range(milestone.scale.calls):
        seeds, signs = [milestone.draw() for _ in range(milestone.scale.repeats)], milestone.draw()
        reply, elapsed, _ = worker.measure(problem, seeds, signs, CALL_SECONDS)
        seconds.append(elapsed / len(seeds))
        if checked:
            recheck(worker, reply.get("projections"), problem, seeds, signs, device)
    return Timing(statistics.median(seconds), peak)


def recheck(worker: GpuWorker, projections: Any, problem: Problem, seeds: list[int], signs: int, device: torch.device) -> None:
    """AssertionError unless a timed call's answer is right: the projections that came in time, for one repeat chosen now and
    for the last, and rows of the last at places chosen now.
    """
    n_outputs = 4 if problem.backward else 1
    shape = (len(seeds), n_outputs, problem.batch, problem.n_heads)
    fits = isinstance(projections, torch.Tensor) and tuple(projections.shape) == shape
    assert fits and projections.dtype == torch.float64, f"expected projections of shape {shape}"
    last = len(seeds) - 1
    for repeat in sorted({secrets.randbelow(len(seeds)), last}):
        expected = reference(problem, inputs(problem, seeds[repeat], device))
        sizes = grain(expected)
        for i, want in enumerate(project(expected, signs).cpu()):
            heads = sizes[i].shape[1]
            size = (sizes[i].double().square().sum(-1) * problem.head_dim).sqrt().cpu()  # a projection's standard deviation
            error = (projections[repeat, i] - want)[:, :heads].abs()
            worst = float((error / (2 * ROOM[problem.dtype] * size).clamp_min(1e-30)).nan_to_num(torch.inf).max())
            assert worst <= 1, f"{OUTPUTS[i]} of the timed run is not right: {worst:.3g} times what rounding can explain"
    positions = [[[secrets.randbelow(size) for size in x.shape[:3]] for _ in range(ROWS)] for x in expected]
    rows = worker.rows(positions)
    assert isinstance(rows, list) and len(rows) == n_outputs, "the rows of the timed run did not come"
    for name, x, full, size, where in zip(OUTPUTS, rows, expected, sizes, positions):
        batch, head, row = torch.tensor(where, device=device).unbind(-1)
        compare(name, x, full[batch, head, row].cpu(), size[batch, head, row].cpu(), problem)


def measured(milestone: Milestone, files: Mapping[str, str], problem: Problem) -> tuple[TestOutcome, TestOutcome]:
    """The outcomes for speed and memory of one problem."""
    try:
        overhead = baseline(milestone, NOTHING, problem)
        standard = baseline(milestone, STANDARD, problem)
        with milestone.worker(files) as worker:
            ours = timing(milestone, worker, problem, checked=True)
    except Failed as failed:
        outcome = TestOutcome(failed.kind, str(failed))
        return outcome, outcome
    except AssertionError as error:
        outcome = TestOutcome("failed", str(error))
        return outcome, outcome
    seconds = ours.seconds - min(overhead.seconds if overhead else 0.0, ours.seconds / 2)
    if problem.flops / ours.seconds > milestone.ceiling:  # before anything is taken off
        outcome = TestOutcome("failed", "faster than this GPU can multiply, so the work was not done in that time")
        return outcome, outcome
    return speed_outcome(problem, seconds, standard, overhead), memory_outcome(ours, standard)


def baseline(milestone: Milestone, source: str, problem: Problem) -> Timing | None:
    """The same measurement of a function of ours; None where it cannot run for want of memory."""
    key = (source, problem)
    if key not in milestone.baselines:
        try:
            with milestone.worker({FILE: source}) as worker:
                milestone.baselines[key] = timing(milestone, worker, problem, checked=False)
        except Failed as failed:
            if "out of memory" not in str(failed).lower():
                raise RuntimeError(f"the measurement of our own function failed: {failed}") from None
            milestone.baselines[key] = None
    return milestone.baselines[key]


def speed_outcome(problem: Problem, seconds: float, standard: Timing | None, overhead: Timing | None) -> TestOutcome:
    """Passed when fast enough; `seconds` are without the protocol's own."""
    rate = f"{1e3 * seconds:.3g} ms, {problem.flops / seconds / 1e12:.3g} TFLOP/s"
    if standard is None:
        return TestOutcome("passed", f"{rate}; standard attention runs out of memory", seconds=seconds)
    peer = standard.seconds - min(overhead.seconds if overhead else 0.0, standard.seconds / 2)
    said = f"{rate}; {peer / seconds:.2f} times as fast as standard attention ({1e3 * peer:.3g} ms)"
    if peer / seconds >= SPEEDUP:
        return TestOutcome("passed", said, seconds=seconds)
    return TestOutcome("failed", f"{said}, at least {SPEEDUP:g} times are asked for", seconds=seconds)


def memory_outcome(ours: Timing, standard: Timing | None) -> TestOutcome:
    """Passed when lean enough. Both peaks are of the whole process, inputs included, as a user would see them."""
    if standard is None:
        return TestOutcome("passed", f"{ours.peak_bytes / 2**20:.0f} MiB; standard attention runs out of memory")
    share = ours.peak_bytes / max(1, standard.peak_bytes)
    said = f"{ours.peak_bytes / 2**20:.0f} MiB at most, standard attention {standard.peak_bytes / 2**20:.0f} MiB"
    if share <= MEMORY_SHARE:
        return TestOutcome("passed", said)
    return TestOutcome("failed", f"{said}: at most {MEMORY_SHARE:g} of that is asked for")


def check_longest(milestone: Milestone, files: Mapping[str, str]) -> str:
    """The longest sequence forward: right, and with at most 2.1 times the peak of half its length."""
    s = milestone.scale
    whole = Problem(1, s.n_heads, s.n_heads, s.longest, s.longest, s.head_dim, s.dtype, True, False)
    peaks = []
    for problem in (replace(whole, n_q=whole.n_q // 2, n_k=whole.n_k // 2), whole):
        with milestone.worker(files) as worker:
            seed = milestone.draw()
            signs = milestone.draw()
            reply, _, peak = worker.measure(problem, [seed], signs, CALL_SECONDS)
            device = torch.device(s.device)
            recheck(worker, reply.get("projections"), problem, [seed], signs, device)
            peaks.append(peak)
    grown = peaks[1] / max(1, peaks[0])
    assert grown <= GROWTH or peaks[1] == 0, f"twice the tokens took {grown:.2f} times the memory, at most {GROWTH} is asked for"
    return f"{peaks[1] / 2**20:.0f} MiB at most for {s.longest} tokens, {grown:.2f} times that of half as many"


def milestone_module(course: Course) -> Module:
    """Module 13 with the milestone's one exercise, for all 100 points."""
    module = course.module(MODULE)
    exercise = module.exercise(EXERCISE)
    return module.model_copy(update={"exercises": (exercise.model_copy(update={"points": 100}),)})


def breaches_of(module: Module, files: dict[str, str]) -> Mapping[str, str]:
    """The sentence on a forbidden call that the kernel uses, if there is one."""
    return {b.exercise: b.message for b in reversed(check(module, files)) if b.exercise == EXERCISE}


def digest(source: str) -> str:
    """SHA-256 of the file."""
    return hashlib.sha256(source.encode()).hexdigest()
