"""The course as data: modules, exercises, points, dependencies and limits, read from `exercises/NN_name/module.toml`.

Nothing else parses those files. Everything here is frozen; a mistake in a file is a `CourseError` naming file and key.
"""

from __future__ import annotations

import difflib
import hashlib
import keyword
import os
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StrictInt,
    ValidationError,
    ValidationInfo,
    field_validator,
)

MODULE_POINTS = 100
OFFERING = PurePosixPath("autograder/suites/offering.toml")
SEED_VARIABLE = "AUTOGRADER_GRADING_SEED"
DEFAULT_SEED = "llms-from-scratch"

_MODULE_FOLDER = re.compile(r"[0-9]{2}_[a-z][a-z0-9_]*")
_COMPUTED = ("id", "folder", "solution_folder", "suite_folder")


class CourseError(Exception):
    """The course's own files are wrong, or something was asked for that the course does not have."""


def _text(value: str) -> str:
    if not value.strip():
        raise ValueError("must not be empty")
    return value


def _identifier(value: str) -> str:
    if not value.isidentifier() or keyword.iskeyword(value):
        raise ValueError(f"{value!r} is not a Python name")
    return value


def _dotted(value: str) -> str:
    for part in value.split("."):
        _identifier(part)
    return value


def _forbidden(value: str) -> str:
    return value if value == "@" else _dotted(value)


def _python_file(value: str) -> str:
    path = PurePosixPath(value)
    plain = not path.is_absolute() and "\\" not in value and ".." not in path.parts and str(path) == value
    if not plain or path.suffix != ".py" or len(value) > 200:
        raise ValueError(f"{value!r} is not a relative path of a .py file, such as 'attention.py'")
    for part in (*path.parts[:-1], path.stem):
        _identifier(part)
    return value


Text = Annotated[str, AfterValidator(_text)]
PythonFile = Annotated[str, AfterValidator(_python_file)]
Seconds = Annotated[float, Field(gt=0, le=24 * 3600, allow_inf_nan=False, strict=True)]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Exercise(_Frozen):
    """One function or class that the student writes. `file` is the module's main file unless it says otherwise."""

    name: Annotated[str, AfterValidator(_identifier)]
    points: Annotated[StrictInt, Field(gt=0)]
    why: Text
    hints: Annotated[tuple[Text, ...], Field(min_length=2, max_length=3)]
    forbidden: tuple[Annotated[str, AfterValidator(_forbidden)], ...] = ()
    file: PythonFile | None = None


class Limits(_Frozen):
    """What one submission's module may use. `memory_mb` counts beyond what the warm worker holds."""

    module_seconds: Seconds = 60.0
    call_seconds: Seconds = 10.0
    load_seconds: Seconds = 10.0
    memory_mb: Annotated[StrictInt, Field(gt=0, le=1024 * 1024)] = 2048


class Module(_Frozen):
    """One module: what its `module.toml` says, its id and its folders.

    `preload` is what its code may import late and slowly. Many of PyTorch's functions import `torch._dynamo` at their first use.
    """

    id: str
    folder: Path
    solution_folder: Path
    suite_folder: Path
    title: Text
    summary: Text
    files: Annotated[tuple[PythonFile, ...], Field(min_length=1)]
    requires: tuple[str, ...] = ()
    preload: tuple[Annotated[str, AfterValidator(_dotted)], ...] = ("torch._dynamo",)
    limits: Limits = Limits()
    exercises: Annotated[tuple[Exercise, ...], Field(min_length=1)]

    @field_validator("files", "requires")
    @classmethod
    def _no_repeats(cls, values: tuple[str, ...]) -> tuple[str, ...]:
        _refuse_repeats(values)
        return values

    @field_validator("exercises")
    @classmethod
    def _exercises_fit_together(cls, exercises: tuple[Exercise, ...], info: ValidationInfo) -> tuple[Exercise, ...]:
        _refuse_repeats(exercise.name for exercise in exercises)
        files = info.data.get("files")
        for exercise in exercises:
            if files and exercise.file is not None and exercise.file not in files:
                raise ValueError(f"{exercise.name}: file {exercise.file!r} is not one of files ({', '.join(files)})")
        total = sum(exercise.points for exercise in exercises)
        if total != MODULE_POINTS:
            raise ValueError(f"points add up to {total}, they must add up to {MODULE_POINTS}")
        return exercises

    @property
    def number(self) -> str:
        """The two digits that the id begins with: `"01"`."""
        return self.id[:2]

    @property
    def main_file(self) -> str:
        """The first of `files`."""
        return self.files[0]

    @property
    def stem(self) -> str:
        """The main file's name without folder and ending: `"attention"`."""
        return PurePosixPath(self.main_file).stem

    @property
    def dotted(self) -> str:
        """The main file as Python imports it from `exercises` or `solutions`: `"attention"`, `"gpt124m.model"`."""
        return ".".join(PurePosixPath(self.main_file).with_suffix("").parts)

    def exercise(self, name: str) -> Exercise:
        """The exercise of that name; `CourseError` lists what there is."""
        for exercise in self.exercises:
            if exercise.name == name:
                return exercise
        names = [exercise.name for exercise in self.exercises]
        raise CourseError(f"{self.id} has no exercise {name!r}.{_did_you_mean(name, names)} It has: {', '.join(names)}")

    def file_of(self, exercise: Exercise) -> str:
        """The file that the exercise is written in."""
        return exercise.file or self.main_file


class Settings(_Frozen):
    """What an instructor sets for one offering of the course."""

    name: Text = "LLMs from scratch"
    grading_seed: Text = DEFAULT_SEED
    show_hidden: Literal["nothing", "title", "message"] = "message"


@dataclass(frozen=True)
class Course:
    """All modules in teaching order, and the offering's settings."""

    root: Path
    modules: tuple[Module, ...]
    settings: Settings = Settings()

    def built_on(self, module: Module) -> list[Module]:
        """The modules that this one builds on, directly or through others, in course order."""
        wanted = set(module.requires)
        for other in reversed(self.modules):
            if other.id in wanted:
                wanted |= set(other.requires)
        return [other for other in self.modules if other.id in wanted]

    def module(self, key: str | int) -> Module:
        """The module meant by `key`: `"01"`, `"1"`, the id, the id's folder, or a file's stem (`"attention"`).

        `CourseError` lists what there is and guesses what was meant.
        """
        wanted = str(key).strip().replace("\\", "/").rstrip("/").rpartition("/")[2].removesuffix(".py")
        number = wanted.lstrip("0").zfill(2) if re.fullmatch("[0-9]+", wanted) else None
        ways = (
            lambda module: module.id == wanted or module.number == number,
            lambda module: module.stem == wanted or module.id[3:] == wanted,
            lambda module: wanted in (PurePosixPath(file).stem for file in module.files),
        )
        for fits in ways:
            found = [module for module in self.modules if fits(module)]
            if len(found) == 1:
                return found[0]
        known = {name: module.id for module in self.modules for name in (module.id, module.id[3:], module.stem)}
        guess = _did_you_mean(wanted, known, known)
        raise CourseError(f"no module {str(key)!r}.{guess} There is: {', '.join(module.id for module in self.modules)}")

    def digest(self) -> str:
        """SHA-256 over every `module.toml`, solution, hidden suite and public test, in hexadecimal.

        The offering's settings are not in it: the digest is published, the seed is secret.
        """
        total = hashlib.sha256()
        for name, path in sorted((path.relative_to(self.root).as_posix(), path) for path in self._digested_files()):
            content = hashlib.sha256(path.read_bytes()).hexdigest()
            total.update(f"{content} {name}\n".encode())
        return total.hexdigest()

    def _digested_files(self) -> Iterator[Path]:
        for module in self.modules:
            yield module.folder / "module.toml"
            yield from module.folder.glob("test_*.py")
            for folder in (module.solution_folder, module.suite_folder):
                for path in folder.rglob("*"):
                    parts = path.relative_to(folder).parts
                    compiled = "__pycache__" in parts or path.suffix == ".pyc"
                    if path.is_file() and not compiled and not any(part.startswith(".") for part in parts):
                        yield path


def load_course(root: Path | None = None) -> Course:
    """Read the course whose `exercises/` folder lies in `root`.

    Without `root`: the repository that this package lies in, else the nearest parent of the working directory that
    has an `exercises/` folder with modules. `CourseError` says which file and key is wrong.
    """
    root = _find_root() if root is None else Path(root).resolve()
    exercises = root / "exercises"
    if not exercises.is_dir():
        raise CourseError(f"{root}: there is no exercises/ folder here")
    modules: list[Module] = []
    for folder in sorted(exercises.glob("[0-9][0-9]_*")):
        if not folder.is_dir():
            continue
        if (folder / "module.toml").is_file():
            module = _load_module(root, folder)
            _check_against_earlier(module, modules)
            modules.append(module)
        elif any(folder.glob("*.py")):
            raise CourseError(f"exercises/{folder.name}: has Python files, but no module.toml")
    if not modules:
        raise CourseError(f"{exercises}: there is no module (a folder NN_name with a module.toml)")
    return Course(root=root, modules=tuple(modules), settings=_load_settings(root))


def _find_root() -> Path:
    cwd = Path.cwd()
    for folder in (Path(__file__).resolve().parent.parent, cwd, *cwd.parents):
        if any(folder.glob("exercises/[0-9][0-9]_*/module.toml")):
            return folder
    raise CourseError(f"{cwd}: neither this folder nor a folder above it has exercises/ with modules")


def _load_module(root: Path, folder: Path) -> Module:
    where = f"exercises/{folder.name}/module.toml"
    if not _MODULE_FOLDER.fullmatch(folder.name):
        raise CourseError(f"{where}: the folder's name must be two digits, '_' and a lower-case Python name")
    content = _read_toml(folder / "module.toml", where)
    for key in _COMPUTED:
        if key in content:
            raise CourseError(f"{where}: {key}: unknown key")
    places = {
        "id": folder.name,
        "folder": folder,
        "solution_folder": root / "solutions" / folder.name,
        "suite_folder": root / "autograder" / "suites" / folder.name,
    }
    return _validate(Module, {**content, **places}, where)


def _check_against_earlier(module: Module, earlier: list[Module]) -> None:
    where = f"exercises/{module.id}/module.toml"
    ids = [other.id for other in earlier]
    for index, required in enumerate(module.requires):
        if required not in ids:
            raise CourseError(
                f"{where}: requires[{index}]: {required!r} is not an earlier module.{_did_you_mean(required, ids)}"
            )
    for other in earlier:
        if other.number == module.number:
            raise CourseError(f"{where}: the number {module.number} is taken by {other.id}")
        for index, file in enumerate(module.files):
            # All modules share the package `exercises`, so a second file of that name could not be imported.
            if file in other.files:
                raise CourseError(f"{where}: files[{index}]: {file} is already a file of {other.id}")


def secret_seeds(course: Course) -> frozenset[str]:
    """The grading seeds that nobody but staff may know: the one in use, and the file's where the environment has another."""
    return frozenset({course.settings.grading_seed, _settings_in_file(course.root).grading_seed} - {DEFAULT_SEED})


def _load_settings(root: Path) -> Settings:
    settings = _settings_in_file(root)
    seed = os.environ.get(SEED_VARIABLE)
    return _validate(Settings, {**settings.model_dump(), "grading_seed": seed}, SEED_VARIABLE) if seed else settings


def _settings_in_file(root: Path) -> Settings:
    path = root / OFFERING
    return _validate(Settings, _read_toml(path, str(OFFERING)) if path.is_file() else {}, str(OFFERING))


def _read_toml(path: Path, where: str) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except tomllib.TOMLDecodeError as error:
        raise CourseError(f"{where}: not valid TOML: {error}") from None
    except UnicodeDecodeError:
        raise CourseError(f"{where}: is not UTF-8 text") from None
    except OSError as error:
        raise CourseError(f"{where}: cannot be read: {error.strerror}") from None


_Model = TypeVar("_Model", bound=_Frozen)


def _validate(model: type[_Model], content: dict[str, Any], where: str) -> _Model:
    try:
        return model.model_validate(content)
    except ValidationError as error:
        items = error.errors()
    # An array whose entry is wrong is also reported as too short: the entry is the mistake.
    inner = {item["loc"][:length] for item in items for length in range(len(item["loc"]))}
    told = [item for item in items if not (item["type"] == "too_short" and item["loc"] in inner)]
    raise CourseError("\n".join(f"{where}: {_key(item['loc'])}: {_problem(item)}" for item in told))


def _key(location: tuple[int | str, ...]) -> str:
    key = ""
    for part in location:
        key += f"[{part}]" if isinstance(part, int) else f".{part}" if key else part
    return key


def _problem(item: Mapping[str, Any]) -> str:
    match item["type"]:
        case "missing":
            return "is missing"
        case "extra_forbidden":
            return "unknown key"
        case "value_error":
            return str(item["ctx"]["error"])
        case "too_short" | "too_long":
            bound, count = ("at least", "min_length") if item["type"] == "too_short" else ("at most", "max_length")
            return f"must have {bound} {item['ctx'][count]} entries, has {item['ctx']['actual_length'] or 'none'}"
        case "tuple_type":
            return "must be an array"
        case "model_type" | "model_attributes_type":
            return "must be a table"
        case _:
            return item["msg"].replace("Input should be", "must be")


def _refuse_repeats(values: Iterable[str]) -> None:
    seen: set[str] = set()
    for value in values:
        if value in seen:
            raise ValueError(f"{value!r} is there twice")
        seen.add(value)


def _did_you_mean(wanted: str, known: Iterable[str], answers: Mapping[str, str] | None = None) -> str:
    close = difflib.get_close_matches(wanted, list(known), n=1)
    if not close:
        return ""
    return f" Did you mean {answers[close[0]] if answers else close[0]}?"
