"""What a student's file says without being run: which exercises are still stubs, and which definitions an edit changed."""

from __future__ import annotations

import ast

from autograder.course import Module

TODO = "TODO: "  # as in autograder.testing.messages, which would import torch: seconds that `status` does not need


def unwritten(module: Module) -> frozenset[str]:
    """The exercises of which some part is still the stub. A file that Python cannot read has none: it was edited."""
    return frozenset(name for name, node in definitions(module).items() if _is_stub(node))


def changed(before: dict[str, ast.stmt], after: dict[str, ast.stmt]) -> list[str]:
    """The names whose definitions differ (layout and comments aside), in the order of the file."""
    return [name for name, node in after.items() if name not in before or ast.dump(before[name]) != ast.dump(node)]


def definitions(module: Module) -> dict[str, ast.stmt]:
    """The definitions of the module's exercises, by name; none of a file that is absent or that Python cannot read."""
    names = {exercise.name for exercise in module.exercises}
    found: dict[str, ast.stmt] = {}
    for file in module.files:
        try:
            body = ast.parse((module.folder / file).read_bytes()).body
        except (OSError, SyntaxError, ValueError, RecursionError, MemoryError):
            continue
        found |= {node.name: node for node in body if getattr(node, "name", None) in names}
    return found


def _is_stub(node: ast.stmt) -> bool:
    return any(isinstance(inner, ast.Raise) and _says_todo(inner.exc) for inner in ast.walk(node))


def _says_todo(raised: ast.expr | None) -> bool:
    match raised:
        case ast.Call(func=ast.Name(id="NotImplementedError"), args=[ast.Constant(value=str(text))]):
            return text.startswith(TODO)
    return False
