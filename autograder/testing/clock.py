"""An end to endless loops: processor time that student code may use, counted by the operating system."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager


class TookTooLong(BaseException):
    """Raised inside code that used up its time; no Exception, so that `except Exception` in a loop does not swallow it."""


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Raise `TookTooLong` in the main thread after so much processor time, and each second from then on.

    Code that swallows even that, sleeps, or hangs in a library has to be killed from outside. Where the system has no such
    timer (Windows), nothing is limited.
    """
    if not hasattr(signal, "SIGPROF"):
        yield
        return

    def ring(*_: object) -> None:
        raise TookTooLong(f"this took more than {seconds:g} s: is there a loop that never ends?")

    before = signal.signal(signal.SIGPROF, ring)
    signal.setitimer(signal.ITIMER_PROF, seconds, 1.0)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)
