"""The 64-dim Mini-T5 of module 11 learns to translate English into French: `python benchmarks/translation.py`.

Prints the losses on the way, BLEU on held-out sentences by greedy and by beam search beside that of three translators that need
no network, translations to look at, tokens per second, and what the cache is worth; docs/translation.md says how to read it.
Takes about five minutes on one thread.
"""

from __future__ import annotations

import argparse
import copy
import json
import math
import os
import platform
import random
import re
import statistics
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from autograder import data as course_data  # noqa: E402
from solutions.encoder_decoder import (  # noqa: E402
    MiniT5,
    MiniT5Config,
    bleu,
    label_smoothed_loss,
    padding_mask,
    shift_right,
    translate,
)  # fmt: skip
from solutions.tokenization import Vocabulary, encode_bpe, train_bpe  # noqa: E402
from solutions.training_loop import AdamW, clip_grad_norm, cosine_schedule  # noqa: E402

PAD, EOS, UNK = 0, 1, 2
SPECIALS = ("<pad>", "</s>", "<unk>")  # <pad> begins a target as well, as in T5
END = "</w>"  # the last piece of a word ends in it


@dataclass(frozen=True)
class Split:
    """Training pairs of words, and held-out sources with all their references; no source is on both sides."""

    train: list[tuple[str, str]]
    sources: list[str]
    references: list[list[str]]


def words(text: str) -> str:
    """Lower case, every punctuation mark and every part before or after an apostrophe a word, single spaces between them."""
    text = text.lower().replace("’", "'")
    return " ".join(re.findall(r"\w+'(?=\w)|'?\w+(?:-\w+)*|[^\w\s]", re.sub(r"(?<=\w)'(m|s|re|ve|ll|d|t)\b", r" '\1", text)))


def split(lines: Sequence[str], n_held_out: int, seed: int) -> Split:
    """About n_held_out pairs are held out, whole English sentences at a time."""
    targets: dict[str, list[str]] = {}
    for line in lines:
        source, target = (words(text) for text in line.split("\t")[:2])
        if target not in targets.setdefault(source, []):
            targets[source].append(target)
    sources = sorted(targets)
    random.Random(seed).shuffle(sources)
    held_out = []
    while sum(len(targets[source]) for source in held_out) < n_held_out:
        held_out.append(sources.pop())
    train = [(source, target) for source in sorted(sources) for target in targets[source]]
    return Split(train, held_out, [targets[source] for source in held_out])


class Pieces:
    """Words to ids and back, by module 09's byte-pair encoding of the training text of both languages."""

    def __init__(self, texts: Sequence[str], n_merges: int):
        counts = Counter(word for text in texts for word in text.split())
        symbols = {(*word[:-1], word[-1] + END): count for word, count in counts.items()}
        self._merges = train_bpe(symbols, n_merges)
        self._known: dict[str, list[str]] = {}
        found = Counter(piece for text in texts for word in text.split() for piece in self._split(word))
        self.vocabulary = Vocabulary.from_counts(found, SPECIALS)

    def _split(self, word: str) -> list[str]:
        if word not in self._known:
            self._known[word] = encode_bpe((*word[:-1], word[-1] + END), self._merges)
        return self._known[word]

    def encode(self, text: str) -> list[int]:
        return self.vocabulary.encode(piece for word in text.split() for piece in self._split(word)) + [EOS]

    def decode(self, ids: Sequence[int]) -> str:
        return "".join(self.vocabulary.decode(ids)).replace(END, " ").strip()


def padded(texts: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
    """Ids `(b, n)` and which of them are real."""
    lengths = torch.tensor([len(text) for text in texts])
    n = int(lengths.max())
    return torch.tensor([[*text, *[PAD] * (n - len(text))] for text in texts]), padding_mask(lengths, n)


def loss_of(model: MiniT5, pairs: Sequence[tuple[list[int], list[int]]], smoothing: float) -> tuple[Tensor, int]:
    """The mean loss of some pairs, and how many real tokens there are in sources and targets."""
    (source, mask), (target, real) = padded([pair[0] for pair in pairs]), padded([pair[1] for pair in pairs])
    logits = model(source, shift_right(target, PAD), mask)
    return label_smoothed_loss(logits, target, smoothing, ignore_index=PAD), int(mask.sum() + real.sum())


def encoded(pairs: Sequence[tuple[str, str]], pieces: Pieces) -> list[tuple[list[int], list[int]]]:
    return [(pieces.encode(source), pieces.encode(target)) for source, target in pairs]


def learn(model: MiniT5, data: Split, pieces: Pieces, options: argparse.Namespace, console: Console) -> dict:
    """Train the model in place; its weights in the end are the mean of those on the way, the later the heavier."""
    generator = torch.Generator().manual_seed(options.seed)
    pairs = encoded(data.train, pieces)
    held_out = encoded([(source, target) for source, several in zip(data.sources, data.references) for target in several], pieces)
    optimiser = AdamW(model.parameters(), lr=options.lr, betas=(0.9, 0.98), weight_decay=options.decay)
    averaged = copy.deepcopy(model).eval()
    history: dict[str, list[float]] = {"step": [], "train": [], "held_out": [], "seconds": []}
    n_tokens, losses, start, paused = 0, [], time.perf_counter(), 0.0
    for step in range(options.steps):
        optimiser.lr = cosine_schedule(step, options.warmup, options.steps, options.lr, options.lr / 20)
        batch = torch.randint(len(pairs), (options.batch,), generator=generator).tolist()
        loss, n = loss_of(model.train(), [pairs[i] for i in batch], options.smoothing)
        optimiser.zero_grad()
        loss.backward()
        clip_grad_norm(model.parameters(), 1.0)
        optimiser.step()
        with torch.no_grad():
            for mean, weight in zip(averaged.parameters(), model.parameters()):
                mean.lerp_(weight, 1 - min(options.average, (step + 1) / (step + 10)))
        n_tokens, losses = n_tokens + n, [*losses, loss.item()]
        if (step + 1) % options.eval_every == 0 or step + 1 == options.steps:
            now = time.perf_counter()
            with torch.no_grad():
                found = loss_of(averaged, held_out, 0.0)[0].item()
            recent = statistics.fmean(losses[-options.eval_every :])
            entry = {"step": step + 1, "train": recent, "held_out": found, "seconds": now - start - paused}
            for name, value in entry.items():
                history[name].append(value)
            console.print(
                f"  {entry['seconds']:5.0f} s  step {step + 1:5d}  training loss {recent:.3f}  held-out loss {found:.3f}"
            )
            paused += time.perf_counter() - now
    model.load_state_dict(averaged.state_dict())
    model.eval()
    return {"history": history, "tokens_per_second": n_tokens / history["seconds"][-1]}


def translated(model: MiniT5, data: Split, pieces: Pieces, options: argparse.Namespace, **how) -> list[str]:
    """All held-out sources in the model's French."""
    source, mask = padded([pieces.encode(text) for text in data.sources])
    return [pieces.decode(ids) for ids in translate(model, source, PAD, EOS, options.max_len, mask, **how)]


def word_by_word(data: Split) -> list[str]:
    """Each word by the one that it occurs together with more often than chance would have it (the Dice coefficient)."""
    together, english, french = Counter(), Counter(), Counter()
    for source, target in data.train:
        ours, theirs = set(source.split()), set(target.split())
        english.update(ours)
        french.update(theirs)
        together.update((one, other) for one in ours for other in theirs)
    best: dict[str, tuple[float, str]] = {}
    for (one, other), count in together.items():
        best[one] = max(best.get(one, (0.0, "")), (2 * count / (english[one] + french[other]), other))
    return [" ".join(best.get(word, (0.0, word))[1] for word in source.split()) for source in data.sources]


def nearest(data: Split) -> list[str]:
    """What the most similar sentence of the training text is translated by; similar: the share of common words."""
    known = [(set(source.split()), target) for source, target in data.train]

    def of(source: str) -> str:
        asked = set(source.split())
        return max(known, key=lambda pair: len(asked & pair[0]) / len(asked | pair[0]))[1]

    return [of(source) for source in data.sources]


def in_turns(calls: Sequence[Callable[[], object]], rounds: int) -> list[list[float]]:
    """Seconds of each call in each round, the order reversed in every second one."""
    seconds: list[list[float]] = [[] for _ in calls]
    for i in range(rounds + 1):  # the first round is to have run once
        for number in range(len(calls))[:: 1 if i % 2 else -1]:
            start = time.perf_counter()
            calls[number]()
            seconds[number].append(time.perf_counter() - start)
    return [found[1:] for found in seconds]


def speed(model: MiniT5, data: Split, pieces: Pieces, options: argparse.Namespace) -> dict[str, list[list[float]]]:
    """Seconds with the cache and without it: the held-out sentences, and texts of 100 tokens, which show what it is for."""

    def sentences(beam_size: int, use_cache: bool) -> Callable[[], object]:
        few = Split([], data.sources[:100], data.references[:100])
        return lambda: translated(model, few, pieces, options, beam_size=beam_size, use_cache=use_cache)

    source = torch.randint(3, model.config.vocab_size, (8, 100), generator=torch.Generator().manual_seed(0))

    def long(use_cache: bool) -> Callable[[], object]:
        return lambda: translate(model, source, PAD, -1, 100, use_cache=use_cache)

    return {
        "100 held-out sentences, greedy": in_turns([sentences(1, True), sentences(1, False)], options.rounds),
        f"100 held-out sentences, a beam of {options.beam}": in_turns(
            [sentences(options.beam, True), sentences(options.beam, False)], options.rounds
        ),
        "8 texts of 100 tokens, greedy": in_turns([long(True), long(False)], options.rounds),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--steps", type=int, default=4500, help="updates of the weights")
    parser.add_argument("--batch", type=int, default=64, help="pairs of a step")
    parser.add_argument("--merges", type=int, default=500, help="merges of the byte-pair encoding")
    parser.add_argument("--d-model", type=int, default=64, help="width of the model")
    parser.add_argument("--layers", type=int, default=2, help="blocks of the encoder, and of the decoder")
    parser.add_argument("--dropout", type=float, default=0.2, help="dropout")
    parser.add_argument("--smoothing", type=float, default=0.1, help="label smoothing")
    parser.add_argument("--lr", type=float, default=4e-3, help="the largest learning rate; the smallest is a twentieth of it")
    parser.add_argument("--warmup", type=int, default=200, help="steps until the largest learning rate")
    parser.add_argument("--decay", type=float, default=0.1, help="weight decay")
    parser.add_argument("--average", type=float, default=0.99, help="share of the old mean in each new mean of the weights")
    parser.add_argument("--eval-every", type=int, default=500, help="steps from one evaluation to the next")
    parser.add_argument("--held-out", type=int, default=500, help="pairs that are held out, about")
    parser.add_argument("--beam", type=int, default=5, help="width of the beam")
    parser.add_argument("--length-penalty", type=float, default=1.0, help="of the beam search")
    parser.add_argument("--max-len", type=int, default=30, help="most tokens of a translation")
    parser.add_argument("--shown", type=int, default=8, help="translations to print")
    parser.add_argument("--rounds", type=int, default=5, help="rounds of the comparison with and without the cache")
    parser.add_argument("--threads", type=int, default=1, help="threads of PyTorch")
    parser.add_argument("--seed", type=int, default=0, help="of weights, batches and dropout; the split is always the same")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to a file as well")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    console = Console(width=None if sys.stdout.isatty() else 120)

    try:
        pairs = course_data.text("tatoeba-eng-fra").splitlines()
    except course_data.DataError as error:
        parser.error(str(error))
    data = split(pairs, options.held_out, seed=0)
    pieces = Pieces([text for pair in data.train for text in pair], options.merges)
    model = MiniT5(MiniT5Config(len(pieces.vocabulary), options.layers, d_model=options.d_model, dropout=options.dropout))
    n_references = sum(map(len, data.references))
    console.print(f"{len(data.train):,} pairs to learn; {len(data.sources)} sentences with {n_references} references held out")
    console.print(f"{len(pieces.vocabulary):,} pieces, {sum(weight.numel() for weight in model.parameters()):,} weights")
    learnt = learn(model, data, pieces, options, console)

    found = {
        "the English itself": data.sources,
        "word by word, by co-occurrence": word_by_word(data),
        "the most similar sentence's": nearest(data),
        "Mini-T5, greedy": translated(model, data, pieces, options),
        f"Mini-T5, a beam of {options.beam}": translated(
            model, data, pieces, options, beam_size=options.beam, length_penalty=options.length_penalty
        ),
    }
    scores = {name: bleu(texts, data.references) for name, texts in found.items()}
    exact = {
        name: statistics.fmean(text in several for text, several in zip(texts, data.references)) for name, texts in found.items()
    }
    best = found[f"Mini-T5, a beam of {options.beam}"]
    every = max(1, len(best) // max(1, options.shown))
    shown = Table("English", "Mini-T5", "references")
    for source, text, several in list(zip(data.sources, best, data.references))[::every][: options.shown]:
        shown.add_row(source, text, " | ".join(several[:2]))
    console.print(shown)

    table = Table("translator", "BLEU", "word for word a reference", title="held-out sentences")
    for name, score in scores.items():
        table.add_row(name, f"{score:.1f}", f"{exact[name]:.1%}")
    console.print(table)
    seconds = speed(model, data, pieces, options)
    table = Table("what", "with the cache", "without", "ratio", title=f"threads: {options.threads}")
    table.add_row("training", f"{learnt['tokens_per_second']:,.0f} tokens/s", "", "")
    for name, (cached, plain) in seconds.items():
        ratio = statistics.median(b / a for a, b in zip(cached, plain))
        table.add_row(name, f"{statistics.median(cached):.3f} s", f"{statistics.median(plain):.3f} s", f"{ratio:.2f}")
    console.print(table)
    console.print(f"chance: {math.log(len(pieces.vocabulary)):.2f} nats a piece")
    if options.json:
        environment = {"torch": torch.__version__, "python": platform.python_version(), "cores": os.cpu_count()}
        figures = {"environment": environment, "bleu": scores, "exact": exact, "decoding_seconds": seconds, **learnt}
        options.json.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
