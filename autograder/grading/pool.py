"""Tasks in forks of this process, a few at a time: each starts from the same state, and none can harm another or this process."""

from __future__ import annotations

import os
import resource
import select
import signal
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from autograder import interrupts
from autograder.worker import sandbox

MEMORY_BYTES = 8 << 30  # beyond what is mapped at the fork: a bound on what a hostile reply can make a test compute


@dataclass(frozen=True)
class Died:
    """A task's process ended without an answer; `why` says how."""

    why: str


@dataclass
class _Child:
    index: int
    slot: int
    pid: int
    deadline: float
    data: bytearray = field(default_factory=bytearray)


def in_forks(
    tasks: Iterable[Callable[[int], bytes]], at_once: int, seconds: Callable[[int], float]
) -> Iterator[tuple[int, bytes | Died]]:
    """Run every task in a fork, at most `at_once` together, and yield (index, what it returned) as each ends.

    A task is called with its slot, 0 .. at_once - 1, which no other running task has. One that takes longer than
    `seconds(index)` is killed, and so are its own forks. Forks are cheap after `pages.settle()`. The next task is asked for
    as soon as one has begun, so that what it takes to make it is done while others run.
    """
    waiting = enumerate(tasks)
    upcoming = next(waiting, None)
    running: dict[int, _Child] = {}
    free = list(range(at_once))[::-1]
    poll = select.poll()
    try:
        while upcoming or running:
            interrupts.check()
            while upcoming and free:
                (index, task), slot = upcoming, free.pop()
                reader, pid = _fork(task, slot, list(running))
                running[reader] = _Child(index, slot, pid, time.monotonic() + seconds(index))
                poll.register(reader, select.POLLIN | select.POLLHUP)
                upcoming = next(waiting, None)
            for reader, _ in poll.poll(200):
                child = running[reader]
                piece = os.read(reader, 1 << 20)
                child.data += piece
                if piece:
                    continue
                poll.unregister(reader)
                os.close(reader)
                del running[reader]
                free.append(child.slot)
                status = os.waitpid(child.pid, 0)[1]
                yield child.index, bytes(child.data) if status == 0 else Died(_how(status))
            for child in running.values():
                if time.monotonic() > child.deadline:
                    os.kill(child.pid, signal.SIGKILL)
    finally:
        for reader, child in running.items():
            os.kill(child.pid, signal.SIGKILL)
            os.waitpid(child.pid, 0)
            os.close(reader)


def _fork(task: Callable[[int], bytes], slot: int, others: list[int]) -> tuple[int, int]:
    reader, writer = os.pipe()
    # A Control-C in the middle of a fork would be raised where modules renew their locks, and Python ignores what they raise.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    pid = os.fork()
    if pid:
        os.close(writer)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        return reader, pid
    status = 3
    try:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        sandbox.die_with_parent()
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        for descriptor in (reader, *others):
            os.close(descriptor)
        mapped = int(Path("/proc/self/statm").read_text().split()[0])
        bound = mapped * resource.getpagesize() + MEMORY_BYTES
        resource.setrlimit(resource.RLIMIT_AS, (bound, resource.RLIM_INFINITY))
        answer = memoryview(task(slot))
        while answer:
            answer = answer[os.write(writer, answer) :]
        status = 0
    except KeyboardInterrupt:  # Control-C goes to every process of the terminal
        pass
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        os._exit(status)


def _how(status: int) -> str:
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        return "it took too long" if number == signal.SIGKILL else f"it was ended by {signal.Signals(number).name}"
    return f"it ended with status {os.WEXITSTATUS(status)}"
