"""What a test leaves in the one folder that it may write in is gone when the next one begins."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from autograder.worker.client import Job, Worker

LEAVING = """
import os

depth = DEPTH
SEEN = os.path.exists("d/" * depth + "keep/seen")
start = os.getcwd()
if not SEEN:
    for _ in range(depth):
        os.mkdir("d")
        os.chdir("d")
    os.mkdir("keep", 0o300)
    open("keep/seen", "w").close()
    os.chdir(start)


def seen():
    return SEEN
"""


@pytest.mark.parametrize("depth", [0, 1500], ids=["cannot be listed", "lie deeper than there are descriptors"])
def test_files_that_are_hard_to_find_do_not_stay(zygote, depth):
    """In a folder that can be entered and not listed, however deep that lies."""
    worker = Worker(zygote, Job(files={"leaving.py": LEAVING.replace("DEPTH", str(depth))}, main="leaving"))
    try:
        for _ in range(3):
            worker.start()
            reply = worker.request(op="call", name="seen", args=(), kwargs={})
            assert reply.get("value") is False, reply
            worker.renew()
    finally:
        worker.close()


def test_a_grader_that_is_killed_leaves_no_work_folder(tmp_path):
    """Nobody can tidy up after SIGKILL but the zygote, which sees that the grader has gone."""
    code = """
import sys
from autograder.worker.client import Job, Worker
from autograder.worker.launch import Zygote

zygote = Zygote()
worker = Worker(zygote, Job(files={"work.py": ""}, main="work"))
worker.start()
print(zygote.folder, flush=True)
sys.stdin.read()
"""
    how = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "env": {**os.environ, "TMPDIR": str(tmp_path)}}
    grader = subprocess.Popen([sys.executable, "-c", code], **how)
    folder = Path(grader.stdout.readline().strip())
    assert any(folder.iterdir())
    grader.kill()
    grader.communicate()
    deadline = time.monotonic() + 30
    while folder.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not folder.exists()
