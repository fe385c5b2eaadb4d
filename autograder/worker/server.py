"""The child's side: a confined worker that holds one submission's module, and the fork of it that runs one test.

The worker itself runs none of the student's code. It confines itself, compiles the files, and then forks on request:
the fork installs
the system-call filter, imports the student's module and answers calls until it is killed. So nothing that a student's code does
can reach another test, and no process can outlive its test, since that code cannot make one.
"""

from __future__ import annotations

import gc
import importlib
import importlib.util
import linecache
import marshal
import math
import os
import resource
import select
import signal
import socket
import sys
import tempfile
import time
import traceback
import types
from collections.abc import Callable
from importlib.machinery import ModuleSpec, SourceFileLoader
from os import _exit, fstat  # as they are now, whatever is put in their place later
from typing import Any

import numpy as np
import torch
import torch.nn.attention.bias
import torch.nn.functional

from autograder.testing import probes  # noqa: F401  the one module that scenario files import from
from autograder.testing.local import copied, position, same_bits
from autograder.worker import callables, imports, sandbox, seccomp, wire
from autograder.worker.apart import keep_builtins
from autograder.worker.audit import Audit, find_foundations
from autograder.worker.channel import CUT_OFF, FAILED, Channel, Closed

keep_builtins(globals())

SCRATCH = "scratch"  # the one folder that the student's code may write in
MAX_MESSAGE = 2000
LONG_TEXT, COMPILE_SECONDS = 30_000, 4  # characters
SPACES: set[int] = set()  # by identity, their namespaces
OURS: list[str] = []  # the grader's own modules, as `warm_up` finds them: to look through all modules copies their names' memory


def warm_up() -> None:
    """What every test's child will do, done once before the first fork, for whatever is set up at first use is then shared."""
    # What a Tensor's own constructor makes under a TorchDispatchMode cannot become a subclass, as PyTorch's causal biases do.
    torch.nn.attention.bias.CausalBias.__new__ = callables.closed(
        lambda cls, *sizes, **named: torch.Tensor._make_subclass(cls, torch.empty([*sizes, *named.values()]))
    )
    audit = Audit({"call": {"functions": ["torch.softmax"], "operators": ["_softmax"]}})
    with audit.watch("call"):
        x = torch.randn(4, 6, requires_grad=True)
        y = (x - x.amax(-1, keepdim=True)).exp()
        y = torch.where(y > 0.5, y / y.sum(dim=-1, keepdim=True), 0 * y).mT.reshape(4, 6)
        ((y @ x.mT)[:, 1:].float() * 2 + torch.cat([torch.zeros(4, 1), torch.arange(8.0).view(4, 2)], dim=1)).mean().backward()
    value = {"value": [x, (1, 2.5, None)], "changed": []}
    frame = wire.encode(value)
    head, body = wire.lengths(frame[: wire.HEADER.size])
    wire.decode(frame[wire.HEADER.size : wire.HEADER.size + head], frame[len(frame) - body :])
    same_bits(copied([x]), [x])
    callables.find_aliases()
    imports.note_loaded()
    find_foundations()
    OURS[:] = [name for name in sys.modules if name.partition(".")[0] == "autograder"]
    SPACES.update(id(vars(sys.modules[name])) for name in OURS)


def work(channel: Channel, readable: list[str], own_user: bool, bpf: bytes | None, namespaces: list[str]) -> None:
    """Confine this process, take one submission's files, then fork a child for each test until the channel closes."""
    try:
        config = channel.receive()
        in_force = _confine(config, namespaces, readable, own_user, bpf)
        audit = Audit(config["rules"])
        folder, files = config["work"], config["files"]
        audit.files = frozenset(_path(folder, name) for name in _sources(files))
        audit.others.update(SPACES)
        finder = _Compiled(folder, files, config["compiled"])
        sys.meta_path.insert(0, finder)
        importlib.import_module("exercises")  # ours and empty
        scenarios = {key: _scenarios(key, code, audit) for key, code in config["scenarios"].items()}
        audit.guard()
        for name in OURS:
            del sys.modules[name]  # the student's code needs nothing of the grader, and could only change it
        gc.freeze()
    except BaseException as error:
        channel.send({"failed": f"{type(error).__name__}: {error}"})
        return
    channel.send({"sandbox": in_force})
    child = 0
    while True:
        try:
            command, descriptor = channel.receive_command()
        except Closed:
            break
        if command == b"t":
            child = os.fork()
            if child == 0:
                _become_test(descriptor, config, audit, scenarios, bpf)
            os.close(descriptor)
        elif command == b"v":
            finder.replace(**channel.receive())
        elif command in b"kq" and child:
            status = _end(child)
            _empty_scratch()
            child = 0
            if command == b"k":
                channel.send({"status": status})
    if child:
        _end(child)


def _end(child: int) -> int:
    """Kill the child (if it has not ended by itself) and return its wait status: 9 for a kill."""
    pid, status = os.waitpid(child, os.WNOHANG)
    if not pid:
        os.kill(child, signal.SIGKILL)
        pid, status = os.waitpid(child, 0)
    return status


def _empty_scratch() -> None:
    """Remove what a test left behind, so that the next one finds nothing of it, be it in folders that nobody may list, or in
    more of them, one in the other, than there are descriptors or letters in a path.
    """
    inside, left = [], [_emptied()]
    while left:
        if left[-1]:
            inside.append(left[-1].pop())
            os.chmod(inside[-1], 0o700)
            os.chdir(inside[-1])
            left.append(_emptied())
        else:
            left.pop()
            if inside:
                os.chdir("..")
                os.rmdir(inside.pop())


def _emptied() -> list[str]:
    """Remove this folder's files; the names of the folders in it."""
    folders = []
    for entry in list(os.scandir(".")):
        if entry.is_dir(follow_symlinks=False):
            folders.append(entry.name)
        else:
            os.unlink(entry.name)
    return folders


def _confine(config: dict, namespaces: list[str], readable: list[str], own_user: bool, bpf: bytes | None) -> list[str]:
    """Everything but the system-call filter; returns what is in force, in words."""
    folder = config["work"]
    uid = sandbox.FIRST_UID + config["slot"] if own_user else os.geteuid()
    in_force = [f"namespaces: {' '.join(namespaces)}" if namespaces else "missing: namespaces"]
    if "mount" in namespaces and sandbox.private_work_folder(folder, uid):
        in_force.append("private work folder")
    scratch = os.path.join(folder, SCRATCH)
    made = [folder, scratch, *_write_files(folder, config["files"])]
    os.mkdir(scratch)
    os.chdir(scratch)
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(null, descriptor)
    for name in list(os.environ):
        if name not in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "LANG", "PATH", "MPLBACKEND"):
            del os.environ[name]
    os.environ["TMPDIR"] = os.environ["HOME"] = os.environ["MPLCONFIGDIR"] = scratch
    tempfile.tempdir = None  # where temporary files go was found out in the zygote
    sys.path[:0] = [folder]
    alone = own_user or ("pid" in namespaces and os.geteuid() != 0)  # whether no one else's processes count
    sandbox.take_small_pages()
    sandbox.limit(config["memory_mb"], config["cpu_seconds"], sandbox.PROCESSES if alone else resource.RLIM_INFINITY)
    in_force.append("resource limits")
    if not alone and not sandbox.processes_are_bounded():
        in_force.append("missing: a bound on threads")
    if own_user:
        for path in made:
            os.chown(path, uid, uid)
    in_force += sandbox.drop_privileges(uid)
    landlock = sandbox.confine_files([*readable, folder], scratch)
    return [*in_force, landlock or "missing: Landlock", "seccomp allow list" if bpf else "missing: seccomp"]


def _sources(files: dict[str, str]) -> dict[str, str]:
    """The package `exercises` as the student's code sees it: file name → text."""
    return {"__init__.py": "", **files}


def _write_files(folder: str, files: dict[str, str]) -> list[str]:
    """Write the package; returns every folder and file that was made."""
    made = []
    for name, text in _sources(files).items():
        path = _path(folder, name)
        parent = os.path.dirname(path)
        if parent not in made:
            os.makedirs(parent, exist_ok=True)
            made.append(parent)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        made.append(path)
    sys.dont_write_bytecode = True
    return made


def _path(folder: str, name: str) -> str:
    return os.path.join(folder, "exercises", name)


class _Compiled:
    """Finds the submission's modules, compiled already, so that no test's process has to look for them and read them."""

    def __init__(self, folder: str, files: dict[str, str], compiled: dict[str, bytes]):
        self._folder = folder
        self._specs: dict[str, ModuleSpec] = {}
        self._add(_sources(files), compiled)

    def replace(self, files: dict[str, str], compiled: dict[str, bytes]) -> None:
        """From now on these are found, and their text shown, in the place of those that were written into the folder."""
        self._add(files, compiled)
        for file, text in files.items():
            path = _path(self._folder, file)
            linecache.cache[path] = len(text), None, text.splitlines(keepends=True), path

    def _add(self, files: dict[str, str], compiled: dict[str, bytes]) -> None:
        for file, text in files.items():
            path = _path(self._folder, file)
            name = f"exercises.{file.removesuffix('.py').replace('/', '.')}".removesuffix(".__init__")
            try:
                if file in compiled:
                    code = _placed(marshal.loads(compiled[file]), path)
                else:
                    code = _compile_apart(text, path) if _may_take_long(text) else _compile(text, path)
            except Exception:
                self._specs.pop(name, None)
                continue  # the import in the test's child says what is wrong
            self._specs[name] = importlib.util.spec_from_loader(name, _Loader(name, path, code))

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        return self._specs.get(name)


class _Loader(SourceFileLoader):
    """Loads as from the file, where `inspect` finds the source, but runs code that was compiled before."""

    def __init__(self, name: str, path: str, code: types.CodeType):
        super().__init__(name, path)
        self._code = code

    def get_code(self, name: str) -> types.CodeType | None:
        return self._code


def _compile(text: str, path: str) -> types.CodeType:
    return compile(text.encode(), path, "exec", dont_inherit=True)


def _may_take_long(text: str) -> bool:
    """The compiler writes what is to be done finally once for each way that leads there."""
    return len(text) > LONG_TEXT or text.count("finally") > 1


def _compile_apart(text: str, path: str) -> types.CodeType:
    """As `_compile`, in a process that may take some seconds and no more. EOFError where they were not enough."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            resource.setrlimit(resource.RLIMIT_CPU, (COMPILE_SECONDS, COMPILE_SECONDS))
            with os.fdopen(writer, "wb") as file:
                marshal.dump(_compile(text, path), file)
        finally:
            os._exit(0)
    os.close(writer)
    data, end = b"", time.monotonic() + 2 * COMPILE_SECONDS
    try:
        while select.select([reader], [], [], max(0.0, end - time.monotonic()))[0]:
            piece = os.read(reader, 1 << 20)
            if not piece:
                break
            data += piece
    finally:
        os.close(reader)
        _end(child)
    return marshal.loads(data)


def _placed(code: types.CodeType, path: str) -> types.CodeType:
    """The code as from the file at `path`."""
    parts = (_placed(part, path) if isinstance(part, types.CodeType) else part for part in code.co_consts)
    return code.replace(co_filename=path, co_consts=tuple(parts))


def _scenarios(key: str, code: bytes, audit: Audit) -> types.ModuleType:
    module = types.ModuleType(f"scenarios_{key}")
    module.__dict__.update(torch=torch, np=np, math=math, F=torch.nn.functional)
    audit.others.add(id(module.__dict__))
    exec(marshal.loads(code), module.__dict__)
    return module


def _become_test(descriptor: int, config: dict, audit: Audit, scenarios: dict, bpf: bytes | None) -> None:
    """In the fork: drop every other descriptor, install the filter, import the student's module, answer calls. Never returns."""
    status = FAILED
    try:
        sandbox.die_with_parent()
        os.dup2(descriptor, 3)
        os.closerange(4, 1 << 16)
        channel = Channel(socket.socket(fileno=3))
        torch.set_num_threads(1)  # PyTorch makes its pool of threads anew in a fork: now, since two threads may not do so at once
        if bpf:
            seccomp.install(bpf)
        _serve(channel, config["main"], audit, scenarios)
        status = 0
    finally:
        os._exit(status)


def _teller(channel: Channel) -> Callable[[tuple[str, str, int]], None]:
    """What tells the grader of a breach, by nothing that the student's code could have changed for the while.

    It ends the process where the descriptor no longer leads to the grader.
    """
    descriptor = channel.socket.fileno()
    own = fstat(descriptor)

    def tell(breach: tuple[str, str, int]) -> None:
        exercise, name, line = breach
        name = "".join([c if c.isascii() and (c.isalnum() or c in " ._:,-*@()'") else "?" for c in name[:200]])
        head = f'["d",["told",["l","{exercise}","{name}",{line}]]]'.encode()
        try:
            there = fstat(descriptor)
            if (there.st_dev, there.st_ino) != (own.st_dev, own.st_ino):
                raise OSError
            channel.send_raw(wire.HEADER.pack(len(head), 0) + head)
        except (OSError, Closed):
            _exit(CUT_OFF)

    return tell


def _serve(channel: Channel, main: str, audit: Audit, scenarios: dict[str, types.ModuleType]) -> None:
    audit.tell_by(_teller(channel))
    try:
        audit.importing = True
        module = importlib.import_module(f"exercises.{main}")
        audit.importing = False
        channel.send({"ready": True})
    except BaseException as error:
        channel.send({"error": describe(error, audit.files)})
        return
    while True:
        request = channel.receive()
        reply: dict[str, Any] = {"id": request["id"]}
        audit.breaches = []
        if request["op"] == "run" and request["code"]:
            scenarios[request["scenarios"]] = _scenarios(request["scenarios"], request["code"], audit)
        audited = request.get("watched", True) and audit.concerns(request["name"] if request["op"] == "call" else None)
        try:
            answer = _run if request["op"] == "run" else _call
            reply |= answer(module, request, audit if audited else None, scenarios)
        except _NotPlain as error:
            reply["error"] = _returned(error)
        except BaseException as error:
            reply["error"] = describe(error, audit.files)
        reply["breaches"] = audit.breaches
        try:
            frame = wire.encode(reply)
        except Exception as error:
            frame = wire.encode({"id": request["id"], "error": _returned(error), "breaches": audit.breaches})
        channel.send_raw(frame)


class _NotPlain(Exception):
    """What the student's code gave cannot be written down; the message says why."""


def _written(value: Any, changed: list[str]) -> dict[str, bytes]:
    """The answer in bytes, before the watch ends: nothing of the student's can then do later what is watched now. _NotPlain."""
    try:
        return {"written": wire.encode({"value": wire.plain(value), "changed": changed})}
    except Exception as error:  # a value of the student's own making can fail in any way when it is looked at
        raise _NotPlain(str(error)) from None


def _returned(error: Exception) -> dict[str, str]:
    return {"type": "AssertionError", "returned": str(error)[:MAX_MESSAGE], "message": "", "where": ""}


def _call(module: types.ModuleType, request: dict, audit: Audit | None, scenarios: dict) -> dict[str, Any]:
    args, kwargs = list(request["args"]), request["kwargs"]
    function = getattr(module, request["name"])
    before = copied([*args, *kwargs.values()])

    def called(is_over: Callable[[], None] = lambda: None) -> tuple[Any, list[str]]:
        value = function(*args, **kwargs)
        is_over()
        names = [*(position(function, i) for i in range(len(args))), *kwargs]
        return value, [key for key, a, b in zip(names, before, [*args, *kwargs.values()], strict=True) if not same_bits(a, b)]

    if not audit:
        value, changed = called()
        return {"value": value, "changed": changed}
    line = getattr(getattr(function, "__code__", None), "co_firstlineno", 1)
    with audit.watch(request["name"], line) as is_over:
        return _written(*called(is_over))


def _run(module: types.ModuleType, request: dict, audit: Audit | None, scenarios: dict) -> dict[str, Any]:
    scenario = getattr(scenarios[request["scenarios"]], request["name"])
    if audit:
        with audit.watch(None) as is_over:
            value = scenario(module, *request["args"], **request["kwargs"])
            is_over()
            return _written(value, [])
    return {"value": scenario(module, *request["args"], **request["kwargs"]), "changed": []}


def describe(error: BaseException, files: frozenset[str]) -> dict[str, Any]:
    """An exception as plain data: the names of its types, nearest first, a bounded message, and where in the
    student's file it arose.
    """
    names = [kind.__name__ for kind in type(error).__mro__ if kind.__module__ == "builtins"]
    try:
        message = str(error)[:MAX_MESSAGE]
    except BaseException:
        message = "(its message cannot be read)"
    where = ""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename in files]
    if frames:
        where = f"{os.path.basename(frames[-1].filename)}, line {frames[-1].lineno}: {(frames[-1].line or '')[:200]}"
    elif isinstance(error, SyntaxError) and error.filename in files:
        where = f"{os.path.basename(error.filename)}, line {error.lineno}: {(error.text or '').strip()[:200]}"
        message = str(error.msg)
    if isinstance(error, MemoryError) and not message:
        message = "out of memory"
    return {"type": type(error).__name__[:100], "bases": names, "message": message, "where": where}
