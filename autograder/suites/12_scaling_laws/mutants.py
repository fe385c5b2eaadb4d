"""Named mistakes: each must fail in its exercise, and each says what a student who made it should read."""

from autograder.testing.variants import edit

SLOPE = "    exponent = (centred @ (log_y - log_y.mean()) / (centred @ centred)).item()\n"
POSITIVE = "    if not all(0 < v < math.inf for v in xs + ys):\n"
TOO_FEW = "    if len(xs) != len(ys) or len(set(xs)) < 2:\n"
RETURNED = "    return math.exp(log_y.mean().item() - exponent * log_x.mean().item()), exponent"
FITTED = "    return fit_power_law(sizes, [function(size) for size in sizes])[1]"
WEIGHTS = "config.n_layers * (4 * d * d + 2 * d * config.d_ff) + config.vocab_size * d"
IN_ATTENTION = "config.n_layers * 2 * t * t * d"
IN_ALL = "    return 2 * (t * weights + attention)"
INTENSITY = "    return 2 * m * n * k / (bytes_per_element * (m * k + k * n + m * n))"
ROOF = "    return torch.where(below, limited, peak_flops) if isinstance(below, Tensor) else min(limited, peak_flops)"
LAW = "    return E + A / n**alpha + B / d**beta"


def swaps(exercise, *rows):
    """Mutants of one exercise by rows (name, old, new, says)."""
    return [edit(name, exercise, says, (old, new)) for name, old, new, says in rows]


MUTANTS = [
    *swaps(
        "fit_power_law",
        (
            "the_intercept_itself",
            RETURNED,
            RETURNED.replace("math.exp(", "("),
            "The intercept of the line is the logarithm of the coefficient: take exp of it.",
        ),
        (
            "exponent_first",
            RETURNED,
            "    return exponent, math.exp(log_y.mean().item() - exponent * log_x.mean().item())",
            "The order is (coefficient, exponent).",
        ),
        (
            "a_line_without_logarithms",
            "dtype=torch.float64).log()",
            "dtype=torch.float64)",
            "A power law is a straight line in the logarithms of x and y, not in x and y.",
        ),
        (
            "only_x_in_logarithms",
            "    centred = log_x - log_x.mean()\n",
            "    log_y = log_y.exp()\n    centred = log_x - log_x.mean()\n",
            "Both axes are logarithmic: take the logarithm of y as well.",
        ),
        (
            "only_y_in_logarithms",
            "    centred = log_x - log_x.mean()\n",
            "    log_x = log_x.exp()\n    centred = log_x - log_x.mean()\n",
            "Both axes are logarithmic: take the logarithm of x as well.",
        ),
        (
            "line_through_the_origin",
            SLOPE,
            "    exponent = (log_x @ log_y / (log_x @ log_x)).item()\n",
            "The line does not go through the origin: centre log x and log y first, or fit an intercept as well.",
        ),
        (
            "slope_the_other_way",
            SLOPE,
            SLOPE.replace("(centred @ centred)", "(log_y - log_y.mean()).square().sum()"),
            "The covariance is divided by the variance of log x, not by that of log y.",
        ),
        (
            "from_the_ends_alone",
            SLOPE,
            "    exponent = ((log_y[-1] - log_y[0]) / (log_x[-1] - log_x[0])).item()\n",
            "The slope comes from the first and the last point alone: least squares counts all points.",
        ),
        (
            "mean_of_the_slopes",
            SLOPE,
            "    order = log_x.argsort()\n    rise, run = log_y[order].diff(), log_x[order].diff()\n"
            "    exponent = (rise / run)[run > 0].mean().item()\n",
            "The mean of the slopes between neighbours is not the slope of least squares.",
        ),
        (
            "through_the_first_point",
            RETURNED,
            "    return math.exp(log_y[0].item() - exponent * log_x[0].item()), exponent",
            "The line of least squares goes through the mean of all points, not through the first one.",
        ),
        (
            "coefficient_of_the_mean",
            RETURNED,
            "    return (torch.tensor(ys, dtype=torch.float64) / torch.tensor(xs, dtype=torch.float64) ** exponent).mean().item(), exponent",
            "The mean of y / x^p is an arithmetic mean; least squares in logarithms gives the geometric one.",
        ),
        (
            "base_ten_and_exp",
            "dtype=torch.float64).log()",
            "dtype=torch.float64).log10()",
            "Logarithms to base 10 are undone by 10**, not by exp.",
        ),
        (
            "line_in_float32",
            "dtype=torch.float64).log()",
            "dtype=torch.float32).log()",
            "Computed in float32, the slope through near points has few digits left: use float64.",
        ),
        (
            "distances_of_y_itself",
            RETURNED,
            "    y, powers = torch.tensor(ys, dtype=torch.float64), torch.tensor(xs, dtype=torch.float64) ** exponent\n"
            "    return (y @ powers / (powers @ powers)).item(), exponent",
            "The coefficient minimises squares of y - c · x^p: the distances are those of the logarithms.",
        ),
        (
            "large_points_count_more",
            SLOPE,
            "    pull = torch.tensor(xs, dtype=torch.float64) / max(xs)\n"
            "    exponent = ((pull * centred) @ (log_y - log_y.mean()) / ((pull * centred) @ centred)).item()\n",
            "All points count alike.",
        ),
        (
            "int64_only",
            "[float(v) for v in x], [float(v) for v in y]",
            "torch.as_tensor(x).tolist(), torch.as_tensor(y).double().tolist()",
            "Python's ints may be larger than 64 bits: make each a float.",
        ),
        (
            "zero_has_a_logarithm",
            POSITIVE,
            "    if not all(0 <= v < math.inf for v in xs + ys):\n",
            "Zero has no logarithm: refuse it.",
        ),
        (
            "x_is_not_looked_at",
            POSITIVE,
            "    if not all(0 < v < math.inf for v in ys):\n",
            "A value of x that is not positive and finite has to be refused, too.",
        ),
        (
            "y_is_not_looked_at",
            POSITIVE,
            "    if not all(0 < v < math.inf for v in xs):\n",
            "A value of y that is not positive and finite has to be refused, too.",
        ),
        (
            "infinite_is_positive",
            POSITIVE,
            "    if not all(0 < v for v in xs + ys):\n",
            "Infinity is positive and lies on no line: refuse it.",
        ),
        (
            "nan_slips_through",
            POSITIVE,
            "    if any(v <= 0 or v == math.inf for v in xs + ys):\n",
            "No comparison with NaN is true: ask for what is allowed, not for what is forbidden.",
        ),
        (
            "bad_points_left_out",
            POSITIVE,
            "    kept = [(u, v) for u, v in zip(xs, ys) if 0 < u < math.inf and 0 < v < math.inf]\n"
            "    xs, ys = [u for u, _ in kept], [v for _, v in kept]\n    if False:\n",
            "Points without a logarithm are dropped in silence: raise a ValueError.",
        ),
        (
            "two_points_are_enough",
            TOO_FEW,
            "    if len(xs) != len(ys) or len(xs) < 2:\n",
            "Two points with the same x have no slope: there must be two different values of x.",
        ),
        (
            "lengths_are_not_compared",
            TOO_FEW,
            "    m = min(len(xs), len(ys))\n    xs, ys = xs[:m], ys[:m]\n    if len(set(xs)) < 2:\n",
            "x and y of different lengths are cut to the shorter one in silence: raise a ValueError.",
        ),
    ),
    *swaps(
        "growth_exponent",
        (
            "the_coefficient_is_returned",
            FITTED,
            FITTED.replace("[1]", "[0]"),
            "The answer is the exponent, and not the coefficient.",
        ),
        (
            "size_against_cost",
            FITTED,
            "    return fit_power_law([function(size) for size in sizes], sizes)[1]",
            "The cost depends on the size, not the other way round: log cost is the vertical axis.",
        ),
        (
            "largest_and_smallest_alone",
            FITTED,
            "    if len(sizes) < 2:\n        raise ValueError('sizes')\n"
            "    ends = [min(sizes), max(sizes)]\n    for size in sizes:\n        function(size) if size not in ends else None\n"
            "    return fit_power_law(ends, [function(size) for size in ends])[1]",
            "The slope comes from two sizes: all of them count.",
        ),
        (
            "called_twice",
            FITTED,
            "    for size in sizes:\n        if not function(size) > 0:\n            raise ValueError('a cost is not positive')\n"
            + FITTED,
            "The function is called once for each size: keep what it returned.",
        ),
        (
            "called_with_floats",
            FITTED,
            FITTED.replace("function(size)", "function(float(size) + 0.0)"),
            "The function gets the very sizes that were given, and those are ints.",
        ),
        (
            "rounded_to_a_whole_power",
            FITTED,
            "    return float(round(fit_power_law(sizes, [function(size) for size in sizes])[1]))",
            "The slope is not rounded: n log n, for example, is no whole power.",
        ),
        (
            "ratio_of_logarithms",
            FITTED,
            "    costs = [function(size) for size in sizes]\n    fit_power_law(sizes, costs)\n"
            "    return sum(math.log(c) / math.log(s) for c, s in zip(costs, sizes) if s > 1) / max(1, sum(s > 1 for s in sizes))",
            "log cost / log size is not the slope: a constant factor changes it.",
        ),
        (
            "cost_of_zero_skipped",
            FITTED,
            "    costs = [function(size) for size in sizes]\n    kept = [i for i, c in enumerate(costs) if c > 0]\n"
            "    return fit_power_law([sizes[i] for i in kept], [costs[i] for i in kept])[1]",
            "A cost that is not positive is left out in silence: raise a ValueError.",
        ),
        (
            "costs_in_a_whole_tensor",
            FITTED,
            "    return fit_power_law(sizes, torch.tensor([function(size) for size in sizes], dtype=torch.int64))[1]",
            "A cost need not be a whole number that fits in 64 bits.",
        ),
        (
            "first_call_warms_up",
            FITTED,
            "    function(sizes[0])\n" + FITTED,
            "Nothing needs warming up when operations are counted: call the function once for each size.",
        ),
    ),
]

MUTANTS += [
    *swaps(
        "transformer_flops",
        (
            "one_for_a_multiply_add",
            IN_ALL,
            "    return t * weights + attention",
            "A multiply-add is two operations.",
        ),
        (
            "head_forgotten",
            WEIGHTS,
            "config.n_layers * (4 * d * d + 2 * d * config.d_ff)",
            "lm_head is a product as well: d_model · vocab_size for each token.",
        ),
        (
            "tied_head_is_free",
            WEIGHTS,
            "config.n_layers * (4 * d * d + 2 * d * config.d_ff) + (0 if config.tie_embeddings else config.vocab_size * d)",
            "A tied head shares its numbers with the embedding and is multiplied all the same: tied or not, it counts.",
        ),
        (
            "head_in_every_layer",
            WEIGHTS,
            "config.n_layers * (4 * d * d + 2 * d * config.d_ff + config.vocab_size * d)",
            "lm_head comes once, after the last block, and not once a layer.",
        ),
        (
            "head_for_the_last_token",
            IN_ALL,
            "    weights -= config.vocab_size * d\n    return 2 * (t * weights + attention + config.vocab_size * d)",
            "lm_head runs at all positions, not at the last one alone.",
        ),
        (
            "embedding_lookup_counted",
            WEIGHTS,
            WEIGHTS + " * 2",
            "Looking up an embedding multiplies nothing: only the head counts, once.",
        ),
        (
            "d_ff_is_four_d",
            WEIGHTS,
            WEIGHTS.replace("config.d_ff", "4 * d"),
            "The feed-forward width is config.d_ff, which need not be 4 · d_model.",
        ),
        (
            "one_feed_forward_layer",
            WEIGHTS,
            WEIGHTS.replace("2 * d * config.d_ff", "d * config.d_ff"),
            "The feed-forward layer has two linear layers: there and back.",
        ),
        (
            "gated_feed_forward",
            WEIGHTS,
            WEIGHTS.replace("2 * d * config.d_ff", "3 * d * config.d_ff"),
            "Three linear layers are those of a gated feed-forward layer; module 05's has two.",
        ),
        (
            "output_projection_forgotten",
            WEIGHTS,
            WEIGHTS.replace("4 * d * d", "3 * d * d"),
            "Attention has four linear layers: q, k, v and the one of the output.",
        ),
        (
            "scores_alone",
            IN_ATTENTION,
            "config.n_layers * t * t * d",
            "Attention makes two products of t² · d: the scores, and the weights with the values.",
        ),
        (
            "half_of_the_scores",
            IN_ATTENTION,
            "config.n_layers * t * (t + 1) * d",
            "The causal mask hides scores, it does not save them: they count in full.",
        ),
        (
            "heads_times_d_model",
            IN_ATTENTION,
            IN_ATTENTION + " * config.n_heads",
            "A head has only d_model / n_heads of the width: all heads together take t² · d_model, not n_heads times that.",
        ),
        (
            "one_head_alone",
            IN_ATTENTION,
            IN_ATTENTION + " // config.n_heads",
            "All heads count: n_heads · head_dim is d_model.",
        ),
        (
            "attention_left_out",
            IN_ALL,
            "    return 2 * t * weights",
            "Attention's own products, q kᵀ and weights · v, count as well.",
        ),
        (
            "attention_once_not_each_layer",
            IN_ATTENTION,
            "2 * t * t * d",
            "Each layer has its attention.",
        ),
        (
            "attention_linear_in_length",
            IN_ATTENTION,
            "config.n_layers * 2 * t * d",
            "Every query meets every key: attention's products grow with seq_len².",
        ),
        (
            "for_one_token",
            IN_ALL,
            "    return 2 * (t * weights + attention) // t",
            "The result is for the whole sequence, not for one of its tokens.",
        ),
        (
            "the_context_length_always",
            "config.d_model, seq_len",
            "config.d_model, config.context_length",
            "The sequence has seq_len tokens, which may be fewer than the context length.",
        ),
        (
            "biases_counted",
            WEIGHTS,
            "config.n_layers * (4 * d * d + 2 * d * config.d_ff + 5 * d + config.d_ff) + config.vocab_size * d",
            "Biases are added, not multiplied: only matrix products count.",
        ),
        (
            "forward_and_backward",
            IN_ALL,
            IN_ALL.replace("2 * (", "6 * ("),
            "Six operations a weight and token are those of training; a forward pass has two.",
        ),
        (
            "a_float_comes_back",
            IN_ALL,
            "    return 2.0 * (t * weights + attention)",
            "A float rounds beyond 2^53: the count is an exact int.",
        ),
        (
            "rounded_through_a_float",
            IN_ALL,
            "    return int(2 * (t * float(weights) + attention))",
            "Somewhere on the way there was a float, and it has rounded: stay with ints, and divide with //.",
        ),
        (
            "any_length_will_do",
            "    if not 1 <= seq_len <= config.context_length:\n",
            "    if not 1 <= seq_len:\n",
            "The model cannot read more than context_length tokens: raise a ValueError.",
        ),
        (
            "no_tokens_at_all",
            "    if not 1 <= seq_len <= config.context_length:\n",
            "    if not 0 <= seq_len <= config.context_length:\n",
            "A sequence has one token at least: refuse 0.",
        ),
        (
            "one_token_less_than_the_context",
            "    if not 1 <= seq_len <= config.context_length:\n",
            "    if not 1 <= seq_len < config.context_length:\n",
            "A sequence may be as long as the context.",
        ),
    ),
    *swaps(
        "training_flops",
        (
            "forward_alone",
            "6 * n_params",
            "2 * n_params",
            "The backward pass takes four operations a weight and token, beside the forward pass's two.",
        ),
        (
            "backward_like_forward",
            "6 * n_params",
            "4 * n_params",
            "The backward pass has two products for each of the forward pass's: by the inputs and by the weights.",
        ),
        (
            "recomputed_activations",
            "6 * n_params",
            "8 * n_params",
            "Eight is with the forward pass run again; here nothing is recomputed.",
        ),
        (
            "a_float_of_training",
            "6 * n_params * n_tokens",
            "6.0 * n_params * n_tokens",
            "Ints give an exact int: a float rounds beyond 2^53.",
        ),
        (
            "cut_to_an_int",
            "6 * n_params * n_tokens",
            "6 * int(n_params) * int(n_tokens)",
            "Floats and tensors are not cut to ints.",
        ),
        (
            "tensors_of_training_in_float32",
            "6 * n_params * n_tokens",
            "6 * n_params * n_tokens if not isinstance(n_params, Tensor) else (6 * n_params.float() * n_tokens)",
            "A tensor's dtype stays: float64 does not become float32.",
        ),
    ),
    *swaps(
        "arithmetic_intensity",
        (
            "half_the_operations",
            INTENSITY,
            INTENSITY.replace("2 * m", "m"),
            "A multiply-add is two operations.",
        ),
        (
            "result_is_not_written",
            INTENSITY,
            INTENSITY.replace(" + m * n)", ")"),
            "The result crosses the bus as well: three matrices, not two.",
        ),
        (
            "one_matrix_is_not_read",
            INTENSITY,
            INTENSITY.replace(" + k * n", ""),
            "The second matrix, (k, n), is read as well.",
        ),
        (
            "result_read_and_written",
            INTENSITY,
            INTENSITY.replace(" + m * n)", " + 2 * m * n)"),
            "The result is written once, and not read.",
        ),
        (
            "elements_for_bytes",
            INTENSITY,
            INTENSITY.replace("(bytes_per_element * (m * k + k * n + m * n))", "(m * k + k * n + m * n)"),
            "The denominator is in bytes: multiply the elements by bytes_per_element.",
        ),
        (
            "bytes_for_each_operation",
            INTENSITY,
            "    return (bytes_per_element * (m * k + k * n + m * n)) / (2 * m * n * k)",
            "The ratio is upside down: operations divided by bytes.",
        ),
        (
            "inner_and_outer_size_swapped",
            INTENSITY,
            INTENSITY.replace("m * k + k * n + m * n", "m * n + n * k + m * n"),
            "The matrices are (m, k), (k, n) and (m, n).",
        ),
        (
            "bytes_multiply_the_operations",
            INTENSITY,
            "    return 2 * m * n * k * bytes_per_element / (m * k + k * n + m * n)",
            "More bytes an element make a lower intensity: they belong into the denominator.",
        ),
        (
            "whole_flops_a_byte",
            INTENSITY,
            INTENSITY.replace("k / (", "k // ("),
            "The intensity is a float: do not cut it.",
        ),
        (
            "four_bytes_by_default",
            "bytes_per_element: float = 2",
            "bytes_per_element: float = 4",
            "The default is two bytes an element, as the signature has it.",
        ),
        (
            "empty_products_allowed",
            "    if min(m, n, k) < 1 or not bytes_per_element > 0:\n",
            "    if min(m, n, k) < 0 or not bytes_per_element > 0:\n",
            "A size of 0 makes no product: refuse it.",
        ),
        (
            "k_is_not_looked_at",
            "    if min(m, n, k) < 1 or",
            "    if min(m, n) < 1 or",
            "k has to be 1 at least as well.",
        ),
        (
            "bytes_are_not_looked_at",
            " or not bytes_per_element > 0:\n",
            ":\n",
            "bytes_per_element has to be positive.",
        ),
        (
            "product_of_the_sizes_is_positive",
            "min(m, n, k) < 1",
            "m * n * k < 1",
            "Two negative sizes have a positive product: look at each.",
        ),
    ),
    *swaps(
        "roofline",
        (
            "the_higher_roof",
            ROOF,
            ROOF.replace("torch.where(below, limited, peak_flops)", "torch.where(below, peak_flops, limited)").replace(
                "min(", "max("
            ),
            "The lower of the two limits holds.",
        ),
        (
            "peak_always",
            ROOF,
            "    return peak_flops + 0 * limited",
            "Below the ridge, memory is the limit: intensity · bandwidth.",
        ),
        (
            "no_peak",
            ROOF,
            "    return limited",
            "Beyond the ridge, the processor is the limit: peak_flops.",
        ),
        (
            "bandwidth_divided",
            "    limited = intensity * bandwidth\n",
            "    limited = intensity / bandwidth\n",
            "Flops a byte times bytes a second are flops a second: multiply.",
        ),
        (
            "ridge_for_the_limit",
            "    limited = intensity * bandwidth\n",
            "    limited = intensity * peak_flops / bandwidth\n",
            "peak_flops / bandwidth is where the ridge is; the sloping roof is intensity · bandwidth.",
        ),
        (
            "a_sum_of_times",
            ROOF,
            "    return 1 / (1 / limited + 1 / peak_flops) if not isinstance(below, Tensor) else torch.where(below, limited, peak_flops)",
            "Memory and arithmetic work at the same time: the slower one sets the pace, their times are not added.",
        ),
        (
            "always_a_tensor",
            ROOF,
            "    return torch.where(torch.as_tensor(below), torch.as_tensor(limited), torch.as_tensor(peak_flops))",
            "Numbers give a Python number, not a tensor.",
        ),
        (
            "a_tensor_in_float32",
            ROOF,
            "    return torch.where(below, limited, peak_flops).float() if isinstance(below, Tensor) else min(limited, peak_flops)",
            "The dtype is the one that PyTorch's own arithmetic gives: float64 stays float64.",
        ),
        (
            "one_peak_for_all",
            ROOF,
            "    return limited.clamp(max=float(torch.as_tensor(peak_flops).max())) if isinstance(below, Tensor) else min(limited, peak_flops)",
            "peak_flops may be a tensor with several machines: each has its own roof.",
        ),
        (
            "only_intensity_is_a_tensor",
            ROOF,
            "    return torch.where(below, limited, peak_flops) if isinstance(intensity, Tensor) else min(limited, peak_flops)",
            "Any of the three may be a tensor.",
        ),
        (
            "whole_roofline_limited_together",
            ROOF,
            "    return (limited if below.all() else torch.broadcast_to(torch.as_tensor(peak_flops, dtype=limited.dtype), limited.shape).clone()) "
            "if isinstance(below, Tensor) else min(limited, peak_flops)",
            "Each entry has its own limit: some may be below the ridge and others beyond.",
        ),
        (
            "no_intensity_refused",
            "intensity >= 0",
            "intensity > 0",
            "An intensity of 0 is allowed: it reaches 0.",
        ),
        (
            "negative_intensity_allowed",
            '("intensity", intensity >= 0)',
            '("intensity", intensity == intensity)',
            "A negative intensity has to be refused.",
        ),
        (
            "nan_goes_through",
            "intensity >= 0",
            "not intensity < 0 if not isinstance(intensity, Tensor) else ~(intensity < 0)",
            "No comparison with NaN is true: ask whether it is at least 0, not whether it is below.",
        ),
        (
            "no_bandwidth_allowed",
            "bandwidth > 0",
            "bandwidth >= 0",
            "A bandwidth of 0 has to be refused.",
        ),
        (
            "no_peak_allowed",
            "peak_flops > 0",
            "peak_flops >= 0",
            "A peak of 0 has to be refused.",
        ),
        (
            "one_good_entry_is_enough",
            "torch.as_tensor(fine).all()",
            "torch.as_tensor(fine).any()",
            "Every entry of a tensor has to be fine, not one of them.",
        ),
        (
            "tensors_are_not_looked_at",
            "not torch.as_tensor(fine).all()",
            "fine is False",
            "The entries of tensors have to be looked at as well.",
        ),
    ),
]

MUTANTS += [
    *swaps(
        "chinchilla_loss",
        (
            "floor_forgotten",
            LAW,
            "    return A / n**alpha + B / d**beta",
            "E is missing: no model gets below the entropy of text.",
        ),
        (
            "exponents_swapped",
            LAW,
            "    return E + A / n**beta + B / d**alpha",
            "alpha belongs to n and beta to d.",
        ),
        (
            "n_and_d_swapped",
            LAW,
            "    return E + A / d**alpha + B / n**beta",
            "n is the number of parameters and goes with A and alpha, d the number of tokens with B and beta.",
        ),
        (
            "growing_with_size",
            LAW,
            "    return E + A * n**alpha + B * d**beta",
            "Larger models are better: divide by the powers.",
        ),
        (
            "one_power_of_the_sum",
            LAW,
            "    return E + (A / n) ** alpha + (B / d) ** beta",
            "Only n and d have an exponent, A and B have none.",
        ),
        (
            "kaplan_form",
            LAW,
            "    return E + ((A / n**alpha) ** (1 / beta) + (B / d**beta) ** (1 / beta)) ** beta",
            "The terms of this law are added as they are.",
        ),
        (
            "attributes_only",
            "    E, A, B, alpha, beta = params\n",
            "    E, A, B, alpha, beta = params.E, params.A, params.B, params.alpha, params.beta\n",
            "params may be any sequence of five numbers: unpack it.",
        ),
        (
            "constants_in_another_order",
            "    E, A, B, alpha, beta = params\n",
            "    E, A, alpha, B, beta = params\n",
            "The order is E, A, B, alpha, beta.",
        ),
        (
            "published_constants_always",
            "    E, A, B, alpha, beta = params\n",
            "    E, A, B, alpha, beta = HOFFMANN\n",
            "The constants are those in params, not always the published ones.",
        ),
        (
            "loss_in_float32",
            LAW,
            "    loss = E + A / n**alpha + B / d**beta\n    return loss.float() if isinstance(loss, Tensor) else loss",
            "The dtype stays: float64 does not become float32.",
        ),
        (
            "loss_without_a_graph",
            LAW,
            "    loss = E + A / n**alpha + B / d**beta\n    return loss.detach() if isinstance(loss, Tensor) else loss",
            "Gradients flow through the loss: do not detach it.",
        ),
    ),
    *swaps(
        "fit_chinchilla",
        (
            "logarithm_of_the_floor_returned",
            "    constants = e.exp(),",
            "    constants = e,",
            "What was fitted is log E: take exp of it.",
        ),
        (
            "centring_not_undone",
            "(a + alpha * middle_n).exp(), (b + beta * middle_d).exp()",
            "a.exp(), b.exp()",
            "log n and log d were centred for the fit: log A is a + alpha · mean(log n), and B likewise.",
        ),
        (
            "centring_undone_the_wrong_way",
            "(a + alpha * middle_n).exp(), (b + beta * middle_d).exp()",
            "(a - alpha * middle_n).exp(), (b - beta * middle_d).exp()",
            "The centring is undone with the wrong sign: log A is a + alpha · mean(log n).",
        ),
        (
            "only_a_few_steps",
            "range(150)",
            "range(6)",
            "The fit stops before it has arrived: without noise, the constants come back to one part in a thousand.",
        ),
        (
            "one_poor_start",
            "    def residuals(theta):\n",
            "    theta = torch.tensor([[5.0, -5.0, 3.0, 3.0, -1.0]], dtype=torch.float64)\n\n    def residuals(theta):\n",
            "There are several valleys: start from many places, and keep the best end.",
        ),
        (
            "squares_instead_of_huber",
            "    delta = 1e-3\n",
            "    delta = 1e9\n",
            "Least squares lets a run that went wrong pull on everything: beyond delta, a residual counts linearly.",
        ),
        (
            "delta_of_a_tenth",
            "    delta = 1e-3\n",
            "    delta = 0.1\n",
            "delta is 0.001; with a larger one, runs that went wrong pull too hard.",
        ),
        (
            "losses_without_logarithms",
            "terms.logsumexp(-1) - log_loss, torch.cat([share, steepness], dim=-1)",
            "terms.logsumexp(-1).exp() - log_loss.exp(), terms.logsumexp(-1).exp()[..., None] * torch.cat([share, steepness], dim=-1)",
            "Residuals are differences of log losses, not of losses.",
        ),
        (
            "no_floor_is_fitted",
            "e.expand(-1, len(x))",
            "e.expand(-1, len(x)) - 60",
            "E is one of the three terms: without it the law has no floor.",
        ),
        (
            "one_exponent_for_both",
            "    constants = e.exp()",
            "    alpha = beta = (alpha + beta) / 2\n    constants = e.exp()",
            "alpha and beta are two constants.",
        ),
        (
            "n_and_d_columns_swapped",
            "log_n, log_d, log_loss = table.log().T",
            "log_d, log_n, log_loss = table.log().T",
            "A run is (n, d, loss) in this order.",
        ),
        (
            "last_run_left_out",
            "    log_n, log_d, log_loss = table.log().T",
            "    log_n, log_d, log_loss = table[:-1].log().T",
            "All runs count.",
        ),
        (
            "one_tensor_comes_back",
            "    return ChinchillaParams(*(value.item() for value in constants))",
            "    return torch.stack(constants)",
            "Five floats come back, in a tuple.",
        ),
        (
            "four_runs_are_enough",
            "len(table) < 5",
            "len(table) < 4",
            "Five constants need five runs: raise a ValueError for fewer.",
        ),
        (
            "bad_runs_give_nan",
            "    if len(table) < 5 or not ((table > 0) & table.isfinite()).all():\n",
            "    if len(table) < 5:\n",
            "A number that is not positive and finite has no place in a fit: raise a ValueError.",
        ),
        (
            "infinite_runs_allowed",
            "((table > 0) & table.isfinite()).all()",
            "(table > 0).all()",
            "Infinity is positive and has no place in a fit: raise a ValueError.",
        ),
        (
            "only_losses_are_checked",
            "((table > 0) & table.isfinite()).all()",
            "((table > 0) & table.isfinite())[:, 2:].all()",
            "n and d have to be positive and finite as well.",
        ),
        (
            "bad_runs_left_out",
            "    if len(table) < 5 or not ((table > 0) & table.isfinite()).all():\n",
            "    table = table[((table > 0) & table.isfinite()).all(1)] if len(table) else table\n    if len(table) < 5:\n",
            "Runs with impossible numbers are dropped in silence: raise a ValueError.",
        ),
        (
            "always_the_published_constants",
            "    a, b, e, alpha, beta = theta[huber(r).argmin()]\n",
            "    return HOFFMANN\n    a, b, e, alpha, beta = theta[huber(r).argmin()]\n",
            "The constants come from the runs, and not from the paper.",
        ),
        (
            "default_dtype_changed",
            "    slopes = torch.tensor(",
            "    torch.set_default_dtype(torch.float64)\n    slopes = torch.tensor(",
            "The default dtype is everybody's: pass dtype=torch.float64 instead.",
        ),
        (
            "random_starts_from_the_global_state",
            "    slopes = torch.tensor(",
            "    torch.rand(3)\n    slopes = torch.tensor(",
            "The global random state is everybody's: use a generator of your own, or a grid.",
        ),
    ),
    *swaps(
        "compute_optimal",
        (
            "exponents_of_n_and_d_swapped",
            "(beta / (alpha + beta))\n",
            "(alpha / (alpha + beta))\n",
            "n grows with c to the power of beta / (alpha + beta), and d with alpha / (alpha + beta).",
        ),
        (
            "G_upside_down",
            "(alpha * A / (beta * B)) **",
            "(beta * B / (alpha * A)) **",
            "G is (alpha A / (beta B))^(1 / (alpha + beta)): it is upside down.",
        ),
        (
            "G_without_exponents",
            "(alpha * A / (beta * B)) **",
            "(A / B) **",
            "The derivative brings alpha and beta down as factors: G has alpha A over beta B.",
        ),
        (
            "G_without_its_root",
            " ** (1 / (alpha + beta))\n",
            "\n",
            "G is a power of 1 / (alpha + beta).",
        ),
        (
            "c_is_n_times_d",
            "(c / 6) ** (beta / (alpha + beta))\n    return n, c / 6 / n",
            "c ** (beta / (alpha + beta))\n    return n, c / n",
            "c = 6 n d: the six is missing.",
        ),
        (
            "six_forgotten_in_d",
            "    return n, c / 6 / n",
            "    return n, c / n",
            "6 n d is c: divide by six for d as well.",
        ),
        (
            "six_forgotten_in_n",
            "G * (c / 6) **",
            "G * c **",
            "n comes from c / 6, not from c.",
        ),
        (
            "G_in_both",
            "    return n, c / 6 / n",
            "    return n, G * (c / 6) ** (alpha / (alpha + beta))",
            "d is divided by G, so that 6 n d = c.",
        ),
        (
            "half_and_half",
            "    n = G * (c / 6) ** (beta / (alpha + beta))\n",
            "    n = G * (c / 6) ** 0.5\n",
            "n and d grow alike only where alpha equals beta.",
        ),
        (
            "d_comes_first",
            "    return n, c / 6 / n",
            "    return c / 6 / n, n",
            "The order is (n, d).",
        ),
        (
            "twenty_tokens_a_parameter",
            "    n = G * (c / 6) ** (beta / (alpha + beta))\n",
            "    n = (c / 120) ** 0.5\n",
            "Twenty tokens a parameter is a rule of thumb; here the five constants decide.",
        ),
        (
            "optimum_for_published_constants",
            "    E, A, B, alpha, beta = params\n",
            "    E, A, B, alpha, beta = HOFFMANN\n",
            "The constants are those in params.",
        ),
        (
            "whole_parameters",
            "    return n, c / 6 / n",
            "    n = n if isinstance(n, Tensor) else float(round(n))\n    return n, c / 6 / n",
            "Nothing is rounded.",
        ),
        (
            "the_floor_is_spent_too",
            "G * (c / 6) **",
            "G / (1 + E / 100) * (c / 6) **",
            "E does not depend on n or d, and so the best place does not depend on E.",
        ),
        (
            "no_budget_allowed",
            "torch.as_tensor(c > 0)",
            "torch.as_tensor(c >= 0)",
            "A budget of 0 has to be refused.",
        ),
        (
            "one_budget_is_enough",
            "torch.as_tensor(c > 0).all()",
            "torch.as_tensor(c > 0).any()",
            "Every budget in a tensor has to be positive.",
        ),
        (
            "budgets_are_not_looked_at",
            "    if not torch.as_tensor(c > 0).all():\n",
            "    if False:\n",
            "A budget that is not positive has to be refused.",
        ),
        (
            "budgets_in_float64",
            "    return n, c / 6 / n",
            "    d = c / 6 / n\n    return (n.double(), d.double()) if isinstance(c, Tensor) else (n, d)",
            "A tensor's dtype stays.",
        ),
        (
            "numbers_become_tensors",
            "    return n, c / 6 / n",
            "    return torch.as_tensor(n), torch.as_tensor(c / 6 / n)",
            "A number as budget gives two floats.",
        ),
        (
            "budget_changed_in_place",
            "    n = G * (c / 6) ** (beta / (alpha + beta))\n    return n, c / 6 / n",
            "    c /= 6\n    n = G * c ** (beta / (alpha + beta))\n    return n, c / n",
            "c /= 6 writes into the tensor of whoever called: make a new one.",
        ),
    ),
]
