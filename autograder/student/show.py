"""What the student's commands print: colour and marks in a terminal, the same words as plain text elsewhere."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from itertools import pairwise

from rich.console import Console
from rich.text import Text

from autograder.course import Course, Exercise, Module
from autograder.student.outcome import ExerciseOutcome, ModuleOutcome

# status → mark, the mark where only ASCII can be printed, style
MARKS = {
    "passed": ("✓", "ok", "green"),
    "failed": ("✗", "no", "red"),
    "todo": ("·", "--", "dim"),
    "skipped": ("-", "-", "yellow"),
    "not run": ("?", "?", "yellow"),
}
MESSAGE_LINES = 24
PRINTED_LINES = 12
VERDICT_COLUMNS = 45  # `first finish GPTConfig.__post_init__ of` and more; with less room it goes on further left
WIDTH = 100


def line(console: Console, *parts: str | tuple[str, str], hang: int = 4) -> None:
    """One line; a part is text or (text, style). What would steer the terminal is shown as `?`.

    On a terminal that is too narrow for it, it goes on below, between two words and `hang` columns to the right. Elsewhere it
    stays one line, and so does a word that is longer than a terminal's line: a path should be found and copied whole.
    """
    text = Text()
    for part in parts:
        words, style = part if isinstance(part, tuple) else (part, "")
        text.append(_printable(console, words), style)
    if not console.is_terminal or text.cell_len <= console.width:
        console.print(text, soft_wrap=True, highlight=False)
        return
    for start, end in pairwise((0, *_breaks(text.plain, max(console.width, 2 * hang), hang), len(text))):
        piece = text[start:end]
        piece.rstrip()
        console.print(Text(" " * hang if start else "") + piece, soft_wrap=True, highlight=False)


def block(console: Console, text: str, indent: str = "    ", style: str = "") -> None:
    """Several lines, indented, as they are."""
    for one in text.splitlines():
        line(console, (indent + one, style), hang=len(indent) + len(one) - len(one.lstrip()) + 2)


def paragraph(console: Console, text: str, indent: str = "", style: str = "") -> None:
    """Running text, filled to the console's width."""
    width = min(console.width, WIDTH)
    for one in textwrap.wrap(text, width, initial_indent=indent, subsequent_indent=indent, break_long_words=False):
        line(console, (one, style))


def module_lines(console: Console, outcome: ModuleOutcome) -> None:
    """The module's heading and one line per exercise."""
    module = outcome.module
    passed = sum(exercise.status == "passed" for exercise in outcome.exercises)
    count = f"{passed} of {len(outcome.exercises)} exercises, {outcome.points} of {points(module)} points in reach"
    line(console, (module.id, "bold"), "  nothing can be tested yet" if outcome.problem else f"  {count}")
    if outcome.problem:
        block(console, outcome.problem, "  ", "red")
        return
    width = max(len(exercise.name) for exercise in outcome.exercises)
    column = len("  ✓  ") + width + len("  100  ")
    hang = column if console.width - column >= VERDICT_COLUMNS else len("  ✓   ")
    for exercise in outcome.exercises:
        line(console, *exercise_parts(console, exercise, width, module.exercise(exercise.name).points), hang=hang)


def exercise_parts(console: Console, exercise: ExerciseOutcome, width: int, worth: int) -> list[str | tuple[str, str]]:
    """One exercise: mark, name, points, and how far it is."""
    mark, style = mark_of(console, exercise.status)
    tests = f"{exercise.passed} of {exercise.tests} test{'s' if exercise.tests != 1 else ''}"
    words = {"passed": tests, "failed": f"FAILED, {tests}", "todo": "TODO", "skipped": "skipped on this machine"}
    first = f": first finish {origin(exercise.waits_for)}" if exercise.waits_for else ""
    text = words.get(exercise.status, exercise.status) + first
    return [(f"  {mark:2} ", style), f"{exercise.name:{width}}  {worth:3}  ", (text, style)]


def lesson(console: Console, outcome: ExerciseOutcome) -> None:
    """What the exercise's first failed test has to say."""
    line(console, (outcome.name, "bold red"), (f": {outcome.title}", "bold"))
    lines = outcome.message.splitlines()
    block(console, "\n".join(lines[:MESSAGE_LINES] + (["…"] if len(lines) > MESSAGE_LINES else [])))
    if outcome.printed.strip():
        printed = outcome.printed.rstrip().splitlines()
        line(console, ("    your code printed:", "dim"))
        block(console, "\n".join((["…"] if len(printed) > PRINTED_LINES else []) + printed[-PRINTED_LINES:]), "      ")


def hint(console: Console, exercise: Exercise, level: int) -> None:
    """The hint of that level, counted from 1."""
    line(console, (f"hint {level} of {len(exercise.hints)} for {exercise.name}", "bold cyan"))
    paragraph(console, exercise.hints[level - 1], "    ")


def assignment(console: Console, module: Module, exercise: Exercise) -> None:
    """What to write, where, and why."""
    file = f"exercises/{module.id}/{module.file_of(exercise)}"
    line(console, ("next: ", "bold"), (exercise.name, "bold"), f" ({exercise.points} points) in {file}")
    paragraph(console, exercise.why, "    ")


def mark_of(console: Console, status: str) -> tuple[str, str]:
    """A status's mark and style."""
    mark, ascii_mark, style = MARKS[status]
    return (ascii_mark if ascii_only(console) else mark), style


def origin(waits_for: str) -> str:
    """`causal_mask in 01_attention` → `causal_mask of 01_attention`."""
    return waits_for.replace(" in ", " of ", 1)


def points(module: Module) -> int:
    """The points of all its exercises."""
    return sum(exercise.points for exercise in module.exercises)


def course_points(course: Course, modules: Sequence[Module] | None = None) -> int:
    """The points of these modules, or of all."""
    return sum(points(module) for module in (course.modules if modules is None else modules))


def ascii_only(console: Console) -> bool:
    """Whether the terminal or file takes nothing but ASCII."""
    return not console.encoding.lower().replace("-", "").startswith("utf")


def _breaks(text: str, width: int, hang: int) -> list[int]:
    """Where in the text a new line begins."""
    found = []
    start, room = 0, width
    while len(text) - start > room:
        end = text.rfind(" ", start, start + room + 1)
        if end < 0 or not text[start:end].strip():  # not even the first word fits
            indent = len(text[start:]) - len(text[start:].lstrip())
            end = text.find(" ", start + indent)
        if end < 0:
            break
        start, room = end + 1, width - hang
        found.append(start)
    return found


def _printable(console: Console, text: str) -> str:
    text = "".join(character if character.isprintable() or character == "\t" else "?" for character in text)
    return text.encode("ascii", "replace").decode() if ascii_only(console) else text
