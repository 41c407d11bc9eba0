"""The first stream of a target on a connection: who waits for it."""

import asyncio
from typing import Any

from meshwire_conformance.targets.handshake import Gate
from meshwire_conformance.targets.transport import Dial, Signal, Stream
from turns import all_wait


class Silent:
    """A connection of a binding that wakes nobody where a stream begins, as iroh."""

    def __init__(self) -> None:
        self.signal = Signal()
        self.closed = None


def test_the_first_stream_wakes_who_waits_for_it() -> None:
    """Over iroh nothing else does so until the target sends more."""

    async def whole() -> None:
        connection: Any = Silent()
        gate = Gate(Dial(bytes(32)))
        waiting = asyncio.ensure_future(gate.handshake_stream(connection, None))  # type: ignore[arg-type] # no deadline: the test has none
        await all_wait()
        stream = Stream(connection, 1, uni=False, ours=False)
        gate(stream)

        assert await waiting is stream

    asyncio.run(whole())
