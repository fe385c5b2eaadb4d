"""Named mistakes: each must fail in its exercise, and each says what a student who made it should read."""


MUTANTS = []
