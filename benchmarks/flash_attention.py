"""FlashAttention against its peers: `python benchmarks/flash_attention.py`.

On a GPU: our Triton kernel, standard attention, PyTorch's own backends, FlexAttention and installed packages. On a CPU: the
memory of the tiled path against standard attention, as the length doubles. docs/flash-attention-speed.md says how to read it.
"""

from __future__ import annotations

import argparse
import functools
import gc
import importlib
import itertools
import json
import math
import platform
import statistics
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path

import torch
import torch.nn.functional as F
from rich.console import Console
from rich.table import Table
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

MIB = 2**20
TOKENS = 16384  # in a batch: shorter sequences come in larger batches
WIDTH = 2048  # n_heads · head_dim


@dataclass(frozen=True)
class Figure:
    """One implementation on one problem. `ceiling` is the fraction of the measured rate of a large matrix product."""

    name: str
    head_dim: int
    n: int
    causal: bool
    mode: str  # "forward" or "backward", which is the backward pass alone
    ms: float
    tflops: float
    ceiling: float
    mib: float  # peak beyond the inputs
    spread: float  # (slowest - fastest) / median of the repeats
    error: float  # of out or of dq, relative to float32 attention

    def key(self) -> tuple:
        return self.head_dim, self.n, self.causal, self.mode


def standard(q: Tensor, k: Tensor, v: Tensor, causal: bool) -> Tensor:
    """Attention as module 01 has it: scores and weights are whole tensors."""
    scores = q @ k.mT / math.sqrt(q.shape[-1])
    if causal:
        scores = scores.masked_fill(~torch.ones(*scores.shape[-2:], dtype=torch.bool, device=q.device).tril(), -torch.inf)
    return scores.softmax(-1) @ v


def sdpa(backend: torch.nn.attention.SDPBackend, q: Tensor, k: Tensor, v: Tensor, causal: bool) -> Tensor:
    with torch.nn.attention.sdpa_kernel(backend):
        return F.scaled_dot_product_attention(q, k, v, is_causal=causal)


def flex(q: Tensor, k: Tensor, v: Tensor, causal: bool) -> Tensor:
    attention, mask = _flex_for(q.shape, q.device, causal)
    return attention(q, k, v, block_mask=mask)


@functools.lru_cache(maxsize=1)
def _flex_for(shape: torch.Size, device: torch.device, causal: bool) -> tuple[Callable, object]:
    """FlexAttention compiled for one problem, and its mask."""
    import torch._functorch.config
    from torch.nn.attention.flex_attention import create_block_mask, flex_attention

    torch._dynamo.reset()  # which forgets the problem before: of a function with many versions, it would not compile the next
    torch._functorch.config.donated_buffer = False  # a timed backward pass is run again and again on what forward saved
    n = shape[-2]
    mask = create_block_mask(lambda b, h, i, j: i >= j, None, None, n, n, device=device) if causal else None
    return torch.compile(flex_attention, dynamic=False), mask


def flash_attn_package(function: Callable, q: Tensor, k: Tensor, v: Tensor, causal: bool) -> Tensor:
    """The packages flash_attn and flash_attn_interface take (b, n, h, d)."""
    out = function(q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2), causal=causal)
    return (out[0] if isinstance(out, tuple) else out).transpose(1, 2)


def implementations() -> dict[str, Callable]:
    """Ours first, then every peer that can be had here."""
    from torch.nn.attention import SDPBackend

    from solutions.flash_attention_triton import TritonAttention, flash_attention

    found: dict[str, Callable] = {"ours": lambda q, k, v, causal: flash_attention(q, k, v, causal), "standard": standard}
    on_hopper = torch.cuda.is_available() and torch.cuda.get_device_capability()[0] == 9
    if on_hopper:  # where "ours" means the kernels of flash_attention_hopper.py
        found["ours, portable"] = lambda q, k, v, causal: TritonAttention.apply(q, k, v, causal, 1 / math.sqrt(q.shape[-1]))
    backends = {"flash": SDPBackend.FLASH_ATTENTION, "cuDNN": SDPBackend.CUDNN_ATTENTION}
    backends |= {"efficient": SDPBackend.EFFICIENT_ATTENTION, "math": SDPBackend.MATH}
    found |= {f"SDPA {name}": partial(sdpa, backend) for name, backend in backends.items()}
    found["FlexAttention"] = flex
    for package in ("flash_attn", "flash_attn_interface"):
        try:
            found[package] = partial(flash_attn_package, importlib.import_module(package).flash_attn_func)
        except Exception:  # not there, or not for this device
            continue
    return found


def timed(run: Callable[[int], object], repeats: int) -> tuple[float, float]:
    """(median ms, spread) over the repeats, each of them several runs long and over other inputs in turn."""
    for i in range(3):
        run(i)
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    start.record()
    run(0)
    end.record()
    torch.cuda.synchronize()
    n = max(1, min(50, int(20 / max(start.elapsed_time(end), 1e-3))))  # about 20 ms a repeat
    times = []
    for _ in range(repeats):
        start.record()
        for i in range(n):
            run(i)
        end.record()
        torch.cuda.synchronize()
        times.append(start.elapsed_time(end) / n)
    middle = statistics.median(times)
    return middle, (max(times) - min(times)) / middle


def flops(batch: int, n_heads: int, n: int, head_dim: int, causal: bool, mode: str) -> float:
    """As is usual: 2 products forward, 5 backward, half of each where half is masked."""
    return (2 if mode == "forward" else 5) * 2.0 * batch * n_heads * n * n * head_dim * (0.5 if causal else 1.0)


def ceiling(device: torch.device) -> float:
    """Operations a second of a large bfloat16 matrix product on random numbers."""
    a, b = (torch.randn(8192, 8192, device=device, dtype=torch.bfloat16) for _ in range(2))
    ms, _ = timed(lambda i: a @ b, 5)
    return 2.0 * 8192**3 / (ms / 1e3)


def measure(name: str, function: Callable, head_dim: int, n: int, causal: bool, rate: float, options) -> list[Figure]:
    """Forward and backward of one implementation; an empty list where it cannot do it, or is wrong."""
    device, n_heads, batch = torch.device("cuda"), WIDTH // head_dim, max(1, TOKENS // n)
    generator = torch.Generator(device=device).manual_seed(n)
    shape = (batch, n_heads, n, head_dim)
    # Enough input sets that none is still in the cache when its turn comes again.
    sets = max(2, min(8, math.ceil(2 * 50 * MIB / (3 * math.prod(shape) * 2))))
    draw = partial(torch.randn, shape, generator=generator, device=device, dtype=torch.bfloat16)
    inputs = [[draw() for _ in range(4)] for _ in range(sets)]
    figures = []
    for mode in ("forward", "backward"):
        for q, k, v, _ in inputs:
            for x in (q, k, v):
                x.requires_grad_(mode == "backward")
        gc.collect()
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        q, k, v, grad = inputs[0]
        out = function(q, k, v, causal)
        answer = out if mode == "forward" else torch.autograd.grad(out, (q, k, v), grad)[0]
        torch.cuda.synchronize()
        peak = torch.cuda.max_memory_allocated() - before
        error = relative_error(answer, q, k, v, grad, causal, mode)
        if not error < 2e-2:
            raise ValueError(f"wrong by {error:.2g}")
        del out, answer
        outs = [function(*one[:3], causal) for one in inputs] if mode == "backward" else []

        def run(i: int, outs: list = outs) -> object:
            q, k, v, grad = inputs[i % sets]
            return torch.autograd.grad(outs[i % sets], (q, k, v), grad, retain_graph=True) if outs else function(q, k, v, causal)

        ms, spread = timed(run, options.repeats)
        work = flops(batch, n_heads, n, head_dim, causal, mode)
        tflops = work / ms / 1e9
        figures.append(Figure(name, head_dim, n, causal, mode, ms, tflops, tflops * 1e12 / rate, peak / MIB, spread, error))
        del run, outs  # with what their graphs hold
    return figures


def relative_error(answer: Tensor, q: Tensor, k: Tensor, v: Tensor, grad: Tensor, causal: bool, mode: str) -> float:
    """Against float32 attention over the last head, by norms."""
    q, k, v = (x[-1:, -1:].detach().float().requires_grad_() for x in (q, k, v))
    expected = standard(q, k, v, causal)
    if mode == "backward":
        expected = torch.autograd.grad(expected, q, grad[-1:, -1:].float())[0]
    return float((answer[-1:, -1:].float() - expected).norm() / expected.norm())


def on_gpu(options: argparse.Namespace, console: Console) -> list[Figure]:
    rate = ceiling(torch.device("cuda"))
    console.print(f"{torch.cuda.get_device_name()}: {rate / 1e12:.0f} TFLOP/s on a bfloat16 product of 8192 x 8192 matrices")
    figures: list[Figure] = []
    problems = list(itertools.product(options.head_dims, options.lengths, (False, True)))
    peers = {name: function for name, function in implementations().items() if name not in options.without}
    with console.status("") as status:
        for i, (head_dim, n, causal) in enumerate(problems):
            for name, function in peers.items():
                status.update(f"problem {i + 1} of {len(problems)}: head_dim {head_dim}, n {n}, causal {causal}: {name}")
                try:
                    figures += measure(name, function, head_dim, n, causal, rate, options)
                except Exception as error:  # a peer that cannot, or has not the memory; said, and left out
                    reason = "out of memory" if isinstance(error, torch.OutOfMemoryError) else str(error).partition("\n")[0]
                    console.print(f"left out: {name}, head_dim {head_dim}, n {n}, causal {causal}: {reason[:100]}")
                gc.collect()
                torch.cuda.empty_cache()
            save([asdict(figure) for figure in figures], options.json)
    console.print(gpu_table(figures))
    return figures


def save(figures: list[dict], path: Path | None) -> None:
    """What is known so far; nothing is lost when a long run is broken off."""
    if path:
        device = torch.cuda.get_device_name() if torch.cuda.is_available() else platform.processor()
        software = {"torch": torch.__version__, "triton": version("triton"), "python": platform.python_version()}
        path.write_text(json.dumps({"environment": {"device": device, **software}, "figures": figures}, indent=2) + "\n")


def gpu_table(figures: list[Figure]) -> Table:
    """One line for each problem and implementation; `ratio` is ours by the other's time: above 1, ours is faster."""
    table = Table(title=f"bfloat16, {TOKENS} tokens a batch, {WIDTH} = heads x head_dim")
    columns = "head_dim, n, causal, pass, what, ms, TFLOP/s, of ceiling, ratio, peak MiB, spread, error"
    for column in columns.split(", "):
        table.add_column(column, justify="left" if column in ("pass", "what") else "right")
    ours = {figure.key(): figure for figure in figures if figure.name == "ours"}
    for figure in figures:
        mine = ours.get(figure.key())
        table.add_row(
            str(figure.head_dim), str(figure.n), "yes" if figure.causal else "no", figure.mode, figure.name, f"{figure.ms:.3f}",
            f"{figure.tflops:.0f}", f"{figure.ceiling:.0%}", f"{figure.ms / mine.ms:.2f}" if mine else "", f"{figure.mib:.0f}",
            f"{figure.spread:.1%}", f"{figure.error:.1e}",
        )  # fmt: skip
    return table


def sweep(options: argparse.Namespace, console: Console) -> None:
    """Which tiles are best here: each kernel's candidates in turn, the other kernels as planned."""
    from solutions import flash_attention_triton as module

    known = implementations()
    rate, original, ours = ceiling(torch.device("cuda")), module.plan, known.get("ours, portable", known["ours"])
    candidates = [module.Tiles(q, k, w, s) for q in (32, 64, 128) for k in (32, 64, 128) for w in (4, 8) for s in (2, 3, 4)]
    for head_dim in options.head_dims:
        for kernel in module.Plan._fields:
            results = []
            for tiles in candidates:
                module.plan = lambda *problem, kernel=kernel, tiles=tiles: original(*problem)._replace(**{kernel: tiles})
                try:
                    made = measure(str(tuple(tiles)), ours, head_dim, max(options.lengths), True, rate, options)
                except Exception:  # too large for the shared memory, most often
                    continue
                results.append(made[0 if kernel == "forward" else 1])
            for figure in sorted(results, key=lambda figure: figure.ms)[:5]:
                console.print(f"head_dim {head_dim}, {kernel}: {figure.name} {figure.ms:.3f} ms, {figure.tflops:.0f} TFLOP/s")
    module.plan = original


def plot(figures: list[Figure], path: Path) -> None:
    """TFLOP/s over the length: a panel for each width, mask and pass."""
    from matplotlib.figure import Figure as Canvas

    panels = sorted({(f.head_dim, f.causal, f.mode) for f in figures}, key=lambda panel: (*panel[:2], panel[2] == "backward"))
    canvas = Canvas(figsize=(4 * min(4, len(panels)), 3.2 * math.ceil(len(panels) / 4)), layout="constrained")
    grid = canvas.subplots(math.ceil(len(panels) / 4), min(4, len(panels)), squeeze=False).flat
    colours = {name: f"C{i}" for i, name in enumerate(dict.fromkeys(f.name for f in figures))}
    for axes, (head_dim, causal, mode) in zip(grid, panels):
        here = [f for f in figures if (f.head_dim, f.causal, f.mode) == (head_dim, causal, mode)]
        for name in dict.fromkeys(f.name for f in here):
            line = sorted((f.n, f.tflops) for f in here if f.name == name)
            axes.plot(*zip(*line), "o-", color=colours[name], label=name, linewidth=2.5 if name == "ours" else 1.2)
        axes.set(title=f"head_dim {head_dim}, {mode}{', causal' if causal else ''}", xlabel="length", ylabel="TFLOP/s")
        axes.set_xscale("log", base=2)
        axes.set_ylim(bottom=0)
    lines = {line.get_label(): line for axes in canvas.axes for line in axes.lines}
    canvas.legend(handles=list(lines.values()), loc="outside lower center", ncols=4)
    canvas.savefig(path, dpi=150)


def on_cpu(options: argparse.Namespace, console: Console) -> list[dict]:
    """Peak memory of a forward pass of two heads beyond what the process held, in a fork, as the length doubles."""
    from autograder.testing.local import in_fork
    from solutions.flash_attention import flash_attention_forward

    console.print("No GPU here: speed needs one. The memory of the tiled path, float32, head_dim 64, two heads:")
    torch.set_num_threads(1)
    rows = []
    table = Table()
    for column in ("n", "tiled, MiB", "growth", "standard, MiB", "growth", "standard / tiled"):
        table.add_column(column, justify="right")
    for n in (1024, 1024, 2048, 4096, 8192, 16384):  # the first is thrown away: it also pays for what is set up once
        q, k, v = (torch.randn(2, n, 64, generator=torch.Generator().manual_seed(i)) for i in range(3))
        warm = [x[:, :256].contiguous() for x in (q, k, v)]

        def peak(function: Callable, warm=warm, inputs=(q, k, v)) -> float:
            return in_fork(lambda: function(*warm), lambda: float(function(*inputs).sum())).peak_bytes / MIB

        tiled = peak(lambda q, k, v: flash_attention_forward(q, k, v, block_q=128, block_k=128)[0])
        whole = peak(lambda q, k, v: standard(q, k, v, False)) if n <= 8192 else None  # 4 GiB otherwise
        rows.append({"n": n, "tiled_mib": tiled, "standard_mib": whole})
    del rows[0]
    for last, row in zip([None, *rows], rows):
        shown = [str(row["n"])]
        for name in ("tiled_mib", "standard_mib"):
            known = row[name] is not None
            shown += [f"{row[name]:.1f}" if known else "not run", f"{row[name] / last[name]:.2f}" if known and last else ""]
        table.add_row(*shown, f"{row['standard_mib'] / row['tiled_mib']:.0f}" if row["standard_mib"] else "")
    console.print(table)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--head-dims", type=int, nargs="+", default=[64, 128])
    parser.add_argument("--lengths", type=int, nargs="+", default=[512, 1024, 2048, 4096, 8192, 16384])
    parser.add_argument("--repeats", type=int, default=5, help="repeats of which the median counts (default: 5)")
    parser.add_argument("--without", nargs="+", default=[], metavar="PEER", help="leave these out, such as FlexAttention")
    parser.add_argument("--sweep", action="store_true", help="measure other tiles of the portable kernels, and print the best")
    parser.add_argument("--plot", type=Path, metavar="PNG", default=Path("flash_attention.png"), help="where the plot goes (GPU)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to a file as well")
    options = parser.parse_args()
    if options.repeats < 1 or min(options.lengths) < 1 or not all(16 <= d <= 128 for d in options.head_dims):
        parser.error("repeats and lengths must be at least 1, head_dims 16 to 128")
    console = Console(width=None if sys.stdout.isatty() else 150)
    if not torch.cuda.is_available():
        rows = on_cpu(options, console)
    elif options.sweep:
        return sweep(options, console)
    else:
        figures = on_gpu(options, console)
        plot(figures, options.plot)
        console.print(f"plot: {options.plot}")
        rows = [asdict(figure) for figure in figures]
    save(rows, options.json)


if __name__ == "__main__":
    main()
