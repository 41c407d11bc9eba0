"""Every row of bytes that hurt the Automerge library, received by a real worker (D-160).

After each, another connection's read is answered and no other document has changed.
Checksums are right: a wrong one would hide the parser from the test.
"""

import asyncio
import hashlib
import random
import zlib
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
    Result,
    Save,
    Saved,
)
from meshwire_reference.core.effects import WriteStore
from meshwire_reference.documents.limits import WorkerEvent
from meshwire_reference.documents.process import DocumentSettings, WorkerSettings
from meshwire_reference.documents.supervisor import Documents
from meshwire_reference.store.memory import MemoryStore
from meshwire_spec.numbers import READ_MESSAGE

pytestmark = pytest.mark.process

SAFE, TARGET, EVIL, GOOD = "notes:safe", "notes:target", "evil", "good"
MAGIC = bytes.fromhex("856f4a83")
MUTATIONS = 150

CLAIMS_6 = "856f4a8355c4d1fe01360010c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c501010000000515053403420456047004c0843d016bc0843dc0843d01c0843d02c0843d00"  # noqa: E501  # one change
CLAIMS_7 = "856f4a836fc328ba013b0010c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c50101000000051506340442055605700580ade204016b80ade20480ade2040180ade2040280ade20400"  # noqa: E501  # one change
TWO_HISTORIES = "856f4a831e94736c012c0010c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5010100000005150334014202560270027f016b017f017f027f00856f4a83b5dd944b01320010c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5010100000005150934014202560270027f07616e6f74686572017f017f027f00"  # noqa: E501  # two changes
ODD_SCALARS = {
    "counter": "856f4a83c16038a4012f0010c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c50101000000061503340142025602570170027f016b017f017f18057f00",  # noqa: E501  # one change
    "timestamp": "856f4a83750baecd01370010c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c50101000000061503340142025603570870027f016b017f017f89018080bb8b939bc4007f00",  # noqa: E501  # one change
    "unknown 10": "856f4a8309a9de4d01300010c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c50101000000061503340142025602570270027f016b017f017f2a01027f00",  # noqa: E501  # one change
    "unknown 15": "856f4a83999159d301300010c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c50101000000061503340142025602570270027f016b017f017f2f01027f00",  # noqa: E501  # one change
}


def hash_of(change: bytes) -> bytes:
    """Return the hash of a change chunk."""
    return hashlib.sha256(change[8:]).digest()


def delta(change: bytes) -> bytes:
    """Return the sync message that brings one change."""
    head = b"\x42\x01" + hash_of(change) + b"\x00\x01\x00\x00\x01"
    return head + bytes((len(change),)) + change + READ_MESSAGE[-3:]


def bomb() -> bytes:
    """Return a compressed change of 292 KB that inflates to 300 MB."""
    stream = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    body = b"".join(stream.compress(bytes(10**6)) for _ in range(300)) + stream.flush()
    size = len(body)
    content = bytes((2, size & 0x7F | 0x80, size >> 7 & 0x7F | 0x80, size >> 14)) + body
    return MAGIC + hashlib.sha256(content).digest()[:4] + content


def mutate(payload: bytes, mutation: random.Random) -> bytes:
    """Return a payload with a few bytes changed and the checksum of its one chunk made right."""
    data = bytearray(payload)
    for _ in range(mutation.choice((1, 1, 1, 2, 3))):
        data[mutation.randrange(len(data))] = mutation.choice((0, 1, 0x7F, 0x80, 0xFF))
    at = data.find(MAGIC)
    end = at + 11 + (data[at + 9] & 0x7F) + (data[at + 10] << 7)
    if at >= 0 and end <= len(data):
        data[at + 4 : at + 8] = hashlib.sha256(data[at + 8 : end]).digest()[:4]
    return bytes(data)


class Bench:
    """A supervisor over real workers, one document that must not change, and one under attack."""

    def __init__(self) -> None:
        self.store = MemoryStore()
        self.events: list[WorkerEvent] = []
        self.documents = Documents(
            self.store.load,
            DocumentSettings(WorkerSettings(b"\x31" * 16)),
            self.events.append,
        )
        self.safe: bytes | None = None
        self.heads: tuple[bytes, ...] = ()

    async def ask(self, call: Call) -> Result:
        """Submit a call and keep its write."""
        result = await self.documents.submit(call)
        write = getattr(result, "write", None)
        if write is not None:
            await self.store.write((WriteStore(0, getattr(call, "key", ""), write),))
        return result

    async def prepare(self) -> None:
        """Write the document that must not change."""
        await self.documents.start()
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
        bench = Bench()
        try:
            await bench.prepare()
            await scene(bench)
        finally:
            await bench.documents.close()

    asyncio.run(whole())


HEADS = {"no heads": "00", "a head": "01" + "32" * 32}
# One filter of one entry with 10 bits: its length, then what it claims.
FILTERS = {
    f"10^8 probes, {name}": bytes.fromhex(f"42{heads}00010008010a80c2d72fffff00020102")
    for name, heads in HEADS.items()
} | {
    f"2^32 - 1 probes, {name}": bytes.fromhex(f"42{heads}00010009010affffffff0fffff00020102")
    for name, heads in HEADS.items()
}
COUNTS = {
    f"2^{power} {field}": b"\x42" + b"\x00" * place + number + READ_MESSAGE[-3:]
    for power, number in (
        (40, b"\x80" * 5 + b"\x20"),
        (56, b"\x80" * 8 + b"\x01"),
        (63, b"\x80" * 9 + b"\x01"),
    )
    for place, field in enumerate(("heads", "needs", "filters", "changes"))
}
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
        fresh = Bench()
        await fresh.prepare()
        try:
            assert isinstance(read, Received)
            passed_on = await fresh.ask(Receive("from it", TARGET, read.answer or b""))
            saved = await fresh.ask(Save(TARGET))
        finally:
            await fresh.documents.close()

        assert isinstance(result, Merged | Received)
        assert isinstance(passed_on, Received)
        assert isinstance(saved, Saved)
        assert result.heads == passed_on.heads == saved.heads == (hash_of(change),)
        assert bench.events == []
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
