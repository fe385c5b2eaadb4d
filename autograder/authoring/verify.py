"""The gate for every module: the reference, the stub, every mutant, alternative and cheat get what they deserve.

Each runs as a submission would, in a confined worker: mutants against the tests of their own exercise, alternatives also
against those of the exercises that use it, since a right answer must not cost points anywhere.
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

TASK_SECONDS = 300
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
    """One thing to prove about a module."""

    module: Module
    kind: str
    name: str
    run: Callable[[int], Finding]


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
        task = progress.add_task("", total=len(checks))
        with contextlib.suppress(variants.VariantError, SyntaxError):  # which are reported with their mutant
            for exercise in module.exercises if checks else ():
                known_mistakes_of(module, exercise.name)  # made here, shared by the forks
        batches = _batches(checks)
        tasks = [partial(_answers, batch) for batch in batches]
        pages.settle()
        for index, answer in in_forks(tasks, AT_ONCE, lambda _: TASK_SECONDS):
            if isinstance(answer, Died):
                findings = [Finding(answer.why) for _ in batches[index]]
            else:
                findings = [Finding(**found) for found in json.loads(answer)]
            for check, finding in zip(batches[index], findings, strict=True):
                counts[check.kind] = counts.get(check.kind, 0) + 1
                named += finding.named
                if finding.problem:
                    problems.append(f"{check.kind} {check.name}: {finding.problem}")
            progress.update(task, advance=len(findings), description=f"{check.kind} {check.name}"[:60])
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
        Check(module, "reference", "", partial(_reference, module, solution, suites, zygote)),
        Check(module, "stub", "", partial(_stub, module, stub, suites, zygote)),
    ]
    uses = built_on(module, solution)
    makers = {"mutant": _mutant, "alternative": partial(_alternative, uses)}
    for kind, maker in makers.items():
        for variant in variants.load(module.suite_folder / f"{kind}s.py"):
            name = variant.file or module.file_of(module.exercise(variant.exercise))
            try:
                files = solution | {name: variant.apply(solution[name])}
                run = partial(maker, module, variant, files, suites, zygote)
            except variants.VariantError as error:
                run = partial(_unfit, str(error))
            found.append(Check(module, kind, variant.name, run))
    for variant in [*variants.load(module.suite_folder / "cheats.py"), *general(module)] if cheats else []:
        files = stub | {module.main_file: variant.source}
        found.append(Check(module, "cheat", variant.name, partial(_cheat, module, files, suites, zygote)))
    return found


def _batches(checks: Sequence[Check]) -> list[list[Check]]:
    """Checks that share a fork: mutants and alternatives a few at a time, since a fork costs as much as they do.

    What takes longest begins first and single cheats come last, so that all slots are busy to the end.
    """

    def of(*kinds: str) -> list[Check]:
        return [check for kind in kinds for check in checks if check.kind == kind]

    ours = of("alternative", "mutant")
    together = [ours[start : start + BATCH] for start in range(0, len(ours), BATCH)]
    return [[check] for check in of("reference", "stub")] + together + [[check] for check in of("cheat")]


def _answers(checks: Sequence[Check], slot: int) -> bytes:
    return json.dumps([asdict(check.run(slot)) for check in checks]).encode()


def _unfit(problem: str, slot: int) -> Finding:
    return Finding(problem)


def _reference(module: Module, files: dict[str, str], suites: Suites, zygote: Zygote, slot: int) -> Finding:
    result = grade_module(SubmittedModule(module, files), {}, suites, zygote, slot)
    missed = [e for e in result.exercises if e.status != "passed"]
    if result.score == result.max_score and not missed:
        return Finding()
    said = "; ".join(f"{e.name} {e.status}: {_line(e.message)}" for e in missed)
    return Finding(f"scores {result.score:g}, not {result.max_score:g}. {result.message} {said}")


def _stub(module: Module, files: dict[str, str], suites: Suites, zygote: Zygote, slot: int) -> Finding:
    result = grade_module(SubmittedModule(module, files), {}, suites, zygote, slot)
    wrong = [f"{e.name} is {e.status}" for e in result.exercises if e.status != "todo"]
    if result.score:
        wrong.append(f"scores {result.score:g}")
    return Finding(", ".join(wrong))


def _mutant(module: Module, variant: Variant, files: dict[str, str], suites: Suites, zygote: Zygote, slot: int) -> Finding:
    def counts(spec: TestSpec) -> bool:
        return spec.exercise == variant.exercise and spec.tier == "hidden"

    outcomes, breaches = _run(
        module, files, suites, zygote, slot, counts, until_failure=True, suspected=variant.says, first=_CAUGHT_BY
    )
    failed = {name: outcome for name, outcome in outcomes.items() if outcome.outcome != "passed"}
    _CAUGHT_BY[:] = [*failed, *(name for name in _CAUGHT_BY if name not in failed)]
    if not failed and variant.exercise not in breaches:
        return Finding(f"passes every test of {variant.exercise}")
    return Finding(named=any(outcome.diagnosis for outcome in failed.values()))


def _alternative(
    uses: Mapping[str, Sequence[str]],
    module: Module,
    variant: Variant,
    files: dict[str, str],
    suites: Suites,
    zygote: Zygote,
    slot: int,
) -> Finding:
    def concerns(spec: TestSpec) -> bool:
        return spec.exercise == variant.exercise or variant.exercise in uses.get(spec.exercise, ())

    broken = [breach.message for breach in check_policy(module, files)]
    outcomes, breaches = _run(module, files, suites, zygote, slot, concerns)
    broken += [f"{call} is forbidden in {exercise}" for exercise, (call, _) in breaches.items()]
    failed = [f"{name} {o.outcome}: {_line(o.message)}" for name, o in outcomes.items() if o.outcome != "passed"]
    return Finding("; ".join(broken + failed))


def _cheat(module: Module, files: dict[str, str], suites: Suites, zygote: Zygote, slot: int) -> Finding:
    hurried = module.model_copy(update={"limits": module.limits.model_copy(update=CHEAT_LIMITS)})
    try:
        # An exercise earns nothing unless its core tests pass, so these alone decide whether a cheat earns anything.
        submitted = SubmittedModule(hurried, files)
        result = grade_module(
            submitted, {}, suites, zygote, slot, tests=lambda spec: spec.core, until_failure=True, diagnosed=False
        )
    except GraderError as error:
        return Finding(f"broke the grader: {error}")
    earned = [f"{e.name} {e.score:g}" for e in result.exercises if e.score]
    return Finding(f"earns points: {', '.join(earned)}" if earned else "")


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
