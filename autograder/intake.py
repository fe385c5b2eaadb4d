"""A submission comes in: a folder, a zip, one .py file or one notebook becomes the text of the files that the course knows.

Nothing of it is run or extracted: for each file that the course names, a few known places are opened, and only
regular files of bounded size with UTF-8 text are taken. What is wrong with a submission is a sentence in
`SubmittedModule.problem`, never an exception; only a wrong command line is a `UsageError`.
"""

from __future__ import annotations

import codecs
import hashlib
import heapq
import io
import json
import os
import re
import stat
import tokenize
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from autograder.course import Course, Module
from autograder.notebook import NOTEBOOK_BYTES, module_text, yields_to_notebook
from autograder.sources import FILE_BYTES, Refusal, Source, open_source, printable, size

SUBMISSION_BYTES = 4 * 1024 * 1024
NAME_LENGTH = 80
NAME_BYTES = 240  # file systems take 255
FOLDERS_LOOKED_AT, ARCHIVES_LOOKED_AT = 500, 20  # where a submission has no file of the course

_IMPORT_OF_SOLUTIONS = re.compile(r"^(\s*(?:from|import)\s+)solutions\b", re.MULTILINE)
_ASCII_SUPERSETS = {"ascii", "iso8859-1", "iso8859-15", "cp1252"}


class UsageError(Exception):
    """The command line is wrong: one line that says what to do."""


@dataclass(frozen=True)
class SubmittedModule:
    """One module as it was handed in: file name (as in `Module.files`) → text, or the problem that rejects it."""

    module: Module
    files: dict[str, str]
    problem: str | None = None


@dataclass(frozen=True)
class Submission:
    """What was accepted of one submission. `digest` is a SHA-256 over the accepted files and the problems."""

    name: str
    digest: str
    modules: tuple[SubmittedModule, ...]


def collect(path: Path, course: Course, modules: Sequence[Module] | None = None, name: str | None = None) -> Submission:
    """Take in the submission at `path`.

    A module's files are looked for at `exercises/NN_name/<file>`, `NN_name/<file>` and `<file>`, in this order; in a
    zip also inside its single top-level folder. Where a module's main file is absent, is a stub in which nothing is
    done yet, or was made from the notebook of that name, that notebook stands for it. Without `modules`, the modules
    that are absent are left out (all of them are reported if nothing was found); a module named in `modules` that is
    absent has a problem that says so.
    What lies in the course's own `solutions` is taken in `as_handed_in`; a link that leads there is refused.
    The submission's name is made from `path` unless `name` is given (see `name_all`).

    Raises:
        UsageError: nothing is at `path`, it is of no known kind, or it is one file of an unknown module.
    """
    path = Path(path)
    ids = {module.id for module in modules or course.modules}
    wanted = [module for module in course.modules if module.id in ids]
    kind = _kind(path)
    single = _module_of(path, course, modules, kind) if kind in ("py", "ipynb") else None
    try:
        with open_source(path, kind, single[1] if single else "") as source:
            found = _read_modules(source, wanted)
        if Path(os.path.realpath(path)).is_relative_to(os.path.realpath(course.root / "solutions")):
            if os.path.islink(os.path.normpath(path)):
                raise Refusal("this submission is a link to the course's solutions: hand in files of your own.")
            found = [replace(item, files={file: as_handed_in(text) for file, text in item.files.items()}) for item in found]
        present = [item for item in found if item.files or item.problem]
        instead = "" if present else _instead(path, kind, wanted)
        if not present and not modules:
            raise Refusal(f"no file of this course is in this submission. For one, {_where(wanted[0])}{instead}")
        taken = [
            item if item.files or item.problem else replace(item, problem=f"{_where(item.module, 'is missing: it')}{instead}")
            for item in (found if modules else present)
        ]
    except Refusal as refusal:
        taken = [SubmittedModule(module, {}, str(refusal)) for module in wanted]
    except Exception as error:
        sentence = f"this submission could not be read ({type(error).__name__}): hand it in again."
        taken = [SubmittedModule(module, {}, sentence) for module in wanted]
    return Submission(name=name or _name(path), digest=_digest(taken), modules=tuple(taken))


def _instead(path: Path, kind: str, modules: Sequence[Module]) -> str:
    """A sentence on the folders and archives below in which files of the course lie, or else on the Python files and notebooks
    that have names of their own; empty where there are none, or none were seen."""
    found: list[tuple[str, str]] = []
    others: list[str] = []
    todo, left = [("", 0)] if kind == "folder" else [], {"folder": FOLDERS_LOOKED_AT, "zip": ARCHIVES_LOOKED_AT}
    for name, depth in todo:
        for below, what in _what_lies_in(path, name):
            if what not in left:
                others += [printable(below)] if depth == 0 else []
                continue
            left[what] -= 1
            if left[what] >= 0 and _has_some(path / below, what, modules):
                found.append((printable(below), what))
            elif depth == 0 and what == "folder":
                todo.append((below, 1))
    if not found:
        return f" It has {_listed(others)}, which the course does not know." if others else ""
    kinds = {what for _, what in found}
    noun = "folder" if kinds == {"folder"} else "archive" if kinds == {"zip"} else "folders and archive"
    if len(found) == 1:
        return f" Its {noun} {found[0][0]} has some: hand that in."
    return f" Its {noun}s {_listed([name for name, _ in found])} have some: hand in each."


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _what_lies_in(path: Path, name: str) -> list[tuple[str, str]]:
    """The folders, archives, Python files and notebooks in that folder of the submission, links left out: each as a path in the
    submission, and its kind."""
    try:
        with os.scandir(path / name) as entries:
            some = heapq.nsmallest(FOLDERS_LOOKED_AT, entries, key=lambda entry: entry.name)
            plain = [(os.path.join(name, entry.name), entry) for entry in some if not entry.is_symlink()]
            kinds = [(below, "folder" if entry.is_dir() else below.rpartition(".")[2].lower()) for below, entry in plain]
            return [(below, what) for below, what in kinds if what in ("folder", "zip", "py", "ipynb")]
    except OSError:
        return []


def _has_some(place: Path, kind: str, modules: Sequence[Module]) -> bool:
    try:
        with open_source(place, kind) as source:
            return any(_find(source, module, module.main_file, 0) is not None for module in modules)
    except Refusal:
        return False


def as_handed_in(text: str) -> str:
    """A solution's text as a student would hand it in: it builds on `exercises`, not on `solutions`."""
    return _IMPORT_OF_SOLUTIONS.sub(r"\1exercises", text)


def name_all(paths: Sequence[Path]) -> list[str]:
    """Unique names for many submissions, in the order of `paths`.

    A name that several share gets its parent folder's name in front, and, where that is not enough, `-2`, `-3`, …
    Names that differ only in upper and lower case count as the same, as they do in some file systems.
    """
    plain = [_name(Path(path)) for path in paths]
    count = Counter(name.casefold() for name in plain)
    names: list[str | None] = [name if count[name.casefold()] == 1 else None for name in plain]
    used = {name.casefold() for name in names if name is not None}
    for index, (path, name) in enumerate(zip(paths, plain)):
        if names[index] is not None:
            continue
        parent = os.path.basename(os.path.dirname(os.path.abspath(path)))
        longer = clean_name(f"{parent}-{name}")
        unique, number = longer, 1
        while unique.casefold() in used:
            number += 1
            ending = f"-{number}"
            unique = _cut(longer, len(ending)) + ending
        names[index] = unique
        used.add(unique.casefold())
    return [name for name in names if name is not None]


def clean_name(text: str) -> str:
    """`text` as a file name of letters and digits of any script, `.`, `_` and `-`, the first none of `.` and `-`.

    It has 1 to 80 characters and at most 240 bytes, and one form for each text that looks the same (Unicode's NFC).
    """
    text = unicodedata.normalize("NFC", text)
    kept = "".join(c if c in "._-" or unicodedata.category(c)[0] in "LMN" else " " for c in text)
    return _cut(re.sub(" +", "-", kept).lstrip(".-")).rstrip(".-") or "submission"


def _cut(name: str, room: int = 0) -> str:
    """As much of the beginning of a name as is allowed, less some room."""
    return name[: NAME_LENGTH - room].encode()[: NAME_BYTES - room].decode(errors="ignore")


def _name(path: Path) -> str:
    full = os.path.abspath(path)
    stem, suffix = os.path.splitext(os.path.basename(full))
    is_file = suffix.lower() in (".py", ".zip", ".ipynb") and not os.path.isdir(full)
    return clean_name(stem if is_file else stem + suffix)


def _kind(path: Path) -> str:
    """`"folder"`, `"zip"`, `"py"` or `"ipynb"`."""
    try:
        mode = os.lstat(path).st_mode
        if stat.S_ISDIR(mode) or (stat.S_ISLNK(mode) and os.path.isdir(path)):
            return "folder"
    except FileNotFoundError:
        raise UsageError(f"{printable(path)}: there is no such file or folder") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UsageError(f"{printable(path)}: cannot be reached: {reason}") from None
    if not stat.S_ISREG(mode) and not stat.S_ISLNK(mode):
        raise UsageError(f"{printable(path)}: is not a regular file; hand in a folder, a .zip, a .py file or a notebook")
    suffix = path.suffix.lower()
    if suffix not in (".zip", ".py", ".ipynb"):
        raise UsageError(f"{printable(path)}: is not a folder, a .zip, a .py file or a notebook (.ipynb)")
    return suffix[1:]


def _module_of(path: Path, course: Course, modules: Sequence[Module] | None, kind: str) -> tuple[Module, str]:
    """The module and the file that a lone .py file or a lone notebook stands for."""
    matches = [
        (module, file)
        for module in modules or course.modules
        for file in (module.files if kind == "py" else [notebook_of(module)])
        if PurePosixPath(file).stem == path.stem
    ]
    if modules and len(modules) == 1:
        return matches[0] if matches else (modules[0], modules[0].main_file if kind == "py" else notebook_of(modules[0]))
    if len(matches) == 1:
        return matches[0]
    ids = ", ".join(module.id for module in modules or course.modules)
    raise UsageError(f"{printable(path)}: which module is this? Name one with --module: {ids}")


def _read_modules(source: Source, modules: Sequence[Module]) -> list[SubmittedModule]:
    """Every module with what was found of it; neither files nor a problem where there was nothing."""
    room = SUBMISSION_BYTES
    found = []
    for module in modules:
        files, problem = {}, None
        try:
            for file in module.files:
                data = _find(source, module, file)
                text = None if data is None else text_of(file, data)
                if file == module.main_file and (text is None or yields_to_notebook(text, _in_main_file(module))):
                    text = _from_notebook(source, module) or text
                if text is not None:
                    files[file] = text
                    room -= len(text.encode())
                    if room < 0:
                        raise Refusal(f"{file}: the submission is larger than {size(SUBMISSION_BYTES)} in all.")
        except Refusal as refusal:
            files, problem = {}, str(refusal)
        found.append(SubmittedModule(module, files, problem))
    return found


def _find(source: Source, module: Module, file: str, limit: int = FILE_BYTES) -> bytes | None:
    places = (f"exercises/{module.id}/{file}", f"{module.id}/{file}", file)
    return next((data for place in places if (data := source.read(place, limit)) is not None), None)


def notebook_of(module: Module) -> str:
    """The file name of the notebook that may stand for the module's main file."""
    return str(PurePosixPath(module.main_file).with_suffix(".ipynb"))


def _from_notebook(source: Source, module: Module) -> str | None:
    """The main file's text as the module's notebook has it; None where there is no notebook."""
    name = notebook_of(module)
    data = _find(source, module, name, NOTEBOOK_BYTES)
    if data is None:
        return None
    return text_of(module.main_file, module_text(data, name, _in_main_file(module)).encode())


def _in_main_file(module: Module) -> list[str]:
    return [exercise.name for exercise in module.exercises if module.file_of(exercise) == module.main_file]


def text_of(file: str, data: bytes) -> str:
    """The file's text, without a byte-order mark. `Refusal` where it cannot be taken."""
    if len(data) > FILE_BYTES:
        raise Refusal(f"{file} is larger than {size(FILE_BYTES)}: keep data out of it.")
    if not data.removeprefix(codecs.BOM_UTF8).strip():
        raise Refusal(f"{file} is empty: save your work into it and hand it in again.")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise Refusal(f"{file} is not UTF-8 text (line {line}): save it as UTF-8.") from None
    if "\0" in text:
        raise Refusal(f"{file} has a NUL character: save it as plain UTF-8 text.")
    try:
        declared = tokenize.detect_encoding(io.BytesIO(data).readline)[0]
        same = declared.startswith("utf-8") or (text.isascii() and codecs.lookup(declared).name in _ASCII_SUPERSETS)
    except (SyntaxError, LookupError):
        same = False
    if not same:
        # Read in the declared encoding the file could say something else than what is checked here.
        raise Refusal(f"{file} declares another encoding in its first lines: save it as UTF-8 and drop that line.")
    return text


def _where(module: Module, then: str = "") -> str:
    file = module.main_file
    return f"{file}{then and ' '}{then} would be found as exercises/{module.id}/{file} or as {file}."


def _digest(modules: Sequence[SubmittedModule]) -> str:
    accepted = sorted(
        (item.module.id, file, hashlib.sha256(text.encode()).hexdigest()) for item in modules for file, text in item.files.items()
    )
    refused = sorted((item.module.id, item.problem) for item in modules if item.problem)
    return hashlib.sha256(json.dumps([accepted, refused]).encode()).hexdigest()
