"""Results as a table for a gradebook: a row for each submission, a column for each exercise. Points only, no words."""

import csv as table
import io
import unicodedata
from collections.abc import Sequence

from autograder.reports.results import Results


def csv(all_results: Sequence[Results]) -> str:
    """The rows in the order given, after a header; a module that a submission does not hold leaves its cells empty."""
    columns = dict.fromkeys(key for results in all_results for key in _points(results))
    out = io.StringIO()
    writer = table.writer(out, lineterminator="\n")
    writer.writerow(["submission", "score", "max_score", *map(_cell, columns)])
    for results in all_results:
        points = _points(results)
        row = [_cell(results.submission.name), f"{results.score:g}", f"{results.max_score:g}"]
        writer.writerow([*row, *(f"{points[key]:g}" if key in points else "" for key in columns)])
    return out.getvalue()


def _points(results: Results) -> dict[str, int | float]:
    points: dict[str, int | float] = {}
    for module in results.modules:
        points[module.id] = module.score
        points |= {f"{module.id}: {exercise.name}": exercise.score for exercise in module.exercises}
    return points


def _cell(text: str) -> str:
    """A spreadsheet takes what begins with one of these, in their full width as well, for a formula, and runs it."""
    return f"'{text}" if unicodedata.normalize("NFKC", text[:1]) in ("=", "+", "-", "@", "\N{MINUS SIGN}") else text
