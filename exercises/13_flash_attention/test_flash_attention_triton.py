"""Public tests of flash_attention_triton.py, on Triton's CPU interpreter (TRITON_INTERPRET=1).

The course's pytest plugin sets the variable. In a script or a notebook set it yourself, before anything imports triton.
"""

import pytest
import torch

from autograder.testing import assert_close, exercise
from autograder.testing.strategies import normal

NAME = "flash_attention"
attention_of_torch = torch.nn.functional.scaled_dot_product_attention


def attended(module, q, k, v, causal=False, grad=None):
    """out, or with `grad` [out, dq, dk, dv], from the module's Triton file."""
    import importlib
    import os

    os.environ["TRITON_INTERPRET"] = "1"
    package = module.__name__.rpartition(".")[0]
    kernels = importlib.import_module(f"{package}.flash_attention_triton")
    inputs = [x.clone().requires_grad_(grad is not None) for x in (q, k, v)]
    out = kernels.flash_attention(*inputs, causal=causal)
    return out if grad is None else [out, *torch.autograd.grad(out, inputs, grad)]


def expected(q, k, v, causal, grad):
    """The same from PyTorch's own attention in float64, for equal lengths and heads."""
    inputs = [x.double().requires_grad_() for x in (q, k, v)]
    out = attention_of_torch(*inputs, is_causal=causal)
    return [x.to(q.dtype) for x in (out, *torch.autograd.grad(out, inputs, grad.double()))]


def drawn(generator, n, head_dim, dtype=torch.float32, heads=2):
    return [normal(generator, 1, heads, n, head_dim, dtype=dtype) for _ in range(4)]


@exercise(NAME)
def test_one_tile(student, generator):
    """16 queries and 16 keys lie in one tile, without a mask."""
    q, k, v, grad = drawn(generator, 16, 16)
    assert_close(student.run(attended, q, k, v), expected(q, k, v, False, grad)[0], what="out", rtol=0, atol=1e-5)


@exercise(NAME)
@pytest.mark.parametrize("causal", [False, True])
def test_several_tiles_and_a_rest(student, generator, causal):
    """70 queries and keys of width 24: several tiles, the last one not full."""
    q, k, v, grad = drawn(generator, 70, 24, heads=1)
    hint = "does every tile but the masked ones load whole tiles only? is m taken over from tile to tile?"
    assert_close(student.run(attended, q, k, v, causal), expected(q, k, v, causal, grad)[0], "out", hint, rtol=0, atol=1e-5)


@exercise(NAME)
@pytest.mark.parametrize("causal", [False, True])
def test_gradients(student, generator, causal):
    """dq, dk and dv are those of PyTorch's attention."""
    q, k, v, grad = drawn(generator, 50, 16, heads=1)
    hint = "dv = pᵀ do; ds = p (do vᵀ - delta); dq = scale ds k; dk = scale dsᵀ q"
    assert_close(
        student.run(attended, q, k, v, causal, grad), expected(q, k, v, causal, grad), "[out, dq, dk, dv]", hint, 0, 2e-5
    )


@exercise(NAME)
def test_float16(student, generator):
    """float16 goes in and comes out; sums are float32."""
    q, k, v, grad = drawn(generator, 40, 32, torch.float16)
    out = student.run(attended, q, k, v)
    assert_close(out, expected(q, k, v, False, grad)[0], what="out", hint="acc is float32", rtol=0, atol=2e-3)
