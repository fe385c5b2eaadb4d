"""The trusted side of the zygote. It imports nothing that takes long, so that the zygote warms up while its parent does."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import autograder

START_SECONDS = 120  # importing torch from a cold disk; only ever waited for once
CLEAN_ENVIRONMENT = {
    "PATH": "/usr/bin:/bin",
    "LANG": "C.UTF-8",
    "MPLBACKEND": "Agg",
    "PYTHONHASHSEED": "0",
    "PYTHONMALLOC": "malloc",  # see pages.py
    "PYTHONSAFEPATH": "1",
    "PYTHONNOUSERSITE": "1",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
}


class GraderError(Exception):
    """The grader's own machinery failed; never the student's doing."""


class Zygote:
    """A process that has imported torch and forks workers. Its control socket may be shared by forks of this process."""

    def __init__(self, private: Sequence[Path] = (), preload: Sequence[str] = ()):
        self.folder = tempfile.mkdtemp(prefix="llm-course-")  # all work folders lie in it and go with it
        os.chmod(self.folder, 0o711)
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"), "llm-from-scratch", "matplotlib")
        command = [sys.executable, "-m", "autograder.worker.zygote", str(theirs.fileno())]
        hidden = json.dumps([str(path) for path in [*private, Path(autograder.__file__).parent]])
        self._process = subprocess.Popen(
            [*command, hidden, json.dumps(list(preload)), self.folder],
            env={**CLEAN_ENVIRONMENT, "MPLCONFIGDIR": str(cache)},
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            pass_fds=[theirs.fileno()],
            start_new_session=True,
        )
        theirs.close()
        self._ready = False

    def wait(self) -> None:
        """Return once the zygote is warm; GraderError with what it printed when it cannot start."""
        if self._ready:
            return
        self._control.settimeout(START_SECONDS)
        try:
            answer = self._control.recv(16)
        except OSError:
            answer = b""
        if answer != b"ready":
            self._process.kill()
            said = self._process.stderr.read().decode(errors="replace").strip().splitlines()
            raise GraderError(f"the worker process could not start: {said[-1] if said else 'it did not answer'}")
        self._control.settimeout(None)
        self._ready = True

    def connect(self) -> socket.socket:
        """One end of a channel to a fresh worker."""
        ours, theirs = socket.socketpair()
        try:
            socket.send_fds(self._control, [b"w"], [theirs.fileno()])
        except OSError as error:
            self.wait()  # it may never have come to life, and then says why
            raise GraderError(f"the worker process is gone: {error}") from None
        finally:
            theirs.close()
        return ours

    def close(self) -> None:
        self._control.close()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stderr.close()
        shutil.rmtree(self.folder, ignore_errors=True)
