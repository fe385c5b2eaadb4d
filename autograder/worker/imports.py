"""Forbidden packages that nothing has loaded yet: told of when the student's code loads one, and watched from then on.

An import statement in the student's file is left to the policy, which reads it and sees what is done with the package. A name
that was computed, or an import inside of `exec`, it cannot read. All ways to load a module from its source end in
`SourceLoader.get_code`, and native code in an audit event of Python's. Which module it is, its file says, whatever it is
called there.
"""

from __future__ import annotations

import dis
import sysconfig
from collections.abc import Callable, Collection
from importlib.machinery import ExtensionFileLoader, SourceFileLoader
from sys import _getframe
from types import FrameType, ModuleType
from typing import Any

from autograder.worker import callables

IMPORT_NAME, EXTENDED_ARG = dis.opmap["IMPORT_NAME"], dis.opmap["EXTENDED_ARG"]
ROOTS = sorted({sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")}, key=len, reverse=True)


class Absent:
    """The packages, and who is told: `hidden(package, frame)` of a load out of sight, `loaded(package, module)` of any."""

    def __init__(
        self,
        packages: Collection[str],
        files: Collection[str],
        hidden: Callable[[str, FrameType], None],
        loaded: Callable[[str, str], None],
    ):
        self._packages, self._files, self._hidden, self._told = frozenset(packages), files, hidden, loaded

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
            if package:
                self._told(package, name)

        return callables.closed(followed)

    def loading(self, file: str, frame: FrameType | None) -> None:
        """A file is about to be loaded: whether it is one of the packages', and nobody could read that."""
        package, name = self._package(file)
        while package and frame is not None:
            stated, by = _stated(frame), frame.f_code.co_filename
            if by in self._files:
                if stated.partition(".")[0] != name.partition(".")[0]:
                    self._hidden(package, frame)
                return
            if stated and by.startswith((*ROOTS, "<frozen ")):
                return  # a library's own needs
            frame = frame.f_back

    def _package(self, file: str) -> tuple[str, str]:
        """Which of the packages a file belongs to ("" if to none), and the module's dotted name."""
        name = _module_in(file)
        return next((package for package in self._packages if f"{name}.".startswith(f"{package}.")), ""), name


def is_for_a_library(frame: FrameType | None, files: Collection[str]) -> bool:
    """Whether nothing of the student's is on the stack but an import statement, so that a library acts for itself."""
    while frame is not None and frame.f_code.co_filename not in files:
        frame = frame.f_back
    return frame is None or bool(_stated(frame))


def _module_in(file: str) -> str:
    """The dotted name of the installed module that a file holds; "" for any other file."""
    root = next((root for root in ROOTS if file.startswith(f"{root}/")), None)
    if root is None:
        return ""
    *folders, name = file[len(root) + 1 :].split("/")
    return ".".join(part for part in (*folders, name.partition(".")[0]) if part not in ("__init__", "lib-dynload"))


def _stated(frame: FrameType) -> str:
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
