"""Every text that a file holds: as it stands, in comments and strings, in notebooks, archives, compressed or encoded.

What cannot be opened is said, too: a release holds nothing that cannot be checked.
"""

from __future__ import annotations

import base64
import binascii
import bz2
import gzip
import hashlib
import html
import io
import json
import lzma
import marshal
import re
import shutil
import subprocess
import tarfile
import types
import unicodedata
import urllib.parse
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

DEPTH = 8  # archives in archives
BYTES = 256 * 1024 * 1024  # of one release, unpacked

_ENCODED = re.compile(r"[A-Za-z0-9+/_-]{24,}(?:[\s\"'\\]+[A-Za-z0-9+/_-]{8,})*={0,2}")
_BASE85 = re.compile(r"[0-9A-Za-z!#$%&()*+;<=>?@^_`{|}~-]{60,}")
_HEX = re.compile(r"(?:[0-9a-fA-F]{2}[\s\"'\\:]*){32,}")
_ESCAPE = re.compile(r"\\(?:x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|([0-7]{3})|([nrt\"'\\]))")
_PLAIN_ESCAPES = {"n": "\r", "r": "\r", "t": "\t", '"': '"', "'": "'", "\\": "\\"}
_PRINTABLE = re.compile(rb"[\t\n\r\x20-\x7e]{12,}")
_COMMENT_MARK = re.compile(r"[#:!]*[ \t]?")
_STRING = re.compile(r"""\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])*'""")
_PROMPT = re.compile(r"^(?:>>> |\.\.\. |[>+|] )", re.MULTILINE)
_COLOUR = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_MARKUP = re.compile(r"</[a-zA-Z]|&(?:#\w+|lt|gt|amp|quot);")
_TAG = re.compile(r"</?[a-zA-Z][^<>\n]*>")
_BACKWARDS = re.compile(r"\b(?:nruter|tropmi|fed|rof)\b")
_ZLIB_STARTS = re.compile(rb"\x78[\x01\x5e\x9c\xda]|\x1f\x8b\x08|BZh[1-9]1AY|\xfd7zXZ\x00")
_STARTS_TRIED = 200
PYC_HEADER = 16


@dataclass(frozen=True)
class View:
    """A text found in a release. `code` is set where it was byte code; `problem` where it could not be opened."""

    place: str
    text: str = ""
    code: types.CodeType | None = None
    problem: str = ""


@dataclass
class Reader:
    """Reads files into views; the same bytes are read once, wherever they lie."""

    seen: set[bytes] = field(default_factory=set)
    left: int = BYTES

    def folder(self, root: Path) -> Iterator[View]:
        """The views of all files under `root`, plain files first, then archives, then git's objects."""
        files = sorted(path for path in root.rglob("*") if ".git" not in path.relative_to(root).parts)
        packed = {".zip", ".gz", ".tgz", ".tar", ".bz2", ".xz", ".whl"}
        for file in sorted(files, key=lambda path: path.suffix in packed):
            place = file.relative_to(root).as_posix()
            if file.is_symlink():
                yield View(place, problem="is a link; a release holds plain files only")
            elif file.is_file():
                yield from self.data(place, file.read_bytes())
        for repository in sorted(path for path in root.rglob(".git")):
            yield from self.git(repository, repository.relative_to(root).as_posix())

    def data(self, place: str, data: bytes, depth: int = 0) -> Iterator[View]:
        """The views of one file's content."""
        digest = hashlib.sha256(data).digest()
        if digest in self.seen:
            return
        self.seen.add(digest)
        self.left -= len(data)
        if self.left < 0 or depth > DEPTH:
            yield View(place, problem="holds more than can be checked: it is packed too deeply, or too large")
        elif place.endswith((".pyc", ".pyo")):
            yield from _byte_code(place, data)
        elif data[:4] == b"PK\x03\x04" or data[:4] == b"PK\x05\x06":
            yield from self._zip(place, data, depth)
        elif (plain := _decompressed(data, self.left)) is not None:
            yield from self.data(f"{place} (unpacked)", plain, depth + 1)
        elif data[257:262] == b"ustar":
            yield from self._tar(place, data, depth)
        elif (text := _decoded(data)) is not None:
            yield from self._text(place, text, depth)
        else:
            yield from self._binary(place, data, depth)

    def git(self, repository: Path, place: str) -> Iterator[View]:
        """Every object of a repository, reachable or not, and its loose files."""
        if repository.is_file():
            yield View(place, problem="points to a repository elsewhere")
            return
        for file in sorted(path for path in repository.rglob("*") if path.is_file()):
            inside = file.relative_to(repository)
            if inside.parts[0] != "objects" and inside.name != "index":
                yield from self.data(f"{place}/{inside.as_posix()}", file.read_bytes())
        if shutil.which("git") is None:
            yield View(place, problem="cannot be read: git is not installed")
            return
        command = ["git", f"--git-dir={repository}", "cat-file", "--batch", "--batch-all-objects", "--unordered"]
        listed = subprocess.run(command, capture_output=True, stdin=subprocess.DEVNULL)
        if listed.returncode:
            yield View(place, problem=f"cannot be read: {listed.stderr.decode(errors='replace').strip()[:200]}")
            return
        stream = io.BytesIO(listed.stdout)
        while header := stream.readline():
            name, kind, size = header.decode().split()
            content = stream.read(int(size))
            stream.read(1)
            if kind != "tree":
                yield from self.data(f"{place}: {kind} {name[:12]}", content)

    def _text(self, place: str, text: str, depth: int) -> Iterator[View]:
        text = text.replace("\r\n", "\n")
        yield View(place, _PROMPT.sub("", text))
        comments = "\n".join(map(_comment, text.split("\n")))
        if len(comments.strip()) > 20:
            yield View(place, comments)  # the lines keep their numbers
        strings = "\n".join(" ".join(map(_inside, _STRING.findall(line))) for line in text.split("\n"))
        if len(strings.strip()) > 20:
            yield View(place, strings)
        if "\\n" in text or "\\x" in text or "\\u" in text:
            yield View(place, _ESCAPE.sub(_unescape, text))
        if text.lstrip()[:1] in ("{", "["):
            try:
                content = json.loads(text)
            except (ValueError, RecursionError):
                content = None
            yield from self._json(place, "", content, depth)
        for how, other in _otherwise(text):
            if other != text:
                yield from self.data(f"{place} ({how})", other.encode("utf-8", "surrogatepass"), depth + 1)
        for found, decoded in _encoded(text):
            yield from self.data(f"{place}:{text.count(chr(10), 0, found) + 1} (decoded)", decoded, depth + 1)

    def _json(self, place: str, key: str, value: Any, depth: int) -> Iterator[View]:
        if isinstance(value, list) and value and all(isinstance(item, str) for item in value):
            value = "".join(item if item.endswith("\n") else f"{item}\n" for item in value)
        if isinstance(value, str):
            if len(value) >= 20:
                yield from self.data(f"{place} {key}", value.encode("utf-8", "surrogatepass"), depth + 1)
        elif isinstance(value, dict):
            for name, item in value.items():
                yield from self._json(place, f"{key}.{name}".lstrip("."), item, depth)
                if len(name) >= 20:
                    yield from self.data(f"{place} {key}, a name", name.encode("utf-8", "surrogatepass"), depth + 1)
        elif isinstance(value, list):
            for index, item in enumerate(value):
                yield from self._json(place, f"{key}[{index}]", item, depth)

    def _zip(self, place: str, data: bytes, depth: int) -> Iterator[View]:
        try:
            with zipfile.ZipFile(io.BytesIO(data)) as archive:
                if archive.comment:
                    yield from self.data(f"{place} (comment)", archive.comment, depth + 1)
                for member in archive.infolist():
                    if member.file_size > self.left:
                        yield View(f"{place}!{member.filename}", problem="is too large to be checked")
                    elif not member.is_dir():
                        yield from self.data(f"{place}!{member.filename}", archive.read(member), depth + 1)
        except (zipfile.BadZipFile, RuntimeError, NotImplementedError, OSError, zlib.error) as error:
            yield View(place, problem=f"cannot be unpacked ({error})")

    def _tar(self, place: str, data: bytes, depth: int) -> Iterator[View]:
        try:
            with tarfile.open(fileobj=io.BytesIO(data)) as archive:
                for member in archive:
                    if member.isfile() and (file := archive.extractfile(member)):
                        yield from self.data(f"{place}!{member.name}", file.read(self.left + 1), depth + 1)
        except (tarfile.TarError, OSError) as error:
            yield View(place, problem=f"cannot be unpacked ({error})")

    def _binary(self, place: str, data: bytes, depth: int) -> Iterator[View]:
        """Readable stretches, and compressed ones: picture comments, PDF streams, something appended."""
        readable = b"\n".join(_PRINTABLE.findall(data)).decode("ascii")
        if len(readable) > 20:
            yield from self._text(f"{place} (text in it)", readable, depth)
        for match in list(_ZLIB_STARTS.finditer(data))[:_STARTS_TRIED]:
            plain = _decompressed(data[match.start() :], self.left)
            if plain and (text := _decoded(plain)) is not None:
                yield from self._text(f"{place} (unpacked at {match.start()})", text, depth + 1)
        at = data.find(b"PK\x03\x04")
        if at > 0:
            yield from self._zip(place, data[at:], depth + 1)


def _otherwise(text: str) -> Iterator[tuple[str, str]]:
    """The text as a reader of it would see it: without colours, markup and characters that do not show; and backwards."""
    if "\x1b[" in text:
        yield "without colours", _COLOUR.sub("", text)
    if _MARKUP.search(text):
        yield "without markup", html.unescape(_TAG.sub("", text))
    if text.count("%20") > 2:
        yield "decoded", urllib.parse.unquote(text, errors="replace")
    if not text.isascii():
        plain = "".join(character for character in text if unicodedata.category(character) != "Cf")
        yield "in plain characters", unicodedata.normalize("NFKC", plain)
    if _BACKWARDS.search(text):
        yield "backwards", text[::-1]


def _inside(string: str) -> str:
    return string[1:-1]


def _comment(line: str) -> str:
    """What stands behind a line's first `#`."""
    text = line.partition("#")[2]
    return text[_COMMENT_MARK.match(text).end() :]


def _byte_code(place: str, data: bytes) -> Iterator[View]:
    try:
        code = marshal.loads(data[PYC_HEADER:])
    except (ValueError, EOFError, TypeError):
        code = None
    if not isinstance(code, types.CodeType):
        yield View(place, problem="is byte code that this Python cannot read: leave byte code out")
        return
    yield View(place, code=code)


def _decoded(data: bytes) -> str | None:
    """The text that the bytes are; None where they are none."""
    if data.startswith((b"\xff\xfe\0\0", b"\0\0\xfe\xff")):
        return data.decode("utf-32", "replace")
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return data.decode("utf-16", "replace")
    if data and data[:400].count(0) > len(data[:400]) // 3:  # UTF-16 without its mark
        wide = data.decode("utf-16-be" if data[0] == 0 else "utf-16-le", "replace")
        shown = sum(character.isascii() and (character.isprintable() or character in "\t\n\r") for character in wide[:400])
        return wide if shown > 0.9 * len(wide[:400]) else None
    if b"\0" in data:
        return None
    try:
        return data.decode("utf-8-sig", "surrogatepass")
    except UnicodeDecodeError:
        return None


def _decompressed(data: bytes, limit: int) -> bytes | None:
    """The content of a gzip, bzip2, xz or zlib stream that the data begins with; None where it does not."""
    try:
        if data[:3] == b"\x1f\x8b\x08":
            return gzip.GzipFile(fileobj=io.BytesIO(data)).read(limit + 1)
        if data[:3] == b"BZh":
            return bz2.BZ2Decompressor().decompress(data, limit + 1)
        if data[:6] == b"\xfd7zXZ\x00" or data[:3] == b"\x5d\x00\x00":
            return lzma.LZMADecompressor().decompress(data, limit + 1)
        if data[:1] == b"\x78" and len(data) > 2 and (data[0] * 256 + data[1]) % 31 == 0:
            return zlib.decompressobj().decompress(data, limit + 1)
    except (OSError, EOFError, zlib.error, lzma.LZMAError, ValueError):
        pass
    return None


def _encoded(text: str) -> Iterator[tuple[int, bytes]]:
    """What base64, base32, base85 and hexadecimal runs of a text stand for, where that is text or compressed."""
    for match in _ENCODED.finditer(text):
        run = re.sub(r"[\s\"'\\]+", "", match.group()).rstrip("=")
        for data in _base64(run), _base32(run):
            if data and _worth_reading(data):
                yield match.start(), data
    for match in _BASE85.finditer(text):
        for decode in (base64.b85decode, base64.a85decode):
            try:
                data = decode(match.group())
            except ValueError:
                continue
            if _worth_reading(data):
                yield match.start(), data
    for match in _HEX.finditer(text):
        try:
            data = binascii.unhexlify(re.sub(r"[^0-9a-fA-F]", "", match.group()))
        except ValueError:
            continue
        if _worth_reading(data):
            yield match.start(), data


def _base64(run: str) -> bytes:
    run = run.replace("-", "+").replace("_", "/")
    try:
        return base64.b64decode(run[: len(run) - (len(run) % 4 == 1)] + "=" * (-len(run) % 4))
    except ValueError:
        return b""


def _base32(run: str) -> bytes:
    try:
        return base64.b32decode(run + "=" * (-len(run) % 8))
    except ValueError:
        return b""


def _worth_reading(data: bytes) -> bool:
    if len(data) < 16:
        return False
    if _ZLIB_STARTS.match(data) or data[:4] in (b"PK\x03\x04", b"\x89PNG"):
        return True
    return len(data) == sum(byte in b"\t\n\r" or 32 <= byte < 127 for byte in data[:4000]) + len(data[4000:])


def _unescape(match: re.Match[str]) -> str:
    two, four, octal, plain = match.groups()
    if plain:
        return _PLAIN_ESCAPES[plain]
    character = chr(int(octal, 8) if octal else int(two or four, 16))
    return "\r" if character == "\n" else character
