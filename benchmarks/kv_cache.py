"""Cached against uncached generation, and against Hugging Face's on the same weights: `python benchmarks/kv_cache.py`.

Prints one table; docs/kv-cache-speed.md says how to read it. Takes about five minutes on two cores.
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
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from solutions.decoder_only import GPTConfig, MiniGPT, initialise  # noqa: E402
from solutions.kv_cache import KVCache, cache_bytes, decode_step, generate, prefill  # noqa: E402

MIB = 2**20
VOCAB = 65  # TinyShakespeare's characters


@dataclass(frozen=True)
class Figure:
    """One line of the table. `ratio` is this course's figure by the peer's, and `wanted` what it must reach."""

    what: str
    threads: int
    ours: float
    unit: str
    peer: float | None = None
    peer_name: str = ""
    ratio: float | None = None
    wanted: str = ""
    tokens: str = ""  # "same" where both wrote the same tokens


@dataclass(frozen=True)
class Written:
    """What a run wrote, how long it took, and when each of its tokens was ready."""

    seconds: float
    ids: Tensor
    ready: tuple[float, ...]  # seconds after the start at which the token was chosen

    @property
    def prompt(self) -> float:
        """Seconds until the first token is there, which is how long it takes to read the prompt."""
        return self.ready[0]

    @property
    def step(self) -> float:
        """Seconds from one token to the next, in the middle of all: the prompt counts for nothing, nor does a hiccup."""
        return statistics.median(b - a for a, b in pairwise(self.ready))


def timed(run: Callable[[], Tensor], embedding: nn.Module) -> Written:
    """One run; nothing of an earlier one is collected while it lasts. A token is ready when the next one is embedded."""
    begun: list[float] = []
    hook = embedding.register_forward_hook(lambda *_: begun.append(time.perf_counter()))
    gc.collect()
    gc.disable()
    try:
        start = time.perf_counter()
        ids = run()
        stop = time.perf_counter()
    finally:
        gc.enable()
        hook.remove()
    return Written(stop - start, ids, tuple(moment - start for moment in (*begun[1:], stop)))


Run = tuple[Callable[[], Tensor], nn.Module]  # what to time, and its embedding


def in_turns(ours: Run, theirs: Run, rounds: int) -> list[tuple[Written, Written]]:
    """Both of them in every round, one right after the other, and each first in every second round."""
    pairs = []
    for i in range(rounds):
        if i % 2:
            second, first = timed(*theirs), timed(*ours)
        else:
            first, second = timed(*ours), timed(*theirs)
        pairs.append((first, second))
    return pairs


def compared(
    what: str, threads: int, pairs: list[tuple[Written, Written]], n_tokens: int, seconds: str, peer_name: str,
    wanted: str = "", tokens: str = "",
) -> Figure:  # fmt: skip
    """Tokens a second of both, and the median of the rounds' ratios: what slows down a whole round cancels in them."""
    ours, theirs = zip(*((getattr(a, seconds), getattr(b, seconds)) for a, b in pairs), strict=True)
    ratio = statistics.median(b / a for a, b in zip(ours, theirs, strict=True))
    speed, peer_speed = n_tokens / statistics.median(ours), n_tokens / statistics.median(theirs)
    return Figure(what, threads, speed, "tokens/s", peer_speed, peer_name, ratio, wanted, tokens)


def same(a: Tensor, b: Tensor) -> str:
    """Whether two runs wrote the same tokens; where they part, if not."""
    if torch.equal(a, b):
        return "same"
    column = int((a != b).any(0).nonzero()[0])
    return f"differ from position {column}"


def new_model(config: GPTConfig) -> MiniGPT:
    """GPT-2's initialisation, except that matrices are larger: with its own, every text ends in one token repeated."""
    model = initialise(MiniGPT(config), torch.Generator().manual_seed(0)).eval()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for block in model.blocks:
            for parameter in block.parameters():
                if parameter.ndim == 2:
                    parameter.normal_(0.0, 2 / parameter.shape[1] ** 0.5, generator=generator)
    return model


def mini(threads: int, options: argparse.Namespace) -> list[Figure]:
    """Whole texts of 64-dim Mini-GPTs, from one token to the end of the context."""
    figures = []
    for context_length in options.contexts:
        model = new_model(GPTConfig(VOCAB, context_length))
        prompt, n = torch.zeros(1, 1, dtype=torch.long), context_length - 1
        for use_cache in (True, False):
            generate(model, prompt, min(n, 8), use_cache)
        cached, uncached = (
            (partial(generate, model, prompt, n, use_cache), model.token_embedding) for use_cache in (True, False)
        )
        pairs = in_turns(cached, uncached, options.rounds if n < 500 else 1)
        tokens = same(*(written.ids for written in pairs[0]))
        wanted = ">= 10 (aim 20)" if context_length == 1024 else ""
        figures.append(
            compared(f"Mini-GPT, {n} tokens from 1", threads, pairs, n, "seconds", "without the cache", wanted, tokens)
        )
    return figures


def hugging_face(model: MiniGPT):
    """GPT2LMHeadModel with the weights of `model`, or None where transformers is not installed."""
    try:
        from transformers import GPT2Config, GPT2LMHeadModel
    except ImportError:
        return None
    config = model.config
    peer = GPT2LMHeadModel(
        GPT2Config(
            vocab_size=config.vocab_size, n_positions=config.context_length, n_embd=config.d_model,
            n_layer=config.n_layers, n_head=config.n_heads, n_inner=config.d_ff, activation_function="gelu",
            resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0, bos_token_id=0, eos_token_id=None, pad_token_id=0,
        )
    ).eval()  # fmt: skip
    theirs, ours = peer.state_dict(), dict(model.named_parameters())
    names = {"token_embedding.weight": "transformer.wte.weight", "position_embedding.weight": "transformer.wpe.weight"}
    names |= {f"final_norm.{kind}": f"transformer.ln_f.{kind}" for kind in ("weight", "bias")}
    parts = {"norm_1": "ln_1", "norm_2": "ln_2", "attention.w_o": "attn.c_proj", "feed_forward.w_in": "mlp.c_fc",
             "feed_forward.w_out": "mlp.c_proj"}  # fmt: skip
    with torch.no_grad():
        for i in range(config.n_layers):
            for kind in ("weight", "bias"):
                qkv = [ours[f"blocks.{i}.attention.{name}.{kind}"] for name in ("w_q", "w_k", "w_v")]
                theirs[f"transformer.h.{i}.attn.c_attn.{kind}"].copy_(torch.cat(qkv).T if kind == "weight" else torch.cat(qkv))
                names |= {f"blocks.{i}.{a}.{kind}": f"transformer.h.{i}.{b}.{kind}" for a, b in parts.items()}
        for name, other in names.items():
            is_conv1d = other.endswith(("c_proj.weight", "c_fc.weight"))  # stored (in, out)
            theirs[other].copy_(ours[name].T if is_conv1d else ours[name])
    return peer


def gpt2(threads: int, options: argparse.Namespace, model: MiniGPT, peer) -> list[Figure]:
    """GPT-2 124M's dimensions: the last tokens before the end of the context, and the prompt before them."""
    n, context_length = options.new_tokens, model.config.context_length
    prompt = torch.randint(model.config.vocab_size, (1, context_length - n - 1), generator=torch.Generator().manual_seed(2))
    cached = partial(generate, model, prompt, n + 1), model.token_embedding
    uncached = partial(generate, model, prompt, 2, use_cache=False), model.token_embedding
    name, t = f"GPT-2 124M, {n} tokens at {context_length}", prompt.shape[1]
    pairs = in_turns(cached, uncached, 1)
    tokens = same(pairs[0][0].ids[:, : t + 2], pairs[0][1].ids)
    figures = [compared(name, threads, pairs, 1, "step", "without the cache", "", tokens)]
    if peer is not None:
        mask = torch.ones_like(prompt)
        write = partial(peer.generate, prompt, attention_mask=mask, max_new_tokens=n + 1, do_sample=False, use_cache=True)
        pairs = in_turns(cached, (write, peer.transformer.wte), options.rounds)
        tokens = same(*(written.ids for written in pairs[0]))
        figures += [
            compared(name, threads, pairs, 1, "step", "Hugging Face", ">= 1 (aim 1.5)", tokens),
            compared(f"  prompt of {t}", threads, pairs, t, "prompt", "Hugging Face"),
            compared("  prompt and tokens together", threads, pairs, n + 1, "seconds", "Hugging Face"),
        ]
    return figures


def memory(model: MiniGPT) -> list[Figure]:
    """Bytes of a full cache beside those of the weights, and beside what Hugging Face's holds for the same text."""
    config = model.config
    head_dim = config.d_model // config.n_heads
    cache = KVCache(config.n_layers, 1, config.n_heads, config.context_length, head_dim)
    weights = sum(parameter.nbytes for parameter in model.parameters())
    per_token = cache_bytes(config.n_layers, config.n_heads, head_dim, 1, 1, torch.float32)
    assert cache.nbytes == per_token * config.context_length
    name = f"width {config.d_model}, {config.n_layers} layers"
    return [
        Figure(f"cache of {config.context_length} tokens, {name}", 0, cache.nbytes / MIB, "MiB", weights / MIB, "weights",
               cache.nbytes / weights),
        Figure("  for each token", 0, per_token / 1024, "KiB"),
    ]  # fmt: skip


def check_logits(model: MiniGPT, peer) -> None:
    """A peer with other weights would be no peer: the same logits for the same text, with and without the cache."""
    ids = torch.randint(model.config.vocab_size, (2, 9), generator=torch.Generator().manual_seed(3))
    config = model.config
    cache = KVCache(config.n_layers, 2, config.n_heads, 9, config.d_model // config.n_heads)
    with torch.inference_mode():
        whole, _ = model(ids)
        prefill(model, ids[:, :8], cache)
        torch.testing.assert_close(decode_step(model, ids[:, 8], cache), whole[:, 8], rtol=1e-3, atol=1e-3)
        if peer is not None:
            torch.testing.assert_close(peer(ids).logits, whole, rtol=1e-3, atol=1e-3)


def table(figures: list[Figure]) -> Table:
    """The figures, a line each."""
    shown = Table(title="Generation with a key-value cache, batch 1, float32")
    for column in ("what", "threads", "ours", "peer", "ratio", "wanted", "tokens"):
        shown.add_column(column, justify="right" if column in ("threads", "ours", "peer", "ratio") else "left")
    for figure in figures:
        shown.add_row(
            figure.what,
            str(figure.threads or ""),
            f"{figure.ours:,.1f} {figure.unit}",
            f"{figure.peer:,.1f} {figure.peer_name}" if figure.peer else "",
            f"{figure.ratio:.2f}" if figure.ratio else "",
            figure.wanted,
            figure.tokens,
        )
    return shown


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", choices=["mini", "gpt2"], help="one of the two models")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2], help="numbers of threads (default: 1 2)")
    parser.add_argument("--contexts", type=int, nargs="+", default=[256, 1024], help="context lengths of the Mini-GPT")
    parser.add_argument("--new-tokens", type=int, default=32, help="tokens that the large model writes (default: 32)")
    parser.add_argument("--rounds", type=int, default=5, help="runs of each, in turns; the median counts (default: 5)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to a file as well")
    options = parser.parse_args()
    if not 1 <= options.new_tokens <= 1000 or options.rounds < 1:
        parser.error("--new-tokens must lie in 1..1000, --rounds must be at least 1")
    console = Console(width=None if sys.stdout.isatty() else 130)
    figures: list[Figure] = []
    config = GPTConfig(50257, 1024, n_layers=12, n_heads=12, d_model=768)
    with console.status("") as status:
        if options.only != "gpt2":
            figures += memory(MiniGPT(GPTConfig(VOCAB, max(options.contexts))))
            for threads in options.threads:
                status.update(f"Mini-GPT on {threads} threads")
                torch.set_num_threads(threads)
                figures += mini(threads, options)
        if options.only != "mini":
            status.update("building GPT-2 124M")
            model = new_model(config)
            peer = hugging_face(model)
            if peer is None:
                console.print("Hugging Face is left out: transformers comes with `pip install -e .[test]`.")
            check_logits(model, peer)
            figures += memory(model)
            for threads in options.threads:
                status.update(f"GPT-2 124M on {threads} threads")
                torch.set_num_threads(threads)
                figures += gpt2(threads, options, model, peer)
    console.print(table(figures))
    if options.json:
        environment = {"torch": torch.__version__, "python": platform.python_version(), "cores": os.cpu_count()}
        rows = [asdict(figure) for figure in figures]
        options.json.write_text(json.dumps({"environment": environment, "figures": rows}, indent=2) + "\n")


if __name__ == "__main__":
    main()
