"""Hints that are shown only where a second look says that they are about the mistake that was made."""

from collections.abc import Callable
from typing import Any


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


def called(name: str, function: Callable) -> Callable:
    """The function under the name by which a message tells of a call of it."""

    def call(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    call.__name__ = name
    return call
