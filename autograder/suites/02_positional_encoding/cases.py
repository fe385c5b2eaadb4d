"""Independent truth for the suite: the formulas of the papers with Python's own `math` and with complex numbers."""

import math

import numpy as np
import torch

from autograder.testing.strategies import normal


def clocks(d_model: int, base: float = 10000.0) -> torch.Tensor:
    """Radians per position of each pair of channels, float64 (ceil(d_model / 2),)."""
    pairs = range((d_model + 1) // 2)
    return torch.tensor([math.exp(-2 * i / d_model * math.log(base)) for i in pairs], dtype=torch.float64)


def sinusoids(positions, d_model: int, base: float = 10000.0) -> torch.Tensor:
    """The sinusoidal rows of these positions, float64: the parts of exp(i a), the imaginary one first."""
    angles = np.outer(np.array(positions, dtype=float), clocks(d_model, base).numpy())
    hands = np.exp(1j * angles)
    return torch.from_numpy(np.stack([hands.imag, hands.real], axis=-1).reshape(len(angles), -1)[:, :d_model]).clone()


def rotated(x: torch.Tensor, positions: torch.Tensor, base: float = 10000.0) -> torch.Tensor:
    """RoPE in float64: each pair of channels as a complex number, times exp(i a)."""
    angles = positions[..., None].double() * clocks(x.shape[-1], base)
    pairs = torch.view_as_complex(x.double().unflatten(-1, (-1, 2)).contiguous())
    return torch.view_as_real(pairs * torch.polar(torch.ones_like(angles), angles)).flatten(-2)


def tones(seed: int, n: int, channels: int, dtype: torch.dtype = torch.float32) -> tuple[torch.Tensor, torch.Tensor]:
    """(table (n, channels), frequencies (channels,)) pure tones of any phase and size, well between 0 and one half.

    Every second tone goes round a whole number of times, so that its spectrum is one coefficient and nothing else.
    """
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.rand(3, channels, generator=generator, dtype=torch.float64)
    cycles = 2 + (n / 2 - 4) * drawn[0]
    frequencies = torch.where(torch.arange(channels) % 2 == 0, cycles.round(), cycles) / n
    turns = frequencies * torch.arange(n)[:, None] + drawn[1]
    return ((0.2 + 3 * drawn[2]) * torch.cos(2 * math.pi * turns)).to(dtype), frequencies


def rows_of_many_lengths(seed: int, n: int, d: int) -> torch.Tensor:
    """Random rows whose lengths differ up to tenfold, float64 (n, d)."""
    generator = torch.Generator().manual_seed(seed)
    lengths = 10 ** torch.rand(n, 1, generator=generator, dtype=torch.float64)
    return lengths * torch.nn.functional.normalize(normal(generator, n, d), dim=1)


def hamming(bits: torch.Tensor) -> torch.Tensor:
    """The fraction of bits in which each two rows differ, float64 (n, n)."""
    return (bits[:, None] != bits).double().mean(dim=-1)


def angle_fractions(table: torch.Tensor) -> torch.Tensor:
    """The angle between each two rows as a fraction of pi, float64 (n, n)."""
    rows = torch.nn.functional.normalize(table.double(), dim=1)
    return torch.acos((rows @ rows.T).clamp(-1, 1)) / math.pi


def apart(table: torch.Tensor) -> float:
    """The smallest distance between two rows; of a single row, 1."""
    return min([1.0, *torch.nn.functional.pdist(table.double()).tolist()])
