"""Frames over a stream socket, each within a deadline that covers the whole transfer."""

from __future__ import annotations

import os
import select
import socket
import time
from typing import Any

from autograder.worker import wire

CHUNK = 1 << 20


class DeadlinePassed(Exception):
    """The transfer was not complete in time."""


class Closed(Exception):
    """The other end has gone."""


class Channel:
    """One end of a conversation in frames. `deadline` is a `time.monotonic()` value, or None to wait for as long as it takes.

    Bytes go by read and write, not by socket calls: a confined child has none of those.
    """

    def __init__(self, end: socket.socket):
        end.setblocking(False)
        self.socket = end
        self._fd = end.fileno()
        self._poll = select.poll()

    def send(self, value: Any, deadline: float | None = None) -> None:
        """Encode and send one value."""
        self.send_raw(wire.encode(value), deadline)

    def send_raw(self, data: bytes, deadline: float | None = None) -> None:
        """Send bytes as they are."""
        left = memoryview(data)
        while left:
            try:
                left = left[os.write(self._fd, left[:CHUNK]) :]
            except BlockingIOError:
                self._wait(select.POLLOUT, deadline)
            except OSError:
                raise Closed from None

    def receive(self, deadline: float | None = None) -> Any:
        """The next value; WireError when what came is not one."""
        head, body = wire.lengths(self._exactly(wire.HEADER.size, deadline))
        return wire.decode(self._exactly(head, deadline), self._exactly(body, deadline))

    def receive_command(self) -> tuple[bytes, int]:
        """One byte and the descriptor that came with it, -1 if none did."""
        self._wait(select.POLLIN, None)
        data, descriptors, _, _ = socket.recv_fds(self.socket, 1, 1)
        if not data:
            raise Closed
        return data, descriptors[0] if descriptors else -1

    def close(self) -> None:
        self.socket.close()

    def _exactly(self, n_bytes: int, deadline: float | None) -> bytearray:
        data = bytearray()  # grows with what really comes, whatever was announced
        while len(data) < n_bytes:
            try:
                piece = os.read(self._fd, min(CHUNK, n_bytes - len(data)))
            except BlockingIOError:
                self._wait(select.POLLIN, deadline)
                continue
            except OSError:
                raise Closed from None
            if not piece:
                raise Closed
            data += piece
            if deadline is not None and time.monotonic() > deadline:
                raise DeadlinePassed
        return data

    def _wait(self, event: int, deadline: float | None) -> None:
        left = None if deadline is None else (deadline - time.monotonic()) * 1000
        if left is not None and left <= 0:
            raise DeadlinePassed
        self._poll.register(self._fd, event)
        if not self._poll.poll(left):
            raise DeadlinePassed
