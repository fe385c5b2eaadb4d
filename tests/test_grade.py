"""The command `grade` from end to end on the tiny course: what a result says, malformed input, usage errors, sameness."""

import io
import json
import os
import re
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import jsonschema
import pytest
from tiny import make_course

from autograder.grading.grade import _together
from autograder.reports.results import schema

RIGHT = "def double(x):\n    return x + x\n\n\nclass Halver:\n    def __call__(self, x):\n        return x / 2\n"
SLOW = "import time\n\ncalls = []\n\n\n" + RIGHT.replace(
    "    return x + x", "    calls.append(x)\n    time.sleep(3 * (SLOW))\n    return x + x"
)
CASES = {
    "right": RIGHT,
    "stub": None,  # the generated stub itself
    "tripled": RIGHT.replace("x + x", "x * 3"),
    "in_place": RIGHT.replace("return x + x", "x *= 2\n    return x"),
    "halver_missing": "def double(x):\n    return x + x\n",
    "wrong_error": RIGHT.replace("return x + x", "raise KeyError('x')"),
    "forbidden": "import torch\n" + RIGHT.replace("x + x", "torch.ldexp(x, torch.tensor(1))"),
    "forbidden_in_disguise": "import torch\n" + RIGHT.replace("x + x", "getattr(torch, 'ld' + 'exp'[:3])(x, torch.ones(()))"),
    "slow_import": "import time\ntime.sleep(0.3)\n" + RIGHT,
    "slow_once": SLOW.replace("SLOW", "len(calls) == 5"),
    "slow_twice": SLOW.replace("SLOW", "len(calls) == 5 or x.numel() == 3"),
    "syntax_error": "def double(x:\n",
    "helper_missing": "from helper import twice\n" + RIGHT,
    "nested_too_deeply": "x = " + "(" * 5000 + ")" * 5000 + "\n",
    "empty": "",
    "prints_much": "print('x' * 100000)\n" + RIGHT,
    "unusual_but_right": "double = lambda x: 2 * x\n\n\ndef Halver():\n    return lambda x: 0.5 * x\n",
}  # fmt: skip


def zipped(**files: str) -> bytes:
    """A zip with these files; `up` stands for a climbing name."""
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in files.items():
            archive.writestr({"tiny": "exercises/00_tiny/tiny.py", "up": "../../tiny.py", "bare": "tiny.py"}[name], text)
    return data.getvalue()


def malformed(folder: Path) -> list[Path]:
    """Submissions that are not even text of a sensible size."""
    made = {
        "not_utf8.py": b"\xff\xfe\x00def",
        "nul.py": b"x = 1\x00",
        "huge.py": b"# " + b"x" * (1 << 20),
        "not_a_zip.zip": b"PK\x03\x04 and no more",
        "climbing.zip": zipped(up=RIGHT),
        "bomb.zip": zipped(tiny="#" * (1 << 26)),
        "good.zip": zipped(tiny=RIGHT),
    }
    for name, data in made.items():
        (folder / name).write_bytes(data)
    for name in ("folder_for_file", "link_for_file", "nothing_in_it", "fifo_for_file"):
        (folder / name).mkdir()
    (folder / "folder_for_file" / "tiny.py").mkdir()
    (folder / "link_for_file" / "tiny.py").symlink_to("/etc/passwd")
    os.mkfifo(folder / "fifo_for_file" / "tiny.py")
    return sorted(folder.iterdir())


@pytest.fixture(scope="module")
def graded(tiny_course: Path, tmp_path_factory: pytest.TempPathFactory, run_autograder) -> dict[str, dict]:
    folder, out = tmp_path_factory.mktemp("submissions"), tmp_path_factory.mktemp("results")
    paths = malformed(folder)
    for name, text in CASES.items():
        paths.append(folder / f"{name}.py")
        text = (tiny_course / "exercises/00_tiny/tiny.py").read_text() if text is None else text
        paths[-1].write_text(text)
    again = tmp_path_factory.mktemp("again")
    for target in (out, again):
        done = run_autograder("grade", *paths, "-m", "tiny", "--course", tiny_course, "--out", target, "--require-sandbox")
        assert done.returncode == 0, done.stderr[-2000:]
    found = {path.parent.name: json.loads(path.read_text()) for path in out.glob("*/results.json")}
    found["(again)"] = {path.parent.name: json.loads(path.read_text()) for path in again.glob("*/results.json")}
    found["(text)"] = done.stdout
    return found


def exercise(result: dict, name: str = "double") -> dict:
    return next(e for e in result["modules"][0]["exercises"] if e["name"] == name)


def core(result: dict, name: str = "double") -> dict:
    return next(test for test in exercise(result, name)["tests"] if test["tier"] == "hidden")


def test_every_result_is_valid(graded: dict) -> None:
    for name, result in graded.items():
        if not name.startswith("("):
            jsonschema.validate(result, schema())
            assert len(result["modules"]) == 1
    assert len(graded) == len(CASES) + 11 + 2


def test_the_right_one_gets_everything(graded: dict) -> None:
    for name in ("right", "unusual_but_right", "good", "prints_much", "slow_import"):
        assert graded[name]["score"] == graded[name]["max_score"] == 100, name
        assert {e["status"] for e in graded[name]["modules"][0]["exercises"]} == {"passed"}


def test_the_stub_is_all_todo(graded: dict) -> None:
    module = graded["stub"]["modules"][0]
    assert module["score"] == 0
    assert {e["status"] for e in module["exercises"]} == {"todo"}
    assert {t["outcome"] for e in module["exercises"] for t in e["tests"]} == {"todo"}


def test_a_known_mistake_is_named(graded: dict) -> None:
    assert core(graded["tripled"])["diagnosis"] == "This is three times x, not twice."
    assert "first at index" in core(graded["tripled"])["message"]
    assert exercise(graded["tripled"])["message"] == "This is three times x, not twice."


def test_a_mistake_beside_the_point_costs_its_own_test(graded: dict) -> None:
    result = exercise(graded["in_place"])
    assert (result["status"], result["score"]) == ("partial", 50)
    assert result["message"] == "x is changed in place."


def test_after_a_slow_test_the_others_get_a_chance_and_after_two_none(graded: dict) -> None:
    tests = {name: exercise(graded[name])["tests"] for name in ("slow_once", "slow_twice")}
    outcomes = {name: [test["outcome"] for test in found] for name, found in tests.items()}
    assert outcomes == {"slow_once": ["timeout", "passed", "passed"], "slow_twice": ["timeout"] * 3}
    assert ["not run" in test["message"] for test in tests["slow_twice"]] == [False, False, True]
    assert "all that it gets" in tests["slow_twice"][1]["message"] and "all that" not in tests["slow_once"][0]["message"]


def test_a_missing_exercise_costs_only_itself(graded: dict) -> None:
    assert exercise(graded["halver_missing"])["score"] == 70
    assert "does not define Halver" in core(graded["halver_missing"], "Halver")["message"]


def test_a_file_that_was_not_taken_is_missed(graded: dict) -> None:
    message = core(graded["helper_missing"])["message"]
    assert "No module named 'helper'" in message and "only the files that the course names" in message


def test_an_exception_is_shown_with_its_line(graded: dict) -> None:
    message = core(graded["wrong_error"])["message"]
    assert "double raised KeyError: 'x'" in message and "wrong_error" not in message
    assert "tiny.py, line 2" in message


@pytest.mark.parametrize("name", ["forbidden", "forbidden_in_disguise"])
def test_a_forbidden_call_costs_its_exercise_alone(graded: dict, name: str) -> None:
    result = exercise(graded[name])
    assert (result["status"], result["score"]) == ("policy", 0)
    assert "ldexp" in result["message"] and "line 3" in result["message"]
    assert exercise(graded[name], "Halver")["score"] == 30


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("syntax_error", "line 1"),
        ("nested_too_deeply", "nest"),
        ("empty", "empty"),
        ("not_utf8", "UTF-8"),
        ("nul", "NUL"),
        ("huge", "256"),
        ("not_a_zip", "zip"),
        ("climbing", "tiny.py"),
        ("bomb", "256"),
        ("folder_for_file", "folder"),
        ("link_for_file", "link"),
        ("nothing_in_it", "missing"),
        ("fifo_for_file", "file"),
    ],
)
def test_malformed_input_is_rejected_with_a_reason(graded: dict, name: str, says: str) -> None:
    module = graded[name]["modules"][0]
    assert (module["status"], module["score"]) == ("rejected", 0)
    assert says.lower() in module["message"].lower(), module["message"]
    assert {t["outcome"] for e in module["exercises"] for t in e["tests"]} == {"error"}


def timeless(result: dict) -> str:
    return re.sub(r'"seconds": [0-9.e-]+', "", json.dumps(result))


def test_the_same_submission_gets_the_same_file_but_for_times(graded: dict) -> None:
    for name, again in graded["(again)"].items():
        assert timeless(graded[name]) == timeless(again)


@pytest.mark.parametrize("name", ["right", "tripled", "halver_missing", "forbidden_in_disguise", "syntax_error"])
def test_alone_a_submission_gets_what_it_gets_in_a_class(
    graded: dict, tiny_course: Path, tmp_path: Path, run_autograder, name: str
) -> None:
    submission = tmp_path / f"{name}.py"
    submission.write_text(CASES[name])
    done = run_autograder("grade", submission, "-m", "tiny", "--course", tiny_course, "--out", tmp_path / "out")
    assert done.returncode == 0, done.stderr[-2000:]
    assert timeless(json.loads((tmp_path / "out" / name / "results.json").read_text())) == timeless(graded[name])


def test_no_result_of_another_module_is_lost(tiny_course: Path, tmp_path: Path, run_autograder) -> None:
    (tmp_path / "tiny.py").write_text(RIGHT)
    command = ("grade", tmp_path / "tiny.py", "-m", "tiny", "--course", tiny_course, "--out", tmp_path / "out")
    assert run_autograder(*command).returncode == 0
    path = tmp_path / "out/tiny/results.json"
    graded = json.loads(path.read_text())
    (module,) = graded["modules"]
    path.write_text(json.dumps(graded | {"modules": [module, module | {"id": "01_more"}]}))
    before = path.read_text()
    refused = run_autograder(*command)
    assert refused.returncode == 2 and path.read_text() == before
    assert f"{path.parent} has a result for 01_more, which would be lost\ngive another --out" in refused.stderr
    for text in (json.dumps(graded | {"modules": [module, module | {"id": "01_more", "status": "rejected"}]}), "no result"):
        path.write_text(text)
        assert run_autograder(*command).returncode == 0
        assert timeless(json.loads(path.read_text())) == timeless(graded)


def test_a_second_file_that_was_not_handed_in_is_named(tmp_path: Path, run_autograder) -> None:
    root = make_course(tmp_path / "course")
    changes = {
        "exercises/00_tiny/module.toml": ('files = ["tiny.py"]', 'files = ["tiny.py", "second.py"]'),
        "autograder/suites/00_tiny/scenarios.py": ("return", "import exercises.second\n    return"),
    }
    for path, (old, new) in changes.items():
        (root / path).write_text((root / path).read_text().replace(old, new))
    (root / "solutions/00_tiny/second.py").write_text("")
    (tmp_path / "tiny.py").write_text(RIGHT)
    done = run_autograder("grade", tmp_path / "tiny.py", "--course", root, "--out", tmp_path / "results")
    assert done.returncode == 0, done.stderr
    result = json.loads((tmp_path / "results/tiny/results.json").read_text())
    assert core(result, "Halver")["message"] == "second.py was not handed in"


def test_scenarios_may_lie_in_a_file_called_probes(tmp_path: Path, run_autograder) -> None:
    root = make_course(tmp_path / "course")
    suite = root / "autograder/suites/00_tiny"
    (suite / "scenarios.py").rename(suite / "probes.py")
    hidden = suite / "test_tiny_hidden.py"
    hidden.write_text(hidden.read_text().replace("scenarios", "probes"))
    (tmp_path / "tiny.py").write_text(RIGHT)
    done = run_autograder("grade", tmp_path / "tiny.py", "--course", root, "--out", tmp_path / "results")
    assert done.returncode == 0, done.stderr
    assert core(json.loads((tmp_path / "results/tiny/results.json").read_text()), "Halver")["outcome"] == "passed"


def test_a_cell_that_is_not_python_is_named_alone(tiny_course: Path, tmp_path: Path, run_autograder) -> None:
    cells = ["def double(x:\n    return x + x", RIGHT[RIGHT.index("class") :]]
    code = [{"cell_type": "code", "metadata": {}, "source": source, "outputs": []} for source in cells]
    code[0]["metadata"] = {"nbgrader": {"grade_id": "double", "solution": True}}
    (tmp_path / "tiny.ipynb").write_text(json.dumps({"nbformat": 4, "metadata": {}, "cells": code}))
    run_autograder("grade", tmp_path / "tiny.ipynb", "--module", "tiny", "--course", tiny_course, "--out", tmp_path / "out")
    double, halver = json.loads((tmp_path / "out/tiny/results.json").read_text())["modules"][0]["exercises"]
    assert halver["status"] == "passed"
    assert {test["message"] for test in double["tests"]} == {"Python cannot read cell 1, line 1: '(' was never closed"}


def test_control_c_says_what_is_done_and_leaves_nothing_empty(tiny_course: Path, tmp_path: Path) -> None:
    paths = {name: tmp_path / f"{name}.py" for name in ("right", "waits", "waits_too")}
    for name, path in paths.items():
        path.write_text(RIGHT if name == "right" else RIGHT.replace("return x + x", "while True: pass"))
    command = [sys.executable, "-c", "from autograder.cli import main; main()", "grade", *map(str, paths.values())]
    command += ["-m", "tiny", "--course", str(tiny_course), "--out", str(tmp_path / "out")]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        while process.poll() is None and not (tmp_path / "out/right/results.json").exists():
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        said = process.communicate(timeout=60)[1]
    assert process.returncode == 130, said
    assert said.splitlines() == [f"1 of 3 graded; results in {tmp_path / 'out'}", "autograder: stopped"]
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["right"]


COUNTED = """
import sys
from pathlib import Path

from autograder.course import load_course
from autograder.grading.grade import grade
from autograder.intake import collect
from autograder.worker.client import Zygote


class Counting(Zygote):
    def connect(self):
        with open("workers", "a") as file:  # the processes that ask for one are forks of this one
            file.write("+")
        return super().connect()


course = load_course(Path(sys.argv[1]))
zygote = Counting()
grade(course, [collect(Path(path), course, name=path) for path in sys.argv[2:]], zygote, lambda index, result: None)
zygote.close()
"""


def test_what_cannot_be_imported_is_not_tried_again_for_each_part(tiny_course: Path, tmp_path: Path) -> None:
    for name, text in {"right": RIGHT, "divides": RIGHT + "\n1 / 0\n"}.items():  # two: the parts of one may go side by side
        (tmp_path / name).mkdir()
        (tmp_path / name / "tiny.py").write_text(text)
    command = [sys.executable, "-c", COUNTED, str(tiny_course), "right", "divides"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert len((tmp_path / "workers").read_text()) == 1 + 2 + 1  # the first one shows what confines a worker


def test_what_was_earned_before_an_import_fails_is_not_spread_over_the_rest() -> None:
    """A file may be imported for one part and not for the next: by the clock, or at random."""

    def answer(loaded: bool, **outcomes: str) -> bytes:
        return json.dumps([{name: {"outcome": outcome} for name, outcome in outcomes.items()}, {}, loaded]).encode()

    rest = iter([answer(True, one="passed", two="failed"), answer(False, three="error"), answer(True, four="passed")])
    outcomes, _ = _together(rest, ["one", "two", "three", "four"])
    assert {name: outcome.outcome for name, outcome in outcomes.items()} == {
        "one": "passed", "two": "failed", "three": "error", "four": "error",
    }  # fmt: skip
    assert len(list(rest)) == 1, "the last part is not asked for"


def test_the_table_shows_scores_and_named_mistakes(graded: dict) -> None:
    assert "100 / 100" in graded["(text)"]
    assert "three times x" in graded["(text)"]
    assert "TODO" in graded["(text)"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["grade", "no/such/folder"], "no/such/folder"),
        (["grade", "{course}", "-m", "99"], "99"),
        (["grade"], "SUBMISSION"),
        (["grade", "{file}"], "--module"),
        (["grade", "no/such", "{course}", "{file}"], "no/such: there is no such file or folder\nhomework.py: which module"),
        (["grade", "{file}", "-m", "tiny", "--out", "{file}"], "--out"),
        (["grade", "{file}", "-m", "tiny", "--out", "/proc/self/results"], "--out"),
        (["verify", "nonsense"], "nonsense"),
        (["flourish"], "flourish"),
    ],
)
def test_a_usage_error_is_one_line_each_and_exit_2(tiny_course: Path, tmp_path: Path, run_autograder, arguments, says) -> None:
    file = tmp_path / "homework.py"
    file.write_text(RIGHT)
    words = [word.format(course=tiny_course, file=file) for word in arguments]
    done = run_autograder(*words, *(["--course", tiny_course] if len(words) > 1 else []))
    assert done.returncode == 2
    said = done.stderr.replace(f"{tmp_path}/", "").removeprefix("autograder: ")
    assert said.startswith(says) if "\n" in says else says in said
    assert len(said.strip().splitlines()) == len(says.splitlines())
    assert not done.stdout
