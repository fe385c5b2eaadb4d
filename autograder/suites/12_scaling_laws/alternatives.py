"""Unusual right solutions: each must get full marks."""

ALTERNATIVES = []
