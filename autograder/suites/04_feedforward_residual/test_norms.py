"""Hidden tests: layer norm and RMS norm. The truth is PyTorch's own functions."""

from functools import partial
from itertools import product

import torch
import torch.nn.functional as F

from autograder.testing import assert_close, assert_equal, assert_refused, exercise
from autograder.testing.hints import called, hinted, passes
from autograder.testing.strategies import example, given, leading_shapes, normal, seeds, settings, sizes, st

from . import scenarios

EPSILONS = st.sampled_from([1e-5, 1e-6, 1e-3, 0.1])
AGAIN = "[training, evaluation] after other weights, and both without recorded gradients"


def vectors(seed, d, lead):
    """x (..., d), a weight and a bias (d,), and a gradient of x's shape, all in float64; from a seed or a generator."""
    draw = seed if isinstance(seed, torch.Generator) else torch.Generator().manual_seed(seed)
    return normal(draw, *lead, d), normal(draw, d), normal(draw, d), normal(draw, *lead, d)


def reference_gradients(function, tensors, cotangent):
    """(output, gradient by each tensor) of PyTorch's own function."""
    leaves = [x.clone().requires_grad_() for x in tensors]
    output = function(*leaves)
    return output.detach(), torch.autograd.grad(output, leaves, cotangent)


def assert_width_refused(student, name):
    """An x whose last dimension is not d_model is an error in both modes and in half precision, also where it would broadcast."""
    widths = ((4, (2, 3)), (4, (2, 1)), (1, (2, 4)), (3, (3, 4)), (4, (4, 1)), (4, (0, 1)), (4, (1,)), (1, (3,)))
    for (d, shape), dtype in product(widths, (torch.float32, torch.float16)):
        for scenario in (scenarios.forward, scenarios.forward_in_evaluation):
            why = f"d_model is {d} and x has shape {shape}"
            layer = called(f"{name}({d})", partial(student.run, scenario, name, [d], {}))
            assert_refused(layer, torch.ones(shape, dtype=dtype), why=why)


FUNCTIONS = {"LayerNorm": F.layer_norm, "RMSNorm": F.rms_norm}


def assert_right(student, name):
    """The layer's values for a few ordinary vectors are right: a mistake has to do with what is unusual elsewhere."""
    x, weight, bias, _ = vectors(1, 5, (3,))
    weights = {"weight": weight, "bias": bias} if name == "LayerNorm" else {"weight": weight}
    actual = student.run(scenarios.forward, name, [5, {"eps": 1e-3}], weights, x)
    assert_close(actual, FUNCTIONS[name](x, (5,), *weights.values(), eps=1e-3), atol=1e-9)


def gradient_hint(actual, output):
    """What to look at where a gradient is wrong: the values first, if these are wrong as well."""
    return "detach nothing" if passes(assert_close, actual["output"], output, rtol=1e-6, atol=1e-6, dtype=False) else ""


def assert_parameters(student, name, expected):
    """At the start the parameters are these, each under one name."""
    actual = student.run(scenarios.initial_parameters, name, [5])
    hint = ""
    if set(expected) - set(actual):
        plain = [key for key in student.run(scenarios.plain_tensors, name, [5]) if key in expected]
        hint = f"{plain[0]} is a plain tensor: nn.Parameter makes it visible" if plain else "the names are fixed"
    assert_equal(actual, expected, what=f"the parameters of {name}(5)", hint=hint)
    names = student.run(scenarios.parameter_names, name, [5])
    assert_equal(names, sorted(expected), what="the names of all parameters", hint="one name for each, and no others")


# Layer norm


@exercise("LayerNorm", points=4, core=True)
@settings(max_examples=20)
@given(seed=seeds(), d=sizes(1, 9), lead=leading_shapes(4, 3), eps=EPSILONS, scale=st.sampled_from([0.01, 1.0, 100.0]))
@example(seed=1, d=300, lead=(2,), eps=1e-5, scale=1.0)
@example(seed=1, d=3, lead=(1100,), eps=10.0, scale=1.0)
def test_layer_norm_agrees_with_pytorch(student, seed, d, lead, eps, scale):
    """Any leading dimensions, any width, any eps: the values of PyTorch's layer norm."""
    x, weight, bias, _ = vectors(seed, d, lead)
    x = x * scale + 1
    actual = student.run(scenarios.forward, "LayerNorm", [d, {"eps": eps}], {"weight": weight, "bias": bias}, x)
    truth = F.layer_norm(x, (d,), weight, bias, eps)
    assert_close(
        actual,
        truth,
        what="LayerNorm(x)",
        hint="(x - mean) / sqrt(var + eps) * weight + bias, with mean and biased variance of the last dimension",
        atol=1e-9,
    )


@exercise("LayerNorm", points=1)
def test_layer_norm_adds_a_default_eps_of_1e_minus_5_under_the_root(student, generator):
    """For rows of tiny variance, and for constant ones, eps decides the result."""
    x = torch.cat([normal(generator, 3, 6, scale=1e-3), normal(generator, 3, 6, scale=1e-2), torch.full((2, 6), 3.0)])
    actual = student.run(scenarios.forward, "LayerNorm", [6], {}, x)
    what, when = "LayerNorm of rows of tiny variance", partial(assert_right, student, "LayerNorm")
    hinted(assert_close, actual, F.layer_norm(x, (6,), eps=1e-5), what=what, hint="sqrt(var + 1e-5)", when=when)
    actual = student.run(scenarios.forward, "LayerNorm", [6, 0.0], {}, x[:6])
    what = "LayerNorm(6, eps=0.0) of rows of tiny variance"
    assert_close(actual, F.layer_norm(x[:6], (6,), eps=0.0), what=what, hint="0 is an eps too: no `eps or ...`")
    single = x[:6].float() / 100
    actual = student.run(scenarios.forward, "LayerNorm", [6, 1e-12], {}, single)
    truth = F.layer_norm(single.double(), (6,), eps=1e-12).float()
    what, hint = "LayerNorm(6, eps=1e-12) of float32 rows of tiny variance", "add the eps that is given, in any precision"
    assert_close(actual, truth, what=what, hint=hint, rtol=1e-4, atol=1e-4)


@exercise("LayerNorm", points=1)
def test_layer_norm_starts_with_ones_and_zeros(student):
    """The parameters are `weight`, all ones, and `bias`, all zeros, and nothing else."""
    assert_parameters(student, "LayerNorm", {"weight": torch.ones(5), "bias": torch.zeros(5)})
    changed = student.run(scenarios.changed_by_making, "LayerNorm", [5])
    assert_equal(changed, [], what="what making a LayerNorm changed", hint="set no seed and no default")


@exercise("LayerNorm", points=1)
def test_layer_norm_keeps_its_digits_far_from_zero(student, generator):
    """A row whose mean is a million times its spread is normalised as well as any other."""
    x = normal(generator, 4, 16) + 1e6
    actual = student.run(scenarios.forward, "LayerNorm", [16], {}, x)
    truth = F.layer_norm(x, (16,))
    hint = "subtract the mean before you square"
    when = partial(assert_right, student, "LayerNorm")
    hinted(assert_close, actual, truth, what="LayerNorm(x + 1e6)", hint=hint, when=when, rtol=0, atol=1e-6)
    single = normal(generator, 4, 16).add(1e3).float()
    truth = F.layer_norm(single.double(), (16,))
    actual = student.run(scenarios.forward, "LayerNorm", [16], {}, single)
    assert_close(actual.double(), truth, what="LayerNorm(x + 1e3) in float32", hint=hint, rtol=0, atol=2e-3)


@exercise("LayerNorm", points=2)
@settings(max_examples=10)
@given(seed=seeds(), d=sizes(1, 6), lead=leading_shapes(3, 2), constant=st.booleans(), training=st.booleans())
@example(seed=1, d=300, lead=(2,), constant=False, training=True)
@example(seed=1, d=3, lead=(1100,), constant=False, training=True)
@example(seed=1, d=3, lead=(2, 1, 2, 1, 2), constant=False, training=True)
def test_layer_norm_has_pytorchs_gradients(student, seed, d, lead, constant, training):
    """Gradients reach x, weight and bias, agree with PyTorch's, and are finite for constant rows."""
    x, weight, bias, cotangent = vectors(seed, d, lead)
    x = torch.full_like(x, 2.0) if constant else x
    weights = {"weight": weight, "bias": bias}
    actual = student.run(scenarios.layer_gradients, "LayerNorm", [d], weights, x, cotangent, training)
    output, truth = reference_gradients(lambda x, w, b: F.layer_norm(x, (d,), w, b), (x, weight, bias), cotangent)
    expected = dict(zip(("x", "weight", "bias"), truth))
    hint = gradient_hint(actual, output)
    assert_close({key: actual[key] for key in expected}, expected, what="the gradient", hint=hint, atol=1e-9)


def assert_gradients_in_its_dtype(student, name, weights, x, function):
    """In both modes and with an eps of its own: gradients reach x and parameters in x's dtype, with the values that
    float64 gives but for rounding, and so does the output."""
    leaves = [y.double().requires_grad_() for y in (x, *weights.values())]
    output = function(leaves[0], x.shape[-1:], *leaves[1:], eps=0.01)
    output.sum().backward()
    truth = {"output": output.detach()} | {key: leaf.grad for key, leaf in zip(("x", *weights), leaves)}
    for training in (True, False):
        call = (name, [x.shape[-1], {"eps": 0.01}], weights, x, torch.ones_like(x), training)
        actual = student.run(scenarios.layer_gradients, *call)
        for key, value in truth.items():
            what = "the output" if key == "output" else f"the gradient by {key}"
            what += f" of {name} in {x.dtype}, in {'training' if training else 'evaluation'} mode"
            assert isinstance(actual[key], torch.Tensor), f"{what} is missing: detach nothing, in no precision"
            room = 32 * torch.finfo(x.dtype).eps * float(value.abs().max())
            hint = "use the given eps" if key == "output" else "detach nothing"
            hint += ", and do the same in both modes"
            assert_close(actual[key].double(), value, what=what, hint=hint, rtol=0, atol=room)


def assert_rounded_once(actual, truth, dtype, what):
    """Each value is the nearest that the dtype has, but for what float32 itself is off by."""
    hint = "keep float32 to the end, weight and bias included, and cast the sum"
    room = {"rtol": 0.502 * torch.finfo(dtype).eps, "atol": 1e-5 * float(truth.abs().max())}
    assert_close(actual.double(), truth, what=what, hint=hint, **room)


@exercise("LayerNorm", points=1)
def test_layer_norm_works_in_float32_inside_half_precision(student, generator):
    """Squares of values around 500 overflow float16: normalise in float32, return x's dtype."""
    for dtype, tolerance in ((torch.float16, 6e-3), (torch.bfloat16, 5e-2), (torch.float32, 1e-5)):
        x = torch.cat([normal(generator, 5, 32, scale=500.0) + 100, normal(generator, 5, 32, scale=0.01)]).to(dtype)
        weights = {"weight": normal(generator, 32).to(dtype), "bias": normal(generator, 32).to(dtype)}
        actual = student.run(scenarios.forward, "LayerNorm", [32], weights, x)
        assert actual.dtype == dtype, f"LayerNorm of {dtype} came back as {actual.dtype}: cast the result back"
        truth = F.layer_norm(x.double(), (32,), weights["weight"].double(), weights["bias"].double())
        assert_close(actual.double(), truth, what=f"LayerNorm of {dtype}", rtol=tolerance, atol=tolerance)
        for wide in (torch.float32, torch.float64):
            parameters = {key: normal(generator, 32, dtype=wide) for key in weights}
            mixed = student.run(scenarios.forward_of_another_dtype, "LayerNorm", [32], parameters, x)
            exact = F.layer_norm(x.double(), (32,), parameters["weight"].double(), parameters["bias"].double())
            what = f"a layer in {wide} on {dtype}"
            assert_close(mixed, exact.to(dtype), what=what, hint="return x's dtype", rtol=tolerance, atol=tolerance)
            if dtype != torch.float32:
                assert_rounded_once(mixed, exact, dtype, what)
        if dtype != torch.float32:
            assert_rounded_once(actual, truth, dtype, f"LayerNorm of {dtype}")
            far = (normal(generator, 5, 32, scale=500.0) + 5e4).to(dtype)
            truth = F.layer_norm(far.double(), (32,), weights["weight"].double(), weights["bias"].double())
            actual = student.run(scenarios.forward, "LayerNorm", [32], weights, far)
            assert_rounded_once(actual, truth, dtype, f"LayerNorm of a {dtype} x far from zero")
        for part in (x[:5], x[5:], x[0]):
            assert_gradients_in_its_dtype(student, "LayerNorm", weights, part, F.layer_norm)


@exercise("LayerNorm", points=1)
def test_layer_norm_takes_one_vector_none_and_any_memory_layout(student, generator):
    """A single vector, an empty batch and a transposed x are all inputs like any other."""
    weights = {"weight": normal(generator, 4), "bias": normal(generator, 4)}
    for shape in ((4,), (0, 4), (2, 0, 3, 4), (1, 2, 1, 1, 1, 2, 4)):
        x = normal(generator, *shape)
        actual = student.run(scenarios.forward, "LayerNorm", [4], weights, x)
        assert_close(actual, F.layer_norm(x, (4,), **weights), what=f"LayerNorm of shape {shape}")
    plain, scattered = student.run(scenarios.forward_strided, "LayerNorm", [4], weights, normal(generator, 2, 3, 4))
    assert_close(scattered, plain, what="LayerNorm of a non-contiguous x")


@exercise("LayerNorm", points=0.5)
def test_layer_norm_leaves_input_and_parameters_alone(student, generator):
    """x and the parameters are the same after the call."""
    weights = {"weight": normal(generator, 4), "bias": normal(generator, 4)}
    x = normal(generator, 2, 3, 4)
    for dtype in (torch.float64, torch.float32, torch.float16, torch.bfloat16):
        given_x, given_weights = x.to(dtype), {key: value.to(dtype) for key, value in weights.items()}
        after, changed = student.run(scenarios.forward_and_input, "LayerNorm", [4], given_weights, given_x)
        assert_equal(after, [given_x], what=f"[x] after the call, in {dtype}", hint="work on a copy: x - mean, not x -= mean")
        assert_equal(changed, [], what="what the call changed")
    other = normal(generator, 2, 3, 4)
    hint = "weights change in training: keep no copy of them, and do the same in both modes, gradients recorded or not"
    trained = {key: value + 1 for key, value in weights.items()}
    again = student.run(scenarios.forward_again, "LayerNorm", [4], weights, trained, other)
    expected = F.layer_norm(other, (4,), weights["weight"] + 1, weights["bias"] + 1)
    when = partial(assert_right, student, "LayerNorm")
    hinted(assert_close, again, [expected] * 4, what=AGAIN, hint=hint, when=when)
    made = [([4, 0.1], weights), ([4, 1.0], trained)]
    actual = student.run(scenarios.side_by_side, "LayerNorm", made, x)
    expected = [F.layer_norm(x, (4,), *parameters.values(), eps) for (_, eps), parameters in made]
    what = "the outputs of two layers, and of their deep copies"
    hint = "each has its own eps and parameters, and a copy its own too"
    hinted(assert_close, actual, expected * 2, what=what, hint=hint, when=when)


@exercise("LayerNorm", points=0.5)
def test_layer_norm_refuses_another_width(student):
    """An x whose last dimension is not d_model is an error, also where it would broadcast."""
    assert_width_refused(student, "LayerNorm")


# RMS norm


@exercise("RMSNorm", points=3, core=True)
@settings(max_examples=20)
@given(seed=seeds(), d=sizes(1, 9), lead=leading_shapes(4, 3), eps=EPSILONS, scale=st.sampled_from([0.01, 1.0, 100.0]))
@example(seed=1, d=8, lead=(0,), eps=1e-5, scale=1.0)
@example(seed=1, d=300, lead=(2,), eps=1e-6, scale=1e4)
@example(seed=1, d=3, lead=(1100,), eps=10.0, scale=1.0)
@example(seed=1, d=2, lead=(1, 2, 1, 1, 1, 2), eps=1e-6, scale=1.0)
def test_rms_norm_agrees_with_pytorch(student, seed, d, lead, eps, scale):
    """Any leading dimensions, any width, any eps: the values of PyTorch's RMS norm."""
    x, weight, _, _ = vectors(seed, d, lead)
    x = x * scale + 1
    actual = student.run(scenarios.forward, "RMSNorm", [d, {"eps": eps}], {"weight": weight}, x)
    truth = F.rms_norm(x, (d,), weight, eps)
    hint = "x / sqrt(mean(x²) + eps) * weight; the mean runs over the last dimension"
    assert_close(actual, truth, what="RMSNorm(x)", hint=hint)


@exercise("RMSNorm", points=1)
def test_rms_norm_adds_a_default_eps_of_1e_minus_6_under_the_root(student, generator):
    """For rows near zero eps decides the result; a row of zeros stays zero."""
    x = torch.cat([normal(generator, 3, 6, scale=1e-3), normal(generator, 3, 6, scale=3e-4), torch.zeros(1, 6)])
    actual = student.run(scenarios.forward, "RMSNorm", [6], {}, x)
    what, when = "RMSNorm of rows near zero", partial(assert_right, student, "RMSNorm")
    hinted(assert_close, actual, F.rms_norm(x, (6,), eps=1e-6), what=what, hint="sqrt(mean(x²) + 1e-6)", when=when)
    actual = student.run(scenarios.forward, "RMSNorm", [6, 0.0], {}, x[:6])
    what = "RMSNorm(6, eps=0.0) of rows near zero"
    assert_close(actual, F.rms_norm(x[:6], (6,), eps=0.0), what=what, hint="0 is an eps too: no `eps or ...`")
    single = x[:6].float() / 100
    actual = student.run(scenarios.forward, "RMSNorm", [6, 1e-12], {}, single)
    truth = F.rms_norm(single.double(), (6,), eps=1e-12).float()
    what, hint = "RMSNorm(6, eps=1e-12) of float32 rows near zero", "add the eps that is given, in any precision"
    assert_close(actual, truth, what=what, hint=hint, rtol=1e-4, atol=1e-4)


@exercise("RMSNorm", points=1)
def test_rms_norm_has_one_parameter_of_ones(student):
    """The one parameter is `weight`, all ones; there is no bias."""
    assert_parameters(student, "RMSNorm", {"weight": torch.ones(5)})
    changed = student.run(scenarios.changed_by_making, "RMSNorm", [5])
    assert_equal(changed, [], what="what making an RMSNorm changed", hint="set no seed and no default")


@exercise("RMSNorm", points=1)
@settings(max_examples=10)
@given(seed=seeds(), d=sizes(1, 6), lead=leading_shapes(3, 2), zero=st.booleans(), training=st.booleans())
@example(seed=1, d=300, lead=(2,), zero=False, training=True)
@example(seed=1, d=3, lead=(1100,), zero=False, training=True)
@example(seed=1, d=3, lead=(2, 1, 2, 1, 2), zero=False, training=True)
def test_rms_norm_has_pytorchs_gradients(student, seed, d, lead, zero, training):
    """Gradients reach x and weight, agree with PyTorch's, and are finite for rows of zeros."""
    x, weight, _, cotangent = vectors(seed, d, lead)
    x = torch.zeros_like(x) if zero else x
    actual = student.run(scenarios.layer_gradients, "RMSNorm", [d], {"weight": weight}, x, cotangent, training)
    output, truth = reference_gradients(lambda x, w: F.rms_norm(x, (d,), w, 1e-6), (x, weight), cotangent)
    expected = dict(zip(("x", "weight"), truth))
    hint = gradient_hint(actual, output)
    assert_close({key: actual[key] for key in expected}, expected, what="the gradient", hint=hint, atol=1e-9)


@exercise("RMSNorm", points=1)
def test_rms_norm_works_in_float32_inside_half_precision(student, generator):
    """Squares of values around 500 overflow float16: normalise in float32, return x's dtype."""
    for dtype, tolerance in ((torch.float16, 6e-3), (torch.bfloat16, 5e-2), (torch.float32, 1e-5)):
        x = torch.cat([normal(generator, 200, 32, scale=500.0), normal(generator, 20, 32, scale=2e-3)]).to(dtype)
        weight = normal(generator, 32).to(dtype)
        actual = student.run(scenarios.forward, "RMSNorm", [32], {"weight": weight}, x)
        assert actual.dtype == dtype, f"RMSNorm of {dtype} came back as {actual.dtype}: cast the result back"
        truth = F.rms_norm(x.double(), (32,), weight.double(), 1e-6)
        assert_close(actual.double(), truth, what=f"RMSNorm of {dtype}", rtol=tolerance, atol=tolerance)
        for wide in (torch.float32, torch.float64):
            parameters = {"weight": weight.to(wide)}
            mixed = student.run(scenarios.forward_of_another_dtype, "RMSNorm", [32], parameters, x)
            what = f"a layer in {wide} on {dtype}"
            assert_close(mixed, truth.to(dtype), what=what, hint="return x's dtype", rtol=tolerance, atol=tolerance)
        if dtype != torch.float32:
            room = 1.01 * torch.finfo(dtype).eps  # two roundings, as models do it that round before the weight, and no third
            assert_close(actual.double(), truth, what=f"RMSNorm of {dtype}", hint="normalise in float32", rtol=room, atol=1e-6)
        for part in (x[:5], x[-5:], x[0]):
            assert_gradients_in_its_dtype(student, "RMSNorm", {"weight": weight}, part, F.rms_norm)


@exercise("RMSNorm", points=0.5)
def test_rms_norm_leaves_input_and_parameters_alone(student, generator):
    """x and the parameters are the same after the call, and x need not be contiguous."""
    weights = {"weight": normal(generator, 4)}
    x = normal(generator, 2, 3, 4)
    for dtype in (torch.float64, torch.float32, torch.float16, torch.bfloat16):
        given_x, given_weights = x.to(dtype), {key: value.to(dtype) for key, value in weights.items()}
        after, changed = student.run(scenarios.forward_and_input, "RMSNorm", [4], given_weights, given_x)
        assert_equal(after, [given_x], what=f"[x] after the call, in {dtype}", hint="work on a copy: x * s, not x *= s")
        assert_equal(changed, [], what="what the call changed")
    other = normal(generator, 2, 3, 4)
    hint = "weights change in training: keep no copy of them, and do the same in both modes, gradients recorded or not"
    again = student.run(scenarios.forward_again, "RMSNorm", [4], weights, {"weight": weights["weight"] + 1}, other)
    expected = F.rms_norm(other, (4,), weights["weight"] + 1, 1e-6)
    when = partial(assert_right, student, "RMSNorm")
    hinted(assert_close, again, [expected] * 4, what=AGAIN, hint=hint, when=when)
    made = [([4, 0.1], weights), ([4, 1.0], {"weight": weights["weight"] + 1})]
    actual = student.run(scenarios.side_by_side, "RMSNorm", made, x)
    expected = [F.rms_norm(x, (4,), parameters["weight"], eps) for (_, eps), parameters in made]
    what = "the outputs of two layers, and of their deep copies"
    hint = "each has its own eps and weight, and a copy its own too"
    hinted(assert_close, actual, expected * 2, what=what, hint=hint, when=when)
    plain, scattered = student.run(scenarios.forward_strided, "RMSNorm", [4], weights, x)
    assert_close(scattered, plain, what="RMSNorm of a non-contiguous x")


@exercise("RMSNorm", points=0.5)
def test_rms_norm_refuses_another_width(student):
    """An x whose last dimension is not d_model is an error, also where it would broadcast."""
    assert_width_refused(student, "RMSNorm")
