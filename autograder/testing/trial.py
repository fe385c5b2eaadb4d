"""A quick trial of one module in this process: `python -m autograder.testing.trial 01`.

Runs the hidden suite on the solution, on every mutant (each must fail in its exercise) and on every alternative (each must
pass), and the public tests on the solution. No sandbox and no scores: `autograder verify` is the gate, this is the workbench.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import sys
import time
import types
from pathlib import Path

import pytest
import torch

from autograder.testing import variants
from autograder.testing.local import LocalModule

ROOT = Path(__file__).resolve().parents[2]


class Trial:
    """A plugin that gives tests a chosen module as `student` and keeps what failed."""

    def __init__(self, text: str, stem: str, file: Path, only_exercise: str = ""):
        self.failures: dict[str, list[tuple[str, str]]] = {}
        self.ran: list[str] = []
        self.only_exercise = only_exercise
        self.module = types.ModuleType(f"trial_{stem}")
        self.module.__file__ = str(file)
        sys.modules[self.module.__name__] = self.module
        exec(compile(text, str(file), "exec"), self.module.__dict__)

    @pytest.fixture
    def student(self) -> LocalModule:
        return LocalModule(self.module)

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        if self.only_exercise:
            items[:] = [item for item in items if _exercise(item) == self.only_exercise]

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item, call: pytest.CallInfo):
        report = yield
        if call.when == "call":
            self.ran.append(item.name)
        if report.outcome != "passed":
            message = str(call.excinfo.value) if call.excinfo else ""
            self.failures.setdefault(_exercise(item), []).append((item.name, message))
        return report


def _exercise(item: pytest.Item) -> str:
    mark = item.get_closest_marker("exercise")
    return mark.args[0] if mark else "(none)"


def run(text: str, stem: str, file: Path, tests: Path, only_exercise: str = "", stop: bool = False) -> Trial:
    trial = Trial(text, stem, file, only_exercise)
    arguments = [str(tests), "-q", "-p", "no:cacheprovider", "--import-mode=importlib"] + (["-x"] if stop else [])
    with contextlib.redirect_stdout(io.StringIO()) as output, contextlib.redirect_stderr(output):
        status = pytest.main(arguments, plugins=[trial])
    if status not in (0, 1):
        print(output.getvalue()[-4000:])
        raise SystemExit(f"pytest ended with status {status!r} on {tests}")
    return trial


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("module")
    parser.add_argument("--only", choices=["reference", "mutants", "alternatives", "public"])
    parser.add_argument("--name", help="just this mutant or alternative")
    parser.add_argument("-x", action="store_true", help="stop at the first surprise")
    options = parser.parse_args()
    os.chdir(ROOT)
    torch.set_num_threads(1)
    folder = next(p.name for p in sorted(Path("solutions").iterdir()) if p.name.startswith(options.module))
    public = next(Path("exercises", folder).glob("test_*.py"), Path("-"))
    solution = Path("solutions", folder, public.name.removeprefix("test_"))
    suite = Path("autograder/suites", folder)
    text = solution.read_text()
    surprises = 0

    def check(label: str, trial: Trial, good: bool, seconds: float) -> None:
        nonlocal surprises
        print(f"{'ok ' if good else 'BAD'} {label} ({len(trial.ran)} tests, {seconds:.1f} s)", flush=True)
        if not good:
            surprises += 1
            for exercise, failed in trial.failures.items():
                for name, message in failed:
                    print(f"      {exercise}: {name}\n        " + message[:1500].replace("\n", "\n        "))
            if options.x:
                raise SystemExit(1)

    def timed(label: str, good, source: str, tests: Path, **how) -> None:
        start = time.monotonic()
        trial = run(source, solution.stem, solution, tests, **how)
        check(label, trial, good(trial), time.monotonic() - start)

    if options.only in (None, "public") and not options.name:
        timed("public tests on the solution", lambda t: not t.failures and t.ran, text, public)
    if options.only in (None, "reference") and not options.name:
        timed("hidden suite on the solution", lambda t: not t.failures and t.ran, text, suite)
    for kind in ("mutants", "alternatives"):
        if options.only not in (None, kind):
            continue
        for variant in variants.load(suite / f"{kind}.py"):
            if options.name and options.name not in variant.name:
                continue
            if kind == "mutants":
                good = lambda t, v=variant: v.exercise in t.failures  # noqa: E731
                how = {"only_exercise": variant.exercise, "stop": True}
            else:
                good, how = (lambda t: not t.failures and t.ran), {}
            timed(f"{kind[:-1]} {variant.name} [{variant.exercise}]", good, variant.apply(text), suite, **how)
    raise SystemExit(1 if surprises else 0)


if __name__ == "__main__":
    main()
