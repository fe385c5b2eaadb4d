"""`autograder release`: the student repository, checked for leaks and proved; and what changed between two releases."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import time
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import autograder

if TYPE_CHECKING:
    from autograder.authoring.leaks import Leak, LeakCheck


class Proving(StrEnum):
    """How a release is proved: with the installed packages, with all of them installed anew, or not at all."""

    QUICK = "quick"
    FULL = "full"
    NO = "no"


PROVINGS = tuple(how.value for how in Proving)
OUT = typer.Argument(metavar="OUT", help="Where the release goes: a new folder, or an earlier release.", show_default=False)
MODULES = typer.Option(metavar="00-06", help="Only these modules: ranges, numbers and names, with commas.", show_default=False)
SOLVED = typer.Option("--with-solutions", metavar="00-02", help="Ship the solutions of these modules.", show_default=False)
PROVE = typer.Option(metavar="|".join(PROVINGS), help="Prove it in a clean copy; full installs every package anew.")
DIFF = typer.Option("--diff", metavar="OLD NEW", help="Say what changed for students between two releases.", show_default=False)
COURSE = typer.Option("--course", help="The course's folder, if it is not the one with this package.", show_default=False)

LEAKS_SHOWN = 40
PUBLISHED_SEED = (
    "autograder: warning: the grading_seed is the published one, so anybody can know the hidden tests' inputs; "
    "before grading, set a secret one in {file} or {variable}"
)


def release(
    out: Annotated[Path | None, OUT] = None,
    modules: Annotated[str | None, MODULES] = None,
    with_solutions: Annotated[str | None, SOLVED] = None,
    zip_too: Annotated[bool, typer.Option("--zip", help="Also write OUT.zip.")] = False,
    git_too: Annotated[bool, typer.Option("--git", help="Make OUT a git repository with one commit.")] = False,
    prove: Annotated[str, PROVE] = Proving.QUICK.value,
    no_prove: Annotated[bool, typer.Option("--no-prove", help="The same as --prove=no.")] = False,
    diff: Annotated[tuple[Path, Path] | None, DIFF] = None,
    course_folder: Annotated[Path | None, COURSE] = None,
) -> None:
    """Make the student repository, search it for leaks, and prove it."""
    from autograder.intake import UsageError
    from autograder.student.manifest import ReleaseError

    if diff is not None:
        from autograder.authoring.changes import changes

        try:
            lines = changes(*diff)
        except ReleaseError as error:
            raise UsageError(str(error)) from error
        print("\n".join(lines) or "Nothing has changed for students.")
        return
    if out is None:
        raise UsageError("name the folder that the release goes to: autograder release OUT")
    if prove not in PROVINGS:
        raise UsageError(f"--prove {prove}: there is no such proof; choose one of {', '.join(PROVINGS)}")
    how = Proving.NO if no_prove else Proving(prove)
    raise typer.Exit(_make(out, modules, with_solutions, zip_too, git_too, how, course_folder))


def _make(
    out: Path, modules: str | None, solved: str | None, zip_too: bool, git_too: bool, how: Proving, course_folder: Path | None
) -> int:
    from autograder.authoring import release as releases
    from autograder.authoring.closure import LeftOutError
    from autograder.authoring.leaks import LeakCheck
    from autograder.authoring.prove import NotProved
    from autograder.authoring.prove import prove as prove_release
    from autograder.authoring.stubs import StubError
    from autograder.course import DEFAULT_SEED, OFFERING, SEED_VARIABLE, load_course
    from autograder.student.manifest import ReleaseError

    started = time.monotonic()
    course = load_course(course_folder)
    selection = releases.select(course, modules, solved)
    out = Path(os.path.abspath(out))
    releases.refuse_inside(out, course)
    archive = out.parent / f"{out.name}.zip"
    if zip_too:
        releases.refuse_to_lose_zip(archive)
    work = _folder_beside(out)
    try:
        contents = releases.contents_of(course, selection)
        built = work / "release"
        releases.write_folder(contents, built)
        commit = releases.write_git(built, autograder.__version__) if git_too else ""
        if zip_too:
            releases.write_zip(contents, work / "release.zip")
        leaks = _leaks(LeakCheck(course, {module.id for module in selection.solved}), built, work / "release.zip")
        if leaks:
            print(f"autograder: not released, {_counted(len(leaks), 'leak')}:", file=sys.stderr)
            for leak in leaks[:LEAKS_SHOWN]:
                print(f"  {leak}", file=sys.stderr)
            if len(leaks) > LEAKS_SHOWN:
                print(f"  and {len(leaks) - LEAKS_SHOWN} more", file=sys.stderr)
            return 1
        made = time.monotonic()
        if how is not Proving.NO:
            proof = prove_release(contents, selection, full=how is Proving.FULL)
        cost = time.monotonic() - made
        if zip_too:
            (work / "release.zip").replace(archive)
        releases.move_there(built, out)
    except (ReleaseError, LeftOutError, NotProved, StubError) as error:
        print(f"autograder: not released: {error}", file=sys.stderr)
        return 1
    finally:
        shutil.rmtree(work, ignore_errors=True)
    print(f"{out}: {_counted(len(selection.modules), 'module')}, {len(contents)} files, no leak ({made - started:.0f} s)")
    if how is not Proving.NO:
        skipped = f", {len(proof.skipped)} of them skipped here" if proof.skipped else ""
        print(f"proved: {proof.tests} public tests say TODO with the stubs and pass with the solutions{skipped} ({cost:.0f} s)")
    if zip_too:
        print(f"{archive}: sha256 {releases.digest(archive.read_bytes())}")
    if git_too:
        print(f"commit {commit}")
    if course.settings.grading_seed == DEFAULT_SEED:
        print(PUBLISHED_SEED.format(file=OFFERING, variable=SEED_VARIABLE), file=sys.stderr)
    return 0


def _folder_beside(out: Path) -> Path:
    """A new folder, to build in what is to be moved to OUT. UsageError where OUT cannot be written, or is not ours to replace."""
    from autograder.authoring import release as releases
    from autograder.intake import UsageError
    from autograder.sources import printable

    try:
        releases.refuse_to_lose(out)
        out.parent.mkdir(parents=True, exist_ok=True)
        return Path(tempfile.mkdtemp(prefix=f".{out.name}.new-", dir=out.parent))
    except OSError as error:
        reason = "not a directory" if isinstance(error, FileExistsError) else (error.strerror or str(error)).lower()
        raise UsageError(f"OUT {printable(out)}: no release can be written there: {reason}") from None


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'s' if number != 1 else ''}"


def _leaks(check: LeakCheck, built: Path, archive: Path) -> list[Leak]:
    """What has leaked into the folder, its git objects and the zip; what lies in several of them is read once."""
    from itertools import chain

    from autograder.authoring.views import Reader

    reader = Reader()
    zipped = reader.data(archive.name, archive.read_bytes()) if archive.is_file() else ()
    return check.check(chain(reader.folder(built), zipped))


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(release)
