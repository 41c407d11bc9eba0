"""The handlers of streams, late events, and outstanding effects."""

from meshwire_reference.core.context import Context
from meshwire_reference.core.effects import Consumed, Effect, OpenStream, Release
from meshwire_reference.core.settings import Dialect, Settings
from meshwire_reference.core.streams import PendingEffects, StreamHandler, Streams
from meshwire_reference.testing.bench import entropy

CONNECTION = 7


class Recorder(StreamHandler):
    """A handler that notes what it is given."""

    def __init__(self, streams: Streams) -> None:
        super().__init__(streams)
        self.taken: list[object] = []

    def take_stream(self, stream: int) -> None:
        """Note the stream."""
        super().take_stream(stream)
        self.taken.append(stream)

    def take_reset(self, code: int) -> None:
        """Note the code."""
        self.taken.append(("reset", code))

    def cut(self) -> None:
        """Note the end, and release the next stream with it."""
        self.taken.append("cut")
        self._streams.release(self._stream + 1)


class TestStreams:
    """One handler per stream."""

    def setup_method(self) -> None:
        """Make the streams of a connection, and a handler."""
        self.context = Context(Settings(Dialect.OPEN), entropy, None)
        self.streams = Streams(self.context, CONNECTION, bytes(32))
        self.handler = Recorder(self.streams)

    def effects(self) -> list[Effect]:
        """Return what was asked for since the last call."""
        return self.context.take_effects()

    def test_a_granted_stream_goes_to_who_asked_for_it(self) -> None:
        """The handler of a granted stream receives its events until the stream is released."""
        ticket = self.streams.open(self.handler, bidi=True)
        self.streams.grant(ticket, 5)
        self.streams.take_reset(5, 9)
        self.streams.release(5)
        self.streams.take_reset(5, 10)

        assert self.handler.taken == [5, ("reset", 9)]
        assert self.effects() == [
            OpenStream(connection=CONNECTION, ticket=ticket, bidi=True),
            Release(connection=CONNECTION, stream=5),
        ]

    def test_a_stream_that_nobody_wants_any_more_is_released(self) -> None:
        """TR-015: it would take the peer's credit for ever."""
        self.streams.cancel(self.streams.open(self.handler, bidi=True))
        self.effects()
        self.streams.grant(1, 5)

        assert self.handler.taken == []
        assert self.effects() == [Release(connection=CONNECTION, stream=5)]

    def test_late_bytes_are_consumed(self) -> None:
        """Their credit is given back, whether there is a handler that drops them or none."""
        self.streams.take_data(5, b"late", fin=True)
        self.streams.add(6, StreamHandler(self.streams, 6))
        self.streams.take_data(6, b"dropped", fin=False)

        assert self.effects() == [
            Consumed(connection=CONNECTION, stream=5, count=4),
            Consumed(connection=CONNECTION, stream=6, count=7),
        ]

    def test_a_stream_that_another_has_ended_is_not_cut(self) -> None:
        """The end of one may be the end of the next."""
        others = [Recorder(self.streams) for _ in range(2)]
        for stream, handler in enumerate(others):
            self.streams.grant(self.streams.open(handler, bidi=True), stream)
        self.streams.cut()

        assert [handler.taken for handler in others] == [[0, "cut"], [1]]


class TestPendingEffects:
    """The counter that a stream waits for."""

    def test_the_last_effect_ends_the_frame(self) -> None:
        """With the reason of the first that failed, and the last write of all."""
        over: list[str | None] = []
        effects = PendingEffects(over.append)
        for _ in range(4):
            effects.begin()
        effects.end(after=9)
        effects.end("bad-document", 4)
        effects.end("internal")
        assert over == []
        effects.end()

        assert over == ["bad-document"]
        assert (effects.count, effects.after) == (0, 9)

    def test_a_reason_is_that_of_one_frame(self) -> None:
        """The next frame begins without one; its writes are those of the stream."""
        over: list[str | None] = []
        effects = PendingEffects(over.append)
        for reason, after in (("internal", 3), (None, None)):
            effects.begin()
            effects.end(reason, after)

        assert over == ["internal", None]
        assert effects.after == 3
