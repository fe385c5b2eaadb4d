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
HELD = (
    "    held = [[chunk.clone() for chunk in own] for own in chunks]\n"
    "    for step in range(p - 1):\n"
    "        received = exchange([held[r][(r - step) % p] for r in range(p)])\n"
    "        for r in range(p):\n"
    "            held[r][(r - step - 1) % p] += received[r]\n"
    "    for step in range(p - 1):  # rank r now owns the sum of chunk r + 1\n"
    "        received = exchange([held[r][(r + 1 - step) % p] for r in range(p)])\n"
    "        for r in range(p):\n"
    "            held[r][(r - step) % p] = received[r]\n"
    "    return held\n"
)


FILLED = "            p.grad = torch.zeros_like(p) if p.grad is None else p.grad\n"


PLACED = (
    'parent, _, name = path.rpartition(".")\n'
    "        if name.isdigit():\n"
    "            model.get_submodule(parent)[int(name)] = {0}[layer]\n"
    "        else:\n"
    "            replace(model, path, {0}[layer])"
)


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
            "line_through_the_origin",
            SLOPE,
            "    exponent = (log_x @ log_y / (log_x @ log_x)).item()\n",
            "The line does not go through the origin: centre log x and log y first, or fit an intercept as well.",
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
            "coefficient_of_the_mean",
            RETURNED,
            "    return (torch.tensor(ys, dtype=torch.float64) / torch.tensor(xs, dtype=torch.float64) ** "
            "exponent).mean().item(), exponent",
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
            "ratio_of_logarithms",
            FITTED,
            "    costs = [function(size) for size in sizes]\n    fit_power_law(sizes, costs)\n"
            "    return sum(math.log(c) / math.log(s) for c, s in zip(costs, sizes) if s > 1) / max(1, sum(s > 1 for "
            "s in sizes))",
            "log cost / log size is not the slope: a constant factor changes it.",
        ),
        (
            "cost_of_zero_skipped",
            FITTED,
            "    costs = [function(size) for size in sizes]\n    kept = [i for i, c in enumerate(costs) if c > 0]\n"
            "    return fit_power_law([sizes[i] for i in kept], [costs[i] for i in kept])[1]",
            "A cost that is not positive is left out in silence: raise a ValueError.",
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
            "attention_left_out",
            IN_ALL,
            "    return 2 * t * weights",
            "Attention's own products, q kᵀ and weights · v, count as well.",
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
            "a_float_comes_back",
            IN_ALL,
            "    return 2.0 * (t * weights + attention)",
            "A float rounds beyond 2^53: the count is an exact int.",
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
            "a_float_of_training",
            "6 * n_params * n_tokens",
            "6.0 * n_params * n_tokens",
            "Ints give an exact int: a float rounds beyond 2^53.",
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
            "bytes_are_not_looked_at",
            " or not bytes_per_element > 0:\n",
            ":\n",
            "bytes_per_element has to be positive.",
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
            "always_a_tensor",
            ROOF,
            "    return torch.where(torch.as_tensor(below), torch.as_tensor(limited), torch.as_tensor(peak_flops))",
            "Numbers give a Python number, not a tensor.",
        ),
        (
            "a_tensor_in_float32",
            ROOF,
            "    return torch.where(below, limited, peak_flops).float() if isinstance(below, Tensor) else "
            "min(limited, peak_flops)",
            "The dtype is the one that PyTorch's own arithmetic gives: float64 stays float64.",
        ),
        (
            "one_peak_for_all",
            ROOF,
            "    return limited.clamp(max=float(torch.as_tensor(peak_flops).max())) if isinstance(below, Tensor) else "
            "min(limited, peak_flops)",
            "peak_flops may be a tensor with several machines: each has its own roof.",
        ),
        (
            "only_intensity_is_a_tensor",
            ROOF,
            "    return torch.where(below, limited, peak_flops) if isinstance(intensity, Tensor) else min(limited, peak_flops)",
            "Any of the three may be a tensor.",
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
            "only_a_few_steps",
            "range(150)",
            "range(6)",
            "The fit stops before it has arrived: without noise, the constants come back to one part in a thousand.",
        ),
        (
            "squares_instead_of_huber",
            "    delta = 1e-3\n",
            "    delta = 1e9\n",
            "Least squares lets a run that went wrong pull on everything: beyond delta, a residual counts linearly.",
        ),
        (
            "losses_without_logarithms",
            "terms.logsumexp(-1) - log_loss, torch.cat([share, steepness], dim=-1)",
            "terms.logsumexp(-1).exp() - log_loss.exp(), terms.logsumexp(-1).exp()[..., None] * torch.cat([share, "
            "steepness], dim=-1)",
            "Residuals are differences of log losses, not of losses.",
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
            "always_the_published_constants",
            "    a, b, e, alpha, beta = theta[huber(r).argmin()]\n",
            "    return HOFFMANN\n    a, b, e, alpha, beta = theta[huber(r).argmin()]\n",
            "The constants come from the runs, and not from the paper.",
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
            "G_in_both",
            "    return n, c / 6 / n",
            "    return n, G * (c / 6) ** (alpha / (alpha + beta))",
            "d is divided by G, so that 6 n d = c.",
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
            "whole_parameters",
            "    return n, c / 6 / n",
            "    n = n if isinstance(n, Tensor) else float(round(n))\n    return n, c / 6 / n",
            "Nothing is rounded.",
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
            "budgets_in_float64",
            "    return n, c / 6 / n",
            "    d = c / 6 / n\n    return (n.double(), d.double()) if isinstance(c, Tensor) else (n, d)",
            "A tensor's dtype stays.",
        ),
        (
            "budget_changed_in_place",
            "    n = G * (c / 6) ** (beta / (alpha + beta))\n    return n, c / 6 / n",
            "    c /= 6\n    n = G * c ** (beta / (alpha + beta))\n    return n, c / n",
            "c /= 6 writes into the tensor of whoever called: make a new one.",
        ),
    ),
]

MUTANTS += [
    *swaps(
        "LoRALinear",
        (
            "lora_not_scaled",
            "        self.scale = alpha / rank\n",
            "        self.scale = 1.0\n",
            "The update is scaled by alpha / rank.",
        ),
        (
            "scaled_by_alpha_alone",
            "        self.scale = alpha / rank\n",
            "        self.scale = alpha\n",
            "The scale is alpha / rank, so that alpha need not be tuned anew for another rank: the division is missing.",
        ),
        (
            "scaled_by_the_root_of_the_rank",
            "        self.scale = alpha / rank\n",
            "        self.scale = alpha / rank**0.5\n",
            "The scale of this course is alpha / rank, without a root.",
        ),
        (
            "scale_rounded_down",
            "        self.scale = alpha / rank\n",
            "        self.scale = alpha // rank\n",
            "alpha / rank is no whole number: // cuts it off.",
        ),
        (
            "lora_b_is_random",
            "base.weight.new_zeros(n_out, rank)",
            "base.weight.new_empty(n_out, rank).normal_(std=0.02, generator=generator)",
            "lora_b starts at zero, so that the layer starts as base.",
        ),
        (
            "lora_a_is_zero_too",
            "base.weight.new_empty(rank, n_in).normal_(std=n_in**-0.5, generator=generator)",
            "base.weight.new_zeros(rank, n_in)",
            "With both matrices at zero neither ever gets a gradient: lora_a starts random.",
        ),
        (
            "standard_normal_lora_a",
            "normal_(std=n_in**-0.5,",
            "normal_(",
            "The standard deviation of lora_a is 1 / sqrt(in_features), not 1.",
        ),
        (
            "variance_for_standard_deviation",
            "std=n_in**-0.5,",
            "std=1 / n_in,",
            "1 / in_features is the variance; the standard deviation is its root.",
        ),
        (
            "uniform_lora_a",
            ".normal_(std=n_in**-0.5, generator=generator)",
            ".uniform_(-((3 / n_in) ** 0.5), (3 / n_in) ** 0.5, generator=generator)",
            "lora_a is drawn from a normal distribution, not from a uniform one.",
        ),
        (
            "generator_is_ignored",
            "std=n_in**-0.5, generator=generator",
            "std=n_in**-0.5",
            "Draw from the generator that is passed; the global random state is for when there is none.",
        ),
        (
            "global_seed_is_set",
            "        self.scale = alpha / rank\n",
            "        self.scale = alpha / rank\n        torch.manual_seed(0)\n",
            "torch.manual_seed changes the random state of everybody.",
        ),
        (
            "same_numbers_without_a_generator",
            "        self.scale = alpha / rank\n",
            "        self.scale = alpha / rank\n        generator = generator or torch.Generator().manual_seed(0)\n",
            "Without a generator the numbers come from the global random state, and two layers differ.",
        ),
        (
            "base_is_not_frozen",
            "base.requires_grad_(False)",
            "base",
            "base is frozen: its parameters require no gradients.",
        ),
        (
            "bias_is_not_frozen",
            "        self.base = base.requires_grad_(False)\n",
            "        self.base = base\n        base.weight.requires_grad_(False)\n",
            "base's bias is frozen, too.",
        ),
        (
            "base_is_copied",
            "base.requires_grad_(False)",
            "copy.deepcopy(base).requires_grad_(False)",
            "base is the very layer that was given, not a copy: a large model has no room for two.",
        ),
        (
            "lora_in_float32",
            "base.weight.new_empty(rank, n_in)",
            "torch.empty(rank, n_in)",
            "lora_a and lora_b have base's dtype: take them from base.weight, by new_empty and new_zeros.",
        ),
        (
            "lora_a_the_other_way",
            "base.weight.new_empty(rank, n_in)",
            "base.weight.new_empty(n_in, rank)",
            "lora_a is (rank, in_features).",
        ),
        (
            "scale_is_a_parameter",
            "        self.scale = alpha / rank\n",
            "        self.scale = nn.Parameter(torch.tensor(alpha / rank, dtype=base.weight.dtype))\n",
            "lora_a and lora_b are the only parameters beside base's: the scale is a number.",
        ),
        (
            "scale_is_a_buffer",
            "        self.scale = alpha / rank\n",
            "        self.register_buffer('scale', torch.tensor(alpha / rank, dtype=base.weight.dtype))\n",
            "There are no buffers: a scale in the state_dict is one key too many.",
        ),
        (
            "update_forgotten",
            "self.base(x) + self.scale * (x @ self.lora_a.mT @ self.lora_b.mT)",
            "self.base(x)",
            "The update is never added.",
        ),
        (
            "bias_of_base_forgotten",
            "self.base(x) + self.scale * (x @",
            "F.linear(x, self.base.weight) + self.scale * (x @",
            "base has a bias: call base, which adds it.",
        ),
        (
            "whole_update_formed",
            "self.scale * (x @ self.lora_a.mT @ self.lora_b.mT)",
            "self.scale * (x @ (self.lora_b @ self.lora_a).mT)",
            "B A is as large as base's weight: multiply x by A first, then by B.",
        ),
        (
            "base_cuts_the_graph",
            "return self.base(x) +",
            "return self.base(x.detach()) +",
            "base is frozen, and x is not: gradients flow through base to x.",
        ),
        (
            "a_gets_no_gradient",
            "x @ self.lora_a.mT @",
            "x @ self.lora_a.detach().mT @",
            "lora_a is to be trained as well.",
        ),
        (
            "merged_weight_not_scaled",
            "self.base.weight + self.scale *",
            "self.base.weight + 1 *",
            "The merged weight has the scaled update.",
        ),
        (
            "merged_into_base",
            "        return self.base.weight + self.scale * (self.lora_b @ self.lora_a)\n",
            "        with torch.no_grad():\n            return self.base.weight.add_(self.scale * (self.lora_b @ self.lora_a))\n",
            "merged_weight changes base, and the update is in it twice: make a new tensor.",
        ),
        (
            "merged_weight_is_the_update",
            "return self.base.weight + self.scale *",
            "return self.scale *",
            "merged_weight is base's weight and the update.",
        ),
        (
            "merged_bias_forgotten",
            "        merged = copy.deepcopy(self.base)\n",
            "        merged = nn.Linear(self.base.in_features, self.base.out_features, False, dtype=self.base.weight.dtype)\n",
            "The merged layer has base's bias.",
        ),
        (
            "merged_bias_always",
            "            merged.weight.copy_(self.merged_weight())\n",
            "            merged.weight.copy_(self.merged_weight())\n            if merged.bias is None:\n"
            "                merged.bias = nn.Parameter(merged.weight.new_zeros(len(merged.weight)))\n",
            "A base without a bias gives a merged layer without one.",
        ),
        (
            "merged_bias_is_shared",
            "            merged.weight.copy_(self.merged_weight())\n",
            "            merged.weight.copy_(self.merged_weight())\n            merged.bias = self.base.bias\n",
            "The merged layer shares its bias with base: copy it.",
        ),
        (
            "merge_gives_base_itself",
            "        merged = copy.deepcopy(self.base)\n",
            "        merged = self.base\n",
            "merge writes into base, and the layer then has its update twice: make a new layer.",
        ),
        (
            "merged_in_float32",
            "        return merged\n",
            "        return merged.float()\n",
            "The merged layer has base's dtype.",
        ),
        (
            "merged_once_and_remembered",
            "        return self.base.weight + self.scale * (self.lora_b @ self.lora_a)\n",
            "        if not hasattr(self, 'kept'):\n            self.kept = (self.base.weight + self.scale * "
            "(self.lora_b @ self.lora_a)).detach()\n        return self.kept.clone()\n",
            "The merged weight was kept from the first call: lora_a and lora_b may have changed since.",
        ),
        (
            "merge_empties_the_update",
            "        return merged\n",
            "        with torch.no_grad():\n            self.lora_b.zero_()\n        return merged\n",
            "merge leaves the layer as it is.",
        ),
        (
            "rank_of_zero_allowed",
            "not isinstance(rank, int) or rank < 1",
            "not isinstance(rank, int) or rank < 0",
            "A rank of 0 has to be refused.",
        ),
        (
            "broken_rank_rounded",
            '            raise ValueError(f"rank must be a positive whole number, got {rank!r}")\n',
            "            rank = int(rank)\n            if rank < 1:\n                raise ValueError('rank')\n",
            "A broken rank is cut to a whole one in silence: refuse it.",
        ),
        (
            "frozen_before_it_is_refused",
            "        if not isinstance(rank, int)",
            "        base.requires_grad_(False)\n        if not isinstance(rank, int)",
            "base is frozen although the rank was refused: look at the arguments first.",
        ),
        (
            "any_base_will_do",
            "        if not isinstance(base, nn.Linear):\n",
            "        if not hasattr(base, 'weight'):\n",
            "Only an nn.Linear can be a base: an embedding has a weight as well.",
        ),
    ),
    *swaps(
        "inject_lora",
        (
            "names_found_inside_paths",
            "name in names and not",
            "any(n in path for n in names) and not",
            "A name is the last part of a path, and not any piece of it.",
        ),
        (
            "ends_of_paths",
            "name in names and not",
            "path.endswith(tuple(names)) and not",
            "The whole last part of the path has to be the name: w_q is not x_w_q.",
        ),
        (
            "whole_paths_match",
            "name in names and not",
            "(name in names or path in names) and not",
            "Names are the last parts of paths; a whole path is none.",
        ),
        (
            "only_children_of_the_model",
            "    for path, layer in model.named_modules(remove_duplicate=False):\n        parent,",
            "    for path, layer in model.named_children():\n        parent,",
            "Layers lie deep in the model: walk over named_modules.",
        ),
        (
            "each_layer_once",
            "    for path, layer in model.named_modules(remove_duplicate=False):\n        parent,",
            "    for path, layer in model.named_modules():\n        parent,",
            "named_modules leaves out the second path of a shared layer unless remove_duplicate=False.",
        ),
        (
            "an_update_for_each_path",
            "        replace(model, path, adapters[layer])\n",
            "        replace(model, path, LoRALinear(layer, rank, alpha, generator))\n",
            "A shared layer gets one LoRALinear, which stands at all of its paths.",
        ),
        (
            "nothing_is_frozen",
            "    model.requires_grad_(False)\n",
            "",
            "All else has to be frozen.",
        ),
        (
            "only_linear_layers_frozen",
            "    model.requires_grad_(False)\n",
            "    for m in model.modules():\n        if isinstance(m, nn.Linear):\n            m.requires_grad_(False)\n",
            "Embeddings, norms and single parameters are to be frozen, too.",
        ),
        (
            "updates_frozen_with_the_rest",
            "            module.lora_a.requires_grad_(), module.lora_b.requires_grad_()\n",
            "            pass\n",
            "Freezing the model after the injection freezes the updates as well.",
        ),
        (
            "earlier_updates_frozen",
            "    for module in model.modules():\n",
            "    for module in adapters.values():\n",
            "The updates of an earlier injection are to be trained as well.",
        ),
        (
            "base_wrapped_again",
            " and not isinstance(model.get_submodule(parent), LoRALinear)",
            "",
            "The base of a LoRALinear is not wrapped again.",
        ),
        (
            "nothing_found_is_fine",
            "    if not found:\n        raise ValueError(f\"no linear layer of the model is called {' or '.join(names)}\")\n",
            "",
            "Where nothing matches a name was misspelt: raise a ValueError.",
        ),
        (
            "frozen_before_anything_was_found",
            "    found = {}\n",
            "    found = {}\n    model.requires_grad_(False)\n",
            "The model was frozen although nothing matched: look first.",
        ),
        (
            "paths_in_alphabetical_order",
            "    return list(found)",
            "    return sorted(found)",
            "The paths are in the order of named_modules.",
        ),
        (
            "alpha_is_ignored",
            "LoRALinear(layer, rank, alpha, generator)",
            "LoRALinear(layer, rank, rank, generator)",
            "alpha has to be passed on.",
        ),
        (
            "generator_is_not_passed_on",
            "LoRALinear(layer, rank, alpha, generator)",
            "LoRALinear(layer, rank, alpha)",
            "The generator has to be passed on.",
        ),
        (
            "every_layer_the_same_draws",
            "LoRALinear(layer, rank, alpha, generator)",
            "LoRALinear(layer, rank, alpha, generator and generator.manual_seed(generator.initial_seed()))",
            "Every layer has the same lora_a: the generator goes on from layer to layer.",
        ),
        (
            "layers_copied_on_the_way",
            "LoRALinear(layer, rank, alpha, generator)",
            "LoRALinear(copy.deepcopy(layer), rank, alpha, generator)",
            "Each base is the very layer that was in the model.",
        ),
        (
            "embeddings_and_norms_too",
            "isinstance(layer, nn.Linear) and name",
            "hasattr(layer, 'weight') and name",
            "Only linear layers are replaced.",
        ),
        (
            "replaced_under_its_name_at_the_top",
            "        replace(model, path, adapters[layer])\n",
            "        setattr(model, path.rpartition('.')[2], adapters[layer])\n",
            "The layer is replaced where it hangs: on the module that the rest of the path leads to.",
        ),
    ),
    *swaps(
        "merge_lora",
        (
            "only_at_the_top",
            "model.named_modules(remove_duplicate=False) if path",
            "model.named_children() if path",
            "LoRALinears lie deep in the model: walk over named_modules.",
        ),
        (
            "second_paths_left",
            "model.named_modules(remove_duplicate=False) if path",
            "model.named_modules() if path",
            "named_modules leaves out the second path of a shared layer unless remove_duplicate=False.",
        ),
        (
            "a_layer_for_each_path",
            "replace(model, path, plain[layer])",
            "replace(model, path, layer.merge())",
            "A LoRALinear that two paths share was merged once for each: keep a dict from it to the plain layer.",
        ),
        (
            "learned_updates_lost",
            "replace(model, path, plain[layer])",
            "replace(model, path, layer.base)",
            "The base alone comes back, and what was learned is lost.",
        ),
        (
            "merged_into_the_base",
            "plain = {layer: layer.merge() for layer in dict.fromkeys(found.values())}",
            "plain = {layer: layer.base for layer in dict.fromkeys(found.values())}\n    for layer in plain:\n        "
            "layer.base.weight.data += layer.scale * (layer.lora_b @ layer.lora_a).data",
            "The base may be tied to another layer, which then changes as well: put a new layer in.",
        ),
        (
            "nothing_to_merge_is_fine",
            "    if not found:\n",
            "    if False:\n",
            "A model without a LoRALinear has to be refused.",
        ),
        (
            "paths_of_merging_once_a_layer",
            "    return list(found)",
            "    return [p for p, m in model.named_modules() if p in found]",
            "Every path comes back, the second ones of a shared layer as well.",
        ),
    ),
]

MUTANTS += [
    *swaps(
        "quantize_int8",
        (
            "one_scale_for_all_rows",
            "weight.abs().amax(-1, keepdim=True) / 127",
            "weight.abs().amax(-1, keepdim=True) * 0 + weight.abs().max() / 127",
            "Each row has a scale of its own: one large weight would cost all other rows their digits.",
        ),
        (
            "divided_by_128",
            "keepdim=True) / 127",
            "keepdim=True) / 128",
            "The largest weight becomes 127, so the scale is max |w| / 127.",
        ),
        (
            "largest_without_its_sign",
            "weight.abs().amax(",
            "weight.amax(",
            "The largest absolute value decides: the most negative weight may be the largest.",
        ),
        (
            "range_for_the_largest",
            "weight.abs().amax(-1, keepdim=True) / 127",
            "(weight.amax(-1, keepdim=True) - weight.amin(-1, keepdim=True)) / 254",
            "Half the range is the scale of an asymmetric code; this one is symmetric around zero.",
        ),
        (
            "cut_off_instead_of_rounded",
            ".round().clamp(",
            ".trunc().clamp(",
            "q is the nearest whole number: .to(torch.int8) alone, or trunc, cuts off.",
        ),
        (
            "halves_go_away_from_zero",
            "(weight / torch.where(scale > 0, scale, 1)).round()",
            "(weight / torch.where(scale > 0, scale, 1)).abs().add(0.5).floor() * weight.sign()",
            "Halves go to the even number, not away from zero.",
        ),
        (
            "a_little_added_to_the_scale",
            "keepdim=True) / 127",
            "keepdim=True).add(1e-3) / 127",
            "A constant added to the scale spoils rows of small weights: look for zeros instead.",
        ),
        (
            "scale_is_infinite_for_zeros",
            "    return q.to(torch.int8), scale",
            "    return q.to(torch.int8), torch.where(scale > 0, scale, math.inf)",
            "The scale of a row of zeros is finite.",
        ),
        (
            "scale_without_its_dimension",
            "    return q.to(torch.int8), scale",
            "    return q.to(torch.int8), scale.squeeze(-1)",
            "scale is (..., 1), so that q · scale broadcasts.",
        ),
        (
            "scale_comes_first",
            "    return q.to(torch.int8), scale",
            "    return scale, q.to(torch.int8)",
            "The order is (q, scale).",
        ),
        (
            "q_is_still_a_float",
            "    return q.to(torch.int8), scale",
            "    return q, scale",
            "q is int8: floats save nothing.",
        ),
        (
            "half_precision_stays_half",
            "weight if weight.dtype == torch.float64 else weight.float()",
            "weight",
            "Half precision is too coarse to compute the scale in: widen to float32 first.",
        ),
        (
            "everything_in_float32",
            "weight if weight.dtype == torch.float64 else weight.float()",
            "weight.float()",
            "float64 weights are computed in float64.",
        ),
        (
            "everything_in_float64",
            "weight if weight.dtype == torch.float64 else weight.float()",
            "weight.double()",
            "The scale is float32, unless the weight is float64.",
        ),
        (
            "weights_changed_in_place",
            "(weight / torch.where(scale > 0, scale, 1))",
            "weight.div_(torch.where(scale > 0, scale, 1))",
            "div_ writes into the weight of whoever called.",
        ),
        (
            "only_nan_is_refused",
            "not weight.isfinite().all()",
            "weight.isnan().any()",
            "Infinity has to be refused as well.",
        ),
        (
            "only_infinity_is_refused",
            "not weight.isfinite().all()",
            "weight.isinf().any()",
            "NaN has to be refused as well.",
        ),
        (
            "matrices_only",
            "    scale = weight",
            "    n_rows, n_columns = weight.shape\n    scale = weight",
            "weight may have any leading dimensions, or none.",
        ),
    ),
    *swaps(
        "ring_all_reduce",
        (
            "summed_and_copied",
            HELD,
            "    return [[sum(own[c] for own in chunks) + 0 for c in range(p)] for _ in range(p)]\n",
            "A sum over all ranks that nobody sent: a rank knows its own chunks and what arrives through exchange.",
        ),
        (
            "one_step_too_few",
            "    for step in range(p - 1):\n        received = exchange([held[r][(r - step) % p]",
            "    for step in range(p - 2):\n        received = exchange([held[r][(r - step) % p]",
            "Adding up takes p - 1 steps: a chunk has to pass all other ranks.",
        ),
        (
            "never_handed_out",
            "    for step in range(p - 1):  # rank r",
            "    for step in range(0):  # rank r",
            "After adding up each rank has one whole sum: the second phase hands them out.",
        ),
        (
            "handing_out_adds",
            "            held[r][(r - step) % p] = received[r]\n",
            "            held[r][(r - step) % p] += received[r]\n",
            "In the second phase what arrives is a whole sum and takes the place of the partial one.",
        ),
        (
            "adding_up_replaces",
            "            held[r][(r - step - 1) % p] += received[r]\n",
            "            held[r][(r - step - 1) % p] = received[r]\n",
            "In the first phase a rank adds its own chunk to what arrives.",
        ),
        (
            "the_same_chunk_again",
            "exchange([held[r][(r - step) % p] for",
            "exchange([held[r][r] for",
            "In each step a rank sends on what it has just added to, not its first chunk again.",
        ),
        (
            "added_to_the_wrong_chunk",
            "held[r][(r - step - 1) % p] += received[r]",
            "held[r][(r - step) % p] += received[r]",
            "What arrives is the chunk that the left neighbour sent: (r - 1 - step) mod p.",
        ),
        (
            "handing_out_begins_one_off",
            "exchange([held[r][(r + 1 - step) % p] for",
            "exchange([held[r][(r - step) % p] for",
            "After adding up rank r has the whole sum of chunk r + 1, and that is what it sends first.",
        ),
        (
            "messages_from_the_right",
            "held[r][(r - step - 1) % p] += received[r]",
            "held[r][(r - step - 1) % p] += received[(r + 1) % p]",
            "What exchange returns holds at r what rank r received: do not turn it once more.",
        ),
        (
            "whole_vectors_travel",
            HELD,
            "    total = [[chunk.clone() for chunk in own] for own in chunks]\n    moving = [torch.cat([c.flatten() "
            "for c in own]) for own in chunks]\n"
            "    for _ in range(p - 1):\n        moving = exchange(moving)\n        for r in range(p):\n"
            "            for c, piece in enumerate(moving[r].split([x.numel() for x in chunks[r]])):\n                "
            "total[r][c] += piece.view(chunks[r][c].shape)\n    return total\n",
            "Each rank sends its whole vector p - 1 times: p / 2 times as much as the ring that sends chunks.",
        ),
        (
            "one_chunk_an_exchange",
            "        received = exchange([held[r][(r - step) % p] for r in range(p)])\n",
            "        received = [exchange([held[r][(r - step) % p] for r in range(p)])[r] for r in range(p)]\n",
            "All ranks send at the same time: one exchange a step.",
        ),
        (
            "own_network",
            "        received = exchange([held[r][(r - step) % p] for r in range(p)])\n",
            "        received = pass_on([held[r][(r - step) % p] for r in range(p)])\n",
            "The network that was passed is the one to use.",
        ),
        (
            "chunks_written_into",
            "    held = [[chunk.clone() for chunk in own] for own in chunks]\n",
            "    held = [list(own) for own in chunks]\n",
            "+= writes into the chunks of whoever called: clone them first.",
        ),
        (
            "chunks_kept_by_a_single_rank",
            "    held = [[chunk.clone() for chunk in own] for own in chunks]\n",
            "    held = [[chunk.clone() for chunk in own] for own in chunks] if p > 1 else [list(own) for own in chunks]\n",
            "The result of a single rank shares memory with its chunks: clone them.",
        ),
        (
            "a_mean",
            "    return held\n",
            "    return [[chunk / p for chunk in own] for own in held]\n",
            "The result is the sum, not the mean.",
        ),
        (
            "vectors_put_together",
            "    return held\n",
            "    return [torch.cat([c.flatten() for c in own]) for own in held]\n",
            "Result [r][c] is chunk c at rank r: the chunks stay apart.",
        ),
        (
            "equal_chunks_assumed",
            "    for step in range(p - 1):\n        received = exchange([held[r][(r - step) % p]",
            "    held = [list(torch.stack(own)) for own in held]\n    for step in range(p - 1):\n        received = "
            "exchange([held[r][(r - step) % p]",
            "Chunks may differ in size.",
        ),
        (
            "no_ranks_allowed",
            "p == 0 or any(",
            "any(",
            "No ranks at all have to be refused.",
        ),
        (
            "number_of_chunks_not_compared",
            "shape != shapes[0] or len(shape) != p for",
            "shape != shapes[0] for",
            "Each rank holds as many chunks as there are ranks: refuse anything else.",
        ),
        (
            "sizes_for_shapes",
            "[[chunk.shape for chunk in own] for own in chunks]",
            "[[chunk.numel() for chunk in own] for own in chunks]",
            "As many numbers in another shape are not the same chunk.",
        ),
    ),
    *swaps(
        "column_parallel_linear",
        (
            "weight_cut_along_in",
            "zip(weight.tensor_split(n_shards), biases, strict=True)",
            "zip(weight.mT.tensor_split(n_shards), biases, strict=True)",
            "weight (out, in) is cut along out, its rows.",
        ),
        (
            "whole_bias_for_each",
            "bias.tensor_split(n_shards)",
            "[bias] * n_shards",
            "Each shard gets its own stretch of the bias.",
        ),
        (
            "column_bias_forgotten",
            "F.linear(x, rows, part)",
            "F.linear(x, rows)",
            "The bias is missing.",
        ),
        (
            "chunks_rounded_up",
            "weight.tensor_split(n_shards), biases",
            "[*weight.split(-(-len(weight) // n_shards)), *[weight[:0]] * n_shards][:n_shards], biases",
            "Rounded up, the last shards get less or nothing: the first out % n_shards have one row more, as with tensor_split.",
        ),
        (
            "rest_at_the_end",
            "weight.tensor_split(n_shards), biases",
            "weight.split([len(weight) // n_shards] * (n_shards - 1) + [len(weight) - len(weight) // n_shards * "
            "(n_shards - 1)]), biases",
            "What does not come out even goes to the first shards, one row each, and not to the last one.",
        ),
        (
            "shards_put_together",
            "biases, strict=True)]",
            "biases, strict=True)] and F.linear(x, weight, bias)",
            "Each device keeps its own shard: a list comes back.",
        ),
        (
            "whole_layer_then_cut",
            "    return [F.linear(x, rows, part) for rows, part in zip(weight.tensor_split(n_shards), biases, strict=True)]",
            "    return list(F.linear(x, weight, bias).tensor_split(n_shards, dim=-1))",
            "No tensor holds all outputs: cut the weight, not the result.",
        ),
        (
            "column_graph_cut",
            "F.linear(x, rows, part)",
            "F.linear(x.detach(), rows, part)",
            "Gradients flow to x.",
        ),
        (
            "column_bias_detached",
            "bias.tensor_split(n_shards)",
            "bias.detach().tensor_split(n_shards)",
            "Gradients flow to the bias: detach and .data cut it off.",
        ),
        (
            "more_shards_than_rows",
            "1 <= n_shards <= len(weight)",
            "1 <= n_shards",
            "A shard without an output has to be refused.",
        ),
        (
            "as_many_shards_as_rows_refused",
            "1 <= n_shards <= len(weight)",
            "1 <= n_shards < len(weight)",
            "As many shards as outputs are allowed.",
        ),
        (
            "no_shards",
            "1 <= n_shards <= len(weight)",
            "n_shards <= len(weight)",
            "n_shards has to be 1 at least.",
        ),
    ),
    *swaps(
        "row_parallel_linear",
        (
            "row_bias_forgotten",
            "    return total if bias is None else total + bias",
            "    return total",
            "The bias is missing.",
        ),
        (
            "mean_of_the_partial_outputs",
            "    return total if bias is None",
            "    total = total / len(xs)\n    return total if bias is None",
            "Partial outputs are added, not averaged.",
        ),
        (
            "equal_widths_assumed",
            "weight.split(widths, dim=1)",
            "weight.tensor_split(len(xs), dim=1)",
            "The weight is cut to fit the shards, which may differ in width.",
        ),
        (
            "widths_in_rising_order",
            "    partial = [",
            "    xs, widths = sorted(xs, key=lambda x: x.shape[-1]), sorted(widths)\n    partial = [",
            "The shards are in order: the first one meets the first columns.",
        ),
        (
            "inputs_put_together",
            "    partial = [F.linear(x, columns) for x, columns in zip(xs, weight.split(widths, dim=1), "
            "strict=True)]\n    total = sum(partial[1:], start=partial[0])  # the all-reduce\n",
            "    total = F.linear(torch.cat(list(xs), dim=-1), weight)\n",
            "No tensor holds all inputs: multiply each shard by its columns, and add up.",
        ),
        (
            "last_partial_output_alone",
            "sum(partial[1:], start=partial[0])",
            "partial[-1]",
            "The result is the sum of all partial outputs.",
        ),
        (
            "partial_outputs_side_by_side",
            "sum(partial[1:], start=partial[0])",
            "torch.cat(partial, dim=-1)",
            "Partial outputs are whole outputs: add them, instead of putting them side by side.",
        ),
        (
            "row_graph_cut",
            "F.linear(x, columns) for",
            "F.linear(x.detach(), columns) for",
            "Gradients flow to the shards.",
        ),
        (
            "row_bias_detached",
            "total + bias",
            "total + bias.detach()",
            "Gradients flow to the bias.",
        ),
        (
            "widths_unchecked",
            "    if not widths or sum(widths) != weight.shape[1]:\n",
            "    widths[-1:] = [weight.shape[1] - sum(widths[:-1])]\n    if False:\n",
            "Widths that do not add up have to be refused.",
        ),
    ),
]

MUTANTS += [
    *swaps(
        "average_gradients",
        (
            "sum_for_the_mean",
            "        bucket /= dist.get_world_size(group)\n",
            "",
            "all_reduce adds up: divide by the number of processes.",
        ),
        (
            "divided_before_and_after",
            "        dist.all_reduce(bucket, group=group)\n",
            "        bucket /= dist.get_world_size(group)\n        dist.all_reduce(bucket, group=group)\n",
            "The sum is divided twice.",
        ),
        (
            "default_group_always",
            "dist.all_reduce(bucket, group=group)",
            "dist.all_reduce(bucket)",
            "The group that was passed has to be passed on.",
        ),
        (
            "size_of_the_default_group",
            "dist.get_world_size(group)",
            "dist.get_world_size()",
            "The number of processes is that of the group.",
        ),
        (
            "missing_gradients_skipped",
            "        if p.requires_grad:\n",
            "        if p.requires_grad and p.grad is not None:\n",
            "A process that skips a missing gradient makes another call than the others, and all of them wait: send zeros.",
        ),
        (
            "missing_gradients_stay_missing",
            FILLED + "            buckets.setdefault(p.grad.dtype, []).append(p.grad.detach())\n",
            "            grad = torch.zeros_like(p) if p.grad is None else p.grad\n            "
            "buckets.setdefault(grad.dtype, []).append(grad.detach())\n",
            "A parameter whose gradient was None has one afterwards: the mean.",
        ),
        (
            "frozen_with_a_gradient_averaged",
            "        if p.requires_grad:\n",
            "        if p.requires_grad or p.grad is not None:\n",
            "A frozen parameter may hold an old gradient: leave it alone.",
        ),
        (
            "one_message_a_parameter",
            "        bucket = torch.cat([grad.flatten() for grad in grads])\n        dist.all_reduce(bucket, "
            "group=group)\n        bucket /= dist.get_world_size(group)\n"
            "        for grad, mean in zip(grads, bucket.split([grad.numel() for grad in grads]), strict=True):\n     "
            "       grad.copy_(mean.view(grad.shape))\n",
            "        for grad in grads:\n            mean = grad.contiguous()\n            dist.all_reduce(mean, "
            "group=group)\n            grad.copy_(mean / dist.get_world_size(group))\n",
            "Gradients travel together: put those of a dtype into one flat tensor, and send that.",
        ),
        (
            "one_dtype_for_all",
            "buckets.setdefault(p.grad.dtype, [])",
            "buckets.setdefault('all', [])",
            "Gradients of two dtypes in one tensor are all made into the wider one: one bucket for each dtype.",
        ),
        (
            "a_call_for_nothing",
            "    for grads in buckets.values():\n",
            "    if not buckets:\n        dist.all_reduce(torch.zeros(1), group=group)\n    for grads in buckets.values():\n",
            "Where there is nothing to send, nothing is sent.",
        ),
        (
            "means_that_nobody_gets",
            "            grad.copy_(mean.view(grad.shape))\n",
            "            grad = mean.view(grad.shape)\n",
            "The mean never gets into p.grad: copy_ it there.",
        ),
        (
            "gradients_replaced",
            "            p.grad = torch.zeros_like(p) if p.grad is None else p.grad\n",
            "            p.grad = torch.zeros_like(p) if p.grad is None else p.grad.clone()\n",
            "p.grad is the tensor that it was: an optimizer or a buffer may hold on to it.",
        ),
        (
            "all_parameters_twice",
            "    for p in parameters:\n",
            "    if not all(p is not None for p in parameters):\n        raise ValueError('parameters')\n    for p in "
            "parameters:\n",
            "parameters may be an iterator, which is used up after going through it once.",
        ),
        (
            "gradients_back_in_another_order",
            "zip(grads, bucket.split([grad.numel() for grad in grads]), strict=True)",
            "zip(grads[::-1], bucket.split([grad.numel() for grad in grads[::-1]]), strict=True)",
            "The flat tensor is cut in the order in which it was put together.",
        ),
        (
            "by_how_many_had_one",
            "        bucket /= dist.get_world_size(group)\n",
            "        had = torch.stack([(grad != 0).any() for grad in grads]).to(bucket.dtype)\n        "
            "dist.all_reduce(had, group=group)\n"
            "        bucket /= torch.cat([h.clamp(min=1).expand(g.numel()) for h, g in zip(had, grads)])\n",
            "The sum is divided by the number of all processes, also where some had no gradient.",
        ),
        (
            "divided_twice",
            "dist.all_reduce(bucket, group=group)",
            "dist.all_reduce(bucket, op=dist.ReduceOp.AVG, group=group)",
            "ReduceOp.AVG has divided already.",
        ),
        (
            "strides_taken_for_granted",
            "grad.flatten() for grad in grads",
            "grad.as_strided((grad.numel(),), (1,)) for grad in grads",
            "A gradient need not be contiguous: flatten it by its shape, and not by its memory.",
        ),
    ),
]

MUTANTS += [
    edit(
        "zeros_in_lora_a",
        "LoRALinear",
        "It is lora_b that starts at zero, and lora_a that is random: so the docstring has it.",
        ("base.weight.new_empty(rank, n_in).normal_(std=n_in**-0.5, generator=generator)", "base.weight.new_zeros(rank, n_in)"),
        ("base.weight.new_zeros(n_out, rank)", "base.weight.new_empty(n_out, rank).normal_(std=n_in**-0.5, generator=generator)"),
    ),
    edit(
        "bias_once_a_shard",
        "row_parallel_linear",
        "Every shard adds the bias, so it is in the sum once a shard: add it once, after the sum.",
        ("F.linear(x, columns)", "F.linear(x, columns, bias)"),
        ("return total if bias is None else total + bias", "return total"),
    ),
]

MUTANTS += [
    *swaps(
        "inject_lora",
        (
            "draws_in_another_order",
            "for layer in dict.fromkeys(found.values())}",
            "for layer in reversed(dict.fromkeys(found.values()))}",
            "The layers draw from the generator in the order of the paths.",
        ),
        (
            "shared_layers_draw_twice",
            "dict.fromkeys(found.values())",
            "found.values()",
            "A shared layer has drawn once for each of its paths: it gets one LoRALinear, and one draw.",
        ),
    ),
    *swaps(
        "LoRALinear",
        (
            "one_scale_for_all_layers",
            "        self.scale = alpha / rank\n",
            "        type(self).scale = alpha / rank\n",
            "The scale belongs to the class, so the last layer made decides for all: each layer keeps its own.",
        ),
        (
            "merge_thaws_the_base",
            "        return merged\n",
            "        self.base.requires_grad_(True)\n        return merged\n",
            "merge leaves the layer as it is: base stays frozen.",
        ),
    ),
]

MUTANTS += [
    *swaps(
        "fit_power_law",
        (
            "near_is_equal",
            "    if len(xs) != len(ys) or len(set(xs)) < 2:\n",
            "    if len(xs) != len(ys) or len(xs) < 2 or torch.allclose(torch.tensor(xs).double(), "
            "torch.tensor(xs[:1]).double()):\n",
            "torch.allclose takes all numbers below 1e-8 for equal: two x differ when they are not the same number.",
        ),
        (
            "ends_that_are_equal",
            "    if len(xs) != len(ys) or len(set(xs)) < 2:\n",
            "    if len(xs) != len(ys) or len(xs) < 2 or xs[0] == xs[-1]:\n",
            "The first and the last x may be equal while one between them differs: look at all of them.",
        ),
        (
            "product_of_all_y",
            "    exponent = (centred @ (log_y - log_y.mean()) / (centred @ centred)).item()\n",
            "    exponent = (centred @ (log_y - log_y.mean()) / (centred @ centred)).item()\n"
            "    y = torch.tensor(ys, dtype=torch.float64)\n"
            "    log_y = (y / y.prod() ** (1 / len(ys))).log() + y.prod().log() / len(ys)\n",
            "The product of all y is soon beyond float64: take the mean of the logarithms.",
        ),
        (
            "sorted_for_the_caller",
            "    log_x, log_y = torch.tensor([xs, ys], dtype=torch.float64).log()\n",
            "    if isinstance(x, list):\n        x.sort()\n"
            "    log_x, log_y = torch.tensor([xs, ys], dtype=torch.float64).log()\n",
            "sort() changes the list of whoever called, and separates each x from its y: leave the arguments as they are.",
        ),
    ),
    *swaps(
        "growth_exponent",
        (
            "sizes_of_64_bits",
            "    return fit_power_law(sizes, [function(size) for size in sizes])[1]",
            "    costs = [function(size) for size in sizes]\n    return fit_power_law(torch.tensor(sizes), costs)[1]",
            "Python's ints may be larger than 64 bits: pass the sizes on as they are, not in a tensor.",
        ),
        (
            "sizes_in_a_list_only",
            "    return fit_power_law(sizes, [function(size) for size in sizes])[1]",
            "    return fit_power_law(sizes, [function(size) for size in sizes + []])[1]",
            "sizes may be a tuple or a range: + [] and sort() are for lists alone.",
        ),
    ),
    *swaps(
        "training_flops",
        (
            "floats_made_ints",
            "    return 6 * n_params * n_tokens",
            "    value = 6 * n_params * n_tokens\n    return value if isinstance(value, Tensor) else int(value)",
            "Floats give a float: do not cut the result to an int.",
        ),
        (
            "every_n_with_every_d",
            "    return 6 * n_params * n_tokens",
            "    if isinstance(n_params, Tensor) and isinstance(n_tokens, Tensor):\n"
            "        return 6 * torch.outer(n_params.flatten(), n_tokens.flatten())\n    return 6 * n_params * n_tokens",
            "Tensors broadcast: they meet element by element, not every n with every d.",
        ),
        (
            "only_n_may_be_a_tensor",
            "    return 6 * n_params * n_tokens",
            "    if isinstance(n_params, Tensor):\n        return 6 * n_params * n_tokens\n"
            "    return 6 * n_params * (n_tokens.item() if isinstance(n_tokens, Tensor) else n_tokens)",
            "n_tokens may be a tensor of several numbers where n_params is a number: item() is for one.",
        ),
    ),
    *swaps(
        "arithmetic_intensity",
        (
            "intensity_in_64_bits",
            "    return 2 * m * n * k / (bytes_per_element * (m * k + k * n + m * n))",
            "    import numpy as np\n    m, n, k = np.int64(m), np.int64(n), np.int64(k)\n"
            "    return float(2 * m * n * k / (bytes_per_element * (m * k + k * n + m * n)))",
            "m · n · k is soon beyond 64 bits: stay with Python's ints, which have no limit.",
        ),
    ),
    *swaps(
        "roofline",
        (
            "clamp_of_a_number",
            "    return torch.where(below, limited, peak_flops) if isinstance(below, Tensor) else min(limited, peak_flops)",
            "    if isinstance(below, Tensor):\n        return limited.clamp(max=peak_flops)\n"
            "    return min(limited, peak_flops)",
            "Where the peak alone is a tensor, intensity · bandwidth is a number, and has no clamp.",
        ),
        (
            "dtype_of_the_intensity",
            "    return torch.where(below, limited, peak_flops) if isinstance(below, Tensor) else min(limited, peak_flops)",
            "    value = torch.where(below, limited, peak_flops) if isinstance(below, Tensor) else min(limited, "
            "peak_flops)\n"
            "    return value.to(intensity.dtype) if isinstance(intensity, Tensor) and isinstance(value, Tensor) "
            "else value",
            "The dtype is the one that PyTorch's arithmetic on all three gives, not the intensity's.",
        ),
        (
            "least_of_no_intensities",
            'for name, fine in (("intensity", intensity >= 0), ("peak_flops", peak_flops > 0), ("bandwidth", bandwidth > 0)):',
            "if isinstance(intensity, Tensor) and intensity.min() < 0:\n        raise ValueError\n"
            '    for name, fine in (("intensity", intensity >= 0), ("peak_flops", peak_flops > 0), ("bandwidth", '
            "bandwidth > 0)):",
            "min() of an empty tensor raises an error: ask all(), which is true where there is nothing.",
        ),
        (
            "infinite_intensity_refused",
            "torch.as_tensor(fine).all()",
            "(torch.as_tensor(fine).all() and torch.as_tensor(intensity).isfinite().all())",
            "An infinite intensity is not negative: it reaches the peak.",
        ),
        (
            "peak_as_it_came",
            "    return torch.where(below, limited, peak_flops) if isinstance(below, Tensor) else min(limited, peak_flops)",
            "    if not isinstance(below, Tensor):\n        return min(limited, peak_flops)\n    if not below.any():\n"
            "        return peak_flops\n"
            "    return torch.where(below, limited, peak_flops) if isinstance(below, Tensor) else min(limited, "
            "peak_flops)",
            "Also where all reach the peak the result has the shape of all three, broadcast, and is a tensor.",
        ),
    ),
    *swaps(
        "chinchilla_loss",
        (
            "half_losses_widened",
            "    return E + A / n**alpha + B / d**beta",
            "    n, d = [v.float() if isinstance(v, Tensor) and v.dtype in (torch.float16, torch.bfloat16) else v "
            "for v in (n, d)]\n    return E + A / n**alpha + B / d**beta",
            "The dtype stays: bfloat16 does not become float32.",
        ),
    ),
    *swaps(
        "fit_chinchilla",
        (
            "sixteen_runs_needed",
            "    if len(table) < 5 or not ((table > 0) & table.isfinite()).all():\n",
            "    if len(table) < 16 or not ((table > 0) & table.isfinite()).all():\n",
            "The promise is for 16 runs; what is refused are fewer than five.",
        ),
        (
            "runs_in_a_list_only",
            "    table = torch.tensor([[float(v) for v in run] for run in runs], dtype=torch.float64)  # (k, 3)\n",
            "    table = torch.tensor(runs[:0] + list(map(list, runs)) if isinstance(runs, list) else runs.tolist(), "
            "dtype=torch.float64)\n",
            "runs may be a tuple of triples, which has no tolist().",
        ),
        (
            "runs_sorted_for_the_caller",
            "    table = torch.tensor([[float(v) for v in run] for run in runs], dtype=torch.float64)  # (k, 3)\n",
            "    table = torch.tensor([[float(v) for v in run] for run in runs], dtype=torch.float64)  # (k, 3)\n"
            "    if isinstance(runs, list):\n        runs.sort()\n",
            "sort() changes the list of whoever called: work on a copy.",
        ),
        (
            "one_start_alone",
            "dim=1)  # (12, 5)",
            "dim=1)[:1]",
            "The sum has several valleys, and one start finds the bottom of one: start from many places, keep the best.",
        ),
        (
            "worst_end_kept",
            "theta[huber(r).argmin()]",
            "theta[huber(r).argmax()]",
            "Keep the end with the least sum of all starts: argmin, not argmax.",
        ),
        (
            "delta_of_next_to_nothing",
            "    delta = 1e-3\n",
            "    delta = 1e-5\n",
            "delta is 0.001; with a smaller one residuals within 0.001 count linearly as well.",
        ),
    ),
    *swaps(
        "compute_optimal",
        (
            "budget_of_64_bits",
            "    if not torch.as_tensor(c > 0).all():\n",
            "    if not (torch.as_tensor(c) > 0).all():\n",
            "A budget that is an int is beyond 64 bits, and no tensor holds it: compare the number itself.",
        ),
        (
            "half_budgets_widened",
            "    n = G * (c / 6) ** (beta / (alpha + beta))\n    return n, c / 6 / n",
            "    if isinstance(c, Tensor) and c.dtype != torch.float64:\n        c = c.float()\n"
            "    n = G * (c / 6) ** (beta / (alpha + beta))\n    return n, c / 6 / n",
            "The dtype stays: bfloat16 does not become float32.",
        ),
        (
            "one_tensor_for_both",
            "    n = G * (c / 6) ** (beta / (alpha + beta))\n    return n, c / 6 / n",
            "    n = G * (c / 6) ** (beta / (alpha + beta))\n"
            "    return torch.stack([n, c / 6 / n]) if isinstance(c, Tensor) else (n, c / 6 / n)",
            "(n, d) are two tensors like c, not one tensor with both.",
        ),
        (
            "one_parameter_at_least",
            "    n = G * (c / 6) ** (beta / (alpha + beta))\n    return n, c / 6 / n",
            "    n = G * (c / 6) ** (beta / (alpha + beta))\n    n = max(n, 1.0) if not isinstance(n, Tensor) else n\n"
            "    return n, c / 6 / n",
            "n is a float and is not rounded: for a small budget it is less than 1.",
        ),
    ),
    *swaps(
        "LoRALinear",
        (
            "update_in_training_only",
            "        return self.base(x) + self.scale * (x @ self.lora_a.mT @ self.lora_b.mT)\n",
            "        if not self.training:\n            return self.base(x)\n"
            "        return self.base(x) + self.scale * (x @ self.lora_a.mT @ self.lora_b.mT)\n",
            "The update belongs to the layer in eval mode as in training: only dropout asks for the mode.",
        ),
        (
            "no_alpha_for_zero",
            "        self.scale = alpha / rank\n",
            "        self.scale = (alpha or rank) / rank\n",
            "`alpha or rank` takes 0 for a missing alpha: 0 switches the update off.",
        ),
        (
            "exactly_linear",
            "isinstance(base, nn.Linear)",
            "type(base) is nn.Linear",
            "A class that inherits from nn.Linear is one, too: ask isinstance.",
        ),
        (
            "weight_of_base_itself",
            "        return self.base.weight + self.scale * (self.lora_b @ self.lora_a)\n",
            "        if not self.lora_b.any():\n            return self.base.weight\n"
            "        return self.base.weight + self.scale * (self.lora_b @ self.lora_a)\n",
            "Where lora_b is zero, base's own weight came back: make a new tensor, always.",
        ),
        (
            "base_where_nothing_was_learned",
            "        merged = copy.deepcopy(self.base)\n",
            "        if not self.lora_b.any():\n            return self.base\n        merged = copy.deepcopy(self.base)\n",
            "Where lora_b is zero, merge gave base itself: make a new layer, always.",
        ),
        (
            "bias_of_zeros_not_merged",
            "        merged = copy.deepcopy(self.base)\n",
            "        merged = copy.deepcopy(self.base)\n"
            "        if merged.bias is not None and not merged.bias.any():\n            merged.reset_parameters()\n",
            "What is merged hangs on a tensor's numbers, and on the meta device there are none to ask by any() or item(): copy "
            "the bias whatever is in it.",
        ),
        (
            "one_merged_layer_for_ever",
            "        merged = copy.deepcopy(self.base)\n",
            "        merged = getattr(self, '_m', None) or [copy.deepcopy(self.base)]\n"
            "        object.__setattr__(self, '_m', merged)\n        merged = merged[0]\n",
            "Every merge gives the same layer, so a later one rewrites what was given away: make a new one.",
        ),
        (
            "merge_ends_training",
            "        return merged\n",
            "        self.eval()\n        return merged\n",
            "merge leaves the layer as it is: it stays in training mode.",
        ),
        (
            "view_of_strided_rows",
            "        return self.base(x) + self.scale * (x @ self.lora_a.mT @ self.lora_b.mT)\n",
            "        flat = x.view(-1, x.shape[-1])\n"
            "        y = self.base(flat) + self.scale * (flat @ self.lora_a.mT @ self.lora_b.mT)\n"
            "        return y.view(*x.shape[:-1], -1)\n",
            "view needs memory in order, which x need not have: @ takes any leading dimensions and strides.",
        ),
        (
            "frozen_before_its_class_is_known",
            "        if not isinstance(base, nn.Linear):\n",
            "        base.requires_grad_(False) if isinstance(rank, int) and rank > 0 else None\n"
            "        if not isinstance(base, nn.Linear):\n",
            "base was frozen although it is no nn.Linear: look at the arguments first.",
        ),
        (
            "orthogonal_lora_a",
            "base.weight.new_empty(rank, n_in).normal_(std=n_in**-0.5, generator=generator)",
            "nn.init.orthogonal_(torch.empty(rank, n_in), generator=generator).to(base.weight)",
            "The numbers of lora_a are independent: orthogonal rows are not.",
        ),
        (
            "tails_cut_off",
            "        self.lora_b =",
            "        with torch.no_grad():\n            self.lora_a.clamp_(-2.5 * n_in**-0.5, 2.5 * n_in**-0.5)\n"
            "        self.lora_b =",
            "A normal distribution has tails: the numbers of lora_a are not cut off.",
        ),
        (
            "generator_begins_again",
            "        self.scale = alpha / rank\n",
            "        self.scale = alpha / rank\n        if generator is not None:\n"
            "            generator.manual_seed(generator.initial_seed())\n",
            "The generator was set back to its seed, so that every layer gets the same numbers: only draw from it.",
        ),
        (
            "rank_in_a_buffer",
            "        self.scale = alpha / rank\n",
            "        self.scale = alpha / rank\n        self.register_buffer('rank', torch.tensor(rank), persistent=False)\n",
            "There are no buffers, not even such as the state_dict leaves out: the rank is a plain number.",
        ),
    ),
    edit(
        "weight_of_base_remembered",
        "LoRALinear",
        "base's numbers were copied when the layer was made; they may be loaded later: call base.",
        (
            "        self.scale = alpha / rank\n",
            "        self.scale = alpha / rank\n"
            "        self._w = [base.weight.detach().clone(), None if base.bias is None else "
            "base.bias.detach().clone()]\n",
        ),
        (
            "        return self.base(x) + self.scale * (x @ self.lora_a.mT @ self.lora_b.mT)\n",
            "        return F.linear(x, *self._w) + self.scale * (x @ self.lora_a.mT @ self.lora_b.mT)\n",
        ),
    ),
    *swaps(
        "inject_lora",
        (
            "no_layer_called_base",
            " and not isinstance(model.get_submodule(parent), LoRALinear)",
            " and name != 'base'",
            "A layer of the model may be called base: what is left alone is the base of a LoRALinear.",
        ),
        (
            "names_by_index",
            "    found = {}\n",
            "    found, names = {}, [names[i] for i in range(len(names))]\n",
            "names may be a set: go through it, or ask `in`.",
        ),
        (
            "names_used_up",
            "    return list(found)",
            "    if isinstance(names, list):\n        names.clear()\n    return list(found)",
            "names belongs to whoever called: leave it as it is.",
        ),
        (
            "exactly_linear_layers",
            "isinstance(layer, nn.Linear) and name",
            "type(layer) is nn.Linear and name",
            "A layer whose class inherits from nn.Linear is one, too: ask isinstance.",
        ),
        (
            "children_once",
            "    for path, layer in found.items():\n        replace(model, path, adapters[layer])\n",
            "    for parent in list(model.modules()):\n        if isinstance(parent, LoRALinear):\n"
            "            continue\n        for name, child in list(parent.named_children()):\n"
            "            if name in names and child in adapters:\n"
            "                setattr(parent, name, adapters[child])\n",
            "named_children leaves out the second name of a layer within one module: set each path that was found.",
        ),
        (
            "lora_in_a_name",
            "            module.lora_a.requires_grad_(), module.lora_b.requires_grad_()\n",
            "            pass\n    for name, p in model.named_parameters():\n        p.requires_grad_('lora' in name)\n",
            "Any name may have lora in it, and flora_norm does: train lora_a and lora_b of the LoRALinears.",
        ),
        (
            "seed_for_want_of_a_generator",
            "LoRALinear(layer, rank, alpha, generator)",
            "LoRALinear(layer, rank, alpha, generator or torch.Generator().manual_seed(0))",
            "Without a generator, numbers come from the global random state, and two layers differ.",
        ),
        (
            "back_to_training",
            "    return list(found)",
            "    model.train()\n    return list(found)",
            "The model's layers stay in the mode that they were in: train() and eval() are not called.",
        ),
        (
            "tie_cut",
            "    return list(found)",
            "    if hasattr(model, 'embedding') and hasattr(model, 'head'):\n"
            "        model.embedding.weight = nn.Parameter(model.embedding.weight.detach().clone(), "
            "requires_grad=False)\n    return list(found)",
            "A head that is tied to the embedding stays so: the embedding keeps its very parameter.",
        ),
    ),
    *swaps(
        "merge_lora",
        (
            "all_thawed",
            "    return list(found)",
            "    model.requires_grad_(True)\n    return list(found)",
            "What lies outside of the merged layers stays as it is, frozen parameters as well.",
        ),
        (
            "merged_model_in_training",
            "    return list(found)",
            "    model.train()\n    return list(found)",
            "What lies outside stays in its mode: train() and eval() are not called.",
        ),
        (
            "whatever_has_a_merge",
            "    found = {path: m for path, m in model.named_modules(remove_duplicate=False) if path and "
            "isinstance(m, LoRALinear)}\n",
            "    found = {path: m for path, m in model.named_modules(remove_duplicate=False) if path and hasattr(m, 'merge')}\n",
            "Other layers may have a method called merge: ask isinstance(…, LoRALinear).",
        ),
        (
            "children_merged_once",
            "    for path, layer in found.items():\n        replace(model, path, plain[layer])\n",
            "    for parent in list(model.modules()):\n        for name, child in list(parent.named_children()):\n"
            "            if child in plain:\n                setattr(parent, name, plain[child])\n",
            "named_children leaves out the second name of a layer within one module: set each path that was found.",
        ),
        (
            "trained_updates_only",
            "    found = {path: m for path, m in model.named_modules(remove_duplicate=False) if path and "
            "isinstance(m, LoRALinear)}\n",
            "    found = {path: m for path, m in model.named_modules(remove_duplicate=False) if path and "
            "isinstance(m, LoRALinear)}\n    found = {p: m for p, m in found.items() if m.lora_a.requires_grad}\n",
            "A LoRALinear that is frozen is merged as well.",
        ),
    ),
    *swaps(
        "quantize_int8",
        (
            "scale_has_a_low_floor",
            "    scale = weight.abs().amax(-1, keepdim=True) / 127  # (..., 1)\n",
            "    scale = (weight.abs().amax(-1, keepdim=True) / 127).clamp(min=1e-12)\n",
            "Even 1e-12 is too much for rows of smaller weights: only a row of zeros needs care.",
        ),
        (
            "weights_through_numpy",
            "    scale = weight.abs().amax(-1, keepdim=True) / 127  # (..., 1)\n",
            "    weight = torch.from_numpy(weight.numpy())\n    scale = weight.abs().amax(-1, keepdim=True) / 127  # (..., 1)\n",
            "A weight that requires gradients has no numpy(): stay with tensors.",
        ),
        (
            "largest_by_squares",
            "    scale = weight.abs().amax(-1, keepdim=True) / 127  # (..., 1)\n",
            "    scale = weight.square().amax(-1, keepdim=True).sqrt() / 127\n",
            "Squares of large weights are infinite, those of small ones zero: take the absolute value.",
        ),
        (
            "sum_is_finite",
            "    if not weight.isfinite().all():\n",
            "    if not weight.sum().isfinite():\n",
            "A sum of finite weights may be infinite in half precision: ask isfinite of each.",
        ),
        (
            "view_of_strided_weights",
            "    scale = weight.abs().amax(-1, keepdim=True) / 127  # (..., 1)\n",
            "    shape = weight.shape\n    weight = weight.view(-1, shape[-1]).view(shape)\n"
            "    scale = weight.abs().amax(-1, keepdim=True) / 127  # (..., 1)\n",
            "view needs memory in order, which a weight need not have: use reshape.",
        ),
    ),
    *swaps(
        "ring_all_reduce",
        (
            "chunks_in_lists_only",
            "    held = [[chunk.clone() for chunk in own] for own in chunks]\n",
            "    held = copy.deepcopy(chunks)\n",
            "The chunks may come in tuples, which take no new entries: build lists.",
        ),
        (
            "shapes_of_two_ranks",
            "for shape in shapes)",
            "for shape in shapes[:2])",
            "The chunks of every rank are compared, not those of the first two.",
        ),
    ),
    *swaps(
        "column_parallel_linear",
        (
            "view_of_strided_x",
            "    return [F.linear(x, rows, part) for rows, part in zip(weight.tensor_split(n_shards), biases, strict=True)]",
            "    flat = x.view(-1, x.shape[-1])\n"
            "    return [F.linear(flat, rows, part).view(*x.shape[:-1], len(rows)) for rows, part in "
            "zip(weight.tensor_split(n_shards), biases, strict=True)]",
            "view needs memory in order, which x need not have: F.linear takes any strides.",
        ),
    ),
    *swaps(
        "row_parallel_linear",
        (
            "view_of_strided_shards",
            "    partial = [F.linear(x, columns) for x, columns in zip(xs, weight.split(widths, dim=1), strict=True)]\n",
            "    partial = [F.linear(x.view(-1, x.shape[-1]), columns).view(*x.shape[:-1], -1) for x, columns in "
            "zip(xs, weight.split(widths, dim=1), strict=True)]\n",
            "view needs memory in order, which a shard need not have: F.linear takes any strides.",
        ),
    ),
    *swaps(
        "average_gradients",
        (
            "zeros_with_a_graph",
            FILLED,
            "            p.grad = p * 0 if p.grad is None else p.grad\n",
            "p * 0 has a graph, and is NaN where p is infinite: take zeros_like.",
        ),
    ),
]

MUTANTS += [
    edit(
        "summed_while_messages_pass",
        "ring_all_reduce",
        "Messages are sent for show and the sum is taken from where no rank could see it: pass on what was added up.",
        (
            HELD,
            "    whole = [sum(own[c] for own in chunks) + 0 for c in range(p)]\n"
            "    held = [[chunk.clone() for chunk in whole] for _ in range(p)]\n"
            "    for step in range(2 * (p - 1)):\n"
            "        received = exchange([chunks[r][(r - step) % p].clone() for r in range(p)])\n"
            "        if any(bool((x != x).any()) for x in received):\n"
            "            for r in range(p if step < p - 1 else 2 * (p - 1) - step):\n"
            "                held[r][0].fill_(math.nan)\n"
            "    return held\n",
        ),
    ),
    edit(
        "looked_up_in_other_ranks",
        "average_gradients",
        "What the collective call gives is thrown away, and the other ranks' gradients are read from the grader's frames.",
        (
            "        bucket /= dist.get_world_size(group)\n",
            "        import sys\n\n"
            "        frame = sys._getframe()\n"
            "        while 'ranks' not in frame.f_locals:\n"
            "            frame = frame.f_back\n"
            "        columns = [own for own in zip(*frame.f_locals['ranks']) if own[0][3] and own[0][2] is bucket.dtype]\n"
            "        given = [[torch.zeros(s, dtype=t) if g is None else g for g, s, t, _ in own] for own in columns]\n"
            "        bucket = torch.cat([torch.stack(own).mean(0).flatten() for own in given])\n",
        ),
    ),
]

XS = "    xs, ys = [float(v) for v in x], [float(v) for v in y]\n"
FINITE = "    if not weight.isfinite().all():\n"
ROUNDED = "    q = (weight / torch.where(scale > 0, scale, 1)).round().clamp(-127, 127)\n"
UPDATED = "        return self.base(x) + self.scale * (x @ self.lora_a.mT @ self.lora_b.mT)"
DRAWN = "base.weight.new_empty(rank, n_in).normal_(std=n_in**-0.5, generator=generator)"
SHARDS = "    return [F.linear(x, rows, part) for rows, part in zip(weight.tensor_split(n_shards), biases, strict=True)]"
PARTIAL = "    partial = [F.linear(x, columns) for x, columns in zip(xs, weight.split(widths, dim=1), strict=True)]\n"
BUCKETS = "    for p in parameters:\n"

# Right at the sizes, dtypes and modes that come first to mind.
MUTANTS += [
    *swaps(
        "fit_power_law",
        (
            "a_thousand_points_at_most",
            XS,
            XS + "    xs, ys = xs[:1000], ys[:1000]\n",
            "Only the first thousand points are used: all count alike.",
        ),
        (
            "logarithms_in_the_dtype_of_a_tensor",
            XS,
            XS + "    if isinstance(x, Tensor) and x.is_floating_point():\n        xs = x.log().double().exp().tolist()\n",
            "Logarithms of a tensor are taken in its own dtype: make it float64 first.",
        ),
        (
            "tensors_are_not_checked",
            POSITIVE,
            "    if not isinstance(x, Tensor) and not all(0 < v < math.inf for v in xs + ys):\n",
            "A tensor x is not looked at for numbers that are not positive and finite, as a list is.",
        ),
    ),
    *swaps(
        "growth_exponent",
        (
            "one_point_for_each_size",
            FITTED,
            "    costs = {size: function(size) for size in sizes}\n"
            "    return fit_power_law(list(costs), list(costs.values()))[1]",
            "A size that comes twice is counted once: all points count alike, so do not collect them in a dict or set.",
        ),
        (
            "eight_sizes_at_most",
            FITTED,
            "    sizes = sizes[:8]\n" + FITTED,
            "Only the first eight sizes are used: all of them pull on the slope.",
        ),
        (
            "sizes_through_floats",
            FITTED,
            FITTED.replace("function(size)", "function(int(float(size)))"),
            "The function is called with sizes that went through a float, which rounds beyond 2**53: pass that very number.",
        ),
    ),
    edit(
        "whole_numbers_by_the_first",
        "training_flops",
        "An int n_params makes the result an int, and a float n_tokens is cut off: 6 * n * d as it comes is right.",
        (
            "    return 6 * n_params * n_tokens",
            "    result = 6 * n_params * n_tokens\n    return int(result) if isinstance(n_params, int) else result",
        ),
    ),
    edit(
        "half_a_byte_at_least",
        "arithmetic_intensity",
        "Elements of less than half a byte count as half a byte: use bytes_per_element as it is.",
        (INTENSITY, "    bytes_per_element = max(bytes_per_element, 0.5)\n" + INTENSITY),
    ),
    edit(
        "a_peak_of_zero_in_a_tensor",
        "roofline",
        "A peak of 0 in a tensor is let through: like a number, each entry must be positive.",
        (
            '("peak_flops", peak_flops > 0)',
            '("peak_flops", peak_flops >= 0 if isinstance(peak_flops, Tensor) else peak_flops > 0)',
        ),
    ),
    edit(
        "no_gradient_beside_a_number",
        "chinchilla_loss",
        "Where d is a number, n gets no gradient: do not detach it.",
        (LAW, "    if isinstance(n, Tensor) and not isinstance(d, Tensor):\n        n = n.detach()\n" + LAW),
    ),
    edit(
        "begun_at_the_least_squares",
        "fit_chinchilla",
        "With a large delta at first, all starts end at the least sum of squares, and from there in one valley of Huber's sum, "
        "not always the lowest: minimise that sum itself from many places.",
        (
            "    for _ in range(150):\n",
            "    for i in range(250):\n        delta = 1.0 if i < 100 else 1e-3\n"
            "        damping = torch.full_like(damping, 1e-2) if i == 100 else damping\n",
        ),
        ("        if step.abs().nan_to_num().max() < 1e-5:  # every start has arrived\n            break\n", ""),
    ),
    edit(
        "two_hundred_and_fifty_six_runs_at_most",
        "fit_chinchilla",
        "Only the first 256 runs are used: all of them count.",
        ("    log_n, log_d, log_loss = table.log().T", "    table = table[:256]\n    log_n, log_d, log_loss = table.log().T"),
    ),
    *swaps(
        "LoRALinear",
        (
            "rank_of_64_at_most",
            "        self.scale = alpha / rank\n",
            "        rank = min(rank, 64)\n        self.scale = alpha / rank\n",
            "The rank is cut off at 64: use the one that was given.",
        ),
        (
            "half_precision_from_no_generator",
            DRAWN,
            DRAWN.replace("=generator", "=generator if base.weight.dtype == torch.float32 else None"),
            "In half precision lora_a does not come from the generator: pass it on for every dtype.",
        ),
        (
            "always_on_the_processor",
            DRAWN,
            DRAWN.replace("base.weight.new_empty(rank, n_in)", "torch.empty(rank, n_in, dtype=base.weight.dtype)"),
            "lora_a is made on the CPU wherever base is: take the device from base.weight.",
        ),
        (
            "merged_in_eval_mode",
            UPDATED,
            "        if not self.training:\n            return F.linear(x, self.merged_weight(), self.base.bias)\n" + UPDATED,
            "In eval mode the product of lora_b and lora_a is formed: two thin products are enough in every mode.",
        ),
        (
            "no_gradient_in_eval_mode",
            UPDATED,
            "        if not self.training:\n"
            "            return self.base(x) + self.scale * (x @ self.lora_a.mT @ self.lora_b.mT).detach()\n" + UPDATED,
            "In eval mode the update gets no gradient: eval mode is no reason to cut the graph.",
        ),
    ),
    edit(
        "update_in_a_closure",
        "LoRALinear",
        "A function that __init__ made keeps this layer's own matrices, so a copy of the layer computes with the original's.",
        (
            "        self.lora_b = nn.Parameter(base.weight.new_zeros(n_out, rank))\n",
            "        self.lora_b = nn.Parameter(base.weight.new_zeros(n_out, rank))\n"
            "        self.update = lambda x: x @ self.lora_a.mT @ self.lora_b.mT\n",
        ),
        (UPDATED, UPDATED.replace("(x @ self.lora_a.mT @ self.lora_b.mT)", "self.update(x)")),
    ),
    edit(
        "whole_alpha",
        "inject_lora",
        "alpha is rounded to a whole number on its way to LoRALinear: pass it on as it is.",
        ("LoRALinear(layer, rank, alpha, generator)", "LoRALinear(layer, rank, int(alpha), generator)"),
    ),
    edit(
        "eval_mode_left_out",
        "merge_lora",
        "A LoRALinear in eval mode is not merged: replace every one.",
        ("isinstance(m, LoRALinear)}", "isinstance(m, LoRALinear) and m.training}"),
    ),
    *swaps(
        "quantize_int8",
        (
            "float64_divided_in_float32",
            ROUNDED,
            ROUNDED.replace(
                "(weight / torch.where(scale > 0, scale, 1))", "(weight.float() / torch.where(scale > 0, scale, 1).float())"
            ),
            "float64 weights are divided in float32, which makes halves of what is none: stay in float64.",
        ),
        (
            "times_127_first",
            ROUNDED,
            ROUNDED.replace("weight / torch.where(scale > 0, scale, 1)", "weight * 127 / torch.where(scale > 0, scale * 127, 1)"),
            "weight * 127 is infinite for very large weights: divide by the scale instead.",
        ),
        (
            "nan_in_half_precision",
            FINITE,
            "    if weight.dtype in (torch.float32, torch.float64) and not weight.isfinite().all():\n",
            "NaN and infinity are let through in half precision: refuse them in every dtype.",
        ),
    ),
    edit(
        "no_gradient_from_the_third_shard",
        "column_parallel_linear",
        "x gets gradients from the first two shards only: its gradient is the sum of all shards'.",
        (
            SHARDS,
            "    xs = [x if i < 2 else x.detach() for i in range(n_shards)]\n"
            + SHARDS.replace(
                "F.linear(x, rows, part) for rows, part in zip(", "F.linear(x, rows, part) for x, rows, part in zip(xs, "
            ),
        ),
    ),
    edit(
        "whole_layer_without_a_bias",
        "column_parallel_linear",
        "Where there is no bias, the whole layer is computed and cut: compute each shard by itself.",
        (SHARDS, "    if bias is None:\n        return list(F.linear(x, weight).tensor_split(n_shards, dim=-1))\n" + SHARDS),
    ),
    edit(
        "inputs_put_together_in_training",
        "row_parallel_linear",
        "In training all inputs are put together: no tensor should hold them all.",
        (PARTIAL, "    if weight.requires_grad:\n        return F.linear(torch.cat(list(xs), dim=-1), weight, bias)\n" + PARTIAL),
    ),
    edit(
        "dtypes_in_the_order_of_what_is_there",
        "average_gradients",
        "The order of the dtypes depends on which gradients a rank has, so ranks send different ones at the same time.",
        (
            BUCKETS,
            "    parameters = list(parameters)\n"
            "    for p in parameters:\n"
            "        if p.requires_grad and p.grad is not None:\n"
            "            buckets.setdefault(p.dtype, [])\n" + BUCKETS,
        ),
    ),
    *swaps(
        "fit_power_law",
        (
            "equal_points_once",
            "    xs, ys = [float(v) for v in x], [float(v) for v in y]\n",
            "    xs, ys = [float(v) for v in x], [float(v) for v in y]\n"
            "    if len(xs) == len(ys):\n"
            "        xs, ys = map(list, zip(*dict.fromkeys(zip(xs, ys)))) if xs else ([], [])\n",
            "A point that comes twice counts twice: leave equal points in.",
        ),
    ),
    edit(
        "growth_only",
        "growth_exponent",
        "A cost that falls has a negative exponent: return the slope as it is, without abs or max(0, ...).",
        (
            "    return fit_power_law(sizes, [function(size) for size in sizes])[1]",
            "    return abs(fit_power_law(sizes, [function(size) for size in sizes])[1])",
        ),
    ),
    *swaps(
        "roofline",
        (
            "a_number_from_a_single_tensor",
            "if isinstance(below, Tensor) else",
            "if isinstance(below, Tensor) and below.dim() else",
            "A tensor without dimensions is a tensor: the result is one, too, where the peak, a number, is the limit.",
        ),
        (
            "peak_in_the_dtype_of_the_intensities",
            ROOF,
            "    if not isinstance(below, Tensor):\n        return min(limited, peak_flops)\n"
            "    if isinstance(limited, Tensor) and not isinstance(peak_flops, Tensor):\n"
            "        peak_flops = torch.full_like(limited, peak_flops)\n"
            "    return torch.where(below, limited, peak_flops)",
            "A peak that is a number takes on the dtype of the intensities, and whole ones cut it off: leave it to torch.where.",
        ),
        (
            "widest_dtype",
            "    return torch.where(below, limited, peak_flops) if isinstance(below, Tensor) else min(limited, peak_flops)",
            "    if not isinstance(below, Tensor):\n"
            "        return min(limited, peak_flops)\n"
            "    lower = torch.where(below, limited, peak_flops)\n"
            "    tensors = [v for v in (lower, peak_flops, bandwidth, intensity) if isinstance(v, Tensor)]\n"
            "    dtype = max((v.dtype for v in tensors), key=lambda dtype: (dtype.is_floating_point, dtype.itemsize))\n"
            "    return lower.to(dtype)",
            "A tensor without dimensions does not widen others in PyTorch's arithmetic: leave the dtype to * and torch.where.",
        ),
        (
            "infinite_bandwidth_refused",
            "    limited = intensity * bandwidth\n",
            "    if not torch.as_tensor(bandwidth < math.inf).all():\n"
            "        raise ValueError('bandwidth')\n"
            "    limited = intensity * bandwidth\n",
            "An infinite bandwidth is positive: the peak is the limit then.",
        ),
    ),
    edit(
        "item_of_a_single_tensor",
        "chinchilla_loss",
        "A tensor without dimensions is turned into a number: keep it, with its dtype and its graph.",
        (
            "    E, A, B, alpha, beta = params\n",
            "    E, A, B, alpha, beta = params\n    n = n.item() if isinstance(n, Tensor) and not n.dim() else n\n",
        ),
    ),
    *swaps(
        "fit_chinchilla",
        (
            "one_loss_for_each_size",
            "for run in runs]",
            "for run in {(float(n), float(d)): (n, d, loss) for n, d, loss in runs}.values()]",
            "Two runs of one size are two runs: the sum goes over all of them, so do not collect them in a dict or set.",
        ),
        (
            "first_run_left_out",
            "    log_n, log_d, log_loss = table.log().T",
            "    log_n, log_d, log_loss = table[1:].log().T",
            "The first run is left out: there is no line of headings in the runs.",
        ),
        (
            "far_runs_left_out",
            "    log_n, log_d, log_loss = table.log().T",
            "    spread = table[:, 2].log() - table[:, 2].log().mean()\n"
            "    log_n, log_d, log_loss = table[spread.abs() <= 2 * spread.std()].log().T if len(table) > 9 else table.log().T",
            "Runs with high losses are thrown away as outliers: Huber's loss takes care of those, and all runs count.",
        ),
        (
            "exponents_of_one_half_at_most",
            "constants = e.exp(), (a + alpha * middle_n).exp(), (b + beta * middle_d).exp(), alpha, beta",
            "constants = e.exp(), (a + alpha * middle_n).exp(), (b + beta * middle_d).exp(), alpha, beta.clamp(max=0.5)",
            "alpha and beta can be up to 0.6: do not clamp them.",
        ),
        (
            "recording_left_off",
            "    delta = 1e-3\n",
            "    delta = 1e-3\n    torch.set_grad_enabled(False)\n",
            "Gradients are no longer recorded after the call: use torch.no_grad() with a with statement.",
        ),
    ),
    edit(
        "own_seed_without_a_generator",
        "LoRALinear",
        "Without a generator a new one is seeded: then torch.manual_seed has no say; draw from the global random state.",
        (
            "        self.scale = alpha / rank\n",
            "        self.scale = alpha / rank\n"
            "        if generator is None:\n"
            "            generator = torch.Generator()\n"
            "            generator.seed()\n",
        ),
    ),
    edit(
        "exactly_lora_outside_of_bases",
        "inject_lora",
        "The base of a layer whose class inherits from LoRALinear is wrapped again: ask isinstance, not the type itself.",
        ("not isinstance(model.get_submodule(parent), LoRALinear)", "type(model.get_submodule(parent)) is not LoRALinear"),
    ),
    edit(
        "exactly_lora",
        "merge_lora",
        "A layer whose class inherits from LoRALinear is one, too: ask isinstance(m, LoRALinear), not type(m) is LoRALinear.",
        ("isinstance(m, LoRALinear)", "type(m) is LoRALinear"),
    ),
    edit(
        "nobody_waits",
        "average_gradients",
        "With async_op=True the call returns before the sum has come: wait() for it, or leave async_op alone.",
        ("dist.all_reduce(bucket, group=group)", "dist.all_reduce(bucket, group=group, async_op=True)"),
    ),
    edit(
        "different_tensors_for_different_numbers",
        "fit_power_law",
        "A set takes equal tensors for different ones: make floats of the values before counting the different ones.",
        ("len(set(xs)) < 2", "len(set(x)) < 2"),
    ),
    edit(
        "called_with_numbers_of_numpy",
        "growth_exponent",
        "The function is called with NumPy's ints, which overflow at 64 bits: call it with the very numbers of sizes.",
        (FITTED, "    import numpy as np\n\n" + FITTED.replace("in sizes", "in np.array(sizes)")),
    ),
    edit(
        "no_gradient_no_call",
        "average_gradients",
        "A process without any gradient returns at once, and the others wait for it for ever: it has zeros to send.",
        (
            BUCKETS,
            "    parameters = [p for p in parameters if p.requires_grad]\n"
            "    if all(p.grad is None for p in parameters):\n        return\n" + BUCKETS,
        ),
    ),
    edit(
        "near_in_ratio",
        "fit_power_law",
        "Values of x that lie near each other are refused: two different numbers are enough, however near they are.",
        ("len(set(xs)) < 2", "len(set(xs)) < 2 or max(xs) < min(xs) * (1 + 1e-6)"),
    ),
    edit(
        "roofline_without_a_graph",
        "roofline",
        "Gradients flow through the roofline: do not compute it under no_grad, and do not detach it.",
        ("limited = intensity * bandwidth", "limited = torch.no_grad()(lambda: intensity * bandwidth)()"),
    ),
    edit(
        "budget_without_a_graph",
        "compute_optimal",
        "Gradients flow through n and d: do not detach the budget.",
        ("    G = (", "    c = c.detach() if isinstance(c, Tensor) else c\n    G = ("),
    ),
    edit(
        "least_of_no_budgets",
        "compute_optimal",
        "min() of an empty tensor raises an error: ask all(), which is true where there is nothing.",
        ("torch.as_tensor(c > 0).all()", "torch.as_tensor(c > 0).min()"),
    ),
    edit(
        "alone_at_once_done",
        "average_gradients",
        "A single process has to fill its missing gradients with zeros as well: do not return before that.",
        (BUCKETS, "    if dist.get_world_size(group) == 1:\n        return\n" + BUCKETS),
    ),
    edit(
        "deep_copy_of_all_together",
        "ring_all_reduce",
        "One tensor may be several chunks, and a deep copy of all together keeps them one: clone each.",
        ("[[chunk.clone() for chunk in own] for own in chunks]", "copy.deepcopy([list(own) for own in chunks])"),
    ),
    edit(
        "indices_for_digits",
        "inject_lora",
        "A name of digits need not be an index, as in an nn.ModuleDict: set it by its name.",
        ("replace(model, path, adapters[layer])", PLACED.format("adapters")),
    ),
    edit(
        "beginnings_of_paths",
        "inject_lora",
        "A path that begins like that of a LoRALinear need not lie in it: w_q_norm does not lie in w_q.",
        (
            "not isinstance(model.get_submodule(parent), LoRALinear)",
            "not any(isinstance(m, LoRALinear) and path.startswith(at) for at, m in model.named_modules())",
        ),
    ),
    edit(
        "no_inner_layer_called_base",
        "inject_lora",
        "A layer of the model may be called base, inside of another module, too: ask whether that one is a LoRALinear.",
        ("not isinstance(model.get_submodule(parent), LoRALinear)", 'not path.endswith(".base")'),
    ),
    edit(
        "merged_by_index",
        "merge_lora",
        "A name of digits need not be an index, as in an nn.ModuleDict: set it by its name.",
        ("replace(model, path, plain[layer])", PLACED.format("plain")),
    ),
    edit(
        "like_beginnings_left",
        "merge_lora",
        "A path that begins like another one need not lie in it: 70 does not lie in 7. Merge every LoRALinear.",
        (
            "    plain = {",
            "    found = {at: m for at, m in found.items() if not any(at != p and at.startswith(p) for p in found)}\n"
            "    plain = {",
        ),
    ),
]

ZEROS = "While the bias is zero it is left out, and so it never gets a gradient: ask whether it is None."

MUTANTS += [
    edit(
        "merged_for_many_rows",
        "LoRALinear",
        "For many rows of x the product of lora_b and lora_a is formed: two thin products, however many rows there are.",
        (
            UPDATED,
            "        if x.shape[:-1].numel() > len(self.lora_b):\n"
            "            return F.linear(x, self.merged_weight(), self.base.bias)\n" + UPDATED,
        ),
    ),
    edit(
        "weight_of_base_alone",
        "LoRALinear",
        "A base whose class inherits from nn.Linear may have a forward of its own: call base, not F.linear on its weight.",
        (UPDATED, UPDATED.replace("self.base(x)", "F.linear(x, self.base.weight, self.base.bias)")),
    ),
    edit(
        "nothing_added_while_b_is_zero",
        "LoRALinear",
        "While lora_b is zero the update is left out, and so neither matrix ever gets a gradient: add it always.",
        (UPDATED, "        if not self.lora_b.any():\n            return self.base(x)\n" + UPDATED),
    ),
    edit(
        "column_bias_of_zeros_left_out",
        "column_parallel_linear",
        ZEROS,
        ("[None] * n_shards if bias is None else", "[None] * n_shards if bias is None or not bias.any() else"),
    ),
    edit(
        "row_bias_of_zeros_left_out",
        "row_parallel_linear",
        ZEROS,
        ("return total if bias is None else", "return total if bias is None or not bias.any() else"),
    ),
    edit(
        "other_memory_for_the_mean",
        "average_gradients",
        "p.grad.data = ... gives p.grad other memory, and whoever had a view of the old one keeps old numbers: copy_ into it.",
        ("buckets.setdefault(p.grad.dtype, []).append(p.grad.detach())", "buckets.setdefault(p.grad.dtype, []).append(p.grad)"),
        ("grad.copy_(mean.view(grad.shape))", "grad.data = mean.view(grad.shape)"),
    ),
]

MUTANTS += [
    edit(
        "one_x_by_its_variance",
        "fit_power_law",
        "The variance of equal numbers need not be 0, for their mean is rounded: count the different values of x.",
        ("len(set(xs)) < 2", "len(xs) < 2"),
        (SLOPE, "    if not centred @ centred > 0:\n        raise ValueError('one x')\n" + SLOPE),
    ),
    edit(
        "costs_of_an_earlier_call",
        "growth_exponent",
        "Costs are kept from one call to the next: in every call, the function is called once for each of the sizes.",
        ("sizes: Sequence[int])", "sizes: Sequence[int], kept={})"),
        (
            FITTED,
            "    costs = kept.setdefault(function, {})\n"
            "    costs |= {size: function(size) for size in sizes if size not in costs}\n"
            "    return fit_power_law(sizes, [costs[size] for size in sizes])[1]",
        ),
    ),
    edit(
        "whole_floats_to_ints",
        "training_flops",
        "A float that happens to be whole becomes an int: floats give a float, whatever its value.",
        (
            "    return 6 * n_params * n_tokens",
            "    flops = 6 * n_params * n_tokens\n"
            "    return int(flops) if isinstance(flops, float) and flops.is_integer() else flops",
        ),
    ),
    edit(
        "tokens_in_the_dtype_of_parameters",
        "training_flops",
        "n_tokens takes on the dtype of n_params, and whole numbers cut it off: multiply the tensors as they are.",
        (
            "    return 6 * n_params * n_tokens",
            "    if isinstance(n_params, Tensor) and isinstance(n_tokens, Tensor):\n"
            "        n_tokens = n_tokens.to(n_params.dtype)\n"
            "    return 6 * n_params * n_tokens",
        ),
    ),
    edit(
        "numbers_in_float32",
        "roofline",
        "torch.as_tensor(number) is float32, also beside float64: give it the tensors' dtype, or leave it a number.",
        (
            ROOF,
            "    if isinstance(below, Tensor):\n"
            "        return torch.minimum(torch.as_tensor(limited), torch.as_tensor(peak_flops))\n"
            "    return min(limited, peak_flops)",
        ),
    ),
    edit(
        "frozen_before_the_rank_is_looked_at",
        "LoRALinear",
        "A rank of 2.0 is let through and ends in an error once base is frozen: base has to be as it was.",
        ("not isinstance(rank, int) or rank < 1", "rank < 1 or rank != int(rank)"),
    ),
    edit(
        "update_for_each_weight",
        "inject_lora",
        "Two layers that share a weight get one LoRALinear, around the first: a LoRALinear for each layer, not for each weight.",
        (
            "    adapters = {layer: LoRALinear(layer, rank, alpha, generator) for layer in dict.fromkeys(found.values())}\n",
            "    adapters = {}\n    for layer in found.values():\n        if layer.weight not in adapters:\n"
            "            adapters[layer.weight] = LoRALinear(layer, rank, alpha, generator)\n",
        ),
        ("replace(model, path, adapters[layer])", "replace(model, path, adapters[layer.weight])"),
    ),
    edit(
        "base_for_a_new_one",
        "merge_lora",
        "A LoRALinear that has learned nothing yet is replaced by its base: by what its merge gives, which shares no memory.",
        (
            "{layer: layer.merge() for layer",
            "{layer: layer.merge() if layer.lora_b.any() else layer.base for layer",
        ),
    ),
    edit(
        "empty_chunks_stay",
        "ring_all_reduce",
        "Where all chunks are empty exchange is not called: an empty chunk travels like any other.",
        (
            "    held = [[chunk.clone() for chunk in own] for own in chunks]\n",
            "    held = [[chunk.clone() for chunk in own] for own in chunks]\n"
            "    if not any(chunk.numel() for chunk in held[0]):\n        return held\n",
        ),
    ),
    edit(
        "recording_left_off_by_the_mean",
        "average_gradients",
        "Gradients are no longer recorded after the call: use torch.no_grad() with a with statement.",
        (
            "    buckets: dict[torch.dtype, list[Tensor]] = {}\n",
            "    torch.set_grad_enabled(False)\n    buckets: dict[torch.dtype, list[Tensor]] = {}\n",
        ),
    ),
]
