"""Single keys from the terminal; nothing at all where standard input is none."""

from __future__ import annotations

import os
import sys
from types import TracebackType
from typing import Any


class Keys:
    """Within `with`, keys come one at a time and are not shown; afterwards the terminal is as it was.

    `descriptor` is what to wait on; None where there are no keys to read (a pipe, a job in the background, Windows).
    """

    def __init__(self) -> None:
        self.descriptor: int | None = None
        self._before: list[Any] = []

    def __enter__(self) -> Keys:
        try:
            import termios
            import tty

            descriptor = sys.stdin.fileno()
            # A job in the background that touches the terminal's settings is stopped by the system.
            if os.isatty(descriptor) and os.tcgetpgrp(descriptor) == os.getpgrp():
                self._before = termios.tcgetattr(descriptor)
                tty.setcbreak(descriptor)
                self.descriptor = descriptor
        except (ImportError, OSError, ValueError, AttributeError):
            pass  # no terminal to speak of
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self.descriptor is not None:
            import termios

            try:
                termios.tcsetattr(self.descriptor, termios.TCSADRAIN, self._before)
            except (OSError, termios.error):
                pass  # the terminal is gone
            self.descriptor = None

    def read(self) -> str:
        """The keys that are waiting, once `descriptor` is readable. A terminal that is gone counts as `q`."""
        try:
            return os.read(self.descriptor, 64).decode("utf-8", "ignore") or "q"
        except OSError:
            return "q"
