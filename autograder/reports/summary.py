"""A result in a few lines of Markdown, for the summary of a workflow's step."""

from autograder import inert
from autograder.reports.markdown import MARKS
from autograder.reports.results import Results


def summary(results: Results) -> str:
    """The score and one row for each module, how many of its exercises are in which state; no words of the submission."""
    head = f"**{results.score:g} of {results.max_score:g} points** for {inert.name(results.submission.name)}\n\n"
    rows = ["| module | points | exercises |", "| --- | ---: | --- |"]
    for module in results.modules:
        states = [exercise.status for exercise in module.exercises]
        counts = ", ".join(f"{states.count(state)} {mark}" for state, mark in MARKS.items() if state in states)
        told = "not graded" if module.status == "rejected" else counts
        rows.append(f"| {inert.name(module.id)} | {module.score:g} / {module.max_score:g} | {told} |")
    return head + "\n".join(rows) + "\n"
