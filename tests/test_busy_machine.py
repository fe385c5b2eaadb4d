"""On a machine that has other things to do, a module's time is the time that its code used."""

import os
import subprocess
import sys

import pytest
import torch

from autograder.worker.client import Job, Stopped, Worker, Zygote

CALL_SECONDS = 0.1
DILIGENT = f"""
import time


def double(x):
    end = time.process_time() + {CALL_SECONDS}
    while time.process_time() < end:
        pass
    return x + x
"""
SLEEPY = DILIGENT.replace("    while", f"    time.sleep({CALL_SECONDS})\n    while", 1)


@pytest.fixture
def one_processor_for_three():
    """The number of a processor on which two other processes never pause."""
    processor = min(os.sched_getaffinity(0))
    busy = f"import os; os.sched_setaffinity(0, [{processor}]); exec('while True: pass')"
    others = [subprocess.Popen([sys.executable, "-c", busy], start_new_session=True) for _ in range(2)]
    yield processor
    for other in others:
        other.kill()
        other.wait()


def calls_within(zygote: Zygote, source: str, seconds: float, processor: int, tests: int = 3) -> int:
    """How many calls, three in a test, a module has the time for."""
    worker = Worker(zygote, Job(files={"twice.py": source}, main="twice", module_seconds=seconds))
    os.sched_setaffinity(worker.pid, [processor])
    n_answered = 0
    try:
        for _ in range(tests):
            worker.start()
            for _ in range(3):
                reply = worker.request(op="call", name="double", args=(torch.ones(2),), kwargs={})
                assert torch.equal(reply["value"], torch.full((2,), 2.0))
                n_answered += 1
            worker.renew()
    except Stopped as stopped:
        assert stopped.kind == "timeout" and str(stopped) == "the time for this module was used up"
    finally:
        worker.close()
    return n_answered


def test_waiting_for_a_processor_costs_no_time(zygote, one_processor_for_three):
    """The calls need 0.9 of 1.8 seconds, and by the clock some 2.7."""
    assert calls_within(zygote, DILIGENT, 18 * CALL_SECONDS, one_processor_for_three) == 9


def test_nor_does_it_when_hardly_any_is_left(zygote, one_processor_for_three):
    """The last of three calls begins with 0.6 of its seconds left, needs 0.25, and gets them by the clock in 0.75."""
    longer = DILIGENT.replace(f"+ {CALL_SECONDS}", f"+ {2.5 * CALL_SECONDS}")
    assert calls_within(zygote, longer, 11 * CALL_SECONDS, one_processor_for_three, tests=1) == 3


def test_what_the_code_does_costs_time(zygote, one_processor_for_three):
    """With time for four calls and a half there are not nine, and sleeping counts as working does."""
    processor = one_processor_for_three
    assert calls_within(zygote, DILIGENT, 4.5 * CALL_SECONDS, processor) <= 5
    assert calls_within(zygote, SLEEPY, 9 * CALL_SECONDS, processor) <= 5
