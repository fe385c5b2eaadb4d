"""A release proved as a student would meet it: in a clean copy, in an environment that knows nothing of this course.

`quick` makes an environment that borrows the installed packages, without this repository; `full` runs `make setup`, which
installs everything from `constraints.txt`.
"""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import tempfile
import tomllib
import venv
import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from autograder.authoring.closure import COMMAND_LINE, STAFF
from autograder.authoring.release import Selection, write_folder
from autograder.grading.solutions import solution_files

RUN_SECONDS = 1200
SETUP_SECONDS = 3600


class NotProved(Exception):
    """The release is not what a student needs; the message says what went wrong."""


@dataclass(frozen=True)
class Proof:
    """What was found: how many public tests there are, and those that were skipped with the solutions in place."""

    tests: int
    skipped: tuple[str, ...]


@dataclass(frozen=True)
class Ran:
    """One public test's outcome, and what it said."""

    name: str
    outcome: str  # passed, failed or skipped
    said: str


def prove(contents: dict[str, bytes], selection: Selection, full: bool = False) -> Proof:
    """Check the release in a clean copy. Raises NotProved.

    Everything in it imports and nothing imports what was left out; with the stubs every public test says TODO; with the
    solutions dropped in, every one passes.
    """
    with tempfile.TemporaryDirectory(prefix="release-") as folder:
        home = Path(folder)
        plain, filled = home / "plain", home / "filled"
        if full:  # the environment is bound to the copy that it was made in
            write_folder(contents, plain)
            python = _full(plain)
            stubs = _with_stubs(python, plain, selection)
            solved = _with_solutions(python, plain, selection)
        else:
            for copy in (plain, filled):
                write_folder(contents, copy)
            pythons = [_quick(home / f"for-{copy.name}", copy) for copy in (plain, filled)]
            with ThreadPoolExecutor(2) as pool:
                later = pool.submit(_with_solutions, pythons[1], filled, selection)
                stubs = _with_stubs(pythons[0], plain, selection)
                solved = later.result()
    if problem := judge(stubs, solved):
        raise NotProved(problem)
    return Proof(len(solved), tuple(test.name for test in solved if test.outcome == "skipped"))


def judge(stubs: Sequence[Ran], solved: Sequence[Ran]) -> str:
    """What is wrong with the outcomes of the public tests, with the stubs and with the solutions; empty when nothing is."""
    if wrong := [test for test in stubs if test.outcome == "passed" or "TODO" not in test.said]:
        return f"with the stubs, {_named(wrong)} does not say TODO: {wrong[0].outcome}: {_brief(wrong[0])}"
    if wrong := [test for test in solved if test.outcome == "failed"]:
        return f"with the solutions, {_named(wrong)} fails: {_brief(wrong[0])}"
    if {test.name for test in stubs} != {test.name for test in solved} or not stubs:
        return "other tests are there with the solutions than with the stubs, or none at all"
    return ""


def _with_stubs(python: Path, copy: Path, selection: Selection) -> list[Ran]:
    _imports(python, copy, selection)
    return _tests(python, copy, selection)


def _with_solutions(python: Path, copy: Path, selection: Selection) -> list[Ran]:
    for module in selection.modules:
        for name, text in solution_files(module).items():
            (copy / "exercises" / module.id / name).write_text(text, encoding="utf-8")
    return _tests(python, copy, selection)


def _quick(folder: Path, copy: Path) -> Path:
    """An environment that has the installed packages and the copy, and not this repository."""
    venv.create(folder, with_pip=False, symlinks=True)
    python = folder / "bin" / "python"
    paths = {"base": str(folder), "platbase": str(folder)}
    site = Path(sysconfig.get_path("purelib", "venv", paths))
    borrowed = dict.fromkeys(sysconfig.get_path(kind) for kind in ("purelib", "platlib"))
    # Of a folder named in a .pth file no other .pth file is read, so that editable installs, this one's too, stay out.
    (site / "release.pth").write_text("\n".join([str(copy), *borrowed]) + "\n")
    project = tomllib.loads((copy / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    installed = site / "release.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n")
    plugins = "\n".join(f"{name} = {value}" for name, value in project["entry-points"]["pytest11"].items())
    (installed / "entry_points.txt").write_text(f"[pytest11]\n{plugins}\n")
    return python


def _full(copy: Path) -> Path:
    done = _run(["make", "setup", f"PYTHON={sys.executable}"], copy, SETUP_SECONDS)
    if done.returncode:
        raise NotProved(f"`make setup` fails: {_tail(done)}")
    return copy / ".venv" / "bin" / "python"


def _imports(python: Path, copy: Path, selection: Selection) -> None:
    """Every module of the package and every solution that is shipped imports from the copy; what was left out cannot be."""
    names = sorted(
        ".".join(file.relative_to(copy).with_suffix("").parts).removesuffix(".__init__")
        for file in (copy / "autograder").rglob("*.py")
    )
    names += [f"solutions.{module.dotted}" for module in selection.solved]
    absent = [f"autograder.{name}" for name in STAFF]
    if not (copy / "solutions").is_dir():
        absent.append("solutions")
    program = f"""
import importlib, importlib.util, sys
for name in {names!r}:
    module = importlib.import_module(name)
    assert module.__file__ is None or module.__file__.startswith({str(copy)!r}), f"{{name}} comes from {{module.__file__}}"
for name in {absent!r}:
    assert importlib.util.find_spec(name) is None, f"{{name}} can be imported"
"""
    done = _run([str(python), "-c", program], copy.parent, RUN_SECONDS)
    if done.returncode:
        raise NotProved(f"the package does not import by itself: {_tail(done)}")
    done = _run([str(python), "-c", "from autograder.cli import main; main()", "--help"], copy, RUN_SECONDS)
    if done.returncode:
        raise NotProved(f"`autograder --help` fails ({COMMAND_LINE}): {_tail(done)}")


def _tests(python: Path, copy: Path, selection: Selection) -> list[Ran]:
    report = copy.with_suffix(".xml")
    report.unlink(missing_ok=True)
    modules = [f"exercises/{module.id}" for module in selection.modules]
    command = [str(python), "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--junitxml={report}", *modules]
    done = _run(command, copy, RUN_SECONDS)  # plugins load as they do for a student: by their entry points
    if done.returncode not in (0, 1) or not report.is_file():
        raise NotProved(f"pytest cannot run the public tests: {_tail(done)}")
    return [_ran(case) for case in ElementTree.parse(report).iter("testcase")]


def _ran(case: ElementTree.Element) -> Ran:
    name = f"{case.get('classname', '')}::{case.get('name', '')}"
    for kind, outcome in (("failure", "failed"), ("error", "failed"), ("skipped", "skipped")):
        if (child := case.find(kind)) is not None:
            return Ran(name, outcome, f"{child.get('message', '')}\n{child.text or ''}")
    return Ran(name, "passed", "")


def _run(command: Sequence[str], folder: Path, seconds: float) -> subprocess.CompletedProcess[str]:
    foreign = ("PYTHON", "PYTEST", "GIT_", "VIRTUAL_ENV")
    kept = {key: value for key, value in os.environ.items() if not key.startswith(foreign)}
    environment = {**kept, "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    try:
        return subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, timeout=seconds, stdin=subprocess.DEVNULL
        )
    except subprocess.TimeoutExpired as late:
        raise NotProved(f"{' '.join(command[:4])} … is not done after {seconds:g} s") from late


def _named(tests: Sequence[Ran]) -> str:
    return tests[0].name + (f" (and {len(tests) - 1} more)" if len(tests) > 1 else "")


def _brief(test: Ran) -> str:
    return " / ".join(line.strip() for line in test.said.splitlines() if line.strip())[:400]


def _tail(done: subprocess.CompletedProcess[str]) -> str:
    return "\n".join([*done.stdout.splitlines(), *done.stderr.splitlines()][-15:])
