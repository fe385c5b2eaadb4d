"""Words that nobody vouches for, made inert for the places where GitHub would obey them.

A name such as `@everyone`, a link or an issue number is looked for in Markdown *after* backslashes and entities are
resolved, so escaping does not disarm it; inside code nothing is looked for. Hence the one rule: words of a submission
appear in code and nowhere else.
"""

import re
import textwrap
import unicodedata

WIDTH = 100

_IN_NAMES = " .,()/+-_"  # and letters, digits and what is set on letters, of any script


def name(text: str) -> str:
    """A name as code on one line, fit for a table's cell: what could end the code or the cell becomes `?`."""
    line = " ".join(text.split())
    plain = "".join(char if char in _IN_NAMES or unicodedata.category(char)[0] in "LMN" else "?" for char in line)
    return f"`{plain}`" if plain else ""


def block(text: str, width: int = WIDTH) -> str:
    """Text as a fenced block of its own, long lines wrapped. It has to begin at the start of a line."""
    text = _encodable(text)
    lines = [part for line in text.splitlines() for part in _wrapped(line, width)]
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return "\n".join((f"{fence}text", *lines, fence))


def command(level: str, message: str, **properties: str | int) -> str:
    """A workflow command that annotates: one line, whatever its parts hold.

    `level` is error, warning or notice; `properties` are file, line, title.
    """
    given = ",".join(f"{key}={_property(str(value))}" for key, value in properties.items())
    return f"::{level} {given}::{_data(message)}"


def _encodable(text: str) -> str:
    return text.encode("utf-8", "replace").decode()


def _wrapped(line: str, width: int) -> list[str]:
    indent = line[: len(line) - len(line.lstrip(" "))][: width // 2]
    return textwrap.wrap(line, width, subsequent_indent=indent, break_on_hyphens=False, replace_whitespace=False) or [""]


def _data(text: str) -> str:
    return _encodable(text).replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
