"""Kernels that are quick to start: forks of one process that has imported what every lesson does.

A lesson's first imports, first plot and first check take longer than all else in it. A kernel from here is IPython's own in
all other respects: its connection, its folder and its environment are those that it would have been started with.
"""

from __future__ import annotations

import gc
import importlib
import io
import multiprocessing
import os
import signal
import sys
import time

INLINE = "module://matplotlib_inline.backend_inline"  # what a kernel sets, unless it is there
IMPORTS = (
    "torch", "torch._dynamo", "matplotlib.pyplot", "ipykernel.kernelapp", "ipykernel.ipkernel", "matplotlib_inline.config",
    "autograder.testing.cells", "autograder.testing.plugin", "autograder.testing.strategies", "autograder.testing.probes",
    "autograder.testing.assertions",
)  # fmt: skip


def launch(command: list[str], env: dict[str, str], cwd: str, **_) -> Kernel:
    """What `jupyter_client.launcher.launch_kernel` does, with a fork: `command` is `python -m ipykernel_launcher …`."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    process = context.Process(target=_be_kernel, args=(command[3:], env, cwd))
    before = dict(os.environ)
    os.environ.update(MPLBACKEND=INLINE, AUTOGRADER_WARM_KERNELS="1")
    os.environ["PYTHONPATH"] = os.path.dirname(__file__)  # the process that forks imports this file
    try:
        process.start()
    finally:
        os.environ.clear()
        os.environ.update(before)
    while process.is_alive() and os.getpgid(process.pid) != process.pid:
        time.sleep(0.001)  # signals go to its group, which must not be the one that forks
    return Kernel(process)


class Kernel:
    """As much of a `subprocess.Popen` as a kernel's provisioner uses."""

    stdin = stdout = stderr = None

    def __init__(self, process: multiprocessing.Process):
        self._process, self.pid = process, process.pid

    def poll(self) -> int | None:
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int | None:
        self._process.join(timeout)
        return self._process.exitcode

    def send_signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def _be_kernel(arguments: list[str], env: dict[str, str], cwd: str) -> None:
    os.setsid()
    os.environ.clear()
    os.environ.update(env)
    os.chdir(cwd)
    sys.path[:0] = env.get("PYTHONPATH", "").split(os.pathsep)
    sys.argv[1:] = [*arguments, f"--IPKernelApp.parent_handle={os.getppid()}"]  # with which it ends
    from ipykernel.kernelapp import launch_new_instance

    launch_new_instance()


def _warm_up() -> None:
    """In the process that forks: what takes long once."""
    from _pytest.config import default_plugins

    for name in (*IMPORTS, *(f"_pytest.{plugin}" for plugin in default_plugins)):
        importlib.import_module(name)
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure()
    axes = figure.subplots()
    axes.imshow([[0, 1]])
    axes.plot([0, 1], label="$x$")
    axes.set_title("a title")
    axes.legend()
    FigureCanvasAgg(figure).print_png(io.BytesIO())
    sys.modules.pop("matplotlib_inline.backend_inline", None)  # it looks for its kernel when it is imported
    gc.collect()
    gc.freeze()


if os.environ.get("AUTOGRADER_WARM_KERNELS") and multiprocessing.current_process().name == "MainProcess":
    _warm_up()
