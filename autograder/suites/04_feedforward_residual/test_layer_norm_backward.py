"""Hidden tests: the gradients of layer norm. The truth is autograd through PyTorch's own layer norm."""

from itertools import product

import torch
import torch.nn.functional as F

from autograder.testing import assert_close, assert_equal, assert_inputs_untouched, exercise
from autograder.testing.hints import hinted
from autograder.testing.probes import changed_around, expanded, strided
from autograder.testing.strategies import example, given, leading_shapes, normal, seeds, settings, sizes, st

from .scenarios import after_other_numbers

EPSILONS = st.sampled_from([1e-5, 1e-6, 1e-3, 0.1])


def vectors(seed, d, lead):
    """x (..., d), a weight and a bias (d,), and a gradient of x's shape, all in float64; from a seed or a generator."""
    draw = seed if isinstance(seed, torch.Generator) else torch.Generator().manual_seed(seed)
    return normal(draw, *lead, d), normal(draw, d), normal(draw, d), normal(draw, *lead, d)


def reference_gradients(function, tensors, cotangent):
    """(output, gradient by each tensor) of PyTorch's own function."""
    leaves = [x.clone().requires_grad_() for x in tensors]
    output = function(*leaves)
    return output.detach(), torch.autograd.grad(output, leaves, cotangent)


def backward_truth(grad_output, x, weight, eps):
    return reference_gradients(
        lambda x, w, b: F.layer_norm(x, x.shape[-1:], w, b, eps), (x, weight, torch.zeros_like(weight)), grad_output
    )[1]


def assert_right(student):
    """The gradients of a few ordinary vectors are right."""
    x, weight, _, grad_output = vectors(1, 5, (3,))
    actual = student.layer_norm_backward(grad_output, x, weight, 1e-5)
    assert_close(actual, backward_truth(grad_output, x, weight, 1e-5), atol=1e-9)


@exercise("layer_norm_backward", points=5, core=True)
@settings(max_examples=20)
@given(seed=seeds(), d=sizes(1, 9), lead=leading_shapes(3, 3), eps=EPSILONS)
@example(seed=1, d=3, lead=(2, 1, 2, 1, 2), eps=1e-5)
@example(seed=1, d=300, lead=(2,), eps=1e-5)
@example(seed=1, d=3, lead=(1100,), eps=1e-5)
def test_dx_agrees_with_autograd(student, seed, d, lead, eps):
    """dx is what autograd finds for PyTorch's layer norm."""
    x, weight, _, grad_output = vectors(seed, d, lead)
    dx = student.layer_norm_backward(grad_output, x, weight, eps)[0]
    hint = "dx has three parts: x moves y directly, through the mean and through the variance"
    assert_close(dx, backward_truth(grad_output, x, weight, eps)[0], what="dx", hint=hint, atol=1e-9)


@exercise("layer_norm_backward", points=2)
@settings(max_examples=12)
@given(seed=seeds(), d=sizes(1, 7), lead=leading_shapes(4, 3), eps=EPSILONS)
@example(seed=1, d=3, lead=(2, 1, 2, 1, 2), eps=1e-5)
@example(seed=1, d=300, lead=(2,), eps=1e-5)
@example(seed=1, d=3, lead=(1100,), eps=0.0)
def test_dweight_adds_up_over_all_vectors(student, seed, d, lead, eps):
    """dweight sums grad_output times the normalised x over every leading dimension."""
    x, weight, _, grad_output = vectors(seed, d, lead)
    dweight = student.layer_norm_backward(grad_output, x, weight, eps)[1]
    hint = "grad_output * x̂, summed over all leading dimensions"
    assert_close(dweight, backward_truth(grad_output, x, weight, eps)[1], what="dweight", hint=hint, atol=1e-9)


@exercise("layer_norm_backward", points=2)
@settings(max_examples=12)
@given(seed=seeds(), d=sizes(1, 7), lead=leading_shapes(4, 3))
@example(seed=1, d=3, lead=(2, 1, 2, 1, 2))
@example(seed=1, d=300, lead=(2,))
@example(seed=1, d=3, lead=(1100,))
def test_dbias_adds_up_over_all_vectors(student, seed, d, lead):
    """dbias sums grad_output over every leading dimension."""
    x, weight, _, grad_output = vectors(seed, d, lead)
    dbias = student.layer_norm_backward(grad_output, x, weight, 1e-5)[2]
    hint = "grad_output, summed over all leading dimensions"
    assert_close(dbias, backward_truth(grad_output, x, weight, 1e-5)[2], what="dbias", hint=hint)


@exercise("layer_norm_backward", points=1)
def test_backward_of_a_single_vector(student, generator):
    """With no leading dimension there is nothing to sum over: all three gradients have shape (d,), at weight 0 too."""
    x, weight, _, grad_output = vectors(generator, 6, ())
    weight[::2] = 0
    actual = student.layer_norm_backward(grad_output=grad_output, x=x, weight=weight, eps=1e-5)
    one_number = isinstance(actual, tuple | list) and any(getattr(part, "shape", None) == () for part in actual)
    hint = "sum(()) sums over everything" if one_number else ""
    assert_close(actual, backward_truth(grad_output, x, weight, 1e-5), what="(dx, dweight, dbias)", hint=hint)


@exercise("layer_norm_backward", points=1)
def test_backward_of_an_empty_batch_is_zero(student):
    """No vectors at all: dx is empty, dweight and dbias are zero."""
    for shape, dtype in product(((0, 5), (2, 0, 5)), (torch.float64, torch.float32)):
        x, zero = torch.zeros(shape, dtype=dtype), torch.zeros(5, dtype=dtype)
        actual = student.layer_norm_backward(x, x, torch.ones(5, dtype=dtype), 1e-5)
        assert_equal(actual, (x, zero, zero), what=f"(dx, dweight, dbias) of an x of shape {shape} in {dtype}")
        assert_inputs_untouched(student)


@exercise("layer_norm_backward", points=1)
def test_backward_uses_eps_and_stays_finite(student, generator):
    """Constant rows and rows of tiny variance: eps is under the root in the gradient too, and nothing is NaN."""
    x = torch.cat(
        [normal(generator, 3, 6, scale=1e-3), torch.full((2, 6), 3.0), torch.zeros(1, 6), normal(generator, 2, 6) + 1e6]
    )
    weight, grad_output = normal(generator, 6), normal(generator, 8, 6)
    for eps in (1e-5, 1e-2):
        actual = student.layer_norm_backward(grad_output, x, weight, eps)
        truth = backward_truth(grad_output, x, weight, eps)
        what, hint = "(dx, dweight, dbias) of rows of little variance, or of none", "1 / sqrt(var + eps)"
        room = {"rtol": 1e-6, "atol": 1e-7}
        hinted(assert_close, actual, truth, what=what, hint=hint, when=lambda: assert_right(student), **room)


@exercise("layer_norm_backward", points=1)
def test_backward_keeps_float32(student, generator):
    """float32 in, float32 out, three times."""
    x, weight, _, grad_output = (t.float() for t in vectors(generator, 16, (3, 4)))
    actual = student.layer_norm_backward(grad_output, x, weight, 1e-5)
    truth = backward_truth(grad_output, x, weight, 1e-5)
    assert_close(actual, truth, what="(dx, dweight, dbias)", rtol=1e-4, atol=1e-4)
    assert_inputs_untouched(student)
    large = x * 1000 + 1000
    actual, truth = (f(grad_output, large, weight, 1e-5) for f in (student.layer_norm_backward, backward_truth))
    for i, name in enumerate(("1000 dx", "dweight", "dbias")):
        scale = 1000 if i == 0 else 1
        what = f"{name} of an x around 1000"
        hint = "the vectors before, around 0, came out right: which step loses digits?"
        assert_close(scale * actual[i], scale * truth[i], what=what, hint=hint, rtol=1e-3, atol=1e-3)
    row = x[0, 0], weight, grad_output[0, 0]
    actual, truth = (f(row[2], row[0], row[1], 1e-5) for f in (student.layer_norm_backward, backward_truth))
    assert_close(actual, truth, what="(dx, dweight, dbias) of a single vector", rtol=1e-4, atol=1e-4)


@exercise("layer_norm_backward", points=1)
def test_backward_leaves_its_inputs_alone(student, generator):
    """grad_output, x and weight are the same after the call, and need not be contiguous."""
    x, weight, _, grad_output = vectors(generator, 4, (2, 3))
    actual = student.layer_norm_backward(grad_output, x, weight, 1e-5)
    assert_inputs_untouched(student)
    other = [-grad_output, x.flip(0), weight + 1, 1e-5]
    again = student.run(after_other_numbers, "layer_norm_backward", [grad_output, x, weight, 1e-5], other[:3])
    what = "(dx, dweight, dbias), twice of the same tensors after other numbers were written into them, and those"
    later = backward_truth(*other)
    assert_close(again[0], backward_truth(grad_output, x, weight, 1e-5), what="(dx, dweight, dbias)")
    hint = "keep nothing from call to call, and do the same while no gradients are recorded"
    assert_close(again[1:], (later, later, other[:3]), what=what, hint=hint)
    changed = student.run(changed_around, "layer_norm_backward", [grad_output, x, weight, 1e-5])
    assert_equal(changed, [], what="what the call changed")
    scattered = student.run(strided, "layer_norm_backward", [grad_output, x, weight, 1e-5])
    assert_close(scattered, actual, what="(dx, dweight, dbias) of non-contiguous inputs")
    one = grad_output[:1, :1, :1]
    actual = student.run(expanded, "layer_norm_backward", [one, x, weight, 1e-5], [x.shape, None, None, None])
    truth = backward_truth(one.expand(x.shape).contiguous(), x, weight, 1e-5)
    assert_close(actual, truth, what="(dx, dweight, dbias) of an expanded grad_output, as that of a sum is")
