"""Hypothesis strategies for shapes, dtypes, masks and whole attention problems.

Hypothesis draws sizes and seeds, never the numbers of a tensor: a case is built in microseconds, prints in one line
and shrinks to
small shapes. Numbers come from `normal`, whose generator is seeded by the drawn seed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from hypothesis import HealthCheck, Phase, assume, example, settings
from hypothesis import strategies as st

from autograder.testing.dealing import SEEDS, composite, given

__all__ = [
    "AttentionCase", "assume", "attention_cases", "broadcastable", "composite", "example", "float_dtypes", "given",
    "leading_shapes", "mask_for", "normal", "seeds", "settings", "sizes", "st",
]  # fmt: skip

settings.register_profile(
    "course",
    deadline=None,
    derandomize=True,
    database=None,
    print_blob=False,
    report_multiple_bugs=False,
    max_examples=30,
    suppress_health_check=list(HealthCheck),
)
# In grading an example is not shrunk: that costs hundreds of calls for each failure, and sizes are small to begin with.
settings.register_profile("grading", settings.get_profile("course"), phases=(Phase.explicit, Phase.generate))
settings.load_profile("course")


def sizes(smallest: int = 1, largest: int = 9) -> st.SearchStrategy[int]:
    """A length or width, odd ones and 1 among them."""
    return st.integers(smallest, largest)


def seeds() -> st.SearchStrategy[int]:
    """A seed for `normal` or for a torch.Generator made by the test."""
    return st.integers(*SEEDS)


def float_dtypes(half: bool = False) -> st.SearchStrategy[torch.dtype]:
    """float64 and float32, with the half precisions on request."""
    return st.sampled_from([torch.float64, torch.float32] + ([torch.float16, torch.bfloat16] if half else []))


def leading_shapes(largest: int = 3, dims: int = 2) -> st.SearchStrategy[tuple[int, ...]]:
    """Batch and head dimensions: from none at all to `dims` of them."""
    return st.lists(st.integers(1, largest), max_size=dims).map(tuple)


def broadcastable(shape: tuple[int, ...]) -> st.SearchStrategy[tuple[int, ...]]:
    """A shape that broadcasts to `shape`: some dimensions 1, some leading ones left out."""
    ones = st.tuples(*(st.sampled_from([size, 1]) for size in shape))
    return st.tuples(ones, st.integers(0, len(shape))).map(lambda drawn: drawn[0][drawn[1] :])


def normal(seed: int | torch.Generator, *shape: int, dtype: torch.dtype = torch.float64, scale: float = 1.0) -> torch.Tensor:
    """Standard normal numbers times `scale`, drawn in float64 from the seed and then cast."""
    generator = seed if isinstance(seed, torch.Generator) else torch.Generator().manual_seed(seed)
    return (torch.randn(shape, generator=generator, dtype=torch.float64) * scale).to(dtype)


def mask_for(seed: int | torch.Generator, *shape: int, density: float = 0.6) -> torch.Tensor:
    """A random boolean mask, True means "may attend"; rows that may attend to nothing do occur."""
    generator = seed if isinstance(seed, torch.Generator) else torch.Generator().manual_seed(seed)
    return torch.rand(shape, generator=generator) < density


@dataclass(frozen=True)
class AttentionCase:
    """q (..., n_q, d_k), k (..., n_k, d_k), v (..., n_k, d_v) and a mask (..., n_q, n_k) or None."""

    lead: tuple[int, ...]
    n_q: int
    n_k: int
    d_k: int
    d_v: int
    dtype: torch.dtype
    masked: str
    seed: int
    q: torch.Tensor = field(init=False, repr=False, compare=False)
    k: torch.Tensor = field(init=False, repr=False, compare=False)
    v: torch.Tensor = field(init=False, repr=False, compare=False)
    mask: torch.Tensor | None = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        generator = torch.Generator().manual_seed(self.seed)
        draw = {
            "q": normal(generator, *self.lead, self.n_q, self.d_k, dtype=self.dtype),
            "k": normal(generator, *self.lead, self.n_k, self.d_k, dtype=self.dtype),
            "v": normal(generator, *self.lead, self.n_k, self.d_v, dtype=self.dtype),
            "mask": None,
        }
        if self.masked == "shared":
            draw["mask"] = mask_for(generator, self.n_q, self.n_k)
        elif self.masked == "full":
            draw["mask"] = mask_for(generator, *self.lead, self.n_q, self.n_k)
        for name, value in draw.items():
            object.__setattr__(self, name, value)


@composite
def attention_cases(
    draw: st.DrawFn,
    masks: tuple[str, ...] = ("none", "shared", "full"),
    dtypes: tuple[torch.dtype, ...] = (torch.float64,),
    largest: int = 7,
    dims: int = 2,
    smallest: int = 1,
    same_length: bool = False,
) -> AttentionCase:
    """A random attention problem: d_k and d_v differ, n_q and n_k differ, any number of leading dimensions."""
    n_q = draw(sizes(smallest, largest))
    return AttentionCase(
        lead=draw(leading_shapes(3, dims)),
        n_q=n_q,
        n_k=n_q if same_length else draw(sizes(smallest, largest)),
        d_k=draw(sizes(1, largest)),
        d_v=draw(sizes(1, largest)),
        dtype=draw(st.sampled_from(dtypes)),
        masked=draw(st.sampled_from(masks)),
        seed=draw(seeds()),
    )


def n_values(shape: tuple[int, ...]) -> int:
    """How many values a tensor of this shape has."""
    return math.prod(shape)
