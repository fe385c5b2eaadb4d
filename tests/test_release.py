"""Releases: what is in one, that it is the same every time, that it is refused where it leaks, and how it is upgraded."""

import ast
import errno
import hashlib
import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import typer
from tiny import make_course

from autograder.authoring import commands
from autograder.authoring.changes import changes
from autograder.authoring.closure import LeftOutError, needed_files
from autograder.authoring.prove import Ran, judge
from autograder.authoring.release import contents_of, select, write_folder, write_zip
from autograder.authoring.stubs import sync
from autograder.course import load_course
from autograder.intake import UsageError
from autograder.student import upgrade as upgrading
from autograder.student import upgrade_command
from autograder.student.manifest import NAME, Manifest, ReleaseError, parse, parts_of, read_release
from autograder.student.merging import Refused, merge
from autograder.student.upgrade import NotPutBack, upgrade

STUB = "exercises/00_tiny/tiny.py"
TESTS = "exercises/00_tiny/test_tiny.py"
HOUSE = Path(__file__).parent.parent


def release(out: Path, course: Path | None, no_prove: bool = True, **options) -> int:
    """Run the command; its exit status."""
    try:
        commands.release(out, no_prove=no_prove, course_folder=course, **options)
    except typer.Exit as done:
        return done.exit_code
    return 0


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A tiny course to make releases of."""
    return synced(make_course(tmp_path / "source"))


def written(out: Path, source: Path) -> Path:
    """A release as it is written, without its checks: quicker, for what is done with it afterwards."""
    course = load_course(synced(source))
    write_folder(contents_of(course, select(course, None, None)), out)
    return out


def synced(root: Path) -> Path:
    sync(root)
    return root


def edit(root: Path, path: str, old: str, new: str) -> None:
    text = (root / path).read_text()
    assert old in text
    (root / path).write_text(text.replace(old, new))


def files(root: Path) -> dict[str, bytes]:
    found = {path.relative_to(root): path for path in sorted(root.rglob("*")) if path.is_file()}
    return {name.as_posix(): path.read_bytes() for name, path in found.items() if not {".git", ".autograder"} & set(name.parts)}


# What is in a release


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A release of the whole course, with its zip and its repository."""
    out = tmp_path_factory.mktemp("real") / "course"
    assert release(out, None, zip_too=True, git_too=True) == 0
    return out


def test_the_course_is_released_without_what_staff_need(real: Path) -> None:
    held = files(real)
    for path in ("README.md", "AGENTS.md", "LICENSE", "Makefile", "pyproject.toml", "constraints.txt", ".gitignore"):
        assert held[path], path
    assert held[".devcontainer/devcontainer.json"] and held["datasets/registry.toml"] and held["autograder/student/upgrade.py"]
    staff = ("solutions/", "tests/", "benchmarks/", "autograder/suites/", "autograder/authoring/", "autograder/grading/")
    assert not [path for path in held if path.startswith(staff) or path.endswith(".pyc") or "offering" in path]
    assert not [path for path, content in held.items() if b"### BEGIN SOLUTION" in content and not path.startswith("autograder/")]


def test_every_module_is_there_and_named_in_the_readme(real: Path) -> None:
    manifest = parse((real / NAME).read_bytes(), NAME)
    readme = (real / "README.md").read_text()
    assert manifest.modules and "{{" not in readme and "## Solutions" not in readme
    for module in manifest.modules:
        assert f"`{module}`" in readme
        assert {f"exercises/{module}/README.md", f"exercises/{module}/module.toml"} <= set(manifest.files)
    assert "autograder/suites" in manifest.left_out and f"solutions/{manifest.modules[0]}" in manifest.left_out


def test_the_manifest_lists_every_file_with_its_digest(real: Path) -> None:
    manifest, held = parse((real / NAME).read_bytes(), NAME), files(real)
    assert {path: hashlib.sha256(content).hexdigest() for path, content in held.items() if path != NAME} == dict(manifest.files)


def test_zip_and_repository_hold_the_same_files(real: Path) -> None:
    held = files(real)
    with zipfile.ZipFile(real.with_name("course.zip")) as archive:
        assert {name.partition("/")[2]: archive.read(name) for name in archive.namelist()} == held
        assert {(m.date_time, m.external_attr >> 16) for m in archive.infolist()} == {((2000, 1, 1, 0, 0, 0), 0o100644)}

    def git(*arguments: str) -> str:
        return subprocess.run(["git", *arguments], cwd=real, capture_output=True, text=True, check=True).stdout

    assert git("status", "--porcelain") == "" and len(git("log", "--format=%H").split()) == 1
    assert set(git("ls-files", "-z").split("\0")) - {""} == set(held)


def test_a_notebooks_test_cells_work_in_a_release(real: Path) -> None:
    folder = real / "exercises/00_numpy_to_pytorch"
    cells = [cell for cell in json.loads((folder / "numpy_to_pytorch.ipynb").read_text())["cells"] if cell["cell_type"] == "code"]
    sources = ["".join(cell["source"]) for cell in cells]
    checked = next(number for number, text in enumerate(sources) if "check(" in text)
    program = "\n".join(sources[: checked + 1])
    environment = {**os.environ, "PYTHONPATH": str(real)}
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300)
    assert "NotYet: as_tensor: TODO: as_tensor is not written yet\n" in done.stderr


def test_the_same_source_gives_the_same_bytes(source: Path, tmp_path: Path, monkeypatch) -> None:
    """Another day, folder and umask, and nobody's git settings: the same zip and the same commit."""
    seen = set()
    for name, day in (("one", "2001-02-03T04:05:06"), ("two", "2031-02-03T04:05:06")):
        out = tmp_path / name / f"course-{name}"
        monkeypatch.setenv("GIT_AUTHOR_DATE", day)
        monkeypatch.setenv("GIT_CONFIG_COUNT", "0")
        assert release(out, source, zip_too=True, git_too=True) == 0
        commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=out, capture_output=True, text=True, check=True).stdout
        seen.add((commit, out.with_name(f"{out.name}.zip").read_bytes(), *files(out).items()))
        (source / "exercises/00_tiny/__pycache__").mkdir(exist_ok=True)
        (source / "exercises/00_tiny/__pycache__/tiny.pyc").write_bytes(b"left over")
    assert len(seen) == 1


def test_chosen_modules_and_solutions(source: Path, tmp_path: Path, capsys) -> None:
    assert release(tmp_path / "out", source, modules="00-03", with_solutions="tiny") == 0
    manifest = parse((tmp_path / "out" / NAME).read_bytes(), NAME)
    assert manifest.modules == manifest.solved == ("00_tiny",)
    held = files(tmp_path / "out")
    assert b"return 2 * x" in held["solutions/00_tiny/tiny.py"] and b"- `solutions/00_tiny/tiny.py`" in held["README.md"]
    with pytest.raises(UsageError, match="there is no module from 04 to 09"):
        release(tmp_path / "other", source, modules="04-09")
    last = next(module for module in reversed(load_course().modules) if module.requires)
    with pytest.raises(UsageError, match=f"{last.id} builds on {last.requires[0]}, which is not among them"):
        release(tmp_path / "other", None, modules=last.id)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"modules": ""}, "--modules '': names no module"),
        ({"modules": "00", "with_solutions": " , "}, "--with-solutions ' , ': names no module"),
        ({"prove": "fast"}, "--prove fast: there is no such proof; choose one of quick, full, no"),
    ],
)
def test_an_option_that_means_nothing_is_refused(source: Path, tmp_path: Path, options: dict, says: str) -> None:
    with pytest.raises(UsageError, match=f"^{says}$"):
        release(tmp_path / "out", source, **options)
    assert not (tmp_path / "out").exists()


def test_the_published_seed_is_warned_of(source: Path, tmp_path: Path, capsys) -> None:
    """One line, which says where a secret one goes; a course with a seed of its own is released without a word of it."""
    assert release(tmp_path / "out", source) == 0
    assert capsys.readouterr().err == ""
    (source / "autograder/suites/offering.toml").unlink()
    assert release(tmp_path / "out", source) == 0
    (line,) = capsys.readouterr().err.splitlines()
    assert "warning" in line and "autograder/suites/offering.toml or AUTOGRADER_GRADING_SEED" in line


# When there is no release


@pytest.mark.parametrize(
    ("path", "text", "says"),
    [
        (TESTS, "\n\ndef double(tensor):\n    return 2 * tensor\n", "the solution double (solutions/00_tiny/tiny.py:9)"),
        ("datasets/note.txt", "seed: a secret", "grading_seed"),
        ("exercises/00_tiny/data.pyc.zip", "PK\x03\x04", "cannot be unpacked"),
    ],
)
def test_a_leak_stops_the_release(source: Path, tmp_path: Path, capsys, path: str, text: str, says: str) -> None:
    """The exit status is 1, the place and the part are named, and nothing is left behind."""
    (source / path).parent.mkdir(exist_ok=True)
    with (source / path).open("a") as file:
        file.write(text)
    assert release(tmp_path / "made" / "out", source, zip_too=True) == 1
    said = capsys.readouterr().err
    assert says in said and f"{path}" in said
    assert list((tmp_path / "made").iterdir()) == []


def test_a_stub_out_of_step_stops_the_release(source: Path, tmp_path: Path, capsys) -> None:
    edit(source, "solutions/00_tiny/tiny.py", '"""Twice and half."""', '"""Twice, and half."""')
    assert release(tmp_path / "out", source) == 1
    assert "Run `autograder sync` first" in capsys.readouterr().err


@pytest.mark.parametrize("path", ["exercises/00_tiny/README.md", "solutions/00_tiny/tiny.py"])
def test_a_missing_file_stops_the_release(source: Path, tmp_path: Path, capsys, path: str) -> None:
    (source / path).unlink()
    assert release(tmp_path / "out", source) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"autograder: not released: {path} is missing")


def test_only_an_untouched_release_is_replaced(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert release(out, source, git_too=True) == 0
    assert release(out, source, git_too=True) == 0
    (out / STUB).write_text("my work\n")
    with pytest.raises(UsageError, match=f"{STUB} is new or has been changed"):
        release(out, source)
    assert (out / STUB).read_text() == "my work\n"
    with pytest.raises(UsageError, match="is not empty and no release"):
        release(source, source)
    (tmp_path / "link").symlink_to(source)
    for inside in (source / "exercises", source / "docs/new", tmp_path / "link/solutions/new"):
        with pytest.raises(UsageError, match="lies in the course's own [a-z]+: name a folder elsewhere"):
            release(inside, source)
        assert not (inside / "release.json").exists()
    assert release(source / "released", source) == 0


def test_only_the_zip_of_a_release_is_replaced(source: Path, tmp_path: Path) -> None:
    archive = tmp_path / "out.zip"
    assert release(tmp_path / "out", source, zip_too=True) == release(tmp_path / "out", source, zip_too=True) == 0
    with zipfile.ZipFile(archive, "a") as file:
        file.writestr("llms-from-scratch/mine.txt", "my work")
    kept = archive.read_bytes()
    with pytest.raises(UsageError, match="holds more than a release, such as llms-from-scratch/mine.txt"):
        release(tmp_path / "out", source, zip_too=True)
    assert archive.read_bytes() == kept
    archive.write_bytes(b"my homework")
    with pytest.raises(UsageError, match="out.zip is no release.* would take its place: move it"):
        release(tmp_path / "out", source, zip_too=True)
    assert archive.read_bytes() == b"my homework"
    assert release(tmp_path / "out", source) == 0, "without --zip it is in nobody's way"
    archive.unlink()
    archive.mkdir()
    with pytest.raises(UsageError, match="out.zip is a folder"):
        release(tmp_path / "out", source, zip_too=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "out.zip", "source"]


@pytest.mark.parametrize(
    ("place", "says"),
    [
        ("file/out", "OUT .*/file/out: no release can be written there: not a directory"),
        ("/proc/out", "OUT /proc/out: no release can be written there: "),
        ("/", "/ is not empty"),
        ("x" * 250, "no release can be written there: file name too long"),
    ],
)
def test_a_place_that_cannot_be_written_is_a_usage_error(source: Path, tmp_path: Path, place: str, says: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match=says):
        release(tmp_path / place, source)


def test_a_history_is_not_replaced(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert release(out, source, git_too=True) == 0
    commit = ["git", "-c", "user.name=a", "-c", "user.email=b", "commit", "-q", "--allow-empty", "-m", "Mine"]
    subprocess.run(commit, cwd=out, check=True)
    with pytest.raises(UsageError, match="a history of its own"):
        release(out, source)


def test_what_a_student_has_may_not_import_what_is_left_out(tmp_path: Path) -> None:
    test = tmp_path / "test_it.py"
    test.write_text("def f():\n    from autograder.grading import score\n")
    with pytest.raises(LeftOutError, match="test_it.py, line 2: imports autograder.grading"):
        needed_files(HOUSE, [test])


# The proof


def test_a_release_is_proved_in_a_clean_copy(source: Path, tmp_path: Path, capsys) -> None:
    """An environment of its own, the stubs, then the solutions: what it says is what was run."""
    assert release(tmp_path / "out", source, no_prove=False) == 0
    assert "proved: 2 public tests say TODO with the stubs and pass with the solutions" in capsys.readouterr().out


TODO_SAID, PASSED = Ran("a", "failed", "double: TODO: double is not written yet"), Ran("a", "passed", "")


@pytest.mark.parametrize(
    ("stubs", "solved", "says"),
    [
        ([TODO_SAID], [PASSED], ""),
        ([TODO_SAID], [Ran("a", "skipped", "no GPU here")], ""),
        ([PASSED], [PASSED], "with the stubs, a does not say TODO: passed"),
        ([Ran("a", "failed", "ImportError")], [PASSED], "with the stubs, a does not say TODO: failed: ImportError"),
        ([TODO_SAID, Ran("b", "skipped", "no GPU")], [PASSED], "with the stubs, b does not say TODO: skipped"),
        ([TODO_SAID], [Ran("a", "failed", "1 is not 2")], "with the solutions, a fails: 1 is not 2"),
        ([TODO_SAID], [Ran("b", "passed", "")], "other tests are there"),
        ([], [], "none at all"),
    ],
)
def test_a_proof_asks_for_todo_first_and_for_passes_then(stubs: list[Ran], solved: list[Ran], says: str) -> None:
    found = judge(stubs, solved)
    assert found.startswith(says) or says in found
    assert bool(found) == bool(says)


# What changed, and upgrades


@pytest.fixture
def two(source: Path, tmp_path: Path) -> tuple[Path, Path]:
    """An old and a new release: a handout, docstrings, a test and an exercise are new or have changed."""
    old, new = tmp_path / "old", tmp_path / "new"
    (source / "exercises/00_tiny/README.md").write_text("Double, then halve.\n")
    written(old, source)
    edit(source, "exercises/00_tiny/README.md", "Double", "First double")
    edit(source, "solutions/00_tiny/tiny.py", '"""Calling it halves a tensor."""', '"""Calling it gives half of a tensor."""')
    edit(source, "solutions/00_tiny/tiny.py", "import torch\n", "import math\n\nimport torch\n\nPARTS = 3\n")
    third = (
        'def third(x):\n    """A third."""\n    ### BEGIN SOLUTION\n    return math.prod([x, 1 / PARTS])\n    ### END SOLUTION\n'
    )
    with (source / "solutions/00_tiny/tiny.py").open("a") as file:
        file.write(f"\n\n{third}")
    edit(source, TESTS, '"""Half of 2 is 1."""\n', '"""Half of 2 is 1."""\n    assert True\n')
    edit(source, "exercises/00_tiny/module.toml", '"Add."', '"Add it to itself."')
    return old, written(new, source)


def test_the_changes_are_said_in_words(two: tuple[Path, Path], capsys) -> None:
    commands.release(diff=two)
    assert capsys.readouterr().out.splitlines() == [
        "00_tiny: the handout has changed",
        "00_tiny: exercise double: hints changed",
        "00_tiny: test_tiny.py: test_two_becomes_one has changed",
        "00_tiny: tiny.py: PARTS is new",
        "00_tiny: tiny.py: third is new",
        "00_tiny: tiny.py: the text of Halver has changed (its docstring or given code)",
    ]
    assert changes(two[0], two[0]) == []
    with pytest.raises(UsageError, match="is no release"):
        commands.release(diff=(two[0], two[0] / "exercises"))


def test_an_untouched_checkout_becomes_the_new_release(two: tuple[Path, Path]) -> None:
    old, new = two
    write_zip(files(new), new.with_name("new.zip"))
    upgrade(old, new.with_name("new.zip"))
    assert files(old) == files(new)
    assert upgrade(old, new)[1] is None


WORK = "    return x + x  # mine"
TODO = '    # TODO: your code goes here, in place of the next line.\n    raise NotImplementedError("TODO: double")'


def test_a_students_work_survives(two: tuple[Path, Path]) -> None:
    """Written code stays word for word; what was not begun is new; what the student added and did not touch stays."""
    old, new = two
    edit(old, STUB, TODO, WORK)
    (old / "notes.md").write_text("mine\n")
    edit(old, "README.md", "The first ten minutes", "MY minutes")
    edit(old, TESTS, "Half of 2", "HALF of 2")
    plan, backup = upgrade(old, new)
    text = (old / STUB).read_text()
    assert WORK in text and '"""Calling it gives half of a tensor."""' in text and "TODO: third" in text
    assert text.count("import math") == text.count("PARTS = 3") == 1
    compile(text, STUB, "exec")
    assert {**files(old), STUB: b"", "README.md": b""} == {**files(new), STUB: b"", "README.md": b"", "notes.md": b"mine\n"}
    assert "MY minutes" in (old / "README.md").read_text()  # the course did not change it, so it stays as it is
    assert b"HALF of 2" in (backup / "old" / TESTS).read_bytes() and WORK in (backup / "old" / STUB).read_text()
    assert (backup / "new" / STUB).read_bytes() == (new / STUB).read_bytes()
    assert f"{TESTS}: replaced; your changed one is in the backup" in plan.notes


def test_a_signature_that_changed_under_written_code_stops_the_upgrade(
    source: Path, two: tuple[Path, Path], tmp_path: Path
) -> None:
    """Nothing is changed; with the new signature it goes on. Not begun, a new signature is no trouble."""
    old, _ = two
    other = shutil.copytree(old, tmp_path / "other")
    edit(source, "solutions/00_tiny/tiny.py", "def double(x: torch.Tensor)", "def double(x: torch.Tensor, times: int = 2)")
    written(tmp_path / "newer", source)
    edit(old, STUB, TODO, WORK)
    before = files(old)
    with pytest.raises(
        Refused, match=r"the signature of double changed under your code: it is \(x: torch.Tensor, times: int=2\)"
    ):
        upgrade(old, tmp_path / "newer")
    assert files(old) == before
    edit(old, STUB, "def double(x: torch.Tensor)", "def double(x: torch.Tensor, times: int = 2)")
    upgrade(old, tmp_path / "newer")
    assert WORK in (old / STUB).read_text()
    upgrade(other, tmp_path / "newer")
    assert files(other) == files(tmp_path / "newer")
    assert any("signature of double was" in line for line in changes(two[1], tmp_path / "newer"))


def test_a_file_that_python_cannot_read_stops_the_upgrade(two: tuple[Path, Path]) -> None:
    old, new = two
    edit(old, STUB, TODO, "    return (x +")
    with pytest.raises(Refused, match="tiny.py, line"):
        upgrade(old, new)


def bare(root: Path, **texts: str) -> Path:
    """A release of these files alone, `__` for the slash and `_` for the dot in a name."""
    named = {name.replace("__", "/").replace("_", "."): text.encode() for name, text in texts.items()}
    for path, content in named.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(content)
    digests = {path: hashlib.sha256(content).hexdigest() for path, content in named.items()}
    (root / NAME).write_text(Manifest("Bare", "1", (), (), (), digests, {}).to_json())
    return root


def test_an_upgrade_that_fails_half_way_leaves_all_as_it_was(tmp_path: Path, monkeypatch) -> None:
    """Whether a file cannot be written or cannot take its place: no new file, no part of one and no new folder is left."""
    old, new = bare(tmp_path / "old", a_py="1", b_py="1"), bare(tmp_path / "new", a_py="2", b_py="2", c__d_py="2")
    before = sorted((path, path.is_file() and path.read_bytes()) for path in old.rglob("*"))
    for owner, name in ((upgrading, "_save"), (Path, "replace")):
        for last in range(1, 5):
            calls, done = [], getattr(owner, name)

            def full(path: Path, other, calls=calls, done=done, last=last):
                calls.append(path)
                result = done(path, other)
                if len(calls) == last:
                    raise OSError(errno.ENOSPC, "no space left", path)
                return result

            with monkeypatch.context() as patched:
                patched.setattr(owner, name, full)
                with pytest.raises(OSError, match="no space"):
                    upgrade(old, new)
            assert len(calls) >= last
            shutil.rmtree(old / ".autograder")
            assert sorted((path, path.is_file() and path.read_bytes()) for path in old.rglob("*")) == before


def test_what_cannot_be_put_back_is_named_and_does_not_stop_the_rest(tmp_path: Path, monkeypatch) -> None:
    old, new = bare(tmp_path / "old", a_py="1", b_py="1", c_py="1"), bare(tmp_path / "new", a_py="2", b_py="2", c_py="2")
    replace, copy = Path.replace, shutil.copy2

    def failing(part: Path, target: Path) -> None:
        if target.name == NAME:
            raise OSError("no space left")
        replace(part, target)

    def full(source: Path, target: Path) -> None:
        if source.name == "b.py" and source.is_relative_to(old / ".autograder"):
            target.write_text("")
            raise OSError("no space left")
        copy(source, target)

    monkeypatch.setattr(Path, "replace", failing)
    monkeypatch.setattr(shutil, "copy2", full)
    with pytest.raises(NotPutBack, match="no space left; not put back, but kept in .*/backup/1/old: b.py$"):
        upgrade(old, new)
    assert {path: text for path, text in files(old).items() if path != NAME} == {"a.py": b"1", "b.py": b"2", "c.py": b"1"}


def test_the_command_line_takes_its_place_after_what_it_needs(tmp_path: Path, monkeypatch) -> None:
    old = bare(tmp_path / "old", autograder__cli_py="1", autograder__gone_py="1", exercises__a_py="1")
    new = bare(tmp_path / "new", autograder__cli_py="2", autograder__needed_py="2", exercises__a_py="2")
    placed, replace = [], Path.replace

    def seen(part: Path, target: Path) -> None:
        placed.append(target.relative_to(old).as_posix())
        assert (old / "autograder/gone.py").is_file() == (target.name != NAME)
        replace(part, target)

    monkeypatch.setattr(Path, "replace", seen)
    upgrade(old, new)
    assert placed == ["autograder/needed.py", "exercises/a.py", "autograder/cli.py", NAME]


def test_what_is_in_the_way_stops_the_upgrade(tmp_path: Path) -> None:
    old, new = bare(tmp_path / "old", a_py="1", b_py="1"), bare(tmp_path / "new", a_py="2", b_py="2", c__d_py="2")
    (old / "b.py").unlink()
    (old / "b.py").mkdir()
    (old / "b.py/mine").write_text("mine")
    (old / "c").write_text("mine")
    before = files(old)
    with pytest.raises(Refused, match="^b.py is in the way of the course's b.py: .*\nc is in the way of the course's c/d.py: "):
        upgrade(old, new)
    assert files(old) == before


def test_a_failed_upgrade_is_one_line_of_the_command(two: tuple[Path, Path], capsys) -> None:
    old, new = two
    (old / ".autograder").write_text("a file where the backup would go")
    with pytest.raises(typer.Exit):
        upgrade_command.upgrade(new, old)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("autograder: the upgrade failed: ") and line.endswith("; everything is as it was")


def test_files_that_come_and_go(source: Path, two: tuple[Path, Path], tmp_path: Path) -> None:
    """A file that the course drops goes with its folder; one that is the student's own is not overwritten."""
    old, new = two
    (source / "exercises/00_tiny/pictures").mkdir()
    (source / "exercises/00_tiny/pictures/a.svg").write_text("<svg/>")
    written(tmp_path / "newer", source)
    upgrade(old, tmp_path / "newer")
    assert (old / "exercises/00_tiny/pictures/a.svg").is_file()
    upgrade(old, new)
    assert not (old / "exercises/00_tiny/pictures").exists()
    (old / "exercises/00_tiny/pictures").mkdir()
    (old / "exercises/00_tiny/pictures/a.svg").write_text("mine")
    with pytest.raises(Refused, match="pictures/a.svg is yours"):
        upgrade(old, tmp_path / "newer")
    assert (old / "exercises/00_tiny/pictures/a.svg").read_text() == "mine"


def test_a_given_constant_is_renewed_unless_the_student_has_changed_it(
    source: Path, two: tuple[Path, Path], tmp_path: Path
) -> None:
    _, old = two
    other = shutil.copytree(old, tmp_path / "other")
    edit(source, "solutions/00_tiny/tiny.py", "PARTS = 3", "PARTS = 4")
    new = written(tmp_path / "newer", source)
    assert "00_tiny: tiny.py: the text of PARTS has changed (its docstring or given code)" in changes(old, new)
    for root, mine, kept in ((old, "PARTS = 3", "PARTS = 4"), (other, "PARTS = 30", "PARTS = 30")):
        edit(root, STUB, TODO, WORK)
        edit(root, STUB, "PARTS = 3", mine)
        plan, _ = upgrade(root, new)
        text = (root / STUB).read_text()
        assert text.count("PARTS =") == 1 and f"{kept}\n" in text and WORK in text
        assert any("PARTS" in note for note in plan.notes)


def test_other_line_ends_are_no_change(two: tuple[Path, Path]) -> None:
    old, new = two
    edit(old, STUB, "\n", "\r\n")
    plan, _ = upgrade(old, new)
    assert b"\r" not in (old / STUB).read_bytes() and f"{STUB}: Halver has changed; you had not begun it" in plan.notes


def test_an_upgrade_that_was_killed_is_finished_by_the_next(two: tuple[Path, Path], tmp_path: Path) -> None:
    """At whatever file it ended, the same checkout comes out as of an upgrade that nobody disturbed."""
    old, new = two
    edit(old, STUB, TODO, WORK)
    undisturbed = shutil.copytree(old, tmp_path / "undisturbed")
    notes = upgrade(undisturbed, new)[0].notes
    for ended in range(1, 6):
        killed = shutil.copytree(old, tmp_path / f"killed-{ended}")
        program = (
            "import os, sys; from pathlib import Path; from autograder.student import upgrade\n"
            f"left, replace = [None] * {ended}, Path.replace\n"
            "def to_the_end(part, target):\n"
            "    left.pop() if left else os._exit(9)\n"
            "    replace(part, target)\n"
            "Path.replace = to_the_end\n"
            "upgrade.upgrade(Path(sys.argv[1]), Path(sys.argv[2]))"
        )
        command = [sys.executable, "-c", program, killed, new]
        assert subprocess.run(command, cwd=HOUSE, timeout=60).returncode in (9, 0)
        plan, _ = upgrade(killed, new)
        assert files(killed) == files(undisturbed) and set(plan.notes) <= set(notes)


def test_changed_packages_are_said(source: Path, two: tuple[Path, Path]) -> None:
    old, new = two
    manifest = json.loads((new / NAME).read_text())
    (new / "constraints.txt").write_text("torch==3\n")
    manifest["files"]["constraints.txt"] = hashlib.sha256(b"torch==3\n").hexdigest()
    (new / NAME).write_text(json.dumps(manifest))
    assert any("make setup" in note for note in upgrade(old, new)[0].notes)


def test_a_link_is_not_followed(two: tuple[Path, Path], tmp_path: Path) -> None:
    old, new = two
    shutil.move(old / "exercises", tmp_path / "elsewhere")
    (old / "exercises").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(Refused, match="behind a symbolic link"):
        upgrade(old, new)


def test_a_partly_written_class_is_kept_and_its_new_method_is_asked_for() -> None:
    old = 'class A:\n    def f(self):\n        raise NotImplementedError("TODO: A.f")\n'
    new = old + '\n    def g(self, x):\n        raise NotImplementedError("TODO: A.g")\n'
    manifest = {name: part.definition() for name, part in parts_of(old).items()}
    mine = old.replace('raise NotImplementedError("TODO: A.f")', "return 1")
    with pytest.raises(Refused, match=r"the signature of A.g changed under your code: it is \(self, x\) now, your file has none"):
        merge(mine, manifest, new, "a.py")
    assert merge(old, manifest, new, "a.py")[0] == new


BEGUN = f'''"""Twice."""

import math


def double(x):
{WORK}


def train(n):
    raise NotImplementedError("TODO: train")
'''
MINE = {"plain": BEGUN, "late import": f"{BEGUN}\nimport os\n", "no docstring": BEGUN.partition("\n\n")[2]}
TRAINED = BEGUN.replace("def train(n)", "def train(n=NEW)")


@pytest.mark.parametrize(
    "stub",
    [
        TRAINED.replace("def train", "class NEW:\n    pass\n\n\n# On and on.\ndef train"),
        TRAINED.replace("import math", "import math\n\nNEW = 3"),
        TRAINED.replace("def train", "NEW = double(math.pi)\n\n\ndef train"),
        TRAINED.replace("math", "math\nimport enum", 1).replace("def double", "class NEW(enum.Enum):\n    A = 1\n\n\ndef double"),
        BEGUN.replace("import math", "from __future__ import annotations\n\nimport math\n").replace("(n)", "(n: Later)"),
        BEGUN + "\n\nclass New:\n    pass\n\n\nFIRST = New()\n",
    ],
    ids=["class", "constant", "needs a function", "needs an import", "future", "at the end"],
)
@pytest.mark.parametrize("mine", MINE.values(), ids=MINE)
def test_what_an_upgrade_merges_can_be_imported(stub: str, mine: str) -> None:
    """Everything new stands above what may need it in the stub, wherever the student's own imports are."""
    manifest = {name: part.definition() for name, part in parts_of(BEGUN).items()}
    merged, _ = merge(mine, manifest, stub, "a.py")
    exec(compile(merged, "a.py", "exec", dont_inherit=True), {"__name__": "a"})
    assert parts_of(merged).keys() >= parts_of(stub).keys()
    if mine == BEGUN:
        assert ast.dump(ast.parse(merged)) == ast.dump(ast.parse(stub))


def test_a_new_statement_that_no_name_stands_for_is_told_of() -> None:
    stub = BEGUN.replace("import math\n", "import math\n\ntry:\n    import triton\nexcept ImportError:\n    triton = None\n")
    merged, (note,) = merge(BEGUN, {}, stub.replace("Twice", "Two times"), "a.py")
    assert merged == BEGUN and note.startswith("a.py: the course's file has `try: import triton except ImportError: triton …`")
    assert merge(stub, {}, stub, "a.py")[1] == []


def test_a_byte_order_mark_and_any_line_ends_are_read_as_python_reads_them(two: tuple[Path, Path]) -> None:
    old, new = two
    edit(old, STUB, TODO, WORK)
    (old / STUB).write_bytes(b"\xef\xbb\xbf" + (old / STUB).read_bytes().replace(b"\n", b"\r", 1))
    upgrade(old, new)
    text = (old / STUB).read_text()
    assert WORK in text and "TODO: third" in text
    compile(text, STUB, "exec")


@pytest.mark.parametrize(("packed", "byte"), [(zipfile.ZIP_DEFLATED, 0xFF), (zipfile.ZIP_LZMA, 0)])
def test_a_damaged_zip_is_to_be_got_again(tmp_path: Path, packed: int, byte: int) -> None:
    path = tmp_path / "new.zip"
    with zipfile.ZipFile(path, "w", packed) as archive:
        archive.writestr(f"course/{NAME}", bytes(range(256)))
    name = f"course/{NAME}".encode()
    data = bytearray(path.read_bytes())
    start = data.index(name) + len(name)
    data[start : start + 8] = bytes([byte]) * 8
    path.write_bytes(data)
    with pytest.raises(ReleaseError, match="new.zip cannot be unpacked .*: get it again"):
        read_release(path)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda m: m["files"].update({"../out.py": "0" * 64}), "which no release holds"),
        (lambda m: m["files"].update({"/etc/passwd": "0" * 64}), "which no release holds"),
        (lambda m: m["files"].update({".git/config": "0" * 64}), "which no release holds"),
        (lambda m: m["files"].update({STUB: "0" * 64}), "is not as released"),
        (lambda m: m["files"].update({"no.py": "0" * 64}), "no.py is missing"),
        (lambda m: m.update(format=99), "reads 1: update it first"),
        (lambda m: m.pop("files"), "is damaged"),
        (lambda m: m.update(students=[]), "is damaged"),
    ],
)
def test_a_damaged_release_is_refused(source: Path, tmp_path: Path, change, says: str) -> None:
    written(tmp_path / "out", source)
    manifest = json.loads((tmp_path / "out" / NAME).read_text())
    change(manifest)
    (tmp_path / "out" / NAME).write_text(json.dumps(manifest))
    with pytest.raises(ReleaseError, match=says):
        read_release(tmp_path / "out")
