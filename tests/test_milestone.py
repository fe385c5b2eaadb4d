"""The FlashAttention milestone where there is no GPU: its protocol on small problems, its judgement, and its confinement."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from autograder.cli import app
from autograder.course import load_course
from autograder.grading.manifest import TestOutcome
from autograder.intake import collect
from autograder.milestones import flash_attention as milestone
from autograder.milestones.gpu_client import Failed, GpuWorker
from autograder.milestones.grade import grade
from autograder.milestones.problem import Problem, inputs, project, reference, rows_of, solve

ROOT = Path(__file__).resolve().parents[1]
CPU = torch.device("cpu")
SMALL = milestone.Scale(device="cpu", lengths=(32,), longest=64, tokens=32, n_heads=2, head_dim=16, dtype="float32", calls=1)
PROBLEM = Problem(2, 4, 2, 40, 40, 16, "float32", True, True)

PRYING = """
import json, os, socket, subprocess

def attempt(action):
    try:
        return repr(action())
    except BaseException as error:
        return type(error).__name__

def flash_attention(q, k, v, causal=False, scale=None):
    raise RuntimeError(json.dumps({
        "solution": attempt(lambda: open(%r).read(20)),
        "write": attempt(lambda: open("/tmp/milestone-was-here", "w")),
        "network": attempt(lambda: socket.socket()),
        "passwd": attempt(lambda: open("/etc/passwd").read(20)),
        "parent": attempt(lambda: os.kill(os.getppid(), 0)),
        "compiler": attempt(lambda: subprocess.run(["/usr/bin/env", "true"]).returncode),
        "scratch": attempt(lambda: open("note", "w").write("x")),
        "moved": attempt(lambda: (os.makedirs("a"), os.makedirs("b"), open("a/x", "w").close(), os.replace("a/x", "b/x"))[-1]),
    }))
"""


def right(q, k, v, causal, scale):
    k, v = (x.repeat_interleave(q.shape[1] // k.shape[1], 1) for x in (k, v))
    return torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=causal, scale=scale)


class Answers:
    """A worker that answers in this process, with a function and whatever it does to its outputs."""

    def __init__(self, function, outputs=lambda outputs: outputs, rows=lambda rows: rows):
        self.function, self.outputs, self.changed = function, outputs, rows

    def measure(self, problem, seeds, signs, seconds, values=False):
        solved = [self.outputs(solve(self.function, problem, inputs(problem, seed, CPU))) for seed in seeds]
        self.last = solved[-1]
        reply = {"projections": torch.stack([project(outputs, signs) for outputs in solved]), "values": solved[-1]}
        return reply, 1.0, 0

    def rows(self, positions):
        return self.changed(rows_of(self.last, positions))


def rechecked(worker, problem=PROBLEM):
    reply, _, _ = worker.measure(problem, [3, 4], 7, 1.0)
    milestone.recheck(worker, reply["projections"], problem, [3, 4], 7, CPU)


def test_the_reference_is_attention():
    for problem in (PROBLEM, replace(PROBLEM, causal=False, n_k=27)):
        drawn = inputs(problem, 0, CPU)
        expected = solve(right, problem, [x.double() for x in drawn])
        for ours, theirs in zip(reference(problem, drawn), expected, strict=True):
            torch.testing.assert_close(ours, theirs)


def test_right_answers_pass_and_the_smallest_lie_does_not():
    rechecked(Answers(right))
    rechecked(Answers(right), replace(PROBLEM, backward=False))
    lies = {
        "zeros": Answers(right, lambda outputs: [torch.zeros_like(x) for x in outputs]),
        "one gradient missing": Answers(right, lambda o: [o[0], torch.zeros_like(o[1]), *o[2:]]),
        "one head wrong": Answers(right, lambda o: [torch.cat([o[0][:, :-1], 1.01 * o[0][:, -1:]], 1), *o[1:]]),
        "fewer bits": Answers(right, lambda o: [x.bfloat16().float() for x in o]),
        "not a number": Answers(right, lambda o: [x * float("nan") for x in o]),
        "no mask": Answers(lambda q, k, v, causal, scale: right(q, k, v, False, scale)),
        "rows of something else": Answers(right, rows=lambda rows: [x.flip(0) for x in rows]),
    }
    for name, worker in lies.items():
        with pytest.raises(AssertionError):
            rechecked(worker)
            pytest.fail(f"went through: {name}", pytrace=False)
    for nonsense in (None, [], torch.zeros(3), torch.zeros(2, 4, 2, 4)):
        with pytest.raises(AssertionError, match="projections of shape"):
            milestone.recheck(Answers(right), nonsense, PROBLEM, [3, 4], 7, CPU)


def test_half_precision_has_room_for_its_own_rounding_only():
    problem = replace(PROBLEM, dtype="float16")
    in_full = Answers(lambda q, k, v, causal, scale: right(q.float(), k.float(), v.float(), causal, scale).half())
    rechecked(in_full, problem)
    eight_bits = Answers(in_full.function, lambda outputs: [x.to(torch.float8_e4m3fn).half() for x in outputs])
    with pytest.raises(AssertionError):
        rechecked(eight_bits, problem)


def test_points_add_up_and_names_differ():
    for scale in (SMALL, milestone.Scale()):
        specs = milestone.manifest(scale)
        assert sum(spec.points for spec in specs) == pytest.approx(100)
        assert len({spec.name for spec in specs}) == len(specs)
        assert all(spec.core for spec in specs[: len(milestone.correctness_problems(scale))])


def test_speed_and_memory_are_judged_against_standard_attention():
    timing = milestone.Timing
    nothing, standard = timing(1.0, 0), timing(13.0, 1000)
    assert milestone.speed_outcome(PROBLEM, 4.0, standard, nothing).outcome == "passed"
    assert milestone.speed_outcome(PROBLEM, 4.1, standard, nothing).outcome == "failed"
    assert milestone.speed_outcome(PROBLEM, 4.1, None, nothing).outcome == "passed"  # out of memory
    assert milestone.memory_outcome(timing(1.0, 500), standard).outcome == "passed"
    assert milestone.memory_outcome(timing(1.0, 501), standard).outcome == "failed"


def test_an_impossible_time_is_refused(monkeypatch):
    course = milestone.Milestone(SMALL, ceiling=1.0, free_bytes=lambda: 0, private=[])
    monkeypatch.setattr(milestone.Milestone, "worker", lambda self, source: _Here())
    monkeypatch.setattr(milestone, "timing", lambda *args, **kwargs: milestone.Timing(1e-3, 0))
    for outcome in milestone.measured(course, {}, PROBLEM):
        assert outcome.outcome == "failed" and "faster than this GPU" in outcome.message


class _Here:
    def __enter__(self):
        return self

    def __exit__(self, *exception):
        return None


def test_what_a_confined_worker_can_reach():
    solution = str(ROOT / "solutions" / milestone.MODULE / milestone.FILE)
    private = [ROOT / name for name in ("autograder", "solutions", "exercises", "tests")]
    with GpuWorker({milestone.FILE: PRYING % solution}, "cpu", private, lambda: 0) as worker:
        with pytest.raises(Failed) as failed:
            worker.measure(PROBLEM, [1], 2, 30.0)
        assert worker.sandbox[-1].startswith("seccomp") and worker.sandbox[-2].startswith("Landlock")
    said = json.loads(str(failed.value).partition("RuntimeError: ")[2].partition("\n")[0])
    for name in ("solution", "write", "network", "passwd", "parent"):
        assert said[name] in ("PermissionError", "ProcessLookupError"), (name, said)
    assert said["compiler"] == "0" and said["scratch"] == "1"  # Triton assembles and links, and keeps what it made
    assert said["moved"] == "None"  # from the folder where it was made to where it is kept


def test_a_stub_is_a_todo_and_a_missing_file_is_said(tmp_path):
    course = load_course(ROOT)
    module = course.module(milestone.MODULE)
    stub = course.root / "exercises" / milestone.MODULE
    result = grade(course, collect(stub, course, [module]), SMALL, 1e12)
    assert result.score == 0 and {e.status for e in result.modules[0].exercises} == {"todo"}
    (tmp_path / "flash_attention.py").write_text("x = 1\n")
    missing = grade(course, collect(tmp_path, course, [module]), SMALL, 1e12)
    assert missing.score == 0 and "flash_attention_triton.py" in missing.model_dump_json()


def test_a_forbidden_call_is_refused_before_anything_runs(tmp_path):
    course = load_course(ROOT)
    source = "import torch.nn.functional as F\n\ndef flash_attention(q, k, v, causal=False, scale=None):\n"
    source += "    return F.scaled_dot_product_attention(q, k, v, is_causal=causal, scale=scale)\n"
    (tmp_path / milestone.FILE).write_text(source)
    result = grade(course, collect(tmp_path, course, [course.module(milestone.MODULE)]), SMALL, 1e12)
    assert result.score == 0 and result.modules[0].exercises[0].status == "policy"


def test_wrong_values_are_not_timed(monkeypatch):
    wrong = Answers(right, lambda outputs: [2 * x for x in outputs])
    wrong.sandbox = []
    monkeypatch.setattr(Answers, "__enter__", lambda self: self, raising=False)
    monkeypatch.setattr(Answers, "__exit__", lambda self, *exception: None, raising=False)
    monkeypatch.setattr(milestone.Milestone, "worker", lambda self, source: wrong)
    outcomes, _ = milestone.run(milestone.Milestone(SMALL, 1e12, lambda: 0, []), "")
    assert {outcome.outcome for outcome in outcomes.values()} == {"failed"}
    assert isinstance(outcomes["forward_64"], TestOutcome) and "not measured" in outcomes["forward_64"].message


def test_batches_are_as_large_as_tokens_and_standard_attention_allow():
    """So that the GPU takes the time at short lengths, and standard attention still has room at long ones."""
    scale = milestone.Scale()
    most = max(scale.lengths) ** 2
    for problem in milestone.problems(scale):
        n, tokens = problem.n_q, problem.batch * problem.n_q
        assert tokens <= scale.tokens and tokens * n <= most, problem
        assert tokens + n > scale.tokens or (tokens + n) * n > most, problem


@pytest.mark.skipif(torch.cuda.is_available(), reason="says what happens without a GPU")
def test_without_a_gpu_the_command_says_so(tmp_path):
    (tmp_path / milestone.FILE).write_text("x = 1\n")
    done = CliRunner().invoke(app, ["milestone", "flash_attention", str(tmp_path)])
    assert done.exit_code == 1 and "needs a CUDA GPU" in done.output
