"""Mutants that explain a failure are run here, in the grader: they must leave nothing behind."""

import os
import time
from pathlib import Path

from autograder.testing.diagnose import in_a_fork, most_telling


def test_a_file_that_a_mutant_writes_is_gone_with_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    [written, where] = in_a_fork(lambda: [str(Path("picture.png").write_text("")), os.getcwd()], 5)
    assert written == "0" and where != str(tmp_path) and not Path(where).exists()
    assert os.getcwd() == str(tmp_path) and not list(tmp_path.iterdir())


def test_a_mutant_that_loops_or_dies_explains_nothing_and_takes_nothing_from_those_before_it():
    def found(then):
        yield "axis"
        then()
        yield "scale"

    assert in_a_fork(lambda: found(lambda: time.sleep(600)), 0.5) == ["axis"]
    assert in_a_fork(lambda: found(lambda: os._exit(7)), 5) == ["axis"]
    assert in_a_fork(lambda: found(lambda: None), 5) == ["axis", "scale"]


def test_what_explains_most_failed_tests_names_the_mistake():
    explanations = {"values": ["axis", "scale"], "gradients": ["scale"], "shapes": [], "sizes": ["mask"]}
    assert most_telling(explanations) == {"values": "scale", "gradients": "scale", "sizes": "mask"}
    assert most_telling({"values": ["axis", "scale"]}) == {"values": "axis"}
