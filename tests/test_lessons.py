"""Every lesson runs from top to bottom with the solutions in place, in a kernel, as in JupyterLab."""

import re
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
