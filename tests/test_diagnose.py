"""A mutant that explains a failure is run here, in the grader: it must leave nothing behind."""

import os
import time
from pathlib import Path

from autograder.testing.diagnose import in_a_fork


def test_a_file_that_a_mutant_writes_is_gone_with_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    where = in_a_fork(lambda: str(Path("picture.png").write_text("")) + os.getcwd(), 5)
    assert where.startswith("0/") and not Path(where[1:]).exists()
    assert os.getcwd() == str(tmp_path) and not list(tmp_path.iterdir())


def test_a_mutant_that_loops_or_dies_explains_nothing():
    assert in_a_fork(lambda: time.sleep(600) or "too late", 0.2) == ""
    assert in_a_fork(lambda: os._exit(7), 5) == ""
