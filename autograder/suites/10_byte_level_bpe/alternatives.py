"""Unusual right solutions: each must get full marks."""

from autograder.testing.variants import alternative, edit

ALTERNATIVES = []
