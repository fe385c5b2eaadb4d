"""What a student's own threads do is as safe as it is in a process that was never forked."""

from autograder.worker.client import Job, Worker
from autograder.worker.sandbox import PROCESSES

TOGETHER = """
import threading

import torch

N = 8


def together():
    barrier, seen = threading.Barrier(N), []

    def one():
        x = torch.eye(64)
        barrier.wait()
        seen.append(float((x @ x).sum() + x.exp().sum() + x.softmax(-1).sum()))

    threads = [threading.Thread(target=one) for _ in range(N)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return len(seen)
"""


def test_threads_that_begin_together_all_end_well(zygote):
    """PyTorch sets up its pool of threads anew in a fork, at first use, and two threads may not do so at once."""
    worker = Worker(zygote, Job(files={"together.py": TOGETHER}, main="together"))
    try:
        for _ in range(60):
            worker.start()
            assert worker.request(op="call", name="together", args=(), kwargs={})["value"] == 8
            worker.renew()
    finally:
        worker.close()


SLEEPING = """
import threading
import time


def started(n):
    threading.stack_size(32768)
    for i in range(n):
        try:
            threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
        except RuntimeError:
            return i
    return n
"""


def test_threads_that_sleep_do_not_use_up_the_systems_process_numbers(zygote):
    """With small stacks, the memory alone would do for thousands."""
    worker = Worker(zygote, Job(files={"sleeping.py": SLEEPING}, main="sleeping"))
    try:
        n_started = worker.request(op="call", name="started", args=(2 * PROCESSES,), kwargs={})["value"]
    finally:
        worker.close()
    assert (n_started < PROCESSES) == ("missing: a bound on threads" not in worker.sandbox)
