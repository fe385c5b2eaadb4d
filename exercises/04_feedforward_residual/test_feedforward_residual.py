"""Public tests: examples by hand, PyTorch's own functions as oracle, and a few properties."""

import math
from itertools import combinations, pairwise

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from autograder.testing import assert_close, assert_equal, assert_refused, exercise
from autograder.testing.hints import called
from autograder.testing.strategies import given, normal, seeds, settings, sizes, st


def output(module, name, arguments, weights, x, **options):
    """The output of a layer of the module under test, with these weights."""
    layer = getattr(module, name)(*arguments).to(x.dtype)
    parameters = dict(layer.named_parameters())
    for key, value in weights.items():
        if key not in parameters:
            raise AttributeError(f"{name} has no parameter called {key}; it has {', '.join(parameters) or 'none'}")
        with torch.no_grad():
            parameters[key].copy_(value)
    return layer(x, **options)


def parameter_shapes(module, name, arguments):
    """The names and shapes of a layer's parameters."""
    layer = getattr(module, name)(*arguments)
    return {key: list(value.shape) for key, value in layer.named_parameters()}


def input_gradient(module, name, arguments, x):
    """The gradient of the sum of squares of the layer's output by x."""
    layer = getattr(module, name)(*arguments).to(x.dtype)
    x = x.clone().requires_grad_()
    layer(x).square().sum().backward()
    return x.grad


# gelu


@exercise("gelu")
@pytest.mark.parametrize("approximate", ["none", "tanh"])
def test_gelu_agrees_with_pytorch(student, approximate):
    x = torch.linspace(-6, 6, 41, dtype=torch.float64)
    actual = student.gelu(x, approximate)
    hint = "erf(x / sqrt(2)) in the exact form; tanh(sqrt(2 / pi) * (x + 0.044715 x³)) in the other"
    assert_close(actual, F.gelu(x, approximate=approximate), what=f"gelu(x, {approximate!r})", hint=hint)


@exercise("gelu")
def test_gelu_is_zero_at_zero_and_exact_by_default(student):
    x = torch.tensor([0.0, 1.0, -1.0, 50.0, -50.0], dtype=torch.float64)
    phi = 0.8413447460685429  # the probability that a standard normal variable is below 1
    expected = torch.tensor([0.0, phi, phi - 1, 50.0, 0.0], dtype=torch.float64)
    assert_close(student.gelu(x), expected, what="gelu([0, 1, -1, 50, -50])")


@exercise("gelu")
def test_gelu_refuses_a_misspelt_approximation(student):
    assert_refused(student.gelu, torch.zeros(2), "Tanh", why='approximate is "none" or "tanh"')


# LayerNorm


@exercise("LayerNorm")
def test_layer_norm_by_hand(student):
    x = torch.tensor([[1.0, 3.0, 1.0, 3.0], [10.0] * 4], dtype=torch.float64)
    actual = student.run(output, "LayerNorm", [4, 0.0625], {}, x)  # mean 2, variance 1: divide by sqrt(1.0625)
    size = 1 / math.sqrt(1.0625)
    expected = torch.tensor([[-size, size, -size, size], [0.0] * 4], dtype=torch.float64)
    what = "LayerNorm of [[1, 3, 1, 3], [10, 10, 10, 10]] with eps 0.0625"
    assert_close(actual, expected, what=what, hint="the mean is 2, the variance 1: divide by sqrt(1 + eps)")


@exercise("LayerNorm")
@settings(max_examples=10)
@given(seed=seeds(), d=sizes(1, 6))
def test_layer_norm_agrees_with_pytorch(student, seed, d):
    draw = torch.Generator().manual_seed(seed)
    x, weight, bias = normal(draw, 3, 4, d), normal(draw, d), normal(draw, d)
    actual = student.run(output, "LayerNorm", [d], {"weight": weight, "bias": bias}, x)
    hint = "(x - mean) / sqrt(var + eps) * weight + bias, with mean and variance of the last dimension"
    assert_close(actual, F.layer_norm(x, (d,), weight, bias), what="LayerNorm(x)", hint=hint, atol=1e-9)


@exercise("LayerNorm")
def test_layer_norm_survives_large_half_precision_values(student, generator):
    x = normal(generator, 4, 16, dtype=torch.float16, scale=500.0)
    actual = student.run(output, "LayerNorm", [16], {}, x)
    assert actual.dtype == torch.float16, f"a float16 input gave {actual.dtype}"
    overflow = "500² is more than float16 can hold: normalise in float32, then cast back"
    hint = "" if actual.isfinite().all() and actual.any() else overflow
    truth = F.layer_norm(x.double(), (16,))
    assert_close(actual.double(), truth, what="LayerNorm(x) in float16", hint=hint, rtol=6e-3, atol=6e-3)


@exercise("LayerNorm")
def test_layer_norm_refuses_another_width(student):
    layer_norm = called("LayerNorm(4)", lambda x: student.run(output, "LayerNorm", [4], {}, x))
    for shape in ((2, 3), (2, 1)):
        assert_refused(layer_norm, torch.ones(shape), why=f"d_model is 4 and x has shape {shape}")


# layer_norm_backward


@exercise("layer_norm_backward")
@settings(max_examples=10)
@given(seed=seeds(), d=sizes(1, 6), lead=st.sampled_from([(), (3,), (2, 3)]))
def test_backward_agrees_with_autograd(student, seed, d, lead):
    draw = torch.Generator().manual_seed(seed)
    x, weight, grad_output = normal(draw, *lead, d), normal(draw, d), normal(draw, *lead, d)
    leaves = [t.clone().requires_grad_() for t in (x, weight, torch.zeros_like(weight))]
    truth = torch.autograd.grad(F.layer_norm(leaves[0], (d,), *leaves[1:]), leaves, grad_output)
    actual = student.layer_norm_backward(grad_output, x, weight, 1e-5)
    if not isinstance(actual, tuple | list) or len(actual) != 3:
        assert_close(actual, truth, what="(dx, dweight, dbias)", hint="three results, as the docstring says", atol=1e-9)
    hints = {
        "dx": "x moves y directly, through the mean and through the variance",
        "dweight": "grad_output * x̂, summed over all leading dimensions",
        "dbias": "grad_output, summed over all leading dimensions",
    }
    for (name, hint), found, wanted in zip(hints.items(), actual, truth):
        assert_close(found, wanted, what=name, hint=hint, atol=1e-9)


@exercise("layer_norm_backward")
def test_a_constant_shift_of_x_costs_nothing(student, generator):
    x, weight, grad_output = normal(generator, 5, 8), normal(generator, 8), normal(generator, 5, 8)
    dx, _, _ = student.layer_norm_backward(grad_output, x, weight, 1e-5)
    zero = torch.zeros(5, dtype=torch.float64)
    hint = "adding the same number to all of x changes nothing, so each row of dx sums to 0"
    assert_close(dx.sum(-1), zero, what="the sum of each row of dx", hint=hint, atol=1e-9)


# RMSNorm


@exercise("RMSNorm")
def test_rms_norm_by_hand(student):
    x = torch.tensor([[3.0, 4.0], [0.0, 0.0]], dtype=torch.float64)
    actual = student.run(output, "RMSNorm", [2, 0.0], {"weight": torch.tensor([1.0, 2.0])}, x[:1])
    rms = math.sqrt(12.5)
    expected = torch.tensor([[3 / rms, 8 / rms]], dtype=torch.float64)
    assert_close(actual, expected, what="RMSNorm of [3, 4] with weight [1, 2]", hint="the mean of the squares is 12.5")
    assert_close(student.run(output, "RMSNorm", [2], {}, x[1:]), x[1:], what="RMSNorm of a row of zeros")


@exercise("RMSNorm")
def test_rms_norm_agrees_with_pytorch(student, generator):
    x, weight = normal(generator, 2, 3, 5), normal(generator, 5)
    actual = student.run(output, "RMSNorm", [5], {"weight": weight}, x)
    assert_close(actual, F.rms_norm(x, (5,), weight, 1e-6), what="RMSNorm(x)", hint="x / sqrt(mean(x²) + eps) * weight")


@exercise("RMSNorm")
def test_rms_norm_has_a_finite_gradient_at_zero(student):
    gradient = student.run(input_gradient, "RMSNorm", [3], torch.zeros(2, 3, dtype=torch.float64))
    assert_close(gradient, torch.zeros(2, 3, dtype=torch.float64), what="the gradient at a row of zeros")


# FeedForward


@exercise("FeedForward")
def test_feed_forward_by_hand(student):
    weights = {
        "w_in.weight": torch.tensor([[1.0], [-1.0]]),
        "w_in.bias": torch.tensor([0.0, 1.0]),
        "w_out.weight": torch.tensor([[2.0, 3.0]]),
        "w_out.bias": torch.tensor([5.0]),
    }
    x = torch.tensor([[2.0], [-2.0]])  # hidden: [2, -1] and [-2, 3]; after relu: [2, 0] and [0, 3]
    actual = student.run(output, "FeedForward", [1, 2, "relu"], weights, x)
    expected = torch.tensor([[9.0], [14.0]])
    assert_close(actual, expected, what="FeedForward of [[2], [-2]]", hint="w_out(relu(w_in(x)))")


@exercise("FeedForward")
def test_feed_forward_names_its_parameters(student):
    expected = {"w_in.weight": [8, 3], "w_in.bias": [8], "w_out.weight": [3, 8], "w_out.bias": [3]}
    assert_equal(
        student.run(parameter_shapes, "FeedForward", [3, 8]), expected, what="the parameters of FeedForward(3, 8)"
    )


@exercise("FeedForward")
@pytest.mark.parametrize("activation", ["gelu", "gelu_tanh"])
def test_feed_forward_uses_gelu(student, activation):
    one = {"w_in.weight": torch.ones(1, 1), "w_in.bias": torch.zeros(1)}
    one |= {"w_out.weight": torch.ones(1, 1), "w_out.bias": torch.zeros(1)}
    x = torch.linspace(-3, 3, 9, dtype=torch.float64).unsqueeze(-1)
    actual = student.run(output, "FeedForward", [1, 1, activation], one, x)
    expected = F.gelu(x, approximate="tanh" if activation == "gelu_tanh" else "none")
    hint = f"w_out({activation}(w_in(x))); \"gelu\" is the exact form"
    assert_close(actual, expected, what=f"FeedForward(1, 1, {activation!r}) with weights of 1", hint=hint)


@exercise("FeedForward")
def test_feed_forward_refuses_an_unknown_activation(student):
    feed_forward = called("FeedForward", lambda *sizes: student.run(parameter_shapes, "FeedForward", list(sizes)))
    assert_refused(feed_forward, 2, 4, "swish", why="there is no such activation")


# SwiGLU


@exercise("SwiGLU")
def test_swiglu_by_hand(student):
    weights = {"w_gate.weight": [[1.0]], "w_in.weight": [[2.0]], "w_out.weight": [[3.0]]}
    x = torch.tensor([[2.0], [-1.0]], dtype=torch.float64)
    actual = student.run(output, "SwiGLU", [1, 1], {key: torch.tensor(value) for key, value in weights.items()}, x)
    expected = 3 * (x * torch.sigmoid(x)) * (2 * x)
    assert_close(actual, expected, what="SwiGLU with weights 1, 2, 3", hint="w_out(silu(w_gate(x)) * w_in(x))")


@exercise("SwiGLU")
def test_swiglu_names_its_parameters(student):
    expected = {"w_gate.weight": [8, 3], "w_in.weight": [8, 3], "w_out.weight": [3, 8]}
    assert_equal(student.run(parameter_shapes, "SwiGLU", [3, 8]), expected, what="the parameters of SwiGLU(3, 8)")


# TransformerBlock

ENCODER_NAMES = {  # PyTorch's encoder layer: our names
    "self_attn.in_proj_weight": ["attention.w_q.weight", "attention.w_k.weight", "attention.w_v.weight"],
    "self_attn.in_proj_bias": ["attention.w_q.bias", "attention.w_k.bias", "attention.w_v.bias"],
    "self_attn.out_proj.weight": ["attention.w_o.weight"],
    "self_attn.out_proj.bias": ["attention.w_o.bias"],
    "linear1.weight": ["feed_forward.w_in.weight"],
    "linear1.bias": ["feed_forward.w_in.bias"],
    "linear2.weight": ["feed_forward.w_out.weight"],
    "linear2.bias": ["feed_forward.w_out.bias"],
    "norm1.weight": ["norm_1.weight"],
    "norm1.bias": ["norm_1.bias"],
    "norm2.weight": ["norm_2.weight"],
    "norm2.bias": ["norm_2.bias"],
}


def encoder_layer(generator, d, n_heads, d_ff, norm_first):
    """PyTorch's own block with random weights, and these weights under our names."""
    options = {"activation": "gelu", "batch_first": True, "norm_first": norm_first, "dtype": torch.float64}
    layer = nn.TransformerEncoderLayer(d, n_heads, d_ff, dropout=0.0, **options)
    weights = {}
    for name, ours in ENCODER_NAMES.items():
        parameter = layer.get_parameter(name)
        with torch.no_grad():
            parameter.copy_(normal(generator, *parameter.shape, scale=0.7))
        weights |= zip(ours, parameter.detach().chunk(len(ours)))
    return layer, weights


@exercise("TransformerBlock")
@pytest.mark.parametrize("norm_first", [True, False])
@pytest.mark.parametrize("masked", [False, True])
def test_the_block_agrees_with_pytorchs_encoder_layer(student, generator, norm_first, masked):
    layer, weights = encoder_layer(generator, 6, 2, 10, norm_first)
    x = normal(generator, 2, 5, 6)
    mask = torch.ones(5, 5, dtype=torch.bool).tril() if masked else None
    expected = layer(x, src_mask=~mask if masked else None).detach()
    actual = student.run(output, "TransformerBlock", [6, 2, 10, norm_first], weights, x, mask=mask)
    hint = "pre-norm: x + f(norm(x)); post-norm: norm(x + f(x)); pass mask=mask on to the attention"
    assert_close(actual, expected, what=f"TransformerBlock(norm_first={norm_first})(x)", hint=hint, atol=1e-9)


@exercise("TransformerBlock")
def test_the_block_names_its_parts(student):
    shapes = student.run(parameter_shapes, "TransformerBlock", [4, 2, 8])
    parts = sorted({name.split(".")[0] for name in shapes})
    assert_equal(parts, ["attention", "feed_forward", "norm_1", "norm_2"], what="the parts of TransformerBlock")


# memoize


def count_calls(module, calls):
    """Results of a memoized function, how often it ran, and its [hits, misses]."""
    ran = []

    @module.memoize
    def describe(*args, **kwargs):
        """Describe the arguments."""
        ran.append(1)
        return None if args == ("nothing",) else f"{args} {sorted(kwargs.items())}"

    results = [describe(*args, **kwargs) for args, kwargs in calls]
    if not hasattr(describe, "cache_info"):
        return results, len(ran), None, getattr(describe, "__name__", "")
    info = describe.cache_info()
    if hasattr(info, "hits"):
        counts = [info.hits, info.misses]
    else:
        counts = [info["hits"], info["misses"]] if isinstance(info, dict) else list(info)[:2]
    return results, len(ran), counts, describe.__name__


def fibonacci(module, n):
    """The n-th Fibonacci number by memoized recursion, and how often the function ran."""
    ran = []

    @module.memoize
    def number(i):
        ran.append(i)
        return i if i < 2 else number(i - 1) + number(i - 2)

    return number(n), len(ran)


def call_with_a_list(module):
    """Call a memoized function with a list."""
    return module.memoize(len)([1, 2, 3])


@exercise("memoize")
def test_equal_calls_run_once(student):
    calls = [([1], {}), ([1], {}), ([2], {}), ([], {"a": 1, "b": 2}), ([], {"b": 2, "a": 1}), ([1], {})]
    results, ran, counts, name = student.run(count_calls, calls)
    expected = [f"{tuple(args)} {sorted(kwargs.items())}" for args, kwargs in calls]
    assert_equal(results, expected, what="the results")
    assert_equal(ran, 3, what="how often the function ran", hint="f(a=1, b=2) and f(b=2, a=1) are the same call")
    assert counts is not None, "the decorated function has no cache_info: set it as an attribute of the function you return"
    assert_equal(counts, [3, 3], what="[hits, misses]")
    assert_equal(name, "describe", what="the decorated function's name", hint="functools.wraps")


@exercise("memoize")
def test_none_is_a_result_too(student):
    results, ran, _, _ = student.run(count_calls, [(["nothing"], {}), (["nothing"], {})])
    assert_equal(results, [None, None], what="the results of two calls that give None")
    assert_equal(ran, 1, what="how often the function ran", hint="None in the memory is not 'not there'")


@exercise("memoize")
def test_memoized_recursion_is_fast(student):
    value, ran = student.run(fibonacci, 60)
    assert_equal(value, 1548008755920, what="a memoized fibonacci(60)")
    hint = "its recursive calls are answered from the memory, too: 0 to 60, each once"
    assert_equal(ran, 61, what="how often the function ran for fibonacci(60)", hint=hint)


@exercise("memoize")
def test_a_list_cannot_be_remembered(student):
    assert_refused(called("memoize(len)", lambda _: student.run(call_with_a_list)), [1, 2, 3], why="a list cannot be hashed")


# residual_path_counts


@exercise("residual_path_counts")
@pytest.mark.parametrize("n, expected", [(0, [1]), (1, [1, 1]), (2, [1, 2, 1]), (4, [1, 4, 6, 4, 1])])
def test_small_stacks_by_hand(student, n, expected):
    hint = "each layer is walked through or walked around"
    assert_equal(student.residual_path_counts(n), expected, what=f"residual_path_counts({n})", hint=hint)


@exercise("residual_path_counts")
def test_there_are_two_to_the_n_paths(student):
    counts = student.residual_path_counts(100)
    assert isinstance(counts, list | tuple), f"residual_path_counts(100) should be a list of 101 ints, and is {counts!r:.60}"
    total = sum(counts)
    hint = "exact Python ints" if isinstance(total, float) or total > 2**60 else ""
    assert_equal(total, 2**100, what="the sum of residual_path_counts(100)", hint=hint)


@exercise("residual_path_counts")
def test_a_negative_depth_is_refused(student):
    assert_refused(student.residual_path_counts, -1, why="n_layers is negative")


# optimal_checkpoints


@exercise("optimal_checkpoints")
@pytest.mark.parametrize(
    "costs, n_segments, boundaries, peak",
    [([1, 2, 3], 1, [0, 3], 6), ([9, 1, 1, 1, 9], 3, [0, 1, 4, 5], 9), ([5, 5], 2, [0, 1, 2], 5), ([], 2, [0], 0)],
)
def test_small_splits_by_hand(student, costs, n_segments, boundaries, peak):
    actual = student.optimal_checkpoints(costs, n_segments)
    assert_equal(actual, (boundaries, peak), what=f"optimal_checkpoints({costs}, {n_segments})")


@exercise("optimal_checkpoints")
@settings(max_examples=20)
@given(costs=st.lists(st.integers(0, 9), min_size=1, max_size=6), n_segments=st.integers(1, 4))
def test_no_other_split_is_better(student, costs, n_segments):
    n = len(costs)
    splits = [[0, *cuts, n] for used in range(min(n_segments, n)) for cuts in combinations(range(1, n), used)]
    peaks = {tuple(split): max(sum(costs[a:b]) for a, b in pairwise(split)) for split in splits}
    result = student.optimal_checkpoints(costs, n_segments)
    said = f"optimal_checkpoints({costs}, {n_segments}) should be (boundaries, peak), and is {result!r:.60}"
    assert isinstance(result, tuple | list) and len(result) == 2 and isinstance(result[0], tuple | list), said
    boundaries, peak = result
    assert_equal(peak, min(peaks.values()), what=f"the peak for costs {costs} in at most {n_segments} segments")
    problem = f"{list(boundaries)} is not a split of {n} layers into at most {n_segments} segments with peak {peak}"
    assert peaks.get(tuple(boundaries)) == peak, problem


@exercise("optimal_checkpoints")
def test_senseless_arguments_are_refused(student):
    assert_refused(student.optimal_checkpoints, [1, 2], 0, why="n_segments is below 1")
    assert_refused(student.optimal_checkpoints, [1, -2], 1, why="a cost is negative")
