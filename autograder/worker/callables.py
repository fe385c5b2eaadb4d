"""Forbidden callables that PyTorch's modes do not see, NumPy's before all, replaced by ones that tell of their calls.

A function is replaced under every name it goes by, a class of Python gets another `__init__`, and of NumPy's arrays, whose
type is C's, methods and the operator `@` are replaced in the type itself.
"""

from __future__ import annotations

import ctypes
import functools
import inspect
import sys
import types
from collections.abc import Callable, Collection, Iterator
from typing import Any

import numpy as np
from numpy._core import _multiarray_umath as umath  # NumPy's own C functions, below those that it shows

from autograder.policy.families import FAMILIES, runtime
from autograder.worker.apart import IMMUTABLE_TYPE, keep_builtins
from autograder.worker.namespaces import Namespace, entries_of

keep_builtins(globals())
# object's id → the places that hold it; found once, for to look through all modules copies their memory in a fork
_ALIASES: dict[int, list[tuple[dict, str]]] = {}
_INSIDE: dict[str, list[types.ModuleType]] = {}  # a package that some exercise may forbid → the modules in it
_PLACED: dict[int, Namespace] = {}  # a dictionary's id → it, with what was placed in it

_FUNCTIONS = (types.FunctionType, functools._lru_cache_wrapper)  # what was replaced already among them
_POINTER = ctypes.sizeof(ctypes.c_void_p)
_TP_AS_NUMBER, _NB_MATRIX_MULTIPLY = 12 * _POINTER, 34 * _POINTER  # CPython's Include/cpython/object.h, 3.5 and later
_HEAP_TYPE = 1 << 9  # of its flags


def closed(function: Callable) -> Callable:
    """The function as an object of C's that calls it and leads to none of its variables: no globals, no closure, no code."""
    shut = functools.lru_cache(maxsize=0)(function)  # which keeps nothing, and does not ask for arguments that can be hashed
    shut.__wrapped__ = None  # which PyTorch's compiler wants to find
    return shut


def find_aliases() -> None:
    """Find all the names of NumPy's callables and of what else is often forbidden. Done once the libraries are there."""
    names = {name for family in FAMILIES for kind in ("python", "functions") for name in runtime(family)[kind]}
    wanted = {id(value) for name in names for value in _resolved(name) if not isinstance(value, types.ModuleType)}
    for name in {name for family in FAMILIES for kind in runtime(family).values() for name in kind}:
        if isinstance(one(name), types.ModuleType):
            _INSIDE[name] = [inner for key, inner in sys.modules.items() if key.startswith(f"{name}.")]
    for module in list(sys.modules.values()):
        package = module.__name__.partition(".")[0] if isinstance(module, types.ModuleType) else "autograder"
        if package != "autograder":
            for key, value in list(vars(module).items()):
                if id(value) in wanted or (package == "numpy" and callable(value)):
                    _ALIASES.setdefault(id(value), []).append((vars(module), key))


def replace(name: str, noted: Callable[[Callable, str], Callable]) -> None:
    """Put `noted(callable, alias)` in the place of what `name` stands for; of all that is in it, if that is a module.

    What is not installed, or not imported, has no places. Types of C that others may ask about are left as they are.
    """
    owner, _, key = name.rpartition(".")
    if owner == "numpy.ndarray":
        _replace_in_arrays(key, noted)
        return
    for value in _resolved(name):
        inside = _public(value) if isinstance(value, types.ModuleType) else [value]
        for module in _INSIDE.get(name, ()):
            inside += [each for each in _public(module, "") if isinstance(each, _FUNCTIONS)]
        for each in inside:
            if isinstance(each, staticmethod) and isinstance(home := one(owner), type):
                place(home, key, staticmethod(noted(each.__func__, key)))
            elif isinstance(each, type) and each.__flags__ & (_HEAP_TYPE | IMMUTABLE_TYPE) == _HEAP_TYPE:
                made = each.__init__ if each.__init__ is not object.__init__ else _nothing_more
                place(each, "__init__", noted(made, each.__name__))
            elif isinstance(each, _FUNCTIONS) and isinstance(home := one(owner), type):
                place(home, key, noted(each, key))
            elif not isinstance(each, type) or each is np.broadcast:
                for namespace, alias in _places(each, name if each is value else ""):
                    namespace[alias] = noted(each, alias)
                    _expect(namespace, alias)


def in_place() -> bool:
    """Whether everything that was replaced still is."""
    return all(namespace.is_kept() for namespace in _PLACED.values())


def settle() -> None:
    """Everything is where it has to be now, before any of the student's code runs."""
    for namespace in _PLACED.values():
        namespace.settle()


def placed_in(entries: dict[str, Any]) -> dict[str, Any]:
    """What was placed in a dictionary, by its name there."""
    return _PLACED[id(entries)].expected if id(entries) in _PLACED else {}


def _resolved(name: str) -> Iterator[Any]:
    """What the dotted name stands for, and NumPy's C function of that name."""
    value = one(name)
    if value is not None:
        yield value
    package, _, key = name.partition(".")
    inner = getattr(umath, key, None) if package == "numpy" else None
    if inner is not None and inner is not value:
        yield inner


def one(name: str) -> Any:
    """The callable or module that a dotted name stands for; None if it is neither, or not loaded."""
    parts = name.split(".")
    for count in range(len(parts), 0, -1):
        value = sys.modules.get(".".join(parts[:count]))
        if value is not None:
            for part in parts[count:]:
                value = inspect.getattr_static(value, part, None) if isinstance(value, type) else getattr(value, part, None)
            return value if callable(value) or isinstance(value, types.ModuleType) else None
    return None


def package_of(name: str) -> str:
    """The package that a dotted name of something loaded is in; NumPy and PyTorch, which are many modules, as a whole."""
    top = name.partition(".")[0]
    parts = name.split(".")
    loaded = (".".join(parts[:count]) for count in range(len(parts), 0, -1))
    return top if top in ("numpy", "torch") else next((each for each in loaded if each in sys.modules), top)


def _public(module: types.ModuleType, hidden: str = "_") -> list[Any]:
    """The functions and classes that a module, or a package, defines and shows: whose name does not begin with `hidden`."""
    return [
        value for key, value in list(vars(module).items())
        if not (hidden and key.startswith(hidden)) and isinstance(value, (type, types.BuiltinFunctionType, *_FUNCTIONS))
        and f"{value.__module__}.".startswith(f"{module.__name__}.")
    ]  # fmt: skip


def _places(value: Any, name: str) -> list[tuple[dict, str]]:
    owner, _, key = name.rpartition(".")
    home = sys.modules.get(owner or getattr(value, "__module__", ""))
    key = key or value.__name__
    known = _ALIASES.get(id(value), [])
    if home is None or vars(home).get(key) is not value or any(place is vars(home) and alias == key for place, alias in known):
        return known
    return [*known, (vars(home), key)]


def _nothing_more(self: Any, *args: Any, **kwargs: Any) -> None:
    """What `object.__init__` does where `__new__` takes the arguments; replaced, it refuses them itself."""


def place(home: Any, key: str, function: Callable) -> None:
    """Put a function in an attribute of a class or a module, where `in_place` will look for it."""
    setattr(home, key, function)
    _expect(entries_of(home), key)


def _expect(entries: dict[str, Any], key: str) -> None:
    """Expect to stay what was just placed there."""
    _PLACED.setdefault(id(entries), Namespace(entries)).expected[key] = entries[key]


def _replace_in_arrays(key: str, noted: Callable[[Callable, str], Callable]) -> None:
    """An attribute of `numpy.ndarray`; for `__matmul__`, what the operator `@` does as well.

    The type is C's and lets nobody set its attributes, so they are set in its dictionary. Its operator then has to do what
    that of a class of Python does: to look for the attribute.
    """
    namespace = entries_of(np.ndarray)
    namespace[key] = noted(namespace[key], key)
    _expect(namespace, key)
    if key == "__matmul__" and _slots_are_where_expected():
        for kind in _and_below(np.ndarray):
            _slot(kind).value = _slot(_Pythonic).value
    ctypes.pythonapi.PyType_Modified(ctypes.py_object(np.ndarray))


def replace_attribute(kind: type, key: str, noted: Callable[[Callable, str], Callable]) -> None:
    """An attribute that a type of C's computes: in its dictionary, since nobody may set it."""
    namespace = entries_of(kind)
    namespace[key] = property(noted(namespace[key].__get__, key), noted(namespace[key].__set__, key))
    _expect(namespace, key)
    ctypes.pythonapi.PyType_Modified(ctypes.py_object(kind))


class _Pythonic:
    """What the operator `@` of a class of Python looks like from C."""

    def __matmul__(self, other: Any) -> Any:
        return NotImplemented


def _slots_are_where_expected() -> bool:
    """Whether this Python lays its types out as every one so far: if not, the operator stays as it is."""
    if object.__basicsize__ != 2 * _POINTER:
        return False
    has = [bool(_slot(kind).value) for kind in (_Pythonic, np.ndarray, int)]
    return has == [True, True, False]


def _slot(kind: type) -> ctypes.c_void_p:
    """Where C looks for the operator `@` of a type that has any operators."""
    return ctypes.c_void_p.from_address(ctypes.c_void_p.from_address(id(kind) + _TP_AS_NUMBER).value + _NB_MATRIX_MULTIPLY)


def _and_below(kind: type) -> Collection[type]:
    return {kind}.union(*(_and_below(each) for each in kind.__subclasses__()))
