"""Positional encoding: telling attention where each token stands.

Attention sees a set. Shuffle the tokens and every output is the same vector in a new place, so "dog bites man" and
"man bites dog" look alike until each position leaves a mark of its own. This module makes four such marks:

1. *sinusoids* (Vaswani et al. 2017, section 3.5): each position is read off a row of clocks, from fast to slow;
2. *learned* vectors, one a position (GPT-2);
3. *rotations* of queries and keys (RoPE: Su et al. 2021), so that their dot product knows only the distance;
4. a *bias* on the scores that grows with the distance (ALiBi: Press et al. 2021).

On the way the sinusoidal table turns out to be two other things: a *signal*, whose channels are pure tones that a
Fourier transform can name, and a *hash function* of the position, which can be inverted and cut down to bits.

Throughout, clock i of a width d turns by `base ** (-2 i / d)` radians a position; `base` is 10000 in the papers.
"""

from __future__ import annotations

import torch
from matplotlib.figure import Figure
from torch import nn


def sinusoidal_encoding(max_len: int, d_model: int, base: float = 10000.0) -> torch.Tensor:
    """The sinusoidal table of Vaswani et al. 2017, section 3.5.

        table[p, 2i]     = sin(p / base ** (2i / d_model))
        table[p, 2i + 1] = cos(p / base ** (2i / d_model))

    Returns float32 `(max_len, d_model)`, sine and cosine interleaved, a new tensor at each call. An odd `d_model` ends in
    a sine without its cosine. `max_len` may be 0. Raises ValueError when `max_len` is negative or `d_model` is less than 1.
    """
    ### BEGIN SOLUTION
    if max_len < 0 or d_model < 1:
        raise ValueError(f"need max_len >= 0 and d_model >= 1, got max_len {max_len} and d_model {d_model}")
    # In float64, because an angle of thousands of radians has few digits left in float32.
    frequencies = base ** (-torch.arange(0, d_model, 2, dtype=torch.float64) / d_model)  # (ceil(d_model / 2),)
    angles = torch.arange(max_len)[:, None] * frequencies  # (max_len, ceil(d_model / 2))
    table = torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1)
    return table[:, :d_model].float()
    ### END SOLUTION


def add_positions(x: torch.Tensor, table: torch.Tensor, offset: int = 0) -> torch.Tensor:
    """Add to each token the row of its position: token j stands at position `offset + j`.

    x: `(..., t, d_model)`, where t may be 0; table: `(max_len, d_model)`. Returns a new tensor of x's shape and dtype,
    whatever the table's dtype; gradients flow to both. `offset` lets a text be fed in pieces. Raises ValueError when
    `offset` is negative or a token stands past the end of the table.
    """
    ### BEGIN SOLUTION
    t, max_len = x.shape[-2], table.shape[0]
    if not 0 <= offset <= max_len - t:
        raise ValueError(f"positions {offset} to {offset + t - 1} do not all lie in the table's 0 to {max_len - 1}")
    return x + table[offset : offset + t].to(x)
    ### END SOLUTION


class LearnedPositionalEmbedding(nn.Module):
    """A table of positions that is learned with the rest of the model (GPT-2, BERT).

    Its one parameter is `weight`, `(max_len, d_model)`, float32. It commonly starts as normal noise of standard
    deviation 0.02 (GPT-2's own code takes 0.01); any finite start will do.
    """

    def __init__(self, max_len: int, d_model: int) -> None:
        super().__init__()
        ### BEGIN SOLUTION
        self.weight = nn.Parameter(torch.randn(max_len, d_model) * 0.02)
        ### END SOLUTION

    def forward(self, x: torch.Tensor, offset: int = 0) -> torch.Tensor:
        """x plus the rows of its positions, as `add_positions`: the same shapes, dtype, gradients and errors."""
        ### BEGIN SOLUTION
        return add_positions(x, self.weight, offset)
        ### END SOLUTION


def shift_matrix(offset: int, d_model: int, base: float = 10000.0) -> torch.Tensor:
    """The matrix M with `table[p + offset] == M @ table[p]` at every position p of the sinusoidal table.

    One linear map moves every position by the same distance: this is why the paper hoped that the table "would allow
    the model to easily learn to attend by relative positions". M turns each (sine, cosine) pair by the angle that its
    clock covers in `offset` positions; a negative `offset` goes back.

    Returns float32 `(d_model, d_model)`, a new tensor at each call. Raises ValueError when `d_model` is odd: the last sine
    has no cosine, and no such M exists.
    """
    ### BEGIN SOLUTION
    if d_model % 2:
        raise ValueError(f"d_model must be even, got {d_model}: the last sine would have no cosine to turn with")
    angles = offset * base ** (-torch.arange(0, d_model, 2, dtype=torch.float64) / d_model)  # (d_model / 2,)
    cos, sin = angles.cos(), angles.sin()
    # sin(a + b) = cos(b) sin(a) + sin(b) cos(a)  and  cos(a + b) = cos(b) cos(a) - sin(b) sin(a)
    blocks = torch.stack([cos, sin, -sin, cos], dim=-1).view(-1, 2, 2)
    return torch.block_diag(*blocks).float()
    ### END SOLUTION


def channel_frequencies(table: torch.Tensor) -> torch.Tensor:
    """The dominant frequency of each channel, in cycles per position, by Fourier transform over the positions.

    table: `(max_len, d_model)`, each column a signal sampled once a position. Returns `(d_model,)` in the table's
    dtype, none below zero: the frequency at which the column's spectrum is largest. The transform of n samples knows
    frequencies in steps ("bins") of 1/n, so the answer for a pure tone is right to within one bin.
    A learned table, which requires gradients, is read like any other.
    """
    ### BEGIN SOLUTION
    spectrum = torch.fft.rfft(table.double(), dim=0).abs()  # (max_len // 2 + 1, d_model)
    return spectrum.argmax(dim=0).to(table.dtype) / table.shape[0]
    ### END SOLUTION


def nearest_position(vector: torch.Tensor, table: torch.Tensor) -> int:
    """The position whose row is nearest to `vector`: the encoding read backwards, as an inverse hash.

    vector: `(d_model,)`; table: `(max_len, d_model)` of any values, not only sinusoids. Returns a Python int. A row's
    own position comes back exactly, and still does when noise well below half the distance to the next row is added.
    """
    ### BEGIN SOLUTION
    # In float64, where the squares of small differences do not vanish.
    return (table.double() - vector).square().sum(dim=-1).argmin().item()
    ### END SOLUTION


def position_signature(table: torch.Tensor, n_bits: int, generator: torch.Generator) -> torch.Tensor:
    """A SimHash of each row (Charikar 2002): `n_bits` bits, each the side of one random plane that the row lies on.

    The planes pass through the origin, in directions drawn evenly from `generator`, and are the same for all rows,
    however many there are. Two rows at an angle a then differ in a given bit with probability a / pi, so the Hamming
    distance of two signatures estimates the angle; in a sinusoidal table it grows with the distance of the positions.

    table: `(max_len, d_model)`. Returns bool `(max_len, n_bits)`. The same generator state gives the same bits.
    """
    ### BEGIN SOLUTION
    directions = torch.randn(table.shape[1], n_bits, generator=generator, dtype=table.dtype)  # (d_model, n_bits)
    return table @ directions > 0
    ### END SOLUTION


def apply_rope(x: torch.Tensor, positions: torch.Tensor, base: float = 10000.0) -> torch.Tensor:
    """Rotary position embedding (Su et al. 2021, section 3.2): turn each pair of channels by its clock's angle.

        (y[2i], y[2i + 1]) = (x[2i] cos a - x[2i + 1] sin a,  x[2i] sin a + x[2i + 1] cos a)
        a = position * base ** (-2i / d)

    x: `(..., t, d)`, where t may be 0; positions: integers `(t,)`, or any shape that broadcasts to x's `(..., t)`.
    x may lie in memory in any way. Returns a new tensor of x's shape and dtype. However short x's own dtype is, angles are
    computed at least in float32; when x is float64, in float64. Gradients flow to x. Raises ValueError when d is odd.
    """
    ### BEGIN SOLUTION
    d = x.shape[-1]
    if d % 2:
        raise ValueError(f"x must have an even number of channels to pair them, got shape {tuple(x.shape)}")
    frequencies = base ** (-torch.arange(0, d, 2, dtype=torch.float64, device=x.device) / d)  # (d / 2,)
    angles = positions[..., None] * frequencies  # (..., t, d / 2)
    work = torch.promote_types(x.dtype, torch.float32)
    cos, sin = angles.cos().to(work), angles.sin().to(work)
    even, odd = x[..., 0::2].to(work), x[..., 1::2].to(work)
    turned = torch.stack([even * cos - odd * sin, even * sin + odd * cos], dim=-1)  # (..., t, d / 2, 2)
    return turned.flatten(-2).to(x.dtype)
    ### END SOLUTION


def alibi_bias(n_heads: int, n_q: int, n_k: int) -> torch.Tensor:
    """Attention with linear biases (Press et al. 2021): what to add to the scores before the softmax.

        bias[head, i, j] = -slope[head] * (position of query i - j),  slope[head] = 2 ** (-8 (head + 1) / n_heads)

    Aligned bottom-right, as the causal mask: the last query stands at the last key, so query i is at position
    `n_k - n_q + i`. Every number of heads follows the one formula, powers of two or not. Keys after the query are for
    the mask to hide; their bias is not specified.

    Returns float32 `(n_heads, n_q, n_k)`, a new tensor at each call; `n_q` may be 0.
    """
    ### BEGIN SOLUTION
    slopes = 2.0 ** (-8.0 * torch.arange(1, n_heads + 1) / n_heads)  # (n_heads,)
    distance = torch.arange(n_k - n_q, n_k)[:, None] - torch.arange(n_k)  # (n_q, n_k)
    return -slopes[:, None, None] * distance
    ### END SOLUTION


def plot_encoding(table: torch.Tensor) -> Figure:
    """A heat map of the table, drawn with `imshow`: a row for each position, a column for each channel.

    table: `(max_len, d_model)`, of any float dtype; it may be a parameter that requires gradients. Both axes carry a
    label. Returns a matplotlib Figure, a new one in each call; nothing is shown or saved.
    """
    ### BEGIN SOLUTION
    values = table.detach().float().cpu().numpy()
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.subplots()
    limit = abs(values).max(initial=0.0) or 1.0  # white is zero
    image = axes.imshow(values, cmap="RdBu", vmin=-limit, vmax=limit, aspect="auto", interpolation="nearest")
    axes.set(xlabel="channel", ylabel="position", title="Positional encoding")
    figure.colorbar(image, ax=axes, label="value")
    return figure
    ### END SOLUTION
