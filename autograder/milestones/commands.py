"""`autograder milestone NAME SUBMISSION`: grade a kernel, or a training run, on the GPU of this machine."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from autograder.course import Course
    from autograder.intake import Submission
    from autograder.reports.results import Results

NAMES = ("flash_attention", "gpt124m")
NAME = typer.Argument(metavar="NAME", help=f"One of: {', '.join(NAMES)}.", show_default=False)
SUBMISSION = typer.Argument(metavar="SUBMISSION", help="A folder, a zip file or a single .py file.", show_default=False)
COURSE = typer.Option("--course", help="The course's folder, if it is not the one with this package.", show_default=False)
TEXT = typer.Option(
    help="gpt124m: the text to train on (UTF-8), whose last tenth is held out. Otherwise TinyShakespeare.", show_default=False
)


def milestone(
    name: Annotated[str, NAME],
    submission: Annotated[Path, SUBMISSION],
    out: Annotated[Path, typer.Option(help="The result goes to OUT/<submission>/milestone.json.")] = Path("results"),
    json: Annotated[bool, typer.Option("--json", help="Print the result as JSON instead of a table.")] = False,
    text: Annotated[Path | None, TEXT] = None,
    course_folder: Annotated[Path | None, COURSE] = None,
) -> None:
    """Grade a milestone on the GPU of this machine: what comes out first, then how fast."""
    from autograder.intake import UsageError

    if name not in NAMES:
        raise UsageError(f"no milestone {name!r}; there is: {', '.join(NAMES)}")
    if not submission.exists():
        raise UsageError(f"{submission}: there is no such file or folder")
    if text is not None and (name != "gpt124m" or not text.is_file()):
        raise UsageError(f"--text {text}: there is no such file" if name == "gpt124m" else f"{name} trains on no text")
    raise typer.Exit(_graded(name, submission, out, json, text, course_folder))


def _graded(name: str, path: Path, out: Path, as_json: bool, text: Path | None, course_folder: Path | None) -> int:
    import torch

    if not torch.cuda.is_available():
        print("autograder: this milestone needs a CUDA GPU, and PyTorch sees none here", file=sys.stderr)
        return 1
    from rich.console import Console

    from autograder.course import load_course
    from autograder.reports.console import show
    from autograder.reports.results import to_json, write

    course = load_course(course_folder)
    with Console(stderr=True).status("reading the submission") as status:
        if name == "flash_attention":
            result = _flash_attention(course, path, status.update)
        else:
            result = _gpt124m(course, path, text, status.update)
    write(result, out / result.submission.name / "milestone.json")
    if as_json:
        print(to_json(result), end="")
    else:
        show(result, Console())
        for exercise in result.modules[0].exercises:
            for test in exercise.tests:
                print(f"  {test.outcome:8} {test.name}: {test.message or 'right'}")
    return 0


def _flash_attention(course: Course, path: Path, say: Callable[[str], object]) -> Results:
    import torch

    from autograder.milestones import flash_attention, grade

    scale = flash_attention.Scale()
    taken = _taken(course, path, flash_attention.MODULE)
    say("the GPU's own rate")
    return grade.grade(course, taken, scale, grade.device_ceiling(torch.device(scale.device)), say)


def _gpt124m(course: Course, path: Path, text: Path | None, say: Callable[[str], object]) -> Results:
    from autograder import data
    from autograder.intake import UsageError
    from autograder.milestones import gpt124m, grade

    try:
        content = (text or data.path("tinyshakespeare")).read_text(encoding="utf-8")
    except (data.DataError, UnicodeDecodeError) as error:
        raise UsageError(f"the text to train on: {error}") from None
    return grade.grade_training(course, _taken(course, path, gpt124m.MODULE), gpt124m.Scale(), content, say)


def _taken(course: Course, path: Path, module: str) -> Submission:
    from autograder.intake import collect

    return collect(path, course, [course.module(module)])


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(milestone)
