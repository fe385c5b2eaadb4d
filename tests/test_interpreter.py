"""Triton's interpreter, made faster, does what it did."""

import inspect

import pytest

tl = pytest.importorskip("triton.language", reason="Triton is for Linux", exc_type=ImportError)


def test_every_builtin_is_replaced_and_comes_back():
    from triton.runtime import interpreter

    import autograder.testing.interpreter as quick

    assert interpreter._patch_builtin is quick._patch_builtin
    for package in (tl, tl.tensor, tl.math, tl.core.tensor_descriptor_base, tl.core, tl.semantic):
        builtins = {name for name, member in inspect.getmembers(package) if tl.core.is_builtin(member)}
        scopes = [interpreter._LangPatchScope() for _ in range(2)]
        interpreter._patch_builtin(package, interpreter.interpreter_builder, scopes[0])
        assert not any(tl.core.is_builtin(getattr(package, name)) for name in builtins)
        assert {name for _, name, _ in scopes[0]._changes} == builtins
        interpreter._patch_builtin(package, interpreter.interpreter_builder, scopes[1])
        assert scopes[1]._changes == []  # a function that a kernel calls: all is in place
        scopes[0].restore()
        assert builtins == {name for name, member in inspect.getmembers(package) if tl.core.is_builtin(member)}
