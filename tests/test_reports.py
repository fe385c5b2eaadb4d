"""The forms of a result: what a student may see of it, and that nobody's words do anything wherever they are shown."""

from __future__ import annotations

import csv as table
import io
import json
import re
from pathlib import Path
from types import SimpleNamespace
from xml.etree import ElementTree

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from rich.console import Console

from autograder import inert
from autograder.course import load_course
from autograder.definitions import definition_line
from autograder.reports.annotations import annotations, commands
from autograder.reports.console import show, show_summary
from autograder.reports.csv import csv
from autograder.reports.gradescope import gradescope
from autograder.reports.junit import junit
from autograder.reports.markdown import markdown
from autograder.reports.results import (
    Environment,
    ExerciseResult,
    Identity,
    ModuleResult,
    Results,
    TestResult,
    to_json,
    write,
)
from autograder.reports.summary import summary
from autograder.reports.visibility import UNSEEN, visible
from autograder.student.actions import Remarks

SECRET = "the secret of the hidden test"
MISTAKE = "This is three times x, not twice."
PUBLIC = "expected 2, got 3"
NASTY = "`~|\\\n\r\t <>[]()!*_#@&;:/.-=+\"'{}%x1é\u2028\x85\x1b"
CHARACTERS = st.text(st.sampled_from(NASTY) | st.characters(), max_size=200)
COMMONMARK = MarkdownIt("commonmark").enable("table")
FILE = "exercises/00_tiny/tiny.py"


def a_test(name: str, **more) -> TestResult:
    given_ = {"tier": "hidden", "outcome": "failed", "points": 0, "max_points": 35, "title": f"{name} in words", **more}
    return TestResult(name=name, **given_)


def an_exercise(*tests: TestResult, **more) -> ExerciseResult:
    given_ = {"name": "double", "status": "failed", "score": 0, "max_score": 70, **more}
    return ExerciseResult(tests=list(tests), **given_)


def results(*exercises: ExerciseResult, name: str = "alice", **more) -> Results:
    score, most = sum(e.score for e in exercises), sum(e.max_score for e in exercises)
    given_ = {"id": "00_tiny", "status": "graded", "substituted": [], "score": score, "max_score": most, **more}
    module = ModuleResult(exercises=list(exercises), **given_)
    who = Identity(name=name, digest="cd")
    return Results(
        course=Identity(name="c", digest="ab"), submission=who, environment=Environment.here(), sandbox=[], score=score,
        max_score=most, modules=[module],
    )  # fmt: skip


TESTS = {
    "undiagnosed": a_test("test_a", message=SECRET),
    "diagnosed": a_test("test_b", message=SECRET, diagnosis=MISTAKE),
    "public": a_test("test_c", tier="public", max_points=0, message=PUBLIC),
    "public too": a_test("test_d", tier="public", max_points=0, message="expected 4, got 5"),
    "public and right": a_test("test_e", tier="public", max_points=0, outcome="passed", message="a warning"),
    "public and silent": a_test("test_f", tier="public", max_points=0),
    "untitled": a_test("test_g", title="", message=SECRET),
}


# ------------------------------------------------------------------ what a student may see


@pytest.mark.parametrize(
    ("setting", "tests", "first", "advice"),
    [
        ("message", ["undiagnosed", "public"], SECRET, SECRET),
        ("title", ["undiagnosed", "public"], SECRET, PUBLIC),
        ("nothing", ["undiagnosed", "public"], SECRET, PUBLIC),
        ("title", ["undiagnosed"], SECRET, "A hidden test does not pass: test_a in words"),
        ("nothing", ["undiagnosed"], SECRET, UNSEEN),
        ("title", ["diagnosed", "public"], MISTAKE, MISTAKE),
        ("nothing", ["diagnosed", "public"], MISTAKE, PUBLIC),
        ("nothing", ["diagnosed"], MISTAKE, UNSEEN),
        ("title", ["public"], PUBLIC, PUBLIC),
        ("nothing", ["public"], PUBLIC, PUBLIC),
        ("title", ["public", "diagnosed"], SECRET, MISTAKE),
        ("nothing", ["public", "public too"], "expected 4, got 5", "expected 4, got 5"),
        ("title", ["public and right", "undiagnosed"], SECRET, "A hidden test does not pass: test_a in words"),
        ("title", ["public and silent", "undiagnosed"], SECRET, "A hidden test does not pass: test_a in words"),
        ("nothing", ["public and silent", "undiagnosed"], SECRET, UNSEEN),
        ("title", ["untitled"], SECRET, "A hidden test does not pass: test_g"),
    ],
)
def test_what_is_read_first_says_no_more_than_the_setting_allows(setting, tests, first, advice) -> None:
    whole = results(an_exercise(*(TESTS[name] for name in tests), message=first))
    [exercise] = visible(whole, setting).modules[0].exercises
    assert exercise.message == advice
    assert {test.name for test in exercise.tests} == {
        TESTS[name].name for name in tests if setting != "nothing" or name.startswith("public")
    }


@pytest.mark.parametrize("setting", ["nothing", "title"])
def test_no_form_says_what_may_not_be_seen(setting: str) -> None:
    shown = visible(results(an_exercise(*TESTS.values(), message=SECRET)), setting)
    for text in (to_json(shown), markdown(shown), junit(shown), gradescope(shown), summary(shown), csv([shown])):
        assert SECRET not in text
        assert setting == "title" or not re.search("test_[ab]|three times", text)


def test_scores_and_what_is_about_the_submission_itself_stay() -> None:
    breach = an_exercise(TESTS["undiagnosed"], status="policy", message="tiny.py, line 3: torch.ldexp is called in double")
    rejected = an_exercise(a_test("test_a", outcome="error", message="tiny.py is empty"), message="tiny.py is empty")
    for exercise, more in ((breach, {}), (rejected, {"status": "rejected", "message": "tiny.py is empty"})):
        whole = results(exercise, **more)
        shown = visible(whole, "nothing")
        assert shown.modules[0].exercises[0].message == exercise.message
        assert (shown.score, shown.max_score, shown.modules[0].message) == (
            whole.score,
            whole.max_score,
            whole.modules[0].message,
        )
    todo = visible(results(an_exercise(a_test("test_a", outcome="todo"), status="todo")), "nothing").modules[0].exercises[0]
    assert (todo.status, todo.message) == ("todo", "")


# ------------------------------------------------------------------ inert


@given(CHARACTERS)
@example("```\n# out")
@example("~~~\n```` ` ``\n</details>")
@example("")
@example("a\r# b")
def test_a_block_is_one_block_of_code_whatever_it_holds(text: str) -> None:
    tokens = COMMONMARK.parse(f"before\n\n{inert.block(text)}\n\nafter\n")
    kinds = [token.type for token in tokens]
    assert kinds == ["paragraph_open", "inline", "paragraph_close", "fence", "paragraph_open", "inline", "paragraph_close"]
    shown = "".join(tokens[3].content.split())
    assert shown == "".join(text.replace("\0", "\ufffd").split())


@given(CHARACTERS)
@example("a|b")
@example("a\\|b")
@example("``|``")
@example("a`|b")
def test_a_name_is_one_piece_of_code_in_one_cell(text: str) -> None:
    tokens = COMMONMARK.parse(f"| a | b |\n| --- | --- |\n| {inert.name(text)} | 1 |\n")
    cells = [token for at, token in enumerate(tokens) if at and tokens[at - 1].type == "td_open"]
    assert len(cells) == 2 and cells[1].content == "1"
    assert {child.type for child in cells[0].children} <= {"code_inline"} and len(cells[0].children) <= 1


@given(CHARACTERS, CHARACTERS)
@example("a\n::error::forged", "file=x,line=2::x")
def test_a_command_is_one_line_and_reads_back(message: str, title: str) -> None:
    line = inert.command("warning", message, file="a.py", line=3, title=title)
    assert "\n" not in line and "\r" not in line
    head, _, data = line.removeprefix("::warning ").partition("::")
    properties = dict(part.split("=", 1) for part in head.split(","))
    assert list(properties) == ["file", "line", "title"]
    sent = [text.encode(errors="replace").decode() for text in (title, message)]
    assert [_plain(properties["title"]), _plain(data)] == sent


def _plain(text: str) -> str:
    for code, char in (("%0D", "\r"), ("%0A", "\n"), ("%3A", ":"), ("%2C", ","), ("%25", "%")):
        text = text.replace(code, char)
    return text


# ------------------------------------------------------------------ the forms


@pytest.fixture(scope="module")
def course(tiny_course: Path):
    return load_course(tiny_course)


SOURCE = "import torch\n\nx = 1\n\n\ndef double(x):\n    return x\n\n\n@decorated\nclass Halver:\n    def double(self): ...\n"
EXERCISES = (
    an_exercise(TESTS["diagnosed"], message=MISTAKE),
    an_exercise(a_test("test_h", outcome="todo"), name="Halver", status="todo", max_score=30),
)


def test_remarks_stand_where_the_student_wrote(course) -> None:
    wrong, todo = annotations(results(*EXERCISES), course, {FILE: SOURCE})
    assert (wrong.path, wrong.line, wrong.level, wrong.message) == (FILE, 6, "warning", MISTAKE)
    assert (todo.line, todo.level, todo.message) == (11, "notice", "Halver is not written yet.")
    assert commands([wrong]) == f"::warning file={FILE},line=6,title=double%3A 0 of 70 points::{MISTAKE}\n"


@pytest.mark.parametrize(
    ("message", "line"),
    [
        ("tiny.py, line 3: torch.ldexp is called in double", 3),
        ("tiny.py, line 1: import os", 1),
        ("tiny.py, line 13: the last one", 13),
        ("tiny.py, line 14: beyond the end", 6),
        ("tiny.py, line 0: before the start", 6),
        ("../../etc/passwd.py, line 3: not the module's", 6),
        ("no line at all", 6),
    ],
)
def test_a_breach_stands_at_the_line_it_names_if_there_is_one(course, message: str, line: int) -> None:
    [remark] = annotations(results(an_exercise(status="policy", message=message)), course, {FILE: SOURCE})
    assert (remark.path, remark.line, remark.level) == (FILE, line, "failure")


def test_what_passes_has_no_remark_and_what_says_nothing_has_a_sentence(course) -> None:
    [remark] = annotations(results(an_exercise(), an_exercise(name="Halver", status="passed")), course, {})
    assert (remark.line, remark.message) == (1, "double does not pass yet.")
    assert annotations(results(an_exercise(), id="99_elsewhere"), course, {FILE: SOURCE}) == []


def test_a_rejected_module_has_one_remark(course) -> None:
    more = {"status": "rejected", "message": "tiny.py, line 2: Python cannot read this file"}
    [remark] = annotations(results(*EXERCISES, **more), course, {FILE: "x = 1\ndef double(x:\n"})
    assert (remark.line, remark.level, remark.message) == (2, "failure", more["message"])
    [remark] = annotations(results(*EXERCISES, **more), course, {})
    assert remark.line == 1


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("def f(): ...\ndef f(): ...", 2),
        ("f = lambda x: x", 1),
        ("f: object = None", 1),
        ("async def f(): ...", 1),
        ("def g():\n    def f(): ...", None),
        ("def f(:", None),
        ("(" * 500, None),
        ("\0", None),
        ("", None),
    ],
)
def test_where_a_name_is_defined(text: str, line: int | None) -> None:
    assert definition_line(text, "f") == line


def test_markdown_has_a_table_and_the_words_below_it() -> None:
    text = markdown(results(*EXERCISES), notes=["a note"])
    assert (
        "**0 of 100 points**" in text
        and "| `double` | ❌ not yet | 0 / 70 |" in text
        and "| `Halver` | ⬜ to do | 0 / 30 |" in text
    )
    assert text.index("| `Halver`") < text.index(MISTAKE) and "```text\na note\n```" in text


def test_markdown_has_words_for_graded_exercises_that_need_them_only() -> None:
    unneeded = (
        an_exercise(name="right", status="passed", message="unneeded"),
        an_exercise(name="later", status="todo", message="unneeded"),
        an_exercise(name="silent", message=" \n"),
    )
    text = markdown(results(EXERCISES[0], *unneeded, substituted=["01_a", "02_b"]))
    whole, advice = text.split("Graded on the course's own `01_a`, `02_b`, since this submission's does not pass")
    assert whole.count("\n| `") == 4 and "\n| `right` | ✅ passed | 0 / 70 |\n" in whole
    assert advice.partition("\n")[2] == f"\n`double` in `00_tiny`\n\n```text\n{MISTAKE}\n```\n"


def test_markdown_says_why_there_is_no_table() -> None:
    rejected = markdown(results(*EXERCISES, status="rejected", message="tiny.py is empty"))
    assert rejected.endswith("### `00_tiny`: 0 of 100\n\nThis module could not be graded:\n\n```text\ntiny.py is empty\n```\n")
    nothing = results().model_copy(update={"modules": []})
    assert markdown(nothing) == "**0 of 0 points**\n\nNo module of the course was found in this submission.\n"


def test_markdown_fits_into_what_github_takes() -> None:
    many = [an_exercise(name=f"e{n}", message="`" * 3999, max_score=1) for n in range(200)]
    text = markdown(results(*many), limit=20_000)
    assert len(text) <= 20_000 and "exercises are left out" in text and "| `e199` |" in text
    assert len(markdown(results(*many), limit=500)) <= 500
    two = results(*EXERCISES[:1], an_exercise(name="triple", message="é" * 5000))
    whole = markdown(two)
    assert whole.count("é") == 1499 and "é…\n" in whole and markdown(two, limit=len(whole)) == whole
    shortened = markdown(two, limit=len(whole) - 1)
    assert MISTAKE in shortened and shortened.endswith("\n\nThere is more to say than fits here: 1 exercise is left out.\n")


def test_junit_is_xml_with_every_test_of_the_manifest() -> None:
    tests = [a_test(f"test_{n}", outcome=outcome, message="\x00\x08 <&>]]> \ufffe") for n, outcome in enumerate(
        ("passed", "failed", "error", "timeout", "crashed", "todo"))]  # fmt: skip
    # `Results` cleans what it is given; what was made without it must not break the document either.
    rough = [test.model_copy(update={"message": "\x00\x08 <&>]]> \ufffe \ud800"}) for test in tests]
    suite = ElementTree.fromstring(junit(results(an_exercise(*rough))))[0]
    assert {key: suite.get(key) for key in ("tests", "failures", "errors", "skipped")} == {
        "tests": "6", "failures": "1", "errors": "3", "skipped": "1",
    }  # fmt: skip
    assert [case.get("name") for case in suite] == [f"test_{n}" for n in range(6)]
    assert "<&>]]>" in suite[1][0].text


def test_junit_says_of_each_test_what_to_read_first_and_then_the_rest() -> None:
    tests = (
        a_test("test_a", diagnosis=MISTAKE, message=SECRET, seconds=1.5),
        a_test("test_b", message="first line\nsecond line"),
        a_test("test_c", outcome="todo"),
        a_test("test_d", outcome="crashed", title=""),
    )
    root = ElementTree.fromstring(junit(results(an_exercise(*tests))))
    suite = root[0]
    assert (root.get("name"), suite.get("name")) == ("alice", "00_tiny")
    assert {case.get("classname") for case in suite} == {"00_tiny.double"}
    assert [case.get("time") for case in suite] == ["1.5", "0", "0", "0"]
    assert [(case[0].tag, case[0].get("message"), case[0].text or "") for case in suite] == [
        ("failure", MISTAKE, f"{MISTAKE}\n{SECRET}"),
        ("failure", "first line", "first line\nsecond line"),
        ("skipped", "test_c in words", ""),
        ("error", "crashed", ""),
    ]


def test_gradescope_gets_points_by_exercise_and_plain_text() -> None:
    document = json.loads(gradescope(results(*EXERCISES)))
    assert document["score"] == 0 and document["output_format"] == document["test_output_format"] == "text"
    assert [(t["name"], t["score"], t["max_score"], t["status"]) for t in document["tests"]] == [
        ("00_tiny: double", 0, 70, "failed"), ("00_tiny: Halver", 0, 30, "failed"),
    ]  # fmt: skip
    assert document["tests"][0]["output"] == MISTAKE
    assert document["output"] == "0 of 100 points"
    rejected = json.loads(gradescope(results(*EXERCISES, status="rejected", message="tiny.py is empty")))
    assert rejected["output"] == "0 of 100 points\n00_tiny: tiny.py is empty"


def test_a_table_of_points_runs_nothing_in_a_spreadsheet() -> None:
    found = [results(*EXERCISES), results(EXERCISES[0], name="=cmd()"), results(EXERCISES[1], name="b,\nc")]
    rows = list(table.reader(io.StringIO(csv(found))))
    assert rows[0] == ["submission", "score", "max_score", "00_tiny", "00_tiny: double", "00_tiny: Halver"]
    assert rows[1:] == [
        ["alice", "0", "100", "0", "0", "0"], ["'=cmd()", "0", "70", "0", "0", ""], ["b, c", "0", "30", "0", "", "0"],
    ]  # fmt: skip


HOSTILE = {
    "html": "<script>alert(1)</script><!-- <details> <img src=x onerror=y> ]]> &lt;",
    "markdown": "![x](http://e.example/x.png) [a](javascript:x) https://e.example | b |\n# c\n```suggestion\nx\n~~~\n`````",
    "mentions": "@all @everyone #1 GH-1 owner/repo#1 a@b.example",
    "escapes": "\x1b[31mred\x1b]0;title\x07\x9b31m\x08\x08\x7f",
    "rich": "[red]x[/red][link=http://x]y[/link][/] :smile:",
    "formula": "=HYPERLINK(1)",
    "full width": "\uff1dHYPERLINK(1)",
    "formula after blanks": " \t\r\n@SUM(1)",
    "workflow": "::error::x\n  ::set-output name=score::100\r::stop-commands::y\u2028::ADD-MASK::z%0A::notice::",
    "workflow where lines fold": "a " * 90 + "::error::x " + "b" * 61 + "::warning::x",
    "workflow of old": "x ##[error]y ##vso[task.setvariable]z",
    "not xml": "\x00\x01\x0b\x0c\ufffe\uffff",
    "surrogates": "\ud800\udc00\ud800",
    "directions": "\u202eabc\u2066\u200b\U000e0041",
    "long": "x" * 100_000,
}


@pytest.mark.parametrize("hostile", HOSTILE.values(), ids=HOSTILE)
def test_hostile_words_stay_words_in_every_form(hostile: str) -> None:
    exercise = an_exercise(a_test(hostile, title=hostile, message=hostile, diagnosis=hostile), name=hostile, message=hostile)
    more = {"status": "rejected", "message": hostile, "substituted": [hostile], "id": hostile}
    for whole in (results(exercise, name=hostile), results(exercise, name=hostile, **more)):
        screen = Console(file=io.StringIO(), width=100, force_terminal=True)
        show(whole, screen)
        show_summary([whole, whole], screen)
        printed = re.sub("\x1b\\[[0-9;]*m", "", screen.file.getvalue())
        texts = [to_json(whole), markdown(whole), junit(whole), gradescope(whole), summary(whole), csv([whole]), printed]
        for text in texts:
            assert len(text.encode()) < 100_000
            assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", text)
            assert not re.search(r"^\s*::\w|##\w*\[", text, re.MULTILINE)
        json.loads(texts[0]), json.loads(texts[3]), ElementTree.fromstring(texts[2])
        for text in (texts[1], texts[4]):
            tokens = [inner for token in COMMONMARK.parse(text) for inner in (token, *(token.children or []))]
            assert not {token.type for token in tokens} & {"html_block", "html_inline", "link_open", "image", "code_block"}
            assert not re.search("[@#<]|http|GH-", "".join(token.content for token in tokens if token.type == "text"))
        cells = [cell for row in table.reader(io.StringIO(texts[5])) for cell in row]
        assert not [cell for cell in cells if re.match(r"\s*[=+@\uff1d-]", cell)]
        if "[red]" in hostile:
            assert "[red]" in printed and "\x1b]8" not in screen.file.getvalue()


def test_a_summary_counts(course) -> None:
    assert "| `00_tiny` | 0 / 100 | 1 ❌ not yet, 1 ⬜ to do |" in summary(results(*EXERCISES))


def test_what_is_wrong_with_a_whole_submission_is_said_once() -> None:
    one = results(status="rejected", message="no file of this course is in it").modules[0]
    for modules, times in (([one, one], 1), ([one, one.model_copy(update={"message": "tiny.py is empty"})], 2), ([one], 1)):
        screen = Console(file=io.StringIO(), width=80)
        show(results().model_copy(update={"modules": modules}), screen)
        printed = screen.file.getvalue()
        assert printed.count("not graded: ") == times
        assert ("every module" in printed) == (len(modules) > times)


def test_results_of_one_name_are_one_row() -> None:
    """What was handed in at different times and graded into different folders; what came again counts as it was last."""
    first, other = results(an_exercise()), results(an_exercise(), name="other")
    module = first.modules[0]
    better = module.model_copy(update={"score": module.score + 5})
    second = first.model_copy(update={"modules": [module.model_copy(update={"id": "01_more", "score": 7})]})
    rows = list(table.DictReader(io.StringIO(csv([first, other, second, first.model_copy(update={"modules": [better]})]))))
    assert [row["submission"] for row in rows] == [first.submission.name, "other"]
    assert (rows[0]["00_tiny"], rows[0]["01_more"]) == (f"{module.score + 5:g}", "7")
    assert (rows[0]["score"], rows[0]["max_score"]) == (f"{module.score + 12:g}", f"{2 * module.max_score:g}")
    assert (rows[1]["score"], rows[1]["01_more"]) == (f"{other.score:g}", "")


# ------------------------------------------------------------------ the command


def test_the_command_draws_what_students_may_see(tiny_course: Path, tmp_path: Path, run_autograder) -> None:
    whole = results(an_exercise(TESTS["undiagnosed"], message=SECRET))
    write(whole, tmp_path / "results.json")
    (tmp_path / "exercises/00_tiny").mkdir(parents=True)
    (tmp_path / FILE).write_text(SOURCE)
    offering = tiny_course / "autograder/suites/offering.toml"
    before = offering.read_text()
    try:
        offering.write_text(before + 'show_hidden = "title"\n')
        common = ("--course", tiny_course, "--format")
        shown = run_autograder("report", tmp_path, *common, "annotations", "--submission", tmp_path)
        assert shown.stdout.startswith(f"::warning file={FILE},line=6,") and "test_a in words" in shown.stdout
        assert SECRET not in shown.stdout and shown.returncode == 0
        staff = run_autograder(
            "report", tmp_path / "results.json", *common, "json", "--staff", "--out", tmp_path / "new" / "x.json"
        )
        assert staff.stdout == "" and (tmp_path / "new" / "x.json").read_text() == to_json(whole)
    finally:
        offering.write_text(before)


def test_a_class_goes_into_one_table(tiny_course: Path, tmp_path: Path, run_autograder) -> None:
    for name in ("bo", "anna"):
        write(results(an_exercise(), name=name), tmp_path / name / "results.json")
    (tmp_path / "empty").mkdir()
    drawn = run_autograder("report", tmp_path, "--course", tiny_course, "--format", "csv")
    assert [row[0] for row in table.reader(io.StringIO(drawn.stdout))][1:] == ["anna", "bo"], drawn.stderr
    one = run_autograder("report", tmp_path, "--course", tiny_course)
    assert one.returncode == 2 and "takes one result, not 2; only csv" in one.stderr
    none = run_autograder("report", tmp_path / "empty", "--course", tiny_course)
    assert none.returncode == 2 and "empty/results.json: cannot be read: No such file" in none.stderr


@pytest.mark.parametrize(("content", "says"), [("{}", "is not a result"), ("[", "is not a result"), (None, "cannot be read")])
def test_what_is_no_result_is_a_usage_error(tmp_path: Path, tiny_course: Path, content: str | None, says: str) -> None:
    from autograder.intake import UsageError
    from autograder.reports.commands import report

    path = tmp_path / "results.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(UsageError, match=says):
        report([path], course_folder=tiny_course)
    with pytest.raises(UsageError, match="no such form"):
        report([path], form="pdf", course_folder=tiny_course)


# ------------------------------------------------------------------ the student's workflow


def test_the_public_tests_remark_in_a_workflow(course, tmp_path: Path, monkeypatch, capsys) -> None:
    def told(exercise: str, outcome: str, lesson: str = "", todo: str | None = None) -> SimpleNamespace:
        said = {"when": "call", "passed": outcome == "passed", "failed": outcome == "failed", "lesson": lesson, "todo": todo}
        return SimpleNamespace(module="00_tiny", exercise=exercise, **said)

    def run(*reports: SimpleNamespace) -> tuple[int, str, str]:
        monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary.md"))
        (tmp_path / "summary.md").write_text("")
        remarks, session = Remarks(course), SimpleNamespace(exitstatus=pytest.ExitCode.TESTS_FAILED)
        for report in reports:
            remarks.pytest_runtest_logreport(report)
        remarks.pytest_sessionfinish(session)
        remarks.pytest_unconfigure()
        return int(session.exitstatus), capsys.readouterr().out, (tmp_path / "summary.md").read_text()

    unwritten = told("Halver", "failed", "TODO: Halver is not written yet", "Halver")
    status, printed, summarised = run(told("double", "passed"), told("double", "failed", "1\n::error::x"), unwritten)
    line = definition_line((course.modules[0].folder / "tiny.py").read_text(), "double")
    assert printed.strip() == f"::warning file={FILE},line={line},title=00_tiny%3A double::1%0A::error::x" and status == 1
    assert "| `00_tiny` | `double` | ❌ not yet |\n| `00_tiny` | `Halver` | ⬜ to do |" in summarised
    assert run(told("double", "passed"), unwritten)[:2] == (0, "")
    assert run(told("double", "passed"), SimpleNamespace(failed=True))[0] == 1
