"""The warm start: a process that has imported torch, and forks a worker on request. It never sees a test, a solution or a secret.

Run as `python -m autograder.worker.zygote CONTROL_FD PRIVATE_PATHS PRELOAD FOLDER`; the work folders lie in FOLDER. Each
datagram on the control socket brings one descriptor, the worker's end of its channel. On it the worker says what confines
it, and the zygote, before or after that, the worker's process number as seen from outside.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import shutil
import signal
import socket
import sys
from functools import partial

THREADS = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


OWN_MEMORY_BYTES = 64 << 10
SEED = 0  # of the global random states: every test's child starts with the same


def main() -> None:
    gc.disable()  # until `pages.settle()`: there is hardly any garbage, and looking for it takes a fifth of the imports' time
    os.environ.update(THREADS)
    os.environ["TRITON_INTERPRET"] = "1"  # read when triton is first imported, which torch does; a worker has no GPU
    # What modules do at a fork (random takes a new seed, logging renews its locks) has no use in a process without
    # threads, costs a third of a fork, and would give each test another random state.
    os.register_at_fork = lambda **handlers: None
    import random

    from autograder.worker import pages

    # Tensors get memory of their own and give it back at once, so that peaks are what the code holds and nothing else: in the
    # heap, aligned as they are, they leave pieces behind that the next ones do not fit into.
    pages.begin(OWN_MEMORY_BYTES)
    control = socket.socket(fileno=int(sys.argv[1]))
    private, preload, folder = json.loads(sys.argv[2]), json.loads(sys.argv[3]), sys.argv[4]
    import numpy as np
    import torch
    import torch.utils.flop_counter  # noqa: F401  for the probes

    from autograder.worker import sandbox, seccomp, server
    from autograder.worker.channel import Channel

    for name in preload:
        with contextlib.suppress(Exception):  # whose module cannot be imported is told by whoever opens the module's suite
            importlib.import_module(name)
    torch.set_num_threads(1)
    square = torch.ones(64, 64, requires_grad=True)
    (square @ square).sum().backward()  # the libraries set themselves up now, not in every worker
    server.warm_up()
    random.seed(SEED)
    np.random.seed(SEED)
    torch.manual_seed(SEED)
    threads = len(os.listdir("/proc/self/task"))
    assert threads == 1, f"the zygote must be single-threaded to fork safely, and has {threads} threads"
    bpf = seccomp.program()
    readable = sandbox.readable_paths(private)
    own_user = sandbox.can_be_another_user([os.__file__, torch.__file__, folder])
    sys.path[:] = [path for path in sys.path if path and "site-packages" in path or path.startswith(sys.base_prefix)]
    sys.path_importer_cache.clear()
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] == "autograder" and hasattr(module, "__path__"):
            module.__path__ = []  # workers have what they need of the grader, and can look for no more of it
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    pages.settle()
    control.send(b"ready")
    while True:
        try:
            data, descriptors, _, _ = socket.recv_fds(control, 1, 1)
        except ConnectionError:  # it ended before it had read "ready"
            data = b""
        if not data:  # the grader has ended, perhaps without having been able to tidy up
            shutil.rmtree(folder, ignore_errors=True)
            os._exit(0)
        channel = Channel(socket.socket(fileno=descriptors[0]))
        child, first = sandbox.fork_into_pid_namespace()
        if child == 0:
            control.close()
            _start(channel, first, sandbox, partial(server.work, channel, readable, own_user, bpf))
        if first:
            _tell(channel, child)
        channel.close()
        _reap()


def _start(channel, first: bool, sandbox, work) -> None:
    """In the fork: enter namespaces and work. Who is not root gets a pid namespace only so late that it takes one fork more."""
    try:
        os.setsid()
        namespaces = sandbox.isolate(first)
        child = 0 if first else os.fork()
        if child:
            _tell(channel, child)
            channel.close()
            os.waitpid(child, 0)
        else:
            if "pid" in namespaces:
                sandbox.bound_processes()
            work(namespaces)
    finally:
        os._exit(0)


def _tell(channel, child: int) -> None:
    """Tell the grader the worker's process number, as both of us see it."""
    try:
        channel.send({"pid": child})
    except Exception:  # it has gone, and the worker will see that by itself
        pass


def _reap() -> None:
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass


if __name__ == "__main__":
    main()
