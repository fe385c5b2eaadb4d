"""Named mistakes: each must fail in its exercise, and each says what a student who made it should read."""

import torch
import torch.nn.functional as F

from autograder.testing.variants import edit, mutant

MUTANTS = [
    edit(
        "sum_in_place_of_the_mean",
        "cross_entropy",
        "The losses are added up: divide by the number of targets.",
        ("chosen.mean()", "chosen.sum()"),
    ),
]
