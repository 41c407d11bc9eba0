"""Cases of reconciliation with a target whose documents are all known, so that answers are exact.

The suite's own server computes the expected answers. The vectors of whole runs compare that server
with an independent implementation.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from meshwire_conformance.cases.planting import in_groups
from meshwire_conformance.cases.reconciliation_runs import place, rounds_allowed
from meshwire_conformance.catalogue.python_cases import case
from meshwire_conformance.protocol.negentropy import Item, Reconciliation
from meshwire_conformance.protocol.negentropy_messages import INFINITE, Range
from meshwire_conformance.socket_suite.case_run import CaseRun
from meshwire_conformance.socket_suite.content import BASE
from meshwire_conformance.socket_suite.evidence import Sending
from meshwire_conformance.socket_suite.reconciling import (
    Client,
    Conversation,
    answer_of,
    check_learnt,
    doubt,
    id_of,
    item_of,
    message_of,
)
from meshwire_spec.codec import Message, encode
from meshwire_spec.numbers import BATCH_KEY, BATCH_TTL, FrameType
from meshwire_spec.schemas.steps import FrameSpec

NEEDS = ("documents", "reconciliation")
COUNTS = (0, 1, 3, 31, 32, 33, 40, 200)
"""Numbers of stored documents: around the size of the longest list, and as recorded."""
OTHERS = 25
COMING = 2010
"""Number of documents that raise the number of messages allowed, and exceed a block of an index."""
MANY = 3199
"""Number of documents: more than the ids of one answer.

Of the parts into which a server splits them the last begins with number 3000, where a block of an
index of the bundled node ends; the block after it has few items.
"""
FIRST_GONE = 800
"""Number of least items that are deleted together: most of a block of an index."""
PATIENCE = 8
COUNT_AT, ENTRIES_AT = 17, 21
KEY_LENGTH = 2
"""Size in bytes of the key length of an entry (BT-001); the keys here are ASCII."""


def _deletable(count: int) -> list[str]:
    """Return keys of documents that a tombstone deletes."""
    return [f"nodes:{number}" for number in range(count)]


def _keys(count: int, first: int = 0) -> list[str]:
    """Return the keys numbered `first` to `count - 1`, as in the recording of a deployed peer."""
    return [f"d:{number}" for number in range(first, count)]


def _listed(keys: list[str]) -> bytes:
    """Return a message with one list of the ids of these keys, whatever its length."""
    return message_of([Range(INFINITE, tuple(sorted(map(id_of, keys))))])


def _initiated(keys: list[str]) -> bytes:
    return Reconciliation(map(item_of, keys), client=True).initiate()


def recorded() -> Mapping[int, tuple[bytes, ...]]:
    """Return the first messages sent to a deployed peer, by its number of documents."""
    return {
        3: (_initiated([]), _initiated(["d:0", "q:1", "q:2"]), _initiated(_keys(3))),
        40: (_listed(_keys(40)), _initiated(_keys(100))),
    }


def _batch_of(keys: list[str], saved: bytes) -> bytes:
    """Return a frame with a snapshot for each key.

    One entry is encoded and its key replaced for the others: encoding thousands of entries takes
    longer than the target needs to read them.
    """
    entry = {"key": keys[0], "type": int(FrameType.SNAPSHOT), "payload": saved}
    batch = {"batch_id": 1, "created_at": 0, "ttl": BATCH_TTL, "entry_count": 1, "entries": [entry]}
    one = encode(Message("sync_batch", {**batch, "fault": None, "extra": b""}))
    tail = one[ENTRIES_AT + KEY_LENGTH + len(keys[0]) :]
    entries = (len(key).to_bytes(KEY_LENGTH, "big") + key.encode() + tail for key in keys)
    count = len(keys).to_bytes(ENTRIES_AT - COUNT_AT, "big")
    payload = one[:COUNT_AT] + count + b"".join(entries)
    fields = {"key": BATCH_KEY, "type": int(FrameType.BATCH), "payload": payload}
    return encode(Message("stream_frame", fields))


async def _bring(run: CaseRun, keys: list[str]) -> None:
    """Send a document for each key; the report shows them on one line."""
    if "base" not in run.contents.made:
        await run.documents(BASE)
    if not keys:
        return
    stream = await run.stream("A", "documents")
    data = _batch_of(keys, run.contents.made["base"].saved)
    await stream.write(data)
    what = f"documents for {keys[0]} to {keys[-1]}, {len(data)} bytes"
    run.evidence.sent.append(Sending("A", stream.number, what))
    await run.barrier("A", "documents", patience=PATIENCE)


def _begin(run: CaseRun, name: str) -> Conversation:
    """Return a run on a stream of its own, with a name for the report."""
    run.evidence.sent.append(Sending("A", None, f"a run with {name}"))
    return Conversation(run, name=name)


async def _hold(run: CaseRun, name: str, client: Client, held: list[Item]) -> None:
    """Complete a run; raise CaseFailed unless each answer has exactly the expected bytes."""
    conversation = _begin(run, name)
    while client.next is not None:
        client.take(await conversation.ask(client.next, answer_of(held, client.next)))
    await conversation.end()


async def _hold_all(run: CaseRun, count: int, held: list[Item]) -> None:
    """Complete a run with each client at the same time, each on a stream of its own."""
    clients = [*_clients(count)]

    async def hold(number: int) -> None:
        name, client = clients[number]
        await _hold(run, f"{name} and {count} documents", client, held)

    await in_groups(hold, len(clients))


def _clients(count: int) -> Iterator[tuple[str, Client]]:
    """Yield clients without items, with half of the documents and others, and with the same set."""
    half = [*map(item_of, _keys(count // 2)), *(item_of(f"q:{n}") for n in range(OTHERS))]
    same = [*map(item_of, _keys(count))]
    yield "a client without items", Client(())
    yield "a client with half of the documents and others", Client(half)
    yield (
        "a client with half of the documents and others, starting with one fingerprint",
        Client(half, doubt(half)),
    )
    yield "a client with the same set", Client(same)
    yield "a client with the same set, starting with one fingerprint", Client(same, doubt(same))


@case(
    "MW-5550",
    "with 0 to 200 documents each answer must have exactly the expected bytes",
    part="reconciliation",
    rules=(
        "NG-014",
        "NG-015",
        "NG-050",
        "NG-051",
        "NG-053",
        "NG-054",
        "NG-055",
        "NG-056",
        "NG-057",
    ),
    needs=NEEDS,
    isolation="process",
    serial=True,
)
async def exact_answers(run: CaseRun) -> None:
    """Sets, bounds or fingerprints differ from those that the rules define."""
    brought = 0
    for count in COUNTS:
        await _bring(run, _keys(count, brought))
        brought = count
        held = [*map(item_of, _keys(count))]
        await _hold_all(run, count, held)
        # The deployed peer answered only the last of these (NG-014): with fifteen empty lists and
        # then all its documents, with the time of the listing as timestamp (NG-015).
        for number, message in enumerate(recorded().get(count, ())):
            conversation = _begin(run, f"recorded message {number} of those for {count} documents")
            await conversation.ask(message, answer_of(held, message))
            await conversation.end()


@case(
    "MW-5558",
    "an answer with too many documents must end at 65,536 bytes, and the run find the rest",
    part="reconciliation",
    rules=("NG-019", "NG-058", "NG-014"),
    needs=NEEDS,
    isolation="process",
    serial=True,
)
async def frame_limit(run: CaseRun) -> None:
    """One answer lists all documents, and a peer with the same limit refuses it."""
    keys = _deletable(MANY)
    await _bring(run, keys)
    held = [*map(item_of, keys)]
    nothing, half = Client(()), Client(held[::2], doubt(held[::2]))
    await _hold(run, "a client without items", nothing, held)
    check_learnt(nothing, keys)
    await _hold(run, "a client with every second document", half, held)
    check_learnt(half, keys[1::2], keys[::2])
    greatest = max(keys, key=id_of)
    await _delete(run, [greatest])
    rest = [*map(item_of, set(keys).difference([greatest]))]
    await _hold(run, "one fingerprint after a deletion", Client(rest, doubt(rest)), rest)


@case(
    "MW-6235",
    "a run must follow documents that come and go, in what is compared and in how long it may last",
    part="reconciliation",
    rules=("NG-021", "NG-015", "NG-051", "TS-030"),
    needs=NEEDS,
    isolation="process",
    serial=True,
)
async def follows_the_set(run: CaseRun) -> None:
    """A sum of ids outlives a deletion, or the messages are counted by the set of the beginning."""
    early = _begin(run, "an item of an empty set")
    question = message_of([Range(INFINITE, ())])
    await early.ask(question, answer_of([], question))
    keys = _deletable(COMING)
    await _bring(run, keys)
    left = await _delete_some(run, keys)
    rest, fewer = [*map(item_of, left)], [*map(item_of, left[::2])]
    await _hold(run, "one fingerprint of the documents left", Client(rest, doubt(rest)), rest)
    await _hold(run, "fingerprints of every second of them", Client(fewer), rest)
    most = rounds_allowed(len(left))
    for number in range(1, most):
        await early.say(place(number))
    for number in range(1, most):
        await early.answer(place(number))
    await early.say(place(most))
    await run.refused(["too-many-rounds"], early.on, early.name)
    least = sorted(left, key=id_of)[:FIRST_GONE]
    await _delete(run, least)
    rest = [*map(item_of, set(left).difference(least))]
    await _hold(run, "one fingerprint after more deletions", Client(rest, doubt(rest)), rest)


async def _delete_some(run: CaseRun, keys: list[str]) -> list[str]:
    """Delete the least and the greatest item and every fortieth between; return the other keys."""
    ordered = sorted(keys, key=id_of)
    gone = {ordered[0], ordered[-1], *ordered[17::40]}
    await _delete(run, sorted(gone))
    return [key for key in keys if key not in gone]


async def _delete(run: CaseRun, keys: list[str]) -> None:
    """Delete documents with one batch of tombstones."""
    tombstones = [FrameSpec(type="tombstone", key=key) for key in keys]
    await run.send(FrameSpec(type="tombstone-batch", key=keys[0], tombstones=tombstones))
    await run.barrier(patience=PATIENCE)
