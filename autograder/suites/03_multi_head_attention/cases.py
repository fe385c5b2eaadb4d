"""Random cases for this module's suite, and attention by its definition in float64 as independent truth."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from autograder.testing.strategies import mask_for, normal, seeds, sizes, st

from . import scenarios

MASKS = ("none", "queries by keys", "keys", "queries", "padding", "heads", "full")


@dataclass(frozen=True)
class LayerCase:
    """A layer's configuration and weights, and its inputs: x (b, n_q, d), context (b, n_k, d) or None, mask or None."""

    b: int
    n_q: int
    n_k: int
    n_heads: int
    n_kv_heads: int | None
    head_dim: int
    bias: bool
    cross: bool
    masked: str
    seed: int
    dtype: torch.dtype = torch.float64
    config: dict = field(init=False, repr=False, compare=False)
    weights: dict[str, Tensor] = field(init=False, repr=False, compare=False)
    x: Tensor = field(init=False, repr=False, compare=False)
    context: Tensor | None = field(init=False, repr=False, compare=False)
    mask: Tensor | None = field(init=False, repr=False, compare=False)
    cotangent: Tensor = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        generator = torch.Generator().manual_seed(self.seed)
        d, d_kv = self.n_heads * self.head_dim, (self.n_kv_heads or self.n_heads) * self.head_dim
        n_k = self.n_k if self.cross else self.n_q
        config = {"d_model": d, "n_heads": self.n_heads, "bias": self.bias}
        if self.n_kv_heads is not None:
            config["n_kv_heads"] = self.n_kv_heads
        made = {
            "config": config,
            "weights": draw_weights(generator, d, d_kv, self.bias, self.dtype),
            "x": normal(generator, self.b, self.n_q, d, dtype=self.dtype),
            "context": normal(generator, self.b, n_k, d, dtype=self.dtype) if self.cross else None,
            "cotangent": normal(generator, self.b, self.n_q, d, dtype=self.dtype),
        }
        shape = {
            "none": None,
            "queries by keys": (self.n_q, n_k),
            "keys": (n_k,),
            "queries": (self.n_q, 1),
            "padding": (self.b, 1, 1, n_k),
            "heads": (self.n_heads, self.n_q, n_k),
            "full": (self.b, self.n_heads, self.n_q, n_k),
        }[self.masked]
        made["mask"] = None if shape is None else mask_for(generator, *shape)
        for name, value in made.items():
            object.__setattr__(self, name, value)

    @property
    def layer(self) -> tuple[dict, dict]:
        return self.config, self.weights


def draw_weights(generator: torch.Generator, d: int, d_kv: int, bias: bool, dtype: torch.dtype) -> dict[str, Tensor]:
    """Weights of w_q, w_k, w_v and w_o, large enough for the attention to be far from uniform."""
    widths = {"w_q": d, "w_k": d_kv, "w_v": d_kv, "w_o": d}
    weights = {}
    for name, width in widths.items():
        weights[f"{name}.weight"] = normal(generator, width, d, dtype=dtype, scale=1.5 / math.sqrt(d))
        if bias:
            weights[f"{name}.bias"] = normal(generator, width, dtype=dtype)
    return weights


@st.composite
def layer_cases(
    draw: st.DrawFn,
    grouped: bool = False,
    masks: tuple[str, ...] = MASKS,
    cross: bool | None = None,
    bias: bool | None = None,
    smallest_heads: int = 1,
    dtype: torch.dtype = torch.float64,
) -> LayerCase:
    n_kv_heads = draw(sizes(1, 3)) if grouped else None
    n_heads = n_kv_heads * draw(sizes(1, 3)) if n_kv_heads else draw(sizes(smallest_heads, 4))
    n_q = draw(sizes(1, 5))
    return LayerCase(
        b=draw(sizes(1, 3)),
        n_q=n_q,
        n_k=draw(st.one_of(st.just(n_q), sizes(1, 6))),  # a context as long as x hides no mistake behind a shape error
        n_heads=n_heads,
        n_kv_heads=n_kv_heads,
        head_dim=draw(sizes(1, 5)),
        bias=draw(st.booleans()) if bias is None else bias,
        cross=draw(st.booleans()) if cross is None else cross,
        masked=draw(st.sampled_from(masks)),
        seed=draw(seeds()),
        dtype=dtype,
    )


def partial_attention(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """(out, lse) by the definition: zeros and -inf where nothing may be attended to."""
    scores = q @ k.mT / math.sqrt(q.shape[-1])
    if mask is not None:
        scores = scores.masked_fill(~mask, -torch.inf)
    return scores.softmax(-1).nan_to_num(0.0) @ v, scores.logsumexp(-1)


def heads_by_slices(x: Tensor, n_heads: int) -> Tensor:
    """(b, t, d) -> (b, h, t, d/h), one slice of the channels after the other."""
    return torch.stack(x.chunk(n_heads, dim=-1), dim=1)


def torch_attention(case: LayerCase, mask: Tensor | None) -> Tensor:
    """The case's layer by PyTorch: linear maps and F.scaled_dot_product_attention, keys and values shared in groups."""
    w, context = case.weights, case.x if case.context is None else case.context
    n_kv_heads = case.n_kv_heads or case.n_heads
    q = heads_by_slices(F.linear(case.x, w["w_q.weight"], w.get("w_q.bias")), case.n_heads)
    k = heads_by_slices(F.linear(context, w["w_k.weight"], w.get("w_k.bias")), n_kv_heads)
    v = heads_by_slices(F.linear(context, w["w_v.weight"], w.get("w_v.bias")), n_kv_heads)
    mask = None if mask is None else mask.expand(case.b, case.n_heads, case.n_q, context.shape[1])
    heads = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, enable_gqa=True)
    return F.linear(torch.cat(heads.unbind(1), dim=-1), w["w_o.weight"], w.get("w_o.bias"))


def torch_multi_head_attention(case: LayerCase, mask: Tensor | None) -> Tensor:
    """The case's layer by nn.MultiheadAttention, whose masks mean the opposite of ours."""
    d, w = case.config["d_model"], case.weights
    oracle = nn.MultiheadAttention(d, case.n_heads, bias=case.bias, batch_first=True, dtype=case.dtype)
    with torch.no_grad():
        oracle.in_proj_weight.copy_(torch.cat([w["w_q.weight"], w["w_k.weight"], w["w_v.weight"]]))
        oracle.out_proj.weight.copy_(w["w_o.weight"])
        if case.bias:
            oracle.in_proj_bias.copy_(torch.cat([w["w_q.bias"], w["w_k.bias"], w["w_v.bias"]]))
            oracle.out_proj.bias.copy_(w["w_o.bias"])
        context = case.x if case.context is None else case.context
        if mask is not None:
            full = mask.expand(case.b, case.n_heads, case.n_q, context.shape[1])
            mask = ~full.reshape(case.b * case.n_heads, case.n_q, context.shape[1])
        return oracle(case.x, context, context, attn_mask=mask, need_weights=False)[0]


def constructor(student, name: str):
    """A function that builds `name(**config)` beside the student's code, for `assert_refused` to call and to name."""

    def build(**config):
        return student.run(scenarios.build, name, config)

    build.__name__ = name
    return build


def with_one_key(mask: Tensor | None) -> Tensor | None:
    """The mask with its first key open to all, for oracles that answer NaN where nothing may be attended to."""
    if mask is None:
        return None
    mask = mask.clone()
    mask[..., 0] = True
    return mask
