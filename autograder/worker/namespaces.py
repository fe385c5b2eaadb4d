"""What has to stay in a module or a class, looked at only where that has been changed at all.

Python gives a dictionary another number at each change (`ma_version_tag`, PEP 509), and that is looked at first: a look at some
thousand entries counts a reference to each of them, and in a fork that copies all the memory they lie in. Where the numbers are
not found (they end with Python 3.13), the entries are looked at.
"""

from __future__ import annotations

import ctypes
import gc
from collections.abc import Collection
from operator import is_
from typing import Any

from autograder.worker.apart import keep_builtins

keep_builtins(globals())
_NUMBER_AT = object.__basicsize__ + ctypes.sizeof(ctypes.c_ssize_t)  # CPython's Include/cpython/dictobject.h: behind ma_used
_all, _map = all, map  # as they are now, whatever is put in their place later


class Namespace:
    """The `entries` of a module or a class (`home`, or its dictionary itself), and those that are `expected` to stay."""

    def __init__(self, home: Any):
        self.entries = entries_of(home)
        self.expected: dict[str, Any] = {}
        self._number = _number(self.entries) if ARE_NUMBERED else None
        self._settled: int | None = None  # the number when all was as expected

    def keep(self, but: Collection[str] = ()) -> Namespace:
        """Expect everything to stay that is there now, `but` some entries."""
        self.expected = {name: value for name, value in self.entries.items() if name not in but}
        return self

    def settle(self) -> None:
        """All is as expected now."""
        self._settled = self._number and self._number.value

    def is_unchanged(self) -> bool:
        """Whether nothing at all was set since it was known to be as expected."""
        return self._number is not None and self._number.value == self._settled

    def is_kept(self) -> bool:
        """Whether everything is there that has to be; other entries may have come."""
        if self.is_unchanged():
            return True
        number = self._number and self._number.value
        kept = _all(_map(is_, _map(self.entries.get, self.expected), self.expected.values()))
        if kept:
            self._settled = number
        return kept

    def added(self) -> Collection[str]:
        """The names that have come since."""
        return self.entries.keys() - self.expected.keys()


def entries_of(home: Any) -> dict[str, Any]:
    """The dictionary itself of a module, or of a class, which shows it only in part."""
    if isinstance(home, dict):
        return home
    shown = vars(home)
    return shown if isinstance(shown, dict) else gc.get_referents(shown)[0]


def _number(entries: dict) -> ctypes.c_uint64:
    return ctypes.c_uint64.from_address(id(entries) + _NUMBER_AT)


def _are_numbered() -> bool:
    """Whether this Python numbers its dictionaries where it is looked for: any change shows, and no look."""
    entries: dict[str, int] = {"a": 1}
    number = _number(entries)
    numbers = [number.value]
    for change in (lambda: entries.update(a=2), lambda: entries.update(b=3), lambda: entries.pop("a"), entries.clear):
        change()
        numbers.append(number.value)
        if entries.get("b", 3) != 3 or number.value != numbers[-1]:
            return False
    return len(set(numbers)) == len(numbers)


ARE_NUMBERED = _are_numbered()
