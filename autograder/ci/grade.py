"""Grade what was fetched. What a submission says goes into the result and nowhere else: a workflow obeys lines of its log."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from autograder.ci.fetched import read, submission
from autograder.course import Course
from autograder.grading.warm import zygote_for
from autograder.reports.results import Results, write


def grade_fetched(
    folders: Sequence[Path], out: Path, course: Course, require_sandbox: bool = True
) -> Iterator[tuple[Path, Results | None]]:
    """Grade the fetched modules of each folder, write `out/<the folder's name>/results.json`, and yield the results.

    None, and no file, where there is nothing to grade. GraderError, and no files, where the grader itself fails.
    """
    notes = [read(folder) for folder in folders]
    wanted = [(folder, note) for folder, note in zip(folders, notes, strict=True) if note.modules]
    graded: dict[Path, Results] = {}
    if wanted:
        taken = [submission(folder, note, course) for folder, note in wanted]
        zygote = zygote_for(course)
        try:
            from autograder.grading.grade import grade  # while the zygote warms up

            grade(course, taken, zygote, lambda at, results: graded.update({wanted[at][0]: results}), require_sandbox)
        finally:
            zygote.close()
    for folder in folders:
        if folder in graded:
            write(graded[folder], out / folder.name / "results.json")
        yield folder, graded.get(folder)
