"""A result as a table for a person at a terminal: per exercise a mark, the points and the one thing to read first."""

from collections.abc import Sequence

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from autograder.reports.results import ExerciseResult, ModuleResult, Results

# status → mark, the mark where only ASCII can be printed, style
MARKS = {
    "passed": ("✓", "ok", "green"),
    "partial": ("◐", "part", "yellow"),
    "failed": ("✗", "no", "red"),
    "todo": ("TODO", "TODO", "dim"),
    "policy": ("!", "!", "magenta"),
}
ADVICE_LINES = 3
ADVICE_LENGTH = 360


def show(results: Results, console: Console) -> None:
    """Print one submission: who, how much, and a table for each module."""
    console.print(submission(results, ascii_only=_ascii_only(console)))


def show_summary(all_results: Sequence[Results], console: Console) -> None:
    """Print a closing table of several submissions; nothing for fewer than two."""
    if len(all_results) < 2:
        return
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("submission", overflow="fold")
    table.add_column("score", justify="right", no_wrap=True)
    table.add_column("exercises passed", justify="right", no_wrap=True)
    ascii_only = _ascii_only(console)
    for results in all_results:
        exercises = [exercise for module in results.modules for exercise in module.exercises]
        passed = sum(exercise.status == "passed" for exercise in exercises)
        table.add_row(
            Text(_plain(results.submission.name, ascii_only)),
            f"{results.score:g} / {results.max_score:g}",
            f"{passed} of {len(exercises)}",
        )
    console.print(table)


def submission(results: Results, ascii_only: bool = False) -> RenderableType:
    """One submission as something rich can print."""
    head = Text()
    head.append(_plain(results.submission.name, ascii_only), style="bold")
    head.append(f"  {results.score:g} / {results.max_score:g}", style=_score_style(results.score, results.max_score))
    sandbox = "; ".join(results.sandbox) or "none"
    lines: list[RenderableType] = [head, Text(_plain(f"sandbox: {sandbox}", ascii_only), style="dim")]
    if not results.modules:
        lines.append(Text("no module of the course was found in this submission", style="yellow"))
    why = {module.message for module in results.modules if module.status == "rejected"}
    if len(results.modules) > 1 and len(why) == 1 and all(module.status == "rejected" for module in results.modules):
        lines += [Text(), Text("every module", style="bold"), _not_graded(why.pop(), ascii_only)]
    else:
        lines += [line for module in results.modules for line in (Text(), *_module(module, ascii_only))]
    return Group(*lines, Text())


def advice(exercise: ExerciseResult) -> str:
    """The sentence shown beside an exercise: the beginning of its message, and its hint where that comes later."""
    lines = [line.strip() for line in exercise.message.splitlines() if line.strip()]
    hint = next((line for line in lines[ADVICE_LINES:] if line.startswith("hint: ")), "")
    text = "\n".join([*lines[:ADVICE_LINES], *[hint] * bool(hint)])
    return text if len(text) <= ADVICE_LENGTH else text[: ADVICE_LENGTH - 1].rstrip() + "…"


def _module(module: ModuleResult, ascii_only: bool) -> list[RenderableType]:
    head = Text.assemble((_plain(module.id, ascii_only), "bold"), f"  {module.score:g} / {module.max_score:g}")
    lines: list[RenderableType] = [head]
    if module.status == "rejected":
        return [*lines, _not_graded(module.message, ascii_only)]
    if module.substituted:
        names = ", ".join(module.substituted)
        note = f"graded on the course's own {names}, since this submission's does not pass or is not part of it"
        lines.append(Padding(Text(_plain(note, ascii_only), style="dim"), (0, 0, 0, 2), expand=False))
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True, min_width=6)
    table.add_column(overflow="fold", max_width=30)
    table.add_column(justify="right", no_wrap=True)
    table.add_column(overflow="fold")
    for exercise in module.exercises:
        mark, ascii_mark, style = MARKS[exercise.status]
        table.add_row(
            Text("  " + (ascii_mark if ascii_only else mark), style=style),
            Text(_plain(exercise.name, ascii_only)),
            Text(f"{exercise.score:g} / {exercise.max_score:g}"),
            Text(_plain(advice(exercise), ascii_only)),
        )
    return [*lines, table]


def _not_graded(why: str, ascii_only: bool) -> RenderableType:
    return Padding(Text(_plain(f"not graded: {why}", ascii_only), style="red"), (0, 0, 0, 2), expand=False)


def _score_style(score: float, max_score: float) -> str:
    return "bold red" if score == 0 else "bold green" if score == max_score else "bold yellow"


def _ascii_only(console: Console) -> bool:
    return not console.encoding.lower().replace("-", "").startswith("utf")


def _plain(text: str, ascii_only: bool) -> str:
    return text.encode("ascii", "replace").decode() if ascii_only else text
