"""Module 14's GPT in training and in generation, beside transformers' GPT-2 of the same size: `python benchmarks/capstone.py`.

On a CPU, a small model learns TinyShakespeare's bytes for about two minutes (one thread); then a step of training and the
generation of a text are timed against the peer's, in turns. On a GPU, the same command measures `gpt2_124m` with bfloat16 and
torch.compile, on random tokens: tokens per second and the share of the card's peak (MFU). docs/gpt124m.md says how to read it.
"""

from __future__ import annotations

import argparse
import json
import math
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
import transformers
from rich.console import Console
from rich.table import Table
from torch.nn.functional import cross_entropy

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from autograder import data as course_data  # noqa: E402
from solutions.gpt124m.data import TokenShards, prepare_corpus  # noqa: E402
from solutions.gpt124m.generate import export, generate  # noqa: E402
from solutions.gpt124m.model import GPT, GPTConfig  # noqa: E402
from solutions.gpt124m.tokenizer import ByteTokenizer, decode_stream  # noqa: E402
from solutions.gpt124m.train import TrainConfig, param_groups, train  # noqa: E402

PEAK = {"H100": 989e12, "H200": 989e12, "A100": 312e12}  # dense bfloat16, as the makers state it


def corpus(folder: Path) -> Path:
    """TinyShakespeare as bytes: the last tenth, cut at a paragraph, is the held-out document."""
    text = course_data.text("tinyshakespeare")
    place = text.index("\n\n", len(text) * 9 // 10)
    for name, piece in (("a.txt", text[:place]), ("b.txt", text[place:])):
        (folder / name).write_text(piece, encoding="utf-8")
    prepare_corpus([folder / "a.txt", folder / "b.txt"], ByteTokenizer(), folder / "corpus", 2**20, 256)
    return folder / "corpus"


def peer_of(model: GPT, folder: Path) -> transformers.GPT2LMHeadModel:
    """transformers' model with the same weights, by way of `export`."""
    export(model, folder / "peer" / "model.safetensors")
    return transformers.GPT2LMHeadModel.from_pretrained(folder / "peer")


def step_of(loss_of: Callable, model: torch.nn.Module, batches: list) -> Callable[[], float]:
    """One training step as the loop takes it: forward, backward, clipping, AdamW."""
    optimizer = torch.optim.AdamW(param_groups(model, 0.1), lr=1e-4, betas=(0.9, 0.95))
    turn = iter(range(10**9))

    def step() -> float:
        x, y = batches[next(turn) % len(batches)]
        optimizer.zero_grad(set_to_none=True)
        loss = loss_of(x, y)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        return loss.item()

    return step


def in_turns(calls: dict[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Seconds of each call in each round; the order changes from round to round, and the first round does not count."""
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for i in range(rounds + 1):
        for name in list(calls) if i % 2 else list(reversed(calls)):
            start = time.perf_counter()
            calls[name]()
            if i:
                seconds[name].append(time.perf_counter() - start)
    return seconds


def on_cpu(options: argparse.Namespace, console: Console, folder: Path) -> dict:
    """Train, then compare."""
    torch.set_num_threads(1)
    tokenizer = ByteTokenizer()
    data, t = corpus(folder), options.context
    config = GPTConfig(tokenizer.n_vocab, t, options.layers, options.heads, options.width)
    model = GPT(config, torch.Generator().manual_seed(0))
    shards = TokenShards(data, "train", options.batch, t, shuffle_seed=0)
    validation = TokenShards(data, "validation", options.batch, t)
    settings = TrainConfig(
        total_steps=options.steps, warmup_steps=100, max_lr=2e-3, min_lr=2e-4, betas=(0.9, 0.99), eval_every=options.steps // 3,
        eval_batches=min(40, len(validation)),
    )  # fmt: skip
    start = time.perf_counter()
    history = train(model, shards, settings, validation)
    elapsed = time.perf_counter() - start
    model.eval()
    drawn = generate(model, tokenizer.encode("\n\nROMEO:\n"), 200, temperature=0.8, generator=torch.Generator().manual_seed(1))
    sample = "".join(decode_stream(tokenizer, drawn))

    peer = peer_of(model, folder)
    x, y = shards.batch(0)
    with torch.no_grad():
        apart = (model(x)[0] - peer(x).logits).abs().max().item()
    batches = [shards.batch(i) for i in range(4)]
    ours = GPT(config, torch.Generator().manual_seed(0))
    theirs = peer_of(ours, folder).train()
    steps = in_turns(
        {
            "ours": step_of(lambda x, y: ours(x, y)[1], ours, batches),
            "transformers": step_of(
                lambda x, y: cross_entropy(theirs(x, use_cache=False).logits.flatten(0, 1), y.flatten()),
                theirs,
                batches,
            ),
        },
        options.rounds,
    )
    n, prompt = t - 16, x[:1, :16]

    def uncached() -> None:
        text = prompt[0].tolist()
        with torch.no_grad():
            for _ in range(n):
                text.append(int(model(torch.tensor([text]), last_only=True)[0][0, -1].argmax()))

    def by_peer(use_cache: bool) -> None:
        peer.eval().generate(prompt, max_new_tokens=n, min_new_tokens=n, do_sample=False, use_cache=use_cache, pad_token_id=0)

    texts = in_turns(
        {
            "ours": lambda: list(generate(model, prompt[0], n, temperature=0)),
            "ours, no cache": uncached,
            "transformers": lambda: by_peer(True),
            "transformers, no cache": lambda: by_peer(False),
        },
        max(3, options.rounds // 4),
    )
    return {
        "model": vars(config) | {"parameters": sum(p.numel() for p in model.parameters())},
        "run": {"steps": options.steps, "batch": options.batch, "seconds": elapsed, "validation": history["validation"]},
        "tokens_per_second": options.steps * options.batch * t / elapsed,
        "bits_per_byte": history["validation"][-1][1] / math.log(2),
        "logits_apart": apart,
        "step_seconds": {name: statistics.median(found) for name, found in steps.items()},
        "step_ratio": statistics.median(a / b for a, b in zip(steps["ours"], steps["transformers"], strict=True)),
        "generated_per_second": {name: n / statistics.median(found) for name, found in texts.items()},
        "generation_ratio": statistics.median(b / a for a, b in zip(texts["ours"], texts["transformers"], strict=True)),
        "sample": sample,
    }


def on_gpu(options: argparse.Namespace, console: Console, folder: Path) -> dict:
    """gpt2_124m: a training step of rows of 1024 tokens under bfloat16, compiled, beside transformers' in the same way."""
    device = torch.device("cuda")
    torch.set_float32_matmul_precision("high")
    config = GPTConfig.gpt2_124m()
    ours = GPT(config, torch.Generator().manual_seed(0))
    theirs = peer_of(ours, folder).train().to(device)
    ours.to(device)
    b, t = options.gpu_batch, config.context_length
    ids = torch.randint(config.vocab_size, (b, t + 1), device=device)
    batches = [(ids[:, :-1], ids[:, 1:])]
    compiled, peer = torch.compile(ours), torch.compile(theirs)
    autocast = torch.autocast("cuda", torch.bfloat16)

    def our_loss(x, y):
        with autocast:
            return compiled(x, y)[1]

    def their_loss(x, y):
        with autocast:
            return cross_entropy(peer(x, use_cache=False).logits.flatten(0, 1).float(), y.flatten())

    calls = {"ours": step_of(our_loss, ours, batches), "transformers": step_of(their_loss, theirs, batches)}
    seconds = {name: statistics.median(found[3:]) for name, found in in_turns(calls, options.rounds + 3).items()}
    parameters = sum(p.numel() for p in ours.parameters())
    flops = 6 * parameters + 12 * config.n_layers * config.d_model * t  # a token, forward and backward
    name = torch.cuda.get_device_name()
    peak = next((value for key, value in PEAK.items() if key in name), math.nan)
    speed = {key: b * t / value for key, value in seconds.items()}
    ours.eval()
    prompt = ids[0, :16].tolist()
    generation = in_turns({"ours": lambda: list(generate(ours, prompt, 256, temperature=0))}, 3)
    return {
        "device": name,
        "step_seconds": seconds,
        "tokens_per_second": speed,
        "mfu": {key: value * flops / peak for key, value in speed.items()},
        "peak_memory_gib": torch.cuda.max_memory_allocated() / 2**30,
        "generated_per_second": 256 / statistics.median(generation["ours"]),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--context", type=int, default=128)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--heads", type=int, default=4)
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--gpu-batch", type=int, default=32)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    console = Console(stderr=options.json)
    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    with tempfile.TemporaryDirectory() as folder:
        found = (on_gpu if torch.cuda.is_available() else on_cpu)(options, console, Path(folder))
    versions = {library.__name__: library.__version__ for library in (torch, transformers)}
    found["machine"] = {"cpu": platform.processor() or platform.machine(), **versions}
    if options.json:
        print(json.dumps(found, indent=1))
        return
    table = Table(show_header=False)
    for key, value in found.items():
        table.add_row(key, json.dumps(value, indent=1) if isinstance(value, dict) else str(value))
    console.print(table)


if __name__ == "__main__":
    main()
