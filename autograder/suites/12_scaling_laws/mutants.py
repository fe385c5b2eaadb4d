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


def swaps(exercise, *rows):
    """Mutants of one exercise by rows (name, old, new, says)."""
    return [edit(name, exercise, says, (old, new)) for name, old, new, says in rows]


MUTANTS = [
    *swaps(
        "fit_power_law",
        (
            "the_intercept_itself", RETURNED, RETURNED.replace("math.exp(", "("),
            "The intercept of the line is the logarithm of the coefficient: take exp of it.",
        ),
        (
            "exponent_first", RETURNED,
            "    return exponent, math.exp(log_y.mean().item() - exponent * log_x.mean().item())",
            "The order is (coefficient, exponent).",
        ),
        (
            "a_line_without_logarithms", "dtype=torch.float64).log()", "dtype=torch.float64)",
            "A power law is a straight line in the logarithms of x and y, not in x and y.",
        ),
        (
            "only_x_in_logarithms", "    centred = log_x - log_x.mean()\n",
            "    log_y = log_y.exp()\n    centred = log_x - log_x.mean()\n",
            "Both axes are logarithmic: take the logarithm of y as well.",
        ),
        (
            "only_y_in_logarithms", "    centred = log_x - log_x.mean()\n",
            "    log_x = log_x.exp()\n    centred = log_x - log_x.mean()\n",
            "Both axes are logarithmic: take the logarithm of x as well.",
        ),
        (
            "line_through_the_origin", SLOPE,
            "    exponent = (log_x @ log_y / (log_x @ log_x)).item()\n",
            "The line does not go through the origin: centre log x and log y first, or fit an intercept as well.",
        ),
        (
            "slope_the_other_way", SLOPE, SLOPE.replace("(centred @ centred)", "(log_y - log_y.mean()).square().sum()"),
            "The covariance is divided by the variance of log x, not by that of log y.",
        ),
        (
            "from_the_ends_alone", SLOPE,
            "    exponent = ((log_y[-1] - log_y[0]) / (log_x[-1] - log_x[0])).item()\n",
            "The slope comes from the first and the last point alone: least squares counts all points.",
        ),
        (
            "mean_of_the_slopes", SLOPE,
            "    order = log_x.argsort()\n    rise, run = log_y[order].diff(), log_x[order].diff()\n"
            "    exponent = (rise / run)[run > 0].mean().item()\n",
            "The mean of the slopes between neighbours is not the slope of least squares.",
        ),
        (
            "through_the_first_point", RETURNED,
            "    return math.exp(log_y[0].item() - exponent * log_x[0].item()), exponent",
            "The line of least squares goes through the mean of all points, not through the first one.",
        ),
        (
            "coefficient_of_the_mean", RETURNED,
            "    return (torch.tensor(ys, dtype=torch.float64) / torch.tensor(xs, dtype=torch.float64) ** exponent).mean().item(), exponent",
            "The mean of y / x^p is an arithmetic mean; least squares in logarithms gives the geometric one.",
        ),
        (
            "base_ten_and_exp", "dtype=torch.float64).log()", "dtype=torch.float64).log10()",
            "Logarithms to base 10 are undone by 10**, not by exp.",
        ),
        (
            "line_in_float32", "dtype=torch.float64).log()", "dtype=torch.float32).log()",
            "Computed in float32, the slope through near points has few digits left: use float64.",
        ),
        (
            "distances_of_y_itself", RETURNED,
            "    y, powers = torch.tensor(ys, dtype=torch.float64), torch.tensor(xs, dtype=torch.float64) ** exponent\n"
            "    return (y @ powers / (powers @ powers)).item(), exponent",
            "The coefficient minimises squares of y - c · x^p: the distances are those of the logarithms.",
        ),
        (
            "large_points_count_more", SLOPE,
            "    pull = torch.tensor(xs, dtype=torch.float64) / max(xs)\n"
            "    exponent = ((pull * centred) @ (log_y - log_y.mean()) / ((pull * centred) @ centred)).item()\n",
            "All points count alike.",
        ),
        (
            "int64_only", "[float(v) for v in x], [float(v) for v in y]",
            "torch.as_tensor(x).tolist(), torch.as_tensor(y).double().tolist()",
            "Python's ints may be larger than 64 bits: make each a float.",
        ),
        (
            "zero_has_a_logarithm", POSITIVE, "    if not all(0 <= v < math.inf for v in xs + ys):\n",
            "Zero has no logarithm: refuse it.",
        ),
        (
            "x_is_not_looked_at", POSITIVE, "    if not all(0 < v < math.inf for v in ys):\n",
            "A value of x that is not positive and finite has to be refused, too.",
        ),
        (
            "y_is_not_looked_at", POSITIVE, "    if not all(0 < v < math.inf for v in xs):\n",
            "A value of y that is not positive and finite has to be refused, too.",
        ),
        (
            "infinite_is_positive", POSITIVE, "    if not all(0 < v for v in xs + ys):\n",
            "Infinity is positive and lies on no line: refuse it.",
        ),
        (
            "nan_slips_through", POSITIVE, "    if any(v <= 0 or v == math.inf for v in xs + ys):\n",
            "No comparison with NaN is true: ask for what is allowed, not for what is forbidden.",
        ),
        (
            "bad_points_left_out", POSITIVE,
            "    kept = [(u, v) for u, v in zip(xs, ys) if 0 < u < math.inf and 0 < v < math.inf]\n"
            "    xs, ys = [u for u, _ in kept], [v for _, v in kept]\n    if False:\n",
            "Points without a logarithm are dropped in silence: raise a ValueError.",
        ),
        (
            "two_points_are_enough", TOO_FEW, "    if len(xs) != len(ys) or len(xs) < 2:\n",
            "Two points with the same x have no slope: there must be two different values of x.",
        ),
        (
            "lengths_are_not_compared", TOO_FEW,
            "    m = min(len(xs), len(ys))\n    xs, ys = xs[:m], ys[:m]\n    if len(set(xs)) < 2:\n",
            "x and y of different lengths are cut to the shorter one in silence: raise a ValueError.",
        ),
    ),
    *swaps(
        "growth_exponent",
        (
            "the_coefficient_is_returned", FITTED, FITTED.replace("[1]", "[0]"),
            "The answer is the exponent, and not the coefficient.",
        ),
        (
            "size_against_cost", FITTED, "    return fit_power_law([function(size) for size in sizes], sizes)[1]",
            "The cost depends on the size, not the other way round: log cost is the vertical axis.",
        ),
        (
            "largest_and_smallest_alone", FITTED,
            "    if len(sizes) < 2:\n        raise ValueError('sizes')\n"
            "    ends = [min(sizes), max(sizes)]\n    for size in sizes:\n        function(size) if size not in ends else None\n"
            "    return fit_power_law(ends, [function(size) for size in ends])[1]",
            "The slope comes from two sizes: all of them count.",
        ),
        (
            "called_twice", FITTED,
            "    for size in sizes:\n        if not function(size) > 0:\n            raise ValueError('a cost is not positive')\n" + FITTED,
            "The function is called once for each size: keep what it returned.",
        ),
        (
            "called_with_floats", FITTED, FITTED.replace("function(size)", "function(float(size) + 0.0)"),
            "The function gets the very sizes that were given, and those are ints.",
        ),
        (
            "rounded_to_a_whole_power", FITTED, "    return float(round(fit_power_law(sizes, [function(size) for size in sizes])[1]))",
            "The slope is not rounded: n log n, for example, is no whole power.",
        ),
        (
            "ratio_of_logarithms", FITTED,
            "    costs = [function(size) for size in sizes]\n    fit_power_law(sizes, costs)\n"
            "    return sum(math.log(c) / math.log(s) for c, s in zip(costs, sizes) if s > 1) / max(1, sum(s > 1 for s in sizes))",
            "log cost / log size is not the slope: a constant factor changes it.",
        ),
        (
            "cost_of_zero_skipped", FITTED,
            "    costs = [function(size) for size in sizes]\n    kept = [i for i, c in enumerate(costs) if c > 0]\n"
            "    return fit_power_law([sizes[i] for i in kept], [costs[i] for i in kept])[1]",
            "A cost that is not positive is left out in silence: raise a ValueError.",
        ),
        (
            "costs_in_a_whole_tensor", FITTED,
            "    return fit_power_law(sizes, torch.tensor([function(size) for size in sizes], dtype=torch.int64))[1]",
            "A cost need not be a whole number that fits in 64 bits.",
        ),
        (
            "first_call_warms_up", FITTED, "    function(sizes[0])\n" + FITTED,
            "Nothing needs warming up when operations are counted: call the function once for each size.",
        ),
    ),
]
