"""What was fetched of a pull request: the folder that goes from one job to the next, and the note that lies in it.

`FOLDER/fetched.json` says which commit and which modules, and what could not be taken; `FOLDER/exercises/NN_name/<file>` are the
files that the course names, as they are at that commit.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from autograder.course import Course, CourseError, Module
from autograder.intake import Submission, SubmittedModule, UsageError, clean_name, collect, text_of
from autograder.sources import printable

NOTE = "fetched.json"
NOTE_BYTES = 1024 * 1024

Sha = Annotated[str, Field(pattern="^[0-9a-f]{40}$")]
Sentence = Annotated[str, Field(max_length=300)]


class Fetched(BaseModel):
    """The note: a pull request at a commit, the modules to grade, and by module what kept a file from being taken."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    repository: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,100}/[A-Za-z0-9_.-]{1,100}$")]
    pull: Annotated[int, Field(gt=0)]
    sha: Sha
    modules: tuple[str, ...]
    problems: dict[str, Sentence]

    @property
    def name(self) -> str:
        """The submission's name: `owner-name-12`."""
        return clean_name(f"{self.repository.replace('/', '-')[-70:]}-{self.pull}")


def read(folder: Path) -> Fetched:
    """The note in the folder; `UsageError` where there is none or it is none."""
    path = folder / NOTE
    try:
        with path.open("rb") as file:
            text = file.read(NOTE_BYTES + 1)
        if len(text) <= NOTE_BYTES:
            return Fetched.model_validate_json(text)
        problem = "too large"
    except OSError as error:
        problem = error.strerror or "cannot be read"
    except ValidationError as error:
        problem = f"{error.error_count()} entries are wrong"
    raise UsageError(f"{printable(path)}: not what `autograder ci fetch` writes ({problem})")


def write(folder: Path, fetched: Fetched) -> None:
    """Write the note."""
    (folder / NOTE).write_text(fetched.model_dump_json(indent=2) + "\n", encoding="utf-8")


def modules_of(fetched: Fetched, course: Course) -> list[Module]:
    """The modules to grade, in course order; `CourseError` for one that the course does not have."""
    known = {module.id: module for module in course.modules}
    for name in (*fetched.modules, *fetched.problems):
        if name not in known:
            raise CourseError(f"fetched.json: no module {name!r} in this course")
    return [module for module in course.modules if module.id in fetched.modules]


def submission(folder: Path, fetched: Fetched, course: Course) -> Submission:
    """The files as a submission; a module of which a file could not be taken is rejected with that reason."""
    taken = collect(folder, course, modules_of(fetched, course), fetched.name)
    return replace(taken, modules=tuple(_with_problem(item, fetched.problems.get(item.module.id)) for item in taken.modules))


def as_notebooks(folder: Path, taken: Submission) -> set[str]:
    """The ids of the modules whose main file is not the one that was committed, but was made from the notebook."""
    found = set()
    for item in taken.modules:
        path = folder / "exercises" / item.module.id / item.module.main_file
        text = item.files.get(item.module.main_file)
        if text is not None and not (path.is_file() and text_of(item.module.main_file, path.read_bytes()) == text):
            found.add(item.module.id)
    return found


def _with_problem(item: SubmittedModule, problem: str | None) -> SubmittedModule:
    return replace(item, files={}, problem=problem) if problem else item
