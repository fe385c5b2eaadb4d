"""The files that the course names: which of them decide a module's tests, their digest, and which were just saved."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Sequence
from pathlib import Path

from autograder.course import Course, Module

SETTLED_SECONDS = 0.08  # an editor may write a file in pieces
GONE_SECONDS = 0.6  # or move it away before it puts the new one in its place

Stamp = tuple[int, int, int] | None


def builds_on(course: Course, module: Module) -> list[Module]:
    """All modules whose files this one may import, near or far, in teaching order."""
    found, queue = set(), [*module.requires]
    while queue:
        name = queue.pop()
        if name not in found:
            found.add(name)
            queue += course.module(name).requires
    return [other for other in course.modules if other.id in found]


def own_files(module: Module) -> list[Path]:
    """The student's files of the module, there or not."""
    return [module.folder / name for name in module.files]


def digest(course: Course, module: Module) -> str:
    """SHA-256 over what decides a run: the module's files, those of all modules it builds on, and its public tests."""
    paths = [path for m in (module, *builds_on(course, module)) for path in own_files(m)] + _tests(module)
    total = hashlib.sha256()
    for path in paths:
        try:
            content = hashlib.sha256(path.read_bytes()).hexdigest()
        except OSError:
            content = "absent"
        total.update(f"{content} {path.relative_to(course.root).as_posix()}\n".encode())
    return total.hexdigest()


class Watched:
    """The files of some modules, looked at again and again."""

    def __init__(self, course: Course, modules: Sequence[Module]):
        self._watched = modules
        self._modules: dict[Path, list[Module]] = {}
        for module in modules:
            others = [m for m in builds_on(course, module) if m not in modules]  # the watched ones have runs of their own
            for path in [*own_files(module), *_tests(module), *(path for m in others for path in own_files(m))]:
                self._modules.setdefault(path, []).append(module)
        self._seen = {path: _stamp(path) for path in self._modules}
        self._pending: dict[Path, tuple[Stamp, float]] = {}

    def saved(self) -> list[Module]:
        """The modules of the files that have changed since they were last reported, and then stayed as they are for a moment."""
        for module in self._watched:
            for path in _tests(module):
                if path not in self._seen:  # it has come since
                    self._modules[path], self._seen[path] = [module], None
        now = time.monotonic()
        ready: list[Module] = []
        for path, seen in self._seen.items():
            stamp = _stamp(path)
            if stamp == seen:
                self._pending.pop(path, None)
                continue
            before, since = self._pending.get(path, (None, None))
            if since is None or before != stamp:
                self._pending[path] = (stamp, now)
            elif now - since >= (SETTLED_SECONDS if stamp else GONE_SECONDS):
                del self._pending[path]
                self._seen[path] = stamp
                ready += [module for module in self._modules[path] if module not in ready]
        return ready


def _tests(module: Module) -> list[Path]:
    return sorted(module.folder.glob("test_*.py"))


def _stamp(path: Path) -> Stamp:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
