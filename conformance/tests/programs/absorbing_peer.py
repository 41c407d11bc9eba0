"""Peers that complete the preamble and do nothing else: `python absorbing_peer.py HOW`.

close: end the connection after the preamble. silent: read everything, answer nothing. echo: send
back every byte. flood: write control records without end. garbage: answer with junk.
"""

from __future__ import annotations

import asyncio
import json
import random
import secrets
import sys

from meshwire_conformance.targets.lab import record
from meshwire_conformance.targets.tcp import TcpConnection
from meshwire_conformance.targets.transport import Dial
from meshwire_spec.numbers import (
    CAPABILITIES,
    LAB_PING,
    OPTIONAL_CAPABILITIES,
    PAYLOAD_MAX,
    PROFILE,
    LabRecordType,
)


class Closing(TcpConnection):
    """Ends every connection once the preambles were exchanged."""

    def __init__(self) -> None:
        super().__init__(Dial(secrets.token_bytes(32), order=random.Random(7)), dialled=False)

    def data_received(self, data: bytes) -> None:
        """Read the preamble, then go."""
        super().data_received(data)
        if self.lab.peer is not None and self._transport is not None:
            self._transport.close()


class Silent(asyncio.Protocol):
    """Writes its preamble and nothing else."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Write the preamble."""
        assert isinstance(transport, asyncio.Transport)
        transport.write(TcpConnection(Dial(secrets.token_bytes(32))).lab.take_output())


class Echo(asyncio.Protocol):
    """Sends back all bytes received, the peer's preamble first."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember where to."""
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        """Send it back."""
        self.transport.write(data)


class Flood(Silent):
    """Writes PONGs without end; nothing limits them but the socket."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        super().connection_made(transport)
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        transport.set_write_buffer_limits(high=2**16)
        self.resume_writing()

    def pause_writing(self) -> None:
        """The socket is full."""
        self.full = True

    def resume_writing(self) -> None:
        """The socket takes more."""
        self.full = False
        while not self.full and not self.transport.is_closing():
            self.transport.write(record(LabRecordType.PONG, bytes(LAB_PING)) * 1000)


class Garbage(Silent):
    """Writes its preamble and then what is no record."""

    def data_received(self, data: bytes) -> None:
        """Answer anything with junk."""
        self.transport.write(random.Random(len(data)).randbytes(4096))

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember where to."""
        super().connection_made(transport)
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport


PEERS = {"close": Closing, "silent": Silent, "echo": Echo, "flood": Flood, "garbage": Garbage}


async def main(how: str) -> None:
    """Listen, say so, and serve until killed."""
    server = await asyncio.get_running_loop().create_server(PEERS[how], "127.0.0.1", 0)
    ready = {
        "addresses": [f"tcp://127.0.0.1:{server.sockets[0].getsockname()[1]}"],
        "endpoint_id": secrets.token_hex(32),
        "instance_id": secrets.token_hex(8),
        "profile": PROFILE,
        "dialect": "open",
        "capabilities": [*CAPABILITIES, *OPTIONAL_CAPABILITIES],
        "payload_cap": PAYLOAD_MAX,
        "deadlines": {"handshake_s": 1.0, "frame_stall_s": 1.0},
    }
    sys.stdout.write(json.dumps(ready) + "\n")
    sys.stdout.flush()
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
