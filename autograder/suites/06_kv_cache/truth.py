"""The same model and the same caches in a few plain lines, without a cache and without the solution."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from autograder.testing.strategies import composite, sizes, st

Sizes = dict[str, int | bool | None]
Weights = dict[str, Tensor]

SMALL = {"vocab_size": 11, "context_length": 9, "n_layers": 2, "n_heads": 2, "d_model": 6, "d_ff": 5}


@composite
def model_sizes(draw: st.DrawFn, context: tuple[int, int] = (1, 9), layers: int = 3) -> Sizes:
    """The fields of a GPTConfig: one head and one layer among them, tied or not."""
    n_heads = draw(sizes(1, 3))
    return {
        "vocab_size": draw(sizes(2, 11)),
        "context_length": draw(sizes(*context)),
        "n_layers": draw(sizes(1, layers)),
        "n_heads": n_heads,
        "d_model": n_heads * draw(sizes(1, 4)),
        "d_ff": draw(sizes(1, 9)),
        "tie_embeddings": draw(st.booleans()),
    }


def random_weights(config: Sizes, seed: int, dtype: torch.dtype = torch.float64) -> Weights:
    """Weights of a MiniGPT by name, at which every part of it matters; a tied head has none of its own."""
    d, d_ff = config["d_model"], config["d_ff"]
    shapes = {
        "token_embedding.weight": (config["vocab_size"], d),
        "position_embedding.weight": (config["context_length"], d),
    }
    for i in range(config["n_layers"]):
        linear = {f"attention.{w}": (d, d) for w in ("w_q", "w_k", "w_v", "w_o")}
        linear |= {"feed_forward.w_in": (d_ff, d), "feed_forward.w_out": (d, d_ff)}
        for name, shape in linear.items():
            shapes |= {f"blocks.{i}.{name}.weight": shape, f"blocks.{i}.{name}.bias": shape[:1]}
        shapes |= {f"blocks.{i}.{norm}.{kind}": (d,) for norm in ("norm_1", "norm_2") for kind in ("weight", "bias")}
    shapes |= {"final_norm.weight": (d,), "final_norm.bias": (d,)}
    if not config.get("tie_embeddings", True):
        shapes["lm_head.weight"] = (config["vocab_size"], d)
    generator = torch.Generator().manual_seed(seed)
    weights = {}
    for name, shape in shapes.items():
        value = torch.randn(shape, generator=generator, dtype=torch.float64) * (1.0 if "embedding" in name else 0.5)
        weights[name] = (value + 1.0 if "norm" in name and name.endswith("weight") else value).to(dtype)
    return weights


def random_ids(config: Sizes, seed: int, *shape: int) -> Tensor:
    """Token ids within the vocabulary."""
    return torch.randint(config["vocab_size"], shape, generator=torch.Generator().manual_seed(seed))


def attention_rows(weights: Weights, x: Tensor, n_heads: int, n_kv_heads: int) -> Tensor:
    """Causal (grouped) self-attention over the whole of x (b, t, d), head by head."""
    projected = {name: F.linear(x, weights[f"{name}.weight"], weights.get(f"{name}.bias")) for name in ("w_q", "w_k", "w_v")}
    d = x.shape[-1] // n_heads
    heads = []
    for i in range(n_heads):
        j = i // (n_heads // n_kv_heads)
        q, k, v = (projected[name][..., h * d : (h + 1) * d] for name, h in (("w_q", i), ("w_k", j), ("w_v", j)))
        heads.append(F.scaled_dot_product_attention(q[:, None], k[:, None], v[:, None], is_causal=True)[:, 0])
    return F.linear(torch.cat(heads, -1), weights["w_o.weight"], weights.get("w_o.bias"))


def logits_of(config: Sizes, weights: Weights, ids: Tensor, held: list[tuple[Tensor, Tensor]] | None = None) -> Tensor:
    """The logits (b, t, vocab) of the whole text at once: no cache, PyTorch's own functions. Each layer's keys and values,
    (b, heads, t, head_dim), are added to `held`."""
    d = config["d_model"]
    x = F.embedding(ids, weights["token_embedding.weight"]) + weights["position_embedding.weight"][: ids.shape[1]]
    for i in range(config["n_layers"]):
        w = {name.removeprefix(f"blocks.{i}."): value for name, value in weights.items()}
        attention = {name.removeprefix("attention."): w[name] for name in w if name.startswith("attention.")}
        y = F.layer_norm(x, (d,), w["norm_1.weight"], w["norm_1.bias"])
        x = x + attention_rows(attention, y, config["n_heads"], config["n_heads"])
        if held is not None:
            k, v = (F.linear(y, attention[f"{name}.weight"], attention[f"{name}.bias"]) for name in ("w_k", "w_v"))
            held.append(tuple(z.unflatten(-1, (config["n_heads"], -1)).transpose(1, 2) for z in (k, v)))
        y = F.layer_norm(x, (d,), w["norm_2.weight"], w["norm_2.bias"])
        hidden = F.gelu(F.linear(y, w["feed_forward.w_in.weight"], w["feed_forward.w_in.bias"]))
        x = x + F.linear(hidden, w["feed_forward.w_out.weight"], w["feed_forward.w_out.bias"])
    x = F.layer_norm(x, (d,), weights["final_norm.weight"], weights["final_norm.bias"])
    return x @ weights.get("lm_head.weight", weights["token_embedding.weight"]).T


def greedy(config: Sizes, weights: Weights, ids: Tensor, n: int) -> Tensor:
    """The most likely next token, n times, from the last context_length tokens."""
    for _ in range(n):
        logits = logits_of(config, weights, ids[:, -config["context_length"] :])
        ids = torch.cat([ids, logits[:, -1].argmax(-1, keepdim=True)], dim=1)
    return ids


def linear_flops(config: Sizes) -> int:
    """Operations of the matrix products that one token needs outside of attention: two for every weight."""
    d = config["d_model"]
    return 2 * (config["n_layers"] * (4 * d * d + 2 * d * config["d_ff"]) + d * config["vocab_size"])


def attention_flops(config: Sizes, n_keys: int) -> int:
    """Operations of one query's scores and of its mean of the values, over all heads and layers."""
    return 4 * config["n_layers"] * config["d_model"] * n_keys


def assert_products(count: int, needed: int) -> None:
    """The layers' work, of which no answer can do without the half, was seen where it is counted."""
    said = f"matrix products of {count:,} floating-point operations were seen, and the layers' own take {needed:,}"
    assert count >= needed / 2, f"{said}\n  hint: compute with PyTorch's operators, in the model's own layers"


def assert_left_alone(changed: list, by: str) -> None:
    """Nothing but the result, and a cache, is another than before."""
    hint = "nothing but the result and the cache may be different afterwards"
    assert not changed, f"{by} changed {'; '.join(changed)}\n  hint: {hint}"


class Refused(Exception):
    """The model cache refuses an operation."""


class PlainCache:
    """What a KVCache does, with a list of positions for every layer and row."""

    def __init__(self, n_layers: int, batch_size: int, n_kv_heads: int, max_len: int, head_dim: int):
        self.max_len, self.shape = max_len, (n_kv_heads, head_dim)
        self.layers = [[[] for _ in range(batch_size)] for _ in range(n_layers)]  # [layer][row] -> [(k, v), ...]

    @property
    def length(self) -> int:
        return min(len(rows[0]) for rows in self.layers)

    def update(self, layer: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        rows = self.layers[layer]
        if len(rows[0]) + k.shape[2] > self.max_len:
            raise Refused
        for row, row_k, row_v in zip(rows, k, v):
            row += [(row_k[:, i], row_v[:, i]) for i in range(k.shape[2])]
        empty = k.new_zeros(len(rows), self.shape[0], 0, self.shape[1])
        if not rows[0]:
            return empty, empty
        return tuple(torch.stack([torch.stack([pair[j] for pair in row], 1) for row in rows]) for j in (0, 1))

    def truncate(self, length: int) -> None:
        if not 0 <= length <= self.length:
            raise Refused
        self.layers = [[row[:length] for row in rows] for rows in self.layers]

    def reorder(self, beam_index: Tensor) -> None:
        self.layers = [[list(rows[i]) for i in beam_index.tolist()] for rows in self.layers]


class PlainPool:
    """What a PagedKVCache does, with a list of positions for every sequence and blocks that are only counted."""

    def __init__(self, n_blocks: int, block_size: int, **shape: int):
        self.n_blocks, self.block_size = n_blocks, block_size
        self.sequences: dict[int | str, list[tuple[Tensor, Tensor]]] = {}

    @property
    def n_free_blocks(self) -> int:
        return self.n_blocks - sum(-(-len(positions) // self.block_size) for positions in self.sequences.values())

    def append(self, seq_id: int | str, k: Tensor, v: Tensor) -> None:
        before = dict(self.sequences)
        self.sequences[seq_id] = self.sequences.get(seq_id, []) + [(k[:, i], v[:, i]) for i in range(k.shape[1])]
        if self.n_free_blocks < 0:
            self.sequences = before
            raise Refused

    def gather(self, seq_id: int | str) -> tuple[Tensor, Tensor]:
        if seq_id not in self.sequences:
            raise Refused
        k, v = zip(*self.sequences[seq_id])
        return torch.stack(k, 1), torch.stack(v, 1)

    def free(self, seq_id: int | str) -> None:
        if self.sequences.pop(seq_id, None) is None:
            raise Refused
