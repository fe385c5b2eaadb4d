"""The public tests of some modules, run and remembered."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from autograder.course import Course, Module
from autograder.student.files import digest
from autograder.student.outcome import ModuleOutcome
from autograder.student.progress import Progress
from autograder.student.runs import Run, Starter, warm
from autograder.student.written import unwritten


def check(
    course: Course,
    modules: Sequence[Module],
    progress: Progress,
    told: Callable[[ModuleOutcome], None],
    begun: Callable[[Module], None] = lambda _: None,
    starter: Starter | None = None,
) -> list[ModuleOutcome]:
    """Run each module's public tests, remember what came of them, and tell it."""
    own = starter is None
    starter = starter or warm(modules)
    outcomes = []
    try:
        for module in modules:
            begun(module)
            before = digest(course, module)
            outcome = Run(course, module, starter).wait()
            progress.remember(outcome, before)
            outcomes.append(outcome)
            told(outcome)
    finally:
        if own:
            starter.close()
    return outcomes


def started(course: Course) -> list[Module]:
    """The modules in which at least one exercise is no stub any more; the first module when there is none."""
    return [m for m in course.modules if len(unwritten(m)) < len(m.exercises)] or [course.modules[0]]
