"""`release.json`: what a release consists of, so that an upgrade knows the course's files from the student's."""

from __future__ import annotations

import ast
import hashlib
import json
import re
import zipfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Any

NAME = "release.json"
FORMAT = 1
RELEASE_BYTES = 512 * 1024 * 1024

_TODO = re.compile(r"^TODO: ")
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


class ReleaseError(Exception):
    """This is no release, or a damaged one; the message says what to do."""


@dataclass(frozen=True)
class Definition:
    """One function, class or constant of a stub: the SHA-256 of its text, and the signatures of it and of its methods."""

    text: str
    signatures: Mapping[str, str]


@dataclass(frozen=True)
class Manifest:
    """Everything that one release holds. `students` are the files that students write in, with what the stub defines."""

    course: str
    version: str
    modules: tuple[str, ...]
    solved: tuple[str, ...]
    left_out: tuple[str, ...]
    files: Mapping[str, str]
    students: Mapping[str, Mapping[str, Definition]]

    def to_json(self) -> str:
        """The text of `release.json`; the same for the same manifest."""
        return json.dumps({"format": FORMAT, **asdict(self)}, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


@dataclass(frozen=True)
class Part:
    """One top-level definition as it stands in a file: its lines (from 1, the last included), text, and what is unwritten."""

    first: int
    last: int
    text: str
    signatures: Mapping[str, str]
    unwritten: frozenset[str]

    def definition(self) -> Definition:
        """What a manifest says of it."""
        return Definition(digest(self.text.encode()), dict(self.signatures))


def digest(content: bytes) -> str:
    """SHA-256 in hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def parts_of(text: str) -> dict[str, Part]:
    """The top-level functions, classes and constants of a Python file, by name. Raises SyntaxError."""
    lines = text.split("\n")
    found = {}
    for node in ast.parse(text).body:
        if isinstance(node, (*_FUNCTIONS, ast.ClassDef)):
            first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
            signatures, unwritten = _functions(node)
            found[node.name] = Part(first, node.end_lineno, "\n".join(lines[first - 1 : node.end_lineno]), signatures, unwritten)
        elif name := assigned(node):
            text = "\n".join(lines[node.lineno - 1 : node.end_lineno])
            found[name] = Part(node.lineno, node.end_lineno, text, {}, frozenset())
    return found


def assigned(node: ast.stmt) -> str:
    """The name that an assignment gives a value to; empty for several names and for other statements."""
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    return targets[0].id if len(targets) == 1 and isinstance(targets[0], ast.Name) else ""


def parse(text: str | bytes, where: str) -> Manifest:
    """Read `release.json`; ReleaseError where it is not one."""
    try:
        content = json.loads(text)
        if content["format"] != FORMAT:
            raise ReleaseError(f"{where} has format {content['format']!r}, and this autograder reads {FORMAT}: update it first")
        files = {_plain_path(path, where): str(sha) for path, sha in content["files"].items()}
        students = {
            _plain_path(path, where): {name: Definition(d["text"], dict(d["signatures"])) for name, d in parts.items()}
            for path, parts in content["students"].items()
        }
        lists = {key: tuple(map(str, content[key])) for key in ("modules", "solved", "left_out")}
        return Manifest(course=str(content["course"]), version=str(content["version"]), files=files, students=students, **lists)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ReleaseError(f"{where} is damaged ({type(error).__name__}: {error}): get the release again") from error


def read_release(path: Path) -> tuple[Manifest, dict[str, bytes]]:
    """A release's manifest and files, from its folder or zip; each file is the one that the manifest lists.

    Raises:
        ReleaseError: it is no release, or a file is missing or differs.
    """
    if path.is_dir():
        if not (path / NAME).is_file():
            raise ReleaseError(f"{path} is no release: it has no {NAME}")
        manifest = parse((path / NAME).read_bytes(), f"{path / NAME}")
        contents = {name: _read(path, name) for name in manifest.files}
        contents[NAME] = (path / NAME).read_bytes()
    elif zipfile.is_zipfile(path):
        manifest, contents = _read_zip(path)
    else:
        raise ReleaseError(f"{path} is no release: name the folder or the zip that `autograder release` made")
    for name, sha in manifest.files.items():
        content = contents.get(name)
        if content is None or digest(content) != sha:
            raise ReleaseError(f"{path}: {name} is {'missing' if content is None else 'not as released'}: get it again")
    return manifest, contents


def installed(root: Path) -> Manifest:
    """The manifest of the release in this folder."""
    if not (root / NAME).is_file():
        raise ReleaseError(f"{root} was not made by `autograder release`: it has no {NAME}")
    return parse((root / NAME).read_bytes(), NAME)


def _read(root: Path, name: str) -> bytes | None:
    file = root / name
    return file.read_bytes() if file.is_file() and not file.is_symlink() else None


def _read_zip(path: Path) -> tuple[Manifest, dict[str, bytes]]:
    try:
        with zipfile.ZipFile(path) as archive:
            members = [member for member in archive.infolist() if not member.is_dir()]
            if sum(member.file_size for member in members) > RELEASE_BYTES:
                raise ReleaseError(f"{path} is too large for a release")
            tops = [m.filename for m in members if m.filename.count("/") <= 1 and m.filename.split("/")[-1] == NAME]
            if len(tops) != 1:
                raise ReleaseError(f"{path} is no release: it has no {NAME}")
            prefix = tops[0].removesuffix(NAME)
            contents = {m.filename.removeprefix(prefix): archive.read(m) for m in members if m.filename.startswith(prefix)}
    except ReleaseError:
        raise
    except Exception as error:  # every way of packing has its own: BadZipFile, zlib.error, LZMAError, EOFError, struct.error
        raise ReleaseError(f"{path} cannot be unpacked ({error}): get it again") from error
    manifest = parse(contents[NAME], f"{NAME} in {path}")
    return manifest, {name: content for name, content in contents.items() if name in manifest.files or name == NAME}


def _plain_path(path: Any, where: str) -> str:
    parts = PurePosixPath(path).parts
    odd = not parts or path.startswith("/") or ".." in parts or "\\" in path or ":" in path or str(PurePosixPath(path)) != path
    if odd or parts[0] == ".git" or path == NAME:
        raise ReleaseError(f"{where} names {path!r}, which no release holds: get the release again")
    return path


def _functions(node: ast.stmt, prefix: str = "") -> tuple[dict[str, str], frozenset[str]]:
    """The signatures of a definition and of what is defined in a class's body, and which of them are still to do."""
    name = f"{prefix}{node.name}"
    if isinstance(node, _FUNCTIONS):
        signature = f"({ast.unparse(node.args)})" + (f" -> {ast.unparse(node.returns)}" if node.returns else "")
        return {name: signature}, frozenset({name} if any(map(_is_todo, ast.walk(node))) else ())
    signatures = {name: f"({', '.join(map(ast.unparse, node.bases))})"}
    unwritten: frozenset[str] = frozenset()
    for child in node.body:
        if isinstance(child, (*_FUNCTIONS, ast.ClassDef)):
            inside, todo = _functions(child, f"{name}.")
            signatures |= inside
            unwritten |= todo
    return signatures, unwritten


def _is_todo(node: ast.AST) -> bool:
    if not (isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call) and node.exc.args):
        return False
    said = node.exc.args[0]
    return isinstance(said, ast.Constant) and isinstance(said.value, str) and bool(_TODO.match(said.value))
