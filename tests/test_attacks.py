"""Every attack in `attacks.py`, graded as real submissions in one call, as a class would be."""

import json
import os
import time
from pathlib import Path

import jsonschema
import pytest
from attacks import FORBIDDEN, LYING, REACHING, STALLING

from autograder.reports.results import schema

EVERY = {**REACHING, **LYING, **STALLING}
HONEST = "def double(x):\n    return x + x\n"
MODULE_SECONDS = 20  # of the tiny course
OUTSIDE = ("/tmp/llm-course-was-here",)


@pytest.fixture(scope="module")
def graded(tiny_course: Path, tmp_path_factory: pytest.TempPathFactory, run_autograder) -> dict[str, dict]:
    """The results of every attack, with an honest submission at either end."""
    folder, out = tmp_path_factory.mktemp("attacks"), tmp_path_factory.mktemp("results")
    sources = {"a_honest": HONEST, **EVERY, **FORBIDDEN, "z_honest": HONEST}
    for name, source in sources.items():
        (folder / f"{name}.py").write_text(source)
    files = [folder / f"{name}.py" for name in sources]
    start = time.monotonic()
    finished = run_autograder("grade", *files, "--module", "00", "--course", tiny_course, "--out", out)
    seconds = time.monotonic() - start
    assert finished.returncode == 0, finished.stderr[-2000:]
    results = {name: json.loads((out / name / "results.json").read_text()) for name in sources}
    results["(run)"] = {"seconds": seconds, "left_behind": _processes(tiny_course), "outside": [*map(os.path.exists, OUTSIDE)]}
    return results


def _processes(course: Path) -> set[int]:
    """Processes that were started to grade this course and are alive now."""
    found = set()
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and bytes(course) in (entry / "cmdline").read_bytes():
                found.add(int(entry.name))
        except OSError:
            continue
    return found


@pytest.mark.parametrize("name", EVERY)
def test_an_attack_earns_nothing_and_is_told_what_happened(graded: dict[str, dict], name: str) -> None:
    result = graded[name]
    jsonschema.validate(result, schema())
    (module,) = result["modules"]
    assert result["score"] == 0
    assert all(exercise["score"] == 0 for exercise in module["exercises"])
    tests = [test for exercise in module["exercises"] for test in exercise["tests"]]
    assert tests and not any(test["points"] for test in tests)
    assert all(test["message"] for test in tests if test["outcome"] != "passed")
    double = next(exercise for exercise in module["exercises"] if exercise["name"] == "double")
    core = next(test for test in double["tests"] if test["tier"] == "hidden")
    assert core["outcome"] != "passed" and core["outcome"] != "error"


@pytest.mark.parametrize("name", STALLING)
def test_what_never_ends_is_stopped_in_time(graded: dict[str, dict], name: str) -> None:
    tests = [test for exercise in graded[name]["modules"][0]["exercises"] for test in exercise["tests"]]
    assert sum(test["seconds"] for test in tests) < MODULE_SECONDS + 5
    assert {"timeout", "crashed"} & {test["outcome"] for test in tests}


@pytest.mark.parametrize("name", FORBIDDEN)
def test_a_forbidden_call_costs_its_exercise_however_it_is_hidden(graded: dict[str, dict], name: str) -> None:
    double = graded[name]["modules"][0]["exercises"][0]
    assert (double["name"], double["score"]) == ("double", 0)
    assert double["status"] == "policy"


def test_honest_submissions_beside_attacks_lose_nothing(graded: dict[str, dict]) -> None:
    for name in ("a_honest", "z_honest"):
        double = graded[name]["modules"][0]["exercises"][0]
        assert (double["name"], double["score"], double["status"]) == ("double", 70, "passed")


def test_no_process_is_left_behind(graded: dict[str, dict]) -> None:
    assert graded["(run)"]["left_behind"] == set()


def test_nothing_is_written_outside_the_work_folder(graded: dict[str, dict]) -> None:
    assert not any(graded["(run)"]["outside"])


def test_the_sandbox_in_force_is_named(graded: dict[str, dict]) -> None:
    sandbox = graded["a_honest"]["sandbox"]
    assert any(entry.startswith("Landlock") for entry in sandbox)
    assert "seccomp allow list" in sandbox


def test_a_hostile_message_cannot_reach_the_terminal(graded: dict[str, dict]) -> None:
    text = json.dumps(graded["error_with_markup"], ensure_ascii=False)
    assert "\x1b" not in text and "\u202e" not in text
