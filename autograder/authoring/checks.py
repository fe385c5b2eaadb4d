"""What `verify` proves about a module: the reference, the stub, every mutant, alternative and cheat get what they deserve.

Each runs in a confined worker, as a submission would: mutants against the tests of their own exercise, alternatives also
against those of the exercises that use it, since a right answer must not cost points anywhere. Alternatives of several
exercises are proved in one file, which a student may well write; where that fails, each is tried alone. Mutants that a test
caught the last time share a worker; one that passes there is tried in a worker of its own.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from autograder.authoring import caught
from autograder.authoring.cheats import LESS, general
from autograder.authoring.forbidden import unknown_names
from autograder.course import Module
from autograder.grading.grade import grade_module, job_for
from autograder.grading.manifest import TestSpec
from autograder.grading.solutions import byte_code_of, solution_files, with_dependencies
from autograder.grading.suite import Suites
from autograder.intake import SubmittedModule
from autograder.policy import built_on
from autograder.policy import check as check_policy
from autograder.reports.results import ModuleResult
from autograder.testing import variants
from autograder.testing.variants import Variant
from autograder.worker.client import GraderError, Worker, Zygote

# The tests that caught the mutants before this one in a batch, the last one first: neighbours in mutants.py are often mistakes
# of the same kind, and a test that catches one most likely catches the next.
_CAUGHT_BY: list[str] = []
_KEPT: dict[str, Worker] = {}  # by module, in a fork: the worker that its mutants share
SLOW_SECONDS, TRIED = 0.25, 3  # a mutant that takes longer is worth a look at what else catches it, and at how many tests
SHARES = 3  # of the general cheats, one for each module in a quick proof
CHEAT_LIMITS = {"call_seconds": 0.5, "load_seconds": 0.5, "module_seconds": 2.0, "memory_mb": 256}


@dataclass(frozen=True)
class Finding:
    """What one check found: no problem when all is well.

    For a mutant: whether its own sentence explains the failure, and the test that caught it.
    """

    problem: str = ""
    named: bool = False
    caught_by: str = ""


@dataclass(frozen=True)
class Scope:
    """How much is proved: the `cheats`, too; whether a mutant's own sentence explains its failure (`names`); slow mutants are
    tried on tests that may catch them sooner (`note`). A `quick` proof tries alternatives on the hidden tests of their own
    exercise, and on fewer examples, and shares the general cheats out among the modules.
    """

    cheats: bool = True
    names: bool = False
    note: bool = False
    quick: bool = False


@dataclass(frozen=True)
class Check:
    """What is proved about a module in one go: a finding for each name."""

    kind: str
    names: tuple[str, ...]
    run: Callable[[int], list[Finding]]


def checks_of(module: Module, suites: Suites, zygote: Zygote, scope: Scope) -> list[Check]:
    """What is to be proved about a module. VariantError, SyntaxError where a file of variants is wrong."""
    solution = solution_files(module)
    stub = {name: (module.folder / name).read_text(encoding="utf-8") for name in module.files}
    found = [
        Check("reference", ("",), partial(_reference, module, solution, suites, zygote)),
        Check("stub", ("",), partial(_stub, module, stub, suites, zygote)),
        Check("module.toml", ("",), partial(_names, module)),
    ]
    uses = {} if scope.quick else built_on(module, solution)
    for together in _of_unlike_exercises(_load(module, "alternatives.py")):
        run = partial(_alternatives, uses, scope.quick, module, together, solution, suites, zygote)
        found.append(Check("alternative", tuple(variant.name for variant in together), run))
    noted = caught.read(module)
    for variant in _load(module, "mutants.py"):
        run = partial(_mutant, module, variant, noted.get(variant.name, ""), scope, solution, suites, zygote)
        found.append(Check("mutant", (variant.name,), run))
    own, for_all = (_load(module, "cheats.py"), general(module)) if scope.cheats else ((), ())
    if scope.quick:
        for_all = for_all[suites.course.modules.index(module) % SHARES :: SHARES]
    for variant, limits in [*((v, CHEAT_LIMITS) for v in own), *((v, CHEAT_LIMITS | LESS.get(v.name, {})) for v in for_all)]:
        files = stub | {module.main_file: variant.source}
        found.append(Check("cheat", (variant.name,), partial(_cheat, _limited(module, **limits), files, suites, zygote)))
    return found


def _load(module: Module, name: str) -> tuple[Variant, ...]:
    """The variants in a file of the suite. VariantError, SyntaxError where it cannot be run."""
    try:
        return variants.load(module.suite_folder / name)
    except (variants.VariantError, SyntaxError):
        raise
    except Exception as error:
        raise variants.VariantError(f"{name} cannot be run: {type(error).__name__}: {error}") from error


def _of_unlike_exercises(alternatives: Sequence[Variant]) -> list[list[Variant]]:
    """The alternatives in groups with at most one of each exercise; a whole file stays alone."""
    groups: list[list[Variant]] = []
    for variant in alternatives:
        free = (group for group in groups if not any(o.source or o.exercise == variant.exercise for o in group))
        group = None if variant.source else next(free, None)
        if group is None:
            groups.append([variant])
        else:
            group.append(variant)
    return groups


def _with(module: Module, together: Sequence[Variant], solution: Mapping[str, str]) -> dict[str, str]:
    """The solution's files with the variants in them. VariantError where one does not fit."""
    files = dict(solution)
    for variant in together:
        name = variant.file or module.file_of(module.exercise(variant.exercise))
        files[name] = variant.apply(files[name])
    return files


def _reference(module: Module, files: dict[str, str], suites: Suites, zygote: Zygote, slot: int) -> list[Finding]:
    result = grade_module(SubmittedModule(module, files), {}, suites, zygote, slot)
    return [Finding(shortfall(result))]


def shortfall(result: ModuleResult) -> str:
    """What a module's result lacks, in a line; empty where every exercise passes."""
    missed = [f"{e.name} {e.status}: {_line(e.message)}".rstrip(": ") for e in result.exercises if e.status != "passed"]
    short = result.score < result.max_score
    if not short and not missed:
        return ""
    scores = f"scores {result.score:g}, " + (f"not {result.max_score:g}" if short else "but not every test passes")
    return f"{scores}: {'; '.join(filter(None, [_line(result.message), *missed]))}".rstrip(": ")


def _stub(module: Module, files: dict[str, str], suites: Suites, zygote: Zygote, slot: int) -> list[Finding]:
    result = grade_module(SubmittedModule(module, files), {}, suites, zygote, slot)
    wrong = [f"{e.name} is {e.status}" for e in result.exercises if e.status != "todo"]
    if result.score:
        wrong.append(f"scores {result.score:g}")
    return [Finding(", ".join(wrong))]


def _names(module: Module, slot: int) -> list[Finding]:
    return [Finding("; ".join(unknown_names(module)))]  # in a fork: what is imported for it is gone with it


def _mutant(
    module: Module,
    variant: Variant,
    noted: str,
    scope: Scope,
    solution: Mapping[str, str],
    suites: Suites,
    zygote: Zygote,
    slot: int,
) -> list[Finding]:
    def counts(spec: TestSpec) -> bool:
        return spec.exercise == variant.exercise and spec.tier == "hidden"

    try:
        files = _with(module, [variant], solution)
    except variants.VariantError as error:
        return [Finding(str(error))]
    start = time.monotonic()
    alone = partial(_run, module, files, suites, zygote, slot)
    shared = partial(_run_unwatched, module, files, solution, suites, zygote, slot)
    for run in (shared, alone) if noted else (alone,):  # a test caught it the last time
        run = partial(run, diagnosed=scope.names)
        outcomes, breaches = run(counts, until_failure=True, suspected=variant.says, first=[noted, *_CAUGHT_BY])
        failed = {name: outcome for name, outcome in outcomes.items() if outcome.outcome != "passed"}
        if failed or variant.exercise in breaches:
            break
    else:
        return [Finding(f"passes every test of {variant.exercise}")]
    seconds = time.monotonic() - start
    _CAUGHT_BY[:] = [*failed, *(name for name in _CAUGHT_BY if name not in failed)]
    found = Finding(named=any(outcome.diagnosis for outcome in failed.values()), caught_by=next(iter(failed), ""))
    if scope.note and found.caught_by and seconds > SLOW_SECONDS:
        return [_caught_sooner(found, seconds, run, counts, variant.says)]
    return [found]


def _caught_sooner(found: Finding, seconds: float, run: Callable, counts: Callable[[TestSpec], bool], says: str) -> Finding:
    """The test that catches a mutant soonest, its explanation included, of those that name it if any does."""
    outcomes, _ = run(counts, diagnosed=False)
    others = [name for name, o in outcomes.items() if o.outcome not in ("passed", "timeout") and name != found.caught_by]
    best = (not found.named, seconds, found)
    for name in sorted(others, key=lambda name: outcomes[name].seconds)[:TRIED]:
        start = time.monotonic()
        alone, _ = run(lambda spec, name=name: spec.name == name, suspected=says)
        outcome = alone[name]
        if outcome.outcome != "passed":
            named = bool(outcome.diagnosis)
            best = min(best, (not named, time.monotonic() - start, Finding(named=named, caught_by=name)), key=lambda b: b[:2])
    return best[-1]


def _alternatives(
    uses: Mapping[str, Sequence[str]],
    quick: bool,
    module: Module,
    together: Sequence[Variant],
    solution: Mapping[str, str],
    suites: Suites,
    zygote: Zygote,
    slot: int,
) -> list[Finding]:
    varied = {variant.exercise for variant in together}

    def concerns(spec: TestSpec) -> bool:
        concerned = spec.exercise in varied or not varied.isdisjoint(uses.get(spec.exercise, ()))
        return concerned and not (quick and spec.tier == "public")

    try:
        files = _with(module, together, solution)
    except variants.VariantError as error:
        problem = str(error)
    else:
        broken = [breach.message for breach in check_policy(module, files)]
        patient = _limited(module, module_seconds=module.limits.module_seconds * len(together))  # each may need its time
        outcomes, breaches = _run(patient, files, suites, zygote, slot, concerns, lightly=quick)
        broken += [f"{call} is forbidden in {exercise}" for exercise, (call, _) in breaches.items()]
        broken += [f"{name} {o.outcome}: {_line(o.message)}" for name, o in outcomes.items() if o.outcome != "passed"]
        problem = "; ".join(broken)
    if not problem or len(together) == 1:
        return [Finding(problem) for _ in together]
    return [finding for one in together for finding in _alternatives(uses, quick, module, [one], solution, suites, zygote, slot)]


def _cheat(module: Module, files: dict[str, str], suites: Suites, zygote: Zygote, slot: int) -> list[Finding]:
    try:
        # An exercise earns nothing unless its core tests pass, so these alone decide whether a cheat earns anything.
        submitted = SubmittedModule(module, files)
        result = grade_module(
            submitted, {}, suites, zygote, slot, tests=lambda spec: spec.core, until_failure=True, diagnosed=False, parted=False
        )
    except GraderError as error:
        return [Finding(f"broke the grader: {error}")]
    earned = [f"{e.name} {e.score:g}" for e in result.exercises if e.score]
    return [Finding(f"earns points: {', '.join(earned)}" if earned else "")]


def _limited(module: Module, **limits: float) -> Module:
    return module.model_copy(update={"limits": module.limits.model_copy(update=limits)})


def _run(
    module: Module,
    files: dict[str, str],
    suites: Suites,
    zygote: Zygote,
    slot: int,
    tests: Callable[[TestSpec], bool],
    **how: Any,
):
    """What `Suites.run` gives for these files, run in the way that it is told."""
    together, _ = with_dependencies(module, files, {}, suites.course)
    worker = Worker(zygote, job_for(module, together, suites, slot))
    try:
        return suites.run(module, worker, tests, **how)
    finally:
        worker.close()


def _run_unwatched(
    module: Module,
    files: dict[str, str],
    solution: Mapping[str, str],
    suites: Suites,
    zygote: Zygote,
    slot: int,
    tests: Callable[[TestSpec], bool],
    **how: Any,
):
    """As `_run`, in a worker that this process keeps for all of its mutants, and to which nothing is forbidden. No outcomes where
    that worker is lost.

    To make a worker takes as long as most mutants' tests do, and to watch it a quarter of that time.
    """
    if module.id not in _KEPT:
        together, _ = with_dependencies(module, dict(solution), {}, suites.course)
        _KEPT[module.id] = Worker(zygote, replace(job_for(module, together, suites, slot), rules={}))
    worker = _KEPT[module.id]
    try:
        worker.replace(files, {name: byte_code_of(name, text) for name, text in files.items()})
        return suites.run(module, worker, tests, **how)
    except GraderError:
        _KEPT.pop(module.id).close()
        return {}, {}


def close_workers() -> None:
    """Before a fork ends: close the workers that it kept."""
    while _KEPT:
        _KEPT.popitem()[1].close()


def _line(message: str) -> str:
    return " / ".join(line.strip() for line in message.splitlines()[:3])[:300]
