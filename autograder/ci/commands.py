"""The commands `autograder ci …`, each a step of a workflow. They run anywhere; the token comes from the environment."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, help="What the workflows run: fetch, grade and post a pull request; lint the workflows.")

FolderArgument = typer.Argument(metavar="FOLDER", help="What `ci fetch` wrote.", show_default=False)
RepositoryOption = typer.Option(metavar="OWNER/NAME", help="The repository that the pull request leads into.")
PullOption = typer.Option(help="The pull request's number.")
ShaOption = typer.Option(help="The commit to grade: the pull request's newest, in full.")
OutOption = typer.Option("--out", help="The folder to write to.")
ModuleOption = typer.Option("--module", "-m", help="A module; without one, those that the pull request changes.")
AllowOption = typer.Option(metavar="PATTERN", help="A repository that may be graded, such as 'my-org/llm-*'.")
UnconfinedOption = typer.Option("--unconfined", help="Grade without Landlock and seccomp, too. Never on a runner.")
FullMarksOption = typer.Option("--full-marks", help="Exit with status 1 unless every point is earned.")
ResultOption = typer.Option("--results", help="The results.json; without one, that is what is posted.", show_default=False)
CourseOption = typer.Option("--course", help="The course's folder, if it is not the one with this package.", show_default=False)


@app.command()
def fetch(
    repository: Annotated[str, RepositoryOption],
    pull: Annotated[int, PullOption],
    sha: Annotated[str, ShaOption],
    out: Annotated[Path, OutOption] = Path("submission"),
    module: Annotated[list[str] | None, ModuleOption] = None,
    allow: Annotated[list[str] | None, AllowOption] = None,
    course_folder: Annotated[Path | None, CourseOption] = None,
) -> None:
    """Fetch the files that the course names from a pull request, by API (GITHUB_TOKEN, GITHUB_API_URL)."""
    from autograder.ci import api
    from autograder.ci.fetch import Refused
    from autograder.ci.fetch import fetch as take
    from autograder.course import load_course

    course = load_course(course_folder)
    modules = [course.module(key) for key in module or ()]
    try:
        fetched = take(api.from_environment(), course, repository, pull, sha, out, modules, _patterns(allow))
    except (Refused, api.ApiError) as error:
        _fail(str(error))
    print(f"fetched {', '.join(fetched.modules) or 'nothing: no file of an exercise is changed'}")
    for name, problem in fetched.problems.items():
        print(f"{name}: {problem}")
    if outputs := os.environ.get("GITHUB_OUTPUT"):
        with open(outputs, "a", encoding="utf-8") as file:
            file.write(f"modules={' '.join(fetched.modules)}\n")


@app.command()
def grade(
    folders: Annotated[list[Path], FolderArgument],
    out: Annotated[Path, OutOption] = Path("results"),
    unconfined: Annotated[bool, UnconfinedOption] = False,
    full_marks: Annotated[bool, FullMarksOption] = False,
    course_folder: Annotated[Path | None, CourseOption] = None,
) -> None:
    """Grade what was fetched and write OUT/<folder>/results.json. Prints scores, and no word of a submission."""
    from autograder.ci.grade import grade_fetched
    from autograder.course import load_course

    whole = True
    for _, results in grade_fetched(folders, out, load_course(course_folder), require_sandbox=not unconfined):
        if results is None:
            print("nothing to grade")
        else:
            print(f"{results.submission.name}: {results.score:g} of {results.max_score:g} points")
        whole &= results is not None and results.score == results.max_score
    if full_marks and not whole:
        _fail("not every point is earned")


@app.command()
def post(
    folder: Annotated[Path, FolderArgument],
    results: Annotated[Path | None, ResultOption] = None,
    repository: Annotated[str | None, RepositoryOption] = None,
    pull: Annotated[int | None, PullOption] = None,
    sha: Annotated[str | None, ShaOption] = None,
    course_folder: Annotated[Path | None, CourseOption] = None,
) -> None:
    """Validate a result, then post it: a check run with annotations and one comment (GITHUB_TOKEN, GITHUB_API_URL).

    Repository, pull request and commit, where given, are those that were asked for: files of any others are posted nowhere.
    """
    from autograder.ci import api, fetched
    from autograder.ci import post as posting
    from autograder.ci.validate import Invalid, validated
    from autograder.course import load_course
    from autograder.intake import UsageError
    from autograder.sources import printable

    course = load_course(course_folder)
    note = fetched.read(folder)
    asked = {"repository": repository, "pull": pull, "sha": sha}
    if other := [f"--{key}" for key, value in asked.items() if value is not None and value != getattr(note, key)]:
        raise UsageError(f"{', '.join(other)}: the files in {printable(folder)} were fetched from elsewhere")
    problem = ""
    if not note.modules:
        told = posting.nothing_to_grade()
    else:
        taken = fetched.submission(folder, note, course)
        try:
            if results is None:
                raise Invalid("there is no result")
            told = posting.verdict(validated(results, taken, course), taken, course, fetched.as_notebooks(folder, taken))
        except Invalid as error:
            told, problem = posting.grader_failed(), str(error)
    try:
        posting.post(api.from_environment(), note, told)
    except api.ApiError as error:
        _fail(str(error))
    print(f"posted to {note.repository}#{note.pull}: {told.title}")
    if problem:
        _fail(problem)


@app.command("post-failure")
def post_failure(
    repository: Annotated[str, RepositoryOption],
    pull: Annotated[int, PullOption],
    sha: Annotated[str, ShaOption],
    allow: Annotated[list[str] | None, AllowOption] = None,
) -> None:
    """Where not even the files could be fetched: say at the pull request that this is not its author's doing.

    Where `ci fetch` would refuse to grade the pull request, nothing is posted.
    """
    from autograder.ci import api, fetch, fetched
    from autograder.ci import post as posting

    try:
        asked = api.from_environment()
        fetch.base_of(asked, repository, pull, sha, _patterns(allow))
        note = fetched.Fetched(repository=repository, pull=pull, sha=sha, modules=(), problems={})
        posting.post(asked, note, posting.grader_failed())
    except fetch.Refused as refused:
        print(f"nothing posted: {refused}")
    except api.ApiError as error:
        _fail(str(error))
    else:
        print(f"posted to {repository}#{pull}: {posting.grader_failed().title}")


@app.command()
def lint(course_folder: Annotated[Path | None, CourseOption] = None) -> None:
    """Check the workflow files; no network is needed."""
    from autograder.ci.lint import problems, workflows
    from autograder.course import load_course

    files = workflows(load_course(course_folder).root)
    found = problems(files)
    for tool, text in found.items():
        print(f"{tool}:\n{text}\n", file=sys.stderr)
    if found:
        _fail(f"{' and '.join(found)} found problems in the workflows")
    print(f"{len(files)} workflows are in order")


def register(parent: typer.Typer) -> None:
    """Add the commands."""
    parent.add_typer(app, name="ci")


def _patterns(allow: list[str] | None) -> list[str] | None:
    """The words of all options; none at all allow no repository."""
    return None if allow is None else [word for text in allow for word in text.split()]


def _fail(message: str) -> None:
    print(f"autograder: {message}", file=sys.stderr)
    raise typer.Exit(1)
