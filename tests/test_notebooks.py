"""Lessons become notebooks, and notebooks that come back become modules: whatever is in them, a text or a sentence."""

import ast
import copy
import json
import math
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import make_course
from tiny_lesson import LESSON

from autograder import notebook as reading
from autograder.authoring import generated, stubs
from autograder.authoring.notebooks import (
    NotebookError,
    executed,
    instructor_notebook,
    main,
    out_of_step,
    student_notebook,
    to_bytes,
)
from autograder.course import load_course
from autograder.intake import UsageError, collect
from autograder.notebook import module_text
from autograder.sources import Refusal

COURSE = load_course(Path(__file__).resolve().parents[1])
WITH_LESSON = [module for module in COURSE.modules if (module.solution_folder / "lesson.py").is_file()]
EXERCISES = ("double", "Halver")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory) -> SimpleNamespace:
    """The tiny course with a lesson."""
    root = make_course(tmp_path_factory.mktemp("course"))
    lesson = root / "solutions/00_tiny/lesson.py"
    lesson.write_text(LESSON)
    course = load_course(root)
    return SimpleNamespace(root=root, lesson=lesson, course=course, module=course.modules[0])


# Lessons become notebooks


def notebooks_in_step(root: Path, check: bool) -> list[Path]:
    """What was out of step; it is mended unless this is a `check`."""
    found = out_of_step(load_course(root).modules)
    if not check:
        found.mend()
    return found.paths


def test_every_kind_of_cell_is_where_it_belongs(tiny):
    cells = instructor_notebook(tiny.module).cells
    shown = [(cell.id, cell.metadata.get("nbgrader", {}).get("points"), cell.source.split("\n")[0]) for cell in cells]
    assert shown == [
        ("text-1", None, "# Twice and half"),
        ("given-1", None, "import torch"),
        ("double", None, "def double(x: torch.Tensor) -> torch.Tensor:"),
        ("check-double", 70, "from autograder.testing.cells import check"),
        ("code-1", None, "ones = torch.ones(2)"),
        ("Halver", None, "class Halver:"),
        ("check-Halver", 30, "from autograder.testing.cells import check"),
        ("code-2", None, "print(Halver()(double(ones)).tolist())"),
    ]
    assert "### BEGIN SOLUTION" in cells[2].source and "### END SOLUTION" in cells[2].source


def test_the_student_notebook_has_the_stubs_todos_and_no_solution(tiny):
    first, second = to_bytes(student_notebook(tiny.module)), to_bytes(student_notebook(tiny.module))
    assert first == second
    text = first.decode()
    assert "SOLUTION" not in text and "2 * x" not in text and "x / 2" not in text
    assert 'TODO: double\\"' in text and 'TODO: Halver.__call__\\"' in text
    cells = json.loads(text)["cells"]
    assert all(not cell.get("outputs") and cell.get("execution_count") is None for cell in cells)
    locked = [cell["id"] for cell in cells if cell["metadata"].get("editable") is False]
    assert locked == ["given-1", "check-double", "check-Halver"]


@pytest.mark.parametrize("module", WITH_LESSON, ids=lambda module: module.id)
def test_a_notebook_that_comes_back_means_what_the_module_means(module):
    names = [exercise.name for exercise in module.exercises if module.file_of(exercise) == module.main_file]
    solution = (module.solution_folder / module.main_file).read_text()
    stub = (module.folder / module.main_file).read_text()
    for notebook, original in ((instructor_notebook(module), solution), (student_notebook(module), stub)):
        text = module_text(to_bytes(notebook), "x.ipynb", names)
        expected = ast.parse(original.replace("from solutions.", "from exercises."))
        assert ast.get_docstring(expected)
        assert ast.dump(ast.parse(text)) == ast.dump(ast.Module(expected.body[1:], []))


@pytest.mark.parametrize("module", WITH_LESSON, ids=lambda module: module.id)
def test_a_notebook_runs_on_one_thread_before_anything_is_computed(module):
    """In a kernel as it comes, small tensors would keep all cores busy with waiting for each other."""
    sources = [cell.source for cell in student_notebook(module).cells if cell.cell_type == "code"]
    first_check = next(i for i, source in enumerate(sources) if "\ncheck(" in source)
    (place,) = [i for i, source in enumerate(sources) if "\ntorch.set_num_threads(1)" in source]
    assert place < first_check and not any("torch.manual_seed" in source for source in sources[:place])


def test_notebooks_are_kept_in_step(tmp_path):
    root = make_course(tmp_path)
    lesson = root / "solutions/00_tiny/lesson.py"
    target = root / "exercises/00_tiny/tiny.ipynb"
    assert notebooks_in_step(root, check=True) == []
    lesson.write_text(LESSON)
    assert notebooks_in_step(root, check=True) == [target] and not target.exists()
    assert notebooks_in_step(root, check=False) == [target]
    assert notebooks_in_step(root, check=True) == []
    target.write_bytes(target.read_bytes().replace(b"$2x$", b"$3x$"))
    assert notebooks_in_step(root, check=True) == [target]
    lesson.unlink()
    assert notebooks_in_step(root, check=False) == [target] and not target.exists()
    target.write_text('{"cells": []}')  # not of our making
    assert notebooks_in_step(root, check=False) == []


@pytest.mark.parametrize(
    "change, says",
    [
        (("# %% exercise double", "# %% exercise dobule"), "cell 3: no place for exercise dobule: .* is double"),
        (("# %% exercise Halver", "# %%"), "no cell '# %% exercise Halver'"),
        (("# %% exercise double\n", "# %% exercise double\nprint(1)\n"), "cell 3: .* is a whole cell"),
        (("# %% given", "# %% Given"), "cell 2: a cell begins with"),
        (("# %%\nones", '# %% tags=["hide"]\nones'), "cell 4: a cell begins with"),
        (("ones = torch.ones(2)", "def double(x): ..."), "cell 4: defines double"),
        (("ones = torch.ones(2)", "%timeit 1"), "cell 4: does not parse .line 1"),
        (("# %% [markdown]", "import torch\n# %% [markdown]"), "begins with a cell"),
        (("$2x$\n", "$2x$\n\n# %% exercise Halver"), "cell 2: no place for exercise Halver"),
    ],
)
def test_a_lesson_that_does_not_fit_is_refused_with_its_cell(tmp_path, change, says):
    root = make_course(tmp_path)
    text = LESSON.replace(*change, 1)
    assert text != LESSON
    (root / "solutions/00_tiny/lesson.py").write_text(text)
    stale = root / "exercises/00_tiny/old.py"
    stale.write_text(f"{stubs.GENERATED}solutions/00_tiny/old.py\n")
    with pytest.raises(NotebookError, match=says):
        generated.sync(root)
    assert stale.exists() and not (root / "exercises/00_tiny/tiny.py").exists()  # nothing is done by halves


@pytest.mark.parametrize(
    ("module", "out", "status", "says"),
    [("99", "x.ipynb", 2, "no module '99'"), ("00", "file/ps1/x.ipynb", 2, "file/ps1"), ("00", "", 1, "cell 3: no place")],
)
def test_a_notebook_that_cannot_be_built_is_a_line(tiny, tmp_path, monkeypatch, capsys, module, out, status, says):
    root = tiny.root
    if status == 1:
        root = make_course(tmp_path)
        (root / "solutions/00_tiny/lesson.py").write_text(LESSON.replace("# %% exercise double", "# %% exercise dobule"))
    (tmp_path / "file").touch()
    monkeypatch.setattr("autograder.authoring.notebooks.load_course", lambda: load_course(root))
    with pytest.raises(SystemExit) as ended:
        main([module, "--student", str(tmp_path / out)])
    (line,) = capsys.readouterr().err.splitlines()
    assert ended.value.code == status and says in line


def test_the_folder_of_a_notebook_is_made(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr("autograder.authoring.notebooks.load_course", lambda: tiny.course)
    main(["00", "--instructor", str(tmp_path / "source/ps1/tiny.ipynb")])
    assert (tmp_path / "source/ps1/tiny.ipynb").read_bytes() == to_bytes(instructor_notebook(tiny.module))


def test_given_code_without_a_cell_of_its_own_stands_before_its_exercise(tiny, tmp_path):
    root = make_course(tmp_path)
    (root / "solutions/00_tiny/lesson.py").write_text(LESSON.replace("# %% given\n", ""))
    ids = [cell.id for cell in instructor_notebook(load_course(root).modules[0]).cells]
    assert ids[:3] == ["text-1", "given-1", "double"]


# Notebooks run


def test_public_tests_run_on_what_the_notebook_defines(tiny):
    notebook = instructor_notebook(tiny.module)
    right = notebook.cells[2].source
    wrong, raises = right.replace("2 * x", "3 * x"), right.replace("2 * x", "[][x.numel()]")
    forbidden = right.replace("2 * x", "torch.ldexp(x, torch.tensor(1))")
    stub = student_notebook(tiny.module).cells[2].source
    nbgraders = "def double(x):\n    # YOUR CODE HERE\n    raise NotImplementedError()"
    refuses = right.replace("return 2 * x", "raise NotImplementedError('no such case')")
    elsewhere = right.replace("2 * x", "torch.nn.Module()(x)")
    cells = notebook.cells[:2]
    for source in ("def double(x:", right, wrong, raises, stub, forbidden, right, nbgraders, refuses, elsewhere):
        cells += [copy.deepcopy(notebook.cells[2]), copy.deepcopy(notebook.cells[3])]
        cells[-2].source = source
    for number, cell in enumerate(cells):
        cell["id"] = f"cell-{number}"
    notebook.cells = cells
    done = executed(notebook, tiny.course, tiny.module, allow_errors=True).cells
    outputs = [done[i].outputs[-1] for i in range(3, len(done), 2)]
    unread, _, wrong, raises, todo, forbidden, _, nbgrader, refuses, elsewhere = outputs
    passed, mended = ("".join(each.text for each in done[i].outputs) for i in (5, 15))  # what is printed may come in pieces
    assert "no cell that was run defines double: run its cell" in unread.evalue
    assert passed == mended == "double: 1 public test passed\n"
    assert "torch.ldexp is not allowed" in forbidden.evalue and "scores 0" in forbidden.evalue
    assert wrong.ename == "NotYet" and "Twice 1 is 2." in wrong.evalue and "Traceback" not in "".join(wrong.traceback)
    assert "your code raised IndexError" in raises.evalue
    assert todo.evalue == nbgrader.evalue == "double: TODO: double is not written yet"
    assert "your code raised NotImplementedError: no such case" in refuses.evalue  # which is an answer, and a wrong one
    assert "your code raised NotImplementedError: Module [Module]" in elsewhere.evalue


# Notebooks come in


def cell(source: str | list[str], grade_id: str = "", **marks: bool) -> dict:
    metadata = {"nbgrader": {"grade_id": grade_id, **marks}} if grade_id else {}
    return {"cell_type": "code", "metadata": metadata, "source": source, "outputs": [], "execution_count": None}


def notebook(*cells: dict | str) -> bytes:
    whole = [cell(one) if isinstance(one, str) else one for one in cells]
    return json.dumps({"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": whole}).encode()


def namespace(*cells: dict | str) -> dict:
    """What the module made from these cells defines, when it is imported."""
    values: dict = {}
    exec(compile(module_text(notebook(*cells), "tiny.ipynb", EXERCISES), "tiny.py", "exec", dont_inherit=True), values)
    return values


def test_experiments_stay_out_and_what_exercises_use_comes_along():
    made = namespace(
        "import math\nimport antigravity_that_is_not_there\n",
        "print(undefined)\nSCALE = 2\ny = 1\nx = 1\n",
        "def helper(x):\n    return SCALE * x",
        cell(
            "_seen = []\n_unused = undefined\ndef double(x):\n    _seen.append(math.pi)\n    return helper(x)\nprint(double(y))",
            "double",
            solution=True,
        ),
    )
    assert made["double"](4) == 8 and made["_seen"] == [math.pi]
    assert "x" not in made  # the name of a parameter is not the experiment's variable
    assert "y" not in made and "_unused" not in made


def test_the_last_definition_wins_with_and_without_metadata():
    assert namespace("def double(x): return 1", "def double(x): return 2")["double"](0) == 2
    assert namespace(cell("def double(x): return 1", "double"), "def double(x): return 2")["double"](0) == 2
    assert namespace("def double(x): return 2", cell("double = lambda x: 3", "double", solution=True))["double"](0) == 3


def test_a_helper_of_an_experiment_does_not_replace_one_that_is_given():
    given = cell("import math\ndef helper(): return 1", "given_1", locked=True)
    assert namespace(given, "def double(x): return helper()", "def helper(): return 2")["double"](0) == 1


def test_methods_added_to_a_class_later_are_part_of_it():
    made = namespace(cell("class Halver: pass\ndef half(self, x): return x / 2\nHalver.__call__ = half", "Halver", solution=True))
    assert made["Halver"]()(4) == 2


def test_magics_are_dropped_and_percent_signs_are_not():
    made = namespace(
        "%matplotlib inline\n!pip install torch\nfiles = !ls\nimport os",
        "%%bash\nrm -rf everything",
        "%%time\ndef helper(x):\n    return x",
        'def double(x):\n    """\n    %matplotlib\n    """\n    total = (x\n      % 7)\n    return helper(total)',
        "?double",
    )
    assert made["double"](9) == 2 and "%matplotlib" in made["double"].__doc__


def test_statements_that_share_a_line_are_taken_apart():
    made = namespace(cell("é = 1; print(nothing); double = lambda x: (é,\n  x); print(nothing)", "double", solution=True))
    assert made["double"](2) == (1, 2)


def test_future_imports_come_first_and_unknown_ones_are_dropped():
    later = "from __future__ import annotations\ndef double(x: Absent): return os.sep"
    text = module_text(notebook("import os", later, "from __future__ import nonsense"), "tiny.ipynb", EXERCISES)
    assert text.split("\n")[1] == "from __future__ import annotations"
    assert "nonsense" not in text


def test_a_cell_that_is_not_python_costs_its_own_exercise():
    right = "class Halver:\n    def __call__(self, x): return x / 2"
    made = namespace(cell("def double(x):\n    return (", "double"), right, "1 +", "nonlocal x")
    assert made["Halver"]()(4) == 2
    with pytest.raises(SyntaxError, match="cell 1, line 2: .*never closed"):
        made["double"](1)
    assert namespace("def double(x): return 1", cell("def double(x", "double"))["double"](0) == 1


def test_nbgraders_stub_reads_as_todo():
    with pytest.raises(NotImplementedError, match="^TODO: double$"):
        namespace("def double(x):\n    # YOUR CODE HERE\n    raise NotImplementedError()")["double"](1)


def test_tests_that_were_handed_in_are_not_run():
    made = namespace("def double(x): return x", cell("def double(x): return 'changed'", "check_double", grade=True))
    assert made["double"](1) == 1


def raw(**changes) -> bytes:
    return json.dumps({"nbformat": 4, "metadata": {}, "cells": [cell("def double(x): return x")], **changes}).encode()


@pytest.mark.parametrize(
    "data, says",
    [
        (b"", "is empty"),
        (b"{", "is not a notebook"),
        (b"\xff\xfe\x00", "is not a notebook"),
        (b"[" * 100_000, "is not a notebook"),
        (b'{"nbformat": ' + b"9" * 5000 + b"}", "is not a notebook"),
        (b"[]", "format 4"),
        (b"null", "format 4"),
        (raw(nbformat=3), "format 4"),
        (raw(nbformat="4"), "format 4"),
        (raw(cells={}), "format 4"),
        (raw(cells=[1]), "cell 1 is damaged"),
        (raw(cells=[{"cell_type": "code", "source": 1}]), "cell 1 is damaged"),
        (raw(cells=[{"cell_type": "code", "source": ["a", None]}]), "cell 1 is damaged"),
        (raw(cells=[{"cell_type": "heading", "source": ""}]), "cell 1 is damaged"),
        (raw(cells=[]), "has no exercise"),
        (raw(cells=[cell("def other(): ...")]), "has no exercise of this module: it would define double, Halver"),
        (raw(cells=[cell("")] * (reading.NOTEBOOK_CELLS + 1)), "more than"),
        (raw(cells=[cell("# " + "x" * 300_000)]), "KiB of code"),
        (raw(cells=[cell("def (", "given_1", locked=True)]), "cell 1: Python cannot read this given cell"),
        (b" " * (reading.NOTEBOOK_BYTES + 1), "clear its outputs"),
    ],
)
def test_a_notebook_that_cannot_be_used_is_a_sentence(data, says):
    with pytest.raises(Refusal, match=says) as caught:
        module_text(data, "tiny.ipynb", EXERCISES)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 300


HARD = [
    {"cell_type": "code", "source": "def double(x): return '\ud800'", "metadata": None},
    {"cell_type": "code", "source": "def double(x): return 1\0", "metadata": {"nbgrader": []}},
    {"cell_type": "code", "source": "-" * 100_000 + "1", "metadata": {"nbgrader": {"grade_id": {}, "solution": "yes"}}},
    {"cell_type": "code", "source": "x = " + "1+" * 30_000 + "1\ndef double(y): return x"},
    {"cell_type": "code", "source": "def double(x): return a0\n" + "\n".join(f"a{i} = a{i + 1}" for i in range(10_000))},
    {"cell_type": "code", "source": ["%" * 50_000, "\n"] + ["=!" * 20_000]},
    {"cell_type": "code", "source": "\x0c\r def double(x):\r\n\treturn 1\r"},
    {"cell_type": "code", "source": "%%"},
    {"cell_type": "code", "source": "%% \ndef double(x): return 1"},
    {"cell_type": "markdown", "source": "def double(x): return 1", "metadata": {"nbgrader": {"grade_id": "double"}}},
]


@pytest.mark.parametrize("hard", HARD, ids=range(len(HARD)))
def test_a_hard_cell_leaves_the_others_as_they_are(hard):
    text = module_text(notebook("class Halver: pass", hard), "tiny.ipynb", EXERCISES)
    assert "class Halver: pass" in text
    compile(text, "tiny.py", "exec")


@pytest.mark.parametrize(
    "source",
    [" " * 120_000 + "x (", "\t" * 60_000 + "a" + "= " * 30_000 + "(", "x = '" + "é" * 60_000 + "';" + "y=1;" * 10_000],
    ids=["spaces", "equals signs", "one line"],
)
def test_a_long_line_takes_time_in_proportion(source):
    """Each took minutes where the time grows with the square of the length."""
    start = time.process_time()
    module_text(notebook("class Halver: pass", source), "tiny.ipynb", EXERCISES)
    assert time.process_time() - start < 5


KEYS = st.sampled_from(["cells", "cell_type", "source", "metadata", "nbgrader", "grade_id", "solution", "locked", "grade"])
PLAIN = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.just("def double(x): return x")
JSON = st.recursive(PLAIN, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner), max_leaves=20)
CELLS = st.fixed_dictionaries({"cell_type": st.just("code") | JSON, "source": JSON, "metadata": JSON}) | JSON


@settings(max_examples=150)
@given(cells=st.lists(CELLS, max_size=4))
def test_any_notebook_is_a_text_or_a_sentence(cells):
    try:
        compile(module_text(json.dumps({"nbformat": 4, "cells": cells}).encode(), "tiny.ipynb", EXERCISES), "tiny.py", "exec")
    except Refusal as refusal:
        assert str(refusal)


def test_huge_outputs_are_no_matter():
    big = {**cell("def double(x): return x"), "outputs": [{"output_type": "stream", "text": "x" * 4_000_000}]}
    assert "def double" in module_text(notebook(big), "tiny.ipynb", EXERCISES)


# Which file is graded

STUB = """\
def double(x):
    raise NotImplementedError("TODO: double")
class Halver:
    def f(self): raise NotImplementedError("TODO: Halver.f")
"""
MINE = notebook("def double(x): return x")


def taken(tiny, path: Path, *modules) -> str:
    (item,) = collect(path, tiny.course, modules or None).modules
    return item.files.get("tiny.py") or item.problem


def write(folder: Path, **files: str | bytes) -> Path:
    for name, content in files.items():
        path = folder / "exercises/00_tiny" / name.replace("_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    return folder


def test_the_notebook_stands_for_a_file_that_is_absent_or_untouched(tiny, tmp_path):
    assert "# From the cells of tiny.ipynb" in taken(tiny, write(tmp_path / "alone", tiny_ipynb=MINE))
    assert "# From the cells of tiny.ipynb" in taken(tiny, write(tmp_path / "beside_a_stub", tiny_py=STUB, tiny_ipynb=MINE))
    begun = STUB.replace('raise NotImplementedError("TODO: double")', "return x")
    assert taken(tiny, write(tmp_path / "file_begun", tiny_py=begun, tiny_ipynb=MINE)) == begun
    assert taken(tiny, write(tmp_path / "stub_only", tiny_py=STUB)) == STUB
    earlier = module_text(notebook("def double(x): return 'before'"), "tiny.ipynb", EXERCISES)
    assert "before" not in taken(tiny, write(tmp_path / "made_from_it_once", tiny_py=earlier, tiny_ipynb=MINE))
    assert "not a notebook" in taken(tiny, write(tmp_path / "broken", tiny_py=STUB, tiny_ipynb="{"))


def test_a_notebook_is_written_to_its_file_and_never_over_work(tmp_path):
    folder = tmp_path / "exercises/00_numpy_to_pytorch"
    folder.mkdir(parents=True)
    stub = COURSE.modules[0].folder / "numpy_to_pytorch.py"
    written = folder / "numpy_to_pytorch.py"
    (folder / "numpy_to_pytorch.ipynb").write_bytes(notebook("import torch\ndef softmax(x, dim): return torch.ones(1)"))
    command = [sys.executable, "-m", "autograder.notebook", folder / "numpy_to_pytorch.ipynb"]
    written.write_bytes(stub.read_bytes())
    assert subprocess.run(command, capture_output=True, text=True).returncode == 0
    assert written.read_text().startswith("# From the cells of") and "def softmax" in written.read_text()
    written.write_text("def softmax(x, dim): return x\n")
    refused = subprocess.run(command, capture_output=True, text=True)
    assert refused.returncode == 1 and "work of its own" in refused.stderr
    assert written.read_text() == "def softmax(x, dim): return x\n"


def test_a_notebook_alone_and_in_a_zip(tiny, tmp_path):
    (tmp_path / "tiny.ipynb").write_bytes(MINE)
    (tmp_path / "alice.ipynb").write_bytes(MINE)
    with zipfile.ZipFile(tmp_path / "bob.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        big = {**cell("def double(x): return x"), "outputs": [{"text": "x" * 1_000_000}]}
        archive.writestr("work/tiny.ipynb", notebook(big))
    assert "def double" in taken(tiny, tmp_path / "tiny.ipynb")
    assert "def double" in taken(tiny, tmp_path / "alice.ipynb", tiny.module)
    assert "def double" in taken(tiny, tmp_path / "bob.zip")
    with pytest.raises(UsageError, match="--module"):
        taken(tiny, tmp_path / "alice.ipynb")
