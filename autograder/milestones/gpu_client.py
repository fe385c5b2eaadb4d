"""The trusted end of a GPU worker: it starts it, asks, keeps the clock, and watches the device's memory from outside."""

from __future__ import annotations

import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from autograder.milestones.problem import Problem
from autograder.worker import wire
from autograder.worker.channel import Channel, Closed, Deadline, DeadlinePassed

START_SECONDS = 180
POLL_SECONDS = 0.002
KEPT = ("PATH", "LANG", "LD_LIBRARY_PATH", "CUDA_HOME", "CUDA_VISIBLE_DEVICES", "CC")


class Failed(Exception):
    """The submission did not answer a measurement properly; `kind` is todo, failed, timeout or crashed."""

    def __init__(self, kind: str, message: str):
        super().__init__(message)
        self.kind = kind


class GpuWorker:
    """One confined process with one submission's files, for one kind of `task` ("kernel" or "training").

    `free_bytes` says how much of the device's memory is free. `scratch` is the folder that the process can write in.
    """

    def __init__(
        self,
        files: Mapping[str, str],
        device: str,
        private: Sequence[Path],
        free_bytes: Callable[[], int],
        task: str = "kernel",
    ):
        self._free_bytes = free_bytes
        self._scratch = tempfile.mkdtemp(prefix="llm-course-gpu-")
        ours, theirs = socket.socketpair()
        environment = {name: os.environ[name] for name in KEPT if name in os.environ}
        environment |= {"PYTHONSAFEPATH": "1", "PYTHONNOUSERSITE": "1", "OMP_NUM_THREADS": "1", "TMPDIR": self._scratch}
        environment["TRITON_INTERPRET"] = "0" if device.startswith("cuda") else "1"
        hidden = json.dumps([str(path) for path in private])
        arguments = [str(theirs.fileno()), device, self._scratch, hidden]
        root = Path(__file__).resolve().parents[2]
        self._process = subprocess.Popen(
            [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(root)!r})\n"
             "from autograder.milestones.gpu_worker import main; main()", *arguments],
            env=environment, cwd="/", stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            pass_fds=[theirs.fileno()], start_new_session=True,
        )  # fmt: skip
        theirs.close()
        self._channel = Channel(ours)
        self.sandbox: list[str] = []
        try:
            self._channel.send({"files": dict(files), "task": task})
            self.sandbox = self._receive(START_SECONDS, "the worker did not start within")["sandbox"]
            self._receive(START_SECONDS, "importing the file took longer than")
        except BaseException:
            self.close()
            raise

    def measure(
        self, problem: Problem, seeds: list[int], signs: int, seconds: float, values: bool = False
    ) -> tuple[dict[str, Any], float, int]:
        """(reply, seconds, bytes): the clock and the watch on the device's memory run here, from the question to the answer."""
        request = {"op": "measure", "problem": problem.to_plain(), "seeds": seeds, "signs": signs, "values": values}
        before = least = self._free_bytes()
        deadline = Deadline(seconds)
        start = time.perf_counter()
        self._channel.send(request, deadline)
        while not select.select([self._channel.socket], [], [], POLL_SECONDS)[0]:
            least = min(least, self._free_bytes())
            if time.perf_counter() - start > seconds:
                break
        reply = self._receive(max(0.1, seconds - (time.perf_counter() - start)), f"{seconds:g} s were not enough:")
        elapsed = time.perf_counter() - start
        least = min(least, self._free_bytes())
        return reply, elapsed, max(0, before - least)

    @property
    def scratch(self) -> Path:
        return Path(self._scratch)

    def ask(self, request: dict[str, Any], seconds: float, late: str) -> tuple[dict[str, Any], float]:
        """(reply, seconds from the question to the answer). Failed, with `late` in front, where the answer takes longer."""
        start = time.perf_counter()
        self._channel.send(request, Deadline(60))
        reply = self._receive(seconds, late)
        return reply, time.perf_counter() - start

    def rows(self, positions: list[list[list[int]]]) -> list[Any]:
        """Rows of the last outputs; the positions are chosen after the clock has stopped."""
        self._channel.send({"op": "rows", "positions": positions}, Deadline(60))
        return self._receive(60, "the rows did not come within").get("rows")

    def kill(self) -> None:
        """End the process and all that it started; what it wrote is still there."""
        try:
            os.killpg(self._process.pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            pass
        self._process.wait()

    def close(self) -> None:
        """End the process and all that it started, and throw away what it wrote."""
        self._channel.close()
        self.kill()
        shutil.rmtree(self._scratch, ignore_errors=True)

    def __enter__(self) -> GpuWorker:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _receive(self, seconds: float, late: str) -> dict[str, Any]:
        try:
            reply = self._channel.receive(Deadline(seconds))
        except DeadlinePassed:
            raise Failed("timeout", f"{late} {seconds:.3g} s") from None
        except Closed:
            raise Failed("crashed", "the process that ran the submission ended") from None
        except wire.WireError as error:
            raise Failed("crashed", f"the answer is not one: {error}") from None
        if not isinstance(reply, dict):
            raise Failed("crashed", "the answer is not one")
        if isinstance(reply.get("error"), dict):
            error = {key: str(value)[:1500] for key, value in reply["error"].items()}
            todo = error.get("type") == "NotImplementedError" and error.get("message", "").startswith("TODO")
            said = f"{error.get('type')}: {error.get('message')}" + (f"\n  {error['where']}" if error.get("where") else "")
            raise Failed("todo" if todo else "failed", said.replace(self._scratch, "."))
        return reply
