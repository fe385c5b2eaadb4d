"""Control-C and SIGTERM end a command once, wherever they come.

Python raises what they mean in the middle of whatever runs, and C code may drop any exception of the Python code that it calls
(`PyObject_HasAttr`, say), this one with it. That happens most of all while PyTorch is imported, which then goes on without a
word, or fails later and elsewhere. So it is raised again while the same import goes on, and asked for before anything long.
"""

from __future__ import annotations

import atexit
import signal
import sys
from types import FrameType

IMPORTS = "<frozen importlib._bootstrap>"
AGAIN_SECONDS = 0.02
TERMINATED = 143  # a shell's status for what SIGTERM ended

_came = 0
_import: FrameType | None = None


def heed() -> None:
    """From now on the signals end the command."""
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:  # a command in the background may be told to ignore it
        signal.signal(signal.SIGINT, _end)
    signal.signal(signal.SIGTERM, _end)
    if hasattr(signal, "SIGALRM"):
        signal.signal(signal.SIGALRM, _end_import)
        atexit.register(signal.signal, signal.SIGALRM, signal.SIG_IGN)  # it would end Python when that is almost done


def check() -> None:
    """Raise what a signal meant that was dropped: whoever heeds it never comes back to where this is called."""
    if _came == signal.SIGTERM:
        sys.exit(TERMINATED)
    if _came:
        raise KeyboardInterrupt


def _end(number: int, frame: FrameType | None) -> None:
    global _came, _import
    _came, _import = number, _outermost_import(frame)
    _raise_and_look_again()


def _end_import(number: int, frame: FrameType | None) -> None:
    if _import is not None and _outermost_import(frame) is _import:
        _raise_and_look_again()


def _raise_and_look_again() -> None:
    if _import is not None and hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_REAL, AGAIN_SECONDS)
    check()


def _outermost_import(frame: FrameType | None) -> FrameType | None:
    found = None
    while frame is not None:
        if frame.f_code.co_filename == IMPORTS:
            found = frame
        frame = frame.f_back
    return found
