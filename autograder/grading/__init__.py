"""Run a suite against a worker and score what came of it."""
