"""The 64-dim Mini-GPT of module 05 learns TinyShakespeare with module 07's `train`: `python benchmarks/training.py`.

Prints the losses on the way, a sample of what the model writes, tokens per second, and how a step compares with one of the same
loop with PyTorch's AdamW in it; docs/training-speed.md says how to read it. Takes about four minutes on one thread.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import statistics
import sys
import time
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from unittest import mock

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from autograder import data as course_data  # noqa: E402
from solutions import training_loop  # noqa: E402
from solutions.decoder_only import GPTConfig, MiniGPT, count_parameters, initialise  # noqa: E402
from solutions.decoding import apply_temperature, sample  # noqa: E402
from solutions.training_loop import CharVocabulary, TrainConfig, train  # noqa: E402

WANTED = 1.9  # nats for each character of the validation text


class PeerAdamW(torch.optim.AdamW):
    """PyTorch's AdamW with its learning rate as an attribute, as the course's loop sets it."""

    @property
    def lr(self) -> float:
        return self.param_groups[0]["lr"]

    @lr.setter
    def lr(self, value: float) -> None:
        self.param_groups[0]["lr"] = value


@dataclass(frozen=True)
class Run:
    """What a run of `train` gave: its losses, and when its evaluations were done."""

    history: dict[str, list]
    seconds: tuple[float, ...]  # after the start, at each evaluation's end
    evaluating: float  # seconds of all evaluations together

    @property
    def tokens_per_second(self) -> float:
        """Of training alone."""
        return self.history["tokens"][0] / (self.seconds[-1] - self.evaluating)


@contextmanager
def watched(console: Console):
    """`evaluate` says what it found while `train` runs; yields the list of (start, stop) of each evaluation."""
    evaluate, moments = training_loop.evaluate, []

    def told(*arguments) -> float:
        start = time.perf_counter()
        loss = evaluate(*arguments)
        moments.append((start, time.perf_counter()))
        console.print(f"  {moments[-1][1] - moments[0][0]:6.1f} s  validation loss {loss:.4f}")
        return loss

    with mock.patch.object(training_loop, "evaluate", told):
        yield moments


def new_model(vocab_size: int, options: argparse.Namespace) -> MiniGPT:
    """Module 05's defaults, with GPT-2's initialisation."""
    return initialise(MiniGPT(GPTConfig(vocab_size, options.context)), torch.Generator().manual_seed(options.seed))


def config_of(options: argparse.Namespace, n_steps: int, eval_every: int) -> TrainConfig:
    """The configuration that reaches the headline, for any number of steps."""
    return TrainConfig(
        context_length=options.context, n_steps=n_steps, batch_size=options.batch, max_lr=options.lr, min_lr=options.lr / 20,
        warmup_steps=min(options.warmup, n_steps), weight_decay=options.decay, eval_every=eval_every, seed=options.seed,
    )  # fmt: skip


def long_run(model: nn.Module, texts: tuple[Tensor, Tensor], options: argparse.Namespace, console: Console) -> Run:
    """The whole training, watched."""
    with watched(console) as moments:
        history = train(model, texts, config_of(options, options.steps, options.eval_every))
    begun = moments[0][0]
    history["tokens"] = [options.steps * options.batch * options.context]
    return Run(history, tuple(stop - begun for _, stop in moments), sum(stop - start for start, stop in moments))


def timed(texts: tuple[Tensor, Tensor], vocab_size: int, options: argparse.Namespace, peer: bool) -> tuple[float, list[float]]:
    """Seconds for a step of `train`, and its losses; the peer is the same function with PyTorch's AdamW in it."""
    model, n = new_model(vocab_size, options), options.peer_steps
    short = texts[0], texts[1][: options.context + 1]  # evaluation takes no time
    with mock.patch.object(training_loop, "AdamW", PeerAdamW if peer else training_loop.AdamW):
        start = time.perf_counter()
        history = train(model, short, config_of(options, n, n))
        return (time.perf_counter() - start) / n, history["loss"]


Pairs = list[tuple[float, float]]  # seconds for a step, ours and the peer's


def in_turns(texts: tuple[Tensor, Tensor], vocab_size: int, options: argparse.Namespace) -> tuple[Pairs, float]:
    """(ours, the peer's) seconds for a step in each round, each first in every second one; and how far losses are apart."""
    pairs, apart = [], 0.0
    timed(texts, vocab_size, options, peer=True)  # everything has run once
    for i in range(options.rounds):
        order = (False, True) if i % 2 == 0 else (True, False)
        found = {peer: timed(texts, vocab_size, options, peer) for peer in order}
        pairs.append((found[False][0], found[True][0]))
        apart = max(apart, *(abs(a - b) for a, b in zip(found[False][1], found[True][1])))
    return pairs, apart


@torch.no_grad()
def written(model: MiniGPT, vocabulary: CharVocabulary, options: argparse.Namespace) -> str:
    """What the model writes after a line break, at the temperature of the options."""
    generator, ids = torch.Generator().manual_seed(options.seed), vocabulary.encode("\n")[None]
    for _ in range(options.sample):
        logits = model(ids[:, -options.context :])[0][:, -1]
        ids = torch.cat([ids, sample(apply_temperature(logits, options.temperature), generator)[:, None]], 1)
    return vocabulary.decode(ids[0, 1:])


def table(run: Run, pairs: Pairs, apart: float, options: argparse.Namespace) -> Table:
    """The figures, one a line."""
    history = run.history
    reached = next((i for i, loss in enumerate(history["validation_loss"]) if loss <= WANTED), None)
    ours, theirs = zip(*pairs, strict=True)
    ratio = statistics.median(b / a for a, b in pairs)
    last = math.fsum(history["loss"][-100:]) / len(history["loss"][-100:])
    title = f"{options.steps} steps of {options.batch} x {options.context} characters, threads: {options.threads}"
    shown = Table("what", "figure", title=title)
    shown.add_row(f"validation loss (wanted: {WANTED} or less)", f"{history['validation_loss'][-1]:.4f} nats/char")
    shown.add_row("training loss, mean of the last 100 steps", f"{last:.4f} nats/char")
    if reached is not None:
        step, seconds = history["validation_step"][reached], run.seconds[reached]
        shown.add_row(f"first evaluation at {WANTED} or less", f"after step {step}, {seconds:.0f} s")
    shown.add_row("the whole run, evaluations included", f"{run.seconds[-1]:.0f} s, {run.evaluating:.0f} s of them evaluations")
    shown.add_row("training", f"{run.tokens_per_second:,.0f} tokens/s")
    shown.add_row("a step, ours", f"{1e3 * statistics.median(ours):.2f} ms")
    shown.add_row("a step, the same loop with torch.optim.AdamW", f"{1e3 * statistics.median(theirs):.2f} ms")
    shown.add_row("PyTorch's by ours (above 1: ours is faster)", f"{ratio:.3f}")
    shown.add_row(f"largest difference of {options.peer_steps} losses", f"{apart:.1e}")
    return shown


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--steps", type=int, default=5000, help="updates of the weights")
    parser.add_argument("--batch", type=int, default=16, help="sequences of a step")
    parser.add_argument("--context", type=int, default=64, help="characters of a sequence")
    parser.add_argument("--lr", type=float, default=1e-2, help="the largest learning rate; the smallest is a twentieth of it")
    parser.add_argument("--warmup", type=int, default=50, help="steps until the largest learning rate")
    parser.add_argument("--decay", type=float, default=0.1, help="weight decay")
    parser.add_argument("--eval-every", type=int, default=500, help="steps from one evaluation to the next")
    parser.add_argument("--threads", type=int, default=1, help="threads of PyTorch")
    parser.add_argument("--seed", type=int, default=0, help="of weights, batches and sample")
    parser.add_argument("--sample", type=int, default=400, help="characters that the model writes in the end")
    parser.add_argument("--temperature", type=float, default=0.8, help="of the sample")
    parser.add_argument("--rounds", type=int, default=5, help="rounds of the comparison with PyTorch's AdamW")
    parser.add_argument("--peer-steps", type=int, default=100, help="steps of each side in a round")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to a file as well")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    console = Console(width=None if sys.stdout.isatty() else 110)
    text = course_data.text("tinyshakespeare")
    vocabulary = CharVocabulary(text)
    ids = vocabulary.encode(text)
    n_train = int(0.9 * len(ids))
    texts = ids[:n_train], ids[n_train:]
    model = new_model(len(vocabulary), options)
    console.print(f"{len(ids):,} characters, {len(vocabulary)} of them different, {len(texts[1]):,} held out")
    console.print(f"{count_parameters(model.config):,} weights")
    run = long_run(model, texts, options, console)
    console.print(f"\n{written(model.eval(), vocabulary, options)}\n", markup=False, highlight=False)
    pairs, apart = in_turns(texts, len(vocabulary), options)
    console.print(table(run, pairs, apart, options))
    if options.json:
        environment = {"torch": torch.__version__, "python": platform.python_version(), "cores": os.cpu_count()}
        figures = {"environment": environment, "run": asdict(run), "step_seconds": pairs, "largest_difference": apart}
        options.json.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
