"""The lab binding over TCP as the suite dials it: what a target said before its socket failed."""

from __future__ import annotations

import asyncio
import socket

import pytest

from meshwire_conformance.targets.lab_records import Preamble, record
from meshwire_conformance.targets.tcp import TcpConnection, connect_raw
from meshwire_conformance.targets.transport import Closed, Dial
from meshwire_spec.numbers import REASONS, LabRecordType

DEADLINE_S = 600.0
LATE_AT_S = 2.0**40
WRITES = 100
"""Writes by which the socket of a peer that has gone has failed."""
OURS, THEIRS = bytes(range(32)), bytes(range(32, 64))
TIMED_OUT = REASONS["handshake-timeout"].code

pytestmark = pytest.mark.socket


def test_a_close_that_waits_in_a_socket_that_fails_is_read() -> None:
    """A suite that is late writes first: it must know all the same why the target has closed."""

    async def run() -> tuple[Closed | None, bytes]:
        with socket.create_server(("127.0.0.1", 0)) as server:
            port = server.getsockname()[1]
            connection = await connect_raw("127.0.0.1", port, Dial(OURS), DEADLINE_S)
            target, _ = server.accept()
            close = record(LabRecordType.CLOSE, TIMED_OUT.to_bytes(8, "big"))
            target.sendall(Preamble(THEIRS).encode() + close)
            target.close()
        # Without a wait, so that the loop reads nothing before a write fails.
        for _ in range(WRITES):
            await connection.raw(record(LabRecordType.PING, bytes(8)))
        await connection.signal.wait_for(lambda: connection.ended, DEADLINE_S)
        return connection.closed, connection.endpoint_id

    assert asyncio.run(run()) == (Closed(TIMED_OUT, ""), THEIRS)


def test_what_is_written_by_hand_shows_whether_the_suite_was_late(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A preamble in pieces has no stream whose pauses are known."""

    async def run() -> float:
        connection = TcpConnection(Dial(OURS))
        monkeypatch.setattr("meshwire_conformance.targets.tcp.time.monotonic", lambda: LATE_AT_S)
        await connection.raw(b"\x4d")
        return connection.wrote_at

    assert asyncio.run(run()) == LATE_AT_S
