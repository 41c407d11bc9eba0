"""What a case writes arrives cut and mixed as its circumstances say, and means the same."""

from __future__ import annotations

import asyncio
import random
from types import SimpleNamespace
from typing import Any

import pytest

from meshwire_conformance.catalogue.circumstances import PARAMETERS, Circumstances
from meshwire_conformance.contracts import Settings
from meshwire_conformance.socket_suite.calibration import Deadline
from meshwire_conformance.socket_suite.case_run import CaseRun
from meshwire_conformance.socket_suite.case_streams import Terms
from meshwire_conformance.socket_suite.composing import WITHOUT_EFFECT, Scope
from meshwire_conformance.socket_suite.inbox import Inbox
from meshwire_conformance.socket_suite.peers import Session
from meshwire_conformance.targets.lab import DataReceived, LabConnection, Preamble, Windows
from meshwire_conformance.targets.tcp import TcpConnection
from meshwire_conformance.targets.transport import Dial
from meshwire_spec.codec import Message, accept, decode, encode
from turns import all_wait

FRAME = encode(
    Message("stream_frame", {"key": "tracks:t-1", "type": 1, "payload": bytes(range(1, 41))})
)
PAYLOAD_AT = len(FRAME) - 40
FRAMED = {"kind": "stream_frame"}
DEADLINE_S = 600.0


class Wire(asyncio.Transport):
    """A transport that carries what is written to the other side."""

    def __init__(self, connection: TcpConnection, windows: Windows) -> None:
        super().__init__()
        self.connection = connection
        self.is_mute = False
        preamble = Preamble(bytes(32), windows=windows)
        self.far = LabConnection(preamble, random.Random(0), dialled=False)
        self.events: list[Any] = []

    def write(self, data: Any) -> None:
        """Carry the bytes, and what the other side answers at once."""
        self.events += self.far.receive(bytes(data))
        answer = self.far.take_output()
        if answer and not self.is_mute:
            asyncio.get_running_loop().call_soon(self.connection.data_received, answer)

    def is_closing(self) -> bool:
        """Return that it stays open."""
        return False


def run_in(circumstances: Circumstances, scale: float = 1.0) -> CaseRun:
    """A run of a case whose only parts are those that writing needs."""
    session = SimpleNamespace(inbox=Inbox(), settings=Settings(), target=None)
    terms = Terms("strict", Deadline(None, scale), circumstances=circumstances)
    return CaseRun("MW-0901", session, terms, Scope({}, 0), None)  # type: ignore[arg-type]  # fakes


def records(
    circumstances: Circumstances,
    data: bytes = FRAME,
    *,
    windows: Windows = Windows(),  # noqa: B008 - frozen
    options: dict[str, Any] = FRAMED,
) -> list[tuple[int, bytes]]:
    """The number of the stream and the data of each record that a case causes with one write."""

    async def written() -> list[tuple[int, bytes]]:
        connection = TcpConnection(Dial(bytes(32)))
        wire = Wire(connection, windows)
        connection.connection_made(wire)
        await connection.ready(DEADLINE_S)
        stream = await connection.open()
        await run_in(circumstances).write(stream, data, "snapshot", **options)
        await stream.finish()
        await all_wait()
        return [
            (event.stream_id, event.data)
            for event in wire.events
            if isinstance(event, DataReceived)
        ]

    return asyncio.run(written())


def bytes_on(found: list[tuple[int, bytes]], number: int) -> bytes:
    """Everything that came on a stream."""
    return b"".join(data for stream, data in found if stream == number)


def test_the_frame_without_effect_is_right() -> None:
    """A strict node accepts it, and it has no tombstone."""
    frame = decode("stream_frame", WITHOUT_EFFECT)
    batch = decode("tombstone_batch", frame.fields["payload"])

    assert accept("stream_frame", frame) is None
    assert accept("tombstone_batch", batch) is None
    assert batch.fields["tombstone_count"] == 0


@pytest.mark.parametrize("payload", PARAMETERS["payload"])
@pytest.mark.parametrize("size", PARAMETERS["records"])
def test_records_end_where_the_circumstances_say(size: str, payload: str) -> None:
    """Whole records are cut at the payload alone, and tiny ones have at most 5 bytes."""
    found = records(Circumstances(records=size, payload=payload))
    ends = {sum(len(data) for _, data in found[: number + 1]) for number in range(len(found))}
    wanted = {"anywhere": set(), "apart": {PAYLOAD_AT}, "split": {PAYLOAD_AT - 2}}[payload]

    assert bytes_on(found, 0) == FRAME
    assert wanted <= ends
    if size == "whole":
        assert ends == wanted | {len(FRAME)}
    if size == "tiny":
        assert max(len(data) for _, data in found) == 5


def test_only_the_front_of_a_long_message_goes_in_tiny_records() -> None:
    """Thousands of records would show nothing more."""
    long = FRAME + bytes(5000)

    assert len(records(Circumstances(records="tiny"), long)) < 60
    assert bytes_on(records(Circumstances(records="tiny"), long), 0) == long


def test_the_bytes_lie_amid_another_frame() -> None:
    """One that begins before the first of them and ends after it; both streams arrive whole."""
    found = records(Circumstances(interleaving="amid", records="whole", payload="apart"))
    order = [number for number, _ in found]

    assert order == [4, 0, 0, 4]
    assert (bytes_on(found, 0), bytes_on(found, 4)) == (FRAME, WITHOUT_EFFECT)


def test_without_credit_no_frame_lies_around() -> None:
    """The case has what credit there is."""
    found = records(Circumstances(interleaving="amid"), windows=Windows(max_streams_bidi=1))

    assert {number for number, _ in found} == {0}


@pytest.mark.parametrize(
    ("frames", "data", "wanted"),
    [
        ("alone", FRAME, FRAME),
        ("first", FRAME, FRAME + WITHOUT_EFFECT),
        ("second", FRAME, WITHOUT_EFFECT + FRAME),
        ("first", FRAME[:-1], FRAME[:-1]),
        ("second", FRAME[:-1], WITHOUT_EFFECT + FRAME[:-1]),
    ],
)
def test_a_further_frame_never_completes_another(frames: str, data: bytes, wanted: bytes) -> None:
    """Behind a frame that is cut it would become its end."""
    found = records(Circumstances(frames=frames), data)

    assert bytes_on(found, 0) == wanted


def test_reads_and_other_messages_have_no_frame_beside_them() -> None:
    """What a read shows is its answer, and a handshake takes no further bytes."""
    everything = Circumstances(frames="second", interleaving="amid", payload="apart")

    for options in ({"kind": "stream_frame", "asks": True}, {"kind": "formation_id"}):
        found = records(everything, options=options)
        assert bytes_on(found, 0) == FRAME
        assert {number for number, _ in found} == {0}


def test_a_target_that_answers_no_ping_is_waited_for_once() -> None:
    """What it does with PINGs is judged elsewhere; the frame arrives nevertheless."""

    async def written() -> tuple[bool, bytes]:
        connection = TcpConnection(Dial(bytes(32)))
        wire = Wire(connection, Windows())
        connection.connection_made(wire)
        await connection.ready(DEADLINE_S)
        wire.is_mute = True
        run = run_in(Circumstances(payload="split"), scale=0.0)
        for _ in range(2):
            stream = await connection.open()
            await run.write(stream, FRAME, "snapshot", kind="stream_frame")
            connection.flush()
        data = [event for event in wire.events if isinstance(event, DataReceived)]
        return connection.echoes, b"".join(event.data for event in data)

    echoes, data = asyncio.run(written())

    assert not echoes
    assert data == FRAME + FRAME


def test_narrow_windows_are_those_of_peers_of_their_own() -> None:
    """Cases with wide ones share other connections with the same names."""
    session = Session(SimpleNamespace(), Settings(), "n", Inbox())  # type: ignore[arg-type]  # a fake

    def peer(windows: str) -> Any:
        terms = Terms("strict", Deadline(None, 1.0), circumstances=Circumstances(windows=windows))
        return CaseRun("MW-0901", session, terms, Scope({}, 0), None).peer("A")  # type: ignore[arg-type]  # as above

    wide, narrow = peer("wide"), peer("narrow")

    assert wide is peer("wide")
    assert narrow is peer("narrow")
    assert wide is not narrow
    assert wide.dial().preamble is None
    assert narrow.dial().preamble.windows.max_stream_data < 100
    assert narrow.dial().preamble.endpoint_id == narrow.identity != wide.identity
