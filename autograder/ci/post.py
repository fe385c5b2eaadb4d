"""What came of grading, posted to the pull request: a check run with annotations, and one comment that is kept up to date.

Nothing that is posted decides anything: the score is in the validated result, and what stands here is drawn from it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from autograder.ci.api import Api, ApiError
from autograder.ci.fetch import head_of
from autograder.ci.fetched import Fetched
from autograder.course import Course
from autograder.intake import Submission, notebook_of
from autograder.reports.annotations import Annotation, annotations
from autograder.reports.markdown import LIMIT, markdown
from autograder.reports.results import Results
from autograder.reports.visibility import visible

CHECK = "grade"
MARKER = "<!-- llm-from-scratch-course: grade -->"
ANNOTATIONS_AT_ONCE = 50  # the API's limit for one request
ANNOTATION_CHARACTERS = 4000
COMMENTS_AT_ONCE = 100
COMMENT_PAGES = 30

NOTHING_TO_GRADE = "This pull request changes no file of an exercise, so there is nothing to grade.\n"
GRADER_FAILED = (
    "Grading this commit did not end properly. That is not your doing, and no points are lost: "
    "ask your instructor to grade it again.\n"
)


@dataclass(frozen=True)
class Verdict:
    """What is to be posted: the check's conclusion and title, the text of check and comment, and the remarks at lines."""

    conclusion: str
    title: str
    text: str
    remarks: tuple[Annotation, ...] = ()


def verdict(results: Results, submission: Submission, course: Course, notebooks: Collection[str] = ()) -> Verdict:
    """The verdict on a graded pull request, as its author may see it.

    `notebooks` are the ids of the modules whose main file was made from a notebook: their remarks stand at that.

    Full marks are a success, no points a failure, and anything between is neutral, which does not stand in a merge's way.
    """
    shown = visible(results, course.settings.show_hidden)
    sources = {f"exercises/{item.module.id}/{file}": text for item in submission.modules for file, text in item.files.items()}
    whole = results.max_score > 0 and results.score == results.max_score
    conclusion = "success" if whole else "neutral" if results.score > 0 else "failure"
    instead = {
        f"exercises/{item.module.id}/{item.module.main_file}": f"exercises/{item.module.id}/{notebook_of(item.module)}"
        for item in submission.modules
        if item.module.id in notebooks
    }
    remarks = tuple(
        replace(remark, path=instead[remark.path], line=1) if remark.path in instead else remark
        for remark in annotations(shown, course, sources)
    )
    return Verdict(conclusion, f"{results.score:g} of {results.max_score:g} points", markdown(shown, limit=LIMIT), remarks)


def nothing_to_grade() -> Verdict:
    """The verdict on a pull request that touches no exercise."""
    return Verdict("neutral", "nothing to grade", NOTHING_TO_GRADE)


def grader_failed() -> Verdict:
    """The verdict where there is no result, or none that can be believed."""
    return Verdict("action_required", "grading did not end properly", GRADER_FAILED)


def post(api: Api, fetched: Fetched, told: Verdict) -> str:
    """Post the check run, then the comment, if the commit is still the newest. The check run's number.

    Whoever reads a check run's answer learns which app the token belongs to; only that app's comment is ever changed.
    """
    first, *rest = list(_batches(told.remarks)) or [[]]
    path = f"/repos/{fetched.repository}/check-runs"
    output = {"title": told.title, "summary": told.text}
    run = api.post(
        path,
        {
            "name": CHECK,
            "head_sha": fetched.sha,
            "status": "completed",
            "conclusion": told.conclusion,
            "output": {**output, "annotations": first},
        },
        harmless_twice=True,  # of two with one name at a commit, the newer one counts
    )
    number, app = _number(run, "the check run"), _app(run)
    for batch in rest:
        api.patch(f"{path}/{number}", {"output": {**output, "annotations": batch}})
    if head_of(api, fetched.repository, fetched.pull) == fetched.sha:
        _comment(api, fetched, app, f"{MARKER}\n{told.text}\nGraded at {fetched.sha}.\n")
    return str(number)


def payload(remark: Annotation) -> dict[str, str | int]:
    """An annotation as the API takes it. Its text is shown as it is, not as Markdown."""
    return {
        "path": remark.path,
        "start_line": remark.line,
        "end_line": remark.line,
        "annotation_level": remark.level,
        "title": remark.title[:255],
        "message": remark.message[:ANNOTATION_CHARACTERS] or remark.title,
    }


def _batches(remarks: Sequence[Annotation]) -> Iterator[list[dict[str, str | int]]]:
    for start in range(0, len(remarks), ANNOTATIONS_AT_ONCE):
        yield [payload(remark) for remark in remarks[start : start + ANNOTATIONS_AT_ONCE]]


def _comment(api: Api, fetched: Fetched, app: Mapping[str, Any], body: str) -> None:
    comments = f"/repos/{fetched.repository}/issues/{fetched.pull}/comments"
    for page in range(1, COMMENT_PAGES + 1):
        found = api.get(f"{comments}?per_page={COMMENTS_AT_ONCE}&page={page}")
        if not isinstance(found, list):
            raise ApiError("the list of comments is none")
        for comment in found:
            if _is_ours(comment, app):
                api.patch(f"/repos/{fetched.repository}/issues/comments/{_number(comment, 'the comment')}", {"body": body}, True)
                return
        if len(found) < COMMENTS_AT_ONCE:
            break
    api.post(comments, {"body": body})


def _is_ours(comment: Any, app: Mapping[str, Any]) -> bool:
    """Whether this app wrote the comment, and as the grade. Nobody but an app has a login that ends in `[bot]`."""
    if not isinstance(comment, dict) or not str(comment.get("body") or "").startswith(MARKER):
        return False
    user = comment.get("user")
    return (
        isinstance(user, dict)
        and user.get("type") == "Bot"
        and bool(app.get("slug"))
        and user.get("login") == f"{app['slug']}[bot]"
    )


def _app(run: Any) -> Mapping[str, Any]:
    app = run.get("app") if isinstance(run, dict) else None
    return app if isinstance(app, dict) else {}


def _number(thing: Any, what: str) -> int:
    number = thing.get("id") if isinstance(thing, dict) else None
    if not isinstance(number, int):
        raise ApiError(f"{what} has no number")
    return number
