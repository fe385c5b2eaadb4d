"""The gate: it passes a sound module, and every kind of fault in a suite stops it."""

from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import make_course, numbered

from autograder.authoring.checks import shortfall
from autograder.grading.suite import with_fewer_examples
from autograder.reports.results import ExerciseResult, ModuleResult

SUITE = "autograder/suites/00_tiny"
TESTS, HIDDEN, SOLUTION = "exercises/00_tiny/test_tiny.py", f"{SUITE}/test_tiny_hidden.py", "solutions/00_tiny/tiny.py"
ALL, GONE = "", None  # in place of a text and its replacement, where the file is deleted
FAULTS = (  # file, what is replaced in it, by what, and what `verify` then says of the module
    (HIDDEN, "points=20", "points=25", "its hidden tests have 75 points"),
    (HIDDEN, "points=30, core=True", "points=30", "Halver: has no core test"),
    (f"{SUITE}/mutants.py", '("2 * x", "3 * x")', '("2 * x", "x + x")', "mutant tripled: passes every test of double"),
    (f"{SUITE}/mutants.py", '("2 * x", "3 * x")', '("9 * x", "3 * x")', "    mutant tripled: '9 * x' occurs 0 times"),
    ("exercises/00_tiny/module.toml", "preload = []", 'preload = ["torhc.nn"]', "preloads torhc.nn, which cannot be"),
    (f"{SUITE}/alternatives.py", "value + value", "value", "alternative one_by_one: "),
    (f"{SUITE}/alternatives.py", "value + value", "torch.ldexp(value, torch.ones(()))", "torch.ldexp is not allowed"),
    (SOLUTION, "return 2 * x", "return 3 * x - x + x", "    reference: scores 100, but not every test passes: double "),
    (
        "exercises/00_tiny/module.toml",
        '"torch.ldexp"',
        '"torch.ldxep"',
        "    module.toml: double forbids torch.ldxep: torch has no ldxep. Did you mean torch.ldexp?",
    ),
    ("exercises/00_tiny/tiny.py", 'raise NotImplementedError("TODO: double")', "return 2 * x", "    stub: double is passed"),
    ("exercises/00_tiny/tiny.py", '"""Twice and half."""', '"""Twice."""', "out of step"),
    (TESTS, '@exercise("Halver")', '@exercise("double")', "Halver: has no public test"),
    (TESTS, '@exercise("Halver")', '@exercise("Halves")', "has no exercise 'Halves'. Did you mean Halver?"),
    (HIDDEN, "import scenarios", "import scenery", "_hidden.py: ImportError: cannot import name 'scenery'"),
    (f"{SUITE}/mutants.py", "import edit", "import no_edit, edit", "mutants.py cannot be run: ImportError: cannot import name"),
    (SOLUTION, "import torch", "import flame", "the solution tiny.py cannot be imported: ModuleNotFoundError: No module"),
    (SOLUTION, ALL, GONE, "cannot be proved\n    solutions/00_tiny/tiny.py is missing (module.toml names it)\n"),
    ("exercises/00_tiny/tiny.py", ALL, GONE, "stub: tiny.py is out of step with its solution"),
    ("exercises/00_tiny/README.md", ALL, GONE, "handout: exercises/00_tiny/README.md is missing"),
)


@pytest.fixture(scope="module")
def said_of_faults(tmp_path_factory: pytest.TempPathFactory, run_autograder) -> list[str]:
    """What one run of `verify` says of a course with a module for each fault, module by module."""
    root = tmp_path_factory.mktemp("faults")
    for number in range(len(FAULTS)):
        make_course(root, number)
    assert run_autograder("sync", "--course", root).returncode == 0
    for number, (file, old, new, _) in enumerate(FAULTS):
        path = root / numbered(file, number)
        assert path.read_text().count(old) >= 1
        if new is GONE:
            path.unlink()
        else:
            path.write_text(path.read_text().replace(old, new, 1))
    done = run_autograder("verify", "--course", root, "--without-cheats")
    assert done.returncode == 1, done.stdout + done.stderr
    return done.stdout.split("✗ ")[1:]


@pytest.mark.parametrize("number", range(len(FAULTS)), ids=[says for *_, says in FAULTS])
def test_a_fault_is_found(said_of_faults: list[str], number: int) -> None:
    assert said_of_faults[number].startswith(f"{number:02}_tiny")
    assert numbered(FAULTS[number][3], number) in said_of_faults[number]


def test_a_sound_module_passes(tiny_course: Path, run_autograder) -> None:
    for option, mutants in ((), "4 mutants, "), (("--names", "--without-cheats"), "4 mutants (4 named), "):
        done = run_autograder("verify", "--course", tiny_course, *option)
        assert done.returncode == 0, done.stdout + done.stderr
        assert f"✓ 00_tiny: {mutants}1 alternatives" in done.stdout


TELLTALE_MUTANT = """

@mutant("double", "Four times x, and a file where it may write one: not in a worker.")
def telltale(x):
    import contextlib
    import pathlib

    with contextlib.suppress(OSError):
        pathlib.Path({path!r}).touch()
    return 4 * x
"""


def test_mistakes_are_looked_for_only_where_their_names_are_asked_for(tmp_path: Path, run_autograder) -> None:
    mutants, looked_for = make_course(tmp_path) / SUITE / "mutants.py", tmp_path / "looked_for"
    mutants.write_text(mutants.read_text() + TELLTALE_MUTANT.format(path=str(looked_for)))
    assert run_autograder("sync", "--course", tmp_path).returncode == 0
    for option, looked in ((), False), (("--names",), True):
        done = run_autograder("verify", "--course", tmp_path, "--without-cheats", *option)
        assert done.returncode == 0, done.stdout + done.stderr
        assert looked_for.exists() == looked


SLOW_MUTANT = """

@mutant("double", "Three times x, in place, and slowly unless x has three values.")
def slow(x):
    import time

    time.sleep(0.4 * (len(x) != 3))
    x *= 3
    return x
"""


def test_the_test_that_catches_a_slow_mutant_soonest_is_noted(tmp_path: Path, run_autograder) -> None:
    mutants = make_course(tmp_path) / SUITE / "mutants.py"
    mutants.write_text(mutants.read_text() + SLOW_MUTANT)
    caught_by = tmp_path / SUITE / "caught_by.txt"
    caught_by.write_text("slow test_every_value_is_doubled\n")
    assert run_autograder("sync", "--course", tmp_path).returncode == 0
    done = run_autograder("verify", "--course", tmp_path, "--without-cheats", "--note")
    assert done.returncode == 0, done.stdout + done.stderr
    noted = dict(line.split() for line in caught_by.read_text().splitlines()[1:])
    assert noted["slow"] == "test_the_input_is_left_alone"
    assert noted["tripled"] == "test_every_value_is_doubled"


DISGUISED_MUTANT = """

@mutant("double", "torch.ldexp doubles.")
def disguised(x):
    return torch.ldexp(x, torch.ones(()))
"""


def test_a_mutant_that_does_something_forbidden_may_pass_the_test_that_caught_it_before(tmp_path: Path, run_autograder) -> None:
    mutants = make_course(tmp_path) / SUITE / "mutants.py"
    mutants.write_text(mutants.read_text() + DISGUISED_MUTANT)
    assert run_autograder("sync", "--course", tmp_path).returncode == 0
    for noted in ("", "disguised test_every_value_is_doubled\n"):
        (tmp_path / SUITE / "caught_by.txt").write_text(noted)
        done = run_autograder("verify", "--course", tmp_path, "--without-cheats")
        assert done.returncode == 0, done.stdout + done.stderr


ALTERNATIVE_THAT_FAILS_A_PUBLIC_TEST = """

@alternative("double", "Wrong for 1, which only a public test asks for.")
def wrong_for_one(x):
    return 2 * x * (x != 1)
"""


def test_alternatives_are_tried_on_hidden_tests_alone_if_it_is_to_be_quick(tmp_path: Path, run_autograder) -> None:
    alternatives = make_course(tmp_path) / SUITE / "alternatives.py"
    alternatives.write_text(alternatives.read_text() + ALTERNATIVE_THAT_FAILS_A_PUBLIC_TEST)
    assert run_autograder("sync", "--course", tmp_path).returncode == 0
    for option, status, says in ((), 1, "alternative wrong_for_one: test_one_becomes_two failed"), (("--quick",), 0, "✓"):
        done = run_autograder("verify", "--course", tmp_path, "--without-cheats", *option)
        assert (done.returncode, says in done.stdout) == (status, True), done.stdout + done.stderr


@pytest.mark.parametrize(("examples", "tried"), [(10, 4), (3, 1), (1, 1)])
def test_a_third_of_the_examples_are_tried_at_least_one(examples: int, tried: int) -> None:
    seen = []

    @settings(max_examples=examples)
    @given(seed=st.integers(0, 10**9))
    def body(seed: int) -> None:
        seen.append(seed)

    with_fewer_examples(SimpleNamespace(obj=body))
    body()
    assert len(seen) == tried


def test_a_suite_that_cannot_be_collected_is_the_graders_fault(tmp_path: Path, run_autograder) -> None:
    make_course(tmp_path)
    (tmp_path / SUITE / "test_broken.py").write_text("import no_such_module\n")
    done = run_autograder("grade", tmp_path / "solutions/00_tiny", "--course", tmp_path, "--out", tmp_path / "out")
    assert done.returncode == 3
    assert "test_broken.py" in done.stderr


@pytest.mark.parametrize(
    ("status", "score", "message", "says"),
    [
        ("passed", 100, "", ""),
        ("failed", 0, "", "scores 0, not 100: double failed"),
        ("todo", 0, "", "scores 0, not 100: double todo"),
        ("partial", 50, "1 is not 2\n  at index 0", "scores 50, not 100: double partial: 1 is not 2 / at index 0"),
        ("partial", 100, "", "scores 100, but not every test passes: double partial"),
    ],
)
def test_what_the_reference_lacks_is_said_without_empty_reasons(status: str, score: int, message: str, says: str) -> None:
    exercise = ExerciseResult(name="double", status=status, score=score, max_score=100, message=message, tests=[])
    result = ModuleResult(id="00_tiny", status="graded", score=score, max_score=100, substituted=[], exercises=[exercise])
    assert shortfall(result) == says


def test_sync_check_says_what_is_out_of_step(tmp_path: Path, run_autograder) -> None:
    make_course(tmp_path)
    assert run_autograder("sync", "--check", "--course", tmp_path).returncode == 1
    assert run_autograder("sync", "--course", tmp_path).returncode == 0
    assert run_autograder("sync", "--check", "--course", tmp_path).returncode == 0
