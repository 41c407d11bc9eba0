"""Cases in which the target's own user edits and deletes, over its control socket."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from msgspec import UNSET

from meshwire_conformance.cases import user
from meshwire_conformance.cases.planting import NOTHING, plant, send_snapshot
from meshwire_conformance.catalogue.python_cases import case
from meshwire_conformance.socket_suite.case_run import CaseRun
from meshwire_conformance.socket_suite.content import BASE, Wanted
from meshwire_conformance.socket_suite.evidence import CaseFailed
from meshwire_conformance.socket_suite.inbox import Arrival
from meshwire_spec.codec import decode
from meshwire_spec.numbers import FrameType
from meshwire_spec.schemas.steps import FrameSpec

NEEDS: Final = ("control", "documents")
AHEAD_S: Final = 10**8
"""Seconds by which a clock is put forward before it is put right."""


async def document_in(run: CaseRun, arrival: Arrival) -> dict[str, Any]:
    """Return the fields of the document that an answer to a read holds."""
    try:
        contents = await run.contents.documents.contents_of(arrival.type, arrival.payload)
    except ValueError as exc:
        raise CaseFailed("wrong-content document", f"no document came: {exc}") from exc
    return dict(contents.fields)


async def hold_fields(run: CaseRun, key: str, on: str, **wanted: object) -> None:
    """Read a document and fail unless it has these fields."""
    hold(await document_in(run, await run.read(Wanted(run.scope.text(key)), on)), **wanted)


def hold(fields: Mapping[str, Any], **wanted: object) -> None:
    """Fail unless a document has these fields."""
    wrong = [name for name, value in wanted.items() if fields.get(name) != value]
    if wrong:
        raise CaseFailed(
            f"wrong-content {wrong[0]}",
            f"the document lacks what was written: {', '.join(wrong)}",
            expected=tuple(f"{name} = {value!r}" for name, value in wanted.items()),
            received=tuple(f"{name} = {value!r}" for name, value in fields.items()),
        )


async def expect_tombstone(run: CaseRun, key: str, on: str, *, after: int = 0) -> Mapping[str, Any]:
    """Wait for the tombstone of a document and return its fields."""
    wanted = Wanted(run.scope.text(key), FrameType.TOMBSTONE)
    arrival = await run.expect(wanted, on, after=after)
    return decode("tombstone", arrival.payload).fields


def hold_time(field: str, said_ms: int, before_ms: int, after_ms: int) -> None:
    """Fail unless a time is one that the clock of the target has shown between two looks at it."""
    if not before_ms <= said_ms <= after_ms:
        raise CaseFailed(
            f"wrong-content {field}",
            f"{field} is another time than that of the clock of the node",
            expected=(f"{before_ms} to {after_ms}",),
            received=(str(said_ms),),
        )


@case(
    "MW-7000",
    "a document that the user writes must come to a connected peer",
    part="documents",
    rules=("DC-059", "DC-034"),
    needs=NEEDS,
    let={"key": "notes:$case"},
)
async def written_here(run: CaseRun) -> None:
    """What is written on a node itself reaches its peers when they connect again, or never."""
    await run.connection("A")
    await user.put(run, "$key", name="alpha", size=258)
    await run.expect(Wanted(run.scope.text("$key"), FrameType.DELTA), "A")
    await hold_fields(run, "$key", "A", name="alpha", size=258)


@case(
    "MW-7001",
    "a latest-only document that the user writes must come to a connected peer as a snapshot",
    part="documents",
    rules=("DC-059", "DC-033", "DC-036"),
    needs=NEEDS,
    let={"key": "tracks:$case"},
)
async def snapshot_of_what_is_written_here(run: CaseRun) -> None:
    """A write of the user is sent as a delta, whatever the sync mode of the collection is."""
    await run.connection("A")
    await user.put(run, "$key", name="alpha", size=258)
    wanted = Wanted(run.scope.text("$key"), FrameType.SNAPSHOT)
    fields = await document_in(run, await run.expect(wanted, "A"))
    hold(fields, name="alpha", size=258)


@case(
    "MW-7002",
    "an edit of a document that a peer has sent must keep what is in it",
    part="documents",
    rules=("DC-059", "DC-034"),
    needs=NEEDS,
    let={"key": "notes:$case"},
)
async def edit_of_what_was_received(run: CaseRun) -> None:
    """An edit begins a document anew, so that a merge with the old one is a conflict."""
    await run.connection("A")
    planted = await plant(run)
    await run.expect(planted, "A")
    after = len(run.subscription(planted.key).arrivals)
    shown = await user.put(run, "$key", size=258)
    hold(shown, name="alpha", size=258)
    await run.expect(Wanted(planted.key), "A", after=after)
    await run.expect(Wanted(planted.key), "B", after=after)
    await hold_fields(run, "$key", "A", name="alpha", size=258)


@case(
    "MW-7003",
    "a document that the user has written must be offered to a peer that connects later",
    part="documents",
    rules=("DC-035",),
    needs=NEEDS,
    isolation="peer",
    let={"key": "notes:$case", "latest": "tracks:$case"},
)
async def offer_of_what_is_written_here(run: CaseRun) -> None:
    """Only documents that came from a peer are offered."""
    for key in ("$key", "$latest"):
        await user.put(run, key, name="alpha")
    await run.own_peer("late").connection()
    await run.expect(Wanted(run.scope.names["key"], FrameType.DELTA), "late")
    await run.expect(Wanted(run.scope.names["latest"], FrameType.SNAPSHOT), "late")
    for key in ("$key", "$latest"):
        await hold_fields(run, key, "late", name="alpha")


@case(
    "MW-7004",
    "a deletion by the user must come to each connected peer as a tombstone",
    part="tombstones",
    rules=("TS-049", "TS-001"),
    needs=NEEDS,
    let={"key": "tracks:$case"},
)
async def deleted_here(run: CaseRun) -> None:
    """A deletion stays on the node where it was made until its peers connect again."""
    await run.connection("A")
    await run.connection("B")
    await user.put(run, "$key", name="alpha")
    await run.expect(Wanted(run.scope.names["key"]), "A")
    await user.delete(run, "$key")
    first = await expect_tombstone(run, "$key", "A")
    second = await expect_tombstone(run, "$key", "B")
    if first != second:
        raise CaseFailed("two-tombstones", "the peers have got different tombstones")
    await run.read(Wanted(run.scope.names["key"], FrameType.TOMBSTONE), "A")
    if await user.fields_of(run, "$key") is not None:
        raise CaseFailed("still-there", "the user still sees the document that was deleted")


@case(
    "MW-7005",
    "a deletion of a document that a peer has sent must come to that peer too",
    part="tombstones",
    rules=("TS-049",),
    needs=NEEDS,
    let={"key": "nodes:$case"},
)
async def deletion_of_what_was_received(run: CaseRun) -> None:
    """A deletion is not sent over the connection on which its document came."""
    await run.connection("A")
    await plant(run)
    await user.delete(run, "$key")
    for name in ("A", "B"):
        await expect_tombstone(run, "$key", name)


@case(
    "MW-7006",
    "a tombstone of the node itself must exceed every tombstone that it has received",
    part="tombstones",
    rules=("TS-050", "TS-049"),
    needs=NEEDS,
    let={"key": "tracks:$case", "other": "tracks:$case-other"},
)
async def lamport_after_a_received_one(run: CaseRun) -> None:
    """The Lamport time of a node counts its own deletions alone, so that a later one loses."""
    await run.connection("A")
    await user.put(run, "$key", name="alpha")
    lamport = 0x0102_0304_0506
    await run.send(FrameSpec(type="tombstone", key="$other", lamport=lamport), "B")
    await run.barrier("B")
    await user.delete(run, "$key")
    _exceed(await expect_tombstone(run, "$key", "A"), lamport)


@case(
    "MW-7007",
    "each tombstone of the node itself must exceed the one before, whatever it is about",
    part="tombstones",
    rules=("TS-050", "TS-049"),
    needs=NEEDS,
    let={"key": "tracks:$case", "other": "nodes:$case"},
)
async def lamport_of_each_deletion(run: CaseRun) -> None:
    """Each document counts for itself, or the Lamport time stays as it is."""
    await run.connection("A")
    lamport = 0
    for key in ("$key", "$other"):
        await user.put(run, key, name="alpha")
        await user.delete(run, key)
        found = await expect_tombstone(run, key, "A")
        _exceed(found, lamport)
        lamport = int(found["lamport"])


@case(
    "MW-6973",
    "a tombstone of the node itself must exceed received ones that have replaced lesser ones",
    part="tombstones",
    rules=("TS-050", "TS-049"),
    needs=NEEDS,
    let={"key": "tracks:$case"},
)
async def lamport_after_greater_ones(run: CaseRun) -> None:
    """Only the first tombstone of a document counts, or one in a frame of its own."""
    await run.connection("A")
    lamport = await _deletes(run, "$key")
    for number in range(3):
        about = f"{run.scope.names['key']}-{number}"
        await run.send(FrameSpec(type="tombstone", key=about, lamport=lamport + 1), "B")
        lamport += 4096
        greater = FrameSpec(type="tombstone", key=about, lamport=lamport)
        carriers = (
            greater,
            FrameSpec(type="batch", entries=[greater]),
            FrameSpec(type="tombstone-batch", tombstones=[greater]),
        )
        await run.send(carriers[number], "B")
        # The greatest counts, not the last one, which a stream of its own might overtake.
        lesser = FrameSpec(type="tombstone", key=f"{about}-lesser", lamport=lamport - 2048)
        await run.send(lesser, "B")
        await run.barrier("B")
        own = await _deletes(run, f"{about}-own")
        _exceed({"lamport": own}, lamport)
        lamport = own


async def _deletes(run: CaseRun, key: str) -> int:
    """Let the user write a document and delete it; return the Lamport time of the tombstone."""
    run.subscription(run.scope.text(key))
    await user.put(run, key, name="alpha")
    await user.delete(run, key)
    return int((await expect_tombstone(run, key, "A"))["lamport"])


@case(
    "MW-7008",
    "a tombstone of the node itself must have the time of its clock",
    part="tombstones",
    rules=("TS-050", "TS-049"),
    needs=(*NEEDS, "test-control"),
    let={"key": "tracks:$case"},
)
async def time_of_a_deletion(run: CaseRun) -> None:
    """A deletion has the time at which its document was written, or seconds for milliseconds."""
    await run.connection("A")
    await user.put(run, "$key", name="alpha")
    before_ms = await user.wall_ms(run)
    await user.delete(run, "$key")
    after_ms = await user.wall_ms(run)
    found = await expect_tombstone(run, "$key", "A")
    hold_time("deleted_at", found["deleted_at"], before_ms, after_ms)


@case(
    "MW-7034",
    "a batch must have the time of the clock of its node",
    part="batches",
    rules=("BT-010",),
    needs=(*NEEDS, "test-control"),
    let={"key": "tracks:$case"},
)
async def time_of_a_batch(run: CaseRun) -> None:
    """The time of a batch is that since the start, or seconds for milliseconds."""
    await user.put(run, "$key", name="alpha")
    before_ms = await user.wall_ms(run)
    await run.own_peer("late").connection()
    key = run.scope.names["key"]
    first = await run.expect(Wanted(key), "late")
    # What other connections get, or this one later, was made at other times.
    came = [one for one in run.subscription(key).arrivals if one.peer == first.peer]
    after_ms = await user.wall_ms(run)
    batches = [one.frame for one in came if one.frame and one.carrier == FrameType.BATCH]
    if not batches:
        run.note("the document came in no batch: when one is sent is the choice of the target")
    for batch in batches:
        made_at = decode("sync_batch", batch.fields["payload"]).fields["created_at"]
        hold_time("created_at", made_at, before_ms, after_ms)


@case(
    "MW-7009",
    "the user must not bring back a document that a peer has deleted",
    part="tombstones",
    rules=("TS-053", "TS-040", "DC-005"),
    needs=NEEDS,
    let={"key": "tracks:$case"},
)
async def edit_after_a_deletion(run: CaseRun) -> None:
    """The guard holds for frames of peers alone: an edit makes a document beside its tombstone."""
    await plant(run)
    await run.send(FrameSpec(type="tombstone", lamport=771), "B")
    await run.barrier("B")
    await _refuse_edit(run)
    await run.read(Wanted(run.scope.names["key"], FrameType.TOMBSTONE), "A")


@case(
    "MW-7010",
    "neither the user nor a peer must bring back a document that the user has deleted",
    part="tombstones",
    rules=("TS-053", "TS-040", "TS-041", "TS-049"),
    needs=NEEDS,
    let={"key": "tracks:$case"},
)
async def edits_after_an_own_deletion(run: CaseRun) -> None:
    """A tombstone of the node itself guards nothing."""
    await plant(run)
    await user.delete(run, "$key")
    own = await expect_tombstone(run, "$key", "B")
    await _refuse_edit(run)
    after = len(run.subscription(run.scope.names["key"]).arrivals)
    await run.send(FrameSpec(type="snapshot", document="base"), "B")
    await run.barrier("B")
    if await expect_tombstone(run, "$key", "B", after=after) != own:
        raise CaseFailed("two-tombstones", "the guard has answered with another tombstone")
    if await user.fields_of(run, "$key") is not None:
        raise CaseFailed("came-back", "the document is there again")


async def _refuse_edit(run: CaseRun) -> None:
    """Fail unless the target refuses an edit of the document as deleted."""
    reply = await user.ask_to_put(run, "$key", name="bravo")
    if not reply.error or reply.error.code != "deleted":
        raise CaseFailed(
            "accepted",
            "the user has written a document that was deleted",
            expected=("error deleted",),
            received=(f"error {reply.error.code}" if reply.error else "the document",),
        )


def _exceed(found: Mapping[str, Any], lamport: int) -> None:
    """Fail unless the Lamport time of a tombstone is above this one."""
    if int(found["lamport"]) <= lamport:
        raise CaseFailed(
            "wrong-content lamport",
            "the Lamport time does not exceed one that the node has kept before",
            expected=(f"more than {lamport}",),
            received=(str(found["lamport"]),),
        )


@case(
    "MW-7040",
    "each refusal must be counted by its reason",
    part="errors",
    rules=("ER-018", "ER-010"),
    needs=("control",),
    isolation="process",
)
async def refusals_are_counted(run: CaseRun) -> None:
    """Refusals are counted as one number, or under the reason of the first."""
    before = await user.counters(run)
    for number in range(2):
        name = f"bad {number}"
        stream = await run.open("A", name, uni=True)
        await run.write(stream, bytes.fromhex("02"), "no heartbeat", kind="heartbeat")
        await run.refused(["bad-marker"], "A", name)
    for _ in range(3):
        await run.send(FrameSpec(type="batch", created_at="now+30h", wrong=True))
        await run.refused(["created-ahead"])
    after = await user.counters(run)
    for reason, times in (("bad-marker", 2), ("created-ahead", 3)):
        _hold_count(reason, after.refused.get(reason, 0) - before.refused.get(reason, 0), times)


@case(
    "MW-7041",
    "frames without effect must not be counted as refused",
    part="errors",
    rules=("ER-018", "ER-015"),
    needs=NEEDS,
    isolation="process",
    let={"key": "tracks:$case", "soft": "notes:$case"},
)
async def ignored_is_not_refused(run: CaseRun) -> None:
    """A frame without effect is counted as a fault of its peer, who is then taken for hostile."""
    await plant(run)
    await run.send(FrameSpec(type="tombstone", lamport=771), "B")
    await run.barrier("B")
    before = await user.counters(run)
    for spec in (
        FrameSpec(type="snapshot", document="base"),
        FrameSpec(type="tombstone", lamport=771),
        FrameSpec(type="tombstone", key="$soft"),
    ):
        await run.send(spec, "B")
        await run.barrier("B")
    after = await user.counters(run)
    _hold_count("any reason", sum(after.refused.values()) - sum(before.refused.values()), 0)


@case(
    "MW-7042",
    "a batch must count as one frame with its bytes, and each entry as what becomes of it",
    part="errors",
    rules=("ER-022", "ER-026"),
    needs=NEEDS,
    isolation="process",
)
async def batches_count_once(run: CaseRun) -> None:
    """A batch and its entries are both counted, so that bytes and frames stand there twice."""
    await run.documents(BASE)
    entries = [
        FrameSpec(type="snapshot", document="base", key="nodes:$case-1"),
        FrameSpec(type="snapshot", document="base", key="nodes:$case-2"),
        FrameSpec(type="snapshot", hex="856f4a83ffff", key="nodes:$case-3"),
    ]
    batch = FrameSpec(type="batch", entries=entries)
    await run.barrier()
    before = await user.counters(run)
    await run.send(batch, "B")
    await run.barrier("B")
    after = await user.counters(run)
    own = f"0x{FrameType.BATCH:02x}"
    changes = sum(after.applied.values()) - sum(before.applied.values())
    _hold_count("batches", after.frames.get(own, 0) - before.frames.get(own, 0), 1, "frames of")
    _hold_count("two entries", changes, 2, "changes of")
    ignored = sum(after.ignored.values()) - sum(before.ignored.values())
    _hold_count("one entry", ignored, 1, "entries without effect,")
    # A member that a node may leave out.
    if after.frame_bytes is not UNSET and before.frame_bytes is not UNSET:
        size = after.frame_bytes.get(own, 0) - before.frame_bytes.get(own, 0)
        _hold_count("the batch", size, len(run.composer.frame(batch)), "bytes of")


def _hold_count(reason: str, counted: int, wanted: int, what: str = "refusals for") -> None:
    """Fail unless something was counted as often as it occurred."""
    if counted != wanted:
        raise CaseFailed(
            "wrong-count",
            f"{what} {reason} were counted wrongly",
            expected=(f"{wanted} more",),
            received=(f"{counted} more",),
        )


@case(
    "MW-7045",
    "a reset must leave nothing behind but the endpoint id and the address",
    part="transport",
    rules=("TR-028", "ER-012", "DC-035"),
    needs=(*NEEDS, "test-control"),
    isolation="process",
    let={"key": "notes:$case", "dead": "tracks:$case", "live": "notes:$case-live"},
)
async def emptied(run: CaseRun) -> None:
    """Documents, tombstones, counters or a moved clock outlive a reset, and spoil the next case."""
    first = await run.connection("A")
    await plant(run)
    await run.send(FrameSpec(type="tombstone", key="$dead", lamport=771), "B")
    await run.barrier("B")
    stream = await run.open("A", "bad", uni=True)
    await run.write(stream, bytes.fromhex("02"), "no heartbeat", kind="heartbeat")
    await run.refused(["bad-marker"], "A", "bad")
    before_ms = await user.wall_ms(run)
    await user.do(run, "clock", advance_s=AHEAD_S)
    await user.do(run, "reset")
    await run.closed(["shutdown"], "A")
    after_ms = await user.wall_ms(run)
    if not before_ms <= after_ms < before_ms + AHEAD_S * 1000:
        raise CaseFailed("clock-ahead", "the clock has stayed where it was put")
    refused = (await user.counters(run)).refused
    _hold_count("any reason", sum(refused.values()), 0)
    again = await run.own_peer("again").connection()
    if again.endpoint_id != first.endpoint_id:
        raise CaseFailed("other-endpoint", "the target shows another endpoint id than before")
    await run.read(Wanted(run.scope.names["key"], heads=NOTHING), "again")
    await run.read(await send_snapshot(run, "again", key="$dead"), "again")
    await user.put(run, "$live", name="alpha")
    await run.expect(Wanted(run.scope.names["live"]), "again")
