"""The gate for every module: everything there is to prove about it, and a line of what came out."""

from __future__ import annotations

import contextlib
import json
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn

from autograder.authoring import caught, generated
from autograder.authoring.checks import Check, Finding, Scope, checks_of, close_workers
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
    scope: Scope,
    quiet: bool = False,
) -> bool:
    """Prove the modules and print a line for each, with every problem beneath it. True when there is none.

    With `scope.names`, the mutants whose own sentence explains the failure are counted. With `scope.note`, which test catches
    each mutant is written down for the next time; of slow mutants, which does so soonest. Closes the zygote.
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
        proofs = []
        for module in modules:
            problems = [] if (module.folder / "README.md").is_file() else [f"handout: exercises/{module.id}/README.md is missing"]
            if module.id in broken:
                proofs.append(_Proof(module, [*problems, *broken[module.id]], cannot_be=True))
                continue
            out_of_step = [path.name for path in stale if path.is_relative_to(module.folder)]
            problems += [f"stub: {name} is out of step with its solution: run `autograder sync`" for name in out_of_step]
            problems += [f"stub: {why}"] if why else []
            problems += [f"manifest: {problem}" for problem in manifest_problems(module, suites)]
            proofs.append(_Proof(module, problems))
        good = _prove(proofs, suites, zygote, console, scope, quiet)

    try:
        open_suites(course, modules, use, broken)
    finally:
        zygote.close()
    return good


def _without_solution(module: Module, course: Course) -> list[str]:
    """A line for each solution that is missing of this module and of those that it builds on."""
    return [line for other in (*course.built_on(module), module) for line in generated.without_solution(other)]


@dataclass
class _Proof:
    """One module's proof, before it begins, while it runs and when it is over."""

    module: Module
    problems: list[str]
    cannot_be: bool = False
    left: int | None = None  # findings, from when it begins
    begun: float = 0.0
    seconds: float = 0.0
    counts: Counter[str] = field(default_factory=Counter)
    named: int = 0
    caught_by: dict[str, str] = field(default_factory=dict)
    shown: TaskID | None = None

    @property
    def is_over(self) -> bool:
        return self.cannot_be or self.left == 0

    def begin(self, suites: Suites, zygote: Zygote, scope: Scope) -> list[list[Check]]:
        """Its checks, in batches."""
        self.begun = time.monotonic()
        checks: list[Check] = []
        try:
            checks = checks_of(self.module, suites, zygote, scope)
        except (variants.VariantError, SyntaxError) as error:
            self.problems.append(str(error))
        except FileNotFoundError as error:  # a stub: that it is out of step has been said
            self.problems = self.problems or [str(error)]
        with contextlib.suppress(variants.VariantError, SyntaxError):  # which are reported with their mutant
            for exercise in self.module.exercises if checks and scope.names else ():
                byte_code(known_mistakes_of(self.module, exercise.name).right)  # made here, shared by the forks
        self.left = sum(len(check.names) for check in checks)
        return _batches(checks)

    def add(self, proved: Sequence[tuple[str, str]], answer: bytes | Died) -> None:
        """What a batch's fork found out about these, each a kind and a name."""
        if isinstance(answer, Died):
            findings = [Finding(answer.why) for _ in proved]
        else:
            findings = [Finding(**found) for found in json.loads(answer)]
        for (kind, name), finding in zip(proved, findings, strict=True):
            self.counts[kind] += 1
            self.named += finding.named
            if finding.caught_by:
                self.caught_by[name] = finding.caught_by
            if finding.problem:
                label = f"{kind} {name}".strip()
                self.problems.append(f"{label}: {finding.problem.removeprefix(f'{label}: ')}")
        self.left -= len(proved)
        self.seconds = time.monotonic() - self.begun

    def summary(self, names: bool) -> str:
        """What was proved, in a line."""
        if self.cannot_be:
            return "cannot be proved"
        mutants = f"mutants ({self.named} named)" if names else "mutants"
        kinds = (("mutant", mutants), ("alternative", "alternatives"), ("cheat", "cheats"))
        return f"{', '.join(f'{self.counts[kind]} {label}' for kind, label in kinds)}; {self.seconds:.1f} s"


def _prove(proofs: Sequence[_Proof], suites: Suites, zygote: Zygote, console: Console, scope: Scope, quiet: bool) -> bool:
    """Run the proofs one after the other, the next one's first checks beside the last of the one before, and tell of each in
    this order.
    """
    columns = (TextColumn("{task.fields[module]}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}"))
    progress = Progress(*columns, console=console, transient=True, auto_refresh=False, disable=not console.is_terminal)
    begun: list[tuple[_Proof, list[tuple[str, str]]]] = []
    waiting = list(proofs)

    def tasks() -> Iterator[Callable[[int], bytes]]:
        for proof in proofs:
            if proof.cannot_be:
                continue
            batches = proof.begin(suites, zygote, scope)
            proof.shown = progress.add_task("", total=proof.left, module=proof.module.id)
            pages.settle()
            for batch in batches:
                begun.append((proof, [(check.kind, name) for check in batch for name in check.names]))
                yield partial(_answers, batch)

    def tell() -> None:
        while waiting and waiting[0].is_over:
            proof = waiting.pop(0)
            if proof.shown is not None:
                progress.remove_task(proof.shown)
            if scope.note:
                caught.write(proof.module, proof.caught_by)
            _told(proof.module, proof.summary(scope.names), proof.problems, console, quiet)

    with progress:
        for index, answer in in_forks(tasks(), AT_ONCE, lambda _: TASK_SECONDS):
            proof, proved = begun[index]
            proof.add(proved, answer)
            progress.update(proof.shown, advance=len(proved), description=" ".join(proved[-1])[:60])
            tell()
            progress.refresh()
        tell()
    return all(proof.is_over and not proof.problems for proof in proofs)


def _told(module: Module, summary: str, problems: list[str], console: Console, quiet: bool) -> None:
    """Print a module's line and its problems beneath it."""
    if problems or not quiet:
        console.print(f"{'✗' if problems else '✓'} {module.id}: {summary}", highlight=False, markup=False, soft_wrap=True)
        for problem in sorted(problems):
            console.print(f"    {problem}", highlight=False, markup=False, soft_wrap=True)


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
    try:
        return json.dumps([asdict(finding) for check in checks for finding in check.run(slot)]).encode()
    finally:
        close_workers()
