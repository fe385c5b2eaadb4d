"""Hidden tests: power laws, operations and the roofline."""

import math

import torch
from torch.utils.flop_counter import FlopCounterMode

from autograder.testing import assert_close, assert_equal, assert_inputs_untouched, assert_refused, exercise
from autograder.testing.hints import called
from autograder.testing.probes import gradients
from autograder.testing.strategies import example, given, leading_shapes, normal, seeds, settings, sizes, st
from solutions.decoder_only import GPTConfig, MiniGPT

from . import scenarios

INF, NAN = math.inf, math.nan
LINE = "the slope of log y against log x is the exponent; exp of the intercept is the coefficient"


def drawn(seed, n, low, high):
    """n numbers whose logarithms are uniform."""
    generator = torch.Generator().manual_seed(seed)
    return torch.empty(n, dtype=torch.float64).uniform_(math.log(low), math.log(high), generator=generator).exp()


# fit_power_law


def line_through(x, y):
    """(coefficient, exponent) by torch's own least squares."""
    log_x, log_y = x.log(), y.log()
    ones = torch.stack([torch.ones_like(log_x), log_x], dim=1)
    intercept, slope = torch.linalg.lstsq(ones, log_y[:, None], driver="gelsd").solution.flatten().tolist()
    return math.exp(intercept), slope


@exercise("fit_power_law", points=2, core=True)
@settings(max_examples=20)
@given(coefficient=st.floats(0.01, 500), exponent=st.floats(-3, 3), n=sizes(2, 9), seed=seeds())
@example(coefficient=7.0, exponent=0.0, n=4, seed=1)
def test_a_power_law_is_found_again(student, coefficient, exponent, n, seed):
    """Points on y = c · x^p give back c and p, rising or falling, from two points on."""
    x = drawn(seed, n, 0.1, 100)
    x[0], x[1] = 0.05, 200.0
    actual = student.fit_power_law(x.tolist(), (coefficient * x**exponent).tolist())
    assert_close(actual, (coefficient, exponent), what="(coefficient, exponent)", hint=LINE, rtol=1e-9, atol=1e-9)


@exercise("fit_power_law", points=2, core=True)
@settings(max_examples=20)
@given(n=sizes(3, 12), exponent=st.floats(-2, 2), seed=seeds())
@example(n=3000, exponent=1.5, seed=1)
def test_scattered_points_get_the_line_of_least_squares(student, n, exponent, seed):
    """All points count alike, and distances are those of log y; x may repeat, whole points too, and come in any order."""
    x = drawn(seed, n, 0.5, 2000)
    x[0] = x[1]
    x[2] = 3.0
    y = x**exponent * normal(seed + 1, n, scale=0.5).exp() * 3
    x, y = torch.cat([x, x[1:2]]), torch.cat([y, y[1:2]])  # one point comes twice
    actual = student.fit_power_law(x.tolist(), y.tolist())
    assert_close(actual, line_through(x, y), what="(coefficient, exponent)", hint=LINE, rtol=1e-8, atol=1e-9)


@exercise("fit_power_law", points=1)
def test_any_positive_numbers_will_do(student):
    """Lists, tuples and tensors, ints beyond 64 bits, float32 and int64, very small and very large values, in any order."""
    huge = [10**21, 2 * 10**22, 5 * 10**24]
    x, y = [1e-12, 1e-3, 1e9], [1e200, 1e180, 1e-250]
    cases = [
        (huge, [3.0, 2.0, 1.5], torch.tensor([float(v) for v in huge], dtype=torch.float64)),
        (torch.tensor([1, 2, 7]), (3, 4, 9), torch.tensor([1.0, 2.0, 7.0], dtype=torch.float64)),
        (torch.tensor([1e4, 1.01e4], dtype=torch.float64), [1.0, 1.001], torch.tensor([1e4, 1.01e4], dtype=torch.float64)),
        (torch.tensor([1e-9, 3e-9], dtype=torch.float64), [2.0, 3.0], torch.tensor([1e-9, 3e-9], dtype=torch.float64)),
        ([1.0, 1.0 + 1e-9], [2.0, 3.0], torch.tensor([1.0, 1.0 + 1e-9], dtype=torch.float64)),
        ((2, 5, 2), [1.0, 2.0, 3.0], torch.tensor([2.0, 5.0, 2.0], dtype=torch.float64)),
        (torch.tensor([1.5, 4.0]), torch.tensor([2.0, 3.0]), torch.tensor([1.5, 4.0], dtype=torch.float64)),
        (x, y, torch.tensor(x, dtype=torch.float64)),
    ]
    for given_x, given_y, plain in cases:
        expected = line_through(plain, torch.tensor([float(v) for v in given_y], dtype=torch.float64))
        actual = student.fit_power_law(given_x, given_y)
        assert_inputs_untouched(student)
        assert_close(actual, expected, what=f"(coefficient, exponent) for x = {given_x}", hint="float64", rtol=1e-6, atol=1e-9)
    for kinds in ((torch.float32, None), (None, torch.float32), (torch.float16, torch.float16), (torch.bfloat16, torch.float64)):
        numbers = torch.tensor([[1.5, 4.0, 7.0], [2.0, 3.0, 3.5]], dtype=torch.float64)
        given_x, given_y = (v.tolist() if kind is None else v.to(kind) for v, kind in zip(numbers, kinds))
        actual = student.fit_power_law(given_x, given_y)
        what = f"(coefficient, exponent) of tensors of {kinds}"
        assert_close(actual, line_through(*numbers), what=what, hint="float64, whatever comes", rtol=1e-10)
    same, _ = student.run(scenarios.lists_untouched, "fit_power_law", [[3.0, 1.0, 2.0], [2.0, 4.0, 1.0]])
    assert_equal(same, True, what="whether the lists x and y are as they were")


@exercise("fit_power_law", points=0.5)
def test_what_has_no_logarithm_is_refused(student):
    """Zero, negative, infinite and undefined numbers, in x or in y, at any place."""
    for bad in (0, 0.0, -1.0, INF, NAN):
        for place in range(3):
            spoilt = [1.0, 2.0, 3.0]
            spoilt[place] = bad
            assert_refused(student.fit_power_law, spoilt, [1.0, 2.0, 3.0], why=f"x has {bad}")
            assert_refused(student.fit_power_law, [1.0, 2.0, 3.0], spoilt, why=f"y has {bad}")
            assert_refused(student.fit_power_law, torch.tensor(spoilt), [1.0, 2.0, 3.0], why=f"x, a tensor, has {bad}")
            assert_refused(student.fit_power_law, [1.0, 2.0, 3.0], torch.tensor(spoilt), why=f"y, a tensor, has {bad}")


@exercise("fit_power_law", points=0.5)
def test_too_little_for_a_line_is_refused(student):
    """One point, none, several with the same x, and lists of different lengths."""
    many = [([v] * k, list(range(1, k + 1))) for v, k in ((0.1, 10), (10.0, 7), (0.7, 11), (3.0, 5))]
    for x, y in (([], []), ([2.0], [3.0]), ([2.0, 2.0], [3.0, 4.0]), ([2, 2.0, 2], [3.0, 3.0, 3.0]), *many):
        assert_refused(student.fit_power_law, x, y, why="there are no two different x")
        assert_refused(student.fit_power_law, torch.tensor(x), torch.tensor(y), why="no two numbers in tensor x differ")
    for x, y in (([1.0, 2.0, 3.0], [1.0, 2.0]), ([1.0, 2.0], [1.0, 2.0, 3.0]), ([1.0, 2.0], [1.0])):
        assert_refused(student.fit_power_law, x, y, why="x and y differ in length")
        assert_refused(student.fit_power_law, torch.tensor(x), torch.tensor(y), why="x and y, tensors, differ in length")


# growth_exponent


@exercise("growth_exponent", points=2, core=True)
@settings(max_examples=12)
@given(power=st.floats(-2, 3.5), factor=st.floats(0.01, 50), n=sizes(2, 7), seed=seeds())
@example(power=-1.0, factor=10.0, n=3, seed=1)
def test_the_exponent_of_a_power_is_its_power(student, power, factor, n, seed):
    """cost(n) = c · n^p gives p, for whole and broken p, for costs that fall, and any sizes."""
    generator = torch.Generator().manual_seed(seed)
    ns = (torch.randperm(500, generator=generator)[:n] + 2).tolist()
    actual, _ = student.run(scenarios.growth, ns, [factor * size**power for size in ns])
    assert_close(actual, float(power), what="the exponent", rtol=1e-9, atol=1e-9, hint="log cost against log size")


@exercise("growth_exponent", points=1, core=True)
@settings(max_examples=12)
@given(n=sizes(3, 8), seed=seeds())
@example(n=300, seed=1)
def test_every_size_pulls_on_the_slope(student, n, seed):
    """Costs that are no pure power get the slope of least squares through all of them."""
    x = torch.arange(1, n + 1).double() * 16
    y = (5 * x**2 + 40 * x * x.log2() + 300).round() * (1 + 0.2 * normal(seed, n).abs())
    actual, _ = student.run(scenarios.growth, x.long().tolist(), y.tolist())
    assert_close(actual, line_through(x, y)[1], what="the exponent", rtol=1e-9, atol=1e-9, hint="use all sizes, not two")


@exercise("growth_exponent", points=1)
def test_the_function_is_called_once_for_each_size(student):
    """With the very ints that were given, in a list or a tuple, a size that comes twice being two points; a counted cost may be
    an int, of any size, or a tensor with one number.
    """
    ns, costs = [64, 8, 32], [64**2, 8**2, 32**2]
    for as_tensors, given_ns in ((False, ns), (True, tuple(ns)), (False, tuple(ns))):
        exponent, calls = student.run(scenarios.growth, given_ns, costs, as_tensors)
        assert_equal(sorted(calls), sorted(ns), what="what the function was called with")
        assert_close(exponent, 2.0, what="the exponent", rtol=1e-9)
    ns = [2, 2, 4, 8]
    costs = [float(n * n + 100) for n in ns]
    exponent, _ = student.run(scenarios.growth, ns, costs)
    slope = line_through(torch.tensor(ns).double(), torch.tensor(costs).double())[1]
    assert_close(exponent, slope, what=f"the exponent of n**2 + 100 for the sizes {ns}", rtol=1e-9, hint="all points count alike")
    exponent, _ = student.run(scenarios.growth, [1, 10**20 + 1], [10**25, 10**45])
    assert_close(exponent, 1.0, what="the exponent of sizes and costs beyond 64 bits", rtol=1e-9)
    exponent = student.run(scenarios.growth_of_cubes, [10**6, 10**9, 10**7])
    hint = "hand the function the very ints of sizes: those of NumPy and PyTorch overflow"
    assert_close(exponent, 3.0, what="the exponent of n**3 for sizes up to 10**9", rtol=1e-9, hint=hint)
    exponents, calls = student.run(scenarios.growth_again, [2, 4, 8])
    assert_close(exponents, [1.0, 2.0, 3.0], what="the exponents of n, n**2 and n**3, one after the other", rtol=1e-9)
    what, hint = "what a function was called with in two calls of growth_exponent", "keep nothing from one call to the next"
    assert_equal(sorted(calls), [2, 2, 4, 4, 8, 8], what=what, hint=hint)


@exercise("growth_exponent", points=1)
def test_a_slope_needs_two_sizes_and_positive_costs(student):
    """One size, the same size twice, a size of 0, a cost of 0 or less, and costs that are no number."""

    def measure(costs):
        return called("growth_exponent", lambda sizes: student.run(scenarios.growth, sizes, costs)[0])

    for ns, costs in (([4], [3.0]), ([], []), ([0, 4], [1.0, 2.0]), ([-2, 4], [1.0, 2.0])):
        assert_refused(measure(costs), sizes=ns, why="there must be two different sizes, all positive")
    for cost in (0, -1.0, INF, NAN):
        assert_refused(measure([1.0, cost, 2.0]), sizes=[2, 4, 8], why=f"function(4) is {cost}")


# transformer_flops


def configs():
    """The attributes of a GPTConfig, every size different in kind."""
    return st.builds(
        lambda vocab, context, layers, heads, head_dim, d_ff, tied: {
            "vocab_size": vocab,
            "context_length": context,
            "n_layers": layers,
            "n_heads": heads,
            "d_model": heads * head_dim,
            "d_ff": d_ff,
            "tie_embeddings": tied,
        },
        sizes(1, 60), sizes(5, 40), sizes(1, 5), sizes(1, 4), sizes(1, 8), sizes(1, 50), st.booleans(),
    )  # fmt: skip


@exercise("transformer_flops", points=4, core=True)
@settings(max_examples=20)
@given(config=configs(), t=sizes(1, 5))
def test_every_product_of_the_forward_pass_is_counted(student, reference, config, t):
    """Two operations a multiply-add: six layers a block, the head, and attention's two products in full."""
    lengths = [t, config["context_length"], 1]
    expected, _ = reference.run(scenarios.flops, config, lengths)
    actual, same = student.run(scenarios.flops, config, lengths)
    hint = "per token 4 d² + 2 d d_ff in each layer and d · vocab in the head; attention's products grow with seq_len²"
    assert_equal(actual, expected, what=f"the flops for sequences of {t}, {lengths[1]} and 1 tokens", hint=hint)
    assert_equal(same, True, what="whether the configuration is as it was")


@exercise("transformer_flops", points=2)
@settings(max_examples=2)
@given(config=configs(), t=sizes(1, 5))
def test_the_count_is_what_pytorch_counts_on_the_model(student, config, t):
    """Equal to FlopCounterMode's on MiniGPT with that configuration, to the last operation."""
    model = MiniGPT(GPTConfig(**config))
    with FlopCounterMode(display=False) as counter:
        model(torch.zeros(1, t, dtype=torch.long))
    assert_equal(student.run(scenarios.flops, config, [t])[0], [counter.get_total_flops()], what="the flops")


@exercise("transformer_flops", points=1)
def test_the_count_is_exact_for_large_models(student, reference):
    """A Python int, where a float would round."""
    large = {"vocab_size": 128_257, "context_length": 2**20 + 1, "n_layers": 127, "n_heads": 128, "d_model": 16_384 + 128}
    large |= {"d_ff": 53_249, "tie_embeddings": True}
    lengths = [2**20 + 1, 8191]
    assert_equal(student.run(scenarios.flops, large, lengths), reference.run(scenarios.flops, large, lengths), what="the flops")


@exercise("transformer_flops", points=1)
def test_lengths_that_the_model_cannot_read_are_refused(student):
    """Less than one token, or more than the context length."""
    small = {"vocab_size": 5, "context_length": 6, "n_layers": 1, "n_heads": 1, "d_model": 4, "d_ff": 3, "tie_embeddings": True}
    count = called("transformer_flops", lambda seq_len: student.run(scenarios.flops, small, [seq_len])[0][0])
    for t in (0, -1, 7, 100):
        assert_refused(count, seq_len=t, why="the context length is 6, and one token is the least")


# training_flops


@exercise("training_flops", points=1, core=True)
@settings(max_examples=10)
@given(n=st.integers(1, 10**12), d=st.integers(1, 10**13))
@example(n=70 * 10**9, d=1_400_000_000_001)
def test_training_takes_six_operations_a_parameter_and_token(student, n, d):
    """Ints give the exact int, beyond 64 bits as well."""
    assert_equal(student.training_flops(n, d), 6 * n * d, what=f"training_flops({n}, {d})")


@exercise("training_flops", points=1)
def test_training_flops_of_floats_and_tensors(student):
    """Floats give a float, tensors broadcast and keep their dtype."""
    flops = student.training_flops(1.5e9, 2.5e11)
    assert_close(flops, 2.25e21, what="training_flops(1.5e9, 2.5e11)", rtol=1e-12)
    assert isinstance(flops, float), f"training_flops(1.5e9, 2.5e11) should be a float, not {type(flops).__name__}"
    assert_close(student.training_flops(3, 0.7), 12.6, what="training_flops(3, 0.7)", rtol=1e-12)
    assert_close(student.training_flops(0.7, 3), 12.6, what="training_flops(0.7, 3)", rtol=1e-12)
    for dtype in (torch.float16, torch.bfloat16, torch.int64):
        few = torch.tensor([[1], [20]], dtype=dtype), torch.tensor([3, 5], dtype=dtype)
        assert_equal(student.training_flops(*few), 6 * few[0] * few[1], what=f"the flops of a {dtype} grid")
    for mixed in ((torch.tensor([10, 3]), torch.tensor([0.5, 1.5])), (torch.tensor([0.5, 1.5]), torch.tensor([10, 3]))):
        what = f"the flops where the tensors are {mixed[0].dtype} and {mixed[1].dtype}"
        assert_close(student.training_flops(*mixed).double(), torch.tensor([30.0, 27.0]).double(), what=what, rtol=1e-6)
    single = torch.tensor(2.0)
    assert_equal(student.training_flops(single, single), torch.tensor(24.0), what="the flops of tensors without dimensions")
    assert_close(student.training_flops(1.25, 0.5), 3.75, what="training_flops(1.25, 0.5)", rtol=1e-12)
    n, d = normal(1, 3, 1).abs() * 1e9, normal(2, 4).abs() * 1e11
    assert_close(student.training_flops(n, d), 6 * n * d, what="the flops of a grid", rtol=1e-12)
    assert_inputs_untouched(student)
    assert_close(student.training_flops(d, d), 6 * d * d, what="the flops of as many models as texts", rtol=1e-12)
    assert_close(student.training_flops(n.float(), 20.0), 120 * n.float(), what="the flops of a float32 tensor", rtol=1e-6)
    assert_close(student.training_flops(20.0, d), 120 * d, what="the flops where n_tokens alone is a tensor", rtol=1e-12)


# arithmetic_intensity


@exercise("arithmetic_intensity", points=3, core=True)
@settings(max_examples=20)
@given(m=sizes(1, 5000), n=sizes(1, 5000), k=sizes(1, 5000), n_bytes=st.sampled_from([1, 2, 4, 8, 16, 0.5, 0.125, 1.3]))
@example(m=1, n=1, k=1, n_bytes=4)
@example(m=1, n=4096, k=2048, n_bytes=2)
@example(m=5, n=4, k=3, n_bytes=0.125)
@example(m=10**7, n=10**8, k=10**6, n_bytes=2)
def test_operations_are_divided_by_the_bytes_of_three_matrices(student, m, n, k, n_bytes):
    """2mnk over the bytes of (m, k), (k, n) and (m, n)."""
    expected = 2 * m * n * k / ((m * k + k * n + m * n) * n_bytes)
    hint = "two matrices are read and one is written, each once"
    actual = student.arithmetic_intensity(m, n, k, n_bytes)
    assert_close(actual, expected, what=f"the intensity of ({m}, {k}) @ ({k}, {n}) in {n_bytes} bytes", hint=hint, rtol=1e-12)
    named = student.arithmetic_intensity(k=k, n=n, m=m)
    assert_close(named, expected * n_bytes / 2, what="the intensity with two bytes an element, the default", rtol=1e-12)


@exercise("arithmetic_intensity", points=1)
def test_products_of_nothing_are_refused(student):
    """A size below 1, or elements of no bytes."""
    for bad in ((0, 3, 3), (3, 0, 3), (3, 3, 0), (-1, 3, 3), (-1, -1, 3), (3, 3, 3, 0), (3, 3, 3, -2)):
        assert_refused(student.arithmetic_intensity, *bad, why="there is no such product")


# roofline


@exercise("roofline", points=1.5, core=True)
@settings(max_examples=20)
@given(intensity=st.floats(0, 1000), peak=st.floats(1, 1e15), bandwidth=st.floats(1, 1e13))
@example(intensity=10.0, peak=100.0, bandwidth=10.0)
@example(intensity=2.0, peak=989e12, bandwidth=3.35e12)
@example(intensity=2000.0, peak=989e12, bandwidth=3.35e12)
@example(intensity=0, peak=1.0, bandwidth=1.0)
@example(intensity=INF, peak=3.0, bandwidth=2.0)
@example(intensity=2.0, peak=INF, bandwidth=3.0)
@example(intensity=2.0, peak=3.0, bandwidth=INF)
def test_the_lower_of_two_roofs(student, intensity, peak, bandwidth):
    """Bandwidth times intensity, up to the peak; numbers give a number."""
    actual = student.roofline(intensity, peak, bandwidth)
    expected = float(min(peak, intensity * bandwidth))
    hint = "the lower of peak and intensity · bandwidth, as exact as Python's numbers are; a tensor of them is float32"
    assert_close(actual, expected, what=f"roofline({intensity}, {peak}, {bandwidth})", hint=hint, rtol=1e-12, atol=0)


@exercise("roofline", points=1.5, core=True)
@settings(max_examples=3)
@given(lead=leading_shapes(), n=sizes(1, 5), seed=seeds())
@example(lead=(2,), n=3, seed=1)
def test_any_of_the_three_may_be_a_tensor(student, lead, n, seed):
    """Tensors broadcast against each other and against numbers; float64 stays as exact as it is."""
    tensors = {
        "intensity": normal(seed, *lead, n).abs() * 3,
        "peak_flops": normal(seed + 1, n).abs() * 1e15 / 3 + 1,
        "bandwidth": normal(seed + 2, *lead, 1).abs() * 1e15 / 7 + 1,
    }
    for which in range(1, 8):
        values = [x if which >> i & 1 else x.flatten()[0].item() for i, x in enumerate(tensors.values())]
        names = [name for i, name in enumerate(tensors) if which >> i & 1]
        for peak in (values[1], values[1] * 1e-9):  # which is below everything
            limits = peak, values[0] * values[2]
            expected = torch.minimum(*torch.broadcast_tensors(*(torch.as_tensor(x, dtype=torch.float64) for x in limits)))
            actual = student.roofline(values[0], peak, values[2])
            assert_close(actual, expected, what=f"the roofline where {', '.join(names)} are tensors", rtol=1e-12, atol=0)
            assert_inputs_untouched(student)


@exercise("roofline", points=0.5)
def test_the_dtype_of_the_roofline(student, reference):
    """float32 and bfloat16 intensities with a machine that is two numbers; where dtypes differ, that of PyTorch's
    arithmetic. Gradients flow.
    """
    for dtype, rtol in ((torch.float32, 1e-6), (torch.bfloat16, 1e-2), (torch.float16, 1e-3)):
        x = torch.tensor([0.5, 3.0, 40.0], dtype=dtype)
        expected = torch.tensor([5.0, 30.0, 100.0], dtype=dtype)
        assert_close(student.roofline(x, 100.0, 10.0), expected, what=f"the roofline of {dtype}", rtol=rtol)
    x, machines = torch.tensor([0.5, 3.0, 40.0]), torch.tensor([100.0, 20.1, 1e30], dtype=torch.float64)
    expected = torch.tensor([5.0, 20.1, 400.0], dtype=torch.float64)
    assert_close(student.roofline(x, machines, 10.0), expected, what="the roofline of float32 with peaks in float64", rtol=1e-9)
    whole = student.roofline(torch.tensor([0, 1, 4]), 10, 3)
    assert_equal(whole, torch.tensor([0, 3, 10]), what="the roofline of whole numbers alone")
    whole = student.roofline(torch.tensor([0, 1, 4]), 10.5, 3)
    assert_close(whole, torch.tensor([0.0, 3.0, 10.5]), what="the roofline of whole intensities with a peak of 10.5", rtol=1e-6)
    actual = student.roofline(x, 100.0, torch.tensor(10.0, dtype=torch.float64))
    what = "the roofline of float32 with a bandwidth in float64 that has no dimensions (a product of the two is float32)"
    assert_close(actual, torch.tensor([5.0, 30.0, 100.0]), what=what, rtol=1e-6)
    for dtype in (torch.float64, torch.bfloat16):
        for intensity, expected in ((4.0, 8.0), (64.0, 100.0)):
            single = student.roofline(torch.tensor(intensity, dtype=dtype), 100.0, 2.0)
            what = f"the roofline of one intensity, {intensity}, a {dtype} tensor without dimensions"
            assert_equal(single, torch.tensor(expected, dtype=dtype), what=what)
    assert_equal(student.roofline(torch.ones(0), 3.0, 2.0), torch.ones(0), what="the roofline of no intensities")
    found, expected = (side.run(gradients, "roofline", [x, 100.0, 10.0])["gradients"] for side in (student, reference))
    assert_close(found, expected, what="the intensity's gradient", hint="gradients flow: do not detach it")


@exercise("roofline", points=0.5)
def test_machines_that_cannot_be_are_refused(student):
    """A negative intensity, a peak or bandwidth of nothing, NaN, in a tensor as well."""
    for bad in ((-1.0, 1.0, 1.0), (1.0, 0.0, 1.0), (1.0, -1.0, 1.0), (1.0, 1.0, 0.0), (1.0, 1.0, -2.0)):
        assert_refused(student.roofline, *bad, why="a number is not positive")
    for place in range(3):
        many = torch.ones(40, 50)
        many[39, 49] = -1.0
        nothing = [torch.tensor([1.0, 0.0]), torch.tensor(0.0)] if place else []
        for spoilt in (NAN, torch.tensor([1.0, NAN]), torch.tensor([1.0, -1.0, 1.0]), torch.tensor(-1.0), many, *nothing):
            values = [1.0, 1.0, 1.0]
            values[place] = spoilt
            assert_refused(student.roofline, *values, why="a number is not positive")
