"""Where the bytes of a submission come from: a folder, a zip or one file, read without trust.

Nothing is listed, extracted or followed. A source is asked for one relative path at a time and opens at most that.
"""

from __future__ import annotations

import io
import os
import re
import stat
import zipfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path, PurePosixPath
from typing import Protocol

FILE_BYTES = 256 * 1024
ARCHIVE_BYTES = 32 * 1024 * 1024
ARCHIVE_MEMBERS = 10_000

_CENTRAL_HEADER = b"PK\x01\x02"
_OPEN = os.O_RDONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0)
_OPEN_ITSELF = _OPEN | getattr(os, "O_NOFOLLOW", 0)


class Refusal(Exception):
    """A sentence that says what is wrong with a submitted file and what to do about it."""


class Source(Protocol):
    def read(self, name: str, limit: int = FILE_BYTES) -> bytes | None:
        """At most `limit + 1` bytes of the regular file at the relative path `name`, or None if there is none."""


@contextmanager
def open_source(path: Path, kind: str, file: str = "") -> Iterator[Source]:
    """The submission at `path`, of kind `"folder"`, `"zip"` or else one file, which stands for the course's `file`.

    `Refusal` here means that nothing of the submission can be read; from `Source.read`, that one file cannot.
    """
    if kind not in ("folder", "zip"):
        yield _Single(path, file)
    elif kind == "zip":
        data = _read_regular(str(path), None, printable(path.name), ARCHIVE_BYTES)
        if len(data) > ARCHIVE_BYTES:
            raise Refusal(f"the archive is larger than {size(ARCHIVE_BYTES)}: zip only the files of your exercises.")
        yield _Archive(data)
    else:
        try:
            folder = os.open(path, _OPEN | os.O_DIRECTORY)
        except OSError as error:
            raise Refusal(f"the folder cannot be read ({error.strerror}).") from None
        try:
            yield _Folder(folder)
        finally:
            os.close(folder)


class _Single:
    """One file that stands for one file of the course."""

    def __init__(self, path: Path, file: str):
        self.path, self.file = path, file

    def read(self, name: str, limit: int = FILE_BYTES) -> bytes | None:
        return _read_regular(str(self.path), None, printable(self.path.name), limit) if name == self.file else None


class _Folder:
    """A folder, read through descriptors, so that no symbolic link below it is ever followed."""

    def __init__(self, descriptor: int):
        self.descriptor = descriptor

    def read(self, name: str, limit: int = FILE_BYTES) -> bytes | None:
        *folders, file = name.split("/")
        with ExitStack() as stack:
            place = self.descriptor
            for depth, folder in enumerate(folders, start=1):
                try:
                    mode = os.stat(folder, dir_fd=place, follow_symlinks=False).st_mode
                    if stat.S_ISLNK(mode):
                        raise Refusal(_is_a_link("/".join(folders[:depth])))
                    place = os.open(folder, _OPEN_ITSELF | os.O_DIRECTORY, dir_fd=place)
                except (FileNotFoundError, NotADirectoryError):
                    return None
                except OSError as error:
                    raise Refusal(f"{'/'.join(folders[:depth])} cannot be read ({error.strerror}).") from None
                stack.callback(os.close, place)
            try:
                return _read_regular(file, place, name, limit)
            except FileNotFoundError:
                return None


def _read_regular(path: str, folder: int | None, shown: str, limit: int) -> bytes:
    """At most `limit + 1` bytes of a regular file that is no link. A device or a pipe is never opened."""
    try:
        mode = os.stat(path, dir_fd=folder, follow_symlinks=False).st_mode
        if stat.S_ISREG(mode):
            with open(os.open(path, _OPEN_ITSELF, dir_fd=folder), "rb") as file:
                mode = os.fstat(file.fileno()).st_mode  # what was opened, should the entry have changed since
                if stat.S_ISREG(mode):
                    return file.read(limit + 1)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise Refusal(f"{shown} cannot be read ({error.strerror}).") from None
    if stat.S_ISLNK(mode):
        raise Refusal(_is_a_link(shown))
    raise Refusal(f"{shown} is {'a folder' if stat.S_ISDIR(mode) else 'no regular file'}: hand in a file of Python.")


def _is_a_link(shown: str) -> str:
    return f"{shown} is a symbolic link: hand in the file itself."


class _Archive:
    """A zip in memory. Only the members that are asked for are decompressed, and those only up to the limit."""

    def __init__(self, data: bytes):
        # The reader makes an object of every entry of the directory, so entries are counted before it starts.
        if data.count(_CENTRAL_HEADER) > ARCHIVE_MEMBERS:
            raise Refusal(f"the archive has over {ARCHIVE_MEMBERS} members: zip only the files of your exercises.")
        try:
            self.archive = zipfile.ZipFile(io.BytesIO(data))
            infos = self.archive.infolist()
        except Exception:
            raise Refusal("this is not a zip archive, or it is damaged: zip your files again.") from None
        self.members: dict[str, list[zipfile.ZipInfo]] = {}
        self.names: list[str] = []
        tops = set()
        for info in infos:
            name = info.orig_filename.removeprefix("./")
            _check_member_name(name)
            if _is_link(info) or not name.endswith("/"):
                self.members.setdefault(name.rstrip("/"), []).append(info)
            self.names.append(name)
            top = name.partition("/")[0]
            if top not in ("__MACOSX", ".DS_Store"):
                tops.add(top)
        top = tops.pop() if len(tops) == 1 else None
        self.prefixes = ("", f"{top}/") if top and self._is_folder(top) else ("",)

    def read(self, name: str, limit: int = FILE_BYTES) -> bytes | None:
        for prefix in self.prefixes:
            data = self._read(prefix + name, limit)
            if data is not None:
                return data
        return None

    def _read(self, name: str, limit: int) -> bytes | None:
        for parent in PurePosixPath(name).parents:
            if any(_is_link(info) for info in self.members.get(str(parent), ())):
                raise Refusal(_is_a_link(str(parent)))
        infos = self.members.get(name)
        if infos is None:
            if self._is_folder(name):
                raise Refusal(f"{name} is a folder: hand in a file of Python.")
            return None
        if len(infos) > 1:
            raise Refusal(f"{name} is in the archive {len(infos)} times: zip your files again.")
        info = infos[0]
        if _is_link(info):
            raise Refusal(_is_a_link(name))
        if stat.S_IFMT(info.external_attr >> 16) not in (0, stat.S_IFREG):
            raise Refusal(f"{name} is no regular file: hand in a file of Python.")
        if info.flag_bits & 0x1:
            raise Refusal(f"{name} is encrypted: zip your files without a password.")
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            # The other methods decompress without a bound on memory.
            raise Refusal(f"{name} is compressed in an unusual way: zip your files with the usual method (deflate).")
        if info.file_size > limit:
            return b" " * (limit + 1)
        try:
            with self.archive.open(info) as member:
                return member.read(limit + 1)
        except Exception:
            raise Refusal(f"{name} is damaged in the archive: zip your files again.") from None

    def _is_folder(self, name: str) -> bool:
        return any(each.startswith(f"{name}/") for each in self.names)


def _check_member_name(name: str) -> None:
    shown = ascii(name[:60])
    if "\\" in name:
        raise Refusal(f"the archive has a backslash in a path ({shown}): zip your files with '/' between folders.")
    if name.startswith("/") or re.match("[A-Za-z]:", name) or ".." in name.split("/") or "\0" in name:
        raise Refusal(f"the archive has a path that leads out of it ({shown}): zip your files again.")


def _is_link(info: zipfile.ZipInfo) -> bool:
    return stat.S_ISLNK(info.external_attr >> 16)


def size(count: int) -> str:
    """A number of bytes for people: `"256 KiB"`."""
    return f"{count // 1024} KiB" if count < 1024 * 1024 else f"{count // (1024 * 1024)} MiB"


def printable(path: Path | str) -> str:
    """A path from the command line, on one line and free of control characters."""
    return "".join(character if character.isprintable() else "?" for character in str(path))
