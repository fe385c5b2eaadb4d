"""nbgrader's whole cycle on our notebooks, and our grading of an nbgrader course: one course folder, made once."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from tiny import make_course
from tiny_lesson import LESSON

from autograder.authoring.notebooks import instructor_notebook, to_bytes
from autograder.course import load_course
from autograder.intake import UsageError
from autograder.nbgrader import bridge
from autograder.nbgrader.sheet import Released, autograded
from autograder.notebook import Cell
from autograder.reports.results import read

DOUBLE = "def double(x: torch.Tensor) -> torch.Tensor:\n    "
HALVER = "class Halver:\n    def __call__(self, x):\n        "
HOSTILE = """
import os, sys, pathlib
def double(x):
    for name, module in list(sys.modules.items()):
        if "reference" in name or "solutions" in name:
            return module.double(x)
    pathlib.Path("/tmp/pwned-by-notebook").write_text("x")
    os._exit(0)
"""
ANSWERS = {
    "right": {"double": DOUBLE + "return x + x", "Halver": HALVER + "return x / 2"},
    "wrong": {"double": DOUBLE + "return 3 * x"},  # the other one is not written
    "hostile": {"double": HOSTILE, "Halver": "import os\nos._exit(0)\nclass Halver: pass\n<script>alert(1)</script>"},
}
COMMAND = """
from autograder import cli
from autograder.nbgrader.commands import register
if not any(command.callback and command.callback.__name__ == "nbgrader" for command in cli.app.registered_commands):
    register(cli.app)
cli.main()
"""


NBGRADER = """
import json, os, sys
from nbgrader.apps.nbgraderapp import NbGraderApp
for folder, *arguments in json.loads(sys.argv[1]):  # importing nbgrader takes longer than most of its commands
    if (pid := os.fork()) == 0:
        os.chdir(folder)
        sys.argv = ["nbgrader", *arguments]
        sys.exit(NbGraderApp.launch_instance())
    if status := os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]):
        sys.exit(f"nbgrader {arguments}: {status}")
"""


def run(*command: object, cwd: Path, home: Path) -> subprocess.CompletedProcess[str]:
    own = {name: str(home / name.lower()) for name in ("HOME", "IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR")}
    own["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        [sys.executable, *map(str, command)], cwd=cwd, env={**os.environ, **own, "OMP_NUM_THREADS": "1"}, text=True,
        capture_output=True, stdin=subprocess.DEVNULL, timeout=300,
    )  # fmt: skip


def scores(root: Path) -> dict[str, tuple[float, dict[str, float], dict[str, str | None], bool]]:
    """Student → total, score of each graded cell, comment on each solution cell, whether somebody has to look."""
    from nbgrader.api import Gradebook

    with Gradebook(f"sqlite:///{root / 'gradebook.db'}", "tiny") as book:
        return {
            submission.student.id: (
                submission.score,
                {grade.name: grade.score for notebook in submission.notebooks for grade in notebook.grades},
                {comment.name: comment.comment for notebook in submission.notebooks for comment in notebook.comments},
                submission.needs_manual_grade,
            )
            for submission in book.assignment_submissions("tiny")
        }


@pytest.fixture(scope="module")
def cycle(tmp_path_factory) -> SimpleNamespace:
    """The tiny course's notebook released by nbgrader, handed in six times, graded by us, with feedback and export."""
    course_root = make_course(tmp_path_factory.mktemp("course"))
    (course_root / "solutions/00_tiny/lesson.py").write_text(LESSON)
    root = course_root / "nb"
    home = tmp_path_factory.mktemp("home")
    module = load_course(course_root).module("00")
    source = root / "source/tiny/tiny.ipynb"
    source.parent.mkdir(parents=True)
    source.write_bytes(to_bytes(instructor_notebook(module)))
    (root / "nbgrader_config.py").write_text("c = get_config()\nc.CourseDirectory.course_id = 'tiny'\n")

    def nbgrader(*commands: tuple[object, ...]) -> None:
        done = run("-c", NBGRADER, json.dumps([[str(part) for part in command] for command in commands]), cwd=home, home=home)
        assert done.returncode == 0, done.stderr[-3000:]

    nbgrader((root, "generate_assignment", "tiny"))
    own = course_root / "own"  # for nbgrader's own autograde
    shutil.copytree(root, own)
    released = json.loads((root / "release/tiny/tiny.ipynb").read_text())

    def hand_in(student: str, content: str | bytes) -> None:
        path = root / "submitted" / student / "tiny/tiny.ipynb"
        path.parent.mkdir(parents=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)

    for student, answers in ANSWERS.items():
        notebook = json.loads(json.dumps(released))
        for cell in notebook["cells"]:
            grade_id = cell["metadata"].get("nbgrader", {}).get("grade_id")
            cell["source"] = answers.get(grade_id, cell["source"])
        if student == "hostile":  # its tests are replaced, and worth more than there is
            for cell in notebook["cells"]:
                if cell["metadata"].get("nbgrader", {}).get("grade"):
                    cell["source"], cell["metadata"]["nbgrader"]["points"] = "pass", 1000
        hand_in(student, json.dumps(notebook))
    hand_in("garbage", b"\xff{[")
    hand_in("untouched", json.dumps(released))
    (root / "submitted/empty/tiny").mkdir(parents=True)
    (root / "submitted/right/tiny/timestamp.txt").write_text("2030-02-01 10:00:00 UTC")
    (root / "submitted/wrong/tiny/timestamp.txt").write_text("yesterday, I think")
    (root / "submitted/untouched/tiny/timestamp.txt").touch()
    command = ("nbgrader", root, "tiny", "--course", course_root, "--out", home / "out")
    graded = run("-c", COMMAND, *command, cwd=home, home=home)
    assert graded.returncode == 0, graded.stderr
    for student in ("right", "wrong"):
        shutil.copytree(root / "submitted" / student, own / "submitted" / student)
        (own / "submitted" / student / "tiny/timestamp.txt").unlink()
    nbgrader((root, "generate_feedback", "tiny"), (root, "export"), (own, "autograde", "tiny"))
    return SimpleNamespace(root=root, own=own, home=home, course=course_root, graded=graded, scores=scores(root))


def test_the_gradebook_has_the_scores_that_grade_gives(cycle, run_autograder):
    assert {student: entry[0] for student, entry in cycle.scores.items()} == {
        "right": 100, "wrong": 0, "hostile": 0, "garbage": 0, "untouched": 0, "empty": 0,
    }  # fmt: skip
    assert cycle.scores["right"][1] == {"check_double": 70, "check_Halver": 30}
    paths = [cycle.root / "submitted" / student / "tiny/tiny.ipynb" for student in ANSWERS]
    done = run_autograder("grade", *paths, "--course", cycle.course, "--out", cycle.home / "direct")
    assert done.returncode == 0, done.stderr
    direct = [read(path).score for path in sorted((cycle.home / "direct").glob("*/results.json"))]
    assert sorted(direct) == sorted(cycle.scores[student][0] for student in ANSWERS)
    assert not Path("/tmp/pwned-by-notebook").exists()


def test_comments_say_what_a_student_should_read(cycle):
    comments = {student: entry[2] for student, entry in cycle.scores.items()}
    assert comments["right"] == {"double": None, "Halver": None}
    assert "This is three times x, not twice." in comments["wrong"]["double"]
    assert comments["wrong"]["Halver"] == comments["untouched"]["double"] == "Not written yet."
    assert "not a notebook" in comments["garbage"]["double"]
    assert "missing" in comments["empty"]["double"]
    said = {text for of_student in comments.values() for text in of_student.values()} - {None, "Not written yet."}
    assert all(text.startswith("```text\n") for text in said)  # a submission's words are never read as Markdown


def test_nobody_has_to_look_at_what_was_graded(cycle):
    assert not any(entry[3] for entry in cycle.scores.values())
    assert "recorded in the gradebook: 6" in cycle.graded.stdout


def test_a_timestamp_that_is_no_time_is_said(cycle):
    (line,) = [line for line in cycle.graded.stdout.splitlines() if "timestamp.txt" in line]
    assert line.endswith(": untouched, wrong")


def sheets(root: Path) -> dict[str, bytes]:
    return {path.parts[-3]: path.read_bytes() for path in root.glob("autograded/*/tiny/tiny.ipynb")}


def test_recording_again_changes_nothing_and_keeps_what_a_grader_entered(cycle, tmp_path):
    from nbgrader.api import Gradebook

    root = tmp_path / "nb"
    shutil.copytree(cycle.root, root)
    course = load_course(cycle.course)
    assignment = bridge.open_assignment(root, "tiny", course)
    students = bridge.submissions(assignment, course)
    assert sorted(students) == sorted(cycle.scores)
    for _ in range(2):
        for student, submission in students.items():
            bridge.record(assignment, student, read(cycle.home / "out" / submission.name / "results.json"), course)
        assert scores(root) == cycle.scores
        assert sheets(root) == sheets(cycle.root) and len(sheets(root)) == 6
    with Gradebook(f"sqlite:///{root / 'gradebook.db'}", "tiny") as book:
        book.find_grade("check_double", "tiny", "tiny", "wrong").manual_score = 5.0
        book.find_comment("double", "tiny", "tiny", "wrong").manual_comment = "Come and see me."
        book.db.commit()
    bridge.record(assignment, "wrong", read(cycle.home / "out/wrong/results.json"), course)
    total, _, comments, look_again = scores(root)["wrong"]
    assert (total, comments["double"], look_again) == (5, "Come and see me.", True)


def test_late_work_is_penalised_as_the_courses_configuration_says(cycle, tmp_path):
    from nbgrader.api import Gradebook

    root = tmp_path / "nb"
    shutil.copytree(cycle.root, root)
    with (root / "nbgrader_config.py").open("a") as config:
        config.write("c.LateSubmissionPlugin.penalty_method = 'zero'\n")
    course = load_course(cycle.course)
    with Gradebook(f"sqlite:///{root / 'gradebook.db'}", "tiny") as book:
        book.update_or_create_assignment("tiny", duedate="2030-01-31 10:00:00 UTC")
    bridge.record(bridge.open_assignment(root, "tiny", course), "right", read(cycle.home / "out/right/results.json"), course)
    with Gradebook(f"sqlite:///{root / 'gradebook.db'}", "tiny") as book:
        late = book.find_submission("tiny", "right")
        assert (late.total_seconds_late, late.late_submission_penalty) == (24 * 3600, 100)


def test_feedback_and_export_show_the_scores(cycle):
    page = (cycle.root / "feedback/wrong/tiny/tiny.html").read_text()
    assert "This is three times x, not twice." in page and "0 of 70 points" in page
    assert "<script>alert(1)</script>" not in (cycle.root / "feedback/hostile/tiny/tiny.html").read_text()
    table = (cycle.root / "grades.csv").read_text()
    line = next(line for line in table.splitlines() if ",right," in line)
    assert "100.0" in line and "2030-02-01" in line


def test_locked_cells_are_the_released_ones_whatever_was_handed_in(cycle):
    sheet = json.loads((cycle.root / "autograded/hostile/tiny/tiny.ipynb").read_text())
    graded = [cell for cell in sheet["cells"] if cell["metadata"].get("nbgrader", {}).get("grade")]
    assert [cell["metadata"]["nbgrader"]["points"] for cell in graded] == [70, 30]
    assert all("check(" in "".join(cell["source"]) for cell in graded)


def test_what_is_not_there_is_a_usage_error_that_says_what_to_do(cycle, tmp_path):
    course = load_course(cycle.course)
    for root, name in ((tmp_path / "absent", "tiny"), (tmp_path, "tiny"), (cycle.root, "other")):
        with pytest.raises(UsageError, match="no such folder|generate_assignment") as caught:
            bridge.open_assignment(root, name, course)
        assert "\n" not in str(caught.value)
    assert not (tmp_path / "gradebook.db").exists()
    real = load_course(Path(__file__).resolve().parents[1])
    with pytest.raises(UsageError, match="--module"):
        bridge.open_assignment(cycle.root, "tiny", real)
    with pytest.raises(UsageError, match="no graded cell check_"):
        bridge.open_assignment(cycle.root, "tiny", real, real.modules[0])


def test_nbgraders_own_autograde_runs_the_public_tests(cycle):
    assert {student: entry[0] for student, entry in scores(cycle.own).items()} == {"right": 100, "wrong": 0}


CHECK = Released("check_f", "code", "check()", "c", locked=True, solution=False, task=False, points=5.0)
SOLUTION = Released("f", "code", "def f(): TODO", "s", locked=False, solution=True, task=False, points=None)


def sheet(*cells: Cell) -> list[tuple[str, str]]:
    notebook = json.loads(autograded(cells, [CHECK, SOLUTION], {"check_f": "5 of 5"}))
    assert len({cell["id"] for cell in notebook["cells"]}) == len(notebook["cells"])
    return [(cell["metadata"].get("nbgrader", {}).get("grade_id", ""), "".join(cell["source"])) for cell in notebook["cells"]]


def test_missing_cells_come_back_where_they_belong():
    mine = Cell(1, "code", "def f(): 1", "f", "solution")
    note = Cell(2, "markdown", "a note \ud800")
    assert sheet(mine, note) == [("f", "def f(): 1"), ("check_f", "check()"), ("", "a note ?")]
    names = [name for name, _ in sheet(note)]
    assert names == ["", "f", "check_f"]


def test_of_two_cells_with_one_name_the_last_keeps_it():
    cells = [Cell(1, "code", "one", "f"), Cell(2, "code", "two", "f"), Cell(3, "markdown", "changed", "check_f")]
    assert sheet(*cells) == [("", "one"), ("f", "two"), ("check_f", "check()")]
