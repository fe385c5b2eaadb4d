"""The command line. Exit status: 0 done (whatever the score), 1 a check failed, 2 usage, 3 the grader itself failed."""

from __future__ import annotations

import atexit
import errno
import importlib
import importlib.util
import os
import sys
import traceback

import typer

from autograder import interrupts
from autograder.course import CourseError
from autograder.intake import UsageError

SINGLE_THREADED = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
NO_MORE_OUTPUT = (errno.ENOSPC, errno.EDQUOT, errno.EIO)  # a full disk, most often
COMMANDS = (  # in the order of the help; a student's checkout has only the first few
    "student.commands", "student.upgrade_command", "grading.commands", "reports.commands", "milestones.commands",
    "authoring.gate_commands", "authoring.commands", "nbgrader.commands", "ci.commands",
)  # fmt: skip

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="How large language models are made: work on the exercises, grade them, run a course.",
)
for _name in COMMANDS:
    _folder = importlib.util.find_spec(f"autograder.{_name.partition('.')[0]}")
    if _folder and importlib.util.find_spec(f"autograder.{_name}"):
        importlib.import_module(f"autograder.{_name}").register(app)


def main() -> None:
    """The console script `autograder`."""
    for name in SINGLE_THREADED:  # before anything imports torch: processes with threads must not fork
        os.environ[name] = "1"
    os.environ.setdefault("TRITON_INTERPRET", "1")  # kernels are tested on the CPU; a milestone's worker says otherwise
    interrupts.heed()  # so that what was made is cleaned away
    _leave(_status())


def _status() -> int:
    try:
        status = app(standalone_mode=False) or 0  # a typer.Exit comes back as its status, and so does Control-C
        return _failed("stopped", status) if status == 130 else status
    except SystemExit as error:
        return error.code if isinstance(error.code, int) else int(error.code is not None)
    except (UsageError, CourseError) as error:
        return _failed(str(error), 2)
    except (typer.Abort, KeyboardInterrupt):
        return _failed("stopped", 130)
    except Exception as error:
        if hasattr(error, "format_message"):  # click's usage errors; without a word where the help says it all
            return _failed(error.format_message(), 2)
        if isinstance(error, OSError) and error.errno in NO_MORE_OUTPUT:
            return _failed(f"nothing more can be written: {os.strerror(error.errno)}", 3)
        if type(error).__name__ != "GraderError":
            traceback.print_exc()
        return _failed(f"the grader itself failed: {error}", 3)


def _failed(message: str, status: int) -> int:
    if message:
        print(f"autograder: {message}", file=sys.stderr)
    return status


def _leave(status: int) -> None:
    """End at once: to take the interpreter apart costs a second where torch is loaded, and serves nobody."""
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:  # nobody reads on, or the disk is full
            status = status or 120  # as Python itself has it
    os._exit(status)
