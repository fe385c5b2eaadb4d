"""The student's commands: status, check, hint, watch."""

from __future__ import annotations

import json as json_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from autograder.course import Course, CourseError, Exercise, Module, load_course
from autograder.intake import UsageError

if TYPE_CHECKING:
    from autograder.student.outcome import ModuleOutcome
    from autograder.student.progress import Progress

CourseOption = typer.Option(
    "--course", help="The course's folder, if it is not the one with this package.", show_default=False
)
BegunArgument = typer.Argument(metavar="[MODULE]...", help="All that you have begun when none is named.", show_default=False)
WatchedArgument = typer.Argument(metavar="[MODULE]...", help="All of them when none is named.", show_default=False)
ExerciseArgument = typer.Argument(metavar="[EXERCISE]", help="The next one that does not pass, if left out.")
COURSE = Annotated[Path | None, CourseOption]
STATUS_COLUMNS = len("  ✓    10 of 10  100 of 100 points")


def status(
    module: Annotated[str | None, typer.Argument(metavar="[MODULE]", help="Show this module's exercises.")] = None,
    run: Annotated[bool, typer.Option("--run", help="Run the public tests of all modules that you have begun first.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print it as JSON.")] = False,
    course_folder: COURSE = None,
) -> None:
    """How you stand: modules, exercises, points, and what comes next. Runs nothing unless asked."""
    from autograder.student import show
    from autograder.student.check import check, started
    from autograder.student.status import as_data, next_step, standing

    course, progress, console = _open(course_folder)
    chosen = course.module(module) if module else None
    if run:
        check(course, [chosen] if chosen else started(course), progress, lambda _: None, _busy(console))
        _clear(console)
    standings = [standing(course, one, progress) for one in course.modules]
    if json:
        print(json_module.dumps(as_data(standings), indent=1))
        return
    _notice(console, progress)
    step = next_step(standings)
    shown = chosen or (step[0] if step else None)
    passed = sum(e.status == "passed" for one in standings for e in one.outcome.exercises)
    exercises = sum(len(one.outcome.exercises) for one in standings)
    in_reach = sum(one.outcome.points for one in standings)
    show.line(
        console, (f"{passed} of {exercises} exercises pass", "bold"),
        f", {in_reach} of {show.course_points(course)} points in reach",
    )  # fmt: skip
    width = max(len(one.module.id) for one in standings)
    unit = "" if console.is_terminal and console.width < width + STATUS_COLUMNS else " points"
    for one in standings:
        done = sum(e.status == "passed" for e in one.outcome.exercises)
        note = ""
        if one.outcome.problem:
            note = "could not be tested"
        elif one.stale:
            note = "changed since its last run"
        elif not one.ran and one.begun:
            note = "not run yet"
        mark, style = show.mark_of(console, "passed" if one.outcome.passed and not one.stale else "not run" if note else "todo")
        count = f"{done:2} of {len(one.outcome.exercises):2}  {one.outcome.points:3} of {show.points(one.module)}{unit}"
        show.line(
            console, (f"  {mark:2} ", style), f"{one.module.id:{width}}  {count}", (f"  {note}" if note else "", "yellow"), hang=7
        )  # fmt: skip
    if shown:
        console.print()
        found = next(one for one in standings if one.module == shown)
        show.module_lines(console, found.outcome)
        if found.stale:
            show.line(console, ("  files have changed since the last run: ", "yellow"), f"autograder check {shown.number}")
    console.print()
    if step:
        show.assignment(console, *step)
        show.line(console, f"    autograder watch {step[0].number}     autograder hint {step[0].number} {step[1].name}")
    else:
        show.line(console, ("Every exercise of the course passes its public tests.", "bold green"))


def check(
    modules: Annotated[list[str] | None, BegunArgument] = None,
    course_folder: COURSE = None,
) -> None:
    """Run the public tests and say what they found. Exit status 1 unless every exercise passes."""
    from autograder.student.check import check as run_check
    from autograder.student.check import started

    course, progress, console = _open(course_folder)
    chosen = list(dict.fromkeys(course.module(key).id for key in modules)) if modules else [m.id for m in started(course)]
    told = lambda outcome: (_clear(console), _report(console, outcome))  # noqa: E731
    outcomes = run_check(course, [course.module(key) for key in chosen], progress, told, _busy(console))
    _notice(console, progress)
    raise typer.Exit(0 if all(outcome.passed for outcome in outcomes) else 1)


def hint(
    module: Annotated[str, typer.Argument(metavar="MODULE", help="A module: 01, its folder or its file's name.")],
    exercise: Annotated[str | None, ExerciseArgument] = None,
    again: Annotated[bool, typer.Option("--again", help="Show the hints that you have seen, and no new one.")] = False,
    course_folder: COURSE = None,
) -> None:
    """One more hint for an exercise: a nudge first, then the idea, then nearly the code."""
    from autograder.student import show

    course, progress, console = _open(course_folder)
    chosen, wanted = _exercise(course, progress, module, exercise)
    shown = min(progress.hints_shown(chosen, wanted.name), len(wanted.hints))
    if again and not shown:
        raise UsageError(f"you have seen no hint for {wanted.name} yet: autograder hint {chosen.number} {wanted.name}")
    if again:
        levels = range(1, shown + 1)
    else:
        levels = [min(shown + 1, len(wanted.hints))]
        if levels[0] > shown:
            progress.hint_shown(chosen, wanted.name, levels[0])
    for level in levels:
        show.hint(console, wanted, level)
    if levels[-1] == len(wanted.hints):
        show.line(console, (f"There is no further hint. The handout has the formulas: exercises/{chosen.id}/README.md", "dim"))
    else:
        show.line(console, ("For the next one, ask again.", "dim"))
    _notice(console, progress)


def watch(
    modules: Annotated[list[str] | None, WatchedArgument] = None,
    course_folder: COURSE = None,
) -> None:
    """Run the public tests of what you save, as you save it, and show the next exercise that does not pass."""
    from autograder.student.runs import warm
    from autograder.student.watch import watch as run_watch

    course, progress, console = _open(course_folder)
    wanted = {course.module(key).id for key in modules} if modules else {module.id for module in course.modules}
    chosen = [module for module in course.modules if module.id in wanted]
    console.print("loading PyTorch; then what you save in exercises/ is tested. Ctrl-C ends.", style="dim", highlight=False)
    try:
        starter = warm(chosen)
        try:
            run_watch(course, chosen, progress, console, starter)
        finally:
            starter.close()
    except KeyboardInterrupt:
        pass
    _notice(console, progress)


def register(app: typer.Typer) -> None:
    """Add the student's commands."""
    for command in (status, check, hint, watch):
        app.command()(command)


def _open(course_folder: Path | None) -> tuple[Course, Progress, Console]:
    from autograder.student.progress import load_progress

    course = load_course(course_folder)
    return course, load_progress(course.root), Console()


def _exercise(course: Course, progress: Progress, key: str, name: str | None) -> tuple[Module, Exercise]:
    """The exercise that is meant; an exercise's name in place of the module's is understood where only one has it."""
    from autograder.student.status import standing

    try:
        module = course.module(key)
    except CourseError:
        owners = [one for one in course.modules if any(e.name == key for e in one.exercises)]
        if name is not None or len(owners) != 1:
            raise
        return owners[0], owners[0].exercise(key)
    if name is not None:
        return module, module.exercise(name)
    found = standing(course, module, progress).outcome.next_exercise()
    if found is None:
        raise UsageError(f"every exercise of {module.id} passes; name the one that you want a hint for")
    return module, module.exercise(found.name)


def _report(console: Console, outcome: ModuleOutcome) -> None:
    from autograder.student import show

    show.module_lines(console, outcome)
    failed = [exercise for exercise in outcome.exercises if exercise.status == "failed"]
    for exercise in [] if outcome.problem else failed:
        console.print()
        show.lesson(console, exercise)
    found = outcome.next_exercise()
    if found and not outcome.problem:
        console.print()
        module = outcome.module
        if found.waits_for:
            show.line(console, ("next: ", "bold"), f"{found.name} waits; first finish {show.origin(found.waits_for)}")
        else:
            show.assignment(console, module, module.exercise(found.name))
            show.line(console, f"    a hint: autograder hint {module.number} {found.name}")
    console.print()


def _notice(console: Console, progress: Progress) -> None:
    from autograder.student import show

    if progress.notice:
        show.line(console, (progress.notice, "yellow"))


def _busy(console: Console):
    """Says on a terminal what is being tested; without a thread, since processes with threads must not fork."""

    def begun(module: Module) -> None:
        if console.is_terminal:
            console.file.write(f"\r\x1b[2K{module.id}: running the public tests"[: console.width + 4])
            console.file.flush()

    return begun


def _clear(console: Console) -> None:
    if console.is_terminal:
        console.file.write("\r\x1b[2K")
        console.file.flush()
