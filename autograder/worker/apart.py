"""The grader's own built-ins and classes, in a process in which a student's code may put something else in their place."""

from __future__ import annotations

import builtins
import ctypes
from typing import Any

IMMUTABLE_TYPE = 1 << 8  # of a type's flags: nobody sets its attributes
_FLAGS_AT = 21 * ctypes.sizeof(ctypes.c_void_p)  # CPython's Include/cpython/object.h, 3.5 and later


def keep_builtins(namespace: dict[str, Any]) -> None:
    """Give a module its own built-ins: of the functions that it defines from now on, a name such as `any` is what it is now.

    A function looks such names up in the dictionary that its module had for them when it was made.
    """
    namespace["__builtins__"] = dict(vars(builtins))


def keep_class(kind: type) -> None:
    """Let nobody set a class's attributes, as nobody can those of a type of C's: whoever looks for it finds it, by its bases."""
    flags = ctypes.c_ulong.from_address(id(kind) + _FLAGS_AT)
    if flags.value == kind.__flags__:  # this Python lays its types out as every one so far
        flags.value |= IMMUTABLE_TYPE
