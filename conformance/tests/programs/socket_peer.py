"""Targets that accept every peer and do not sync: `python socket_peer.py HOW DIALECT`.

They keep the lab binding, and in dialect H1 the handshake, and after that they close the
connection (`close`), read and never answer (`silent`), send back on each stream the bytes of it
(`echo`), finish each stream and send a frame with a little-endian length (`swapped-payload`,
`swapped-key`), or refuse each stream (`refuse`). One more writes a preamble of another version
(`version`). A suite that passes one of them for more than a
few cases is too easy to please.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import secrets
import sys
from collections.abc import Awaitable
from pathlib import Path

from meshwire_conformance.targets.handshake import Formation, read_secret
from meshwire_conformance.targets.lab import Preamble
from meshwire_conformance.targets.node import SECRET_VARIABLE
from meshwire_conformance.targets.tcp import TcpConnection
from meshwire_conformance.targets.transport import Dial, Stream
from meshwire_spec.codec import Malformed, Message, decode, encode
from meshwire_spec.numbers import (
    CAPABILITIES,
    HMAC,
    NONCE,
    OPTIONAL_CAPABILITIES,
    PAYLOAD_MAX,
    PROFILE,
    REASONS,
    RESULT_ACCEPTED,
    RESULT_REJECTED,
)

FORMATION_ID = "absorbing"
DEADLINE_S = 1.0
LENGTH = 2
OTHER_VERSION = 2
REFUSAL = REASONS["length-limit"].code
SWAPPED = {
    "swapped-payload": bytes.fromhex("0003 613a62 00 0b000000 4200000100000000000000"),
    "swapped-key": bytes.fromhex("0300 613a62 00 0000000b 4200000100000000000000"),
}
"""Frames for `a:b` with one length in the other byte order, by the mode that sends them."""


class Accepted(TcpConnection):
    """The accepting side of one connection."""

    def __init__(self, how: str, formation: Formation | None) -> None:
        identity = secrets.token_bytes(32)
        preamble = Preamble(identity, version=OTHER_VERSION) if how == "version" else None
        dial = Dial(identity, order=random.Random(7), preamble=preamble)
        super().__init__(dial, dialled=False)
        self.how = how
        self.formation = formation
        self.is_in = False
        self.on_stream = self.take_stream
        self.tasks: set[asyncio.Task[None]] = set()

    def data_received(self, data: bytes) -> None:
        """Read the received bytes; without a handshake the preamble admits every peer."""
        super().data_received(data)
        if self.formation is None and self.lab.peer is not None and not self.is_in:
            self.spawn(self.let_in())

    def spawn(self, work: Awaitable[None]) -> None:
        """Do something beside reading."""
        task = asyncio.ensure_future(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def let_in(self) -> None:
        """From here on the peer absorbs."""
        self.is_in = True
        if self.how == "close":
            await self.close()

    def take_stream(self, stream: Stream) -> None:
        """Shake hands on the first stream, and treat every other one by the mode of this peer."""
        if self.formation is not None and not self.is_in:
            self.spawn(self.shake_hands(stream, self.formation))
        elif not stream.uni:
            stream.on_change = {"echo": self.echo, "refuse": self.refuse}.get(self.how)
            if self.how in SWAPPED:
                stream.on_change = self.answer_swapped

    def echo(self, stream: Stream) -> None:
        """Send back the received bytes and their end."""
        content = bytes(stream.received)
        stream.received.clear()
        self.spawn(self.send_back(stream, content))

    def refuse(self, stream: Stream) -> None:
        """Send STOP and RESET."""
        stream.on_change = None
        self.spawn(stream.stop(REFUSAL))
        self.spawn(stream.reset(REFUSAL))

    def answer_swapped(self, stream: Stream) -> None:
        """Finish a stream after its FIN, and send a frame of which a length is little endian."""
        if stream.finished:
            stream.on_change = None
            self.spawn(self.send_swapped(stream))

    async def send_swapped(self, stream: Stream) -> None:
        """Send the bytes that the mode names, on a stream of its own."""
        answer = await self.open()
        await answer.write(SWAPPED[self.how])
        await answer.finish()
        await stream.finish()

    async def send_back(self, stream: Stream, content: bytes) -> None:
        """Write on our half the bytes received on the other."""
        if self.closed is not None or stream.write_over:
            return
        await stream.write(content)
        if stream.finished:
            stream.write_over = True
            await stream.finish()

    async def shake_hands(self, stream: Stream, formation: Formation) -> None:
        """The acceptor's side of dialect H1, refusing whoever does not prove the formation."""
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


def formation_of(dialect: str) -> Formation | None:
    """The formation of dialect H1, its secret from where the suite has put it."""
    if dialect == "open":
        return None
    return Formation(FORMATION_ID, read_secret(Path(os.environ[SECRET_VARIABLE])))


async def main(how: str, dialect: str) -> None:
    """Listen, say so, and serve until killed."""
    formation = formation_of(dialect)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Accepted(how, formation), "127.0.0.1", 0)
    ready = {
        "addresses": [f"tcp://127.0.0.1:{server.sockets[0].getsockname()[1]}"],
        "endpoint_id": secrets.token_hex(32),
        "instance_id": secrets.token_hex(8),
        "profile": PROFILE,
        "dialect": dialect,
        "formation_id": FORMATION_ID,
        "capabilities": [*CAPABILITIES, *OPTIONAL_CAPABILITIES],
        "payload_cap": PAYLOAD_MAX,
        "deadlines": {"handshake_s": DEADLINE_S, "frame_stall_s": DEADLINE_S},
    }
    sys.stdout.write(json.dumps(ready) + "\n")
    sys.stdout.flush()
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
