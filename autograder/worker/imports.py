"""Packages that the student's code loads out of sight: forbidden ones, those that no exercise is made of, and second copies.

An import statement in the student's file is left to the policy, which reads it and sees what is done with the package. A name
that was computed, or an import inside of `exec`, it cannot read. What is loaded already and forbidden is watched where it is,
and a second copy of it, under whatever name, would not be. All ways to load a module from its source end in
`SourceLoader.get_code`, and native code in an audit event of Python's. Which module it is, its file says, whatever it is
called there.
"""

from __future__ import annotations

import dis
import sys
import sysconfig
from collections.abc import Callable, Collection
from importlib.machinery import ExtensionFileLoader, SourceFileLoader
from sys import _getframe
from types import FrameType, ModuleType
from typing import Any

from autograder.policy.families import is_strange
from autograder.worker import callables
from autograder.worker.apart import keep_builtins

keep_builtins(globals())
IMPORT_NAME, EXTENDED_ARG = dis.opmap["IMPORT_NAME"], dis.opmap["EXTENDED_ARG"]
ROOTS = sorted({sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")}, key=len, reverse=True)
GRADERS_OWN = ("pydantic", "pydantic_core")  # loaded for the grader, and strange to an exercise
_LOADED: set[str] = set()  # the modules that were there before any of the student's code
_GRADERS: list[str] = []  # and of these, the grader's own


def note_loaded() -> None:
    """Note which modules there are. Done once, for a look at thousands of names in a fork copies their memory."""
    _LOADED.update(sys.modules)
    _GRADERS[:] = [name for name in _LOADED if name.partition(".")[0] in GRADERS_OWN]


def forget_graders_own() -> None:
    """Take away what only the grader has loaded, so that it has to be loaded by whoever uses it."""
    for name in _GRADERS:
        sys.modules.pop(name, None)


class Absent:
    """The packages, and who is told: `hidden(package, frame)` of a load out of sight, `loaded(package, module)` of any.

    `packages` are forbidden and nothing has loaded them yet; of `present` ones a second copy is told of.
    """

    def __init__(
        self,
        packages: Collection[str],
        present: Collection[str],
        files: Collection[str],
        hidden: Callable[[str, FrameType], None],
        loaded: Callable[[str, str], None],
    ):
        self._packages, self._present, self._files = frozenset(packages), frozenset(present), files
        self._hidden, self._told = hidden, loaded

    def follow(self) -> None:
        """Begin to listen to Python's loaders; native code has to be told of by calling `loading`."""
        source, basics = SourceFileLoader.__mro__[2:4]
        get_code = source.get_code

        def followed(loader: Any, name: str) -> Any:
            self.loading(loader.path, _getframe(1))
            return get_code(loader, name)

        callables.place(source, "get_code", callables.closed(followed))
        for home in (basics, ExtensionFileLoader):
            callables.place(home, "exec_module", self._followed(home.exec_module))

    def _followed(self, exec_module: Callable[[Any, ModuleType], None]) -> Callable:
        def followed(loader: Any, module: ModuleType) -> None:
            exec_module(loader, module)
            package, name = self._package(getattr(loader, "path", ""))
            if package in self._packages:
                self._told(package, name)

        return callables.closed(followed)

    def loading(self, file: str, frame: FrameType | None) -> None:
        """A file is about to be loaded: whether it is one of the packages', and nobody could read that."""
        package, name = self._package(file)
        is_forbidden = package in self._packages or package in self._present
        while package and frame is not None:
            at, by = stated(frame), frame.f_code.co_filename
            if by in self._files:
                if at.partition(".")[0] != name.partition(".")[0]:
                    self._hidden(package, frame)
                return
            if (at or not is_forbidden and _loads_for_itself(by)) and by.startswith((*ROOTS, "<frozen ")):
                return  # a library's own needs
            frame = frame.f_back

    def source_of(self, file: str) -> str:
        """The forbidden package whose source a file is; "" for any other file."""
        name = _module_in(file) if file.endswith(".py") else ""
        packages = self._packages | self._present if name else ()
        return next((package for package in packages if f"{name}.".startswith(f"{package}.")), "")

    def _package(self, file: str) -> tuple[str, str]:
        """Which package a file belongs to that somebody is told of ("" if to none), and the module's dotted name."""
        name = _module_in(file)
        packages = self._packages | self._present if name in _LOADED else self._packages
        package = next((package for package in packages if f"{name}.".startswith(f"{package}.")), "")
        top = name.partition(".")[0]
        return package or (top if top and is_strange(top) else ""), name


def is_for_a_library(frame: FrameType | None, files: Collection[str]) -> bool:
    """Whether nothing of the student's is on the stack but an import statement, so that a library acts for itself."""
    while frame is not None and frame.f_code.co_filename not in files:
        frame = frame.f_back
    return frame is None or bool(stated(frame))


def _module_in(file: str) -> str:
    """The dotted name of the installed module that a file holds; "" for any other file."""
    root = next((root for root in ROOTS if file.startswith(f"{root}/")), None)
    if root is None:
        return ""
    *folders, name = file[len(root) + 1 :].split("/")
    return ".".join(part for part in (*folders, name.partition(".")[0]) if part not in ("__init__", "lib-dynload"))


def _loads_for_itself(file: str) -> bool:
    """Whether a file is of a package that loads others by their names, and no module that it is asked for."""
    return _module_in(file).partition(".")[0] in ("torch", "triton", "numpy", "scipy")


def stated(frame: FrameType) -> str:
    """The module that the import statement names at which the frame is; "" if it is at none."""
    code, at = frame.f_code.co_code, frame.f_lasti
    if code[at] != IMPORT_NAME:
        return ""
    index, bits = code[at + 1], 8
    while at >= 2 and code[at - 2] == EXTENDED_ARG:
        at -= 2
        index |= code[at + 1] << bits
        bits += 8
    return frame.f_code.co_names[index]
