"""From an nbgrader course folder to submissions, and from results to its gradebook and its `autograded/` folder.

`nbgrader autograde` runs a student's notebook beside the tests and with the instructor's rights. Here the submitted notebook
is only read: its exercises are graded in workers, scores go to the grade cells `check_<exercise>` and messages to the comments
of the solution cells, by nbgrader's own API. The autograded notebook is made of the submitted cells' texts alone, with the
cells that nbgrader locks as they were released, so formgrader, generate_feedback and export work on it as on any other.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from autograder.course import Course, CourseError, Module
from autograder.inert import block
from autograder.intake import Submission, SubmittedModule, UsageError, collect, name_all
from autograder.nbgrader.sheet import Released, autograded
from autograder.notebook import NOTEBOOK_BYTES, read_cells
from autograder.reports.results import ExerciseResult, ModuleResult, Results
from autograder.reports.visibility import visible
from autograder.sources import Refusal, open_source

if TYPE_CHECKING:
    from nbgrader.api import Gradebook, SubmittedNotebook
    from nbgrader.apps.baseapp import NbGrader

CHECK = "check_"
TIMESTAMP = "timestamp.txt"


@dataclass(frozen=True)
class Assignment:
    """An assignment as the gradebook has it: which of its notebooks are modules of the course."""

    app: NbGrader
    name: str
    notebooks: dict[str, Module]  # notebook name → module
    released: dict[str, tuple[Released, ...]]

    def folder(self, step: str, student: str) -> Path:
        """`submitted/<student>/<assignment>`, or wherever the course's nbgrader_config.py puts it."""
        directory = getattr(self.app.coursedir, f"{step}_directory")
        return Path(self.app.coursedir.format_path(directory, student, self.name))

    def gradebook(self) -> Gradebook:
        from nbgrader.api import Gradebook
        from sqlalchemy.exc import SAWarning

        warnings.simplefilter("ignore", SAWarning)  # of nbgrader's own order of steps, which a user can do nothing about
        return Gradebook(self.app.coursedir.db_url, self.app.coursedir.course_id)


def open_assignment(root: Path, name: str, course: Course, module: Module | None = None) -> Assignment:
    """Find the assignment in the gradebook of the nbgrader course at `root`.

    A notebook belongs to the module whose main file has its name; `module` says it for an assignment of one notebook that is
    called otherwise, and picks one notebook of several.

    Raises:
        UsageError: there is no such course or assignment, or it holds no exercises of this course.
    """
    from nbgrader.api import MissingEntry

    if not root.is_dir():
        raise UsageError(f"{root}: there is no such folder")
    app = _app(root)
    first = f"run `nbgrader generate_assignment {name}` in {root} first"
    database = re.fullmatch(r"sqlite:///(.+)", app.coursedir.db_url)
    if database and not Path(database[1]).is_file():
        raise UsageError(f"{database[1]}: there is no gradebook; {first}")
    assignment = Assignment(app, name, {}, {})
    with assignment.gradebook() as book:
        try:
            found = book.find_assignment(name)
        except MissingEntry:
            known = ", ".join(sorted(other.name for other in book.assignments)) or "none"
            raise UsageError(f"the gradebook has no assignment {name!r} (it has: {known}); {first}") from None
        for notebook in found.notebooks:
            if (of := _module_of(notebook.name, len(found.notebooks), course, module)) is not None:
                cells = _released(notebook)
                if not any(cell.name == CHECK + exercise.name for cell in cells for exercise in of.exercises):
                    raise UsageError(f"{notebook.name}.ipynb has no graded cell {CHECK}<exercise> of {of.id}: release it again")
                assignment.notebooks[notebook.name] = of
                assignment.released[notebook.name] = cells
        names = ", ".join(f"{notebook.name}.ipynb" for notebook in found.notebooks) or "none"
    if not assignment.notebooks:
        raise UsageError(f"none of the notebooks of {name} ({names}) is a module of this course: name one with --module")
    return assignment


def submissions(assignment: Assignment, course: Course) -> dict[str, Submission]:
    """Student → what was handed in, for every student with a folder; a notebook that is missing is a problem of its module."""
    students = _students(assignment)
    names = name_all([Path(student) for student in students])
    return {student: _submission(assignment, course, student, name) for student, name in zip(students, names, strict=True)}


def record(assignment: Assignment, student: str, results: Results, course: Course) -> None:
    """Write one student's scores and comments into the gradebook, and the notebooks into `autograded/`.

    What a grader entered by hand stays and is marked for review, as nbgrader does. Doing it again changes nothing.
    """
    shown = visible(results, course.settings.show_hidden)
    by_module = {module.id: module for module in shown.modules}
    timestamp = _timestamp(assignment, student)
    with assignment.gradebook() as book:
        book.update_or_create_student(student)
        book.update_or_create_submission(assignment.name, student, **({"timestamp": timestamp} if timestamp else {}))
        for notebook, module in assignment.notebooks.items():
            entry = book.find_submission_notebook(notebook, assignment.name, student)
            _score(book, entry, by_module[module.id])
            book.db.commit()
    target = assignment.folder("autograded", student)
    for notebook, module in assignment.notebooks.items():
        sheet = autograded(
            _submitted_cells(assignment, student, notebook),
            assignment.released[notebook],
            {CHECK + exercise.name: _report(by_module[module.id], exercise) for exercise in by_module[module.id].exercises},
        )
        _write(target / f"{notebook}.ipynb", sheet)
        _late_penalty(assignment, student, notebook)
    if timestamp:
        _write(target / TIMESTAMP, timestamp.encode())


def _app(root: Path) -> NbGrader:
    """nbgrader's configuration for this course: the user's, and the course's own nbgrader_config.py."""
    import logging

    from nbgrader.apps.baseapp import NbGrader
    from nbgrader.coursedir import CourseDirectory
    from traitlets.config import Application, Config

    app = NbGrader()
    app.load_cwd_config = False
    app.log_level = logging.ERROR
    app.load_config_file()
    Application.load_config_file(app, "nbgrader_config.py", path=str(root))
    app.update_config(Config({"CourseDirectory": {"root": str(root.resolve())}}))
    app.coursedir = CourseDirectory(parent=app)
    return app


def _module_of(notebook: str, of_how_many: int, course: Course, chosen: Module | None) -> Module | None:
    try:
        module = course.module(notebook)
    except CourseError:
        module = None
    if chosen is None or (module is not None and module.id == chosen.id):
        return module
    return chosen if of_how_many == 1 else None


def _released(notebook) -> tuple[Released, ...]:
    points = {cell.name: float(cell.max_score) for cell in [*notebook.grade_cells, *notebook.task_cells]}
    solutions, tasks = ({cell.name for cell in cells} for cells in (notebook.solution_cells, notebook.task_cells))
    return tuple(
        Released(
            name=cell.name, kind=cell.cell_type, source=cell.source or "", checksum=cell.checksum, locked=bool(cell.locked),
            solution=cell.name in solutions, task=cell.name in tasks, points=points.get(cell.name),
        )
        for cell in sorted(notebook.source_cells, key=lambda cell: cell.name)
    )  # fmt: skip


def _students(assignment: Assignment) -> list[str]:
    """The students with a folder for this assignment, found where nbgrader would find them."""
    mark = "\0"
    before, _, after = str(assignment.folder("submitted", mark)).partition(mark)
    if after and not after.startswith(os.sep):
        raise UsageError("CourseDirectory.directory_structure: {student_id} has to be a folder's whole name")
    folder = Path(before)
    entries = sorted(folder.iterdir()) if folder.is_dir() else []
    return [entry.name for entry in entries if not entry.name.startswith(".") and Path(f"{entry}{after}").is_dir()]


def _submission(assignment: Assignment, course: Course, student: str, name: str) -> Submission:
    folder = assignment.folder("submitted", student)
    items = [_handed_in(folder, notebook, module, course) for notebook, module in assignment.notebooks.items()]
    order = [module.id for module in course.modules]
    items.sort(key=lambda item: order.index(item[0].module.id))
    digest = hashlib.sha256("\n".join(digest for _, digest in items).encode()).hexdigest()
    return Submission(name=name, digest=digest, modules=tuple(item for item, _ in items))


def _handed_in(folder: Path, notebook: str, module: Module, course: Course) -> tuple[SubmittedModule, str]:
    path = folder / f"{notebook}.ipynb"
    try:
        regular = stat.S_ISREG(os.lstat(path).st_mode)
    except OSError:
        regular = False
    if not regular:
        return SubmittedModule(module, {}, f"{path.name} is missing: hand it in under this name."), ""
    taken = collect(path, course, [module])
    (item,) = taken.modules
    if item.problem or len(module.files) == 1:
        return item, taken.digest
    whole = collect(folder, course, [module])  # the module's other files lie beside the notebook
    (others,) = whole.modules
    files = others.files | item.files
    return (others if others.problem else SubmittedModule(module, files)), whole.digest + taken.digest


def _submitted_cells(assignment: Assignment, student: str, notebook: str) -> list:
    try:
        with open_source(assignment.folder("submitted", student), "folder") as source:
            data = source.read(f"{notebook}.ipynb", NOTEBOOK_BYTES)
        return read_cells(data, notebook) if data is not None else []
    except Refusal:
        return []


def _timestamp(assignment: Assignment, student: str) -> str | None:
    """The text of timestamp.txt where it is a time, and nothing where there is no such file; None for one that cannot be read."""
    from nbgrader.utils import parse_utc

    try:
        with open_source(assignment.folder("submitted", student), "folder") as source:
            data = source.read(TIMESTAMP, 100)
        text = (data or b"").decode().strip()
        return text if data is None or (text and parse_utc(text)) else None
    except (Refusal, ValueError, OverflowError):
        return None


def _score(book: Gradebook, entry: SubmittedNotebook, module: ModuleResult) -> None:
    from nbgrader.api import Grade

    exercises = {exercise.name: exercise for exercise in module.exercises}
    have = {grade.name for grade in entry.grades}
    for cell in entry.notebook.grade_cells:
        if cell.name not in have:  # the assignment was released again after this submission was first recorded
            book.db.add(Grade(cell_id=cell.id, notebook=entry))
    book.db.flush()
    for grade in entry.grades:
        exercise = exercises.get(grade.cell.name.removeprefix(CHECK)) if grade.cell.name.startswith(CHECK) else None
        grade.auto_score = exercise and exercise.score * grade.cell.max_score / exercise.max_score
        grade.needs_manual_grade = grade.auto_score is None or grade.manual_score is not None
    for comment in entry.comments:
        if exercise := exercises.get(comment.name):
            comment.auto_comment = _comment(module, exercise)


def _comment(module: ModuleResult, exercise: ExerciseResult) -> str | None:
    """What is said beside the solution: as code, for these words may be the submission's and nbgrader reads them as Markdown."""
    if exercise.status == "passed":
        return None
    if exercise.status == "todo":
        return "Not written yet."
    return block(module.message or exercise.message or "Not all tests pass.")


def _report(module: ModuleResult, exercise: ExerciseResult) -> str:
    """What stands below the exercise's graded cell: its score and its tests."""
    lines = [f"{exercise.name}: {exercise.score:g} of {exercise.max_score:g} points"]
    if module.status == "rejected":
        return "\n".join([*lines, module.message])
    for test in exercise.tests:
        lines.append(f"  {test.outcome:8} {test.title or test.name}")
        said = test.diagnosis or test.message
        if test.outcome != "passed" and said:
            lines += [f"           {line}" for line in said.splitlines()]
    return "\n".join(lines)


def _late_penalty(assignment: Assignment, student: str, notebook: str) -> None:
    from nbformat.v4 import new_notebook
    from nbgrader.preprocessors import AssignLatePenalties

    where = {"student": student, "assignment": assignment.name, "notebook": notebook, "db_url": assignment.app.coursedir.db_url}
    AssignLatePenalties(parent=assignment.app).preprocess(new_notebook(), {"nbgrader": where})


def _write(target: Path, content: bytes) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f".{target.name}.part")
    part.write_bytes(content)
    os.replace(part, target)


def without_time(assignment: Assignment, graded: Sequence[str]) -> list[str]:
    """Students whose timestamp.txt is there and is no time: when they handed in is not recorded."""
    return [student for student in graded if _timestamp(assignment, student) is None]


def unread(assignment: Assignment, graded: Sequence[str]) -> list[str]:
    """Students of the gradebook who have handed in nothing."""
    with assignment.gradebook() as book:
        return sorted(student.id for student in book.students if student.id not in graded)
