"""Hidden tests: the feed-forward layers. The truth is PyTorch's own functions."""

from functools import partial
from itertools import product

import torch
import torch.nn.functional as F

from autograder.testing import assert_close, assert_equal, assert_refused, exercise
from autograder.testing.hints import called, passes
from autograder.testing.strategies import example, given, leading_shapes, normal, seeds, settings, sizes

from . import scenarios

ACTIVATIONS = {"relu": F.relu, "gelu": F.gelu, "gelu_tanh": lambda x: F.gelu(x, approximate="tanh")}


def feed_forward_weights(seed, d, d_ff):
    draw = seed if isinstance(seed, torch.Generator) else torch.Generator().manual_seed(seed)
    shapes = {"w_in.weight": (d_ff, d), "w_in.bias": (d_ff,), "w_out.weight": (d, d_ff), "w_out.bias": (d,)}
    return {name: normal(draw, *shape) for name, shape in shapes.items()}


def feed_forward_truth(weights, x, activation):
    hidden = ACTIVATIONS[activation](F.linear(x, weights["w_in.weight"], weights["w_in.bias"]))
    return F.linear(hidden, weights["w_out.weight"], weights["w_out.bias"])


def pulled_back(function, tensors, cotangent):
    """The gradient by each of the named tensors."""
    leaves = {name: value.clone().requires_grad_() for name, value in tensors.items()}
    return dict(zip(leaves, torch.autograd.grad(function(leaves), list(leaves.values()), cotangent)))


def gradient_hint(actual, output):
    """What to look at where a gradient is wrong: the values first, if these are wrong as well."""
    right = passes(assert_close, actual["output"], output, rtol=1e-6, atol=1e-6, dtype=False)
    return "detach nothing, and do the same in both modes" if right else ""


def check_start(student, name, wide):
    """A new layer's hidden units differ from each other, and making it changes nothing else."""
    start = student.run(scenarios.initial_parameters, name, [4, 7])
    for key in wide:
        if (start[key] == start[key][:1]).all():
            raise AssertionError(f"all units of {key} start alike and would stay so: draw the weights as nn.Linear does")
        if not (start[key].abs() < 1e3).all():
            raise AssertionError(f"{key} starts with huge numbers or NaN: draw the weights as nn.Linear does")
    changed = student.run(scenarios.changed_by_making, name, [4, 7])
    assert_equal(changed, [], what="what making the layer changed", hint="set no seed and no default")


def check_layout_and_half(student, name, arguments, weights, x, truth):
    """The layer takes an x that is not contiguous, and each precision comes back as it came, and so do its gradients."""
    plain, scattered = student.run(scenarios.forward_strided, name, arguments, weights, torch.stack([x, -x]))
    assert_close(scattered, plain, what=f"{name} of a non-contiguous x", hint="reshape where view fails", atol=1e-5)
    leaves = {"x": x, **weights}
    expected = {"output": truth(leaves)} | pulled_back(truth, leaves, torch.ones_like(x))
    for dtype, training in product((torch.float32, torch.float16, torch.bfloat16), (True, False)):
        call = (name, arguments, weights, x.to(dtype), torch.ones_like(x, dtype=dtype), training)
        actual = student.run(scenarios.layer_gradients, *call)
        for key, value in expected.items():
            what = "the output" if key == "output" else f"the gradient by {key}"
            what += f" of {name} in {dtype}, in {'training' if training else 'evaluation'} mode"
            assert isinstance(actual[key], torch.Tensor), f"{what} is missing: detach nothing"
            assert actual[key].dtype == dtype, f"{what} came back as {actual[key].dtype}: keep the input's dtype"
            room = 32 * torch.finfo(dtype).eps * float(value.abs().max())
            assert_close(actual[key].to(value.dtype), value, what=what, rtol=0, atol=room)


# Feed-forward


@exercise("FeedForward", points=3, core=True)
@settings(max_examples=15)
@given(seed=seeds(), d=sizes(1, 6), d_ff=sizes(1, 9), lead=leading_shapes(3, 3))
@example(seed=1, d=70, d_ff=300, lead=(2,))
@example(seed=1, d=3, d_ff=5, lead=(1100,))
@example(seed=1, d=3, d_ff=5, lead=(2, 1, 2, 1, 2))
def test_feed_forward_is_two_linear_layers_around_relu(student, seed, d, d_ff, lead):
    """With ReLU: w_out(relu(w_in(x))), for any widths and leading dimensions."""
    draw = torch.Generator().manual_seed(seed)
    weights, x = feed_forward_weights(draw, d, d_ff), normal(draw, *lead, d, scale=30.0)
    actual = student.run(scenarios.forward, "FeedForward", [d, d_ff, {"activation": "relu"}], weights, x)
    assert_close(actual, feed_forward_truth(weights, x, "relu"), what="FeedForward(x)", hint="w_out(relu(w_in(x)))")


@exercise("FeedForward", points=1)
def test_feed_forward_bends_with_the_exact_gelu_by_default(student, generator):
    """Without a word about the activation it is the exact GELU."""
    weights, x = feed_forward_weights(generator, 5, 11), normal(generator, 2, 3, 5)
    x[1] *= 100
    expected = feed_forward_truth(weights, x, "gelu")
    for arguments in ([5, 11], [5, 11, "gelu"]):
        actual = student.run(scenarios.forward, "FeedForward", arguments, weights, x)
        what = f"FeedForward{tuple(arguments)}(x)"
        assert_close(actual, expected, what=what, hint="w_out(gelu(w_in(x))), the exact GELU")


@exercise("FeedForward", points=1)
def test_feed_forward_knows_gpt2s_gelu(student, generator):
    """ "gelu_tanh" is the tanh approximation."""
    weights, x = feed_forward_weights(generator, 5, 11), normal(generator, 7, 5)
    x[5:] *= 100
    actual = student.run(scenarios.forward, "FeedForward", [5, 11, {"activation": "gelu_tanh"}], weights, x)
    assert_close(actual, feed_forward_truth(weights, x, "gelu_tanh"), what="FeedForward(5, 11, 'gelu_tanh')(x)")


@exercise("FeedForward", points=1)
def test_feed_forward_has_four_parameters(student):
    """w_in goes from d_model to d_ff, w_out goes back, both have a bias."""
    expected = {"w_in.weight": [7, 4], "w_in.bias": [7], "w_out.weight": [4, 7], "w_out.bias": [4]}
    assert_equal(student.run(scenarios.parameter_shapes, "FeedForward", [4, 7]), expected, what="the parameters")
    check_start(student, "FeedForward", ["w_in.weight"])


@exercise("FeedForward", points=0.5)
def test_feed_forward_has_gradients(student, generator):
    """Gradients reach x and all four parameters, through each activation and in both modes."""
    leads = ((2, 1, 4), (), (5,), (1100,), (2, 1, 2, 1, 2), (2, 3))
    for (activation, training), lead in zip(product(ACTIVATIONS, (True, False)), leads):
        weights, x, cotangent = feed_forward_weights(generator, 3, 5), normal(generator, *lead, 3), normal(generator, *lead, 3)
        call = ("FeedForward", [3, 5, activation], weights, x, cotangent, training)
        actual = student.run(scenarios.layer_gradients, *call)
        truth = pulled_back(lambda t, act=activation: feed_forward_truth(t, t["x"], act), {"x": x, **weights}, cotangent)
        what = f"the gradient through {activation} in {'training' if training else 'evaluation'} mode"
        hint = gradient_hint(actual, feed_forward_truth(weights, x, activation))
        assert_close({key: actual[key] for key in truth}, truth, what=what, hint=hint)


@exercise("FeedForward", points=0.5)
def test_feed_forward_treats_each_position_alone(student, generator):
    """Changing one position changes only that position's output; nothing is dropped at random."""
    weights, x = feed_forward_weights(generator, 4, 8), normal(generator, 2, 5, 4)
    changed = x.clone()
    changed[:, 2] += 1
    first, again, untouched = student.run(scenarios.forward_twice, "FeedForward", [4, 8, "relu"], weights, x)
    assert_equal(again, first, what="a second call, in evaluation mode", hint="no dropout here")
    assert untouched, "the call changed the global random state, default dtype or gradient mode"
    other = student.run(scenarios.forward, "FeedForward", [4, 8, "relu"], weights, changed)
    rest = [0, 1, 3, 4]
    assert_close(other[:, rest], first[:, rest], what="the output at the other positions")


@exercise("FeedForward", points=0.5)
def test_feed_forward_keeps_dtype_and_input(student, generator):
    """float32 in, float32 out; an empty batch works; x is left alone."""
    weights = {key: value.float() for key, value in feed_forward_weights(generator, 4, 6).items()}
    x = normal(generator, 3, 4, dtype=torch.float32)
    actual = student.run(scenarios.forward, "FeedForward", [4, 6, "relu"], weights, x)
    assert_close(actual, feed_forward_truth(weights, x, "relu"), what="FeedForward(x)", rtol=1e-4, atol=1e-4)
    after, changed = student.run(scenarios.forward_and_input, "FeedForward", [4, 6, "relu"], weights, x)
    assert_equal(after, [x], what="[x] after the call")
    assert_equal(changed, [], what="what the call changed")
    for name in ACTIVATIONS:
        truth = partial(lambda t, act: feed_forward_truth(t, t["x"], act), act=name)
        check_layout_and_half(student, "FeedForward", [4, 6, name], weights, x, truth)
    empty = student.run(scenarios.forward, "FeedForward", [4, 6, "relu"], weights, x[:0])
    assert_equal(empty, x[:0], what="FeedForward of an empty batch")
    trained = {key: 0.5 * value.flip(-1) for key, value in weights.items()}
    actual = student.run(scenarios.forward_again, "FeedForward", [4, 6, "relu"], weights, trained, x)
    hint = "weights change in training: keep no copy of them, and do the same in both modes, gradients recorded or not"
    expected = feed_forward_truth(trained, x, "relu")
    what = "[training, evaluation] after other weights, and both without recorded gradients"
    assert_close(actual, [expected] * 4, what=what, hint=hint, rtol=1e-4, atol=1e-4)
    made = [([4, 6, "relu"], weights), ([4, 6, "gelu_tanh"], trained), ([4, 6], weights)]
    actual = student.run(scenarios.side_by_side, "FeedForward", made, x)
    chosen = ("relu", "gelu_tanh", "gelu")
    expected = [feed_forward_truth(parameters, x, name) for (_, parameters), name in zip(made, chosen)]
    hint = "each has its own activation and weights, and a copy its own too"
    assert_close(actual, expected * 2, what="the outputs of three layers, then of copies", hint=hint, rtol=1e-4, atol=1e-4)


@exercise("FeedForward", points=0.5)
def test_feed_forward_refuses_an_unknown_activation(student):
    """A misspelt activation is an error when the layer is built."""
    when = student.run(scenarios.refused_when, "FeedForward", [4, 8, "swish"])
    hint = "look the activation up in __init__: who builds a layer learns of the mistake there, not at its first use"
    assert_equal(when, "when it is built", what="when FeedForward(4, 8, 'swish') is refused", hint=hint)

    def make(*sizes, **options):
        return student.run(scenarios.parameter_shapes, "FeedForward", [*sizes, options])

    for wrong in ("GELU", "swish", "silu", "tanh", "gelu_new", "none", "", None,
                  "relu6", "leaky_relu", "ReLU", " relu", "gelu-tanh", "sigmoid", "identity", "linear"):
        assert_refused(called("FeedForward", make), 4, 8, activation=wrong, why="there is no such activation")
    why = "a function is not the name of an activation"
    make = called("FeedForward", lambda *_: student.run(scenarios.made_with_a_function, "FeedForward", [4, 8]))
    assert_refused(make, 4, 8, torch.tanh, why=why)


# SwiGLU


def swiglu_weights(seed, d, d_ff):
    draw = seed if isinstance(seed, torch.Generator) else torch.Generator().manual_seed(seed)
    shapes = {"w_gate.weight": (d_ff, d), "w_in.weight": (d_ff, d), "w_out.weight": (d, d_ff)}
    return {name: normal(draw, *shape) for name, shape in shapes.items()}


def swiglu_truth(weights, x):
    return F.linear(F.silu(x @ weights["w_gate.weight"].mT) * (x @ weights["w_in.weight"].mT), weights["w_out.weight"])


@exercise("SwiGLU", points=4, core=True)
@settings(max_examples=15)
@given(seed=seeds(), d=sizes(1, 6), d_ff=sizes(1, 9), lead=leading_shapes(3, 3))
@example(seed=1, d=70, d_ff=300, lead=(2,))
@example(seed=1, d=3, d_ff=5, lead=(1100,))
@example(seed=1, d=3, d_ff=5, lead=(2, 1, 2, 1, 2))
def test_swiglu_multiplies_by_the_bent_gate(student, seed, d, d_ff, lead):
    """w_out(silu(w_gate(x)) * w_in(x)), for any widths and leading dimensions."""
    draw = torch.Generator().manual_seed(seed)
    weights, x = swiglu_weights(draw, d, d_ff), normal(draw, *lead, d)
    actual = student.run(scenarios.forward, "SwiGLU", [d, d_ff], weights, x)
    assert_close(actual, swiglu_truth(weights, x), what="SwiGLU(x)", hint="w_out(silu(w_gate(x)) * w_in(x))")


@exercise("SwiGLU", points=1.5)
def test_swiglu_has_three_parameters_and_no_bias(student):
    """w_gate and w_in go from d_model to d_ff, w_out goes back, none has a bias."""
    expected = {"w_gate.weight": [7, 4], "w_in.weight": [7, 4], "w_out.weight": [4, 7]}
    actual = student.run(scenarios.parameter_shapes, "SwiGLU", [4, 7])
    hint = "bias=False" if any("bias" in key for key in actual) else ""
    assert_equal(actual, expected, what="the parameters", hint=hint)
    check_start(student, "SwiGLU", ["w_gate.weight", "w_in.weight"])


@exercise("SwiGLU", points=1)
def test_swiglu_has_gradients(student, generator):
    """Gradients reach x and all three parameters."""
    for lead, training in product(((2, 1, 4), (), (5,), (1100,), (2, 1, 2, 1, 2)), (True, False)):
        weights, x, cotangent = swiglu_weights(generator, 3, 5), normal(generator, *lead, 3), normal(generator, *lead, 3)
        truth = pulled_back(lambda t: swiglu_truth(t, t["x"]), {"x": x, **weights}, cotangent)
        actual = student.run(scenarios.layer_gradients, "SwiGLU", [3, 5], weights, x, cotangent, training)
        what = f"the gradient in {'training' if training else 'evaluation'} mode"
        hint = gradient_hint(actual, swiglu_truth(weights, x))
        assert_close({key: actual[key] for key in truth}, truth, what=what, hint=hint)


@exercise("SwiGLU", points=1)
def test_swiglu_stays_finite_for_large_inputs(student, generator):
    """A gate of -1000 closes and one of 1000 opens: no overflow in value or gradient."""
    for dtype in (torch.float64, torch.float32):
        weights = {key: torch.ones(1, 1, dtype=dtype) for key in swiglu_weights(generator, 1, 1)}
        x = torch.tensor([[-1000.0], [-1.0], [0.0], [1.0], [1000.0]], dtype=dtype)
        actual = student.run(scenarios.layer_gradients, "SwiGLU", [1, 1], weights, x, torch.ones_like(x))
        finite = all(isinstance(actual[key], torch.Tensor) and actual[key].isfinite().all() for key in ("output", "x"))
        hint = "" if finite else "exp(1000) overflows: torch.sigmoid(z) does not"
        assert_close(actual["output"], swiglu_truth(weights, x), what=f"SwiGLU(x) in {dtype}", hint=hint)
        truth = pulled_back(lambda t: swiglu_truth(t, t["x"]), {"x": x, **weights}, torch.ones_like(x))
        assert_close(actual["x"], truth["x"], what=f"the gradient by x in {dtype}", hint=hint)
    x = torch.tensor([[-100.0], [-12.0], [-1.0], [0.0], [1.0], [100.0]])
    call = "SwiGLU", [1, 1], weights, x.half(), torch.ones_like(x).half()
    actual = student.run(scenarios.layer_gradients, *call)
    truth = {"output": swiglu_truth(weights, x)}
    truth |= pulled_back(lambda t: swiglu_truth(t, t["x"]), {"x": x, **weights}, torch.ones_like(x))
    for key, what in (("output", "SwiGLU(x)"), ("x", "the gradient by x")):
        finite = isinstance(actual[key], torch.Tensor) and actual[key].isfinite().all()
        hint = "" if finite else "exp(12) is more than float16 can hold: torch.sigmoid(-12) is not"
        assert_close(actual[key], truth[key].half(), what=f"{what} in torch.float16", hint=hint, rtol=1e-2, atol=1e-2)


@exercise("SwiGLU", points=0.5)
def test_swiglu_keeps_dtype_and_input(student, generator):
    """float32 in, float32 out; x is left alone; nothing is dropped at random."""
    weights = {key: value.float() for key, value in swiglu_weights(generator, 4, 6).items()}
    x = normal(generator, 3, 4, dtype=torch.float32)
    first, again, untouched = student.run(scenarios.forward_twice, "SwiGLU", [4, 6], weights, x)
    assert_close(first, swiglu_truth(weights, x), what="SwiGLU(x)", rtol=1e-4, atol=1e-4)
    assert_equal(again, first, what="a second call, in evaluation mode", hint="no dropout here")
    assert untouched, "the call changed the global random state, default dtype or gradient mode"
    after, changed = student.run(scenarios.forward_and_input, "SwiGLU", [4, 6], weights, x)
    assert_equal(after, [x], what="[x] after the call")
    assert_equal(changed, [], what="what the call changed")
    check_layout_and_half(student, "SwiGLU", [4, 6], weights, x, lambda t: swiglu_truth(t, t["x"]))
    empty = student.run(scenarios.forward, "SwiGLU", [4, 6], weights, x[:0])
    assert_equal(empty, x[:0], what="SwiGLU of an empty batch")
    trained = {key: 0.5 * value.flip(-1) for key, value in weights.items()}
    actual = student.run(scenarios.forward_again, "SwiGLU", [4, 6], weights, trained, x)
    hint = "weights change in training: keep no copy of them, and do the same in both modes, gradients recorded or not"
    expected = swiglu_truth(trained, x)
    what = "[training, evaluation] after other weights, and both without recorded gradients"
    assert_close(actual, [expected] * 4, what=what, hint=hint, rtol=1e-4, atol=1e-4)
    actual = student.run(scenarios.side_by_side, "SwiGLU", [([4, 6], weights), ([4, 6], trained)], x)
    expected = [swiglu_truth(parameters, x) for parameters in (weights, trained)]
    hint = "each has its own weights, and a copy its own too"
    assert_close(actual, expected * 2, what="the outputs of two layers, then of copies", hint=hint, rtol=1e-4, atol=1e-4)
