"""What a student sees in a terminal: pytest on the tiny course, in a process of its own."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tiny import make_course

WRONG = "def double(x):\n    return x * 3\n\n\nclass Halver:\n    def __call__(self, x):\n        return x / y\n"

DRAWN = '''
from autograder.testing import exercise
from autograder.testing.strategies import given, seeds


@exercise("double")
@given(seed=seeds())
def test_twice(student, seed):
    """Twice what is drawn."""
    assert student.double(seed) == 2 * seed
'''


@pytest.fixture
def course(tmp_path: Path, run_autograder) -> Path:
    make_course(tmp_path)
    assert run_autograder("sync", "--course", tmp_path).returncode == 0
    return tmp_path


def check(course: Path, *options: str) -> tuple[int, str]:
    """pytest's exit status and output on the tiny exercises."""
    done = subprocess.run(**command(course, *options), capture_output=True, timeout=120)
    return done.returncode, done.stdout


def command(course: Path, *options: str) -> dict:
    """How pytest is run on the tiny exercises."""
    (course / "pytest.ini").write_text("[pytest]\naddopts = --import-mode=importlib\n")
    args = [sys.executable, "-m", "pytest", "exercises/00_tiny", "-p", "no:cacheprovider", *options]
    return {"args": args, "cwd": course, "env": {**os.environ, "PYTHONPATH": str(course)}, "text": True}


def test_a_stub_reads_as_todo_without_a_traceback(course: Path) -> None:
    status, output = check(course)
    assert status == 1
    assert "2 todo" in output and re.search(r"double +TODO\n +Halver +TODO +Halver.__call__\n", output)
    assert "Traceback" not in output and "NotImplementedError" not in output


def test_a_failure_teaches_in_a_few_lines(course: Path) -> None:
    (course / "exercises/00_tiny/tiny.py").write_text(WRONG)
    status, output = check(course)
    assert status == 1
    assert "double: Twice 1 is 2." in output
    assert "expected 2, got 3" in output
    assert "your code raised NameError: name 'y' is not defined" in output
    assert "tiny.py, line 7: return x / y" in output
    assert "assertions.py" not in output


def test_a_forbidden_call_passes_no_test(course: Path) -> None:
    """The grade would be 0: better said here, with the call and its line. Other exercises pass as ever."""
    right = (course / "solutions/00_tiny/tiny.py").read_text().replace("return 2 * x", "return torch.ldexp(x, torch.tensor(1))")
    (course / "exercises/00_tiny/tiny.py").write_text(right)
    status, output = check(course)
    assert status == 1 and "1 failed, 1 passed" in output
    assert re.search(r"tiny.py, line \d+: torch.ldexp is not allowed in double", output)


def test_verbose_gives_the_whole_traceback(course: Path) -> None:
    (course / "exercises/00_tiny/tiny.py").write_text(WRONG)
    assert "assertions.py" in check(course, "-vv")[1]


def test_the_solution_passes(course: Path) -> None:
    (course / "exercises/00_tiny/tiny.py").write_text((course / "solutions/00_tiny/tiny.py").read_text())
    status, output = check(course)
    assert status == 0 and "2 passed" in output


def test_the_name_of_an_exercise_selects_its_tests_and_no_others(course: Path) -> None:
    tests = course / "exercises/00_tiny/test_tiny.py"
    other = '\n\n@exercise("Halver")\ndef test_the_opposite_of_double(student):\n    """Half of it."""\n'
    tests.write_text(tests.read_text().replace("def test_", "def test_some_") + other)
    output = check(course, "-k", "double")[1]
    assert "double  TODO" in output and "Halver" not in output and "2 deselected" in output


def test_a_stub_is_called_once_where_hypothesis_would_call_it_again(course: Path) -> None:
    calls = course / "calls"
    stub = course / "exercises/00_tiny/tiny.py"
    counted = f'    open({str(calls)!r}, "a").write("x")\n    raise NotImplementedError("TODO: double")'
    stub.write_text(stub.read_text().replace('    raise NotImplementedError("TODO: double")', counted))
    (course / "exercises/00_tiny/test_tiny.py").write_text(DRAWN)
    output = check(course)[1]
    assert "double  TODO" in output and calls.read_text() == "x", output


def test_a_test_that_takes_long_says_where_the_students_code_is(course: Path) -> None:
    """Once; a test that ends in time says nothing, and Control-C ends the run."""
    (course / "exercises/00_tiny/tiny.py").write_text(WRONG.replace("return x * 3", "while True:\n        x = x"))
    (course / "conftest.py").write_text("import autograder.testing.plugin as plugin\n\nplugin.LONG_SECONDS = 0.3\n")
    heeded = "import pytest, signal; signal.signal(signal.SIGINT, signal.default_int_handler); raise SystemExit(pytest.main())"
    options = command(course)
    options["args"][1:3] = ["-c", heeded]
    with subprocess.Popen(**options, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        lines = []
        while not lines or "Control-C ends it" not in lines[-1]:
            lines.append(process.stdout.readline())
            assert lines[-1], "".join(lines)
        assert lines[-2] in [f"  double: a test has run for 0.3 s, and is at tiny.py, line {line}\n" for line in (2, 3)]
        process.send_signal(signal.SIGINT)
        rest = process.communicate(timeout=60)[0]
    assert process.returncode == 2 and "KeyboardInterrupt" in rest and "has run for" not in rest
    assert "has run for" not in check(course, "-k", "Halver")[1]
