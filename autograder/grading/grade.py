"""From submissions to results: take them in, run their modules in workers, score, and hand out one document each."""

from __future__ import annotations

import json
import platform
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import asdict
from functools import partial

from autograder.course import Course, Module
from autograder.grading import machine
from autograder.grading.manifest import PARTS, TestOutcome, TestSpec
from autograder.grading.pool import Died, in_forks
from autograder.grading.score import score_module, totals
from autograder.grading.solutions import with_dependencies
from autograder.grading.suite import Suites, open_suites
from autograder.intake import Submission, SubmittedModule
from autograder.policy import SyntaxProblem, built_on, check, parse
from autograder.reports.results import Environment, Identity, ModuleResult, Results, to_json
from autograder.worker import pages
from autograder.worker.client import PATIENCE, GraderError, Job, Worker, Zygote

AT_ONCE = machine.at_once()
SLACK_SECONDS, PART_SLACK_SECONDS = 60, 20  # beyond its modules' own limits, a submission's grading is stopped, or a part's
GRADER_FAILED = b"!"  # begins the answer of a task in which not the submission failed, but the grader
CHANGE = "a change of "  # so begins what `worker.audit` says of code that changes what it is watched with
REQUIRED = ("Landlock", "seccomp")
_NOT_ENDED = "grading this submission did not end properly: {}. Ask your instructor to look at it."


class _NotEnded(Exception):
    """A part's process died."""


def grade(
    course: Course,
    submissions: Sequence[Submission],
    zygote: Zygote,
    done: Callable[[int, Results], None],
    require_sandbox: bool = False,
) -> None:
    """Grade every submission and call `done(index, results)` as each is ready.

    GraderError when the grader itself cannot go on.
    """
    ids = {item.module.id for submission in submissions for item in submission.modules}
    modules = [module for module in course.modules if module.id in ids]
    trial = Worker(zygote, Job(files={}, main=""), later=True)  # it shows what confines a worker here
    try:
        open_suites(course, modules, partial(_grade_all, course, submissions, zygote, done, require_sandbox, trial))
    finally:
        trial.close()


def _grade_all(
    course: Course,
    submissions: Sequence[Submission],
    zygote: Zygote,
    done: Callable[[int, Results], None],
    require_sandbox: bool,
    trial: Worker,
    suites: Suites,
) -> None:
    pages.settle()  # while the zygote warms up
    zygote.wait()
    sandbox = trial.confined().sandbox
    trial.close()
    missing = [name for name in REQUIRED if not any(name in entry and "missing" not in entry for entry in sandbox)]
    if require_sandbox and missing:
        raise GraderError(f"--require-sandbox: {' and '.join(missing)} cannot be had on this system")
    identity = Identity(name=course.settings.name, digest=course.digest())
    environment = Environment.here()

    def document(submission: Submission, modules: Sequence[ModuleResult]) -> Results:
        score, max_score = totals(modules)
        name = Identity(name=submission.name, digest=submission.digest)
        return Results(
            course=identity, submission=name, environment=environment, sandbox=sandbox, score=score, max_score=max_score,
            modules=list(modules),
        )  # fmt: skip

    at_once = min(AT_ONCE, len(submissions)) or 1
    hands = AT_ONCE // at_once  # a submission that has the machine to itself has its parts graded side by side

    def task(submission: Submission, slot: int) -> bytes:
        try:
            return to_json(document(submission, grade_submission(submission, suites, zygote, slot, hands))).encode()
        except GraderError as error:
            return GRADER_FAILED + str(error).encode()

    def seconds(index: int) -> float:
        return SLACK_SECONDS + sum(PARTS * PATIENCE * item.module.limits.module_seconds for item in submissions[index].modules)

    tasks = [partial(task, submission) for submission in submissions]
    own_failure = ""
    for index, answer in in_forks(tasks, at_once, seconds):
        submission, why = submissions[index], ""
        if isinstance(answer, Died):
            why = _NOT_ENDED.format(answer.why)
        elif answer.startswith(GRADER_FAILED):
            own_failure = answer.removeprefix(GRADER_FAILED).decode()
            why = f"the grader itself failed, which is not your doing: {own_failure}. Ask your instructor to grade again."
        if why:
            done(index, document(submission, [_rejected(suites, item.module, why) for item in submission.modules]))
        else:
            done(index, Results.model_validate_json(answer))
    if own_failure:
        raise GraderError(own_failure)


def grade_submission(submission: Submission, suites: Suites, zygote: Zygote, slot: int, hands: int = 1) -> list[ModuleResult]:
    """The results of a submission's modules, in course order, each built on the earlier ones that passed."""
    own: dict[str, dict[str, str]] = {}
    results = []
    for item in submission.modules:
        result = grade_module(item, own, suites, zygote, slot, hands)
        if all(exercise.status == "passed" for exercise in result.exercises):
            own[item.module.id] = item.files
        results.append(result)
    return results


def grade_module(
    item: SubmittedModule,
    own: dict[str, dict[str, str]],
    suites: Suites,
    zygote: Zygote,
    slot: int = 0,
    hands: int = 1,
    tests: Callable[[TestSpec], bool] = lambda _: True,
    until_failure: bool = False,
    diagnosed: bool = True,
    parted: bool = True,
) -> ModuleResult:
    """The result of one module; `own` holds the files of the student's earlier modules that passed.

    Its exercises are graded in parts, `hands` of them at a time, each by a worker and in a fork of its own; how a
    module is parted does not depend on `hands`, so its result does not either. A file that cannot be imported is not
    imported again for the next part: it may take all its time each time. What is not `parted` is graded in one part, here.
    """
    module = item.module
    problem = item.problem or _syntax_problem(item.files)
    if problem:
        return _rejected(suites, module, problem)
    breaches = {breach.exercise: breach.message for breach in reversed(check(module, item.files))}
    files, substituted = with_dependencies(module, item.files, own, suites.course)
    suite = suites.by_module[module.id]
    chosen = [spec for spec in suite.manifest if tests(spec)]
    everything = frozenset(spec.exercise for spec in chosen)
    parts = [part for part in suite.parts if part & everything] if parted else [everything]

    def run(part: frozenset[str], hand: int) -> bytes:
        try:
            worker = Worker(zygote, job_for(module, files, suites, slot + AT_ONCE * hand))
            try:
                counts = partial(_counts, part, tests)
                outcomes, called = suites.run(module, worker, counts, until_failure, diagnosed)
            finally:
                worker.close()
        except GraderError as error:
            return GRADER_FAILED + str(error).encode()
        answer = [{name: asdict(outcome) for name, outcome in outcomes.items()}, called, worker.is_loaded]
        return json.dumps(answer).encode()

    seconds = PART_SLACK_SECONDS + PATIENCE * module.limits.module_seconds
    try:
        with closing(_answers([partial(run, part) for part in parts], hands, seconds)) as answers:
            outcomes, called = _together(answers, [spec.name for spec in chosen])
    except _NotEnded as ended:
        return _rejected(suites, module, _NOT_ENDED.format(ended))
    for exercise, (call, line) in called.items():
        if call.startswith(CHANGE):
            what = f"{call} counts against {exercise}: your code may use it, and not put something else in its place."
        else:
            what = f"{call} is called in {exercise}: this exercise asks you to write it yourself."
        breaches.setdefault(exercise, f"{module.main_file}, line {line}: {what}")
    well = all(outcome.outcome == "passed" for outcome in outcomes.values())
    uses = {} if well else built_on(module, item.files)
    return score_module(
        module, suite.manifest, outcomes, breaches=breaches, substituted=substituted, built_on=uses, tested_with=suite.tested_with
    )


def _answers(parts: Sequence[Callable[[int], bytes]], hands: int, seconds: float) -> Iterator[bytes | Died]:
    if len(parts) == 1:  # this process is a submission's own: it needs no further fork
        yield parts[0](0)
    else:
        with closing(in_forks(parts, hands, lambda _: seconds)) as answers:
            yield from (answer for _, answer in answers)


def _together(
    answers: Iterable[bytes | Died], chosen: Sequence[str]
) -> tuple[dict[str, TestOutcome], dict[str, tuple[str, int]]]:
    """The outcomes and the forbidden calls of all parts. What remains after one whose file cannot be imported has its outcome.

    Raises _NotEnded for a part that did not answer, GraderError for one in which the grader failed.
    """
    outcomes: dict[str, TestOutcome] = {}
    called: dict[str, tuple[str, int]] = {}
    for answer in answers:
        if isinstance(answer, Died):
            raise _NotEnded(answer.why)
        if answer.startswith(GRADER_FAILED):
            raise GraderError(answer.removeprefix(GRADER_FAILED).decode())
        of_part, called_there, is_loaded = json.loads(answer)
        found = {name: TestOutcome(**outcome) for name, outcome in of_part.items()}
        outcomes |= found
        called = called_there | called
        if not is_loaded:
            return dict.fromkeys(chosen, next(iter(found.values()))) | outcomes, called
    return outcomes, called


def _counts(part: frozenset[str], tests: Callable[[TestSpec], bool], spec: TestSpec) -> bool:
    return spec.exercise in part and tests(spec)


def job_for(module: Module, files: dict[str, str], suites: Suites, slot: int = 0) -> Job:
    """What a worker needs to run this module's suite on these files."""
    limits, suite = module.limits, suites.by_module[module.id]
    return Job(
        files=files,
        main=module.dotted,
        compiled={name: code for name, (text, code) in suite.solutions.items() if files.get(name) == text},
        scenarios=dict(suite.scenarios),
        rules=suite.rules,
        memory_mb=limits.memory_mb,
        load_seconds=limits.load_seconds,
        call_seconds=limits.call_seconds,
        module_seconds=limits.module_seconds,
        slot=slot,
    )


def _syntax_problem(files: dict[str, str]) -> str | None:
    for name, text in files.items():
        tree = parse(name, text)
        if isinstance(tree, SyntaxProblem):
            line = f", line {tree.line}" if tree.line else ""
            return f"{name}{line}: Python {platform.python_version()} cannot read this file: {tree.message}"
    return None


def _rejected(suites: Suites, module: Module, why: str) -> ModuleResult:
    return score_module(module, suites.by_module[module.id].manifest, {}, rejected=why)
