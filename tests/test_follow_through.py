"""A module is graded on the student's own earlier module when that passes, and on the course's where it does not."""

import json
import textwrap

import pytest
from tiny import make_course

NEXT = {
    "exercises/01_next/module.toml": """
        title = "Next"
        summary = "Four times a tensor."
        files = ["next.py"]
        preload = []
        requires = ["00_tiny"]

        [[exercises]]
        name = "quadruple"
        points = 100
        why = "It builds on the module before."
        hints = ["Double.", "Twice."]
    """,
    "exercises/01_next/test_next.py": """
        import torch
        from autograder.testing import assert_close, exercise


        @exercise("quadruple")
        def test_one_becomes_four(student):
            assert_close(student.quadruple(torch.ones(1)), torch.full((1,), 4.0))
    """,
    "solutions/01_next/next.py": """
        from solutions.tiny import double


        def quadruple(x):
            ### BEGIN SOLUTION
            return double(double(x))
            ### END SOLUTION
    """,
    "autograder/suites/01_next/test_next_hidden.py": """
        from autograder.testing import assert_close, exercise
        from autograder.testing.strategies import normal


        def which(module):
            return module.double.__doc__ or ""


        @exercise("quadruple", points=60, core=True)
        def test_every_value_is_four_times_as_large(student, reference, generator):
            x = normal(generator, 3)
            assert_close(student.quadruple(x), reference.quadruple(x))


        @exercise("quadruple", points=40)
        def test_it_stands_on_the_students_own_module(student):
            assert "mine" in student.run(which)
    """,
}
MINE = 'def double(x):\n    """mine"""\n    return x + x\n\n\nclass Halver:\n    def __call__(self, x):\n        return x / 2\n'
SUBMISSIONS = {"own_passes": MINE, "own_fails": MINE.replace("x + x", "x * 3"), "own_missing": None}


@pytest.fixture(scope="module")
def graded(tmp_path_factory: pytest.TempPathFactory, run_autograder) -> dict[str, dict]:
    course, folder, out = (tmp_path_factory.mktemp(name) for name in ("course", "submissions", "results"))
    make_course(course)
    for name, text in NEXT.items():
        (course / name).parent.mkdir(parents=True, exist_ok=True)
        (course / name).write_text(textwrap.dedent(text).lstrip("\n"))
    quadruple = (course / "solutions/01_next/next.py").read_text().replace("solutions.", "exercises.")
    for name, text in SUBMISSIONS.items():
        (folder / name).mkdir()
        (folder / name / "next.py").write_text(quadruple)
        if text is not None:
            (folder / name / "tiny.py").write_text(text)
    done = run_autograder("grade", *sorted(folder.iterdir()), "--course", course, "--out", out)
    assert done.returncode == 0, done.stderr
    results = {path.parent.name: json.loads(path.read_text()) for path in out.glob("*/results.json")}
    results["(text)"] = done.stdout
    return results


def last(result: dict) -> dict:
    return result["modules"][-1]


def test_a_module_that_passes_is_built_on(graded: dict) -> None:
    assert last(graded["own_passes"])["substituted"] == []
    assert last(graded["own_passes"])["score"] == 100


@pytest.mark.parametrize("name", ["own_fails", "own_missing"])
def test_a_module_that_does_not_pass_is_replaced_and_the_report_says_so(graded: dict, name: str) -> None:
    assert last(graded[name])["substituted"] == ["00_tiny"]
    assert last(graded[name])["score"] == 60  # an early mistake is paid for once: four times x is right all the same
    assert "00_tiny" in graded["(text)"]
