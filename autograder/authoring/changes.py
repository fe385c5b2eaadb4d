"""What changed between two releases, for the students: module by module, in words."""

from __future__ import annotations

import ast
import tomllib
from pathlib import Path

from autograder.student.manifest import Definition, Manifest, parts_of, read_release


def changes(old: Path, new: Path) -> list[str]:
    """One line for each thing that a student should know; empty when the releases are the same to them.

    Raises ReleaseError where one of the two is no release.
    """
    (before, old_files), (after, new_files) = read_release(old), read_release(new)
    lines = [f"{module}: new" for module in after.modules if module not in before.modules]
    lines += [f"{module}: no longer in the course" for module in before.modules if module not in after.modules]
    lines += [f"{module}: its solution is there now" for module in after.solved if module not in before.solved]
    lines += [f"{module}: its solution is no longer there" for module in before.solved if module not in after.solved]
    lines += [
        f"{module}: its solution has changed"
        for module in after.solved
        if module in before.solved and _changed(old_files, new_files, f"solutions/{module}/")
    ]
    for module in after.modules:
        if module in before.modules:
            for path in _changed(old_files, new_files, f"exercises/{module}/"):
                said = _file(path, before, after, old_files.get(path), new_files.get(path))
                lines += [f"{module}: {text}" for text in said]
    machine = [path for path in _changed(old_files, new_files, "") if path.startswith("autograder/")]
    rest = [path for path in _changed(old_files, new_files, "") if not path.startswith(_ACCOUNTED)]
    if machine:
        lines.append(f"the autograder: {len(machine)} files changed")
    lines += [f"{path}: {_what(path, old_files, new_files)}" for path in rest]
    return sorted(lines, key=lambda line: not line[:2].isdigit())  # the modules first, in their order


_ACCOUNTED = ("autograder/", "exercises/", "solutions/", "release.json")


def _changed(old: dict[str, bytes], new: dict[str, bytes], prefix: str) -> list[str]:
    return sorted(path for path in {*old, *new} if path.startswith(prefix) and old.get(path) != new.get(path))


def _what(path: str, old: dict[str, bytes], new: dict[str, bytes]) -> str:
    return "new" if path not in old else "gone" if path not in new else "changed"


def _file(path: str, before: Manifest, after: Manifest, old: bytes | None, new: bytes | None) -> list[str]:
    name = path.rpartition("/")[2]
    if old is None or new is None:
        return [f"{name} is {'new' if old is None else 'gone'}"]
    if name == "README.md":
        return ["the handout has changed"]
    if name == "module.toml":
        return _settings(tomllib.loads(old.decode()), tomllib.loads(new.decode()))
    if name.startswith("test_") and name.endswith(".py"):
        return _definitions_of_tests(name, old.decode(), new.decode())
    if path in before.students and path.endswith(".py"):
        return _stub(name, before.students[path], after.students.get(path, {}))
    return [f"{name} has changed"]


def _settings(old: dict, new: dict) -> list[str]:
    lines = []
    exercises = {exercise["name"]: exercise for exercise in old.get("exercises", ())}
    for exercise in new.get("exercises", ()):
        was = exercises.pop(exercise["name"], None)
        if was is None:
            lines.append(f"exercise {exercise['name']} is new ({exercise['points']} points)")
        elif was != exercise:
            lines += [
                f"exercise {exercise['name']}: {key} {f'{was.get(key)} → {exercise.get(key)}' if key == 'points' else 'changed'}"
                for key in dict.fromkeys([*was, *exercise])
                if was.get(key) != exercise.get(key)
            ]
    lines += [f"exercise {name} is gone" for name in exercises]
    return lines or ["its settings (module.toml) have changed"]


def _stub(name: str, old: dict[str, Definition], new: dict[str, Definition]) -> list[str]:
    lines = [f"{name}: {part} is new" for part in new if part not in old]
    lines += [f"{name}: {part} is gone" for part in old if part not in new]
    for part in new:
        if part not in old or old[part] == new[part]:
            continue
        signatures = {**old[part].signatures, **new[part].signatures}
        moved = [f for f in signatures if old[part].signatures.get(f) != new[part].signatures.get(f)]
        for function in moved:
            was, now = old[part].signatures.get(function, "nothing"), new[part].signatures.get(function, "nothing")
            lines.append(f"{name}: the signature of {function} was {was}, is {now}")
        if not moved:
            lines.append(f"{name}: the text of {part} has changed (its docstring or given code)")
    return lines or [f"{name}: what is given around the exercises has changed"]


def _definitions_of_tests(name: str, old: str, new: str) -> list[str]:
    before = {part: found.text for part, found in parts_of(old).items()}
    after = {part: found.text for part, found in parts_of(new).items()}
    lines = [f"{name}: {part} is new" for part in after if part not in before]
    lines += [f"{name}: {part} is gone" for part in before if part not in after]
    lines += [
        f"{name}: {part} has changed"
        for part in after
        if part in before and ast.dump(ast.parse(after[part])) != ast.dump(ast.parse(before[part]))
    ]
    return lines or [f"{name}: what the tests share has changed"]
