"""The milestone of module 14: a submission trains GPT-2 124M on a GPU, and what comes out is judged by the text it can predict.

The submission's process gets the training part of a corpus and a number of steps, and writes the weights that it ends with.
Nothing else that it says counts: the clock runs outside, the weights are put into the solution's model, and their loss is
measured here, on text that the process never saw. The solution is trained by the same protocol, on the same corpus from the
same seed, so both numbers are relative to what this very GPU can do.
"""

from __future__ import annotations

import importlib
import json
import math
import shutil
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from autograder.course import Course, Module
from autograder.grading.manifest import TestOutcome, TestSpec
from autograder.milestones.gpu_client import Failed, GpuWorker
from autograder.policy import check

MODULE, EXERCISE = "14_capstone_gpt124m", "train"
NEEDED = ("gpt124m/model.py", "gpt124m/data.py", "gpt124m/train.py")
LOSSES = {0.3: 20.0, 0.1: 20.0, 0.05: 10.0}  # nats per token above the solution's: points
SPEEDS = {0.5: 15.0, 0.8: 15.0}  # of the solution's tokens per second: points
RUN_SECONDS = 3600.0
PATIENCE = 4  # times the solution's seconds are enough for a submission
GPT2_124M = {"vocab_size": 50257, "context_length": 1024, "n_layers": 12, "n_heads": 12, "d_model": 768}


@dataclass(frozen=True)
class Scale:
    """How large the run is; tests make it small. The defaults take a minute or two on an H100."""

    device: str = "cuda"
    model: Mapping[str, int] = field(default_factory=lambda: dict(GPT2_124M))
    batch_size: int = 16
    accumulation_steps: int = 1
    total_steps: int = 200
    max_lr: float = 6e-4
    dtype: str = "bfloat16"
    seed: int = 1337
    held_out: float = 0.1  # of the text, its end
    eval_batches: int = 50  # at most

    @property
    def training(self) -> dict[str, Any]:
        """Every field of the given TrainConfig: a submission's own defaults decide nothing."""
        return {
            "total_steps": self.total_steps, "warmup_steps": self.total_steps // 10, "max_lr": self.max_lr,
            "min_lr": self.max_lr / 10, "weight_decay": 0.1, "betas": (0.9, 0.95), "clip_norm": 1.0,
            "accumulation_steps": self.accumulation_steps, "dtype": self.dtype, "compile": False, "eval_every": 0,
            "eval_batches": 1, "checkpoint_path": None, "checkpoint_every": 0, "stop_after": None, "log_path": None,
        }  # fmt: skip

    @property
    def tokens(self) -> int:
        return self.total_steps * self.accumulation_steps * self.batch_size * self.model["context_length"]


@dataclass(frozen=True)
class Run:
    """What came out of a run: its seconds and the loss of its weights on the text that was held out."""

    seconds: float
    loss: float


@dataclass
class Milestone:
    """What is known while a submission is measured."""

    scale: Scale
    text: str  # the last part of it is held out
    root: Path  # where the course lies
    solution: Mapping[str, str]  # its files, as they would be handed in
    free_bytes: Callable[[], int]
    private: Sequence[Path]
    say: Callable[[str], object] = lambda text: None  # told what is going on


def manifest(scale: Scale) -> list[TestSpec]:
    """The milestone's tests and points; 100 in all."""
    steps = f"{scale.total_steps} steps"

    def spec(name: str, points: float, title: str, core: bool = False) -> TestSpec:
        return TestSpec(name=name, exercise=EXERCISE, points=points, core=core, title=title)

    specs = [spec("trains", 20, f"GPT trains for {steps} and ends with finite weights of GPT-2's names and shapes.", True)]
    for room, points in LOSSES.items():
        title = f"After {steps} the loss on unseen text is at most {room:g} above the solution's."
        specs.append(spec(f"loss_within_{room:g}", points, title))
    for share, points in SPEEDS.items():
        specs.append(spec(f"speed_{share:g}", points, f"At least {share:g} times as many tokens a second as the solution."))
    return specs


def run(milestone: Milestone, files: Mapping[str, str]) -> tuple[dict[str, TestOutcome], list[str]]:
    """Every test's outcome, and the sandbox that was in force."""
    scale, names = milestone.scale, [spec.name for spec in manifest(milestone.scale)]
    gpt124m = Solution(milestone.root)
    with tempfile.TemporaryDirectory(prefix="llm-course-corpus-") as folder:
        milestone.say("the corpus")
        corpus = prepare(gpt124m, milestone, Path(folder))
        milestone.say("a step or two, to see that the submission trains at all")
        sandbox: list[str] = []
        try:
            trained(milestone, gpt124m, files, corpus, 2, 300.0, sandbox)
            milestone.say("the solution's run")
            theirs = trained(milestone, gpt124m, milestone.solution, corpus, scale.total_steps, RUN_SECONDS, [])
            milestone.say("the submission's run")
            seconds = 60 + PATIENCE * theirs.seconds
            ours = trained(milestone, gpt124m, files, corpus, scale.total_steps, seconds, sandbox)
        except Failed as failed:
            return dict.fromkeys(names, TestOutcome(failed.kind, str(failed))), sandbox
        except AssertionError as error:
            return dict.fromkeys(names, TestOutcome("failed", str(error))), sandbox
    return judge(scale, ours, theirs), sandbox


def judge(scale: Scale, ours: Run, theirs: Run) -> dict[str, TestOutcome]:
    """The outcome of each test, from two runs."""
    outcomes = {"trains": TestOutcome("passed", f"loss {ours.loss:.4f} after {scale.tokens:,} tokens")}
    for room in LOSSES:
        said = f"loss {ours.loss:.4f}, the solution's {theirs.loss:.4f}"
        good = ours.loss <= theirs.loss + room
        outcomes[f"loss_within_{room:g}"] = TestOutcome("passed" if good else "failed", said)
    speeds = scale.tokens / ours.seconds, scale.tokens / theirs.seconds
    for share in SPEEDS:
        said = f"{speeds[0]:,.0f} tokens/s, {speeds[0] / speeds[1]:.2f} times the solution's {speeds[1]:,.0f}"
        good = speeds[0] >= share * speeds[1]
        outcomes[f"speed_{share:g}"] = TestOutcome("passed" if good else "failed", said, seconds=ours.seconds)
    return outcomes


def prepare(gpt124m: Solution, milestone: Milestone, folder: Path) -> Path:
    """The text as a corpus in `folder/corpus`: its beginning for training, its end held out. UTF-8 bytes are the tokens."""
    scale, text = milestone.scale, milestone.text
    cut = int(len(text) * (1 - scale.held_out))
    for name, part in (("train.txt", text[:cut]), ("validation.txt", text[cut:])):
        (folder / name).write_text(part, encoding="utf-8", newline="")
    tokenizer = gpt124m.tokenizer.ByteTokenizer()
    paths = [folder / "train.txt", folder / "validation.txt"]
    gpt124m.data.prepare_corpus(paths, tokenizer, folder / "corpus", 10_000_000, tokenizer.eot_id)
    return folder / "corpus"


def without_validation(corpus: Path, target: Path) -> None:
    """A copy of the corpus that holds the split "train" and nothing else."""
    target.mkdir()
    manifest = json.loads((corpus / "manifest.json").read_text(encoding="utf-8"))
    manifest["splits"] = {"train": manifest["splits"]["train"]}
    for shard in manifest["splits"]["train"]["shards"]:
        shutil.copyfile(corpus / shard["file"], target / shard["file"])
    (target / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")


def trained(
    milestone: Milestone,
    gpt124m: Solution,
    files: Mapping[str, str],
    corpus: Path,
    n_steps: int,
    seconds: float,
    sandbox: list[str],
) -> Run:
    """Train in a worker of its own and judge the weights. Failed, or AssertionError, says what went wrong."""
    scale = milestone.scale
    if scale.device.startswith("cuda"):
        torch.cuda.empty_cache()
    with GpuWorker(files, scale.device, milestone.private, milestone.free_bytes, task="training") as worker:
        sandbox[:] = worker.sandbox
        without_validation(corpus, worker.scratch / "corpus")
        written = worker.scratch / "weights.pt"
        request = {
            "op": "train", "model": dict(scale.model), "batch_size": scale.batch_size, "seed": scale.seed,
            "corpus": str(worker.scratch / "corpus"), "weights": str(written),
            "training": scale.training | {"stop_after": n_steps},
        }  # fmt: skip
        _, elapsed = worker.ask(request, seconds, f"{n_steps} steps took longer than")
        worker.kill()  # what it has not done by now it does no more
        weights = read_weights(written)
    return Run(elapsed, loss_of(gpt124m, scale, weights, corpus))


def read_weights(path: Path) -> Mapping[str, torch.Tensor]:
    """The weights that the process wrote. They are data from a stranger: no code is run, no link is followed."""
    assert path.is_file() and not path.is_symlink(), "no weights were written"
    try:
        weights = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise AssertionError(f"the weights cannot be read: {type(error).__name__}") from None
    fits = isinstance(weights, dict) and all(isinstance(x, torch.Tensor) and x.layout is torch.strided for x in weights.values())
    assert fits, "the weights are not a dict of tensors"
    return weights


def loss_of(gpt124m: Solution, scale: Scale, weights: Mapping[str, torch.Tensor], corpus: Path) -> float:
    """The mean loss of the solution's model with these weights on the text that was held out, in float32."""
    device = torch.device(scale.device)
    model = gpt124m.model.GPT(gpt124m.model.GPTConfig(**scale.model))
    shapes = {name: tuple(x.shape) for name, x in model.state_dict().items()}
    found = {name: tuple(x.shape) for name, x in weights.items()}
    other = sorted(name for name in shapes.keys() | found.keys() if shapes.get(name) != found.get(name))
    if other:
        name = other[0]
        raise AssertionError(f"{name}: expected {shapes.get(name, 'nothing')}, got {found.get(name, 'nothing')}")
    model.load_state_dict(weights)
    shards = gpt124m.data.TokenShards(corpus, "validation", min(scale.batch_size, 4), scale.model["context_length"])
    loss = gpt124m.train.evaluate(model.to(device), shards, min(scale.eval_batches, len(shards)))
    assert math.isfinite(loss), f"the loss on unseen text is {loss}"
    return loss


class Solution:
    """The solution of module 14 in the course that lies in `root`: `.model`, `.data`, `.train`, `.tokenizer`, imported."""

    def __init__(self, root: Path):
        if str(root) not in sys.path:
            sys.path.insert(0, str(root))

    def __getattr__(self, name: str) -> Any:
        return importlib.import_module(f"solutions.gpt124m.{name}")


def milestone_module(course: Course) -> Module:
    """Module 14 with the milestone's one exercise, for all 100 points."""
    module = course.module(MODULE)
    exercise = module.exercise(EXERCISE)
    return module.model_copy(update={"exercises": (exercise.model_copy(update={"points": 100}),)})


def breaches_of(module: Module, files: dict[str, str]) -> Mapping[str, str]:
    """The sentence on a forbidden call that the training uses, if there is one."""
    return {b.exercise: b.message for b in reversed(check(module, files)) if b.exercise == EXERCISE}
