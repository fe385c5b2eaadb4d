"""Makes Triton's CPU interpreter twice as fast, without a change to what a kernel computes.

It puts itself in place of `triton.language`'s builtins whenever a kernel begins, and again whenever a kernel calls a function,
and goes through all of the package's names to find them; here they are found once, and left alone where they are in place
already. It computes every sum and product of integers a second time with 64 bits, and does not look at what comes out; and
it makes a table of data types for every value. A module of the course that runs kernels names this file among its `preload`;
the worker, the grader and the student's own runs import it before anything runs.
"""

import inspect
from dataclasses import replace
from typing import Any

import numpy as np
import triton.language as tl
from triton.runtime import interpreter


def _builtins(package: Any) -> tuple[str, ...]:
    return tuple(name for name, member in inspect.getmembers(package) if tl.core.is_builtin(member))


_NAMES = {package: _builtins(package) for package in (tl, tl.core, tl.tensor, tl.math, tl.core.tensor_descriptor_base)}
_DTYPES: dict[str, np.dtype] = {}
_np_dtype = interpreter._get_np_dtype


def _patch_builtin(package: Any, *how: Any) -> None:
    """As the interpreter's own function. A kernel that calls `tl.sum` leaves most of `tl.core` replaced, and the rest not."""
    for name in _NAMES.get(package) or _builtins(package):
        if tl.core.is_builtin(member := getattr(package, name)):
            interpreter._patch_attr(package, name, member, *how)


def _get_np_dtype(dtype: tl.dtype) -> np.dtype:
    """As the interpreter's own function."""
    element = dtype.scalar
    if element.name not in _DTYPES:  # pointers have a name, and no hash
        _DTYPES[element.name] = _np_dtype(element)
    return _DTYPES[element.name]


interpreter._patch_builtin = _patch_builtin
interpreter._get_np_dtype = _get_np_dtype
interpreter.interpreter_builder.options = replace(interpreter.interpreter_builder.options, sanitize_overflow=False)
