"""The command line. Exit status: 0 done (whatever the score), 1 a check failed, 2 usage, 3 the grader itself failed."""

from __future__ import annotations

import importlib
import importlib.util
import os
import signal
import sys
import traceback

import typer

from autograder.course import CourseError
from autograder.intake import UsageError

SINGLE_THREADED = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
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
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what was made is cleaned away
    try:
        sys.exit(app(standalone_mode=False) or 0)  # a typer.Exit comes back as its status
    except (UsageError, CourseError) as error:
        _fail(str(error), 2)
    except typer.Abort:
        _fail("stopped", 130)
    except KeyboardInterrupt:
        _fail("stopped", 130)
    except Exception as error:
        if hasattr(error, "format_message"):  # click's usage errors
            _fail(error.format_message(), 2)
        if type(error).__name__ != "GraderError":
            traceback.print_exc()
        _fail(f"the grader itself failed: {error}", 3)


def _fail(message: str, status: int) -> None:
    print(f"autograder: {message}", file=sys.stderr)
    sys.exit(status)
