"""`autograder milestone flash_attention SUBMISSION`: grade a kernel on the GPU of this machine."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

NAMES = ("flash_attention",)
NAME = typer.Argument(metavar="NAME", help=f"One of: {', '.join(NAMES)}.", show_default=False)
SUBMISSION = typer.Argument(metavar="SUBMISSION", help="A folder, a zip file or a single .py file.", show_default=False)
COURSE = typer.Option("--course", help="The course's folder, if it is not the one with this package.", show_default=False)


def milestone(
    name: Annotated[str, NAME],
    submission: Annotated[Path, SUBMISSION],
    out: Annotated[Path, typer.Option(help="The result goes to OUT/<submission>/milestone.json.")] = Path("results"),
    json: Annotated[bool, typer.Option("--json", help="Print the result as JSON instead of a table.")] = False,
    course_folder: Annotated[Path | None, COURSE] = None,
) -> None:
    """Grade a milestone on the GPU of this machine: values first, then speed and memory."""
    from autograder.intake import UsageError

    if name not in NAMES:
        raise UsageError(f"no milestone {name!r}; there is: {', '.join(NAMES)}")
    if not submission.exists():
        raise UsageError(f"{submission}: there is no such file or folder")
    raise typer.Exit(_flash_attention(submission, out, json, course_folder))


def _flash_attention(path: Path, out: Path, as_json: bool, course_folder: Path | None) -> int:
    import torch

    if not torch.cuda.is_available():
        print("autograder: this milestone needs a CUDA GPU, and PyTorch sees none here", file=sys.stderr)
        return 1
    from rich.console import Console

    from autograder.course import load_course
    from autograder.intake import collect
    from autograder.milestones import flash_attention, grade
    from autograder.reports.console import show
    from autograder.reports.results import to_json, write

    course = load_course(course_folder)
    taken = collect(path, course, [course.module(flash_attention.MODULE)])
    scale = flash_attention.Scale()
    with Console(stderr=True).status("the GPU's own rate") as status:
        result = grade.grade(course, taken, scale, grade.device_ceiling(torch.device(scale.device)), status.update)
    write(result, out / result.submission.name / "milestone.json")
    if as_json:
        print(to_json(result), end="")
    else:
        show(result, Console())
        for exercise in result.modules[0].exercises:
            for test in exercise.tests:
                print(f"  {test.outcome:8} {test.name}: {test.message or 'right'}")
    return 0


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(milestone)
