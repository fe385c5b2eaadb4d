"""Triton's interpreter, made faster, does what it did."""

import inspect

import pytest
import torch

tl = pytest.importorskip("triton.language", reason="Triton is for Linux", exc_type=ImportError)

import triton  # noqa: E402
from triton.runtime import interpreter  # noqa: E402

import autograder.testing.interpreter as quick  # noqa: E402


def test_every_builtin_is_replaced_and_comes_back():
    assert interpreter._patch_builtin is quick._patch_builtin
    for package in (tl, tl.tensor, tl.math, tl.core.tensor_descriptor_base, tl.core, tl.semantic):
        builtins = {name for name, member in inspect.getmembers(package) if tl.core.is_builtin(member)}
        scopes = [interpreter._LangPatchScope() for _ in range(2)]
        interpreter._patch_builtin(package, interpreter.interpreter_builder, scopes[0])
        assert not any(tl.core.is_builtin(getattr(package, name)) for name in builtins)
        assert {name for _, name, _ in scopes[0]._changes} == builtins
        interpreter._patch_builtin(package, interpreter.interpreter_builder, scopes[1])
        assert scopes[1]._changes == []  # a function that a kernel calls: all is in place
        if builtins:
            _, name, builtin = scopes[0]._changes[-1]
            setattr(package, name, builtin)  # one alone
            interpreter._patch_builtin(package, interpreter.interpreter_builder, scopes[1])
            assert scopes[1]._changes == [(package, name, builtin)]
        scopes[0].restore()
        assert builtins == {name for name, member in inspect.getmembers(package) if tl.core.is_builtin(member)}


def test_every_data_type_is_numpys_own():
    dtypes = [member for member in vars(tl).values() if isinstance(member, tl.dtype) and member.name not in ("void", "uint1")]
    assert tl.float32 in dtypes and tl.bfloat16 in dtypes and tl.int1 in dtypes
    for dtype in dtypes:
        for kind in (dtype, tl.pointer_type(dtype), tl.block_type(dtype, [2]), tl.block_type(tl.pointer_type(dtype), [2])):
            assert interpreter._get_np_dtype(kind) is interpreter._get_np_dtype(kind)
            assert interpreter._get_np_dtype(kind) == quick._np_dtype(kind)


def test_integers_wrap_as_they_did_and_do_on_a_gpu(monkeypatch):
    monkeypatch.setenv("TRITON_INTERPRET", "1")

    @triton.jit
    def kernel(x_ptr, out_ptr, N: tl.constexpr):
        places = tl.arange(0, N)
        x = tl.load(x_ptr + places)
        tl.store(out_ptr + places, x + x)
        tl.store(out_ptr + N + places, x * 3)

    for dtype in (torch.int32, torch.int64, torch.int8):
        x = torch.tensor([1, -2, torch.iinfo(dtype).max, torch.iinfo(dtype).min], dtype=dtype)
        out = torch.empty(8, dtype=dtype)
        kernel[(1,)](x, out, 4)
        assert out.tolist() == [*(x + x).tolist(), *(x * 3).tolist()]
