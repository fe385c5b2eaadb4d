"""The same model from PyTorch's own layers and from Hugging Face, as functions of our weights; and brute force."""

from __future__ import annotations

import itertools

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

try:  # here and not where it is used: the suites are collected once, and their tests run in forks
    from transformers import GPT2Config, GPT2LMHeadModel
except ImportError:
    GPT2LMHeadModel = None

Sizes = dict[str, int | bool | None]
Weights = dict[str, Tensor]


def weight_shapes(sizes: Sizes) -> dict[str, tuple[int, ...]]:
    """Every parameter of a MiniGPT by name; a tied head has none of its own."""
    d, vocab = sizes["d_model"], sizes["vocab_size"]
    d_ff = sizes.get("d_ff") or 4 * d
    shapes = {"token_embedding.weight": (vocab, d), "position_embedding.weight": (sizes["context_length"], d)}
    for i in range(sizes["n_layers"]):
        linear = {f"attention.{w}": (d, d) for w in ("w_q", "w_k", "w_v", "w_o")}
        linear |= {"feed_forward.w_in": (d_ff, d), "feed_forward.w_out": (d, d_ff)}
        for name, shape in linear.items():
            shapes |= {f"blocks.{i}.{name}.weight": shape, f"blocks.{i}.{name}.bias": shape[:1]}
        for norm in ("norm_1", "norm_2"):
            shapes |= {f"blocks.{i}.{norm}.weight": (d,), f"blocks.{i}.{norm}.bias": (d,)}
    shapes |= {"final_norm.weight": (d,), "final_norm.bias": (d,)}
    if not sizes.get("tie_embeddings", True):
        shapes["lm_head.weight"] = (vocab, d)
    return shapes


def random_weights(sizes: Sizes, seed: int, dtype: torch.dtype = torch.float64) -> Weights:
    """Weights at which every part of the model matters: norms not one, biases not zero."""
    generator = torch.Generator().manual_seed(seed)
    weights = {}
    for name, shape in weight_shapes(sizes).items():
        value = torch.randn(shape, generator=generator, dtype=torch.float64) * (1.0 if "embedding" in name else 0.4)
        weights[name] = (value + 1.0 if "norm" in name and name.endswith("weight") else value).to(dtype)
    return weights


def random_ids(sizes: Sizes, seed: int, *shape: int) -> Tensor:
    """Token ids within the vocabulary."""
    return torch.randint(sizes["vocab_size"], shape, generator=torch.Generator().manual_seed(seed))


def pytorch_logits(sizes: Sizes, weights: Weights, ids: Tensor) -> Tensor:
    """Logits of a stack of nn.TransformerEncoderLayer, differentiable with respect to the weights."""
    d, t = sizes["d_model"], ids.shape[1]
    layer = nn.TransformerEncoderLayer(
        d, sizes["n_heads"], sizes.get("d_ff") or 4 * d, dropout=0.0, activation="gelu",
        batch_first=True, norm_first=True, dtype=weights["token_embedding.weight"].dtype,
    )  # fmt: skip
    x = F.embedding(ids, weights["token_embedding.weight"]) + weights["position_embedding.weight"][:t]
    hidden = torch.ones(t, t, dtype=torch.bool).triu(1)
    for i in range(sizes["n_layers"]):
        w = {name.removeprefix(f"blocks.{i}."): value for name, value in weights.items()}
        parameters = {
            f"self_attn.in_proj_{kind}": torch.cat([w[f"attention.{part}.{kind}"] for part in ("w_q", "w_k", "w_v")])
            for kind in ("weight", "bias")
        }
        names = {
            "attention.w_o": "self_attn.out_proj", "feed_forward.w_in": "linear1", "feed_forward.w_out": "linear2",
            "norm_1": "norm1", "norm_2": "norm2",
        }  # fmt: skip
        for ours, theirs in names.items():
            parameters |= {f"{theirs}.{kind}": w[f"{ours}.{kind}"] for kind in ("weight", "bias")}
        x = functional_call(layer, parameters, (x,), {"src_mask": hidden})
    x = F.layer_norm(x, (d,), weights["final_norm.weight"], weights["final_norm.bias"])
    return x @ weights.get("lm_head.weight", weights["token_embedding.weight"]).T


def hugging_face_logits(sizes: Sizes, weights: Weights, ids: Tensor) -> Tensor:
    """Logits of transformers' GPT2LMHeadModel with our weights copied into its own layout.

    transformers belongs to the test extra; a grader installed without it compares with PyTorch's own layers instead.
    """
    if GPT2LMHeadModel is None:
        return pytorch_logits(sizes, weights, ids)
    tied = sizes.get("tie_embeddings", True)
    config = GPT2Config(
        vocab_size=sizes["vocab_size"], n_positions=sizes["context_length"], n_embd=sizes["d_model"],
        n_layer=sizes["n_layers"], n_head=sizes["n_heads"], n_inner=sizes.get("d_ff"), activation_function="gelu",
        tie_word_embeddings=tied, resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0, bos_token_id=0, eos_token_id=0,
    )  # fmt: skip
    parameters = {
        "transformer.wte.weight": weights["token_embedding.weight"],
        "transformer.wpe.weight": weights["position_embedding.weight"],
        "transformer.ln_f.weight": weights["final_norm.weight"],
        "transformer.ln_f.bias": weights["final_norm.bias"],
        "lm_head.weight": weights["token_embedding.weight" if tied else "lm_head.weight"],
    }
    for i in range(sizes["n_layers"]):
        ours, theirs = f"blocks.{i}.", f"transformer.h.{i}."
        for kind in ("weight", "bias"):
            qkv = torch.cat([weights[f"{ours}attention.{part}.{kind}"] for part in ("w_q", "w_k", "w_v")])
            parameters[f"{theirs}attn.c_attn.{kind}"] = qkv.T if kind == "weight" else qkv
            parameters[f"{theirs}ln_1.{kind}"] = weights[f"{ours}norm_1.{kind}"]
            parameters[f"{theirs}ln_2.{kind}"] = weights[f"{ours}norm_2.{kind}"]
            for name, part in {"attention.w_o": "attn.c_proj", "feed_forward.w_in": "mlp.c_fc",
                               "feed_forward.w_out": "mlp.c_proj"}.items():  # fmt: skip
                value = weights[f"{ours}{name}.{kind}"]
                parameters[f"{theirs}{part}.{kind}"] = value.T if kind == "weight" else value  # Conv1D is (in, out)
    model = GPT2LMHeadModel(config).to(weights["token_embedding.weight"].dtype)
    return functional_call(model, parameters, (ids,), {"use_cache": False}).logits


def gradients(logits_of, sizes: Sizes, weights: Weights, ids: Tensor, scalar_of) -> Weights:
    """The gradient of scalar_of(logits) with respect to every weight; zeros for a weight that does not matter."""
    leaves = {name: value.clone().requires_grad_() for name, value in weights.items()}
    scalar = scalar_of(logits_of(sizes, leaves, ids))
    found = torch.autograd.grad(scalar, list(leaves.values()), allow_unused=True, materialize_grads=True)
    return dict(zip(leaves, found, strict=True))


def toy_logits(embedding: Tensor, output: Tensor, tokens: list[int]) -> Tensor:
    """What the toy model of scenarios.py predicts after these tokens, summed up one by one."""
    total = sum((i * embedding[token] for i, token in enumerate(tokens, 1)), torch.zeros_like(embedding[0]))
    return total.sin() @ output


def best_score(initial: Tensor, transition: Tensor, length: int) -> float:
    """The log-probability of the likeliest sequence, by trying all of them."""
    return max(score(initial, transition, ids) for ids in itertools.product(range(len(initial)), repeat=length))


def score(initial: Tensor, transition: Tensor, ids) -> float:
    """The log-probability of one sequence."""
    ids = [int(i) for i in ids]
    return float(initial[ids[0]]) + sum(float(transition[a, b]) for a, b in itertools.pairwise(ids))
