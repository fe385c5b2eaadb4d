"""`autograder upgrade`: a newer release of the course into this checkout."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

RELEASE = typer.Argument(metavar="RELEASE", help="The new release: its folder or its zip.", show_default=False)
COURSE = typer.Option("--course", help="The checkout to upgrade, if it is not the one with this package.", show_default=False)


def upgrade(release: Annotated[Path, RELEASE], course_folder: Annotated[Path | None, COURSE] = None) -> None:
    """Bring this checkout to a newer release of the course; your work stays."""
    from autograder.course import load_course
    from autograder.intake import UsageError
    from autograder.student import upgrade as upgrading
    from autograder.student.manifest import ReleaseError

    root = load_course(course_folder).root
    try:
        plan, backup = upgrading.upgrade(root, release)
    except ReleaseError as error:
        raise UsageError(str(error)) from error
    except upgrading.Refused as refused:
        print("autograder: nothing was changed:", file=sys.stderr)
        for reason in refused.reasons:
            print(f"  {reason}", file=sys.stderr)
        raise typer.Exit(1) from None
    except OSError as error:
        undone = "" if isinstance(error, upgrading.NotPutBack) else "; everything is as it was"
        print(f"autograder: the upgrade failed: {error}{undone}", file=sys.stderr)
        raise typer.Exit(1) from None
    for note in plan.notes:
        print(note)
    if backup is None:
        print("This checkout is at that release already.")
    else:
        count = len(plan.contents)
        print(f"Upgraded: {count} file{'s' * (count != 1)} changed. What was there before: {backup.relative_to(root)}")


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(upgrade)
