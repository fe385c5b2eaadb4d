"""Named mistakes: each must fail in its exercise, and each says what a student who made it should read."""

from autograder.testing.variants import edit

MUTANTS = [
    edit("off_by_one", "padding_mask", "One token too many is real: position j is real if j < length.", ("< lengths[..., None]", "<= lengths[..., None]")),
]
