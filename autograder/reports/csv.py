"""Results as a table for a gradebook: a row for each submission, a column for each exercise. Points only, no words."""

import csv as table
import io
import unicodedata
from collections.abc import Mapping, Sequence

from autograder.grading.score import totals
from autograder.reports.results import ModuleResult, Results


def csv(all_results: Sequence[Results]) -> str:
    """The rows in the order given, after a header; a module that a submission does not hold leaves its cells empty.

    Several results of one name are one row, in which a module that comes again counts as it was graded last.
    """
    rows: dict[str, dict[str, ModuleResult]] = {}
    for results in all_results:
        rows.setdefault(results.submission.name, {}).update({module.id: module for module in results.modules})
    columns = dict.fromkeys(key for modules in rows.values() for key in _points(modules))
    out = io.StringIO()
    writer = table.writer(out, lineterminator="\n")
    writer.writerow(["submission", "score", "max_score", *map(_cell, columns)])
    for name, modules in rows.items():
        points = _points(modules)
        row = [_cell(name), *(f"{total:g}" for total in totals(modules.values()))]
        writer.writerow([*row, *(f"{points[key]:g}" if key in points else "" for key in columns)])
    return out.getvalue()


def _points(modules: Mapping[str, ModuleResult]) -> dict[str, int | float]:
    points: dict[str, int | float] = {}
    for module in modules.values():
        points[module.id] = module.score
        points |= {f"{module.id}: {exercise.name}": exercise.score for exercise in module.exercises}
    return points


def _cell(text: str) -> str:
    """A spreadsheet takes what begins with one of these, in their full width as well, for a formula, and runs it."""
    return f"'{text}" if unicodedata.normalize("NFKC", text[:1]) in ("=", "+", "-", "@", "\N{MINUS SIGN}") else text
