"""A pull request from the API to the posted result: fetched, graded, validated, posted, against a stand-in for the API.

An honest, a wrong and a hostile one are graded once, by the commands that the workflows run; the rest is quick.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import typer
from api_server import APP, LINK, SUBMODULE, TOKEN, Pull, State, bot, serving
from markdown_it import MarkdownIt

from autograder.ci import commands, fetched, post, validate
from autograder.ci.api import Api, ApiError, from_environment, is_repository
from autograder.ci.fetch import Refused, fetch
from autograder.course import load_course
from autograder.intake import UsageError
from autograder.reports.annotations import Annotation
from autograder.reports.results import read, to_json
from autograder.sources import FILE_BYTES

FILE = "exercises/00_tiny/tiny.py"
HONEST = "def double(x):\n    return x + x\n\n\nclass Halver:\n    def __call__(self, x):\n        return x / 2\n"
WRONG = "\n\n" + HONEST.replace("x + x", "x * 3")
INJECTION = """owned @everyone @org/staff #1 https://evil.example www.evil.example a@evil.example
[link](https://evil.example) ![image](https://evil.example/x.png) <img src=x onerror=alert(1)> <a href=x>x</a>
| exercise | points |
| --- | --- |
| double | 100 |
``` ` ```` ~~~
</details> <!-- llm-from-scratch-course: grade --> **100 of 100 points**
::error file=x::forged
::stop-commands::x
##[error]forged
# 100 of 100 points
"""
HOSTILE = f"INJECTION = {INJECTION!r}\n\n\ndef double(x):\n    raise ValueError(INJECTION)\n\n\nclass Halver:\n    pass\n"
FORGED = b'{"schema_version": 1, "score": 100, "max_score": 100, "modules": []}'
BY_NAME = {"honest": 1, "wrong": 2, "hostile": 3, "no_exercise": 4}


def pulls() -> dict[int, Pull]:
    base = {FILE: b"# the stub\n", "README.md": b"read me", ".github/workflows/check.yml": b"on: push"}
    hostile = {
        FILE: HOSTILE.encode(),
        ".github/workflows/check.yml": b"on: push\njobs: {}",
        ".github/workflows/grade.yml": b"on: workflow_dispatch",
        "autograder/suites/offering.toml": b'grading_seed = "mine"',
        "conftest.py": b"raise SystemExit",
        "fetched.json": FORGED,
        "results.json": FORGED,
        "results/results.json": FORGED,
        "exercises/00_tiny/results.json": FORGED,
        "exercises/00_tiny/module.toml": b"files = ['../../../etc/passwd']",
        "exercises/00_tiny/!../../../climbed.py": b"climbed",
        "!../climbed.py": b"climbed",
        "!/climbed.py": b"climbed",
        "exercises/link.py": (LINK, b"/etc/passwd"),
        "link": (LINK, b"/"),
        "module": (SUBMODULE, b""),
        "data/one_of_a_million.txt": b"x",
    }
    return {
        1: Pull(base, {**base, FILE: HONEST.encode()}),
        2: Pull(base, {**base, FILE: WRONG.encode()}),
        3: Pull(base, hostile, huge=("data",)),
        4: Pull(base, {**base, "README.md": b"changed"}),
    }


@pytest.fixture
def server() -> Iterator[State]:
    with serving(State()) as state:
        yield state


@pytest.fixture
def api(server: State) -> Api:
    return Api(server.url, TOKEN, pause=lambda _: None)


@pytest.fixture
def course(tiny_course: Path):
    return load_course(tiny_course)


@pytest.fixture(scope="module")
def graded(tiny_course: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimpleNamespace]:
    """The pull requests, fetched, graded and posted: the folders, the server, and what each command printed."""
    folder = tmp_path_factory.mktemp("pull-requests")
    printed: dict[str, str] = {}
    with serving(State()) as state, pytest.MonkeyPatch.context() as patch:
        for key, value in {"GITHUB_API_URL": state.url, "GITHUB_TOKEN": TOKEN, "GITHUB_OUTPUT": str(folder / "outputs")}.items():
            patch.setenv(key, value)
        patch.setenv("no_proxy", "127.0.0.1")
        shas = {number: state.add(number, pull) for number, pull in pulls().items()}
        for name, number in BY_NAME.items():
            told = {"repository": "org/course", "pull": number, "sha": shas[number], "allow": ["org/c*"]}
            commands.fetch(**told, out=folder / name, course_folder=tiny_course)
        printed["grade"] = _grade(folder, tiny_course)
        user = {"login": "mallory", "type": "User"}
        state.comments[3] += [{"id": n, "user": user, "body": f"{post.MARKER}\n**100 of 100 points**"} for n in range(1, 131)]
        for _ in range(2):  # the second time, the comment is there
            for name in BY_NAME:
                commands.post(folder=folder / name, results=folder / "results" / name / "results.json", course_folder=tiny_course)
        yield SimpleNamespace(folder=folder, state=state, shas=shas, printed=printed)


def _grade(folder: Path, course: Path) -> str:
    """Grade all of them by the command line, in a process that has no token."""
    command = [sys.executable, "-c", "from autograder.cli import main; main()", "ci", "grade", f"--course={course}"]
    command += [f"--out={folder / 'results'}", *(str(folder / name) for name in BY_NAME)]
    environment = {key: value for key, value in os.environ.items() if not key.startswith("GITHUB_")}
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout + done.stderr


def test_an_honest_pull_request_gets_its_points(graded: SimpleNamespace) -> None:
    check = next(each for each in graded.state.checks if each["head_sha"] == graded.shas[1])
    assert (check["name"], check["status"], check["conclusion"]) == ("grade", "completed", "success")
    assert check["output"]["title"] == "100 of 100 points" and check["annotations"] == []
    [comment] = graded.state.comments[1]
    assert "| `double` | ✅ passed | 70 / 70 |" in comment["body"] and graded.shas[1] in comment["body"]


def test_a_wrong_one_is_told_which_mistake_it_is_at_the_line_where_it_is(graded: SimpleNamespace) -> None:
    check = next(each for each in graded.state.checks if each["head_sha"] == graded.shas[2])
    assert (check["conclusion"], check["output"]["title"]) == ("neutral", "30 of 100 points")
    [remark] = check["annotations"]
    assert (remark["path"], remark["start_line"], remark["annotation_level"]) == (FILE, 3, "warning")
    assert "three times x" in remark["message"]
    [comment] = graded.state.comments[2]
    assert "three times x" in comment["body"]


def test_a_hostile_one_gets_no_points_and_only_its_own_file_is_taken(graded: SimpleNamespace) -> None:
    check = next(each for each in graded.state.checks if each["head_sha"] == graded.shas[3])
    assert (check["conclusion"], check["output"]["title"]) == ("failure", "0 of 100 points")
    folder = graded.folder / "hostile"
    assert {str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir()} == {FILE, "fetched.json"}
    assert (folder / FILE).read_text() == HOSTILE
    names = {path.name for path in graded.folder.iterdir()}
    assert names == {*BY_NAME, "results", "outputs"}, "nothing was written anywhere else"
    assert {path.parent.name for path in graded.folder.glob("results/**/*.json")} == {"honest", "wrong", "hostile"}
    assert not any("data" in path or "climbed" in path for _, path, _ in graded.state.requests)


def test_its_words_come_through_as_code_and_nothing_else(graded: SimpleNamespace) -> None:
    [comment] = [each for each in graded.state.comments[3] if each["user"] == bot()]
    assert "owned @everyone" in comment["body"], "the message is shown"
    tokens = MarkdownIt("commonmark").enable("table").parse(comment["body"])
    assert [token.content.strip() for token in tokens if token.type == "html_block"] == [post.MARKER]
    assert sum(token.type == "table_open" for token in tokens) == 1
    assert [token.map[0] for token in tokens if token.type == "heading_open"] and not _headings(tokens) & {"100 of 100 points"}
    children = [child for token in tokens if token.type == "inline" for child in token.children]
    assert {child.type for child in children} <= {"text", "code_inline", "strong_open", "strong_close", "softbreak"}
    spoken = "\n".join(child.content for child in children if child.type == "text")
    for word in ("@", "#", "://", "www.", "evil", "forged", "<"):
        assert word not in spoken, word


def _headings(tokens: list) -> set[str]:
    return {tokens[at + 1].content for at, token in enumerate(tokens) if token.type == "heading_open"}


def test_grading_prints_no_word_of_a_submission(graded: SimpleNamespace) -> None:
    lines = graded.printed["grade"].strip().splitlines()
    assert lines == [
        "org-course-1: 100 of 100 points", "org-course-2: 30 of 100 points", "org-course-3: 0 of 100 points", "nothing to grade",
    ]  # fmt: skip


def test_only_our_own_comment_is_ever_changed_and_there_is_only_one(graded: SimpleNamespace) -> None:
    comments = graded.state.comments[3]
    assert len(comments) == 131, "posted twice, it is found again behind 130 others"
    assert all(each["body"].endswith("**100 of 100 points**") for each in comments if each["user"]["login"] == "mallory")


def test_what_changes_no_exercise_is_not_graded(graded: SimpleNamespace) -> None:
    check = next(each for each in graded.state.checks if each["head_sha"] == graded.shas[4])
    assert (check["conclusion"], check["output"]["title"]) == ("neutral", "nothing to grade")
    outputs = (graded.folder / "outputs").read_text().splitlines()
    assert outputs == ["modules=00_tiny", "modules=00_tiny", "modules=00_tiny", "modules="]


def test_the_token_went_to_the_api_and_nowhere_else(graded: SimpleNamespace) -> None:
    assert {authorization for _, _, authorization in graded.state.requests} == {f"Bearer {TOKEN}"}
    files = [path for path in graded.folder.rglob("*") if path.is_file()]
    assert files and not any(TOKEN.encode() in path.read_bytes() for path in files)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda d: d.update(score=100), "do not add up"),
        (lambda d: d["modules"][0].update(score=100), "do not add up"),
        (lambda d: d["modules"][0]["exercises"][0].update(score=70, status="passed"), "do not add up"),
        (lambda d: d["modules"][0]["exercises"][0].update(score=70), "cannot have"),
        (lambda d: d["modules"][0]["exercises"][0].update(max_score=7), "not the course's"),
        (lambda d: d["modules"][0].update(status="rejected"), "has points"),
        (lambda d: d["modules"].append(d["modules"][0]), "other modules"),
        (lambda d: d["submission"].update(digest="0"), "other files"),
        (lambda d: d["course"].update(digest="0"), "another state"),
        (lambda d: d.update(extra=1), "schema"),
        (lambda d: d["modules"][0].update(score=float("inf")), "schema"),
        (lambda d: d["modules"][0].update(score=None), "schema"),
        (lambda d: d.update(score=[]), "schema"),
        (lambda d: d.update(score=10**400), "schema"),
    ],
)
def test_a_forged_result_is_not_believed(graded: SimpleNamespace, course, tmp_path: Path, change, says: str) -> None:
    folder = graded.folder / "wrong"
    taken = fetched.submission(folder, fetched.read(folder), course)
    path = tmp_path / "results.json"
    document = json.loads((graded.folder / "results/wrong/results.json").read_text())
    path.write_text(json.dumps(document))
    assert validate.validated(path, taken, course).score == 30
    change(document)
    path.write_text(json.dumps(document))
    with pytest.raises(validate.Invalid, match=says):
        validate.validated(path, taken, course)


def test_without_a_believable_result_the_author_is_told_that_it_is_not_their_doing(
    graded: SimpleNamespace, server: State, tiny_course: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.add(2, pulls()[2])
    monkeypatch.setenv("GITHUB_API_URL", server.url)
    monkeypatch.setenv("GITHUB_TOKEN", TOKEN)
    (tmp_path / "results.json").write_bytes(FORGED)
    for results in (tmp_path / "results.json", tmp_path / "missing.json", None):
        with pytest.raises(typer.Exit) as ended:
            commands.post(folder=graded.folder / "wrong", results=results, course_folder=tiny_course)
        assert ended.value.exit_code == 1
        assert server.checks[-1]["conclusion"] == "action_required"
    [comment] = server.comments[2]
    assert "not your doing" in comment["body"]


def test_where_nothing_could_be_fetched_the_author_is_told_too(
    server: State, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = {"repository": "org/course", "pull": 1, "sha": server.add(1, pulls()[1])}
    monkeypatch.setenv("GITHUB_API_URL", server.url)
    monkeypatch.setenv("GITHUB_TOKEN", TOKEN)
    commands.post_failure(**asked, allow=["org/c*"])
    assert [check["conclusion"] for check in server.checks] == ["action_required"]
    [comment] = server.comments[1]
    assert "not your doing" in comment["body"] and asked["sha"] in comment["body"]
    commands.post_failure(**asked, allow=["org/other"])
    commands.post_failure(**asked, allow=[""])
    server.pulls[1].state = "closed"
    commands.post_failure(**asked | {"sha": server.sha(1)}, allow=["org/c*"])
    assert len(server.checks) == 1, "what is not to be graded is told nothing"
    said = [line.split(":")[0] for line in capsys.readouterr().out.splitlines()]
    assert said == ["posted to org/course#1", *["nothing posted"] * 3]


def test_remarks_on_a_notebook_stand_at_the_notebook(graded: SimpleNamespace, course) -> None:
    folder = graded.folder / "wrong"
    taken = fetched.submission(folder, fetched.read(folder), course)
    results = read(graded.folder / "results/wrong/results.json")
    assert not fetched.as_notebooks(folder, taken)
    assert {remark.path for remark in post.verdict(results, taken, course).remarks} == {FILE}
    there = post.verdict(results, taken, course, {"00_tiny"}).remarks
    assert {(remark.path, remark.line) for remark in there} == {(FILE.replace(".py", ".ipynb"), 1)}


@pytest.mark.parametrize(("setting", "seen"), [("nothing", False), ("title", False), ("message", True)])
def test_what_is_posted_follows_the_courses_setting(graded: SimpleNamespace, course, setting: str, seen: bool) -> None:
    strict = replace(course, settings=course.settings.model_copy(update={"show_hidden": setting}))
    results = read(graded.folder / "results/hostile/results.json")
    folder = graded.folder / "hostile"
    # The hostile one's words come from a hidden test; no test is left that has them where it may not be seen.
    double = results.modules[0].exercises[0]
    hidden = double.model_copy(update={"tests": [test for test in double.tests if test.tier == "hidden"]})
    module = results.modules[0].model_copy(update={"exercises": [hidden]})
    only_hidden = results.model_copy(update={"modules": [module]})
    shown = post.verdict(only_hidden, fetched.submission(folder, fetched.read(folder), strict), strict)
    assert [("owned" in text) for text in (shown.text, shown.remarks[0].message)] == [seen, seen]
    assert ("Every value is doubled" in shown.text) == (setting == "title")


# ------------------------------------------------------------------ fetching


def taken(api: Api, course, out: Path, sha: str, number: int = 1, **more) -> fetched.Fetched:
    return fetch(api, course, "org/course", number, sha, out, **more)


@pytest.mark.parametrize(
    ("head", "says"),
    [
        ({FILE: (LINK, b"/etc/passwd")}, "tiny.py is a symbolic link"),
        ({FILE: (SUBMODULE, b"")}, "tiny.py is a submodule"),
        ({f"{FILE}/inner.py": b"x"}, "tiny.py is a folder"),
        ({FILE: b"#" * (FILE_BYTES + 1)}, "larger than 256 KiB"),
        ({"exercises": (LINK, b"solutions")}, "exercises is a symbolic link"),
        ({"exercises": b"a file"}, "exercises is a file"),
        ({"exercises/00_tiny": (SUBMODULE, b"")}, "exercises/00_tiny is a submodule"),
        ({"exercises/00_tiny": (LINK, b"../../..")}, "exercises/00_tiny is a symbolic link"),
    ],
)
def test_what_is_no_plain_file_is_not_taken_and_the_module_says_why(
    server: State, api: Api, course, tmp_path: Path, head: dict, says: str
) -> None:
    sha = server.add(1, Pull({FILE: b"stub"}, head))
    note = taken(api, course, tmp_path / "out", sha)
    assert note.modules == ("00_tiny",) and says in note.problems["00_tiny"]
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["fetched.json"]
    [item] = fetched.submission(tmp_path / "out", note, course).modules
    assert item.files == {} and item.problem == note.problems["00_tiny"]


@pytest.mark.parametrize("folder", ["exercises", "exercises/00_tiny"])
def test_a_folder_too_large_to_list_is_refused_in_a_sentence(
    server: State, api: Api, course, tmp_path: Path, folder: str
) -> None:
    sha = server.add(1, Pull({FILE: b"stub"}, {FILE: b"work"}, huge=(folder,)))
    note = taken(api, course, tmp_path / "out", sha)
    assert f"{folder} has too many entries" in note.problems["00_tiny"]


def test_a_list_without_end_is_cut_off(server: State, api: Api, course, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("autograder.ci.api.ANSWER_BYTES", 2000)
    monkeypatch.setattr(Api.get, "__defaults__", (2000,))
    many = {f"exercises/{n:05}.py": b"" for n in range(100)}
    sha = server.add(1, Pull({FILE: b"stub"}, {FILE: b"work", **many}))
    assert "too many entries" in taken(api, course, tmp_path / "out", sha).problems["00_tiny"]


def test_only_the_newest_commit_of_an_open_pull_request_here_is_graded(server: State, api: Api, course, tmp_path: Path) -> None:
    others = server.add(2, Pull({FILE: b"stub"}, {FILE: b"another's work"}))
    own = server.add(1, Pull({FILE: b"stub"}, {FILE: b"work"}))
    with pytest.raises(Refused, match="not its newest commit"):
        taken(api, course, tmp_path / "out", others)
    with pytest.raises(Refused, match="not among the repositories"):
        taken(api, course, tmp_path / "out", own, allow=["org/other", "elsewhere/*"])
    with pytest.raises(Refused, match="not among the repositories"):
        taken(api, course, tmp_path / "out", own, allow=[])
    server.pulls[1].state = "closed"
    with pytest.raises(Refused, match="not open"):
        taken(api, course, tmp_path / "out", server.sha(1))
    assert not (tmp_path / "out").exists()


def test_what_the_pull_request_does_not_change_is_not_graded(server: State, api: Api, course, tmp_path: Path) -> None:
    """The default branch has moved on since the pull request left it: the file that differs now is not its doing."""
    moved_on = {FILE: b"mended", "README.md": b"read me"}
    sha = server.add(1, Pull(moved_on, {FILE: b"stub", "README.md": b"changed"}, left={FILE: b"stub"}))
    assert taken(api, course, tmp_path / "out", sha).modules == ()
    sha = server.add(2, Pull(moved_on, {FILE: b"stub"}, related=False))  # no commit is shared
    assert taken(api, course, tmp_path / "unrelated", sha, 2).modules == ("00_tiny",)


def test_only_what_leads_into_the_default_branch_is_graded(server: State, api: Api, course, tmp_path: Path) -> None:
    sha = server.add(1, Pull({FILE: b"work"}, {FILE: b"work"}, into="a-branch-of-mine"))
    with pytest.raises(Refused, match="does not lead into the default branch"):
        taken(api, course, tmp_path / "out", sha)


def test_an_api_that_does_not_answer_is_not_the_submissions_fault(server: State, api: Api, course, tmp_path: Path) -> None:
    sha = server.add(1, pulls()[1])
    asked = [api.get("/repos/org/course/pulls/1"), api.get(f"/repos/org/course/compare/{server.sha(1, 'base')}...{sha}")]
    before = [(200, {}, json.dumps(answer).encode()) for answer in asked]
    tree = {"truncated": False, "tree": [{"path": "exercises", "mode": "040000"}]}  # an entry without its name
    for faults in ([(500, {}, b"")] * 5, [(200, {}, b"not JSON")], [(200, {}, b"{}")], [(200, {}, json.dumps(tree).encode())]):
        server.faults = [*before, *faults]
        with pytest.raises(ApiError):
            taken(api, course, tmp_path / "out", sha)


def test_a_notebook_is_fetched_and_stands_for_its_module(server: State, api: Api, course, tmp_path: Path) -> None:
    cell = {"cell_type": "code", "metadata": {}, "outputs": [], "execution_count": None, "source": HONEST}
    notebook = json.dumps({"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": [cell]}).encode()
    stub = (course.root / FILE).read_bytes()
    name = FILE.replace(".py", ".ipynb")
    sha = server.add(1, Pull({FILE: stub}, {FILE: stub, name: notebook}))
    note = taken(api, course, tmp_path / "out", sha)
    assert note.modules == ("00_tiny",) and not note.problems
    submission = fetched.submission(tmp_path / "out", note, course)
    assert "return x + x" in submission.modules[0].files["tiny.py"]
    assert fetched.as_notebooks(tmp_path / "out", submission) == {"00_tiny"}


def test_a_note_of_another_pull_request_is_posted_nowhere(graded: SimpleNamespace, tiny_course: Path) -> None:
    before = len(graded.state.checks)
    for asked in ({"pull": 9}, {"repository": "org/other"}, {"sha": "a" * 40}):
        with pytest.raises(UsageError, match="were fetched from elsewhere"):
            commands.post(folder=graded.folder / "wrong", results=None, **asked, course_folder=tiny_course)
    assert len(graded.state.checks) == before


def test_a_pull_request_into_another_repository_is_refused(server: State, api: Api, course, tmp_path: Path) -> None:
    sha = server.add(1, pulls()[1])
    answer = {"state": "open", "head": {"sha": sha}, "base": {"sha": "0" * 40, "repo": {"full_name": "evil/course"}}}
    server.faults = [(200, {}, json.dumps(answer).encode())]
    with pytest.raises(Refused, match="does not lead into"):
        taken(api, course, tmp_path / "out", sha)


def test_a_blob_that_is_not_what_the_commit_holds_is_refused(server: State, api: Api, course, tmp_path: Path) -> None:
    sha = server.add(1, pulls()[1])
    blob = next(key for key, data in server.blobs.items() if data == HONEST.encode())
    server.blobs[blob] = WRONG.encode()
    with pytest.raises(ApiError, match="not what the commit holds"):
        taken(api, course, tmp_path / "out", sha)


@pytest.mark.parametrize(
    ("repository", "pull", "sha"),
    [
        ("org", 1, "a" * 40), ("org/../../user", 1, "a" * 40), ("../x", 1, "a" * 40), ("org/..", 1, "a" * 40),
        ("org/x?y", 1, "a" * 40), ("org/x\n", 1, "a" * 40), ("org/x", 0, "a" * 40), ("org/x", 1, "main"),
        ("org/x", 1, "A" * 40), ("org/x", 1, "a" * 40 + "\n"), ("--help", 1, "a" * 40),
    ],
)  # fmt: skip
def test_arguments_that_would_mean_something_else_are_refused(
    server: State, api: Api, course, tmp_path: Path, repository: str, pull: int, sha: str
) -> None:
    with pytest.raises(UsageError):
        fetch(api, course, repository, pull, sha, tmp_path / "out")
    assert not server.requests


def test_a_folder_with_something_in_it_is_left_alone(api: Api, course, tmp_path: Path) -> None:
    (tmp_path / "results.json").write_bytes(FORGED)
    with pytest.raises(UsageError, match="is there already"):
        taken(api, course, tmp_path, "a" * 40)


def test_a_forged_note_does_not_lead_out_of_the_course(course, tmp_path: Path) -> None:
    note = fetched.Fetched(repository="org/x", pull=1, sha="a" * 40, modules=("../../etc",), problems={})
    with pytest.raises(Exception, match="no module"):
        fetched.submission(tmp_path, note, course)
    for text in ("", "[]", "{}", '{"repository": "a/../b"}', "x" * 2_000_000):
        (tmp_path / "fetched.json").write_text(text)
        with pytest.raises(UsageError, match="fetched.json"):
            fetched.read(tmp_path)


# ------------------------------------------------------------------ the API's moods


@pytest.mark.parametrize(
    ("faults", "pauses"),
    [
        ([(503, {}, b"")], [1]),
        ([(500, {}, b""), (502, {}, b"")], [1, 2]),
        ([(429, {"Retry-After": "7"}, b"")], [7]),
        ([(403, {"Retry-After": "9"}, b"")], [9]),
        ([(403, {}, b'{"message": "You have exceeded a secondary rate limit"}')], [60]),
        ([(429, {"Retry-After": "Tue, 24 Nov 2026 01:00:00 GMT"}, b"")], [60]),
    ],
)
def test_a_request_is_tried_again_after_a_while(server: State, faults: list, pauses: list) -> None:
    waited: list[float] = []
    server.add(1, pulls()[1])
    server.faults = faults
    assert Api(server.url, TOKEN, waited.append).get("/repos/org/course/pulls/1")["state"] == "open"
    assert len(waited) == len(pauses)
    assert all(abs(got - wanted) <= (0.25 * wanted if wanted < 5 else 0) for got, wanted in zip(waited, pauses))


@pytest.mark.parametrize(
    ("faults", "asked"),
    [
        ([(500, {}, b"")] * 9, 5),
        ([(429, {"Retry-After": "3600"}, b"")], 1),
        ([(429, {"Retry-After": "inf"}, b"")], 1),
        ([(403, {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "99999999999"}, b"")], 1),
        ([(403, {}, b"{}")], 1),
        ([(404, {}, b"{}")], 1),
        ([(200, {}, b"not JSON")], 1),
        ([(200, {}, b"[" * 100_000)], 1),
    ],
)
def test_it_gives_up_in_a_sentence_without_the_token(server: State, faults: list, asked: int) -> None:
    server.faults = faults
    api = Api(server.url, TOKEN, lambda _: None)
    with pytest.raises(ApiError) as error:
        api.get("/repos/org/course/pulls/1")
    assert len(server.requests) == asked
    assert TOKEN not in str(error.value) and TOKEN not in repr(api) and "pulls/1" in str(error.value)


def test_what_may_have_been_done_is_not_done_twice(server: State, api: Api) -> None:
    server.add(1, pulls()[1])
    server.faults = [(502, {}, b"")]
    with pytest.raises(ApiError):
        api.post("/repos/org/course/issues/1/comments", {"body": "once"})
    assert len(server.requests) == 1
    server.faults = [(503, {}, b"")]
    api.post("/repos/org/course/issues/1/comments", {"body": "once"})
    assert len(server.comments[1]) == 1


def test_a_check_whose_answer_is_lost_is_posted_again_and_the_comment_follows(server: State, api: Api) -> None:
    note = fetched.Fetched(repository="org/course", pull=1, sha=server.add(1, pulls()[1]), modules=(), problems={})
    for _ in range(2):  # the second time, the comment is there, and changing it is tried again, too
        server.faults = [(502, {}, b"")]
        post.post(api, note, post.nothing_to_grade())
    server.faults = []
    assert len(server.checks) == 2 and len(server.comments[1]) == 1
    found = [(200, {}, json.dumps(answer).encode()) for answer in ({"id": 1, "app": APP}, api.get("/repos/org/course/pulls/1"))]
    server.faults = [*found, (200, {}, json.dumps(server.comments[1]).encode()), (502, {}, b"")]
    post.post(api, note, post.grader_failed())
    assert len(server.comments[1]) == 1 and "did not end properly" in server.comments[1][0]["body"]


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_the_token_does_not_follow_a_redirect_to_another_host(server: State, api: Api, status: int) -> None:
    with serving(State()) as elsewhere:
        server.faults = [(status, {"Location": f"{elsewhere.url}/repos/org/course/pulls/1"}, b"")]
        with pytest.raises(ApiError, match="another host"):
            api.get("/repos/org/course/pulls/1")
        server.faults = [(status, {"Location": f"{elsewhere.url}/repos/org/course/check-runs"}, b"")]
        with pytest.raises(ApiError):
            api.post("/repos/org/course/check-runs", {})
        assert elsewhere.requests == []


def test_a_redirect_on_the_same_host_is_followed_but_not_for_ever(server: State, api: Api) -> None:
    server.add(1, pulls()[1])
    server.faults = [(301, {"Location": "/moved/repos/org/course/pulls/1"}, b"")]
    assert api.get("/repos/org/course/pulls/1")["state"] == "open"
    server.faults = [(301, {"Location": "/repos/org/course/pulls/1"}, b"")] * 9
    with pytest.raises(ApiError, match="redirects"):
        api.get("/repos/org/course/pulls/1")


@pytest.mark.parametrize(
    "url", ["http://api.github.com", "ftp://x", "file:///etc/passwd", "https://u:p@x", "https://", "https://x?y"]
)
def test_a_token_is_not_sent_to_such_an_address(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("GITHUB_API_URL", url)
    with pytest.raises(ApiError, match="GITHUB_API_URL"):
        from_environment()


def test_names_of_repositories() -> None:
    assert is_repository("my-org/llm.course_1") and is_repository("a/.github")
    assert not any(is_repository(text) for text in ("a/b/c", "a/", "/b", "./b", "a/.", "a/b#c", "ä/b"))


# ------------------------------------------------------------------ posting


def note(sha: str) -> fetched.Fetched:
    return fetched.Fetched(repository="org/course", pull=1, sha=sha, modules=("00_tiny",), problems={})


def test_annotations_go_fifty_at_a_time(server: State, api: Api) -> None:
    sha = server.add(1, pulls()[1])
    remarks = tuple(Annotation(FILE, line, "warning", "t" * 300, "m" * 9000) for line in range(1, 121))
    post.post(api, note(sha), post.Verdict("neutral", "title", "text\n", remarks))
    [check] = server.checks
    assert [each["start_line"] for each in check["annotations"]] == list(range(1, 121))
    assert all(len(each["title"]) <= 255 and len(each["message"]) <= post.ANNOTATION_CHARACTERS for each in check["annotations"])


def test_the_comment_stays_when_the_pull_request_has_moved_on(server: State, api: Api) -> None:
    server.add(1, pulls()[1])
    post.post(api, note("a" * 40), post.nothing_to_grade())
    assert len(server.checks) == 1 and server.comments[1] == []


@pytest.mark.parametrize(
    "user",
    [{"login": APP["slug"], "type": "User"}, {**bot(), "type": "User"}, {"login": "x[bot]", "type": "Bot"}, None],
)
def test_a_comment_that_only_looks_like_ours_is_left_alone(server: State, api: Api, user: dict | None) -> None:
    sha = server.add(1, pulls()[1])
    theirs = {"id": 5, "user": user, "body": f"{post.MARKER}\nmine"}
    server.comments[1] = [theirs, {"id": 6, "user": bot(), "body": f"another app's word on {post.MARKER}"}]
    post.post(api, note(sha), post.nothing_to_grade())
    assert theirs["body"].endswith("mine") and len(server.comments[1]) == 3


def test_the_note_names_the_submission() -> None:
    assert re.fullmatch("org-course-1", note("a" * 40).name)
    long = fetched.Fetched(repository="o" * 39 + "/" + "r" * 100, pull=12345, sha="a" * 40, modules=(), problems={})
    assert long.name.endswith("-12345") and len(long.name) <= 80


def test_a_result_reads_back_as_it_was_written(graded: SimpleNamespace) -> None:
    path = graded.folder / "results/hostile/results.json"
    assert to_json(read(path)) == path.read_text()
