"""The zygote for a course. Make it first and import the rest of grading then: both take seconds, and so take them together."""

from __future__ import annotations

import gc

from autograder.course import Course
from autograder.worker.launch import Zygote

HIDDEN = ("autograder", "solutions", "exercises", "docs", "tests", "benchmarks")


def zygote_for(course: Course) -> Zygote:
    """A zygote (still warming up) that hides the course's folders from workers and preloads what modules ask for.

    Until `pages.settle()` this process collects no garbage: to look for it takes a third of the time in which suites are
    opened, and there is hardly any.
    """
    gc.disable()
    return Zygote([course.root / name for name in HIDDEN], sorted({name for module in course.modules for name in module.preload}))
