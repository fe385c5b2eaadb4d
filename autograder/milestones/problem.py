"""An attention problem that two processes can make from a few numbers, and what shows that it was really solved.

Large tensors do not cross the boundary. Both sides draw the same inputs from a seed; the worker answers with projections
of its outputs onto random signs, and afterwards with the rows that it is asked for.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass

import torch
from torch import Tensor

DTYPES = {"float16": torch.float16, "bfloat16": torch.bfloat16, "float32": torch.float32}
CHUNK_ELEMENTS = 1 << 28  # scores that the reference holds at a time


@dataclass(frozen=True)
class Problem:
    """Attention of `n_heads` on `n_kv_heads` heads; with `backward`, its gradients too."""

    batch: int
    n_heads: int
    n_kv_heads: int
    n_q: int
    n_k: int
    head_dim: int
    dtype: str
    causal: bool
    backward: bool

    @property
    def scale(self) -> float:
        return 1 / math.sqrt(self.head_dim)

    @property
    def flops(self) -> float:
        """Of the products that the result needs: 2 forward, 5 backward; half of them where half is masked."""
        seen = self.n_q * self.n_k
        if self.causal:
            seen = sum(min(max(i + self.n_k - self.n_q + 1, 0), self.n_k) for i in range(self.n_q))
        return 2.0 * (7 if self.backward else 2) * self.batch * self.n_heads * seen * self.head_dim

    @property
    def input_bytes(self) -> int:
        """Of q, k, v and, backward, the gradient of out."""
        queries = self.batch * self.n_heads * self.n_q * (2 if self.backward else 1)
        keys = self.batch * self.n_kv_heads * self.n_k * 2
        return (queries + keys) * self.head_dim * DTYPES[self.dtype].itemsize

    def to_plain(self) -> dict:
        return asdict(self)


def inputs(problem: Problem, seed: int, device: torch.device) -> list[Tensor]:
    """q, k, v and the gradient of out, standard normal: the same numbers on the same kind of device for the same seed."""
    generator = torch.Generator(device=device).manual_seed(seed)
    queries = (problem.batch, problem.n_heads, problem.n_q, problem.head_dim)
    keys = (problem.batch, problem.n_kv_heads, problem.n_k, problem.head_dim)
    shapes = [queries, keys, keys, *([queries] if problem.backward else [])]
    return [torch.randn(shape, generator=generator, device=device, dtype=DTYPES[problem.dtype]) for shape in shapes]


def solve(function: Callable, problem: Problem, drawn: list[Tensor]) -> list[Tensor]:
    """out, and with `backward` dq, dk, dv, by the function under test."""
    q, k, v = (x.requires_grad_(problem.backward) for x in drawn[:3])
    out = function(q, k, v, causal=problem.causal, scale=problem.scale)
    if not problem.backward:
        return [out]
    return [out.detach(), *torch.autograd.grad(out, (q, k, v), drawn[3])]


def project(outputs: list[Tensor], seed: int) -> Tensor:
    """One number for each output, batch and head: its sum with random signs for rows and columns. float64 `(outputs, b, h)`."""
    numbers = []
    for i, x in enumerate(outputs):
        generator = torch.Generator(device=x.device).manual_seed(seed + i)
        rows, columns = (
            torch.randint(2, (size,), generator=generator, device=x.device, dtype=torch.float32) * 2 - 1 for size in x.shape[-2:]
        )
        by_column = torch.matmul(rows.to(x.dtype), x.detach())  # (b, h, head_dim), summed in float32 or better
        heads = (by_column.double() * columns.double()).sum(-1)
        numbers.append(torch.nn.functional.pad(heads, (0, outputs[0].shape[1] - heads.shape[1])))
    return torch.stack(numbers)


def grain(expected: list[Tensor]) -> list[Tensor]:
    """How large the terms are that each row of each output is a sum of, `(b, heads, length)`: what rounding is relative to.

    For standard normal inputs and the usual scale, a row of out is as large as the root of its sum of squared weights, and so
    are the terms of dq, even where they cancel (the first row of a causal dq is 0); dv is that to dk.
    """
    size = [x.square().mean(-1).sqrt() for x in expected]
    return size if len(size) == 1 else [size[0], size[1] + size[0], size[2] + size[3], size[3]]


def rows_of(outputs: list[Tensor], positions: list[list[list[int]]]) -> list[Tensor]:
    """The rows `(batch, head, row)` of each output, on the CPU."""
    picked = []
    for x, where in zip(outputs, positions, strict=True):
        batch, head, row = torch.tensor(where, device=x.device).unbind(-1)
        picked.append(x[batch, head, row].detach().cpu())
    return picked


def reference(problem: Problem, drawn: list[Tensor]) -> list[Tensor]:
    """out (and dq, dk, dv) in float32 from the definition, a bounded number of scores at a time."""
    dtype = torch.float64 if drawn[0].numel() < 1 << 18 else torch.float32
    allowed = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = False
    try:
        group = problem.n_heads // problem.n_kv_heads
        q, k, v = drawn[0].detach(), drawn[1].detach(), drawn[2].detach()
        results = [torch.empty(q.shape, dtype=dtype, device=q.device)]
        if problem.backward:
            results += [torch.zeros(x.shape, dtype=dtype, device=q.device) for x in (q, k, k)]
        step = max(1, CHUNK_ELEMENTS // max(1, problem.n_k))
        offset = problem.n_k - problem.n_q
        keys = torch.arange(problem.n_k, device=q.device)
        for b in range(problem.batch):
            for h in range(problem.n_heads):
                k_head, v_head = k[b, h // group].to(dtype), v[b, h // group].to(dtype)
                for start in range(0, problem.n_q, step):
                    rows = slice(start, min(start + step, problem.n_q))
                    q_rows = q[b, h, rows].to(dtype)
                    scores = q_rows @ k_head.mT * problem.scale
                    if problem.causal:
                        queries = torch.arange(rows.start, rows.stop, device=q.device)
                        scores.masked_fill_(keys > queries[:, None] + offset, -torch.inf)
                    weights = scores.softmax(-1).nan_to_num_(0.0)
                    out = weights @ v_head
                    results[0][b, h, rows] = out
                    if problem.backward:
                        grad = drawn[3][b, h, rows].to(dtype)
                        d_scores = weights * (grad @ v_head.mT - (out * grad).sum(-1, keepdim=True)) * problem.scale
                        results[1][b, h, rows] = d_scores @ k_head
                        results[2][b, h // group] += d_scores.mT @ q_rows
                        results[3][b, h // group] += weights.mT @ grad
        return results
    finally:
        torch.backends.cuda.matmul.allow_tf32 = allowed
