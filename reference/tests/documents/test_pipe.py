"""Requests to the worker, in pieces that are written as the pipe takes them."""

import asyncio
from typing import cast

import pytest

from meshwire_reference.core.document_calls import Call, Merge, Receive, Save
from meshwire_reference.documents.pipe import (
    GREAT,
    PipeReader,
    decode_request,
    encode_request,
)
from meshwire_reference.documents.process import WRITE_BYTES, WorkerProcess

GREAT_STRING = b"\x01\x02\x03" * (GREAT // 2)
CALLS: list[tuple[Call, bytes | None]] = [
    (Receive(259, "notes:a", GREAT_STRING), None),
    (Receive(259, "notes:a", b"\x05\x06"), GREAT_STRING[1:]),
    (Merge("notes:b", cast("bytes", bytearray(GREAT_STRING)), 513), b""),
    (Merge("notes:b", b"\x07", None), b"\x08\x09"),
    (Save("notes:c"), GREAT_STRING),
]


@pytest.mark.parametrize("row", CALLS, ids=range(len(CALLS)))
def test_a_request_reads_back(row: tuple[Call, bytes | None]) -> None:
    """Whatever is great in it, and whatever comes before and behind."""
    other: tuple[Call, bytes | None] = (Save("notes:d"), b"\x0a")
    requests = [[other], [row], [row, row], [other]]
    data = b"".join(
        piece for number, one in enumerate(requests) for piece in encode_request(number, one)
    )
    frames = list(PipeReader().feed(data))

    assert [frame.number for frame in frames] == [0, 1, 2, 3]
    assert [decode_request(frame) for frame in frames] == requests


def test_a_frame_comes_in_any_pieces() -> None:
    """Also if it is great, and the next one begins in the same piece."""
    data = b"".join(encode_request(1, CALLS[:1]) + encode_request(2, CALLS[4:]))
    reader = PipeReader()
    frames = [
        frame
        for at in range(0, len(data), 100_003)
        for frame in reader.feed(data[at : at + 100_003])
    ]

    assert [decode_request(frame) for frame in frames] == [CALLS[:1], CALLS[4:]]


def test_a_great_string_is_a_piece_of_its_own() -> None:
    """It is not copied, however long it is."""
    pieces = encode_request(1, CALLS[:2])

    assert any(piece is GREAT_STRING for piece in pieces)
    assert sum(len(piece) for piece in pieces if len(piece) < GREAT) < 200


class Pipe:
    """A pipe that takes some bytes at a time."""

    def __init__(self, worker: WorkerProcess) -> None:
        self.writes: list[bytes] = []
        self._worker = worker

    def get_pipe_transport(self, _descriptor: int) -> "Pipe":
        """Return itself: the transport of a process and its pipe."""
        return self

    def write(self, data: memoryview) -> None:
        """Take a piece, and be full if it is not short."""
        assert not self._worker._is_full
        self.writes.append(bytes(data))
        if len(data) > 1000:
            self._worker.pause_writing()


def test_a_worker_is_sent_a_bounded_piece_in_a_turn() -> None:
    """The next one once the pipe has room, and what was sent meanwhile after it."""

    async def send_all() -> list[bytes]:
        worker = WorkerProcess()
        pipe = Pipe(worker)
        worker.connection_made(cast("asyncio.BaseTransport", pipe))
        worker.send(1, CALLS[:2])
        worker.skip(1)
        while worker._is_full:
            seen = len(pipe.writes)
            worker.resume_writing()
            assert len([one for one in pipe.writes[seen:] if len(one) > 1000]) <= 1
        return pipe.writes

    writes = asyncio.run(send_all())
    first, last = PipeReader().feed(b"".join(writes))

    assert max(map(len, writes)) == WRITE_BYTES
    assert decode_request(first) == CALLS[:2]
    assert (last.number, last.body) == (1, b"")
