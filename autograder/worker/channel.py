"""Frames over a stream socket, each within a deadline that covers the whole transfer."""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Callable
from os import readv, write  # as they are now: in a worker the student's code could put something else in their place
from typing import Any

from autograder.worker import wire
from autograder.worker.apart import keep_builtins

keep_builtins(globals())
CHUNK = 1 << 20
FAILED, CUT_OFF = 111, 112  # exit statuses of a test's process: it could not go on by itself, and its channel was taken away


class DeadlinePassed(Exception):
    """The transfer was not complete in time."""


class Closed(Exception):
    """The other end has gone."""


class Deadline:
    """A time to be done by. While `starved` says that the other side is not getting the processor, it moves, up to four times."""

    def __init__(self, seconds: float, starved: Callable[[], bool] = lambda: False):
        now = time.monotonic()
        self._seconds = seconds
        self._end, self._last = now + seconds, now + 4 * seconds
        self._starved = starved

    def left(self) -> float:
        """Seconds left, more than none; DeadlinePassed after that."""
        now = time.monotonic()
        if now >= self._end:
            if now >= self._last or not self._starved():
                raise DeadlinePassed
            self._end = min(now + self._seconds / 4, self._last)
        return max(self._end - now, 0.001)


class Channel:
    """One end of a conversation in frames. Without a deadline it waits for as long as it takes.

    Bytes go by read and write, not by socket calls: a confined child has none of those.
    """

    def __init__(self, end: socket.socket):
        end.setblocking(False)
        self.socket = end
        self._fd = end.fileno()
        self._poll = select.poll()
        self._poll.register(self._fd, select.POLLIN)

    def send(self, value: Any, deadline: Deadline | None = None) -> None:
        """Encode and send one value."""
        self.send_raw(wire.encode(value), deadline)

    def send_raw(self, data: bytes, deadline: Deadline | None = None) -> None:
        """Send bytes as they are."""
        left = memoryview(data)
        while left:
            try:
                left = left[write(self._fd, left[:CHUNK]) :]
            except BlockingIOError:
                self._wait(select.POLLOUT, deadline)
            except OSError:
                raise Closed from None

    def receive(self, deadline: Deadline | None = None) -> Any:
        """The next value; WireError when what came is not one."""
        head, body = wire.lengths(self._exactly(wire.HEADER.size, deadline))
        frame = memoryview(self._exactly(head + body, deadline))
        return wire.decode(bytes(frame[:head]), frame[head:])

    def receive_command(self) -> tuple[bytes, int]:
        """One byte and the descriptor that came with it, -1 if none did."""
        self._wait(select.POLLIN, None)
        data, descriptors, _, _ = socket.recv_fds(self.socket, 1, 1)
        if not data:
            raise Closed
        return data, descriptors[0] if descriptors else -1

    def close(self) -> None:
        self.socket.close()

    def _exactly(self, n_bytes: int, deadline: Deadline | None) -> bytearray:
        """So many bytes. The memory grows with what really comes, whatever was announced, and by the same steps whatever the
        pieces are that it comes in: what a test's process holds must not depend on how busy the machine is.
        """
        data, filled = bytearray(min(n_bytes, CHUNK)), 0
        while filled < n_bytes:
            if filled == len(data):
                data += bytes(min(n_bytes - filled, filled))
            self._wait(select.POLLIN, deadline)
            try:
                with memoryview(data) as view, view[filled:] as rest:
                    piece = readv(self._fd, [rest])
            except BlockingIOError:
                continue
            except OSError:
                raise Closed from None
            if not piece:
                raise Closed
            filled += piece
        return data

    def _wait(self, event: int, deadline: Deadline | None) -> None:
        poll = self._poll
        if event != select.POLLIN:
            poll = select.poll()
            poll.register(self._fd, event)
        while not poll.poll(None if deadline is None else deadline.left() * 1000):
            pass
