"""Random cases for this module's suite, and attention by its definition in float64 as independent truth."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from autograder.testing import assert_close
from autograder.testing.assertions import difference
from autograder.testing.hints import if_nan, if_right
from autograder.testing.strategies import composite, mask_for, normal, seeds, sizes, st

from . import scenarios

MASKS = ("none", "queries by keys", "keys", "queries", "padding", "heads", "full")
ROOM = {
    torch.float64: 1e-9,
    torch.float32: 1e-4,
    torch.bfloat16: 0.25,
}  # for a few products, rounded after each, and their gradients


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
            "batch": (self.b, 1, self.n_q, n_k),
            "heads for every batch": (1, self.n_heads, self.n_q, n_k),
            "whole heads": (self.n_heads, 1, 1),
            "one row": (1, n_k),
            "queries of a batch": (self.b, 1, self.n_q, 1),
            "keys of a head": (self.b, self.n_heads, 1, n_k),
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


@composite
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


def alike(n_kv_heads: int | None = None, cross: tuple[bool, ...] = (False, True)) -> list[LayerCase]:
    """Cases whose batch, lengths, heads and head_dim are all 4: no wrong dimension shows by its size. Large ones, too."""
    masks = (*MASKS, "batch", "heads for every batch", "whole heads", "one row", "queries of a batch", "keys of a head")
    found = [LayerCase(4, 4, 4, 4, n_kv_heads, 4, True, c, masked, seed=5) for c in cross for masked in masks]
    if True in cross:
        found += [LayerCase(1, n_q, n_k, 4, n_kv_heads, 1, True, True, "none", seed=6) for n_q, n_k in ((33, 1030), (1030, 33))]
    if False in cross:
        found.append(LayerCase(1, 1030, 1030, 2, n_kv_heads, 1, True, False, "none", seed=6))
    return found + [case for c in cross for case in large(n_kv_heads, c)]


def large(n_kv_heads: int | None = None, cross: bool = True, dtype: torch.dtype = torch.float64) -> list[LayerCase]:
    """Cases with many heads of many channels in many batch entries, with many queries under a mask, and with only one."""
    shapes = (9, 3, 5, 12, 2, 9), (1, 110, 130, 8, 4, 2), (70, 1, 70, 4, 1, 2)  # (b, n_q, n_k, n_heads, n_kv_heads, head_dim)
    return [
        LayerCase(b, n_q, n_k, h, n_kv_heads and h_kv, width, True, cross, masked, seed=12, dtype=dtype)
        for (b, n_q, n_k, h, h_kv, width), masked in zip(shapes, ("heads", "full", "padding"))
    ]


def far_from_zero(score: float, n_kv_heads: int | None = None, cross: bool = True, spread: float = 1.0) -> LayerCase:
    """A masked case whose scores all lie near `score`, a few dozen times `spread` apart or, where they are larger than
    30,000, as many times further."""
    bias = math.sqrt(abs(score) / 2)  # 4 channels: 4 * bias^2 / sqrt(4)
    case = LayerCase(2, 4, 5, 4, n_kv_heads, 4, True, cross, "queries by keys", seed=8)
    for name, value in (("w_q", bias), ("w_k", math.copysign(bias, score))):
        case.weights[f"{name}.bias"].fill_(value)
        case.weights[f"{name}.weight"].mul_(0.1 * spread)
    return case


def of_gradients(actual, expected, more: str = "") -> str:
    """A hint about what was cut off, where the value is right and a gradient is missing."""
    cut = "detach, .data, torch.no_grad and torch.tensor(...) cut the graph"
    parts = [] if not isinstance(actual, dict) else [actual.get("x"), *(actual.get("parameters") or {}).values()]
    right = isinstance(actual, dict) and not difference(actual.get("value"), expected["value"], "", None, None, True)
    return (cut + more) * (right and any(part is None for part in parts))


def of_mask(case: LayerCase, shape: str) -> str:
    """A hint about the case's mask, or its lack."""
    if case.mask is None:
        return "without a mask every query sees every key"
    return f"a mask broadcasts from the right to {shape}"


def check_precisions(
    call: Callable[[LayerCase, Tensor | None], list[Tensor]], n_kv_heads: int | None = None, cross: bool = True, seed: int = 9
) -> None:
    """`call(case, mask)`, the outputs in every mode, gives PyTorch's answer in single and half precision, and in that dtype,
    and the output's bias for a query that may attend to nothing.
    """
    shape = 2, 3, 4, 4, n_kv_heads, 2, True, cross, "queries by keys"
    wide = LayerCase(*shape, seed=seed)
    open_mask = with_one_key(wide.mask)
    mask = open_mask.clone()
    mask[..., 1, :] = False
    for dtype in (torch.float32, torch.bfloat16, torch.float16):
        room = 32 * torch.finfo(dtype).eps  # a chain of five products of eight terms, rounded after each
        expected = torch_attention(wide, open_mask).to(dtype)
        expected[:, 1] = wide.weights["w_o.bias"].to(dtype)  # of a query that may attend to nothing
        actual = call(LayerCase(*shape, seed=seed, dtype=dtype), mask)
        hint = if_nan("a number too large for float16 is infinite there, and infinity minus itself is NaN", *actual)
        if any(getattr(x, "dtype", dtype) != dtype for x in actual):
            hint = "keep to the input's dtype, or go back to it: heads that were widened do not fit w_o"
        what = f"the output in {dtype}: in training and in evaluation mode, each with gradients and without"
        assert_close(actual, [expected] * len(scenarios.MODES), what=what, hint=hint, rtol=room, atol=room)
    alone = torch.eye(*mask.shape[-2:], dtype=torch.bool)
    alone[1] = False
    expected = torch_attention(wide, alone.index_fill(0, torch.tensor(1), True)).half()
    expected[:, 1] = wide.weights["w_o.bias"].half()
    low = LayerCase(*shape, seed=seed, dtype=torch.float16)
    for name, value in (("w_q", 40.0), ("w_k", -40.0)):
        low.weights[f"{name}.bias"].fill_(value)  # one visible key has all the weight, whatever its score
    actual = call(low, alone)
    what = "the output in torch.float16 for scores near -2000, each query with one key but the second, with none"
    hint = if_nan("the lowest number of float16 added to -2000 is -inf: replace a hidden score, do not add to it", *actual)
    assert_close(actual, [expected] * len(scenarios.MODES), what=what, hint=hint, rtol=room, atol=room)


def check_gradients(call: Callable[[LayerCase], dict], right: Callable[[LayerCase], dict], n_kv_heads=None, cross=True) -> None:
    """`call(case)` gives the value and the gradients that `right` gives, for large cases and in each precision."""
    for case in large(n_kv_heads, cross):
        what = f"value and gradients, x {tuple(case.x.shape)}, {case.n_heads} heads, mask {tuple(case.mask.shape)}"
        actual, expected = call(case), right(case)
        assert_close(actual, expected, what=what, hint=of_gradients(actual, expected))
    shape = 2, 3, 4, 4, n_kv_heads, 2, True, cross, "none"
    for dtype in (torch.float32, torch.bfloat16):
        case = LayerCase(*shape, seed=9, dtype=dtype)
        for value in case.weights.values():
            value.mul_(0.5)  # so that little is lost to rounding
        actual, expected = call(case), right(case)
        hint = of_gradients(actual, expected, "; .to(dtype) does not")
        what = f"value and gradients in {dtype}"
        assert_close(actual, expected, what=what, hint=hint, rtol=ROOM[dtype], atol=ROOM[dtype])


def check_nothing_is_kept(student, name: str, n_heads: int, n_kv_heads: int | None) -> None:
    """A layer's copy with other weights and inputs answers by these alone, in self-attention and in cross-attention."""
    for cross in (True, False):
        shape = 2, 4, 5 if cross else 4, n_heads, n_kv_heads, 2, True, cross, "full"
        case, other = LayerCase(*shape, seed=11), LayerCase(*shape, seed=17)
        mask = with_one_key(case.mask)
        arguments = case.config, other.weights, case.weights, case.x, case.context, mask
        again = student.run(scenarios.forward_again, name, *arguments)
        masked, unmasked = torch_attention(case, mask), torch_attention(case, None)
        what = "[training, evaluation, without a mask, loaded into a new layer] of a copy, after other weights, masks and inputs"
        expected, hint = [masked, masked, unmasked, masked], ""
        if difference(again, expected, "", None, None, True):
            new = student.run(scenarios.forward, name, case.config, case.weights, case.x, case.context, mask)
            hint = "weights change in training, and so do inputs and masks from call to call: keep nothing of them"
            hint = if_right(hint, new, masked)
        assert_close(again, expected, what=what, hint=hint)


def check_far_from_zero(call: Callable[[LayerCase, Tensor], Tensor], n_kv_heads: int | None = None, cross: bool = True) -> None:
    """`call(case, mask)` gives PyTorch's answer where scores are far above or below zero, hidden keys or not, or far apart."""
    for score, spread in ((3e4, 1.0), (-3e4, 1.0), (3e4, 50.0), (-3e10, 1.0)):
        case = far_from_zero(score, n_kv_heads, cross, spread)
        mask = with_one_key(case.mask)
        assert_close(
            call(case, mask),
            torch_attention(case, mask),
            what=f"the output for scores near {score:g}",
            hint="softmax subtracts the largest score that a row may see before exp; a hidden key's lies below any other",
            rtol=1e-7,
            atol=1e-8,
        )


def check_beginning(student, name: str, **config) -> None:
    """New layers begin with random weights of about nn.Linear's size, and share none of them."""
    made = student.run(scenarios.two_new_layers, name, config)
    common = ", ".join(made["common"])
    assert not common, f"two new layers share {common}: training one changes the other. Make new layers in __init__"
    usual = 1 / math.sqrt(3 * config["d_model"])  # nn.Linear: uniform between -1 / sqrt(d) and 1 / sqrt(d)
    for key, value in made["first"].items():
        assert value.dtype == torch.float32, f"a new layer's {key} is {value.dtype}, not PyTorch's default, float32"
        assert value.isfinite().all(), f"a new layer's {key} has NaN or infinite values"
        size = value.square().mean().sqrt().item()
        if key.endswith("bias") and size < usual * 5:
            continue  # zeros are as common as nn.Linear's small numbers
        assert usual / 10 < size < usual * 5, (  # Xavier's are 1.7 times as large as nn.Linear's, GPT-2's a quarter
            f"the root mean square of a new layer's {key} is {size:.3g}; nn.Linear makes it about {usual:.3g}\n"
            "  hint: leave the weights as nn.Linear makes them"
        )
        assert not torch.equal(value, made["second"][key]), f"two new layers have the same {key}: it should be random"
    weights = {key: value for key, value in made["first"].items() if key.endswith("weight")}
    same = [(a, b) for a in weights for b in weights if a < b and torch.equal(weights[a], weights[b])]
    assert not same, f"a new layer's {' and '.join(same[0])} are equal: each has random numbers of its own"


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
