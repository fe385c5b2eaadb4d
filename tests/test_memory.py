"""What is read of a process's memory is what its code holds, and not what the allocator makes of it."""

import subprocess
import sys
from pathlib import Path

from autograder.grading.lookout import Lookout
from autograder.grading.remote import RemoteModule
from autograder.worker.client import Job, Worker

MIB = 1 << 20
BETWEEN = """
import torch

kept = []


def between(n_masks):
    masks = []
    for _ in range(n_masks):
        masks.append(torch.zeros(256, 256, dtype=torch.bool))
        kept.append(bytes(1000))
    return len(masks)
"""


def test_a_mask_gives_its_memory_back_whatever_was_allocated_after_it(zygote):
    """In the heap the free pieces would stay with the process, and each next mask might need another one."""
    worker = Worker(zygote, Job(files={"between.py": BETWEEN}, main="between"))
    try:
        held = []
        for n_masks in (1, 400):  # the first call maps what it needs of PyTorch's own files
            worker.request(op="call", name="between", args=(n_masks,), kwargs={})
            held.append(worker.usage()[0])
    finally:
        worker.close()
    assert (held[1] - held[0]) / MIB < 18  # of 25: what the heap has free at its end, 8 to 12 of them, takes some masks


BALLAST = """
import torch

kept = [torch.ones(1 << 24)]


def lets_go_of_it(n):
    kept.clear()
    return float(torch.ones(n).sum())
"""


def test_memory_that_was_kept_to_make_room_counts(zygote):
    """64 MiB are let go of and taken again: the call needs them."""
    worker = Worker(zygote, Job(files={"ballast.py": BALLAST}, main="ballast"))
    try:
        measured = RemoteModule(worker, frozenset(), {}, Lookout("")).measure("lets_go_of_it", 1 << 24)
    finally:
        worker.close()
    assert measured.value == 1 << 24 and measured.peak_bytes / MIB > 60


IN_A_THREAD = """
import threading
import time


def in_a_thread(seconds):
    def work():
        end = time.thread_time() + seconds
        while time.thread_time() < end:
            pass

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
"""


def test_the_processor_time_of_threads_counts(zygote):
    """Of those that have ended, too."""
    worker = Worker(zygote, Job(files={"in_a_thread.py": IN_A_THREAD}, main="in_a_thread"))
    try:
        measured = RemoteModule(worker, frozenset(), {}, Lookout("")).measure("in_a_thread", 0.3)
    finally:
        worker.close()
    assert 0.27 < measured.cpu_seconds < 0.6


COLLECTING = """
import gc


def is_collected():
    return gc.isenabled()
"""


def test_garbage_is_collected_and_new_memory_comes_in_small_pages(zygote):
    """Imports are done without the one, and in large pages: a submission runs as anywhere else."""
    worker = Worker(zygote, Job(files={"collecting.py": COLLECTING}, main="collecting"))
    try:
        assert worker.request(op="call", name="is_collected", args=(), kwargs={})["value"] is True
        assert "THP_enabled:\t0\n" in Path(f"/proc/{worker.pid}/status").read_text()
    finally:
        worker.close()


def test_a_settled_process_collects_garbage_again():
    code = "import gc; gc.disable(); from autograder.worker import pages; pages.settle(); print(gc.isenabled())"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60).stdout == "True\n"
