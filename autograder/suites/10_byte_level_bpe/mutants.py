"""Wrong solutions by name, each with the sentence that a student who made that mistake should read."""

from autograder.testing.variants import edit, mutant

MUTANTS = []
