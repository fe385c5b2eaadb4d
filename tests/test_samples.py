"""The bundled submissions, graded as `make grade` does it: what each shows is what is seen."""

import json
from pathlib import Path

import pytest

SAMPLES = Path(__file__).parents[1] / "autograder" / "samples"


@pytest.fixture(scope="module")
def graded(tmp_path_factory: pytest.TempPathFactory, run_autograder) -> dict[str, dict]:
    out = tmp_path_factory.mktemp("results")
    done = run_autograder("grade", *sorted(path for path in SAMPLES.iterdir() if path.is_dir()), "--out", out)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "complete" in done.stdout and "200 / 200" in done.stdout
    return {path.parent.name: json.loads(path.read_text()) for path in out.glob("*/results.json")}


def statuses(result: dict) -> list[str]:
    return [exercise["status"] for module in result["modules"] for exercise in module["exercises"]]


def test_the_complete_one_scores_everything(graded: dict) -> None:
    assert graded["complete"]["score"] == graded["complete"]["max_score"] == 200
    assert set(statuses(graded["complete"])) == {"passed"}


def test_the_half_done_one_has_its_points_and_its_todos(graded: dict) -> None:
    found = statuses(graded["half_done"])
    assert set(found) == {"passed", "todo"}
    assert 0 < graded["half_done"]["score"] < 200


def test_all_four_typical_mistakes_are_named(graded: dict) -> None:
    exercises = [e for module in graded["typical_mistakes"]["modules"] for e in module["exercises"]]
    wrong = [e for e in exercises if e["status"] != "passed"]
    assert len(wrong) == 4
    assert all(any(test["diagnosis"] for test in e["tests"]) for e in wrong)


def test_cheating_earns_nothing_and_is_told_why(graded: dict) -> None:
    result = graded["cheating"]
    assert result["score"] == 0
    assert statuses(result).count("policy") >= 5
    messages = [e["message"] for module in result["modules"] for e in module["exercises"]]
    assert any("torch.matmul is not allowed in batched_matmul" in message for message in messages)


def test_what_never_ends_is_stopped(graded: dict) -> None:
    result = graded["never_ends"]
    assert result["score"] == 0
    outcomes = {t["outcome"] for module in result["modules"] for e in module["exercises"] for t in e["tests"]}
    assert "timeout" in outcomes
