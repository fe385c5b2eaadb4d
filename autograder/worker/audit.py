"""What the student's code really called: forbidden functions and operators, whatever name they were reached by.

A TorchFunctionMode sees PyTorch's Python-level calls, a TorchDispatchMode the operators that were dispatched in the
end; what these do not see, NumPy and the standard library, is replaced by what tells of its calls (`callables`), and what
nobody could see, such as native code that is loaded, is a breach itself. So is a look at the variables of other code, through
frames or the garbage collector. A hit counts for the exercise in whose code it happened, found on the call stack; calls that
no student frame made (a scenario's own) do not count. Nor does what a library does for itself: NumPy's norm may take a dot
product.
"""

from __future__ import annotations

import _signal
import _thread
import builtins
import ctypes
import dis
import inspect
import itertools
import json
import linecache
import logging
import math
import os
import struct
import sys
import sysconfig
import threading
import traceback
import types
from collections.abc import Callable
from functools import cache, partial
from operator import is_
from sys import _getframe, gettrace  # as they are now, whatever is put in their place later
from typing import Any

import numpy as np
import torch
import torch.overrides
import torch.utils._python_dispatch
from torch._C import (
    _current_autograd_node,
    _get_dispatch_stack_at,
    _get_function_stack_at,
    _len_torch_dispatch_stack,
    _len_torch_function_stack,
)
from torch._ops import OpOverload, OpOverloadPacket
from torch.overrides import TorchFunctionMode
from torch.utils._device import DeviceContext
from torch.utils._python_dispatch import TorchDispatchMode

from autograder.policy.families import ANY
from autograder.worker import callables, imports, namespaces
from autograder.worker.apart import keep_builtins, keep_class
from autograder.worker.namespaces import Namespace

keep_builtins(globals())
Rules = dict[str, dict[str, list[str]]]

# What hides calls from the modes, hands out a mode that counts them, an operator as C has it, or the variables of functions
# that are not one's own. PyTorch and Python have uses for them; a student's own code has none.
BLINDFOLDS = {
    torch._C: "_DisableTorchDispatch DisableTorchFunction DisableTorchFunctionSubclass _ExcludeDispatchKeyGuard"
    " _construct_storage_from_data_pointer _AutoDispatchBelowAutograd _pop_torch_function_stack _pop_torch_dispatch_stack"
    " _unset_dispatch_mode"
    " _dispatch_tls_set_dispatch_key_excluded _len_torch_dispatch_stack _len_torch_function_stack _get_dispatch_stack_at"
    " _get_function_stack_at _jit_get_operation _get_operation_overload _dispatch_call_boxed _current_autograd_node"
    " _dispatch_get_computed_kernel_for_dispatch_key",
    torch._C._DispatchOperatorHandle: "redispatch_boxed",
    torch._C._SafeKernelFunction: "call_boxed",
    OpOverload: "redispatch",
    torch.library: "get_kernel",
    inspect: "getclosurevars",
    sys: "gettrace getprofile",
    logging: "currentframe",
    traceback: "walk_stack",
    torch.utils._python_dispatch: "_disable_current_modes _pop_mode _pop_mode_temporarily _get_dispatch_stack_at"
    " _get_current_dispatch_mode _get_current_dispatch_mode_stack",
    torch.overrides: "_pop_mode _pop_mode_temporarily _get_function_stack_at _get_current_function_mode"
    " _get_current_function_mode_stack",
}
# What leads to the variables of any function, by whatever name it is asked for.
WAYS_IN = {types.FunctionType: "__globals__ __closure__ __builtins__", types.CellType: "cell_contents"}
# Where PyTorch has its operators once more, in Python and of other operators.
WRITTEN_AGAIN = ("torch._refs", "torch._refs.nn.functional", "torch._refs.special", "torch._refs.linalg",
                 "torch._decomp.decompositions")  # fmt: skip
# What PyTorch, Python and the grader itself go by, which a student's code may use and not change.
FOUNDATIONS = (builtins, itertools, json, json.decoder, json.JSONDecoder, json.encoder, json.JSONEncoder, math, np, os, struct,
               torch, torch.autograd, torch.nn.functional, torch.nn.Module, torch.Tensor, type(torch.Tensor), torch.nn.Parameter,
               torch.overrides, TorchFunctionMode, torch.utils._python_dispatch, TorchDispatchMode, torch.utils._device,
               DeviceContext)  # fmt: skip
# Of these, what PyTorch itself changes: when parts of it are loaded that were not, and where it notes its modes.
REPLACED_LATE = {
    torch: ("manual_seed", "Storage"), torch.nn.Module: ("__init__", "__setstate__"), torch.utils._device: ("CURRENT_DEVICE",),
    torch.utils._python_dispatch: ("_is_in_torch_dispatch_mode", "_is_in_non_infra_torch_dispatch_mode",
                                   "_is_in_any_mode_without_ignore_compile_internals"),
}  # fmt: skip
# Python's own audit events of native code, and of code that can say it comes from another file.
UNSEEN_CODE = frozenset(
    "ctypes.dlopen ctypes.dlsym ctypes.dlsym/handle ctypes.call_function ctypes.cdata code.__new__ marshal.loads".split()
)
# And those of a look at other code's variables, a scenario's counters among them, which nobody needs for an exercise.
LOOKS_AROUND = frozenset(
    "sys._getframe sys._current_frames sys.setprofile sys.settrace gc.get_objects gc.get_referrers gc.get_referents".split()
)
FRAMES = frozenset({"tb_frame", "gi_frame", "cr_frame", "ag_frame"})  # attributes that are a frame
INSIDES = frozenset({"__code__", "__defaults__", "__kwdefaults__", "__class__", "__bases__"})  # and that are what something does
ATTRIBUTES = {"object.__getattr__": FRAMES, "object.__setattr__": INSIDES, "object.__delattr__": INSIDES}
HEARD = UNSEEN_CODE | LOOKS_AROUND | ATTRIBUTES.keys() | {"import", "compile", "open"}
HERE = {_getframe().f_code.co_filename, namespaces.__file__}
NATIVE_MODULES = frozenset({"cffi", "_cffi_backend", "numba", "llvmlite"})
LIBRARIES = tuple({
    "<frozen ", os.path.dirname(os.__file__), *(os.path.dirname(os.path.dirname(home.__file__)) for home in (torch, np)),
    *(sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")),
})  # fmt: skip
LOOKED_PAST = {  # by kind of event
    "import": LIBRARIES, "ctypes": (os.path.dirname(ctypes.__file__),), "sys": (inspect.__file__,),
    "open": (os.path.dirname(os.__file__), "<frozen "),
}  # fmt: skip
READS_SOURCE = linecache.updatecache.__code__  # for a warning or a traceback that shows the lines that it is about
ANNOTATIONS = inspect.get_annotations.__code__
MATRIX_PRODUCTS, BINARY_OP = ("__matmul__", "__rmatmul__", "__imatmul__"), dis.opmap["BINARY_OP"]
TENSOR = namespaces.entries_of(torch.Tensor)
ENGINE = "_backward"  # the operator that stands for autograd's engine, which no name leads to when nodes of a graph run
THREAD_STARTERS = ("start_new_thread", "start_new", "start_joinable_thread")


@cache
def find_foundations() -> list[Namespace]:
    """What the student's code may not change, as it is when this is first called."""
    return [Namespace(home).keep(but=REPLACED_LATE.get(home, ())) for home in FOUNDATIONS]


class Audit:
    """The forbidden calls of each exercise, resolved once; `watch()` notes the breaches of one call in `breaches`."""

    def __init__(self, rules: Rules):
        self.breaches: list[tuple[str, str, int]] = []
        self.tell: Callable[[tuple[str, str, int]], None] = lambda breach: None
        self.files: frozenset[str] = frozenset()
        self.others: set[int] = set()  # by identity, the namespaces of the grader's modules and of scenarios
        self.importing = False  # whether the student's module is being imported
        self._exercises = set(rules)
        self._order = {exercise: index for index, exercise in enumerate(rules)}  # the order in which they are written
        self._functions: dict[Any, set[str]] = {}
        self._names: dict[Any, str] = {}
        self._operators: dict[str, set[str]] = {}
        self._callables: dict[str, set[str]] = {}
        self._present: dict[str, set[str]] = {}  # packages that are loaded, and who must not use some of what is in them
        self._watched: tuple[str | None, int] | None = None  # what is called now and its line, where it is watched
        self._unseen: list[tuple[str, str, int]] = []  # what was done out of sight before anything was watched
        self._sealed: tuple | None = None
        self._foundations: list[Namespace] = []
        self._over = False  # whether the student's code has returned, and what it gave is being written down
        self._absent: imports.Absent | None = None
        self._looking = False  # whether the hook itself is looking at frames
        for exercise, forbidden in rules.items():
            for name in forbidden.get("functions", ()):
                function = _resolve(name)
                if function is None or _is_out_of_sight(function):
                    self._callables.setdefault(name, set()).add(exercise)
                if function is not None:
                    self._functions.setdefault(function, set()).add(exercise)
                    self._names.setdefault(function, name)
            for name in forbidden.get("operators", ()):
                self._operators.setdefault(name, set()).add(exercise)
            last = {name.rpartition(".")[2] for kind in ("functions", "operators") for name in forbidden.get(kind, ())}
            again = (f"{home}.{name}" for home in WRITTEN_AGAIN for name in last)
            again = (name for name in again if inspect.isfunction(_resolve(name)))
            for name in (*forbidden.get("python", ()), *forbidden.get("classes", ()), *again):
                self._callables.setdefault(name, set()).add(exercise)

        self._without_engine = frozenset(self._operators.get(ENGINE, ()))

    def tell_by(self, tell: Callable[[tuple[str, str, int]], None]) -> None:
        """What each breach is told by, at once: what is told cannot be taken back."""
        self.tell = tell
        if self._sealed:
            self._sealed = self._seal()

    def concerns(self, called: str | None) -> bool:
        """Whether anything is forbidden to this exercise; for a scenario (None), to any."""
        return bool(self._exercises) if called is None else called in self._exercises

    def watch(self, called: str | None, line: int = 0) -> _Watch:
        """A context in which forbidden calls are noted; `called` is the exercise that was called, None for a scenario.

        `line` is where a thread was started, or the exercise is defined, for what is called without any frame of the
        student's. What the context gives is to be called when the student's code has returned: what is forbidden and done by it
        from then on, while the grader looks at what it gave, counts wherever it stands, and what the grader does does not.
        """
        return _Watch(self, called, line)

    def _is_over(self) -> None:
        self._over = True

    def _is_founded(self) -> bool:
        """Whether everything that was in the foundations is still there; more may have been loaded since."""
        for namespace in self._foundations:
            if not namespace.is_unchanged():
                hidden = namespace.entries is TENSOR and any(hasattr(torch._C.TensorBase, name) for name in namespace.added())
                if hidden or not namespace.is_kept():
                    return False
        return True

    def _add(self, breach: tuple[str, str, int]) -> None:
        self.breaches.append(breach)
        self.tell(breach)

    def guard(self) -> None:
        """From now on the student's threads are watched as well, and what would hide calls from the watch is a breach.

        Called in the worker, before any test's process begins.
        """
        if not self._exercises:
            return  # nothing is forbidden
        for home, names in BLINDFOLDS.items():
            for name in names.split():
                if hasattr(home, name):
                    noted = self._noted(f"{home.__name__}.{name}", self._exercises, always=True)
                    callables.place(home, name, noted(getattr(home, name), name))
        for name in THREAD_STARTERS:
            if hasattr(_thread, name):
                started = self._followed(getattr(_thread, name))
                for home in (_thread, threading):
                    for alias in (name, f"_{name}"):
                        if hasattr(home, alias):
                            setattr(home, alias, started)
        _signal.signal = _without_frames(_signal.signal)  # which `signal.signal` calls
        for kind in (OpOverload, OpOverloadPacket):
            callables.place(kind, "__call__", self._told(kind.__call__))
        for name, exercises in self._callables.items():
            callables.replace(name, self._noted(name, exercises))
        for table in torch._decomp.global_decomposition_table.values() if "torch._decomp" in sys.modules else ():
            for operator, function in list(table.items()):
                name = operator.__name__.partition(".")[0]
                forbidden_in = self._operators.get(name, set()) | self._operators.get(ANY, set())
                if forbidden_in:
                    table[operator] = self._noted(f"torch._decomp, {name}", forbidden_in)(function, name)
        if self._without_engine:  # from the student's own node of a graph to PyTorch's, which can be called
            noted = self._noted("torch.autograd, the graph", set(self._without_engine))
            callables.replace_attribute(torch._C._FunctionBase, "next_functions", noted)
        for kind, names in WAYS_IN.items():
            for name in names.split():
                noted = self._noted(f"{name} (the variables of other code)", self._exercises, always=True, way_in=True)
                callables.replace_attribute(kind, name, noted)
        absent = [n for n in self._callables if not n.startswith(("torch.", "numpy.")) and callables.one(n) is None]
        for name, exercises in self._callables.items():
            if name not in absent:
                self._present.setdefault(callables.package_of(name), set()).update(exercises)
        imports.forget_graders_own()
        self._absent = imports.Absent(absent, self._present, self.files, self._loaded_out_of_sight, self._replace_in)
        self._absent.follow()
        sys.addaudithook(self._hook)
        self._foundations = find_foundations()
        for namespace in self._foundations:
            namespace.expected.update(callables.placed_in(namespace.entries))
            namespace.settle()
        callables.settle()
        self._sealed = self._seal()

    def _noted(
        self, name: str, forbidden_in: set[str], always: bool = False, way_in: bool = False
    ) -> Callable[[Callable, str], Callable]:
        """What makes a function one that tells of its calls, those before anything is watched included if it does so `always`;
        `alias` is the name that its callers know it by. A `way_in` to the grader's code is one for libraries, too.
        """

        def made(function: Callable, alias: str) -> Callable:
            def noted(*args: Any, **kwargs: Any) -> Any:
                frame = _getframe(1)
                if self._watched is None and not always and not self._is_unnamed(frame, alias):
                    pass
                elif self._is_students(frame, alias) or way_in and self._is_graders(args[0]) and self._is_led(frame):
                    if self._watched is None:
                        self._note_or_keep(name, forbidden_in, frame)
                    else:
                        self._note(name, forbidden_in, *self._watched)
                return function(*args, **kwargs)

            return callables.closed(noted)

        return made

    def _is_unnamed(self, frame: Any, alias: str) -> bool:
        """Whether the student's file is being imported, and what it calls there by `alias` has that name nowhere in it."""
        module = None
        while self.importing and frame is not None:
            module = frame.f_code if frame.f_code.co_filename in self.files else module
            frame = frame.f_back
        return module is not None and alias not in MATRIX_PRODUCTS and not _names(module, alias)

    def _told(self, call: Callable) -> Callable:
        """What calls an operator and tells of it, since some are taken apart before any mode sees them."""

        def told(operator: Any, /, *args: Any, **kwargs: Any) -> Any:
            name = operator.__name__.partition(".")[0]
            if name in self._operators and self._watched is not None and self._is_students(_getframe(1), name):
                self._note(f"aten::{name}", self._operators[name], *self._watched)
            return call(operator, *args, **kwargs)

        return callables.closed(told)

    def _loaded_out_of_sight(self, package: str, frame: Any) -> None:
        blamed = self._callables.get(package) or self._present.get(package) or self._exercises
        self._note_or_keep(f"import {package}", blamed, frame)

    def _replace_in(self, package: str, module: str) -> None:
        callables.replace(module, self._noted(package, self._callables[package]))

    def _hook(self, event: str, args: tuple) -> None:
        if event not in HEARD or self._looking or event in ATTRIBUTES and args[1] not in ATTRIBUTES[event]:
            return
        self._looking = True
        try:
            self._look(event, args, _getframe(1))
        finally:
            self._looking = False

    def _look(self, event: str, args: tuple, frame: Any) -> None:
        what = "code that the grader cannot see"
        if event == "sys.settrace" and getattr(getattr(gettrace(), "__self__", None), "gives_up", False):
            return  # a tracer that raises is taken away by Python itself
        if event in LOOKS_AROUND or event == "object.__getattr__":
            unseen, what = frame.f_code.co_filename not in HERE, "the variables of other code"
        elif event in ATTRIBUTES:
            unseen, what = self._is_others(*args[:2]), "what others' code does"
        elif event == "import":
            if args[1] and self._absent:
                self._absent.loading(args[1], frame)
            unseen = args[0].partition(".")[0] in NATIVE_MODULES or (args[1] and not _is_library(args[1]))
        elif event == "compile":
            unseen = _is_library(args[1])
        elif event == "open":
            package = self._absent.source_of(args[0]) if self._absent and isinstance(args[0], str) else ""
            if package and self._is_read_by_student(frame):
                self._loaded_out_of_sight(package, frame)
            return
        else:
            unseen = True
        if unseen and self._is_students(frame, passed=LOOKED_PAST.get(event.partition(".")[0], ())):
            self._note_or_keep(f"{event} ({what})", self._exercises, frame)

    def _is_others(self, value: Any, name: str) -> bool:
        """Whether what is set in `value` is not the student's own to set: a library's function, class or module."""
        if isinstance(value, types.FunctionType):
            file = value.__code__.co_filename
            return file not in self.files and (_is_library(file) or not file.startswith("<"))
        if name == "__class__":
            return isinstance(value, types.ModuleType)
        return name == "__bases__" and _is_library(getattr(sys.modules.get(value.__module__), "__file__", ""))

    def _note_or_keep(self, name: str, forbidden_in: set[str], frame: Any) -> None:
        """A breach; one that happens before anything is watched is kept until something is."""
        if self._watched is not None:
            self._note(name, forbidden_in, *self._watched)
        else:
            line, exercise = self._place(frame)
            blamed = forbidden_in & ({exercise} if exercise else forbidden_in)
            for each in sorted(blamed.difference(known for known, *_ in self._unseen)):
                self._unseen.append((each, name, line or 1))
                self.tell(self._unseen[-1])

    def _is_students(self, frame: Any, alias: str = "", passed: tuple[str, ...] = ()) -> bool:
        """Whether it is the student's code that calls what goes by `alias` there, and not a library for itself.

        A library's code that does not mention the alias is one that calls what it is given, as `np.vectorize` does.
        Without an alias, only the files that begin with `passed` are looked past.
        """
        while frame is not None:
            code = frame.f_code
            if code.co_filename in self.files or (code is READS_SOURCE and self._is_source(frame.f_locals.get("filename"))):
                return code is not READS_SOURCE
            if _is_library(code.co_filename):
                if not code.co_filename.startswith(passed) if not alias else _mentions(frame, alias):
                    return False
            frame = frame.f_back
        return self._watched is not None and self._watched[0] is not None

    def _is_graders(self, value: Any) -> bool:
        """Whether it is a function of the grader's, or of a scenario."""
        file = value.__code__.co_filename if isinstance(value, types.FunctionType) else "<"
        return file not in self.files and not file.startswith("<") and not _is_library(file)

    def _is_led(self, frame: Any) -> bool:
        """Whether the student's code called the library that asks: `typing.get_type_hints` runs what annotations say."""
        if frame.f_code is ANNOTATIONS and not frame.f_locals.get("eval_str"):  # for a signature; it runs nothing
            return False
        while frame is not None and (_is_library(frame.f_code.co_filename) or frame.f_code.co_filename.startswith("<")):
            frame = frame.f_back
        return frame is not None and frame.f_code.co_filename in self.files

    def _is_read_by_student(self, frame: Any) -> bool:
        """Whether it is the student's code that reads a file, and no import statement, traceback or library does."""
        while frame is not None and frame.f_code is not READS_SOURCE and not imports.stated(frame):
            file = frame.f_code.co_filename
            if file in self.files:
                return True
            if _is_library(file) and not file.startswith(LOOKED_PAST["open"]):
                return False
            frame = frame.f_back
        return False

    def _is_source(self, file: Any) -> bool:
        return file in self.files or _is_library(file)

    def _followed(self, start: Callable) -> Callable:
        def started(function: Callable, *rest: Any, **options: Any) -> Any:
            frame, watched = _getframe(1), self._watched
            if watched is None and self.importing and not imports.is_for_a_library(frame, self.files):
                self._note_or_keep("a thread that begins while the file is imported", self._exercises, frame)
            called, first = watched or (None, 0)
            line, exercise = self._place(frame)
            watch = _Watch(self, exercise or called, line or first)

            def run(*args: Any, **kwargs: Any) -> Any:
                if watched is not None:
                    with watch:
                        return function(*args, **kwargs)
                for mode in watch.modes:  # whatever call it may still go on in: the next may be watched
                    mode.__enter__()
                return function(*args, **kwargs)

            return start(run, *rest, **options)

        return callables.closed(started)

    def _seal(self) -> tuple:
        """What must be the same after a call as before it."""
        tables = (self._functions, self._operators, self._callables)
        rules = [{name: frozenset(found) for name, found in table.items()} for table in tables]
        kinds = [dict(vars(kind)) for kind in (Audit, _Watch, _FunctionWatch, _OperatorWatch)]
        own = (frozenset(self._exercises), self._without_engine, self.files, set(vars(self)), self.tell,
               self._absent and dict(vars(self._absent)))  # fmt: skip
        return rules, kinds, tuple(self._order), own, callables.in_place()

    def function(self, function: Callable, called: str | None, line: int = 0) -> None:
        try:
            forbidden_in = self._functions.get(function)
        except TypeError:
            return
        if forbidden_in:
            self._note(self._names[function], forbidden_in, called, line)

    def operator(self, operator: Any, called: str | None, line: int = 0) -> bool:
        """Whether an operator is forbidden to nobody; a breach is noted if it is not."""
        name, forbidden_in = self._forbidden_operator(operator)
        if forbidden_in:
            self._note(f"aten::{name}", forbidden_in, called, line)
        return not forbidden_in

    def engine(self, called: str | None, line: int = 0) -> None:
        """A breach, if an operator is run by a node of PyTorch's own in a backward pass, and the student's code began that.

        A node of a student's own `autograd.Function` runs what its `backward` says, which the student wrote.
        """
        if self._is_done_by_student(_getframe(2)) and type(_current_autograd_node()).__base__ is object:
            self._note("torch.autograd, the engine", self._without_engine, called, line)

    def any_operator(self, called: str | None, line: int = 0) -> None:
        """A breach, where all of PyTorch is forbidden, unless a function that the student was given runs the operator."""
        if self._is_done_by_student(_getframe(2)):
            self._note("torch", self._operators[ANY], called, line)

    def _is_done_by_student(self, frame: Any) -> bool:
        """Whether it is the student's code that the libraries work for, and not a scenario's; also where nobody can be seen."""
        while frame is not None and frame.f_code.co_filename not in self.files:
            if id(frame.f_globals) in self.others and frame.f_code.co_filename not in HERE:
                return False
            frame = frame.f_back
        return True

    def _forbidden_operator(self, operator: Any) -> tuple[str, set[str]]:
        name = operator._schema.name.partition("::")[2]
        return name, self._operators.get(name) or self._operators.get(name.rstrip("_")) or set()

    def _note(self, name: str, forbidden_in: set[str], called: str | None, line: int = 0) -> None:
        """A breach, unless no code of the student's is on the stack and `line` is 0."""
        here, exercise = self._place(_getframe(2))
        line, blamed = here or line * (not self._over), [exercise or called]
        if self._over and called is None and not exercise:
            blamed = sorted(forbidden_in)
        if exercise and self._order.get(called, len(self._order)) < self._order[exercise]:
            blamed.append(called)  # a later exercise that it calls is a helper
        for each in blamed:
            if line and each in forbidden_in and not any(each == known for known, *_ in self.breaches):
                self._add((each, name, line))

    def _place(self, frame: Any) -> tuple[int, str]:
        """The student's line nearest on the stack (0 if there is none), and the exercise that it belongs to ("" if to none)."""
        line = 0
        while frame is not None:
            code = frame.f_code
            if code.co_filename in self.files:
                line = line or frame.f_lineno
                exercise = code.co_qualname.partition(".")[0]
                if exercise in self._exercises:
                    return line, exercise
            frame = frame.f_back
        return line, ""


class _Watch:
    """What `Audit.watch` gives. No code of Python's comes between the student's and a call's end: it could have been replaced."""

    def __init__(self, audit: Audit, called: str | None, line: int):
        self._audit, self._call = audit, (called, line)
        self._functions, self._operators = _FunctionWatch(audit, called, line), _OperatorWatch(audit, called, line)
        # A mode takes as long as most operators do, and has nothing to look for in many modules.
        self.modes = [*[self._functions] * bool(audit._functions), *[self._operators] * bool(audit._operators)]

    def __enter__(self) -> Callable[[], None]:
        audit = self._audit
        if not audit._exercises:
            return lambda: None
        self._sealed = audit._sealed or audit._seal()
        audit._watched, self._outer = self._call, audit._watched
        self._sound = audit._is_founded()
        for mode in self.modes:
            mode.__enter__()
        return audit._is_over

    def __exit__(self, *error: Any) -> None:
        audit = self._audit
        if not audit._exercises:
            return
        # Now: whatever would undo a change when a mode ends has not done so yet.
        entered = _modes()
        left = [mode for mode in self.modes if _is_among(mode, entered)]
        sound = self._sound and audit._is_founded() and len(entered) == len(left) == len(self.modes)
        for mode in reversed(left):
            mode.__exit__(*error)
        audit._watched, audit._over = self._outer, False
        for breach in audit._unseen:
            audit._add(breach)
        changed = "" if sound else "what PyTorch or Python itself consists of"
        if audit._seal() != self._sealed or not self._operators.are_harmless():
            changed = "the grader's own objects"  # the code went through frames to get here, and changed what is forbidden
        if changed:
            audit.breaches = []
            for name in audit._exercises:
                audit._add((name, f"a change of {changed}", self._call[1] or 1))


class _FunctionWatch(TorchFunctionMode):
    def __init__(self, audit: Audit, called: str | None, line: int):
        super().__init__()
        self._audit, self._called, self._line = audit, called, line

    def __torch_function__(self, function: Callable, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        self._audit.function(function, self._called, self._line)
        return function(*args, **(kwargs or {}))


class _OperatorWatch(TorchDispatchMode):
    """Looks at each operator once, by its identity, and calls what is under it: to hash and to call one takes PyTorch longer."""

    def __init__(self, audit: Audit, called: str | None, line: int):
        super().__init__()
        self._audit, self._called, self._line = audit, called, line
        self._harmless: dict[int, Any] = {}
        self._forbids_any = ANY in audit._operators and (called is None or called in audit._operators[ANY])

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Nothing here is compiled, and to say so at each operator takes PyTorch longer than looking at it."""
        return False

    def __torch_dispatch__(self, operator: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        if id(operator) not in self._harmless and self._audit.operator(operator, self._called, self._line):
            self._harmless[id(operator)] = operator
        if self._forbids_any:
            self._audit.any_operator(self._called, self._line)
        if self._audit._without_engine and _current_autograd_node() is not None:
            self._audit.engine(self._called, self._line)
        return operator._op(*args, **(kwargs or {}))

    def are_harmless(self) -> bool:
        """Whether the operators that are looked past are those that were found to be forbidden to nobody."""
        known = self._harmless.items()
        return not any(key != id(operator) or self._audit._forbidden_operator(operator)[1] for key, operator in known)


for kind in (Audit, _Watch, _FunctionWatch, _OperatorWatch, Namespace):
    keep_class(kind)


def _modes() -> list[Any]:
    """The modes that this thread is in, but for a default device, which PyTorch keeps as one."""
    stacks = (_len_torch_function_stack, _get_function_stack_at), (_len_torch_dispatch_stack, _get_dispatch_stack_at)
    return [mode for length, at in stacks for i in range(length()) if type(mode := at(i)) is not DeviceContext]


def _is_among(one: Any, others: list[Any]) -> bool:
    """Whether it is one of these itself, and not only equal to it."""
    return any(map(partial(is_, one), others))


def _without_frames(set_handler: Callable) -> Callable:
    """What sets a signal's handler, which is called with no frame: that leads into the variables of whoever was interrupted."""

    def signal(number: int, handler: Any, /) -> Any:
        return set_handler(number, (lambda number, _: handler(number, None)) if callable(handler) else handler)

    return callables.closed(signal)


def _is_library(file: Any) -> bool:
    return isinstance(file, str) and file.startswith(LIBRARIES)


def _mentions(frame: Any, alias: str) -> bool:
    """Whether the frame's code calls what goes by `alias` by this name, or by the operator `@`, or asks for it by `getattr`."""
    code = frame.f_code
    if alias.startswith("__") and alias in code.co_consts:
        return True
    return alias in code.co_names or (alias in MATRIX_PRODUCTS and code.co_code[frame.f_lasti] == BINARY_OP)


def _names(code: types.CodeType, name: str) -> bool:
    """Whether the code, or that of a function or class in it, has the name."""
    return name in code.co_names or any(_names(inner, name) for inner in code.co_consts if isinstance(inner, types.CodeType))


def _is_out_of_sight(function: Any) -> bool:
    """Whether a function of PyTorch's is written in Python and does not ask for modes."""
    code = getattr(function, "__code__", None)
    return code is not None and not any("torch_function" in name for name in code.co_names)


def _resolve(name: str) -> Any:
    """The callable that a dotted name under torch stands for, or that a mode is asked for where it is an attribute; or None."""
    value: Any = torch
    for part in name.split(".")[1:]:
        value = getattr(value, part, None)
    if isinstance(value, types.GetSetDescriptorType):
        return value.__get__
    return value if callable(value) else None
