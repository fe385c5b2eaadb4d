"""`autograder verify` and `autograder sync`: the suites are proved, and what is generated is kept in step."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from autograder.course import load_course
from autograder.grading.warm import zygote_for

MODULES = typer.Argument(metavar="[MODULE]...", help="All of them when none is named.", show_default=False)
COURSE = typer.Option("--course", help="The course's folder, if it is not the one with this package.", show_default=False)


def verify(
    modules: Annotated[list[str] | None, MODULES] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print only what is wrong.")] = False,
    cheats: Annotated[bool, typer.Option("--cheats/--without-cheats", help="Whether to try the cheats, too.")] = True,
    names: Annotated[
        bool, typer.Option("--names", help="Count the mutants whose own sentence explains the failure: it takes longer.")
    ] = False,
    note: Annotated[
        bool, typer.Option("--note", help="Write down which test catches each mutant soonest: it comes first from then on.")
    ] = False,
    quick: Annotated[
        bool, typer.Option("--quick", help="Try less on alternatives, and fewer general cheats: see docs/writing-a-module.md.")
    ] = False,
    course_folder: Annotated[Path | None, COURSE] = None,
) -> None:
    """Prove the suites: the reference, the stub, every mutant, alternative and cheat get what they deserve."""
    course = load_course(course_folder)
    chosen = [course.module(key) for key in modules] if modules else list(course.modules)
    zygote = zygote_for(course)
    from autograder.authoring.checks import Scope  # while the zygote warms up: it takes seconds, too
    from autograder.authoring.verify import verify as prove

    raise typer.Exit(0 if prove(course, chosen, zygote, Console(), Scope(cheats, names or note, note, quick), quiet) else 1)


def sync(
    check: Annotated[bool, typer.Option("--check", help="Write nothing; fail when a file is out of step.")] = False,
    course_folder: Annotated[Path | None, COURSE] = None,
) -> None:
    """Make the stubs and notebooks in exercises/ from the solutions."""
    from autograder.authoring import generated

    root = load_course(course_folder).root
    try:
        found = generated.sync(root, check)
    except generated.GenerationError as error:
        print(f"autograder: {error}", file=sys.stderr)
        raise typer.Exit(1) from None
    for path in found.paths:
        done = "removed" if path in found.removed else "written"
        print(f"{'out of step' if check else done}: {path.relative_to(root)}")
    raise typer.Exit(1 if check and found.paths else 0)


def register(app: typer.Typer) -> None:
    """Add the commands."""
    for command in (verify, sync):
        app.command()(command)
