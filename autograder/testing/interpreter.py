"""Makes Triton's CPU interpreter a quarter faster, by looking up once what `triton.language` offers, and not at every call.

The interpreter puts itself in place of that package's builtins whenever a kernel begins, and again whenever a kernel calls a
function, and goes through all of the package's names to find them. A module of the course that runs kernels names this file
among its `preload`; the worker, the grader and the student's own runs import it before anything runs.
"""

import inspect
from typing import Any

import triton.language as tl
from triton.runtime import interpreter


def _builtins(package: Any) -> tuple[str, ...]:
    return tuple(name for name, member in inspect.getmembers(package) if tl.core.is_builtin(member))


_NAMES = {package: _builtins(package) for package in (tl, tl.core, tl.tensor, tl.math, tl.core.tensor_descriptor_base)}


def _patch_builtin(package: Any, *how: Any) -> None:
    """As the interpreter's own function; what is in place already is no builtin any more, and is left alone."""
    for name in _NAMES.get(package) or _builtins(package):
        member = getattr(package, name)
        if tl.core.is_builtin(member):
            interpreter._patch_attr(package, name, member, *how)


interpreter._patch_builtin = _patch_builtin
