"""The result of grading one submission: one JSON document, from which every other report is drawn.

The models below are the format; `docs/results.schema.json` is made from them by
`python -m autograder.reports.results`. Whatever a submission put into a message, the document stays well-formed,
bounded and free of anything that a terminal, or a CI service that reads its job's log, would obey.
"""

import json
import math
import os
import platform
import re
import tempfile
import unicodedata
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

from autograder.grading.manifest import Outcome, Tier

SCHEMA_VERSION = 1
SCHEMA_URL = "https://json-schema.org/draft/2020-12/schema"
MESSAGE_LIMIT = 4000
LINE_LIMIT = 300

# ECMA-48: control sequences, strings (titles, links, device control) up to their terminator, two-byte escapes
_ESCAPE = re.compile(
    "(?:\x1b\\[|\x9b)[0-?]*[ -/]*[@-~]"
    "|(?:\x1b[\\]PX^_]|[\x90\x98\x9d\x9e\x9f])[^\x07\x1b\x9c\n]*(?:\x07|\x1b\\\\|\x9c)?"
    "|\x1b[ -/]*[0-~]"
)
_LINE_END = re.compile("\r\n|[\r\x0b\x0c\x1c-\x1e\x85\u2028\u2029]")
# GitHub's and other services' commands. A line that begins with one is obeyed, and where a table folds its lines is not known.
_LOG_COMMAND = re.compile(
    r"(:)(:(?:internal-|set-|save-|add-|remove-|debug|warning|error|notice|group|endgroup|echo|stop-commands))|(#)(#\w*\[)",
    re.IGNORECASE,
)
_JOINERS = "\u200c\u200d"  # part of ordinary words and of emoji in several scripts


def clean(text: str, limit: int = MESSAGE_LIMIT) -> str:
    """The text made safe to print and to store: no escape sequences, controls, direction marks or lone surrogates.

    Line ends become newlines, tabs four spaces, `::error` becomes `: :error`; more than `limit` characters end in an ellipsis.
    """
    if not isinstance(text, str):
        raise ValueError("must be text")
    raw = text[: 8 * limit]  # bounds the work on what nobody will read
    safe = _LINE_END.sub("\n", _ESCAPE.sub("", raw)).replace("\t", "    ")
    safe = _disarmed("".join(_printable(char) for char in safe))
    return safe if len(safe) <= limit and len(raw) == len(text) else safe[: limit - 1] + "…"


def clean_line(text: str, limit: int = LINE_LIMIT) -> str:
    """The same in one line."""
    return _disarmed(" ".join(clean(text, 4 * limit).split()))[:limit].rstrip()


def _disarmed(text: str) -> str:
    return _LOG_COMMAND.sub(lambda found: f"{found[1] or found[3]} {found[2] or found[4]}", text)


def _printable(char: str) -> str:
    match unicodedata.category(char):
        case "Cs":
            return "\N{REPLACEMENT CHARACTER}"
        case "Cc":
            return char if char == "\n" else ""
        case "Cf":
            return char if char in _JOINERS else ""
        case _:
            return char


def _number(value: Any, digits: int) -> int | float:
    try:
        number = float(value)
    except (TypeError, OverflowError):
        raise ValueError("must be a number") from None
    if not math.isfinite(number) or number < 0:
        raise ValueError("must be a finite number, not below zero")
    number = round(number, digits)
    return int(number) if number == int(number) else number


_NUMBER = {"type": "number", "minimum": 0}
Points = Annotated[int | float, BeforeValidator(lambda value: _number(value, 2)), WithJsonSchema(_NUMBER)]
Seconds = Annotated[int | float, BeforeValidator(lambda value: _number(value, 3)), WithJsonSchema(_NUMBER)]
Message = Annotated[str, BeforeValidator(clean), Field(max_length=MESSAGE_LIMIT)]
Line = Annotated[str, BeforeValidator(clean_line), Field(max_length=LINE_LIMIT)]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, json_schema_serialization_defaults_required=True)


class TestResult(_Model):
    """One test: what it was worth and what came of it. `title` is what it is about, in plain words."""

    __test__: ClassVar[bool] = False  # pytest: a noun, not a test

    name: Line
    title: Line = ""
    tier: Tier
    outcome: Outcome
    points: Points
    max_points: Points
    message: Message = ""
    diagnosis: Message = ""
    seconds: Seconds = 0


class ExerciseResult(_Model):
    """One exercise. `message` is the one thing a student should read first; it is empty when all is well."""

    name: Line
    status: Literal["passed", "partial", "failed", "todo", "policy"]
    score: Points
    max_score: Points
    message: Message = ""
    tests: list[TestResult]


class ModuleResult(_Model):
    """One module. A rejected module did not run, and `message` says why.

    `substituted` lists the earlier modules for which the reference stood in.
    """

    id: Line
    status: Literal["graded", "rejected"]
    score: Points
    max_score: Points
    message: Message = ""
    substituted: list[Line]
    exercises: list[ExerciseResult]


class Identity(_Model):
    """What was graded, or against what: a name and the digest of its content."""

    name: Line
    digest: Line


class Environment(_Model):
    """The software and the machine that a result was made with."""

    autograder: Line
    python: Line
    torch: Line
    numpy: Line
    platform: Line
    machine: Line

    @classmethod
    def here(cls) -> "Environment":
        """The environment of this process; torch is not imported for it."""
        return cls(
            autograder=_version("llm-from-scratch-course"),
            python=platform.python_version(),
            torch=_version("torch"),
            numpy=_version("numpy"),
            platform=platform.system(),
            machine=platform.machine(),
        )


class Results(_Model):
    """The result of grading one submission."""

    schema_version: Literal[1] = SCHEMA_VERSION
    course: Identity
    submission: Identity
    environment: Environment
    sandbox: list[Line] = Field(description="the layers of confinement that were in force, and what was missing")
    score: Points
    max_score: Points
    modules: list[ModuleResult]


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def to_json(results: Results) -> str:
    """The document: keys in the models' order, two spaces of indent, a newline at the end."""
    return json.dumps(results.model_dump(mode="json"), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def write(results: Results, path: Path) -> None:
    """Write the document whole or not at all, with the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, part = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as file:
            file.write(to_json(results))
            os.fchmod(file.fileno(), 0o644)
        os.replace(part, path)
    except BaseException:
        Path(part).unlink(missing_ok=True)
        raise


def read(path: Path) -> Results:
    """The result in a file. Raises pydantic.ValidationError when the file holds something else."""
    return Results.model_validate_json(path.read_text(encoding="utf-8"))


def schema() -> dict[str, Any]:
    """The JSON schema (draft 2020-12) of a result as it is written."""
    return {"$schema": SCHEMA_URL, **Results.model_json_schema(mode="serialization")}


def schema_text() -> str:
    """What `docs/results.schema.json` holds."""
    return json.dumps(schema(), indent=2) + "\n"


if __name__ == "__main__":
    print(schema_text(), end="")
