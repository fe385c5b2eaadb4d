"""A result as Markdown: a comment on a pull request, the page of a check, the summary of a workflow's step.

Words of the submission stand in code only (see `inert`); all else is the course's own.
"""

from collections.abc import Sequence

from autograder import inert
from autograder.reports.results import ExerciseResult, ModuleResult, Results

LIMIT = 60_000  # GitHub takes 65,535 characters
ADVICE_CHARACTERS = 1500

MARKS = {
    "passed": "✅ passed",
    "partial": "🟡 partly",
    "failed": "❌ not yet",
    "todo": "⬜ to do",
    "policy": "⛔ forbidden call",
}


def markdown(results: Results, notes: Sequence[str] = (), limit: int = LIMIT) -> str:
    """The score, a table for each module, and below it what to read first for each exercise that needs work.

    `results` is what the reader may see (see `visibility`). `notes` are sentences about the submission as a whole. What does not
    fit into `limit` characters is left out, the last exercises' advice first, and the text says so.
    """
    tables = [f"**{results.score:g} of {results.max_score:g} points**"]
    tables += [inert.block(note) for note in notes]
    if not results.modules:
        tables.append("No module of the course was found in this submission.")
    advice = []
    for module in results.modules:
        tables.append(_table(module))
        advice += [_advice(module, exercise) for exercise in module.exercises if _needs_words(module, exercise)]
    return _within(tables, advice, limit)


def _table(module: ModuleResult) -> str:
    head = f"### {inert.name(module.id)}: {module.score:g} of {module.max_score:g}"
    if module.status == "rejected":
        return f"{head}\n\nThis module could not be graded:\n\n{inert.block(module.message)}"
    rows = ["| exercise | | points |", "| --- | --- | ---: |"]
    for exercise in module.exercises:
        mark = MARKS[exercise.status]
        rows.append(f"| {inert.name(exercise.name)} | {mark} | {exercise.score:g} / {exercise.max_score:g} |")
    parts = [head, "\n".join(rows)]
    if module.substituted:
        names = ", ".join(inert.name(each) for each in module.substituted)
        parts.append(f"Graded on the course's own {names}, since this submission's does not pass or is not part of it.")
    return "\n\n".join(parts)


def _needs_words(module: ModuleResult, exercise: ExerciseResult) -> bool:
    return module.status == "graded" and exercise.status not in ("passed", "todo") and bool(exercise.message.strip())


def _advice(module: ModuleResult, exercise: ExerciseResult) -> str:
    text = exercise.message.strip()
    short = text if len(text) <= ADVICE_CHARACTERS else text[: ADVICE_CHARACTERS - 1].rstrip() + "…"
    return f"{inert.name(exercise.name)} in {inert.name(module.id)}\n\n{inert.block(short)}"


def _within(tables: list[str], advice: list[str], limit: int) -> str:
    kept = list(advice)
    while True:
        missing = len(advice) - len(kept)
        left_out = "1 exercise is" if missing == 1 else f"{missing} exercises are"
        closing = [f"There is more to say than fits here: {left_out} left out."] if missing else []
        text = "\n\n".join([*tables, *kept, *closing]) + "\n"
        if len(text) <= limit:
            return text
        if not kept:
            return f"{tables[0]}\n\nThe details do not fit here.\n"
        kept.pop()
