"""Hidden tests: GELU. The truth is PyTorch's own function."""

import math

import torch
import torch.nn.functional as F

from autograder.testing import assert_close, assert_equal, assert_inputs_untouched, assert_refused, exercise
from autograder.testing.probes import changed_around, gradients, strided
from autograder.testing.strategies import given, leading_shapes, normal, seeds, settings, st

from .scenarios import after_other_numbers

MODES = ["none", "tanh"]
FORMULAS = {"none": "x (1 + erf(x / √2)) / 2", "tanh": "x (1 + tanh(√(2/π) (x + 0.044715 x³))) / 2"}


@exercise("gelu", points=3, core=True)
@settings(max_examples=20)
@given(seed=seeds(), shape=leading_shapes(5, 4), mode=st.sampled_from(MODES), scale=st.sampled_from([0.1, 1.0, 5.0]))
def test_gelu_has_pytorchs_values_in_both_modes(student, seed, shape, mode, scale):
    """Both the exact and the tanh form agree with PyTorch's GELU, for any shape."""
    x = normal(seed, math.prod(shape), scale=scale).reshape(shape)
    actual = student.gelu(x, approximate=mode)
    assert_close(actual, F.gelu(x, approximate=mode), what=f"gelu(x, {mode!r})", hint=FORMULAS[mode])


@exercise("gelu", points=1)
def test_gelu_is_exact_unless_asked_otherwise(student, generator):
    """Without a second argument GELU is the exact one, for few numbers and for many."""
    for x in (normal(generator, 200, scale=2.0), normal(generator, 70_001, scale=2.0)):
        what = f"gelu(x) of {len(x)} numbers"
        assert_close(student.gelu(x), F.gelu(x), what=what, hint=f"without a second argument {FORMULAS['none']}")
    assert_close(student.gelu(x, "tanh"), F.gelu(x, approximate="tanh"), what=f"gelu(x, 'tanh') of {len(x)} numbers")


@exercise("gelu", points=1)
def test_gelu_keeps_the_dtype(student, generator):
    """float32 stays float32, half precision stays half precision, and so does an x without elements."""
    x = normal(generator, 64)
    for mode in MODES:
        for dtype in (torch.float16, torch.bfloat16, torch.float32, torch.float64):
            actual = student.gelu(x.to(dtype), mode)
            assert actual.dtype == dtype, f"gelu of {dtype} came back as {actual.dtype}: keep the input's dtype"
            room = max(16 * torch.finfo(dtype).eps, 1e-12)  # the formula as it stands, rounded at every step
            truth = F.gelu(x.to(dtype).double(), approximate=mode)
            assert_close(actual.double(), truth, what=f"gelu of {dtype}", rtol=room, atol=room)
        assert_close(student.gelu(x.float(), mode), F.gelu(x.float(), approximate=mode), what=f"gelu(x, {mode!r})")
        for empty in (torch.zeros(0), torch.zeros(2, 0, 3, dtype=torch.float16)):
            assert_equal(student.gelu(empty, mode), empty, what=f"gelu of an x of shape {tuple(empty.shape)}")


@exercise("gelu", points=1)
def test_gelu_of_large_numbers_is_the_number_or_zero(student):
    """Far from zero GELU is x itself or 0, and its gradient is 1 or 0: finite, never NaN."""
    x = torch.tensor([-1e5, -1e3, -100.0, 0.0, 100.0, 1e3, 1e5], dtype=torch.float64)
    for mode in MODES:
        seen = student.run(gradients, "gelu", [x, mode])
        what, value = f"gelu(x, {mode!r}) far from zero", seen["value"]
        overflow = isinstance(value, torch.Tensor) and not bool(value.isfinite().all())
        assert_close(value, x.clamp(min=0), what=what, hint="exp() overflows; erf and tanh do not" if overflow else "")
        truth = gradients(F, "gelu", [x], {"approximate": mode})["gradients"]
        assert_close(seen["gradients"], truth, what=f"the gradient of gelu(x, {mode!r}) far from zero")
        single = student.run(gradients, "gelu", [x.float(), mode])
        expected = {"value": x.clamp(min=0).float(), "gradients": [truth[0].float()]}
        assert_close(single, expected, what=f"gelu(x, {mode!r}) and its gradient far from zero, in float32")
        for dtype in (torch.float16, torch.bfloat16):
            half = x[1:-1].to(dtype)
            what, hint = f"gelu(x, {mode!r}) far from zero, in {dtype}", "far from zero it is 0 or x itself"
            assert_close(student.gelu(half, mode), half.clamp(min=0), what=what, hint=hint)


@exercise("gelu", points=1)
@settings(max_examples=6)
@given(seed=seeds(), mode=st.sampled_from(MODES))
def test_gelu_has_pytorchs_gradient(student, seed, mode):
    """The gradient flows through GELU and agrees with PyTorch's, for non-contiguous inputs too."""
    for shape in ((), (7,), (2, 5, 130), (2, 1, 1, 2, 1, 3), (3, 5)):
        x = normal(seed, *shape)
        truth, actual = gradients(F, "gelu", [x], {"approximate": mode}), student.run(gradients, "gelu", [x, mode])
        hint = "detach nothing" if actual["gradients"] == [None] else ""
        what = f"the gradient by an x of shape {shape}"
        assert_close(actual["gradients"][0], truth["gradients"][0], what=what, hint=hint)
    assert_close(student.run(strided, "gelu", [x, mode]), truth["value"].detach(), what="gelu of a non-contiguous x")
    for dtype in (torch.float32, torch.float16, torch.bfloat16):
        rounded, room = x.to(dtype), 32 * torch.finfo(dtype).eps
        actual = student.run(gradients, "gelu", [rounded, mode])["gradients"][0]
        assert isinstance(actual, torch.Tensor), f"no gradient reaches a {dtype} x: detach nothing"
        truth = gradients(F, "gelu", [rounded.double()], {"approximate": mode})["gradients"][0]
        assert_close(actual.double(), truth, what=f"the gradient by a {dtype} x", rtol=room, atol=room)


@exercise("gelu", points=0.5)
def test_gelu_leaves_its_input_alone(student, generator):
    """GELU does not write into x."""
    for mode in MODES:
        x = normal(generator, 4, 5)
        student.gelu(x, mode)
        assert_inputs_untouched(student)
        for dtype in (torch.float32, torch.float16, torch.bfloat16):
            student.gelu(x.to(dtype), mode)
            assert_inputs_untouched(student)
        assert_equal(student.run(changed_around, "gelu", [x, mode]), [], what="what the call changed")
        actual = student.run(after_other_numbers, "gelu", [x, mode], [x + 1])
        later = F.gelu(x + 1, approximate=mode)
        assert_close(actual[0], F.gelu(x, approximate=mode), what=f"gelu(x, {mode!r})")
        what = "gelu of a tensor, twice of the same one after other numbers were written into it, and that tensor"
        hint = "keep nothing from call to call, and do the same while no gradients are recorded"
        assert_close(actual[1:], (later, later, [x + 1]), what=what, hint=hint)


@exercise("gelu", points=0.5)
def test_gelu_refuses_an_unknown_approximation(student):
    """A misspelt `approximate` is an error, not a silent default."""
    x = torch.ones(3)
    names = ("tan", "Tanh", "tanh ", " none", "NONE", "exact", "erf", "gelu_tanh", "none at all", "new", "", "sigmoid")
    for wrong in (*names, None, True, False, 0):
        assert_refused(student.gelu, x, wrong, why='approximate is "none" or "tanh"')
