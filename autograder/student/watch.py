"""Run the public tests of what was saved, at once, and show the next exercise that does not pass."""

from __future__ import annotations

import ast
import select
from collections.abc import Sequence

from rich.console import Console

from autograder.course import Course, Module
from autograder.student import show
from autograder.student.files import Watched, digest
from autograder.student.keys import Keys
from autograder.student.outcome import ExerciseOutcome, ModuleOutcome
from autograder.student.progress import Progress
from autograder.student.runs import Run, Starter
from autograder.student.status import standing
from autograder.student.written import changed, definitions

LOOK_SECONDS = 0.1
SLOW_SECONDS = 1.5
KEYS = "h hint   r run again   q quit"


def watch(course: Course, modules: Sequence[Module], progress: Progress, console: Console, starter: Starter) -> None:
    """Until `q` or Ctrl-C. Begins with the first module that does not pass yet."""
    watched = Watched(course, modules)
    open_ones = [m for m in modules if not standing(course, m, progress).outcome.passed]
    with Keys() as keys:
        session = _Session(course, modules, progress, console, starter, keys.descriptor is not None)
        session.save([open_ones[0] if open_ones else modules[-1]])
        try:
            while True:
                waiting = [descriptor for descriptor in (keys.descriptor, session.words) if descriptor is not None]
                readable = select.select(waiting, [], [], LOOK_SECONDS)[0]
                if keys.descriptor in readable:
                    for key in keys.read():
                        if key in "qQ\x04":
                            return
                        session.press(key)
                session.step()
                if saved := watched.saved():
                    session.save(saved)
        finally:
            session.stop()


class _Session:
    """The run of the moment, those to come, and what is on the screen."""

    def __init__(
        self, course: Course, modules: Sequence[Module], progress: Progress, console: Console, starter: Starter, keys: bool
    ):
        self.course, self.progress, self.console, self.starter, self.keys = course, progress, console, starter, keys
        self.queue: list[Module] = []
        self.run: Run | None = None
        self.module = modules[0]
        self.focus = ""  # the exercise that is shown
        self.shown_early = False
        self.slow = ""  # the exercise that was said to take long
        self.before = ""
        self.texts: dict[str, dict[str, ast.stmt]] = {module.id: definitions(module) for module in modules}

    @property
    def words(self) -> int | None:
        """What to wait on for news of the run."""
        return self.run.words if self.run else None

    def save(self, modules: Sequence[Module]) -> None:
        """Test these now; a run of one of them is stopped and begun again."""
        if self.run and self.run.module in modules:
            self.stop()
        self.queue += [module for module in modules if module not in self.queue]
        self._next()

    def step(self) -> None:
        """Take in what the run says."""
        if not self.run:
            return
        self.run.poll()
        if not self.shown_early and not self.run.finished:
            self._show_early()
            self._show_slow()
        if self.run.finished:
            outcome = self.run.outcome()
            self.run = None
            self.progress.remember(outcome, self.before)
            self._show(outcome)
            self._next()

    def press(self, key: str) -> None:
        if key in "hH":
            self._hint()
        elif key in "rR":
            self.save([self.module])

    def stop(self) -> None:
        """End the run, if there is one."""
        if self.run:
            self.run.stop()
            self.run = None

    def _next(self) -> None:
        if self.run or not self.queue:
            return
        module = self.queue.pop(0)
        texts = definitions(module)
        edited = changed(self.texts[module.id], texts)
        self.texts[module.id] |= texts  # a file with a syntax error has no definitions: what it had is remembered
        if module != self.module:
            self.focus = ""
        if edited and self.focus not in edited:
            self.focus = edited[0]
        self.module = module
        self.shown_early = False
        self.slow = ""
        self.before = digest(self.course, module)
        self._heading(f"{module.id}: running the public tests")
        self.run = Run(self.course, module, self.starter, self.focus)

    def _show_early(self) -> None:
        """The first exercise that fails, before the others have run; a stub only if it is the one at hand."""
        results = (r for r in self.run.results if r.outcome == "failed" or r.outcome == "todo" and r.exercise == self.focus)
        decided = next(results, None)
        if decided is None:
            return
        self.shown_early = True
        outcome = self.run.outcome().next_exercise(decided.exercise)
        self.focus = outcome.name
        self._exercise(outcome)

    def _show_slow(self) -> None:
        exercise, seconds = self.run.at
        if exercise and seconds > SLOW_SECONDS and exercise != self.slow:
            self.slow = exercise
            show.line(self.console, f"{exercise}: still running. Is there a loop that never ends? It will be stopped.")

    def _show(self, outcome: ModuleOutcome) -> None:
        if self.progress.notice:
            show.line(self.console, (self.progress.notice, "yellow"))
            self.progress.notice = ""
        if self.keys:
            self._heading("")
        if self.keys or outcome.problem:
            show.module_lines(self.console, outcome)
        else:
            passed = sum(exercise.status == "passed" for exercise in outcome.exercises)
            show.line(self.console, f"{outcome.module.id}: {passed} of {len(outcome.exercises)} exercises pass")
        found = None if outcome.problem else outcome.next_exercise(self.focus)
        if found:
            if self.keys or not self.shown_early or found.name != self.focus:
                self._exercise(found)
            self.focus = found.name
        elif not outcome.problem:
            self._all_pass(outcome.module)
        if self.keys:
            show.line(self.console, (f"\n{KEYS}".strip(), "dim"))

    def _all_pass(self, module: Module) -> None:
        self.focus = ""
        show.line(self.console, (f"every exercise of {module.id} passes its public tests", "bold green"))
        later = [m for m in self.course.modules if m.number > module.number]
        unfinished = next((m for m in later if not standing(self.course, m, self.progress).outcome.passed), None)
        if unfinished:
            show.line(self.console, f"next: exercises/{unfinished.id}/README.md")

    def _exercise(self, outcome: ExerciseOutcome) -> None:
        exercise = self.module.exercise(outcome.name)
        self.console.print()
        if outcome.status == "failed":
            show.lesson(self.console, outcome)
        elif outcome.waits_for:
            show.line(self.console, (outcome.name, "bold"), f" waits: first finish {show.origin(outcome.waits_for)}")
        else:
            show.assignment(self.console, self.module, exercise)
        if not self.keys:
            show.line(self.console, f"hint: autograder hint {self.module.number} {outcome.name}")

    def _hint(self) -> None:
        if not self.focus:
            show.line(self.console, "there is no exercise on the screen to give a hint for")
            return
        exercise = self.module.exercise(self.focus)
        shown = self.progress.hints_shown(self.module, exercise.name)
        level = min(shown + 1, len(exercise.hints))
        show.hint(self.console, exercise, level)
        if level > shown:
            self.progress.hint_shown(self.module, exercise.name, level)
        if level == len(exercise.hints):
            show.line(self.console, ("    that was the last hint", "dim"))

    def _heading(self, text: str) -> None:
        if self.keys:
            self.console.clear()
        else:
            self.console.print()
        if text:
            show.line(self.console, (text, "dim"))
