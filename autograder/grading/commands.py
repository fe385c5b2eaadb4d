"""`autograder grade`: submissions in, results out."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from autograder.course import load_course
from autograder.grading.warm import zygote_for
from autograder.intake import Submission, UsageError, collect, name_all
from autograder.sources import printable

SUBMISSIONS = typer.Argument(
    metavar="SUBMISSION", help="Folders, zip files or single .py or .ipynb files.", show_default=False
)
MODULE = typer.Option("--module", "-m", help="A module: 01, its folder or its file's name.", show_default=False)
COURSE = typer.Option("--course", help="The course's folder, if it is not the one with this package.", show_default=False)

MOST_NAMED = 20  # of the submissions with which something is wrong


def grade(
    submissions: Annotated[list[Path], SUBMISSIONS],
    module: Annotated[list[str] | None, MODULE] = None,
    out: Annotated[Path, typer.Option(help="Results go to OUT/<submission>/results.json.")] = Path("results"),
    require_sandbox: Annotated[bool, typer.Option(help="Refuse to grade without Landlock and seccomp.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print the results as JSON instead of tables.")] = False,
    course_folder: Annotated[Path | None, COURSE] = None,
) -> None:
    """Grade submissions with the hidden suites."""
    course = load_course(course_folder)
    modules = [course.module(key) for key in module] if module else None
    names = name_all(submissions)
    taken, wrong = [], []
    for path, name in zip(submissions, names, strict=True):
        try:
            taken.append(collect(path, course, modules, name))
        except UsageError as error:
            wrong.append(str(error))
    if wrong:
        raise UsageError("\n".join(_first(wrong)))
    _make_folders(out, names)
    _lose_nothing(out, taken)
    zygote = zygote_for(course)
    from autograder.grading import run  # after all that can be said without it: it takes seconds

    run.grade_and_report(course, taken, zygote, out, require_sandbox, json)


def _make_folders(out: Path, names: Sequence[str]) -> None:
    """The results' folders. What cannot be written is found out before hours of grading, and not after."""
    for name in names:
        try:
            (out / name).mkdir(parents=True, exist_ok=True)
            if not os.access(out / name, os.W_OK | os.X_OK):
                raise PermissionError(0, "permission denied")
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise UsageError(f"--out {printable(out)}: no results can be written to {printable(out / name)}: {reason}") from None


def _lose_nothing(out: Path, submissions: Sequence[Submission]) -> None:
    """UsageError where a result that is there already holds modules which its successor will not hold."""
    from autograder.reports.results import read

    lost = []
    for submission in submissions:
        held: set[str] = set()
        with contextlib.suppress(OSError, ValueError):  # none is there, or none that could be read later
            held = {module.id for module in read(out / submission.name / "results.json").modules if module.status == "graded"}
        if missing := sorted(held - {item.module.id for item in submission.modules}):
            lost.append(f"{printable(out / submission.name)} has a result for {', '.join(missing)}, which would be lost")
    if lost:
        raise UsageError("\n".join([*_first(lost), "give another --out, or remove what is not needed any more"]))


def _first(sentences: Sequence[str]) -> list[str]:
    """The first ones, and how many more there are."""
    more = len(sentences) - MOST_NAMED
    return [*sentences[:MOST_NAMED], *[f"and {more} more"] * (more > 0)]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(grade)
