"""Control-C and SIGTERM end a command, though what they raise is dropped on the way."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

DEAF = """
import os, time

heard = 0
os.kill(os.getpid(), {number})
for _ in range(3):
    try:
        time.sleep(60)
    except BaseException:
        heard += 1
time.sleep(60)
"""
COMMAND = """
import os, signal, sys, time

from autograder import interrupts
from autograder.grading.pool import in_forks

interrupts.heed()
done = []
try:
    {body}
except KeyboardInterrupt:
    time.sleep(5 * interrupts.AGAIN_SECONDS)  # to clean up takes longer than the signal waits to come again
    print("cleaned up after", done)
    sys.exit(130)
"""


def run(folder: Path, body: str) -> subprocess.CompletedProcess[str]:
    """A command with this body that heeds the signals, in a folder with the module `deaf`."""
    code = COMMAND.format(body=body.replace("\n", "\n    "))
    return subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, timeout=50)


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_import_that_drops_the_signal_ends(tmp_path, number, status):
    (tmp_path / "deaf.py").write_text(DEAF.format(number=int(number)))
    ended = run(tmp_path, "import deaf")
    assert ended.returncode == status, ended.stderr
    assert ended.stdout == ("cleaned up after []\n" if status == 130 else ""), ended.stderr


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_that_was_dropped_is_heeded_before_the_next_task(tmp_path, number, status):
    dropped = (
        f"try:\n    os.kill(os.getpid(), {int(number)})\n    time.sleep(1)\nexcept BaseException:\n    done.append('dropped')\n"
    )
    ended = run(tmp_path, dropped + "list(in_forks([lambda slot: b''], 1, lambda index: 5))\ndone.append('gone on')")
    assert ended.returncode == status, ended.stderr
    assert ended.stdout == ("cleaned up after ['dropped']\n" if status == 130 else ""), ended.stderr


def test_a_signal_in_an_import_is_not_raised_again_once_it_has_ended_the_import(tmp_path):
    (tmp_path / "heeds.py").write_text("import os, time\nos.kill(os.getpid(), 2)\ntime.sleep(60)\n")
    ended = run(tmp_path, "import heeds")
    assert (ended.returncode, ended.stdout) == (130, "cleaned up after []\n"), ended.stderr


def test_what_runs_in_the_background_may_be_told_to_ignore_control_c(tmp_path):
    code = COMMAND.format(body="os.kill(os.getpid(), signal.SIGINT)").replace(
        "\ninterrupts.heed", "\nsignal.signal(2, signal.SIG_IGN)\ninterrupts.heed"
    )
    ended = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=50)
    assert (ended.returncode, ended.stdout) == (0, ""), ended.stderr


def test_control_c_before_the_command_line_is_there_ends_without_a_traceback(tmp_path):
    (tmp_path / "typer.py").write_text(f"import os, time\nos.kill(os.getpid(), {int(signal.SIGINT)})\ntime.sleep(60)\n")
    command = [sys.executable, "-m", "autograder", "--help"]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=50)
    assert (ended.returncode, ended.stdout, ended.stderr) == (-signal.SIGINT, "", "")
