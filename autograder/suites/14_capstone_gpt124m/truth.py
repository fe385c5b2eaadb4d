"""What the model, the corpus and the run should give, in a few plain lines each, without the solution."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from autograder.testing.strategies import composite, sizes

SMALL = {"vocab_size": 11, "context_length": 8, "n_layers": 2, "n_heads": 2, "d_model": 8}


@composite
def model_sizes(draw, context=(1, 7)):
    """The fields of a GPTConfig."""
    n_heads = draw(sizes(1, 3))
    return {
        "vocab_size": draw(sizes(2, 9)),
        "context_length": draw(sizes(*context)),
        "n_layers": draw(sizes(1, 3)),
        "n_heads": n_heads,
        "d_model": n_heads * draw(sizes(1, 4)),
    }


def shapes_of(config: dict) -> dict[str, tuple[int, ...]]:
    """The names and shapes of a GPT's parameters, linear weights (out, in); a tied one once."""
    d = config["d_model"]
    shapes = {"wte.weight": (config["vocab_size"], d), "wpe.weight": (config["context_length"], d)}
    layers = {"attn.c_attn": (3 * d, d), "attn.c_proj": (d, d), "mlp.c_fc": (4 * d, d), "mlp.c_proj": (d, 4 * d)}
    for i in range(config["n_layers"]):
        for name in ("ln_1", "ln_2"):
            shapes |= {f"h.{i}.{name}.weight": (d,), f"h.{i}.{name}.bias": (d,)}
        for name, shape in layers.items():
            shapes |= {f"h.{i}.{name}.weight": shape, f"h.{i}.{name}.bias": shape[:1]}
    return shapes | {"ln_f.weight": (d,), "ln_f.bias": (d,)}


def random_weights(config: dict, seed: int, dtype: torch.dtype = torch.float64) -> dict[str, Tensor]:
    """Weights by name, at which every part of the model matters."""
    generator = torch.Generator().manual_seed(seed)
    weights = {}
    for name, shape in shapes_of(config).items():
        x = torch.randn(shape, generator=generator, dtype=torch.float64)
        scale = 0.4 if name.endswith("bias") or "ln_" in name else 1.2 / math.sqrt(shape[-1])
        weights[name] = (scale * x + (1.0 if "ln_" in name and name.endswith("weight") else 0.0)).to(dtype)
    return weights


def published(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same weights in GPT-2's published layout."""
    turned = ("c_attn.weight", "c_proj.weight", "c_fc.weight")
    return {name: x.T.contiguous() if name.endswith(turned) else x for name, x in weights.items()}


def random_ids(config: dict, seed: int, b: int, t: int) -> Tensor:
    return torch.randint(config["vocab_size"], (b, t), generator=torch.Generator().manual_seed(seed))


def norm(x: Tensor, weights: dict, name: str) -> Tensor:
    centred = x - x.mean(-1, keepdim=True)
    scaled = centred / torch.sqrt((centred * centred).mean(-1, keepdim=True) + 1e-5)
    return scaled * weights[f"{name}.weight"] + weights[f"{name}.bias"]


def attended(x: Tensor, weights: dict, n_heads: int, prefix: str = "") -> Tensor:
    """Causal attention over all of x."""
    b, t, d = x.shape
    rows = x @ weights[f"{prefix}c_attn.weight"].T + weights[f"{prefix}c_attn.bias"]
    q, k, v = (part.reshape(b, t, n_heads, d // n_heads).permute(0, 2, 1, 3) for part in rows.chunk(3, dim=-1))
    scores = torch.einsum("bhqc,bhkc->bhqk", q, k) / math.sqrt(d // n_heads)
    scores = scores.masked_fill(torch.ones(t, t, dtype=torch.bool).triu(1), -math.inf)
    mixed = torch.einsum("bhqk,bhkc->bqhc", scores.softmax(-1), v).reshape(b, t, d)
    return mixed @ weights[f"{prefix}c_proj.weight"].T + weights[f"{prefix}c_proj.bias"]


def fed_forward(x: Tensor, weights: dict, prefix: str = "") -> Tensor:
    y = x @ weights[f"{prefix}c_fc.weight"].T + weights[f"{prefix}c_fc.bias"]
    y = 0.5 * y * (1 + torch.tanh(math.sqrt(2 / math.pi) * (y + 0.044715 * y**3)))
    return y @ weights[f"{prefix}c_proj.weight"].T + weights[f"{prefix}c_proj.bias"]


def block(x: Tensor, weights: dict, n_heads: int, prefix: str = "") -> Tensor:
    x = x + attended(norm(x, weights, f"{prefix}ln_1"), weights, n_heads, f"{prefix}attn.")
    return x + fed_forward(norm(x, weights, f"{prefix}ln_2"), weights, f"{prefix}mlp.")


def logits_of(config: dict, weights: dict, ids: Tensor) -> Tensor:
    x = weights["wte.weight"][ids] + weights["wpe.weight"][: ids.shape[1]]
    for i in range(config["n_layers"]):
        x = block(x, weights, config["n_heads"], f"h.{i}.")
    return norm(x, weights, "ln_f") @ weights["wte.weight"].T


def of_block(weights: dict, prefix: str = "h.0.") -> dict:
    """One block's weights, or a part's, under their own names."""
    return {name.removeprefix(prefix): x for name, x in weights.items() if name.startswith(prefix)}


# Data


def stream(documents: list[list[int]], eot_id: int) -> list[int]:
    return [token for ids in documents for token in (eot_id, *ids)]


def batch(tokens: list[int], step: int, size: int, t: int, rank: int = 0, world: int = 1) -> tuple[Tensor, Tensor]:
    """Batch number `step` of an epoch that is not shuffled."""
    numbers = [step * size * world + rank * size + i for i in range(size)]
    x = torch.tensor([tokens[n * t : n * t + t] for n in numbers])
    return x, torch.tensor([tokens[n * t + 1 : n * t + t + 1] for n in numbers])


# Training


def learning_rate(step: int, warmup: int, total: int, high: float, low: float) -> float:
    if step >= total:
        return low
    if step < warmup:
        return high * (step + 1) / (warmup + 1)
    share = 0.5 + 0.5 * math.cos(math.pi * (step - warmup) / (total - warmup))
    return share * high + (1 - share) * low


def trained(model: torch.nn.Module, batches: list[tuple[Tensor, Tensor]], config: dict) -> dict[str, list]:
    """A run in one process; the model is one of `scenarios.TinyLM`, changed in place."""
    matrices = [p for p in model.parameters() if p.requires_grad and p.ndim >= 2]
    vectors = [p for p in model.parameters() if p.requires_grad and p.ndim < 2]
    groups = [{"params": matrices, "weight_decay": config["weight_decay"]}, {"params": vectors, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=0.0, betas=config["betas"], eps=1e-8)
    history = {"loss": [], "lr": [], "grad_norm": []}
    n = config["accumulation_steps"]
    model.train()
    for step in range(config["total_steps"]):
        lr = learning_rate(step, config["warmup_steps"], config["total_steps"], config["max_lr"], config["min_lr"])
        for group in optimizer.param_groups:
            group["lr"] = lr
        optimizer.zero_grad()
        losses = []
        for x, y in batches[step * n : step * n + n]:
            losses.append(F.cross_entropy(model(x)[0].flatten(0, 1), y.flatten()))
        loss = sum(losses) / n
        loss.backward()
        norm = math.sqrt(sum(p.grad.pow(2).sum().item() for p in matrices + vectors))
        for p in matrices + vectors:
            p.grad *= min(1.0, config["clip_norm"] / (norm + 1e-6))
        optimizer.step()
        history["loss"].append(loss.item())
        history["lr"].append(lr)
        history["grad_norm"].append(norm)
    return history


# Files


def read_safetensors(data: bytes) -> tuple[dict, int]:
    """The header, and where the data begins; ValueError where the file is not of the format."""
    import json

    size = int.from_bytes(data[:8], "little")
    if len(data) < 8 + size:
        raise ValueError(f"the first eight bytes say that the header has {size} bytes; the file has {len(data)} in all")
    return json.loads(data[8 : 8 + size].decode("utf-8")), 8 + size


TORCH_DTYPES = {
    "F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16,
    "I64": torch.int64, "I32": torch.int32, "I16": torch.int16, "I8": torch.int8, "U8": torch.uint8, "BOOL": torch.bool,
}  # fmt: skip


def tensors_in(data: bytes) -> dict[str, Tensor]:
    """The tensors of a file in the safetensors format."""
    header, start = read_safetensors(data)
    found = {}
    for name, entry in header.items():
        if name != "__metadata__":
            begin, end = entry["data_offsets"]
            raw = bytearray(data[start + begin : start + end])
            dtype = TORCH_DTYPES[entry["dtype"]]
            flat = torch.frombuffer(raw, dtype=dtype) if raw else torch.empty(0, dtype=dtype)
            found[name] = flat.reshape(entry["shape"])
    return found
