"""The command line. Exit status: 0 done (whatever the score), 1 a check failed, 2 usage, 3 the grader itself failed."""

from __future__ import annotations

import os
import signal
import sys
import traceback
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from autograder.course import Course, CourseError, Module, load_course
from autograder.intake import UsageError, collect, name_all

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Grade submissions, prove the suites, make stubs from solutions.",
)

SINGLE_THREADED = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
SubmissionArgument = typer.Argument(
    metavar="SUBMISSION", help="Folders, zip files or single .py files.", show_default=False
)
ModulesArgument = typer.Argument(metavar="MODULE", help="All of them when none is named.", show_default=False)
CourseOption = typer.Option(
    "--course", help="The course's folder, if it is not the one with this package.", show_default=False
)
ModuleOption = Annotated[list[str] | None, typer.Option("--module", "-m", help="A module: 01, its folder or its file's name.")]


def main() -> None:
    """The console script `autograder`."""
    for name in SINGLE_THREADED:  # before anything imports torch: processes with threads must not fork
        os.environ[name] = "1"
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what was made is cleaned away
    try:
        sys.exit(app(standalone_mode=False) or 0)  # a typer.Exit comes back as its status
    except (UsageError, CourseError) as error:
        _fail(str(error), 2)
    except typer.Abort:
        _fail("stopped", 130)
    except KeyboardInterrupt:
        _fail("stopped", 130)
    except Exception as error:
        if hasattr(error, "format_message"):  # click's usage errors
            _fail(error.format_message(), 2)
        if type(error).__name__ != "GraderError":
            traceback.print_exc()
        _fail(f"the grader itself failed: {error}", 3)


@app.command()
def grade(
    submissions: Annotated[list[Path], SubmissionArgument],
    module: ModuleOption = None,
    out: Annotated[Path, typer.Option(help="Results go to OUT/<submission>/results.json.")] = Path("results"),
    require_sandbox: Annotated[bool, typer.Option(help="Refuse to grade without Landlock and seccomp.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print the results as JSON instead of tables.")] = False,
    course_folder: Annotated[Path | None, CourseOption] = None,
) -> None:
    """Grade submissions with the hidden suites."""
    from autograder.grading import run

    course = load_course(course_folder)
    modules = [course.module(key) for key in module] if module else None
    names = name_all(submissions)
    taken = [collect(path, course, modules, name) for path, name in zip(submissions, names, strict=True)]
    run.grade_and_report(course, taken, out, require_sandbox, json)


@app.command()
def verify(
    modules: Annotated[list[str] | None, ModulesArgument] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print only what is wrong.")] = False,
    cheats: Annotated[bool, typer.Option("--cheats/--without-cheats", help="Whether to try the cheats, too.")] = True,
    course_folder: Annotated[Path | None, CourseOption] = None,
) -> None:
    """Prove the suites: the reference, the stub, every mutant, alternative and cheat get what they deserve."""
    from autograder.authoring.verify import verify as prove

    course = load_course(course_folder)
    raise typer.Exit(0 if prove(course, _chosen(course, modules), Console(), quiet, cheats) else 1)


@app.command()
def sync(
    check: Annotated[bool, typer.Option("--check", help="Write nothing; fail when a stub is out of step.")] = False,
    course_folder: Annotated[Path | None, CourseOption] = None,
) -> None:
    """Make the stubs in exercises/ from the solutions."""
    from autograder.authoring.stubs import StubError
    from autograder.authoring.stubs import sync as write_stubs

    root = load_course(course_folder).root
    try:
        changed = write_stubs(root, check)
    except (StubError, FileNotFoundError) as error:
        _fail(str(error), 1)
    for path in changed:
        print(f"{'out of step' if check else 'written'}: {path.relative_to(root)}")
    raise typer.Exit(1 if check and changed else 0)


def _chosen(course: Course, keys: list[str] | None) -> list[Module]:
    return [course.module(key) for key in keys] if keys else list(course.modules)


def _fail(message: str, status: int) -> None:
    print(f"autograder: {message}", file=sys.stderr)
    sys.exit(status)
