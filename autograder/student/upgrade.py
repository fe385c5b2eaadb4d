"""A newer release into a student's checkout: the course's files are renewed, the student's work stays.

A file is the student's where it differs from what the old release brought. Files that students write in keep their
definitions; those that nobody has touched yet, and new ones, come from the new stub. Everything is decided before
anything is written; what is replaced or removed goes into a backup folder first, and a failure puts it back. All that is
new is on the disk before the first file takes its place. The command line comes after the files that it needs, and
`release.json` last, so that an upgrade that was cut off is finished by running it again.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from autograder.student.manifest import NAME, Definition, Manifest, digest, installed, read_release
from autograder.student.merging import Refused, merge

BACKUPS = Path(".autograder") / "backup"
COMMAND_LINE = "autograder/cli.py"
SET_UP = ("constraints.txt", "pyproject.toml")


class NotPutBack(OSError):
    """The upgrade failed, and then some of the files could not be put back: the message names them and the backup."""


@dataclass
class Plan:
    """What an upgrade does: new contents by path (None removes), files kept as the student has them, and what to say."""

    contents: dict[str, bytes | None] = field(default_factory=dict)
    aside: dict[str, bytes] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)


def upgrade(root: Path, release: Path) -> tuple[Plan, Path | None]:
    """Bring the checkout `root` to the release; returns what was done and the backup folder (None if it was not needed).

    Raises:
        ReleaseError: `release` is no sound release, or `root` was not made by one.
        Refused: a signature changed under written code, or a new file would take the place of one of the student's.
        OSError: something cannot be read or written; all is as it was, except what a NotPutBack names.
    """
    old = installed(root)
    new, contents = read_release(release)
    plan = plan_upgrade(root, old, new, contents)
    if plan.reasons:
        raise Refused(plan.reasons)
    if not plan.contents.keys().isdisjoint(SET_UP):
        plan.notes.append("the packages that the course needs have changed: run `make setup`")
    if not plan.contents and (root / NAME).read_bytes() == contents[NAME]:
        return plan, None
    return plan, _apply(root, plan, contents[NAME])


def plan_upgrade(root: Path, old: Manifest, new: Manifest, contents: Mapping[str, bytes]) -> Plan:
    """What would be done, decided from three states of each file: as released then, as it is here, as released now."""
    plan = Plan()
    for path in sorted({*old.files, *new.files}):
        target = root / path
        if _through_a_link(root, path):
            plan.reasons.append(f"{path} lies behind a symbolic link: put a plain file or folder there and upgrade again")
            continue
        here = target.read_bytes() if target.is_file() else None
        before, now, is_now = old.files.get(path), new.files.get(path), None if here is None else digest(here)
        if now and (found := _in_the_way(root, path)):
            plan.reasons.append(f"{found} is in the way of the course's {path}: move it elsewhere and upgrade again")
            continue
        if is_now == now or (before == now and here is not None):
            continue  # it is there already, or the course has not changed it
        if here is None or is_now == before:
            plan.contents[path] = contents.get(path) if now else None
        elif before is None:
            plan.reasons.append(f"{path} is yours, and the release brings a file of that name: rename yours and upgrade again")
        elif path in old.students:
            _students_file(plan, path, here, old.students[path], contents.get(path) if now else None)
        else:
            plan.contents[path] = contents[path] if now else None
            plan.notes.append(f"{path}: replaced; your changed one is in the backup")
    return plan


def _students_file(plan: Plan, path: str, here: bytes, old: Mapping[str, Definition], stub: bytes | None) -> None:
    """A file that the student has worked in and the course has changed."""
    if stub is None:
        plan.notes.append(f"{path}: kept, though the course no longer has it")
    elif not path.endswith(".py"):
        plan.aside[path] = stub
        plan.notes.append(f"{path}: kept as you have it; the course's new one lies in the backup folder, under new/")
    else:
        try:
            mine = here.decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")  # as Python has it
            merged, notes = merge(mine, old, stub.decode(), path)
        except SyntaxError as error:
            plan.reasons.append(f"{path}, line {error.lineno}: Python cannot read this ({error.msg}); mend it and upgrade again")
        except ValueError as error:
            plan.reasons.append(f"{path}: Python cannot read this file ({error}); mend it and upgrade again")
        except Refused as refused:
            plan.reasons += refused.reasons
        else:
            plan.notes += notes
            plan.aside[path] = stub
            if merged.encode() != here:
                plan.contents[path] = merged.encode()


def _through_a_link(root: Path, path: str) -> bool:
    target = root / path
    return any(part.is_symlink() for part in (target, *target.parents) if part != root and part.is_relative_to(root))


def _in_the_way(root: Path, path: str) -> str:
    """A folder where the file should be, or a file where a folder above it should be; empty if there is neither."""
    folders = [str(folder) for folder in PurePosixPath(path).parents]
    wrong = [name for name in folders if (root / name).exists() and not (root / name).is_dir()]
    wrong += [path] if (root / path).exists() and not (root / path).is_file() else []
    return wrong[0] if wrong else ""


def _apply(root: Path, plan: Plan, manifest: bytes) -> Path:
    backup = _new_folder(root / BACKUPS)
    touched = {**plan.contents, NAME: manifest}
    for path, stub in plan.aside.items():
        _save(backup / "new" / path, stub)
    had = [path for path in touched if (root / path).is_file()]
    for path in had:
        (backup / "old" / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(root / path, backup / "old" / path)

    def turn(path: str) -> tuple[bool, ...]:
        """New files first, which those that need them follow; what is removed is needed until the end."""
        return path == NAME, touched[path] is None, path in had, path == COMMAND_LINE

    done: list[str] = []
    try:
        for path, content in touched.items():
            if content is not None:
                _save(_part(root / path), content)
        for path in sorted(touched, key=turn):
            done.append(path)
            if touched[path] is None:
                (root / path).unlink(missing_ok=True)
            else:
                _part(root / path).replace(root / path)
    except BaseException as error:
        lost = [path for path in reversed(done) if not _put_back(root / path, backup / "old" / path)]
        for path in touched:
            with suppress(OSError):
                _part(root / path).unlink(missing_ok=True)
        _remove_empty_folders(root, [path for path in touched if path not in had])
        if lost:
            raise NotPutBack(f"{error}; not put back, but kept in {backup / 'old'}: {', '.join(lost)}") from error
        raise
    _remove_empty_folders(root, [path for path, content in plan.contents.items() if content is None])
    return backup


def _put_back(target: Path, kept: Path) -> bool:
    try:
        if not kept.is_file():
            target.unlink(missing_ok=True)
        elif not target.is_file() or target.read_bytes() != kept.read_bytes():
            shutil.copy2(kept, _part(target))
            _part(target).replace(target)
    except OSError:
        return False
    return True


def _new_folder(parent: Path) -> Path:
    parent.mkdir(parents=True, exist_ok=True)
    number = 1
    while True:
        try:
            (parent / str(number)).mkdir()
            return parent / str(number)
        except FileExistsError:
            number += 1


def _part(target: Path) -> Path:
    """Where a file is written before it takes its place."""
    return target.with_name(f".{target.name}.part")


def _save(target: Path, content: bytes) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(content)


def _remove_empty_folders(root: Path, removed: list[str]) -> None:
    for path in removed:
        for folder in (root / path).parents:
            try:
                if folder == root:
                    break
                folder.rmdir()
            except OSError:  # it is not empty, or is gone
                break
