"""Grading as a command: progress while it runs, one results.json for each submission, tables in the order they were named."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from autograder.course import Course
from autograder.grading.grade import grade
from autograder.intake import Submission
from autograder.reports.console import show, show_summary
from autograder.reports.results import Results, to_json, write
from autograder.sources import printable
from autograder.worker.launch import Zygote


def grade_and_report(
    course: Course, submissions: Sequence[Submission], zygote: Zygote, out: Path, require_sandbox: bool, as_json: bool
) -> None:
    """Grade, write `out/<name>/results.json`, and print each result once all before it are printed. Closes the zygote."""
    console, errors = Console(), Console(stderr=True)
    results: dict[int, Results] = {}
    printed = 0
    columns = (TextColumn("grading"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    # No refreshing thread: this process forks, and a process that forks has one thread.
    progress = Progress(*columns, console=errors, transient=True, auto_refresh=False, disable=not errors.is_terminal)
    try:
        with progress:
            task = progress.add_task("grading", total=len(submissions))
            progress.refresh()

            def done(index: int, result: Results) -> None:
                nonlocal printed
                results[index] = result
                write(result, out / result.submission.name / "results.json")
                progress.advance(task)
                progress.refresh()
                while printed in results:
                    if as_json:
                        print(to_json(results[printed]), end="", flush=True)
                    else:
                        show(results[printed], console)
                    printed += 1

            grade(course, submissions, zygote, done, require_sandbox)
    except KeyboardInterrupt:
        _leave_no_empty_folders(out, [item.name for index, item in enumerate(submissions) if index not in results])
        print(f"{len(results)} of {len(submissions)} graded; results in {printable(out)}", file=sys.stderr)
        raise
    finally:
        zygote.close()
    if not as_json:
        show_summary([results[index] for index in sorted(results)], console)


def _leave_no_empty_folders(out: Path, names: Sequence[str]) -> None:
    """Of what was not graded this time; a result from before stays."""
    for name in names:
        with contextlib.suppress(OSError):
            (out / name).rmdir()
