"""The gate for every module: the reference, the stub, every mutant, alternative and cheat get what they deserve.

Each runs as a submission would, in a confined worker: mutants against the tests of their own exercise, alternatives also
against those of the exercises that use it, since a right answer must not cost points anywhere. Alternatives of several
exercises are proved in one file, which a student may well write; where that fails, each is tried alone.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from autograder.authoring import generated
from autograder.authoring.cheats import general
from autograder.course import Course, Module
from autograder.grading.grade import AT_ONCE, grade_module, job_for, solution_files, with_dependencies
from autograder.grading.manifest import TestSpec
from autograder.grading.pool import Died, in_forks
from autograder.grading.suite import Suites, known_mistakes_of, open_suites
from autograder.intake import SubmittedModule
from autograder.policy import built_on
from autograder.policy import check as check_policy
from autograder.testing import variants
from autograder.testing.variants import Variant
from autograder.worker import pages
from autograder.worker.client import GraderError, Worker, Zygote

TASK_SECONDS = 600
BATCH = 12
# The tests that caught the mutants before this one in a batch, the last one first: neighbours in mutants.py are often mistakes
# of the same kind, and a test that catches one most likely catches the next.
_CAUGHT_BY: list[str] = []
CHEAT_LIMITS = {"call_seconds": 0.5, "load_seconds": 0.5, "module_seconds": 1.0, "memory_mb": 512}


@dataclass(frozen=True)
class Finding:
    """What one check found: nothing when all is well. `named` is set where a mutant's own sentence explains its failure."""

    problem: str = ""
    named: bool = False


@dataclass(frozen=True)
class Check:
    """What is proved about a module in one go: a finding for each name."""

    kind: str
    names: tuple[str, ...]
    run: Callable[[int], list[Finding]]


def verify(
    course: Course, modules: Sequence[Module], zygote: Zygote, console: Console, quiet: bool = False, cheats: bool = True
) -> bool:
    """Prove the modules and print a line for each, with every problem beneath it. True when there is none.

    Closes the zygote.
    """
    good, stale, why = True, [], ""
    try:
        stale = generated.sync(course.root, check=True)
    except generated.GenerationError as error:
        why = str(error)

    def use(suites: Suites) -> None:
        nonlocal good
        zygote.wait()
        for module in modules:
            out_of_step = [path.name for path in stale if path.is_relative_to(module.folder)]
            problems = [f"stub: {name} is out of step with its solution: run `autograder sync`" for name in out_of_step]
            problems += [f"stub: {why}"] if why else []
            good &= _verify_module(module, suites, zygote, console, quiet, cheats, problems)

    try:
        open_suites(course, modules, use)
    finally:
        zygote.close()
    return good


def _verify_module(
    module: Module, suites: Suites, zygote: Zygote, console: Console, quiet: bool, cheats: bool, problems: list[str]
) -> bool:
    start = time.monotonic()
    problems = [*problems, *(f"manifest: {problem}" for problem in manifest_problems(module, suites))]
    try:
        checks = _checks(module, suites, zygote, cheats)
    except (variants.VariantError, SyntaxError) as error:
        checks, problems = [], [*problems, str(error)]
    counts: dict[str, int] = {}
    named = 0
    columns = (TextColumn(module.id), BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}"))
    progress = Progress(*columns, console=console, transient=True, auto_refresh=False, disable=not console.is_terminal)
    with progress:
        task = progress.add_task("", total=sum(len(check.names) for check in checks))
        with contextlib.suppress(variants.VariantError, SyntaxError):  # which are reported with their mutant
            for exercise in module.exercises if checks else ():
                known_mistakes_of(module, exercise.name)  # made here, shared by the forks
        batches = _batches(checks)
        tasks = [partial(_answers, batch) for batch in batches]
        pages.settle()
        for index, answer in in_forks(tasks, AT_ONCE, lambda _: TASK_SECONDS):
            proved = [(check.kind, name) for check in batches[index] for name in check.names]
            if isinstance(answer, Died):
                findings = [Finding(answer.why) for _ in proved]
            else:
                findings = [Finding(**found) for found in json.loads(answer)]
            for (kind, name), finding in zip(proved, findings, strict=True):
                counts[kind] = counts.get(kind, 0) + 1
                named += finding.named
                if finding.problem:
                    problems.append(f"{kind} {name}: {finding.problem}")
            progress.update(task, advance=len(findings), description=" ".join(proved[-1])[:60])
            progress.refresh()
    if problems or not quiet:
        summary = ", ".join(
            f"{counts.get(kind, 0)} {label}" for kind, label in
            (("mutant", f"mutants ({named} named)"), ("alternative", "alternatives"), ("cheat", "cheats"))
        )  # fmt: skip
        mark = "✗" if problems else "✓"
        line = f"{mark} {module.id}: {summary}; {time.monotonic() - start:.1f} s"
        console.print(line, highlight=False, markup=False, soft_wrap=True)
        for problem in sorted(problems):
            console.print(f"    {problem}", highlight=False, markup=False, soft_wrap=True)
    return not problems


def manifest_problems(module: Module, suites: Suites) -> list[str]:
    """What is incomplete in a suite's manifest: points that do not add up, an exercise without a core test."""
    problems = []
    for exercise in module.exercises:
        tests = [spec for spec in suites.by_module[module.id].manifest if spec.exercise == exercise.name]
        hidden = [spec for spec in tests if spec.tier == "hidden"]
        points = sum(spec.points for spec in hidden)
        if abs(points - exercise.points) > 1e-9:
            problems.append(f"{exercise.name}: its hidden tests have {points:g} points, module.toml says {exercise.points}")
        if not any(spec.core for spec in hidden):
            problems.append(f"{exercise.name}: has no core test")
        if len(hidden) == len(tests):
            problems.append(f"{exercise.name}: has no public test")
    return problems


def _checks(module: Module, suites: Suites, zygote: Zygote, cheats: bool) -> list[Check]:
    solution = solution_files(module)
    stub = {name: (module.folder / name).read_text(encoding="utf-8") for name in module.files}
    found = [
        Check("reference", ("",), partial(_reference, module, solution, suites, zygote)),
        Check("stub", ("",), partial(_stub, module, stub, suites, zygote)),
    ]
    uses = built_on(module, solution)
    for together in _of_unlike_exercises(variants.load(module.suite_folder / "alternatives.py")):
        names = tuple(variant.name for variant in together)
        run = partial(_alternatives, uses, module, together, solution, suites, zygote)
        found.append(Check("alternative", names, run))
    for variant in variants.load(module.suite_folder / "mutants.py"):
        found.append(Check("mutant", (variant.name,), partial(_mutant, module, variant, solution, suites, zygote)))
    for variant in [*variants.load(module.suite_folder / "cheats.py"), *general(module)] if cheats else []:
        files = stub | {module.main_file: variant.source}
        found.append(Check("cheat", (variant.name,), partial(_cheat, module, files, suites, zygote)))
    return found


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


def _batches(checks: Sequence[Check]) -> list[list[Check]]:
    """Checks that share a fork: mutants a few at a time, since a fork costs as much as they do.

    What takes longest begins first and single cheats come last, so that all slots are busy to the end.
    """
    mutants = [check for check in checks if check.kind == "mutant"]
    first = [[check] for check in checks if check.kind not in ("mutant", "cheat")]
    together = [mutants[start : start + BATCH] for start in range(0, len(mutants), BATCH)]
    return first + together + [[check] for check in checks if check.kind == "cheat"]


def _answers(checks: Sequence[Check], slot: int) -> bytes:
    return json.dumps([asdict(finding) for check in checks for finding in check.run(slot)]).encode()


def _with(module: Module, together: Sequence[Variant], solution: Mapping[str, str]) -> dict[str, str]:
    """The solution's files with the variants in them. VariantError where one does not fit."""
    files = dict(solution)
    for variant in together:
        name = variant.file or module.file_of(module.exercise(variant.exercise))
        files[name] = variant.apply(files[name])
    return files


def _reference(module: Module, files: dict[str, str], suites: Suites, zygote: Zygote, slot: int) -> list[Finding]:
    result = grade_module(SubmittedModule(module, files), {}, suites, zygote, slot)
    missed = [e for e in result.exercises if e.status != "passed"]
    if result.score == result.max_score and not missed:
        return [Finding()]
    said = "; ".join(f"{e.name} {e.status}: {_line(e.message)}" for e in missed)
    return [Finding(f"scores {result.score:g}, not {result.max_score:g}. {result.message} {said}")]


def _stub(module: Module, files: dict[str, str], suites: Suites, zygote: Zygote, slot: int) -> list[Finding]:
    result = grade_module(SubmittedModule(module, files), {}, suites, zygote, slot)
    wrong = [f"{e.name} is {e.status}" for e in result.exercises if e.status != "todo"]
    if result.score:
        wrong.append(f"scores {result.score:g}")
    return [Finding(", ".join(wrong))]


def _mutant(
    module: Module, variant: Variant, solution: Mapping[str, str], suites: Suites, zygote: Zygote, slot: int
) -> list[Finding]:
    def counts(spec: TestSpec) -> bool:
        return spec.exercise == variant.exercise and spec.tier == "hidden"

    try:
        files = _with(module, [variant], solution)
    except variants.VariantError as error:
        return [Finding(str(error))]
    outcomes, breaches = _run(
        module, files, suites, zygote, slot, counts, until_failure=True, suspected=variant.says, first=_CAUGHT_BY
    )
    failed = {name: outcome for name, outcome in outcomes.items() if outcome.outcome != "passed"}
    _CAUGHT_BY[:] = [*failed, *(name for name in _CAUGHT_BY if name not in failed)]
    if not failed and variant.exercise not in breaches:
        return [Finding(f"passes every test of {variant.exercise}")]
    return [Finding(named=any(outcome.diagnosis for outcome in failed.values()))]


def _alternatives(
    uses: Mapping[str, Sequence[str]],
    module: Module,
    together: Sequence[Variant],
    solution: Mapping[str, str],
    suites: Suites,
    zygote: Zygote,
    slot: int,
) -> list[Finding]:
    varied = {variant.exercise for variant in together}

    def concerns(spec: TestSpec) -> bool:
        return spec.exercise in varied or not varied.isdisjoint(uses.get(spec.exercise, ()))

    try:
        files = _with(module, together, solution)
    except variants.VariantError as error:
        problem = str(error)
    else:
        broken = [breach.message for breach in check_policy(module, files)]
        patient = _limited(module, module_seconds=module.limits.module_seconds * len(together))  # each may need its time
        outcomes, breaches = _run(patient, files, suites, zygote, slot, concerns)
        broken += [f"{call} is forbidden in {exercise}" for exercise, (call, _) in breaches.items()]
        broken += [f"{name} {o.outcome}: {_line(o.message)}" for name, o in outcomes.items() if o.outcome != "passed"]
        problem = "; ".join(broken)
    if not problem or len(together) == 1:
        return [Finding(problem) for _ in together]
    return [finding for one in together for finding in _alternatives(uses, module, [one], solution, suites, zygote, slot)]


def _cheat(module: Module, files: dict[str, str], suites: Suites, zygote: Zygote, slot: int) -> list[Finding]:
    hurried = _limited(module, **CHEAT_LIMITS)
    try:
        # An exercise earns nothing unless its core tests pass, so these alone decide whether a cheat earns anything.
        submitted = SubmittedModule(hurried, files)
        result = grade_module(
            submitted, {}, suites, zygote, slot, tests=lambda spec: spec.core, until_failure=True, diagnosed=False
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
    until_failure: bool = False,
    suspected: str = "",
    first: Sequence[str] = (),
):
    together, _ = with_dependencies(module, files, {}, suites.course)
    worker = Worker(zygote, job_for(module, together, suites, slot))
    try:
        return suites.run(module, worker, tests, until_failure, suspected=suspected, first=first)
    finally:
        worker.close()


def _line(message: str) -> str:
    return " / ".join(line.strip() for line in message.splitlines()[:3])[:300]
