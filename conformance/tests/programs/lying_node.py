"""Nodes that admit every peer and do not sync: `python lying_node.py HOW DIALECT`.

Those of `HOW_STREAMS` and `HOW_FRAMES` keep the lab binding, and in dialect H1 the handshake;
those of `BELOW` write a preamble at most. A suite that passes one of them for more than a few cases
is too easy to please. `tools/liars.py` judges them in memory, tests start some as programs.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import secrets
import signal
import sys
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from struct import Struct
from typing import Final

from meshwire_conformance.protocol.frame_content import whole_frame
from meshwire_conformance.socket_suite.calibration import CANARY_DOCUMENT
from meshwire_conformance.targets.handshake import Formation, read_secret
from meshwire_conformance.targets.lab_records import Preamble, record
from meshwire_conformance.targets.node import SECRET_VARIABLE
from meshwire_conformance.targets.tcp import TcpConnection
from meshwire_conformance.targets.transport import Dial, Stream
from meshwire_spec.codec import Malformed, Message, decode, encode
from meshwire_spec.numbers import (
    CAPABILITIES,
    HMAC,
    LAB_PING,
    LAB_VERSION,
    NONCE,
    OPTIONAL_CAPABILITIES,
    PAYLOAD_MAX,
    PROFILE,
    REASONS,
    RESULT_ACCEPTED,
    RESULT_REJECTED,
    FrameType,
    LabRecordType,
)

FORMATION_ID = "absorbing"
DEADLINE_S = 1.0
LENGTH = 2
REFUSAL = REASONS["length-limit"].code
ANSWERS_MAX = 30
"""Answers that the node `hang` gives: enough for a calibration."""
WAITING_MAX = 20
"""Answers that may wait for a stream."""
FORWARDED_TO = 4
"""Peers to which a frame is forwarded, so that a flood of frames is not multiplied without end."""
FORWARDED_MAX = 2**14
"""Bytes of the longest payload that is forwarded: the suite decodes each, again and again."""
SWAPPED = {
    "swapped-payload": bytes.fromhex("0003 613a62 00 0b000000 4200000100000000000000"),
    "swapped-key": bytes.fromhex("0300 613a62 00 0000000b 4200000100000000000000"),
}
"""Frames for `a:b` with one length in the other byte order, by the mode that sends them."""
_KEY = Struct("!H")
_AFTER_KEY = Struct("!BI")


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame, whose parts nobody checks."""

    key: bytes
    type: int
    payload: bytes

    def encode(self) -> bytes:
        """Return the bytes of the frame."""
        head = _KEY.pack(len(self.key)) + self.key
        return head + _AFTER_KEY.pack(self.type, len(self.payload)) + self.payload


def frames_of(received: bytearray) -> Iterator[Frame]:
    """Yield the whole frames at the front of the buffer and remove them, then drop what is none."""
    try:
        while size := whole_frame(received):
            key_end = _KEY.size + _KEY.unpack_from(received)[0]
            frame_type, _ = _AFTER_KEY.unpack_from(received, key_end)
            payload = bytes(received[key_end + _AFTER_KEY.size : size])
            key = bytes(received[_KEY.size : key_end])
            del received[:size]
            yield Frame(key, frame_type, payload)
    except Malformed:
        received.clear()


def new_dial(version: int = LAB_VERSION) -> Dial:
    """Return the parameters of the accepting side of a connection, with a new identity."""
    identity = secrets.token_bytes(32)
    return Dial(identity, None, random.Random(7), Preamble(identity, version=version))


@dataclass(slots=True)
class Node:
    """What all connections of a lying node share."""

    how: str
    formation: Formation | None = None
    peers: list[Accepted] = field(default_factory=list)
    snapshots: dict[bytes, bytes] = field(default_factory=dict)
    """The last snapshot of each key."""
    last: bytes = b""
    """The last snapshot of any key."""
    first: Frame | None = None
    """The first frame that came."""
    answers: int = 0

    @property
    def version(self) -> int:
        """The version of the preamble, which is wrong in mode `version` alone."""
        return LAB_VERSION + (self.how == "version")

    def accepted(self) -> asyncio.Protocol:
        """Return the accepting side of a new connection."""
        below = BELOW.get(self.how)
        return Accepted(self) if below is None else below()


class Accepted(TcpConnection):
    """The accepting side of one connection."""

    def __init__(self, node: Node) -> None:
        super().__init__(new_dial(node.version), dialled=False)
        self.node = node
        self.is_in = False
        self.on_stream = self.take_stream
        self.tasks: set[asyncio.Task[None]] = set()

    def data_received(self, data: bytes) -> None:
        """Read the received bytes; without a handshake the preamble admits every peer."""
        super().data_received(data)
        if self.node.formation is None and self.lab.peer is not None and not self.is_in:
            self.spawn(self.let_in())

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the peer, and what waits for it."""
        super().connection_lost(exc)
        for task in self.tasks:
            task.cancel()
        if self in self.node.peers:
            self.node.peers.remove(self)

    def spawn(self, work: Awaitable[None]) -> None:
        """Do something beside reading."""
        task = asyncio.ensure_future(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def let_in(self) -> None:
        """From here on the peer absorbs."""
        self.is_in = True
        self.node.peers.append(self)
        if self.node.how == "close":
            await self.close()

    def take_stream(self, stream: Stream) -> None:
        """Shake hands on the first stream, and treat every other one by the mode of this node."""
        formation = self.node.formation
        if formation is not None and not self.is_in:
            self.spawn(self.shake_hands(stream, formation))
        elif not stream.uni:
            taken = HOW_STREAMS.get(self.node.how, Accepted.take_frames)
            stream.on_change = lambda changed: taken(self, changed)

    # --- by streams --------------------------------------------------------------------------

    def ignore(self, stream: Stream) -> None:
        """Read everything and answer nothing."""
        stream.received.clear()

    def echo(self, stream: Stream) -> None:
        """Send back the received bytes and their end."""
        content = bytes(stream.received)
        stream.received.clear()
        self.spawn(self.send_back(stream, content))

    async def send_back(self, stream: Stream, content: bytes) -> None:
        """Write on our half the bytes received on the other."""
        if self.closed is not None or stream.write_over:
            return
        await stream.write(content)
        if stream.finished:
            await stream.finish()

    def refuse(self, stream: Stream) -> None:
        """Send STOP and RESET."""
        stream.on_change = None
        self.spawn(stream.stop(REFUSAL))
        self.spawn(stream.reset(REFUSAL))

    def answer_swapped(self, stream: Stream) -> None:
        """Finish a stream after its FIN, and send a frame of which a length is little endian."""
        if stream.finished:
            stream.on_change = None
            self.spawn(self.send(SWAPPED[self.node.how]))
            self.spawn(stream.finish())

    # --- by frames ---------------------------------------------------------------------------

    def take_frames(self, stream: Stream) -> None:
        """Treat each frame by the mode of this node, and finish each stream after its FIN."""
        for frame in frames_of(stream.received):
            self.node.first = self.node.first or frame
            HOW_FRAMES[self.node.how](self, frame)
        if stream.finished and self.node.answers < ANSWERS_MAX:
            self.spawn(stream.finish())

    def pass_over(self, frame: Frame) -> None:
        """Do nothing with a frame."""

    def replay(self, frame: Frame) -> None:
        """Answer every frame with the first that came."""
        assert self.node.first is not None
        self.answer(self.node.first)

    def answer(self, frame: Frame) -> None:
        """Send a frame on a stream of its own, unless too many wait for theirs."""
        if len(self.tasks) < WAITING_MAX:
            self.spawn(self.send(frame.encode()))

    def answer_with(self, frame: Frame, document: bytes | None) -> None:
        """Send a saved document as the answer to a read."""
        if document is not None:
            self.answer(replace(frame, type=FrameType.SNAPSHOT, payload=document))

    def answer_with_one_document(self, frame: Frame) -> None:
        """Answer every delta with a document of its own."""
        if frame.type == FrameType.DELTA:
            self.answer_with(frame, CANARY_DOCUMENT)

    def answer_with_the_last(self, frame: Frame) -> None:
        """Answer every delta with the last snapshot that came, of whatever key."""
        if frame.type == FrameType.SNAPSHOT:
            self.node.last = frame.payload
        elif frame.type == FrameType.DELTA:
            self.answer_with(frame, self.node.last)

    def answer_for_a_while(self, frame: Frame) -> None:
        """Answer some deltas with the last snapshot of their key, and then nothing any more."""
        if frame.type == FrameType.SNAPSHOT:
            self.node.snapshots[frame.key] = frame.payload
        elif frame.type == FrameType.DELTA and self.node.answers < ANSWERS_MAX:
            self.node.answers += 1
            self.answer_with(frame, self.node.snapshots.get(frame.key))

    def end_in_the_middle(self, frame: Frame) -> None:
        """Answer as one that works until the calibration is over, and then end by a signal."""
        if self.node.answers >= ANSWERS_MAX:
            os.kill(os.getpid(), signal.SIGKILL)
        self.answer_for_a_while(frame)

    def forward(self, frame: Frame) -> None:
        """Send a frame as it came on to the peers that came last, unless it is long."""
        for peer in self.node.peers[-FORWARDED_TO:]:
            if peer is not self and len(frame.payload) <= FORWARDED_MAX:
                peer.answer(frame)

    async def send(self, frame: bytes) -> None:
        """Send a frame on a stream of its own."""
        with contextlib.suppress(ConnectionError):
            stream = await self.open()
            await stream.write(frame)
            await stream.finish()

    # --- dialect H1 --------------------------------------------------------------------------

    async def shake_hands(self, stream: Stream, formation: Formation) -> None:
        """The acceptor's side of dialect H1, which refuses a peer without the proof."""
        nonce = secrets.token_bytes(NONCE)
        fields = {"formation_id": formation.formation_id, "nonce": nonce}
        named = await self.read_formation_id(stream)
        if named is None:
            return
        await stream.write(encode(Message("formation_challenge", fields)))
        await stream.wait_for(lambda: len(stream.received) >= HMAC or stream.read_over, None)
        proof = bytes(stream.received[:HMAC])
        right = named == formation.formation_id and proof == formation.answer(nonce)
        result = RESULT_ACCEPTED if right else RESULT_REJECTED
        await stream.write(encode(Message("formation_result", {"result": result})))
        if right:
            await self.let_in()
        else:
            await self.close()

    async def read_formation_id(self, stream: Stream) -> str | None:
        """The formation that the initiator names; None where it names none, and is sent away."""

        def size() -> int:
            return LENGTH + int.from_bytes(stream.received[:LENGTH], "little")

        def whole() -> bool:
            return len(stream.received) >= LENGTH and len(stream.received) >= size()

        await stream.wait_for(lambda: whole() or stream.read_over, None)
        content = bytes(stream.received[: size()])
        del stream.received[: size()]
        try:
            return str(decode("formation_id", content).fields["formation_id"])
        except Malformed:
            await self.close()
            return None


HOW_STREAMS: Final[Mapping[str, Callable[[Accepted, Stream], None]]] = {
    "close": Accepted.ignore,
    "silent": Accepted.ignore,
    "version": Accepted.ignore,
    "echo": Accepted.echo,
    "refuse": Accepted.refuse,
    "swapped-payload": Accepted.answer_swapped,
    "swapped-key": Accepted.answer_swapped,
}
"""What a node does whenever something came on a stream."""
HOW_FRAMES: Final[Mapping[str, Callable[[Accepted, Frame], None]]] = {
    "finish": Accepted.pass_over,
    "replay": Accepted.replay,
    "one-document": Accepted.answer_with_one_document,
    "last-snapshot": Accepted.answer_with_the_last,
    "hang": Accepted.answer_for_a_while,
    "forward": Accepted.forward,
    "dies": Accepted.end_in_the_middle,
}
"""What a node does with each frame, before it finishes the stream."""


class Mirror(asyncio.Protocol):
    """Sends back all bytes received, the peer's preamble first."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember the transport."""
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        """Send it back."""
        self.transport.write(data)


class Flood(asyncio.Protocol):
    """Writes its preamble and then PONGs without end; nothing limits them but the socket."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        transport.set_write_buffer_limits(high=2**16)
        transport.write(TcpConnection(new_dial()).lab.take_output())
        self.resume_writing()

    def pause_writing(self) -> None:
        """The socket is full."""
        self.full = True

    def resume_writing(self) -> None:
        """The socket takes more."""
        self.full = False
        while not self.full and not self.transport.is_closing():
            self.transport.write(record(LabRecordType.PONG, bytes(LAB_PING)) * 1000)


class Garbage(asyncio.Protocol):
    """Writes its preamble and then what is no record."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Write the preamble."""
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        transport.write(TcpConnection(new_dial()).lab.take_output())

    def data_received(self, data: bytes) -> None:
        """Answer anything with junk."""
        self.transport.write(random.Random(len(data)).randbytes(4096))


BELOW: Final[Mapping[str, Callable[[], asyncio.Protocol]]] = {
    "mirror": Mirror,
    "flood": Flood,
    "garbage": Garbage,
}
"""Nodes that do not keep the lab binding."""


def formation_of(dialect: str) -> Formation | None:
    """The formation of dialect H1, its secret from where the suite has put it."""
    if dialect == "open":
        return None
    return Formation(FORMATION_ID, read_secret(Path(os.environ[SECRET_VARIABLE])))


async def main(how: str, dialect: str) -> None:
    """Listen, say so, and serve until killed."""
    node = Node(how, formation_of(dialect))
    server = await asyncio.get_running_loop().create_server(node.accepted, "127.0.0.1", 0)
    ready = {
        "addresses": [f"tcp://127.0.0.1:{server.sockets[0].getsockname()[1]}"],
        "endpoint_id": secrets.token_hex(32),
        "instance_id": secrets.token_hex(8),
        "profile": PROFILE,
        "dialect": dialect,
        "formation_id": FORMATION_ID,
        # A proof that never comes would end every connection before what the lie is about.
        "capabilities": [
            *CAPABILITIES,
            *(one for one in OPTIONAL_CAPABILITIES if one != "mutual-proof"),
        ],
        "payload_cap": PAYLOAD_MAX,
        "deadlines": {"handshake_s": DEADLINE_S, "frame_stall_s": DEADLINE_S},
    }
    sys.stdout.write(json.dumps(ready) + "\n")
    sys.stdout.flush()
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
