"""Hints that are shown only where a second look says that they are about the mistake that was made."""

from collections.abc import Callable
from typing import Any

import torch

from autograder.testing.assertions import difference, words


def passes(check: Callable, *args: Any, **kwargs: Any) -> bool:
    """Whether a check passes; an error of the student's code says no."""
    try:
        check(*args, **kwargs)
    except Exception:
        return False
    return True


def hinted(check: Callable, *args: Any, hint: str, when: Callable[[], None], **kwargs: Any) -> None:
    """The check; where it fails, it says its hint as well if `when`, a check too, passes. `when` is made only then."""
    try:
        check(*args, **kwargs)
    except AssertionError:
        check(*args, hint=hint if passes(when) else "", **kwargs)
        raise


def why_refused(call: Callable, said: str) -> None:
    """Fails, saying that something was refused that should not be, and with which words; `call` raises the error."""
    try:
        call()
    except Exception as error:
        raise AssertionError(f"{said} was refused\n  {words(error)}") from None
    raise AssertionError(f"{said} was refused, and not when it was asked again")


def if_right(hint: str, actual: Any, expected: Any) -> str:
    """The hint, where an easier call went right."""
    return hint * (not difference(actual, expected, "", None, None, True))


def if_nan(hint: str, *results: Any) -> str:
    """The hint, where there is NaN in one of the results: tensors, or tuples and lists of them."""
    return hint * any(bool(x.isnan().any()) for x in _tensors(results))


def unless_finite(hint: str, *results: Any) -> str:
    """The hint, where there is NaN or an infinity in one of the results."""
    return hint * any(not bool(x.isfinite().all()) for x in _tensors(results))


def _tensors(results: Any) -> list[torch.Tensor]:
    if isinstance(results, tuple | list):
        return [tensor for result in results for tensor in _tensors(result)]
    return [results] * isinstance(results, torch.Tensor)


def called(name: str, function: Callable) -> Callable:
    """The function under the name by which a message tells of a call of it."""

    def call(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    call.__name__ = name
    return call
