"""Several calls in one request to the worker, answered item by item."""

from collections.abc import Callable, Sequence

import pytest

from meshwire_reference.core.document_calls import (
    Drop,
    Each,
    Edit,
    Generate,
    Generated,
    Merge,
    Merged,
    Receive,
    Received,
    Refused,
    Save,
    Saved,
    Together,
)
from meshwire_reference.testing.author import snapshot
from meshwire_reference.testing.supervised import DeadlyBench
from meshwire_spec.numbers import READ_MESSAGE

pytestmark = pytest.mark.process

LIMIT = Refused("document-limit")


class TestTogether:
    """Several calls in one request, answered item by item."""

    def test_each_is_answered(self, play: Callable[..., None]) -> None:
        """A refused one does nothing to the others, which stand in their order."""

        async def scene(bench: DeadlyBench) -> None:
            calls = (
                Merge("notes:1", snapshot("notes:1").payload, "peer"),
                Merge("notes:2", b"no document", "peer"),
                Merge("notes:3", b"", "peer"),
            )
            answered = await bench.documents.submit_together(Together(calls))
            assert isinstance(answered, Each)
            merged, refused, empty = answered.results

            assert isinstance(merged, Merged)
            assert merged.write is not None
            assert refused == Refused("bad-document")
            assert empty == Merged((), None, ahead=False)
            assert bench.events.all == []

        play(scene)

    def test_the_stored_bytes_of_all_are_read_at_once(self, play: Callable[..., None]) -> None:
        """Except those that the worker holds."""
        asked: list[tuple[str, ...]] = []

        async def scene(bench: DeadlyBench) -> None:
            for key in ("notes:1", "notes:2", "notes:3"):
                await bench.ask(Edit(key, {"a": 1}))
            load = bench.store.load

            async def watched(keys: Sequence[str]) -> list[bytes | None]:
                asked.append(tuple(keys))
                return await load(keys)

            bench.documents._load = watched
            for key in ("notes:1", "notes:3"):
                await bench.ask(Drop(key))
            saves = Together((Save("notes:1"), Save("notes:2"), Save("notes:3")))
            answered = await bench.documents.submit_together(saves)
            assert isinstance(answered, Each)
            assert all(isinstance(one, Saved) and one.snapshot for one in answered.results)

        play(scene)

        assert asked == [("notes:1", "notes:3")]

    def test_the_one_that_ends_the_worker_is_found(self, play: Callable[..., None]) -> None:
        """It alone is refused, and nothing is carried out twice that had an answer."""

        async def scene(bench: DeadlyBench) -> None:
            keys = ("notes:1", "die:x", "notes:2")
            calls = tuple(Merge(key, b"", "evil") for key in keys)
            answered = await bench.documents.submit_together(Together(calls))
            assert isinstance(answered, Each)

            assert answered.results == (
                Merged((), None, ahead=False),
                LIMIT,
                Merged((), None, ahead=False),
            )
            assert [(event.key, event.alone) for event in bench.events.deaths] == [
                (None, False),
                ("die:x", False),
                ("die:x", True),
            ]

        play(scene)

    def test_a_store_that_cannot_read_one_refuses_that_one(self, play: Callable[..., None]) -> None:
        """D-60: the others are answered."""

        async def scene(bench: DeadlyBench) -> None:
            load = bench.store.load

            async def failing(keys: Sequence[str]) -> list[bytes | None]:
                if "notes:2" in keys:
                    raise OSError("input/output error")
                return await load(keys)

            bench.documents._load = failing
            saves = Together((Save("notes:1"), Save("notes:2"), Save("notes:3")))
            answered = await bench.documents.submit_together(saves)
            assert isinstance(answered, Each)

            assert answered.results == (Saved(None, ()), Refused("internal"), Saved(None, ()))

        play(scene)

    def test_others_wait_for_one_slow_call_at_most(self, play: Callable[..., None]) -> None:
        """The calls after it go on one by one."""

        async def scene(bench: DeadlyBench) -> None:
            order: list[str] = []
            keys = ("burn:1", "burn:2", "burn:3")
            calls = tuple(Merge(key, b"", "evil") for key in keys)
            evil = bench.documents.submit_together(Together(calls))
            good = bench.documents.submit(Receive("good", "notes:1", READ_MESSAGE))
            evil.add_done_callback(lambda _: order.append("evil"))
            good.add_done_callback(lambda _: order.append("good"))
            answered = await evil
            await good

            assert isinstance(answered, Each)
            assert answered.results == (Merged((), None, ahead=False),) * 3
            assert order == ["good", "evil"]

        play(scene)

    def test_one_document_is_read_once_for_all(self, play: Callable[..., None]) -> None:
        """Messages for several peers need its stored bytes once."""
        asked: list[tuple[str, ...]] = []

        async def scene(bench: DeadlyBench) -> None:
            await bench.ask(Edit("notes:1", {"a": 1}))
            await bench.ask(Drop("notes:1"))
            load = bench.store.load

            async def watched(keys: Sequence[str]) -> list[bytes | None]:
                asked.append(tuple(keys))
                return await load(keys)

            bench.documents._load = watched
            pushes = Together(tuple(Generate(peer, "notes:1") for peer in (1, 2, 3)))
            answered = await bench.documents.submit_together(pushes)
            assert isinstance(answered, Each)
            assert all(isinstance(one, Generated) and one.message for one in answered.results)

        play(scene)

        assert asked == [("notes:1",)]

    def test_of_several_peers_each_is_answered(self, play: Callable[..., None]) -> None:
        """Also where the worker ends, and they go on one by one."""

        async def scene(bench: DeadlyBench) -> None:
            reads = Together(tuple(Receive(peer, "once:x", READ_MESSAGE) for peer in (1, 2, 3)))
            answered = await bench.documents.submit_together(reads)
            assert isinstance(answered, Each)
            assert [type(one) for one in answered.results] == [Received] * 3
            assert [event.connection for event in bench.events.deaths] == [None]

        play(scene)

    def test_closing_refuses_all(self, play: Callable[..., None]) -> None:
        """With one refusal, also when they are queued after the end."""

        async def scene(bench: DeadlyBench) -> None:
            stuck = Together((Merge("stuck:x", b"", "evil"), Merge("wait:y", b"", "evil")))
            waiting = bench.documents.submit_together(stuck)
            await bench.documents.close()

            assert await waiting == Refused("internal")
            assert await bench.documents.submit_together(stuck) == Refused("internal")

        play(scene)
