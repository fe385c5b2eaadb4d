"""Random small models, their weights by name, padded batches, and what a bucket may be."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from autograder.testing.strategies import composite, normal, sizes, st

SMALL = {"vocab_size": 9, "n_layers": 2, "n_heads": 2, "d_model": 6, "d_ff": 5, "n_buckets": 8, "max_distance": 12}
DEEP = SMALL | {"n_layers": 3, "n_heads": 3}


@composite
def model_sizes(draw: st.DrawFn, layers: int = 2) -> dict[str, int | None]:
    """The fields of a MiniT5Config: odd sizes and 1 among them, d_ff given or not."""
    n_heads = draw(sizes(1, 3))
    return {
        "vocab_size": draw(sizes(2, 9)),
        "n_layers": draw(sizes(1, layers)),
        "n_heads": n_heads,
        "d_model": n_heads * draw(sizes(1, 4)),
        "d_ff": draw(st.none() | sizes(1, 7)),
        "n_buckets": draw(st.sampled_from([4, 6, 8])),
        "max_distance": draw(st.sampled_from([5, 6, 7, 10, 11, 13, 19])),  # no logarithm is a whole number below these
    }


def attention_shapes(d: int) -> dict[str, tuple[int, ...]]:
    """The weights of a CrossAttention."""
    return {f"{name}.weight": (d, d) for name in ("w_q", "w_k", "w_v", "w_o")}


def block_shapes(d: int, d_ff: int, kind: str) -> dict[str, tuple[int, ...]]:
    """The weights of an EncoderBlock or a DecoderBlock."""
    attentions = ("attention",) if kind == "EncoderBlock" else ("attention", "cross_attention")
    shapes = {f"{part}.{name}": shape for part in attentions for name, shape in attention_shapes(d).items()}
    shapes |= {"feed_forward.w_in.weight": (d_ff, d), "feed_forward.w_in.bias": (d_ff,)}
    shapes |= {"feed_forward.w_out.weight": (d, d_ff), "feed_forward.w_out.bias": (d,)}
    return shapes | {f"norm_{i}.weight": (d,) for i in range(1, len(attentions) + 2)}


def model_shapes(config: dict) -> dict[str, tuple[int, ...]]:
    """The weights of a MiniT5."""
    d = config["d_model"]
    shapes = {"token_embedding.weight": (config["vocab_size"], d)}
    for stack, kind in (("encoder", "EncoderBlock"), ("decoder", "DecoderBlock")):
        for i in range(config["n_layers"]):
            block = block_shapes(d, config["d_ff"] or 4 * d, kind)
            shapes |= {f"{stack}.{i}.{name}": shape for name, shape in block.items()}
        shapes |= {f"{stack}_bias.embedding.weight": (config["n_buckets"], config["n_heads"]), f"{stack}_norm.weight": (d,)}
    return shapes


def random_weights(shapes: dict, seed: int, dtype: torch.dtype = torch.float64) -> dict[str, Tensor]:
    """Weights at which every part matters: norms not one, biases not zero."""
    generator, weights = torch.Generator().manual_seed(seed), {}
    for name, shape in shapes.items():
        value = normal(generator, *shape, scale=1.0 if "embedding" in name else 0.5)
        weights[name] = (value + 1.0 if "norm" in name else value).to(dtype)
    return weights


def model_weights(config: dict, seed: int, dtype: torch.dtype = torch.float64) -> dict[str, Tensor]:
    """The weights of a whole model."""
    return random_weights(model_shapes(config), seed, dtype)


def random_ids(vocab_size: int, seed: int, *shape: int) -> Tensor:
    """Token ids within the vocabulary."""
    return torch.randint(vocab_size, shape, generator=torch.Generator().manual_seed(seed))


def random_mask(seed: int, *shape: int, density: float = 0.6) -> Tensor:
    """True means "may attend"; rows of nothing do occur."""
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed)) < density


def where_missing(found, expected, hint: str) -> str:
    """The hint, where a gradient that should not be 0 is missing or 0 everywhere; nothing else tells of a broken graph."""
    if isinstance(expected, Tensor):
        return "" if isinstance(found, Tensor) and (found.any() or not expected.any()) else hint
    pairs = [(found[i], expected[i]) for i in (expected if isinstance(expected, dict) else range(len(expected)))]
    return next((said for pair in pairs if (said := where_missing(*pair, hint))), "")


def mask_of(lengths: list[int], n: int) -> Tensor:
    """Which of n positions are real."""
    return torch.arange(n) < torch.tensor(lengths)[:, None]


def possible_buckets(r: int, bidirectional: bool, n_buckets: int, max_distance: int) -> set[int]:
    """The buckets that are right for a relative position: two of them where the logarithm is a whole number."""
    n = n_buckets // 2 if bidirectional else n_buckets
    first = n if bidirectional and r > 0 else 0
    distance, exact = abs(r) if bidirectional else max(-r, 0), n // 2
    if distance < exact:
        return {first + distance}
    octaves = math.log(distance / exact) / math.log(max_distance / exact) * (n - exact)
    nearest = round(octaves)
    whole = abs(octaves - nearest) < 1e-5 and nearest > 0
    found = {nearest - 1, nearest} if whole else {math.floor(octaves + (1e-9 if nearest == 0 else 0))}
    return {first + min(exact + each, n - 1) for each in found}
