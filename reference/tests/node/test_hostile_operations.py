"""Hostile messages of a peer of `oplog/1`, over a socket.

Each is refused with its reason, the session goes on, and nothing of it is remembered.
"""

import asyncio
import json
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from meshwire_reference.node.operations import OplogNode
from meshwire_reference.oplog.authoring import OperationAuthor
from meshwire_reference.oplog.hub import Hub
from meshwire_reference.oplog.operations import (
    ROOT,
    Operation,
    Path,
    SignedOperation,
    digest_text,
    hash_text,
    id_text,
)
from meshwire_reference.oplog.replica import Replica, ReplicaSettings
from meshwire_reference.oplog.signatures import Signer
from meshwire_reference.oplog.spelling import operation_json, write_operation
from meshwire_reference.testing.progress import NotedCounts, Progress
from meshwire_reference.transport import websocket
from meshwire_spec.numbers import (
    OPLOG_DEPENDENCIES_MAX,
    OPLOG_DEPTH_MAX,
    OPLOG_OPERATION_BYTES_MAX,
    OPLOG_PATH_MAX,
)

pytestmark = pytest.mark.socket

SIGNER, OTHER = Signer(b"\x21" * 32), Signer(b"\x42" * 32)
ITEM = {
    "story_id": "s1", "stage": "todo", "name": "one", "agent": "", "retry_count": 0.0,
    "blocked": False, "depends_on": "", "claimed_by": "", "claimed_at": 0.0,
}  # fmt: skip
AUTHOR = OperationAuthor(SIGNER, Replica(ReplicaSettings()))
INSERT = AUTHOR.insert(("items",), ROOT, ITEM)
STAGE: Path = ("items", INSERT.inner.id, "stage")
SET = AUTHOR.set(STAGE, "doing")
LATER = AUTHOR.set(("items", INSERT.inner.id, "name"), "two")


def signed(inner: Operation, signer: Signer = SIGNER, *depends_on: bytes) -> SignedOperation:
    """Return an operation under a valid signature, whatever it says."""
    digest = hash_text(digest_text(inner.id, inner.path, depends_on))
    return SignedOperation(signer.author, signer.sign(digest), depends_on, inner)


def made(base: SignedOperation = SET, **fields: Any) -> SignedOperation:
    """Return `base` with other fields, and with the id, path and signature that then fit."""
    inner = replace(base.inner, **fields)
    inner = replace(inner, id=hash_text(id_text(inner)))
    if "path" not in fields:
        inner = replace(inner, path=(*inner.path[:-1], inner.id))
    return signed(inner)


def forged(**fields: Any) -> SignedOperation:
    """Return SET as a relay may change it: id and signature stay."""
    return replace(SET, inner=replace(SET.inner, **fields))


def spelled(change: Callable[[dict[str, Any]], None], base: SignedOperation = SET) -> str:
    """Return the JSON text of an operation after a change of its JSON value."""
    value = write_operation(base)
    change(value)
    return json.dumps(value)


def member(name: str, value: Any) -> str:
    """Return SET as JSON with another value of a member of the inner operation."""
    return spelled(lambda whole: whole["inner"].update({name: value}))


def with_content(text: str) -> str:
    """Return SET as JSON whose content is this text."""
    return member("content", "@").replace('"@"', text)


def nested(depth: int) -> str:
    """Return a JSON text of lists in lists."""
    return "[" * depth + "]" * depth


SMALL_ORDER = SignedOperation(b"\x01" + bytes(31), b"\x01" + bytes(63), (), SET.inner)
BESIDE = made(INSERT, sequence=SET.inner.sequence)
TEXT = operation_json(SET)

# Texts of operations, each with the reason of its refusal.
TEXTS: dict[str, tuple[str, str]] = {
    "a number that is none": (with_content("NaN"), "not-finite"),
    "an infinite number": (with_content("-Infinity"), "not-finite"),
    "a number beyond a float": (with_content("1e999"), "not-finite"),
    "an integer beyond a float": (with_content("1" + "0" * 400), "not-finite"),
    "more digits than are read": (with_content("1" * 5000), "bad-json"),
    "a member twice": (TEXT.replace('"seq":', '"seq":7,"seq":', 1), "duplicate-member"),
    "a member of content twice": (with_content('{"a":1,"a":2}'), "duplicate-member"),
    "half a pair in a text": (with_content('"\\ud800"'), "lone-surrogate"),
    "half a pair in a name": (with_content('{"\\udfff":1}'), "lone-surrogate"),
    "half a pair in a path": (member("path", [{"Field": "\ud800"}]), "lone-surrogate"),
    "a sequence as a float": (member("seq", 3.0), "bad-sequence"),
    "a large sequence as a float": (member("seq", 1.8446744073709552e19), "bad-sequence"),
    "a sequence as a text": (member("seq", "3"), "bad-sequence"),
    "a sequence below zero": (member("seq", -1), "bad-sequence"),
    "a sequence beyond 64 bits": (member("seq", 2**64), "bad-sequence"),
    "a sequence that is true": (
        spelled(lambda whole: whole["inner"].update(seq=True)), "bad-sequence"
    ),
    "content too deep": (with_content(nested(OPLOG_DEPTH_MAX + 1)), "too-deep"),
    "content far too deep": (with_content(nested(100_000)), "too-deep"),
    "brackets without end": ("[" * 1_000_000, "too-deep"),
    "an id that is too short": (member("id", [1] * 31), "bad-length"),
    "a byte of 256": (member("id", [256] * 32), "bad-bytes"),
    "a byte that is true": (member("id", [True] * 32), "bad-bytes"),
    "a byte that is a float": (member("id", [1.0] * 32), "bad-bytes"),
    "an id that is no hexadecimal": (member("id", "zz" * 32), "bad-bytes"),
    "an id that is null": (member("id", None), "wrong-type"),
    "a path that is no list": (member("path", "items"), "wrong-type"),
    "a segment of two sorts": (member("path", [{"Field": "a", "Index": [0] * 32}]), "wrong-type"),
    "a flag that is a number": (member("is_deleted", 1), "wrong-type"),
    "no author": (spelled(lambda whole: whole.pop("author")), "missing-member"),
    "no inner operation": (spelled(lambda whole: whole.pop("inner")), "wrong-type"),
    "dependencies that are none": (spelled(lambda w: w.update(depends_on=7)), "wrong-type"),
    "an operation of 4 MiB": (
        with_content('"' + "x" * OPLOG_OPERATION_BYTES_MAX + '"'), "length-limit"
    ),
    "no JSON": ("{", "bad-json"),
    "no operation": ("[]", "wrong-type"),
    "an empty text": ("", "bad-json"),
}  # fmt: skip

# Operations that are read, each with the reason of its refusal.
FORGERIES: dict[str, tuple[SignedOperation, str]] = {
    "D-115 another path": (
        forged(path=("items", OTHER.author, "stage", SET.inner.id)), "bad-signature"
    ),
    "D-116 another inner author": (made(author=OTHER.author), "inner-author"),
    "D-118 other content": (forged(content="done"), "bad-id"),
    "D-118 another sequence": (forged(sequence=3), "bad-id"),
    "D-118 another origin": (forged(origin=OTHER.author), "bad-id"),
    "D-118 another inner author": (forged(author=OTHER.author), "bad-id"),
    "D-118 another flag": (forged(is_deleted=True), "bad-id"),
    "D-118 another id": (forged(id=OTHER.author), "bad-signature"),
    "D-118 another signer": (replace(SET, author=OTHER.author), "bad-signature"),
    "D-118 a dependency more": (replace(SET, depends_on=(bytes(64),)), "bad-signature"),
    "D-118 a changed signature": (replace(SET, signed_digest=bytes(64)), "bad-signature"),
    "D-120 an item without a field": (made(INSERT, content={"name": "one"}), "wrong-type"),
    "D-120 an item of a wrong type": (made(INSERT, content={**ITEM, "name": 7.0}), "wrong-type"),
    "D-120 an item that is no object": (made(INSERT, content="one"), "wrong-type"),
    "D-121 a number as a stage": (made(content=7.0), "wrong-type"),
    "D-121 null as a stage": (made(content=None), "wrong-type"),
    "D-122 the largest sequence": (made(sequence=2**64 - 1), "sequence-limit"),
    "D-122 a sequence beyond a float": (made(sequence=2**53), "sequence-limit"),
    "D-122 a sequence far ahead": (made(sequence=2**53 - 1), "sequence-jump"),
    "D-124 the root deleted": (
        made(origin=ROOT, is_deleted=True, path=("items", ROOT)), "root-delete"
    ),
    "D-163 a path that ends elsewhere": (
        made(BESIDE, path=("items", OTHER.author)), "path-end"
    ),
    "D-163 a path that goes on": (made(path=(*STAGE, "more", SET.inner.id)), "path-end"),
    "D-165 a key of small order": (SMALL_ORDER, "bad-signature"),
    "a target that is a struct": (made(path=("items", INSERT.inner.id)), "path-end"),
    "an unknown field": (made(path=("items", INSERT.inner.id, "none", ROOT)), "no-such-field"),
    "an unknown list": (made(path=("none", ROOT)), "no-such-field"),
    "an empty path": (made(path=()), "target-is-struct"),
    "a field where an element is": (made(path=("items", "stage", "x")), "no-such-field"),
    "too many segments": (made(path=("items",) * (OPLOG_PATH_MAX + 1)), "length-limit"),
    "too many dependencies": (
        signed(SET.inner, SIGNER, *[bytes(64)] * (OPLOG_DEPENDENCIES_MAX + 1)), "length-limit"
    ),
}  # fmt: skip

# Whole messages.
MESSAGES: dict[str, tuple[str | bytes, str]] = {
    "text that is no JSON": ("nonsense", "bad-json"),
    "text of another type": ('{"type":"have"}', "unknown-frame"),
    "text without a type": ("{}", "unknown-frame"),
    "a bulk without operations": ('{"type":"bulk"}', "wrong-type"),
    "a bulk of objects": ('{"type":"bulk","ops":[{}]}', "wrong-type"),
    "a bulk given twice": ('{"type":"bulk","ops":[],"ops":[]}', "duplicate-member"),
    "brackets without end": ("[" * 100_000, "too-deep"),
    "5 MiB of lists": ('{"type":"bulk","ops":[' + "[]," * 2_000_000, "wrong-type"),
    "5 MiB of anything": ("[" * 5 * 2**20, "length-limit"),
    "binary that is no text": (b"\xff\xfe", "bad-utf8"),
    "binary that is empty": (b"", "bad-json"),
    "an envelope of version 3": (f'{{"v":3,"op":{TEXT}}}'.encode(), "unknown-version"),
    "version 1 in an envelope of version 2": (
        f'{{"v":2,"op":{TEXT}}}'.encode(),
        "bad-signature",
    ),
    "an envelope of version 1.0": (f'{{"v":1.0,"op":{TEXT}}}'.encode(), "unknown-version"),
    "an envelope without version": (f'{{"op":{TEXT}}}'.encode(), "unknown-version"),
    "an envelope without operation": (b'{"v":1}', "wrong-type"),
    "an envelope with a text": (f'{{"v":1,"op":{json.dumps(TEXT)}}}'.encode(), "wrong-type"),
    "a binary of 4 MiB": (b" " * (OPLOG_OPERATION_BYTES_MAX + 1), "length-limit"),
}


def bulk(*texts: str) -> str:
    """Return a bulk message."""
    return json.dumps({"type": "bulk", "ops": texts})


class Victim:
    """A node with the item, which hostile peers address."""

    def __init__(self, settings: ReplicaSettings | None = None, **options: Any) -> None:
        self.progress = Progress()
        self.hub = Hub(Replica(settings or ReplicaSettings()))
        self.hub.counts = NotedCounts(self.progress)
        self.lines: list[str] = []
        self.node = OplogNode(
            self.hub, keep, lambda _, text: self.lines.append(text), zero, zero, **options
        )
        self.hub.take(INSERT, 0)
        self.hub.durable = 1

    def state(self) -> tuple[object, ...]:
        """Return everything that a hostile message may not change."""
        replica = self.hub.replica
        return (
            json.dumps(replica.view()), len(self.hub.log), set(replica.received),
            replica.sequence, len(replica.queue), replica.queue.size, len(self.hub.sessions),
            replica.document.fields["items"].view(),
        )  # fmt: skip


async def keep(_: list[str]) -> None:
    """Store nothing."""


def zero() -> float:
    """Return a clock that stands, and no spread."""
    return 0.0


# What `probe` adds to the counts.
PROBE = Counter({"unknown-frame": 1})


async def probe(victim: Victim, peer: ClientConnection) -> None:
    """Wait until the node has read everything that was sent: an unknown frame is counted."""
    seen = victim.hub.counts["unknown-frame"]
    await peer.send('{"type":"probe"}')
    await victim.progress.until(lambda: victim.hub.counts["unknown-frame"] > seen)


async def results(
    victim: Victim, sent: dict[str, str | bytes]
) -> tuple[dict[str, list[str]], list[str]]:
    """Send each message on one session, then SET; return the counts of each, and who changed."""
    counted: dict[str, list[str]] = {}
    remembered: list[str] = []
    address = await victim.node.listen("127.0.0.1", 0)
    async with connect(address, compression=None, proxy=None) as peer:
        await peer.recv()
        before = victim.state()
        for name, message in sent.items():
            earlier = Counter(victim.hub.counts) + PROBE
            await peer.send(message)
            await probe(victim, peer)
            counted[name] = list((Counter(victim.hub.counts) - earlier).elements())
            remembered += [name] if victim.state() != before else []
        # The genuine one is applied after all of its forgeries (D-118).
        await peer.send(bulk(TEXT))
        await victim.progress.until(lambda: len(victim.hub.log) == 2)
    await victim.node.close()
    return counted, remembered


@pytest.mark.parametrize("carries", [bulk, lambda text: json.dumps({"type": "op", "op": text})])
def test_texts_that_are_no_operation_are_refused(carries: Callable[[str], str]) -> None:
    """Inside a bulk and alone."""
    victim = Victim()
    counted, remembered = asyncio.run(
        results(victim, {name: carries(text) for name, (text, _) in TEXTS.items()})
    )

    assert counted == {name: [reason] for name, (_, reason) in TEXTS.items()}
    assert remembered == []
    assert victim.hub.log[-1].text == TEXT


@pytest.mark.parametrize("carries", [bulk, lambda text: f'{{"v":1,"op":{text}}}'.encode()])
def test_forgeries_are_refused(carries: Callable[[str], str | bytes]) -> None:
    """Live and in a bulk; nothing of them is remembered, so the genuine one is taken later."""
    victim = Victim()
    sent = {name: carries(operation_json(forgery)) for name, (forgery, _) in FORGERIES.items()}
    counted, remembered = asyncio.run(results(victim, sent))

    assert counted == {name: [reason] for name, (_, reason) in FORGERIES.items()}
    assert remembered == []
    assert victim.hub.log[-1].text == TEXT


def test_messages_that_are_none_are_refused() -> None:
    """Text and binary."""
    victim = Victim()
    counted, remembered = asyncio.run(
        results(victim, {name: message for name, (message, _) in MESSAGES.items()})
    )

    assert counted == {name: [reason] for name, (_, reason) in MESSAGES.items()}
    assert remembered == []
    assert victim.hub.log[-1].text == TEXT


def test_good_operations_among_bad_ones_are_taken() -> None:
    """A bulk with everything that is refused still brings what is good (D-158)."""

    async def run() -> None:
        victim = Victim()
        address = await victim.node.listen("127.0.0.1", 0)
        bad = [text for text, _ in TEXTS.values() if len(text) < 2**20]
        bad += [operation_json(operation) for operation, _ in FORGERIES.values()]
        async with connect(address, compression=None, proxy=None) as peer:
            await peer.recv()
            await peer.send(bulk(*bad, TEXT, *bad, operation_json(LATER), *bad))
            await victim.progress.until(lambda: len(victim.hub.log) == 3)
            await probe(victim, peer)
        assert len(victim.hub.replica.queue) == 0
        await victim.node.close()

    asyncio.run(run())


def test_an_author_may_have_only_so_many_operations() -> None:
    """The rest of a long bulk is refused, others go on, and what was applied is still known."""

    async def run() -> None:
        victim = Victim(ReplicaSettings(author_max=5))
        author = OperationAuthor(SIGNER, Replica(ReplicaSettings()))
        first = author.insert(("items",), ROOT, ITEM)
        many = [author.set(("items", first.inner.id, "name"), str(n)) for n in range(20)]
        address = await victim.node.listen("127.0.0.1", 0)
        async with connect(address, compression=None, proxy=None) as peer:
            await peer.recv()
            await peer.send(bulk(*map(operation_json, many)))
            await probe(victim, peer)
            assert victim.hub.counts["author-limit"] == 16
            assert len(victim.hub.log) == 5
            await peer.send(bulk(operation_json(many[0])))
            await probe(victim, peer)
            assert victim.hub.counts["AlreadySeen"] == 1
            other = OperationAuthor(OTHER, Replica(ReplicaSettings()))
            await peer.send(bulk(operation_json(other.insert(("items",), ROOT, ITEM))))
            await victim.progress.until(lambda: len(victim.hub.log) == 6)
        await victim.node.close()

    asyncio.run(run())


def test_a_session_that_is_too_fast_is_read_later() -> None:
    """Nothing is left out, and the waits are as long as the rate says."""

    async def run() -> None:
        waits: list[float] = []

        async def pause(wait_s: float) -> None:
            waits.append(wait_s)
            victim.progress.note()

        victim = Victim(pause=pause, operations_per_s=100)
        address = await victim.node.listen("127.0.0.1", 0)
        async with connect(address, compression=None, proxy=None) as peer:
            await peer.recv()
            await peer.send(bulk(*["x"] * 192, TEXT))
            await victim.progress.until(lambda: len(victim.hub.log) == 2)
            await victim.progress.until(lambda: len(waits) == 3)
        assert victim.hub.counts["bad-json"] == 192
        assert waits == [0.28, 0.92, 0.93]
        await victim.node.close()

    asyncio.run(run())


def test_a_message_beyond_the_limit_ends_its_session_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The close frame says why, in pieces or in one, and the next session is served."""
    monkeypatch.setitem(websocket._OPTIONS, "max_size", 2**16)

    async def run() -> None:
        victim = Victim()
        address = await victim.node.listen("127.0.0.1", 0)
        for message in (" " * (2**16 + 1), [" " * 2**15] * 3, b" " * 2**20):
            async with connect(address, compression=None, proxy=None) as peer:
                await peer.recv()
                with suppress(ConnectionClosed):
                    await peer.send(message)
                await peer.wait_closed()
                assert peer.close_code == 1009
        async with connect(address, compression=None, proxy=None) as peer:
            await peer.recv()
            await peer.send(bulk(TEXT))
            await victim.progress.until(lambda: len(victim.hub.log) == 2)
        await victim.node.close()

    asyncio.run(run())


def test_a_chain_in_reverse_waits_and_is_released() -> None:
    """It needs no recursion, and nothing waits afterwards (D-161)."""

    async def run() -> None:
        victim = Victim()
        author = OperationAuthor(SIGNER, Replica(ReplicaSettings()))
        chain = [author.insert(("items",), ROOT, ITEM)]
        for _ in range(300):
            chain.append(author.insert(("items",), chain[-1].inner.id, ITEM))
        address = await victim.node.listen("127.0.0.1", 0)
        async with connect(address, compression=None, proxy=None) as peer:
            await peer.recv()
            await peer.send(bulk(*map(operation_json, reversed(chain[1:]))))
            await victim.progress.until(lambda: len(victim.hub.log) == 301)
        assert len(victim.hub.replica.queue) == 0
        await victim.node.close()

    asyncio.run(run())
