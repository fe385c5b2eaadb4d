"""The command `report`: one result in the form that somebody or something else reads."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

FORMATS = ("markdown", "annotations", "junit", "gradescope", "summary", "csv", "json")

RESULTS = "A results.json, a folder with one, or a folder of such folders."
ResultsArgument = typer.Argument(metavar="RESULTS", help=RESULTS, show_default=False)
FormatOption = typer.Option("--format", "-f", help=f"One of {', '.join(FORMATS)}.")
SubmissionOption = typer.Option(help="The submission's folder, in which annotations look for the lines.", show_default=False)
StaffOption = typer.Option("--staff", help="Show all of the hidden tests, whatever the course's setting show_hidden.")
OutOption = typer.Option("--out", "-o", help="Write to this file instead of the terminal.", show_default=False)
CourseOption = typer.Option("--course", help="The course's folder, if it is not the one with this package.", show_default=False)


def report(
    results: Annotated[list[Path], ResultsArgument],
    form: Annotated[str, FormatOption] = "markdown",
    submission: Annotated[Path | None, SubmissionOption] = None,
    staff: Annotated[bool, StaffOption] = False,
    out: Annotated[Path | None, OutOption] = None,
    course_folder: Annotated[Path | None, CourseOption] = None,
) -> None:
    """Draw a report from results. What students may see of hidden tests follows the course's setting."""
    from autograder.course import load_course
    from autograder.intake import UsageError
    from autograder.reports.annotations import annotations, commands
    from autograder.reports.csv import csv
    from autograder.reports.gradescope import gradescope
    from autograder.reports.junit import junit
    from autograder.reports.markdown import markdown
    from autograder.reports.results import to_json
    from autograder.reports.summary import summary
    from autograder.reports.visibility import visible
    from autograder.sources import printable

    if form not in FORMATS:
        raise UsageError(f"--format {form}: there is no such form; choose one of {', '.join(FORMATS)}")
    course = load_course(course_folder)
    found = [_read(file) for path in results for file in _files(path)]
    if not staff:
        found = [visible(each, course.settings.show_hidden) for each in found]
    if form != "csv" and len(found) > 1:
        raise UsageError(f"--format {form} takes one result, not {len(found)}; only csv puts several into one table")
    match form:
        case "csv":
            text = csv(found)
        case "annotations":
            text = commands(annotations(found[0], course, _sources(submission, course) if submission else {}))
        case "json":
            text = to_json(found[0])
        case form:
            drawn = {"markdown": markdown, "junit": junit, "gradescope": gradescope, "summary": summary}
            text = drawn[form](found[0])
    if out:
        try:
            out.parent.mkdir(parents=True, exist_ok=True)
            out.write_text(text, encoding="utf-8")
        except OSError as error:
            raise UsageError(f"--out {printable(out)}: cannot be written: {error.strerror}") from None
    else:
        typer.echo(text, nl=False)


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(report)


def _files(path: Path) -> list[Path]:
    """The results at `path`: a file, a folder's, or those of all that `autograder grade --out` wrote there."""
    if not path.is_dir():
        return [path]
    own = path / "results.json"
    return [own] if own.exists() else sorted(path.glob("*/results.json")) or [own]


def _read(file: Path):
    from pydantic import ValidationError

    from autograder.intake import UsageError
    from autograder.reports.results import read
    from autograder.sources import printable

    try:
        return read(file)
    except OSError as error:
        raise UsageError(f"{printable(file)}: cannot be read: {error.strerror}; `autograder grade` writes such a file") from None
    except (ValidationError, UnicodeDecodeError, json.JSONDecodeError) as error:
        where = ""
        if isinstance(error, ValidationError):
            first = error.errors(include_input=False, include_context=False)[0]
            where = f" ({'.'.join(map(str, first['loc'])) or 'document'}: {first['msg']})"
        raise UsageError(f"{printable(file)}: is not a result of this autograder{where}") from None


def _sources(folder: Path, course) -> dict[str, str]:
    """The submission's texts, taken in as for grading, by the path that they have in the student's repository."""
    from autograder.intake import collect

    taken = collect(folder, course)
    return {f"exercises/{item.module.id}/{file}": text for item in taken.modules for file, text in item.files.items()}
