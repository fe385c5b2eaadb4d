"""Named mistakes: each must fail in its exercise, and each says what a student who made it should read."""

from autograder.testing.variants import edit

MUTANTS = [
    edit(
        "bias_once_a_shard",
        "row_parallel_linear",
        "Every shard adds the bias, so it is in the sum once a shard: add it once, after the sum.",
        ("F.linear(x, columns)", "F.linear(x, columns, bias)"),
        ("return total if bias is None else total + bias", "return total"),
    ),
]
