"""The gate for every module: everything there is to prove about it, and a line of what came out."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from autograder.authoring import caught, generated
from autograder.authoring.checks import Check, Finding, checks_of
from autograder.course import Course, Module
from autograder.grading.grade import AT_ONCE
from autograder.grading.pool import Died, in_forks
from autograder.grading.suite import Suites, known_mistakes_of, open_suites
from autograder.testing import variants
from autograder.testing.diagnose import byte_code
from autograder.worker import pages
from autograder.worker.client import Zygote

TASK_SECONDS = 600
BATCH = 12


def verify(
    course: Course,
    modules: Sequence[Module],
    zygote: Zygote,
    console: Console,
    quiet: bool = False,
    cheats: bool = True,
    names: bool = False,
    note: bool = False,
) -> bool:
    """Prove the modules and print a line for each, with every problem beneath it. True when there is none.

    With `names`, the mutants whose own sentence explains the failure are counted.
    With `note`, which test catches each mutant is written down for the next time; of slow mutants, which does so soonest.
    Closes the zygote.
    """
    good, stale, why = True, [], ""
    broken = {module.id: absent for module in modules if (absent := _without_solution(module, course))}
    try:
        solved = {module.id for module in modules if module.id not in broken}
        stale = generated.sync(course.root, check=True, modules=solved).paths
    except generated.GenerationError as error:
        why = str(error)

    def use(suites: Suites) -> None:
        nonlocal good
        zygote.wait()
        for module in modules:
            problems = [] if (module.folder / "README.md").is_file() else [f"handout: exercises/{module.id}/README.md is missing"]
            if module.id in broken:
                good &= _told(module, "cannot be proved", [*problems, *broken[module.id]], console, quiet)
                continue
            out_of_step = [path.name for path in stale if path.is_relative_to(module.folder)]
            problems += [f"stub: {name} is out of step with its solution: run `autograder sync`" for name in out_of_step]
            problems += [f"stub: {why}"] if why else []
            good &= _verify_module(module, suites, zygote, console, quiet, cheats, names, note, problems)

    try:
        open_suites(course, modules, use, broken)
    finally:
        zygote.close()
    return good


def _without_solution(module: Module, course: Course) -> list[str]:
    """A line for each solution that is missing of this module and of those that it builds on."""
    return [line for other in (*course.built_on(module), module) for line in generated.without_solution(other)]


def _verify_module(
    module: Module,
    suites: Suites,
    zygote: Zygote,
    console: Console,
    quiet: bool,
    cheats: bool,
    names: bool,
    note: bool,
    problems: list[str],
) -> bool:
    start = time.monotonic()
    problems = [*problems, *(f"manifest: {problem}" for problem in manifest_problems(module, suites))]
    try:
        checks = checks_of(module, suites, zygote, cheats, names, note)
    except (variants.VariantError, SyntaxError) as error:
        checks, problems = [], [*problems, str(error)]
    except FileNotFoundError as error:  # a stub: that it is out of step has been said
        checks, problems = [], problems or [str(error)]
    counts: dict[str, int] = {}
    caught_by: dict[str, str] = {}
    named = 0
    columns = (TextColumn(module.id), BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}"))
    progress = Progress(*columns, console=console, transient=True, auto_refresh=False, disable=not console.is_terminal)
    with progress:
        task = progress.add_task("", total=sum(len(check.names) for check in checks))
        with contextlib.suppress(variants.VariantError, SyntaxError):  # which are reported with their mutant
            for exercise in module.exercises if checks else ():
                byte_code(known_mistakes_of(module, exercise.name).right)  # made here, shared by the forks
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
                if finding.caught_by:
                    caught_by[name] = finding.caught_by
                if finding.problem:
                    label = f"{kind} {name}".strip()
                    problems.append(f"{label}: {finding.problem.removeprefix(f'{label}: ')}")
            progress.update(task, advance=len(findings), description=" ".join(proved[-1])[:60])
            progress.refresh()
    if note:
        caught.write(module, caught_by)
    summary = ", ".join(
        f"{counts.get(kind, 0)} {label}" for kind, label in
        (("mutant", f"mutants ({named} named)" if names else "mutants"), ("alternative", "alternatives"), ("cheat", "cheats"))
    )  # fmt: skip
    return _told(module, f"{summary}; {time.monotonic() - start:.1f} s", problems, console, quiet)


def _told(module: Module, summary: str, problems: list[str], console: Console, quiet: bool) -> bool:
    """Print a module's line and its problems beneath it. True when there is none."""
    if problems or not quiet:
        console.print(f"{'✗' if problems else '✓'} {module.id}: {summary}", highlight=False, markup=False, soft_wrap=True)
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
