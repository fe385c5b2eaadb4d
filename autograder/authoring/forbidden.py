"""Whether the names under `forbidden` are names of anything: a misspelt one forbids nothing, and nobody would notice."""

from __future__ import annotations

import builtins
import contextlib
import difflib
import importlib
import importlib.util
import sys
from collections.abc import Iterator
from typing import Any

import torch

from autograder.course import Module

OTHERS = ("@", "*")  # not a name, but all of what multiplies, and all operators
LATER = frozenset({"math.sumprod"})  # what newer versions of Python have


def unknown_names(module: Module) -> Iterator[str]:
    """A sentence for each forbidden name that no installed package has. A package that is not installed may well be forbidden."""
    for exercise in module.exercises:
        for name in exercise.forbidden:
            if name not in OTHERS and name not in LATER and (why := _unknown(name)):
                yield f"{exercise.name} forbids {name}: {why}"


def _unknown(name: str) -> str:
    top, *parts = name.split(".")
    if hasattr(builtins, top):
        return _missing(getattr(builtins, top), top, parts)
    if importlib.util.find_spec(top) is None:
        close = difflib.get_close_matches(top, ("numpy", "torch", *sys.stdlib_module_names), n=1, cutoff=0.75)
        return f"there is no {top} here. Did you mean {'.'.join([close[0], *parts])}?" if close else ""
    if top == "torch" and len(parts) == 1 and hasattr(torch.ops.aten, parts[0]):
        return ""  # an operator that only `torch.ops` leads to
    if name.startswith("torch.nn.functional.") and hasattr(torch._C._nn, parts[-1]):
        return ""  # and one that only C shows: its canonical name is this
    return _missing(importlib.import_module(top), top, parts)


def _missing(found: Any, known: str, parts: list[str]) -> str:
    for part in parts:
        if not hasattr(found, part) and hasattr(found, "__path__"):
            with contextlib.suppress(ImportError):
                importlib.import_module(f"{known}.{part}")
        if not hasattr(found, part):
            close = difflib.get_close_matches(part, dir(found), n=1)
            return f"{known} has no {part}." + (f" Did you mean {known}.{close[0]}?" if close else "")
        found, known = getattr(found, part), f"{known}.{part}"
    return ""
