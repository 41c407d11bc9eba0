"""Effects of one connection, over a transport that records them."""

import asyncio

import pytest

from meshwire_reference.core.effects import Release, Reset, Send
from meshwire_reference.core.inputs import (
    ConnectionClosed,
    ConnectionInput,
    Input,
    SendFailed,
    StreamId,
    TransportEvent,
)
from meshwire_reference.node.connection import Link
from meshwire_reference.transport.base import Connection, StreamGone
from turns import all_wait


class Recorder(Connection):
    """A connection that takes nothing on a stream that was reset, and waits on every other."""

    def __init__(self) -> None:
        self.gone: dict[StreamId, int] = {}
        self.released: list[StreamId] = []
        self.sending = asyncio.Event()

    @property
    def closed(self) -> ConnectionClosed | None:
        """None: it stays open."""
        return None

    async def next_events(self) -> tuple[TransportEvent, ...]:
        """Not used."""
        raise NotImplementedError

    async def open(self, *, bidi: bool) -> StreamId:
        """Not used."""
        raise NotImplementedError

    async def send(self, stream: StreamId, data: bytes, *, fin: bool = False) -> None:
        """Wait for ever, or fail where the half was reset."""
        if stream in self.gone:
            raise StreamGone(stream, None)
        self.sending.set()
        await asyncio.get_running_loop().create_future()

    def reset(self, stream: StreamId, code: int) -> None:
        """Record a reset."""
        self.gone[stream] = code

    def stop(self, stream: StreamId, code: int) -> None:
        """Not used."""
        raise NotImplementedError

    def consumed(self, stream: StreamId, count: int) -> None:
        """Not used."""
        raise NotImplementedError

    def defer(self, stream: StreamId, count: int) -> None:
        """Not used."""
        raise NotImplementedError

    def release(self, stream: StreamId) -> None:
        """Record a release."""
        self.released.append(stream)

    async def close(self, code: int, reason: str = "") -> None:
        """Not used."""
        raise NotImplementedError


async def _reset(*, waits: bool) -> tuple[Recorder, list[Input]]:
    """Send, reset before that begins or while it waits, send again, release; return records."""
    recorder, fed = Recorder(), list[Input]()
    link = Link(1, recorder, fed.append)
    link.perform(Send(connection=1, stream=4, data=b"\x2a", reports=True))
    if waits:
        await recorder.sending.wait()
    link.perform(Reset(connection=1, stream=4, code=7))
    link.perform(Send(connection=1, stream=4, data=b"\x2b", reports=True))
    await all_wait()
    link.perform(Release(connection=1, stream=4))
    return recorder, fed


@pytest.mark.parametrize("waits", [False, True])
def test_a_reset_before_the_bytes_are_on_their_way_leaves_nothing_behind(*, waits: bool) -> None:
    """Later bytes fail at once, and the stream is released."""
    recorder, fed = asyncio.run(_reset(waits=waits))

    assert recorder.sending.is_set() == waits
    assert recorder.gone == {4: 7}
    assert fed == [ConnectionInput(1, SendFailed(4, None))]
    assert recorder.released == [4]
