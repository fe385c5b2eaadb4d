"""The command `nbgrader`: grade an nbgrader course's submissions in workers."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Annotated

import typer

CourseDirArgument = typer.Argument(metavar="COURSE_DIR", help="The folder with gradebook.db.", show_default=False)
AssignmentArgument = typer.Argument(metavar="ASSIGNMENT", help="The assignment's name in nbgrader.", show_default=False)
ModuleOption = typer.Option("--module", "-m", help="The module, if the notebook has another name.", show_default=False)
OutOption = typer.Option(help="Results go to OUT/<student>/results.json, too.")
SandboxOption = typer.Option(help="Refuse to grade without Landlock and seccomp.")
CourseOption = typer.Option("--course", help="The course's folder, if it is not the one with this package.", show_default=False)


def nbgrader(
    course_dir: Annotated[Path, CourseDirArgument],
    assignment: Annotated[str, AssignmentArgument],
    module: Annotated[str | None, ModuleOption] = None,
    out: Annotated[Path, OutOption] = Path("results"),
    require_sandbox: Annotated[bool, SandboxOption] = False,
    course_folder: Annotated[Path | None, CourseOption] = None,
) -> None:
    """Grade every submission of an nbgrader assignment; scores and comments go into its gradebook."""
    from autograder.course import load_course
    from autograder.grading.warm import zygote_for
    from autograder.intake import UsageError

    if importlib.util.find_spec("nbgrader") is None:
        raise UsageError("nbgrader is not installed: pip install -e '.[notebooks]'")
    from autograder.nbgrader import bridge
    from autograder.reports.results import read

    course = load_course(course_folder)
    chosen = course.module(module) if module else None
    found = bridge.open_assignment(course_dir, assignment, course, chosen)
    taken = bridge.submissions(found, course)
    if not taken:
        raise UsageError(f"{found.folder('submitted', '*')}: nobody has handed in {assignment}")
    zygote = zygote_for(course)
    from autograder.grading.run import grade_and_report  # while the zygote warms up: it takes seconds, too

    grade_and_report(course, list(taken.values()), zygote, out, require_sandbox, False)
    for student, submission in taken.items():
        bridge.record(found, student, read(out / submission.name / "results.json"), course)
    missing = bridge.unread(found, list(taken))
    print(f"recorded in the gradebook: {len(taken)}" + (f"; nothing handed in: {', '.join(missing)}" if missing else ""))
    if timeless := bridge.without_time(found, list(taken)):
        print(f"{bridge.TIMESTAMP} is no time and was left out, so no lateness is known: {', '.join(timeless)}")


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(nbgrader)
