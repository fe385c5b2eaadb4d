"""Random attention problems in tiles, and attention by its definition in float64 as independent truth."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor

from autograder.testing.strategies import composite, leading_shapes, normal, seeds, sizes, st


@dataclass(frozen=True)
class FlashCase:
    """q (..., n_q, d_k), k (..., n_k, d_k), v (..., n_k, d_v), grad_out (..., n_q, d_v) and how to cut them."""

    lead: tuple[int, ...]
    n_q: int
    n_k: int
    d_k: int
    d_v: int
    block_q: int
    block_k: int
    causal: bool
    scale: float | None
    seed: int
    dtype: torch.dtype = torch.float64
    times: float = 1.0
    q: Tensor = field(init=False, repr=False, compare=False)
    k: Tensor = field(init=False, repr=False, compare=False)
    v: Tensor = field(init=False, repr=False, compare=False)
    grad_out: Tensor = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        generator = torch.Generator().manual_seed(self.seed)
        widths = {
            "q": (self.n_q, self.d_k, self.times),
            "k": (self.n_k, self.d_k, 1.0),
            "v": (self.n_k, self.d_v, 1.0),
            "grad_out": (self.n_q, self.d_v, 1.0),
        }
        for name, (n, d, scale) in widths.items():
            object.__setattr__(self, name, normal(generator, *self.lead, n, d, dtype=self.dtype, scale=scale))

    @property
    def options(self) -> tuple[bool, int, int, float | None]:
        """causal, block_q, block_k, scale: in the order of the arguments."""
        return self.causal, self.block_q, self.block_k, self.scale

    @property
    def inputs(self) -> tuple[Tensor, Tensor, Tensor]:
        return self.q, self.k, self.v

    @property
    def shown(self) -> str:
        """The case for a message, its shapes left to the comparison."""
        causal = ", causal" if self.causal else ""
        return f"{self.n_q} queries, {self.n_k} keys, blocks {self.block_q} and {self.block_k}{causal}, scale={self.scale}"


@composite
def flash_cases(
    draw: st.DrawFn,
    causal: bool | None = None,
    largest: int = 11,
    dims: int = 3,
    smallest: int = 1,
    dtypes: tuple[torch.dtype, ...] = (torch.float64,),
    times: tuple[float, ...] = (1.0,),
) -> FlashCase:
    """Ragged lengths, d_k and d_v that differ, blocks from 1 to more than the length."""
    n_q = draw(sizes(smallest, largest))
    return FlashCase(
        lead=draw(leading_shapes(3 if dims < 3 else 2, dims)),
        n_q=n_q,
        n_k=draw(st.one_of(st.just(n_q), sizes(smallest, largest))),
        d_k=draw(sizes(1, 5)),
        d_v=draw(sizes(1, 5)),
        block_q=draw(sizes(1, 6)),
        block_k=draw(sizes(1, 6)),
        causal=draw(st.booleans()) if causal is None else causal,
        scale=draw(st.sampled_from([None, None, 0.7, -1.3, 0.0])),
        seed=draw(seeds()),
        dtype=draw(st.sampled_from(dtypes)),
        times=draw(st.sampled_from(times)),
    )


def visible(n_q: int, n_k: int, causal: bool) -> Tensor:
    """(n_q, n_k), True where a query may attend; the diagonal is aligned bottom-right."""
    return torch.ones(n_q, n_k, dtype=torch.bool).tril(n_k - n_q if causal else n_k)


def attention(q: Tensor, k: Tensor, v: Tensor, causal: bool = False, scale: float | None = None) -> tuple[Tensor, Tensor]:
    """(out, lse) in float64, by the definition: zeros and -inf where nothing may be attended to."""
    q, k, v = q.double(), k.double(), v.double()
    scale = 1 / math.sqrt(q.shape[-1]) if scale is None else scale
    scores = (q @ k.mT * scale).masked_fill(~visible(q.shape[-2], k.shape[-2], causal), -torch.inf)
    return scores.softmax(-1).nan_to_num(0.0) @ v, scores.logsumexp(-1)


def attention_gradients(
    grad_out: Tensor, q: Tensor, k: Tensor, v: Tensor, causal: bool = False, scale: float | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """(dq, dk, dv) in float64 from autograd through the definition; queries that see nothing are left out of it."""
    blind = max(0, q.shape[-2] - k.shape[-2]) if causal else 0
    leaves = [x.double().requires_grad_() for x in (q.detach().clone(), k.detach().clone(), v.detach().clone())]
    scale = 1 / math.sqrt(q.shape[-1]) if scale is None else scale
    seeing = leaves[0][..., blind:, :]
    scores = seeing @ leaves[1].mT * scale
    scores = scores.masked_fill(~visible(seeing.shape[-2], k.shape[-2], causal), -torch.inf)
    (scores.softmax(-1) @ leaves[2]).backward(grad_out[..., blind:, :].double())
    return tuple(torch.zeros_like(x) if x.grad is None else x.grad for x in leaves)


def tile_state(scores: Tensor, v: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(m, l, acc) after all of the keys, from their definitions."""
    m = scores.amax(-1)
    weights = torch.where(scores == -torch.inf, torch.zeros_like(scores), (scores - m.unsqueeze(-1)).exp())
    return m, weights.sum(-1), weights @ v


def nan_tiles(case: FlashCase) -> tuple[Tensor, Tensor, slice]:
    """k and v with NaN in every tile of keys from some tile on, and the queries whose tiles lie wholly before it."""
    offset = case.n_k - case.n_q
    ends = [min(top + case.block_q, case.n_q) for top in range(0, case.n_q, case.block_q)]
    blind = {first: [end for end in ends if end - 1 + offset < first] for first in range(0, case.n_k, case.block_k)}
    hidden = [first for first in blind if blind[first]] or [0]
    first = hidden[case.seed % len(hidden)]
    k, v = case.k.clone(), case.v.clone()
    k[..., first:, :], v[..., first:, :] = torch.nan, torch.nan
    return k, v, slice(0, max([0, *blind[first]]))
