"""The node's log: one line of JSON per event, on standard error.

The page on running lists the events. Keys and reasons of a peer are text that JSON escapes, and no
line holds a secret.

Logging never harms. A line is written only as far as standard error takes it at once; what is left
waits, up to a bound, for the next event, and beyond it lines are dropped and counted. Each peer has
a few lines a second; those it exceeds them by are counted in its next line.
"""

import io
import json
import os
import select
import sys
import time
from collections import OrderedDict, deque
from contextlib import suppress
from typing import Final

NS_PER_MS: Final = 1_000_000
WAITING_MAX: Final = 256 * 2**10
"""Bytes of lines that wait for standard error."""
PART: Final = 512
"""Bytes that a pipe takes without waiting if it takes any, on every system (`PIPE_BUF`)."""
PEER_LINES: Final = 5
"""Lines of one peer in a second."""
PEERS_MAX: Final = 1024
"""Peers whose lines are counted; the one that was silent for the longest time is forgotten."""


class PeerLines:
    """Counts the lines of each peer within the current second."""

    def __init__(self) -> None:
        self._counts: OrderedDict[str, tuple[int, int]] = OrderedDict()

    def admit(self, peer: str, second: int) -> int | None:
        """Return how many lines of a peer were left out before this one, None to leave it out."""
        since, lines = self._counts.pop(peer, (second, 0))
        left_out = 0
        if since != second:
            left_out, since, lines = max(0, lines - PEER_LINES), second, 0
        self._counts[peer] = (since, lines + 1)
        if len(self._counts) > PEERS_MAX:
            self._counts.popitem(last=False)
        return None if lines >= PEER_LINES else left_out


class Lines:
    """The lines on their way to standard error."""

    def __init__(self) -> None:
        self._waiting: deque[bytes] = deque()
        self._size = 0
        self._lost = 0

    def put(self, line: dict[str, object]) -> None:
        """Write a line, or keep it until standard error takes more, or drop it."""
        if self._lost and self._size < WAITING_MAX // 2:
            lost, self._lost = self._lost, 0
            self._add({"event": "lines-lost", "at_ms": line["at_ms"], "lines": lost})
        self._add(line)
        self.flush()

    def _add(self, line: dict[str, object]) -> None:
        # JSON leaves this one control character as it is.
        data = json.dumps(line).replace("\x7f", "\\u007f").encode() + b"\n"
        if self._size + len(data) > WAITING_MAX:
            self._lost += 1
            return
        self._waiting.append(data)
        self._size += len(data)

    def flush(self) -> None:
        """Write what standard error takes without waiting."""
        stream = sys.stderr
        if stream is None:
            self._drop()
            return
        try:
            number = stream.fileno()
        except (OSError, ValueError, io.UnsupportedOperation):
            # A stream within this process, as tests have.
            with suppress(OSError, ValueError):
                stream.write(b"".join(self._waiting).decode())
            self._waiting.clear()
            self._size = 0
            return
        try:
            while self._waiting and is_writable(number):
                self._write_part(number)
        except OSError:
            self._drop()

    def _write_part(self, number: int) -> None:
        data = self._waiting.popleft()
        written = os.write(number, data[:PART])
        self._size -= written
        if data[written:]:
            self._waiting.appendleft(data[written:])

    def _drop(self) -> None:
        """Drop every line: nobody reads them."""
        self._lost += len(self._waiting)
        self._waiting.clear()
        self._size = 0


def is_writable(number: int) -> bool:
    """Return True if a file takes some bytes without waiting."""
    poll = select.poll()
    poll.register(number, select.POLLOUT)
    return any(events & select.POLLOUT for _, events in poll.poll(0))


_LINES: Final = Lines()
"""Of the process, as standard error is: its nodes share it."""


class NodeLog:
    """The log of one node, with the limit to the lines of its peers."""

    def __init__(self) -> None:
        self._peers = PeerLines()

    def write(self, event: str, **facts: object) -> None:
        """Write an event, with the time in ms since 1970; never waits and never raises OSError."""
        at_ms = time.time_ns() // NS_PER_MS
        line: dict[str, object] = {"event": event, "at_ms": at_ms, **facts}
        # A caller has as many endpoint ids as it likes, but not addresses.
        peer = facts.get("address") or facts.get("peer")
        if isinstance(peer, str):
            left_out = self._peers.admit(peer, at_ms // 1000)
            if left_out is None:
                return
            if left_out:
                line["left_out"] = left_out
        _LINES.put(line)
