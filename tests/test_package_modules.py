"""A module whose files lie in a folder of their own and import each other, from sync to grading."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tiny import make_course

from autograder.course import load_course

HALVER = "\n\nclass Halver:"


@pytest.fixture
def course(tmp_path: Path, run_autograder) -> Path:
    """The tiny course with `double` in parts/main.py and `Halver` in parts/more.py, which imports it."""
    make_course(tmp_path)
    old = tmp_path / "solutions/00_tiny/tiny.py"
    double, _, halver = old.read_text().partition(HALVER)
    parts = old.parent / "parts"
    parts.mkdir()
    (parts / "main.py").write_text(double.rstrip() + "\n")
    imports = '"""Half."""\n\nimport torch\n\nfrom solutions.parts.main import double\n'
    body = (HALVER + halver).replace("return x / 2", "return double(x) / 4")
    (parts / "more.py").write_text(imports + body)
    old.unlink()
    toml = tmp_path / "exercises/00_tiny/module.toml"
    text = toml.read_text().replace('["tiny.py"]', '["parts/main.py", "parts/more.py"]')
    toml.write_text(text.replace('name = "Halver"', 'name = "Halver"\nfile = "parts/more.py"'))
    beside = 'importlib.import_module(module.__name__.rpartition(".")[0] + ".more") if "." in module.__name__ else module'
    for path in (tmp_path / "autograder/suites/00_tiny/scenarios.py", tmp_path / "exercises/00_tiny/test_tiny.py"):
        found = f"    import importlib\n\n    return ({beside}).Halver"
        path.write_text(path.read_text().replace("    return module.Halver", found))
    assert run_autograder("sync", "--course", tmp_path).returncode == 0
    return tmp_path


def check(course: Path) -> str:
    (course / "pytest.ini").write_text("[pytest]\naddopts = --import-mode=importlib\n")
    command = [sys.executable, "-m", "pytest", "exercises/00_tiny", "-p", "no:cacheprovider"]
    done = subprocess.run(command, cwd=course, env={**os.environ, "PYTHONPATH": str(course)}, capture_output=True, text=True)
    return done.stdout


def test_the_main_file_is_imported_by_its_whole_name(course: Path) -> None:
    module = load_course(course).module("00")
    assert module.dotted == "parts.main" and module.stem == "main"
    assert "from exercises.parts.main import double" in (module.folder / "parts/more.py").read_text()


def test_a_student_s_pytest_finds_the_files_and_says_what_is_wrong_with_them(course: Path) -> None:
    assert "2 todo" in check(course)
    for name in ("main", "more"):
        solved = (course / f"solutions/00_tiny/parts/{name}.py").read_text().replace("from solutions", "from exercises")
        (course / f"exercises/00_tiny/parts/{name}.py").write_text(solved)
    assert "2 passed" in check(course)
    (course / "exercises/00_tiny/parts/main.py").write_text("def double(x):\n    return x +\n")
    assert "Python cannot read main.py" in check(course)


def test_it_is_verified_and_graded_in_the_confined_worker(course: Path, tmp_path: Path, run_autograder) -> None:
    assert run_autograder("verify", "--course", course).returncode == 0
    done = run_autograder("grade", course / "solutions/00_tiny", "--course", course, "--out", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    (result,) = (tmp_path / "out").glob("*/results.json")
    assert json.loads(result.read_text())["score"] == 100
