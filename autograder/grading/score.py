"""From the outcomes of a module's tests to its result: pure functions, the same every time.

The manifest decides what counts: no worker can add a test by what it says, and a test without an outcome earns nothing.
"""

from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import TYPE_CHECKING

from autograder.grading.manifest import TestOutcome, TestSpec
from autograder.reports.results import ExerciseResult, ModuleResult, TestResult

if TYPE_CHECKING:
    from autograder.course import Exercise, Module

DID_NOT_RUN = TestOutcome("error", "did not run")
BROKEN = ("partial", "failed")
CORE_FIRST = "passed; its points count once the core tests of this exercise pass"


def score_module(
    module: "Module",
    manifest: Sequence[TestSpec],
    outcomes: Mapping[str, TestOutcome],
    *,
    breaches: Mapping[str, str] | None = None,
    rejected: str | None = None,
    substituted: Sequence[str] = (),
    built_on: Mapping[str, Sequence[str]] | None = None,
    tested_with: Mapping[str, Sequence[str]] | None = None,
) -> ModuleResult:
    """The result of one module.

    `outcomes` is by test name; what the manifest does not list is ignored. `breaches` gives, by exercise, the sentence
    that says which rule was broken: such an exercise earns nothing. `rejected` says why the module could not be
    run at all. `built_on` gives the other exercises that each one uses, `tested_with` those that its tests
    use: where one of those is broken, too, that is said first.
    Raises ValueError for a manifest that names a test twice, an exercise the module does not have, or
    points below zero.
    """
    _check(module, manifest)
    if rejected is not None:
        outcomes = {spec.name: TestOutcome("error", rejected) for spec in manifest}
        breaches = {}
    exercises = [
        _exercise(
            exercise,
            [(spec, outcomes.get(spec.name, DID_NOT_RUN)) for spec in manifest if spec.exercise == exercise.name],
            (breaches or {}).get(exercise.name),
            rejected is not None,
        )
        for exercise in module.exercises
    ]
    exercises = [
        _with_cause(exercise, exercises[:index], *((uses or {}).get(exercise.name, ()) for uses in (built_on, tested_with)))
        for index, exercise in enumerate(exercises)
    ]
    score, max_score = totals(exercises)
    return ModuleResult(
        id=module.id,
        status="graded" if rejected is None else "rejected",
        score=score,
        max_score=max_score,
        message=rejected or "",
        substituted=list(substituted),
        exercises=exercises,
    )


def totals(parts: Sequence[ExerciseResult] | Sequence[ModuleResult]) -> tuple[float, float]:
    """The sums of the scores and of the highest scores."""
    return round(sum(part.score for part in parts), 2), round(sum(part.max_score for part in parts), 2)


def _check(module: "Module", manifest: Sequence[TestSpec]) -> None:
    known, seen = {exercise.name for exercise in module.exercises}, set()
    for spec in manifest:
        if spec.name in seen:
            raise ValueError(f"{module.id}: two tests are called {spec.name}")
        if spec.exercise not in known:
            raise ValueError(f"{module.id}: {spec.name} is for {spec.exercise!r}, which is no exercise of this module")
        if not 0 <= spec.points < float("inf"):
            raise ValueError(f"{module.id}: {spec.name} has {spec.points} points")
        seen.add(spec.name)


def _exercise(
    exercise: "Exercise", tests: list[tuple[TestSpec, TestOutcome]], breach: str | None, rejected: bool
) -> ExerciseResult:
    core_passes = all(result.outcome == "passed" for spec, result in tests if spec.core)
    counts = core_passes and breach is None and not rejected
    worth = {spec.name: Fraction(spec.points) if spec.tier == "hidden" else Fraction(0) for spec, _ in tests}
    whole = sum(worth.values())
    # A suite whose points do not add up to the exercise's is scaled; `verify` reports it.
    worth = {name: points * Fraction(exercise.points) / whole if whole else points for name, points in worth.items()}
    earned = {spec.name: worth[spec.name] * (counts and result.outcome == "passed") for spec, result in tests}
    score = _rounded(sum(earned.values()))
    if rejected:
        status = "failed"
    elif breach is not None:
        status = "policy"
    else:
        status = _status(tests, score, exercise.points)
    return ExerciseResult(
        name=exercise.name,
        status=status,
        score=score,
        max_score=exercise.points,
        message="" if status == "todo" else breach or _first_advice(tests),
        tests=[
            TestResult(
                name=spec.name,
                title=spec.title,
                tier=spec.tier,
                outcome=result.outcome,
                points=_rounded(earned[spec.name]),
                max_points=_rounded(worth[spec.name]),
                message=_message(result, waits=breach is None and not core_passes and worth[spec.name] > 0),
                diagnosis=result.diagnosis,
                seconds=result.seconds,
            )
            for spec, result in tests
        ],
    )


def _with_cause(
    exercise: ExerciseResult, earlier: Sequence[ExerciseResult], used: Sequence[str], used_by_tests: Sequence[str]
) -> ExerciseResult:
    """The exercise; where an earlier one that it or its tests use is broken as well, with a word on that.

    Also where its own mistake seems to have a name: what follows from another's mistake can look like one of its own.
    """
    broken = [other.name for other in earlier if other.name in (*used, *used_by_tests) and other.status in BROKEN]
    if not broken or exercise.status not in BROKEN:
        return exercise
    names = " and ".join([", ".join(broken[:-1])] * (len(broken) > 1) + broken[-1:])
    own = [name in used for name in broken]
    who = f"{exercise.name} and its tests use" if any(own) else f"tests of {exercise.name} use"
    who = f"{exercise.name} uses" if all(own) else who
    first = f"Mend {names} first: {who} {'it' if len(broken) == 1 else 'them'}."
    return exercise.model_copy(update={"message": f"{first}\n{exercise.message}".strip()})


def _status(tests: list[tuple[TestSpec, TestOutcome]], score: float, points: float) -> str:
    outcomes = [result.outcome for _, result in tests]
    decisive = [result.outcome for spec, result in tests if spec.core] or outcomes
    if decisive and all(outcome == "todo" for outcome in decisive):
        return "todo"
    if score == points and all(outcome == "passed" for outcome in outcomes):
        return "passed"
    return "partial" if score > 0 else "failed"


def _message(result: TestOutcome, waits: bool) -> str:
    return CORE_FIRST if waits and result.outcome == "passed" else result.message


def _first_advice(tests: list[tuple[TestSpec, TestOutcome]]) -> str:
    """What a student should read first: a named mistake, else the first failure.

    Where core tests fail it is about these: a mistake that has a name may be the smaller one of two, and what a function
    that returns nothing does not refuse is not what has to be mended first.
    """
    missed = [(spec, result) for spec, result in tests if result.outcome != "passed"]
    missed = [(spec, result) for spec, result in missed if result.outcome != "todo"] or missed
    missed = [(spec, result) for spec, result in missed if spec.core] or missed
    named = [result.diagnosis for _, result in missed if result.diagnosis]
    said = [result.message for _, result in missed if result.message.strip()]
    return (named or said or [""])[0]


def _rounded(points: Fraction | int) -> float:
    return float(round(Fraction(points), 2))
