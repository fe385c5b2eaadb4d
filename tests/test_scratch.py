"""What a test leaves in the one folder that it may write in is gone when the next one begins."""

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
