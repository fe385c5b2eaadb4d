"""Truth that does not come from the solution: attention by its definition, one obvious step after another."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from autograder.testing import assert_refused
from autograder.testing.hints import if_nan


def attention(q: Tensor, k: Tensor, v: Tensor, counts: Tensor) -> Tensor:
    """Σ count · exp(score) · value / Σ count · exp(score): `counts (..., n_q, n_k)` says how often a query meets a key.

    The largest score of each row is taken off first, so that scores may have any size. A row without any count gives
    zeros, and zero gradients.
    """
    scores, seen = q @ k.mT / math.sqrt(q.shape[-1]), counts > 0
    largest = torch.where(seen, scores, -torch.inf).amax(-1, keepdim=True).detach()
    above = torch.where(seen, scores - torch.where(largest > -torch.inf, largest, 0.0), 0.0)
    weights = counts * above.exp()
    total = weights.sum(-1, keepdim=True)
    return (weights / torch.where(total > 0, total, 1.0)) @ v


def not_later(n_q: int, n_k: int) -> Tensor:
    """True where key j is at or before query i, the last query beside the last key."""
    return torch.tensor([[j <= i + n_k - n_q for j in range(n_k)] for i in range(n_q)], dtype=torch.bool).reshape(
        n_q, n_k
    )


def same_bucket(q_buckets: Tensor, k_buckets: Tensor, causal: bool = False) -> Tensor:
    """True where query and key have equal buckets (and the key is not later)."""
    allowed = q_buckets[..., :, None] == k_buckets[..., None, :]
    return allowed & not_later(*allowed.shape[-2:]) if causal else allowed


def pulled_back(function: Callable[..., Tensor], inputs: list[Tensor], cotangent: Tensor) -> list[Tensor]:
    """The gradients of (function(*inputs) · cotangent) with respect to each input."""
    inputs = [x.clone().requires_grad_() for x in inputs]
    return list(torch.autograd.grad((function(*inputs) * cotangent).sum(), inputs))


def none_as_zeros(gradients: list[Tensor | None], expected: list[Tensor]) -> list[Tensor | None]:
    """A missing gradient counts as zeros where zeros are expected: nothing was seen, so nothing need be connected."""
    pairs = zip(gradients, expected, strict=True)
    return [torch.zeros_like(e) if g is None and not e.any() else g for g, e in pairs]


def of_gradients(gradients: list[Tensor | None], if_nan_too: str = "") -> str:
    """A hint about what can be seen of the gradients: one is missing, or there is NaN in them."""
    if any(gradient is None for gradient in gradients):
        return "a gradient that is None was cut off: no detach, no no_grad, no NumPy, no new tensor(...) on the way"
    nan = "NaN in a forward step stays NaN in its gradient, even where the NaN is replaced afterwards"
    return if_nan(nan + if_nan_too, *gradients)


def cotangent_of(probe_seed: int, shape: tuple[int, ...]) -> Tensor:
    """The cotangent that the `gradients` probe draws for a single float64 output of this shape."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(probe_seed), dtype=torch.float64)


def assert_not_accepted(function: Callable, *args: Any, why: str, **kwargs: Any) -> None:
    """As `assert_refused`, and any error will do: the check is given with the exercise, and PyTorch's own RuntimeError
    is a refusal, too, where a student has left it out. An answer is not.
    """

    def refused(*args: Any, **kwargs: Any) -> Any:
        try:
            return function(*args, **kwargs)
        except RuntimeError as error:
            raise error if isinstance(error, NotImplementedError) else ValueError(str(error)) from None

    refused.__name__ = getattr(function, "__name__", "the function")
    assert_refused(refused, *args, why=why, **kwargs)
