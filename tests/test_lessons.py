"""Every lesson runs from top to bottom with the solutions in place, in a kernel, as in JupyterLab."""

import re
import shutil
from pathlib import Path

import pytest
import warm_kernels
from jupyter_client.provisioning import local_provisioner

from autograder.authoring.notebooks import executed, instructor_notebook
from autograder.course import load_course

COURSE = load_course(Path(__file__).resolve().parents[1])


@pytest.mark.parametrize("module", COURSE.modules, ids=lambda module: module.id)
def test_a_lesson_runs_and_shows_something(module, monkeypatch):
    monkeypatch.setattr(local_provisioner, "launch_kernel", warm_kernels.launch)
    done = executed(instructor_notebook(module), COURSE, module)
    outputs = [output for cell in done.cells for output in cell.get("outputs", [])]
    assert sum("image/png" in output.get("data", {}) for output in outputs) >= 5
    said = "".join(output.text for output in outputs if output.output_type == "stream" and output.name == "stdout")
    in_order = sorted(module.exercises, key=lambda e: module.file_of(e) != module.main_file)  # other files come last
    assert re.findall(r"^(\w+): \d+ public tests? passed", said, re.MULTILINE) == [e.name for e in in_order]
    assert [output.text for output in outputs if output.output_type == "stream" and output.name == "stderr"] == []


@pytest.mark.parametrize("module", ["10_byte_level_bpe", "14_capstone_gpt124m"])
def test_a_lesson_that_learns_from_handouts_runs_where_there_is_only_its_own(tmp_path, monkeypatch, module):
    """As in a release of this module alone: fewer merges come from it, and there is no other handout to hold out."""
    monkeypatch.setattr(local_provisioner, "launch_kernel", warm_kernels.launch)
    for part in ("exercises", "solutions"):
        shutil.copytree(COURSE.root / part / module, tmp_path / part / module)
    shutil.copy(COURSE.root / "exercises/__init__.py", tmp_path / "exercises")
    course = load_course(tmp_path)
    assert [alone.id for alone in course.modules] == [module]
    executed(instructor_notebook(course.modules[0]), course, course.modules[0])
