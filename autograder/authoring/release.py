"""The student repository, made from the course: what a student needs, and nothing that only staff may see.

The same source gives the same bytes. A release appears whole or not at all: it is built beside its place, searched for
leaks, proved, and then moved there.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import tempfile
import tomllib
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import autograder
from autograder.authoring.closure import STAFF, needed_files
from autograder.authoring.generated import without_solution
from autograder.authoring.stubs import sync
from autograder.course import Course, Module
from autograder.intake import UsageError
from autograder.student.manifest import NAME, Definition, Manifest, ReleaseError, digest, parse, parts_of, read_release

HOUSE = Path(autograder.__file__).resolve().parent.parent
FILES = Path(__file__).parent / "release_files"
FOLDERS = ("exercises", "solutions", "autograder", "datasets", "docs", ".github")
STUDENT_DOCS = ("docs/students.md",)
COPIED = ("LICENSE", "constraints.txt")
TOP_FOLDER = "llms-from-scratch"  # inside the zip
ZIP_DATE = (2000, 1, 1, 0, 0, 0)
AUTHOR, EMAIL, DATE = "The course authors", "course@localhost", "2000-01-01T00:00:00+00:00"
STAFF_FOLDERS = ("benchmarks", "solutions", "tests")
CACHES = frozenset({"__pycache__", "node_modules"})


@dataclass(frozen=True)
class Selection:
    """Which modules a release holds, and of which it holds the solutions."""

    modules: tuple[Module, ...]
    solved: tuple[Module, ...] = ()


def select(course: Course, modules: str | None, solved: str | None) -> Selection:
    """The modules meant by `"00-06"`, `"00,03-05"`, a name; all of them, and no solutions, where nothing is said.

    Raises UsageError for an unknown module, for words that name none, and where a module is left out that another builds on.
    """
    chosen = course.modules if modules is None else _chosen(course, modules, "--modules")
    given = () if solved is None else _chosen(course, solved, "--with-solutions")
    for what, group in (("--modules", chosen), ("--with-solutions", given)):
        ids = {module.id for module in group}
        for module in group:
            for needed in module.requires:
                if needed not in ids:
                    raise UsageError(f"{what}: {module.id} builds on {needed}, which is not among them: add it")
    missing = [module.id for module in given if module not in chosen]
    if missing:
        raise UsageError(f"--with-solutions: {', '.join(missing)} is not in this release: add it to --modules")
    return Selection(tuple(chosen), tuple(given))


def contents_of(course: Course, selection: Selection) -> dict[str, bytes]:
    """Every file of the release by its path in it, `release.json` included.

    Raises:
        ReleaseError: a solution or a handout is missing, a stub is out of step, or the course holds a link.
        LeftOutError: something in it imports what it leaves out.
    """
    missing = [line for module in selection.modules for line in without_solution(module)]
    handouts = [f"exercises/{module.id}/README.md" for module in selection.modules]
    missing += [f"{path} is missing (the handout)" for path in handouts if not (course.root / path).is_file()]
    if missing:
        raise ReleaseError("; ".join(missing))
    stale = [path for path in sync(course.root, check=True) if any(path.is_relative_to(m.folder) for m in selection.modules)]
    if stale:
        names = ", ".join(path.relative_to(course.root).as_posix() for path in stale)
        raise ReleaseError(f"out of step with the solutions: {names}. Run `autograder sync` first")
    sources: dict[str, Path] = {"exercises/__init__.py": course.root / "exercises" / "__init__.py"}
    for module in selection.modules:
        sources |= _folder(module.folder, course.root)
    for module in selection.solved:
        sources["solutions/__init__.py"] = course.root / "solutions" / "__init__.py"
        found = _folder(module.solution_folder, course.root)
        sources |= {path: file for path, file in found.items() if file.name != "lesson.py"}
    if (course.root / "datasets").is_dir():
        sources |= _folder(course.root / "datasets", course.root)
    python = [file for path, file in sources.items() if path.endswith((".py", ".ipynb"))]
    sources |= {file.relative_to(HOUSE).as_posix(): file for file in needed_files(HOUSE, python)}
    sources |= {name: HOUSE / name for name in (*COPIED, *STUDENT_DOCS) if (HOUSE / name).is_file()}
    contents = {path: file.read_bytes() for path, file in sources.items()}
    for path, file in _folder(FILES, FILES, hidden=True).items():
        contents[path] = _filled(file.read_bytes(), course, selection)
    contents = dict(sorted(contents.items()))
    contents[NAME] = _manifest(course, selection, contents).to_json().encode()
    return contents


def write_folder(contents: dict[str, bytes], folder: Path) -> None:
    """The release as a folder."""
    for path, content in contents.items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
        target.chmod(0o644)


def write_zip(contents: dict[str, bytes], target: Path) -> None:
    """The release as a zip, not compressed: its bytes depend on nothing but the contents."""
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
        for path, content in sorted(contents.items()):
            member = zipfile.ZipInfo(f"{TOP_FOLDER}/{path}", ZIP_DATE)
            member.create_system, member.external_attr = 3, 0o100644 << 16
            archive.writestr(member, content)


def write_git(folder: Path, version: str) -> str:
    """Make the folder a repository of one commit, the same commit for the same files; returns its hash."""
    git(folder, "init", "--quiet", "--initial-branch=main", "--template=")
    git(folder, "add", "--all", "--force")
    git(folder, "commit", "--quiet", "--no-verify", "--message", f"The course as released, {version}")
    return git(folder, "rev-parse", "HEAD")


def git(folder: Path, *arguments: str) -> str:
    """Run git in the folder, untouched by anybody's configuration."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
    named = {f"GIT_{who}_{what}": v for who in ("AUTHOR", "COMMITTER") for what, v in _IDENTITY.items()}
    environment = {**kept, **named, "GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": os.devnull}
    settings = ["-c", "core.autocrlf=false", "-c", "commit.gpgsign=false", "-c", f"core.hooksPath={os.devnull}"]
    command = ["git", *settings, *arguments]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if done.returncode:
        raise ReleaseError(f"git {arguments[0]} failed: {done.stderr.strip()}")
    return done.stdout.strip()


_IDENTITY = {"NAME": AUTHOR, "EMAIL": EMAIL, "DATE": DATE}


def refuse_inside(out: Path, course: Course) -> None:
    """UsageError where `out` lies in one of the course's own folders, among what releases are made of."""
    place = Path(os.path.realpath(out))
    for folder in FOLDERS:
        if place.is_relative_to(os.path.realpath(course.root / folder)):
            raise UsageError(f"{out} lies in the course's own {folder}: name a folder elsewhere")


def refuse_to_lose(out: Path) -> None:
    """UsageError where `out` holds anything but an earlier release, just as it was made."""
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    if not (out / NAME).is_file():
        raise UsageError(f"{out} is not empty and no release: name a new folder")
    try:
        manifest = parse((out / NAME).read_bytes(), str(out / NAME))
    except ReleaseError as error:
        raise UsageError(f"{error}; or name a new folder") from error
    if (out / ".git").exists() and git(out, "log", "--all", "--format=%ae").split() != [EMAIL]:
        raise UsageError(f"{out} has a history of its own: make the release elsewhere and run `autograder upgrade` there")
    here = {path.relative_to(out) for path in out.rglob("*") if path.is_file() and ".git" not in path.relative_to(out).parts}
    for path in sorted(path.as_posix() for path in here):
        if path != NAME and manifest.files.get(path) != digest((out / path).read_bytes()):
            raise UsageError(f"{out} holds more than a release: {path} is new or has been changed. Name a new folder")


def refuse_to_lose_zip(archive: Path) -> None:
    """UsageError where `archive` is there and anything but the zip of an earlier release."""
    if not archive.exists():
        return
    try:
        if archive.is_dir():
            raise ReleaseError(f"{archive} is a folder")
        of_a_release = {f"{TOP_FOLDER}/{name}" for name in read_release(archive)[1]}
        with zipfile.ZipFile(archive) as file:
            more = sorted(set(file.namelist()) - of_a_release)
        if more:
            raise ReleaseError(f"{archive} holds more than a release, such as {more[0]}")
    except ReleaseError as error:
        raise UsageError(f"{error}, and the zip would take its place: move it elsewhere or name another OUT") from error


def move_there(built: Path, out: Path) -> None:
    """Put the built folder in the place of `out`, which is then as it was or as it is to be, never in between."""
    if out.exists():
        old = Path(tempfile.mkdtemp(prefix=f".{out.name}.old-", dir=out.parent))
        os.replace(out, old / out.name)
        try:
            os.replace(built, out)
        except BaseException:
            os.replace(old / out.name, out)
            raise
        finally:
            shutil.rmtree(old)
    else:
        os.replace(built, out)


def _chosen(course: Course, keys: str, option: str) -> tuple[Module, ...]:
    wanted: list[Module] = []
    for key in filter(None, (part.strip() for part in keys.split(","))):
        if span := re.fullmatch(r"([0-9]{1,2})-([0-9]{1,2})", key):
            first, last = (number.zfill(2) for number in span.groups())
            inside = [module for module in course.modules if first <= module.number <= last]
            if not inside:
                raise UsageError(f"there is no module from {first} to {last}")
            wanted += inside
        else:
            wanted.append(course.module(key))
    if not wanted:
        raise UsageError(f"{option} {keys!r}: names no module")
    return tuple(module for module in course.modules if module in wanted)


def _folder(folder: Path, root: Path, hidden: bool = False) -> dict[str, Path]:
    """The plain files under a folder by their path from `root`; hidden ones, caches and byte code left out."""
    found = {}
    for file in sorted(folder.rglob("*")):
        parts = file.relative_to(folder).parts
        if CACHES & set(parts) or file.suffix in (".pyc", ".part") or (not hidden and any(p.startswith(".") for p in parts)):
            continue
        if file.is_symlink():
            raise ReleaseError(f"{file.relative_to(root)} is a link: a release holds plain files only")
        if file.is_file():
            found[file.relative_to(root).as_posix()] = file
    return found


def _filled(template: bytes, course: Course, selection: Selection) -> bytes:
    """A file that releases have of their own, with the course's words in place of its `{{...}}`."""
    text = template.decode("utf-8")
    dependencies = tomllib.loads((HOUSE / "pyproject.toml").read_text(encoding="utf-8"))["project"]["dependencies"]
    first = selection.modules[0]
    words = {
        "{{name}}": course.settings.name,
        "{{version}}": autograder.__version__,
        '["{{dependencies}}"]': "[\n" + "".join(f"    {json.dumps(name)},\n" for name in dependencies) + "]",
        "{{modules}}": "\n".join(f"| `{module.id}` | {module.title} | {module.summary} |" for module in selection.modules),
        "{{solved}}": _solved(selection),
        "{{first}}": first.id,
        "{{first_number}}": first.number,
        "{{first_file}}": first.main_file,
        "{{first_notebook}}": f"{first.stem}.ipynb",
        "{{first_exercise}}": first.exercises[0].name,
    }
    for key, word in words.items():
        text = text.replace(key, word)
    return text.encode()


def _solved(selection: Selection) -> str:
    """The README's words on solutions; nothing where there are none."""
    if not selection.solved:
        return ""
    files = "\n".join(f"- `solutions/{module.id}/{name}`" for module in selection.solved for name in module.files)
    return (
        "\n## Solutions\n\nThese modules are over, and one good way to write each of their exercises is here. Compare it "
        f"with yours: your own files stay\nas they are, and later modules go on importing them.\n\n{files}\n"
    )


def _manifest(course: Course, selection: Selection, contents: dict[str, bytes]) -> Manifest:
    students: dict[str, dict[str, Definition]] = {}
    for module in selection.modules:
        for path in (f"exercises/{module.id}/{name}" for name in module.files):
            parts = parts_of(contents[path].decode("utf-8"))
            students[path] = {name: part.definition() for name, part in parts.items()}
        students |= {path: {} for path in contents if path.startswith(f"exercises/{module.id}/") and path.endswith(".ipynb")}
    return Manifest(
        course=course.digest(),
        version=autograder.__version__,
        modules=tuple(module.id for module in selection.modules),
        solved=tuple(module.id for module in selection.solved),
        left_out=tuple(_left_out(course, selection)),
        files={path: digest(content) for path, content in contents.items()},
        students=students,
    )


def _left_out(course: Course, selection: Selection) -> Iterable[str]:
    yield from (f"autograder/{name}" for name in STAFF if (HOUSE / "autograder" / name).is_dir())
    yield from (f"exercises/{module.id}" for module in course.modules if module not in selection.modules)
    yield from (name for name in STAFF_FOLDERS if name != "solutions" and (HOUSE / name).is_dir())
    yield from (f"solutions/{module.id}" for module in course.modules if module not in selection.solved)
