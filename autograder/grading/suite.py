"""The suites, collected once by pytest before any student code runs, and one module's tests run against a worker.

pytest collects every wanted module in one session and then hands over: inside `opened` the collected tests can be run any
number of times, each time in a fork of this process, with the `student` fixture bound to a worker.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import hypothesis
import pytest
import torch
from hypothesis.internal.conjecture import providers

from autograder.course import Course, CourseError, Module
from autograder.grading.lookout import Lookout
from autograder.grading.manifest import TestOutcome, TestSpec, parts_of
from autograder.grading.remote import SHARED_SCENARIOS, Call, RemoteModule, Stop, compiled, load_failure, shared_key, transcript
from autograder.grading.solutions import compiled_solutions
from autograder.grading.uses import used_by_tests
from autograder.policy import runtime_rules
from autograder.testing import messages, probes, strategies  # noqa: F401  (strategies: registers the profiles)
from autograder.testing.dealing import deal
from autograder.testing.diagnose import Explanations, Known, known_mistakes
from autograder.testing.local import LocalModule
from autograder.testing.plugin import MARK, seed_for
from autograder.worker.client import GraderError, LoadError, Stopped, Worker

HURRIED_SECONDS = 1.0  # for each call in what is left of an exercise after a test that took too long
HURRIED = ", which is all that it gets after a test of this exercise that took too long"
FEWER = 3  # of so many examples one is tried, where a module is looked at lightly
NOT_RUN = "not run, since two earlier tests of this exercise did not end in time"


@dataclass(frozen=True)
class Suite:
    """One module's tests: pytest's items and what counts of each, in the order in which they run."""

    module: Module
    items: tuple[pytest.Item, ...]
    manifest: tuple[TestSpec, ...]
    parts: tuple[frozenset[str], ...]
    scenarios: Mapping[str, bytes]
    rules: dict[str, dict[str, list[str]]]
    tested_with: Mapping[str, Sequence[str]]  # by exercise, the others that its tests use
    solutions: Mapping[str, tuple[str, bytes]]  # text and byte code, of the modules that this one builds on too


@dataclass
class Run:
    """One submission's module while its tests run."""

    worker: Worker | None = None
    lookout: Lookout | None = None
    diagnosed: bool = True
    suspected: str = ""
    local: LocalModule | None = None
    breaches: dict[str, tuple[str, int]] = field(default_factory=dict)
    explanations: dict[str, Explanations] = field(default_factory=dict)  # by exercise
    passed: dict[str, list[list[list[Call]]]] = field(default_factory=dict)  # by exercise: what passed tests asked and heard
    student: Any = None


class _Session:
    """The pytest plugin: fixtures, seeds, and the moment when collection is complete."""

    def __init__(self, course: Course, ready: Callable[[list[pytest.Item]], None]):
        self.course = course
        self.ready = ready
        self.run = Run()
        self.exercises: dict[Path, frozenset[str]] = {}
        self.policed: dict[Path, frozenset[str]] = {}  # those that forbid something
        self.references: dict[str, LocalModule] = {}
        self.problems: list[tuple[Path, str]] = []  # what cannot be collected, and why
        self.failure: BaseException | None = None

    @pytest.fixture
    def student(self, request: pytest.FixtureRequest) -> Any:
        run = self.run
        if run.local is not None:
            run.student = run.local
        else:
            run.lookout.begin()
            folder, exercise = request.path.parent, request.node.get_closest_marker("exercise").args[0]
            policed = exercise in self.policed[folder]
            run.student = RemoteModule(run.worker, self.exercises[folder], run.breaches, run.lookout, policed)
        return run.student

    @pytest.fixture
    def reference(self, request: pytest.FixtureRequest) -> LocalModule:
        return self.references[request.path.parent.name]

    @pytest.fixture
    def generator(self, request: pytest.FixtureRequest) -> torch.Generator:
        return torch.Generator().manual_seed(seed_for(self.course.settings.grading_seed, request.node.name))

    def pytest_configure(self, config: pytest.Config) -> None:
        config.addinivalue_line("markers", MARK)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            why = str(report.longrepr).strip().splitlines()[-1].removeprefix("E ").strip()
            self.problems.append((self.course.root / report.nodeid.partition("::")[0], f"{report.nodeid}: {why}"))

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        try:
            self.ready(session.items)
        except BaseException as error:  # pytest would print it; it belongs to whoever opened the suites
            self.failure = error
        return True


class Suites:
    """The collected suites; valid inside `opened`."""

    def __init__(self, session: _Session, suites: dict[str, Suite]):
        self._session = session
        self.course = session.course
        self.by_module = suites

    def run(
        self,
        module: Module,
        worker: Worker,
        tests: Callable[[TestSpec], bool] = lambda _: True,
        until_failure: bool = False,
        diagnosed: bool = True,
        suspected: str = "",
        first: Sequence[str] = (),
        lightly: bool = False,
    ) -> tuple[dict[str, TestOutcome], dict[str, tuple[str, int]]]:
        """Outcomes by test name, and forbidden calls by exercise, of one worker's module.

        With `until_failure`, what is left of an exercise after a failure is not run; the tests named in `first` come first.
        Failures are compared with the known mistake that says what is `suspected` and with no other, if it is given. `lightly`
        is with a third of a property's examples, and with a watch that does not begin anew in every test. Call it in a fork:
        state stays behind.
        """
        lookout = Lookout(self.course.settings.grading_seed, lightly)
        for item in self.by_module[module.id].items if lightly else ():
            with_fewer_examples(item)
        run = Run(worker=worker, lookout=lookout, diagnosed=diagnosed, suspected=suspected)
        return self._run(module, run, tests, until_failure, first), run.breaches

    def run_here(self, module: Module, local: LocalModule) -> dict[str, TestOutcome]:
        """The same tests against a module in this very process (benchmarks and trials)."""
        return self._run(module, Run(local=local), lambda _: True, False)

    def _run(
        self, module: Module, run: Run, tests: Callable[[TestSpec], bool], until_failure: bool, first: Sequence[str] = ()
    ) -> dict[str, TestOutcome]:
        self._session.run = run
        suite = self.by_module[module.id]
        chosen = [(item, spec) for item, spec in zip(suite.items, suite.manifest, strict=True) if tests(spec)]
        if first:
            chosen.sort(key=lambda pair: first.index(pair[1].name) if pair[1].name in first else len(first))
        outcomes: dict[str, TestOutcome] = {}
        late: Counter[str] = Counter()
        call_seconds = run.worker.call_seconds if run.worker else 0.0
        unusable = _unusable(run.worker) if run.worker else None
        if unusable:
            return {spec.name: unusable for _, spec in chosen}
        done: set[str] = set()
        for index, (item, spec) in enumerate(chosen):
            if spec.exercise in done:
                continue
            times_late = late[spec.exercise]
            if times_late > 1:
                outcomes[spec.name] = TestOutcome("timeout", NOT_RUN)
                continue
            if run.worker:
                run.worker.call_seconds = min(HURRIED_SECONDS, call_seconds) if times_late else call_seconds
            outcome = self._test(suite, item, spec)
            if outcome.outcome == "timeout":
                late[spec.exercise] += 1
                outcome = replace(outcome, message=outcome.message + HURRIED) if times_late else outcome
            outcomes[spec.name] = outcome
            if until_failure and outcome.outcome != "passed":
                done.add(spec.exercise)
            if run.worker and any(later.exercise not in done for _, later in chosen[index + 1 :]):
                run.worker.renew()
        for exercise, explanations in run.explanations.items():
            passed = [] if until_failure else run.passed.get(exercise, [])
            with contextlib.suppress(Exception):
                for name, says in explanations.names(passed).items():
                    outcomes[name] = replace(outcomes[name], diagnosis=says)
        return outcomes

    def _test(self, suite: Suite, item: pytest.Item, spec: TestSpec) -> TestOutcome:
        run = self._session.run
        run.student = None
        deal(seed_for(self.course.settings.grading_seed, item.name))
        start = time.monotonic()
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            error = _error_of(item)
        seconds = time.monotonic() - start
        if error is None:
            if run.diagnosed and isinstance(run.student, RemoteModule) and transcript(run.student).is_small():
                run.passed.setdefault(spec.exercise, []).append(transcript(run.student).executions)
            return TestOutcome("passed", seconds=seconds)
        if isinstance(error, Stop):
            return TestOutcome(error.outcome, str(error), seconds=seconds)
        if isinstance(error, pytest.skip.Exception | GraderError):
            return TestOutcome("error", f"the test could not run: {error}", seconds=seconds)
        if run.diagnosed and isinstance(run.student, RemoteModule):
            with contextlib.suppress(Exception):  # what goes wrong with a mutant must not cost a student the result
                if spec.exercise not in run.explanations:
                    run.explanations[spec.exercise] = _explanations(suite.module, spec.exercise, run.suspected)
                run.explanations[spec.exercise].look_for(spec.name, transcript(run.student).executions)
        return TestOutcome("failed", messages.failure(error), seconds=time.monotonic() - start)


def with_fewer_examples(item: pytest.Item) -> None:
    """From now on the test tries a third of its examples, if it is one of a property."""
    settings = getattr(item.obj, "_hypothesis_internal_use_settings", None)  # a test that was decorated takes no others
    if settings is not None:
        fewer = hypothesis.settings(settings, max_examples=-(-settings.max_examples // FEWER))
        item.obj._hypothesis_internal_use_settings = fewer


def _explanations(module: Module, exercise: str, suspected: str) -> Explanations:
    known = known_mistakes_of(module, exercise)
    if suspected:
        known = replace(known, wrong=tuple(version for version in known.wrong if version.says == suspected))
    return Explanations(known, f"diagnosed_{module.stem}")


def _error_of(item: pytest.Item) -> BaseException | None:
    """Run a test, and return the first exception of its fixtures, its body or their ends.

    pytest's own protocol calls some thirty hooks for reports that nobody reads here, and draws each failure.
    """
    errors = []
    item._initrequest()  # so that an item can run more than once in a process
    state = item.session._setupstate
    for step in (partial(_body, state, item), partial(state.teardown_exact, None)):
        try:
            step()
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            errors.append(error)
    item.funcargs = {}  # the test's tensors go with it
    return errors[0] if errors else None


def _body(state: Any, item: pytest.Item) -> None:
    state.setup(item)
    item.runtest()


def known_mistakes_of(module: Module, exercise: str) -> Known:
    """What `diagnose` compares answers with; kept once it is made."""
    return known_mistakes(module.suite_folder, module.solution_folder / module.file_of(module.exercise(exercise)), exercise)


def _unusable(worker: Worker) -> TestOutcome | None:
    """The outcome of every test, where the student's file cannot even be imported."""
    try:
        worker.start()
    except LoadError as error:
        stop = load_failure(error, worker)
        return TestOutcome(stop.outcome, str(stop))
    except Stopped as stopped:
        return TestOutcome(stopped.kind, f"while the file was imported: {stopped}")
    return None


@contextlib.contextmanager
def _environment(**values: str | None) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in values}
    try:
        for name, value in values.items():
            os.environ.pop(name, None) if value is None else os.environ.__setitem__(name, value)
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None) if value is None else os.environ.__setitem__(name, value)


def open_suites(
    course: Course, modules: Sequence[Module], use: Callable[[Suites], None], broken: dict[str, list[str]] | None = None
) -> None:
    """Collect the modules' suites and call `use` with them.

    GraderError when a suite is broken; with `broken`, what is wrong is put there by the module's id and the others are opened.
    """

    def refuse(module: Module, why: str) -> None:
        if broken is None:
            raise GraderError(why)
        broken.setdefault(module.id, []).append(why)

    for module in modules:
        if not module.suite_folder.is_dir():
            refuse(module, f"{module.id} has no hidden suite in {module.suite_folder.name}: it cannot be graded here")
    # Constants from local source files would be mixed into the examples: a test elsewhere would change the inputs here.
    if hasattr(providers, "_get_local_constants"):
        nothing = providers._local_constants
        providers._get_local_constants = lambda: nothing

    if str(course.root) not in sys.path[:1]:
        sys.path.insert(0, str(course.root))  # `solutions` is this course's, wherever it lies

    def ready(items: list[pytest.Item]) -> None:
        for path, why in session.problems:
            owners = [module for module in modules if {module.folder, module.suite_folder} & {path, *path.parents}]
            if broken is None or not owners:
                raise GraderError("the suites cannot be collected: " + "; ".join(why for _, why in session.problems))
            refuse(owners[0], why)
        suites = {}
        for module in modules:
            if module.id not in (broken or ()):
                try:
                    suites[module.id] = _suite(course, module, items, session)
                except GraderError as error:
                    refuse(module, str(error))
                except (SyntaxError, FileNotFoundError) as error:
                    if broken is None:
                        raise
                    refuse(module, f"{type(error).__name__}: {error}")
        use(Suites(session, suites))

    session = _Session(course, ready)
    opened = [module for module in modules if module.id not in (broken or ())]
    folders = [str(path) for module in opened for path in (*sorted(module.folder.glob("test_*.py")), module.suite_folder)]
    if not folders:
        return use(Suites(session, {}))
    arguments = [
        *folders, "-c", os.devnull, "--rootdir", str(course.root), "--import-mode=importlib", "-p", "no:cacheprovider",
        "-p", "no:terminal", "-p", "no:faulthandler", "-p", "no:logging", "-p", "no:warnings", "--capture=no",
    ]  # fmt: skip
    torch.set_num_threads(1)
    hypothesis.settings.load_profile("grading")
    with _environment(PYTEST_DISABLE_PLUGIN_AUTOLOAD="1", PYTEST_ADDOPTS=None, PYTEST_PLUGINS=None):
        status = pytest.main(arguments, plugins=[session])
    if session.failure is not None:
        raise session.failure
    if status == pytest.ExitCode.INTERRUPTED:
        raise KeyboardInterrupt
    if not session.problems and status not in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
        raise GraderError(f"the suites cannot be collected: pytest ended with {status!r}")


def _suite(course: Course, module: Module, items: list[pytest.Item], session: _Session) -> Suite:
    for name in module.preload:  # the solution needs it as the student's code does, and so does each fork that diagnoses
        try:
            importlib.import_module(name)
        except Exception as error:
            why = f"{type(error).__name__}: {error}"
            raise GraderError(f"module.toml of {module.id} preloads {name}, which cannot be imported here ({why})") from error
    solution = module.solution_folder / module.main_file
    session.references[module.suite_folder.name] = LocalModule(_imported(f"solutions.{module.dotted}", solution))
    names = frozenset(exercise.name for exercise in module.exercises)
    specs: list[tuple[pytest.Item, TestSpec]] = []
    for item in items:
        folder = item.path.parent
        if folder not in (module.folder, module.suite_folder):
            continue
        session.exercises[folder] = names
        session.policed[folder] = frozenset(runtime_rules(module))
        specs.append((item, _spec(item, "public" if folder == module.folder else "hidden", module)))
        _prepare(item, course.settings.grading_seed, session)
    counted = [spec.name for _, spec in specs]
    specs = [
        (item, spec if counted.count(spec.name) == 1 else _renamed(spec, f"{item.path.stem}::{spec.name}"))
        for item, spec in specs
    ]
    order = {exercise.name: index for index, exercise in enumerate(module.exercises)}
    # The core tests of an exercise come first: when they hang, the rest need not be tried.
    specs.sort(key=lambda pair: (order[pair[1].exercise], pair[1].tier == "public", not pair[1].core))
    folders = (module.suite_folder, module.folder)
    files = [Path(probes.__file__), *(path for folder in folders for name in SHARED_SCENARIOS for path in folder.glob(name))]
    scenarios = {shared_key(path): compiled(shared_key(path), path.read_text(encoding="utf-8")) for path in files}
    items, manifest = [tuple(column) for column in zip(*specs, strict=True)] or [(), ()]
    solutions = compiled_solutions(module, course)
    tested_with = used_by_tests(folders, names)
    return Suite(module, items, manifest, tuple(parts_of(manifest)), scenarios, runtime_rules(module), tested_with, solutions)


def _imported(name: str, path: Path) -> Any:
    try:
        return importlib.import_module(name)
    except Exception as error:
        raise GraderError(f"the solution {path.name} cannot be imported: {type(error).__name__}: {error}") from None


def _spec(item: pytest.Item, tier: str, module: Module) -> TestSpec:
    mark = item.get_closest_marker("exercise")
    if mark is None:
        raise GraderError(f"{item.nodeid}: is marked for no exercise of its module")
    try:
        module.exercise(mark.args[0])
    except CourseError as error:
        raise GraderError(f"{item.nodeid}: {error}") from None
    title = (getattr(item.obj, "__doc__", None) or item.name).strip().splitlines()[0]
    points = mark.kwargs["points"] if tier == "hidden" else 0
    return TestSpec(item.name, mark.args[0], points, tier, mark.kwargs["core"], title)


def _renamed(spec: TestSpec, name: str) -> TestSpec:
    return TestSpec(name, spec.exercise, spec.points, spec.tier, spec.core, spec.title)


def _prepare(item: pytest.Item, secret: str, session: _Session) -> None:
    """Fix the test's seed, and let its transcript know when its body starts anew."""
    handle = getattr(item.obj, "hypothesis", None)
    if handle is None:
        return
    hypothesis.seed(seed_for(secret, item.name))(item.obj)
    inner = handle.inner_test

    def noted(*args: Any, **kwargs: Any) -> Any:
        if isinstance(session.run.student, RemoteModule):
            transcript(session.run.student).begin()
        return inner(*args, **kwargs)

    handle.inner_test = noted
