"""Every row of bytes that hurt the Automerge library, received by a real worker (D-160).

After each, another connection's read is answered and no other document has changed.
Checksums are right: a wrong one would hide the parser from the test.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable

import pytest

from meshwire_reference.core.document_calls import (
    Call,
    Edit,
    Fields,
    Merge,
    Merged,
    Receive,
    Received,
    Refused,
    Save,
    Saved,
)
from meshwire_reference.documents.process import WorkerSettings
from meshwire_reference.testing.hostile_bytes import (
    CLAIMS_6,
    CLAIMS_7,
    COUNTS,
    FILTERS,
    ODD_SCALARS,
    TWO_HISTORIES,
    bomb,
    delta,
    hash_of,
    mutate,
)
from meshwire_reference.testing.supervised import ACTOR, SupervisorBench
from meshwire_spec.numbers import READ_MESSAGE

pytestmark = pytest.mark.process

SAFE, TARGET, EVIL, GOOD = "notes:safe", "notes:target", "evil", "good"
MUTATIONS = 150


class Bench(SupervisorBench):
    """A supervisor over real workers, one document that must not change, and one under attack."""

    def __init__(self) -> None:
        super().__init__(WorkerSettings(ACTOR))
        self.safe: bytes | None = None
        self.heads: tuple[bytes, ...] = ()

    async def prepare(self) -> None:
        """Write the document that must not change."""
        await self.ask(Edit(SAFE, {f"field {number}": f"value {number}" for number in range(12)}))
        (self.safe,) = await self.store.load((SAFE,))
        read = await self.ask(Receive(GOOD, SAFE, READ_MESSAGE))
        assert isinstance(read, Received)
        self.heads = read.heads

    async def is_unharmed(self) -> bool:
        """Say whether another connection's read is answered and the document is as it was."""
        read = await self.ask(Receive(GOOD, SAFE, READ_MESSAGE))
        return (
            isinstance(read, Received)
            and read.answer is not None
            and read.heads == self.heads
            and await self.store.load((SAFE,)) == [self.safe]
        )


def attack(scene: Callable[[Bench], Awaitable[None]]) -> None:
    """Run a scene on a prepared bench."""

    async def whole() -> None:
        async with Bench() as bench:
            await bench.prepare()
            await scene(bench)

    asyncio.run(whole())


ROWS: dict[str, tuple[Call, str]] = {
    **{
        f"filter of {name}": (Receive(EVIL, TARGET, data), "document-limit")
        for name, data in FILTERS.items()
    },
    **{name: (Receive(EVIL, TARGET, data), "document-limit") for name, data in COUNTS.items()},
    "10^6 rows": (Merge(TARGET, bytes.fromhex(CLAIMS_6), EVIL), "document-limit"),
    "10^7 rows": (Merge(TARGET, bytes.fromhex(CLAIMS_7), EVIL), "document-limit"),
    "10^6 rows, delta": (
        Receive(EVIL, TARGET, delta(bytes.fromhex(CLAIMS_6))),
        "document-limit",
    ),
    "10^7 rows, delta": (
        Receive(EVIL, TARGET, delta(bytes.fromhex(CLAIMS_7))),
        "document-limit",
    ),
    "two histories": (Merge(TARGET, bytes.fromhex(TWO_HISTORIES), EVIL), "bad-document"),
    "bomb": (Merge(TARGET, bomb(), EVIL), "document-limit"),
    "not a document": (Merge(TARGET, b"nonsense", EVIL), "bad-document"),
    "not a message": (Receive(EVIL, TARGET, b"nonsense"), "bad-document"),
}


def test_every_row_is_refused_without_harm() -> None:
    """Each hostile payload is refused for its reason, and nothing else notices."""

    async def scene(bench: Bench) -> None:
        for name, (call, reason) in ROWS.items():
            assert await bench.ask(call) == Refused(reason), name
            assert await bench.is_unharmed(), name
        assert await bench.store.load((TARGET,)) == [None]

    attack(scene)


@pytest.mark.parametrize("name", ODD_SCALARS)
@pytest.mark.parametrize("by_delta", [False, True])
def test_odd_scalars_are_stored_kept_and_passed_on(name: str, *, by_delta: bool) -> None:
    """Unreadable values are stored, survive a new worker, and are sent unchanged."""
    change = bytes.fromhex(ODD_SCALARS[name])

    async def scene(bench: Bench) -> None:
        call = Receive(EVIL, TARGET, delta(change)) if by_delta else Merge(TARGET, change, EVIL)
        result = await bench.ask(call)
        await bench.ask(Fields(TARGET))
        read = await bench.ask(Receive(GOOD, TARGET, READ_MESSAGE))
        async with Bench() as fresh:
            assert isinstance(read, Received)
            passed_on = await fresh.ask(Receive("from it", TARGET, read.answer or b""))
            saved = await fresh.ask(Save(TARGET))

        assert isinstance(result, Merged | Received)
        assert isinstance(passed_on, Received)
        assert isinstance(saved, Saved)
        assert result.heads == passed_on.heads == saved.heads == (hash_of(change),)
        assert bench.events.all == []
        assert await bench.is_unharmed()

    attack(scene)


def test_mutated_payloads_do_no_harm() -> None:
    """Mutations of a document and of a message are refused or taken; nothing else changes."""

    async def scene(bench: Bench) -> None:
        mutation = random.Random(20260711)
        read = await bench.ask(Receive(EVIL, SAFE, READ_MESSAGE))
        assert isinstance(read, Received)
        sources = (bench.safe, read.answer or b"")
        for number in range(MUTATIONS):
            key = f"notes:{number}"
            snapshot, message = (mutate(source, mutation) for source in sources)
            for call in (Merge(key, snapshot, EVIL), Receive(EVIL, key, message)):
                result = await bench.ask(call)

                assert isinstance(result, Merged | Received | Refused)
                if not isinstance(result, Refused):
                    saved = await bench.ask(Save(key))

                    assert isinstance(saved, Saved), call
                    assert saved.heads == result.heads
        assert await bench.is_unharmed()

    attack(scene)
