"""What optimisers, evaluations and runs give, by PyTorch's own optimisers and a few plain lines, without the solution."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from . import scenarios


class _Peer:
    """One of PyTorch's optimisers under the course's names: `lr` is an attribute, and `state_dict` a snapshot."""

    @property
    def lr(self) -> float:
        return self.param_groups[0]["lr"]

    @lr.setter
    def lr(self, value: float) -> None:
        self.param_groups[0]["lr"] = value

    def state_dict(self) -> dict:
        return _copied(super().state_dict())

    def load_state_dict(self, state: dict) -> None:
        super().load_state_dict(_copied(state))


def _copied(value):
    if isinstance(value, Tensor):
        return value.clone()
    if isinstance(value, dict):
        return {key: _copied(x) for key, x in value.items()}
    return [_copied(x) for x in value] if isinstance(value, list) else value


class SGD(_Peer, torch.optim.SGD):
    """PyTorch's, with the course's names."""


class AdamW(_Peer, torch.optim.AdamW):
    """PyTorch's, with the course's names."""


def session(name: str, *arguments, **options) -> list:
    """`scenarios.optimizer_session` with PyTorch's optimiser."""
    import sys

    return scenarios.optimizer_session(sys.modules[__name__], name, *arguments, **options)


def learning_rate(step: int, warmup_steps: int, total_steps: int, max_lr: float, min_lr: float) -> float:
    """The schedule, from its three stretches."""
    if step >= total_steps:
        return min_lr
    if step < warmup_steps:
        return max_lr * (step + 1) / (warmup_steps + 1)
    share = 0.5 + 0.5 * math.cos(math.pi * (step - warmup_steps) / (total_steps - warmup_steps))
    return share * max_lr + (1 - share) * min_lr


def random_weights(vocab: int, width: int, seed: int) -> dict[str, Tensor]:
    """Weights of a scenarios.TinyLM by name, at which every part of it matters."""
    generator = torch.Generator().manual_seed(seed)
    shapes = {"embedding.weight": (vocab, width), "head.weight": (vocab, width), "head.bias": (vocab,)}
    return {name: torch.randn(shape, generator=generator, dtype=torch.float64) for name, shape in shapes.items()}


def windowed_loss(model: scenarios.TinyLM, data: Tensor, context_length: int) -> float:
    """The mean of -log p over all tokens but the first, one window after the other."""
    model.eval()
    total = 0.0
    with torch.no_grad():
        for start in range(0, len(data) - 1, context_length):
            x = data[start : min(start + context_length, len(data) - 1)].long()
            y = data[start + 1 : start + 1 + len(x)].long()
            total += F.cross_entropy(model(x[None])[0][0], y, reduction="sum").item()
    model.train()
    return total / (len(data) - 1)


def cyclic(vocab: int, n: int, seed: int) -> tuple[Tensor, Tensor]:
    """A text in which each token has one successor, and the table of the successors: targets follow from inputs."""
    order = torch.randperm(vocab, generator=torch.Generator().manual_seed(seed))
    successor = torch.empty_like(order)
    successor[order] = order.roll(-1)
    return order[torch.arange(n) % vocab], successor


def replay(
    weights: dict[str, Tensor], batches: list[Tensor], successor: Tensor, validation: Tensor, config: dict, addend: float = 0.0
) -> dict:
    """The run that learnt from these batches (each (batch_size, t)): its history and its weights at the end.

    Gradients that are clipped are divided by norm + addend.
    """
    model = scenarios.model_of(weights)
    options = {"betas": (0.9, 0.99), "weight_decay": 0.1, "max_norm": 1.0, "eval_every": 100, "max_lr": 1e-3, "min_lr": 1e-4}
    options |= {"warmup_steps": 0} | config
    optimizer = torch.optim.AdamW(model.parameters(), betas=options["betas"], weight_decay=options["weight_decay"])
    history = {"loss": [], "lr": [], "grad_norm": [], "validation_step": [], "validation_loss": []}

    def validate(step: int) -> None:
        history["validation_step"].append(step)
        history["validation_loss"].append(windowed_loss(model, validation, options["context_length"]))

    for step, x in enumerate(batches):
        if step % options["eval_every"] == 0:
            validate(step)
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x)[0].flatten(0, 1), successor[x].flatten())
        loss.backward()
        norm = torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None]).norm()
        if norm > options["max_norm"]:
            for p in model.parameters():
                if p.grad is not None:
                    p.grad *= options["max_norm"] / (norm + addend)
        lr = learning_rate(step, options["warmup_steps"], options["n_steps"], options["max_lr"], options["min_lr"])
        optimizer.param_groups[0]["lr"] = lr
        optimizer.step()
        for key, value in (("loss", loss), ("lr", lr), ("grad_norm", norm)):
            history[key].append(float(value))
    validate(len(batches))
    return {"history": history, "weights": {name: p.detach().clone() for name, p in model.named_parameters()}}


def distance(actual: object, expected: dict[str, Tensor]) -> float:
    """How far apart two models' weights are; infinitely far where they cannot be compared."""
    try:
        return sum(float((actual[name] - x).square().sum()) for name, x in expected.items())
    except Exception:
        return math.inf
