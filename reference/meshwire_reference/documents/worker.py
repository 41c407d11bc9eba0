"""The worker process: reads calls from standard input, answers each at once on standard output.

Its memory is limited, and it ends with its input. Hostile bytes (panic, abort, endless
work) can end only this process; `documents.supervisor` starts it and judges it.

Usage: python -m meshwire_reference.documents.worker ACTOR_HEX MEMORY_BYTES LAST_RESORT_S
"""

import os
import resource
import select
import signal
import sys
from collections import deque
from typing import Final

from meshwire_reference.core.document_calls import Forget
from meshwire_reference.documents.pipe import (
    FAILED,
    READY,
    SKIP,
    Frame,
    PipeReader,
    decode_request,
    encode_frame,
    encode_reply,
)

READ_BYTES: Final = 2**20


def write_all(descriptor: int, data: bytes) -> None:
    """Write every byte; a pipe takes what fits."""
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def confine(memory_bytes: int) -> None:
    """Cap the memory, leave no core file, and leave interrupts of the terminal to the parent."""
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    cap = memory_bytes if hard == resource.RLIM_INFINITY else min(memory_bytes, hard)
    resource.setrlimit(resource.RLIMIT_AS, (cap, hard))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Its default action ends the process, also inside the library, also without a parent.
    signal.signal(signal.SIGALRM, signal.SIG_DFL)


class Requests:
    """The requests on standard input, in order, and which of them are to be left out."""

    def __init__(self) -> None:
        self._reader = PipeReader()
        self._waiting: deque[Frame] = deque()
        self._skipped: set[int] = set()
        self._ended = False

    def next(self) -> Frame | None:
        """Return the next request, waiting for it; None when the input has ended."""
        # Input that came meanwhile is read first: it may skip requests that wait here.
        while not self._ended and (not self._waiting or select.select((0,), (), (), 0)[0]):
            data = os.read(0, READ_BYTES)
            self._ended = not data
            for frame in self._reader.feed(data):
                if frame.kind == SKIP:
                    self._skipped.add(frame.number)
                else:
                    self._waiting.append(frame)
        return self._waiting.popleft() if self._waiting else None

    def is_skipped(self, number: int) -> bool:
        """Return True if this request must be left out; a later skip comes too late."""
        skipped = number in self._skipped
        # Numbers rise, so that a skip of this one or of an earlier one has had its chance.
        self._skipped = {one for one in self._skipped if one > number} if self._skipped else set()
        return skipped


def serve(answers: int, actor: bytes, last_resort_s: float) -> None:
    """Answer calls until the input ends."""
    from meshwire_reference.documents.table import Table  # noqa: PLC0415  # may be missing

    table = Table(actor)
    requests = Requests()
    write_all(answers, encode_frame(READY, 0, b""))
    while frame := requests.next():
        call, stored = decode_request(frame)
        # A document that was released is not an absent one: its bytes must be sent again.
        is_missing = stored is None and not isinstance(call, Forget) and not table.holds(call)
        if requests.is_skipped(frame.number) or is_missing:
            write_all(answers, encode_frame(SKIP, frame.number, b""))
            continue
        signal.setitimer(signal.ITIMER_REAL, last_resort_s)
        result = table.answer(call, stored)
        released = table.entries.release()
        reply = encode_reply(frame.number, result, held=table.holds(call), released=released)
        signal.setitimer(signal.ITIMER_REAL, 0)
        write_all(answers, reply)


def main(arguments: list[str]) -> int:
    """Run the worker; returns 1 when the library cannot be loaded."""
    actor, memory_bytes, last_resort_s = arguments
    # Whatever the library prints goes to standard error, which the parent drains.
    answers = os.dup(1)
    os.dup2(2, 1)
    confine(int(memory_bytes))
    try:
        serve(answers, bytes.fromhex(actor), float(last_resort_s))
    except ImportError as exc:
        write_all(answers, encode_frame(FAILED, 0, str(exc).encode()))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
