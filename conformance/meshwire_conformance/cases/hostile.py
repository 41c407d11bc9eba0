"""Cases with payloads that attack the document library: the node must keep answering."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial

from meshwire_conformance.cases.planting import plant, send_snapshot, stored
from meshwire_conformance.catalogue.python_cases import case
from meshwire_conformance.protocol.automerge_bytes import (
    COUNTER,
    INT,
    TIMESTAMP,
    UNKNOWN,
    change,
    change_hash,
    deflated_change,
    filters_of,
    mutations,
    signed,
    sync_message,
    unsigned,
)
from meshwire_conformance.socket_suite.case_run import CaseRun
from meshwire_conformance.socket_suite.content import BASE, Wanted
from meshwire_conformance.socket_suite.evidence import CaseFailed
from meshwire_conformance.socket_suite.meanwhile import CODE_NAMES, code_name
from meshwire_conformance.targets.transport import Stream
from meshwire_spec.numbers import (
    SYNC_CHANGES_MAX,
    SYNC_FILTER_BITS_MAX,
    SYNC_FILTER_PROBES_MAX,
    SYNC_FILTERS_MAX,
    FrameType,
)
from meshwire_spec.schemas.steps import FrameSpec

ACTOR = bytes.fromhex("6a6b6c6d")
MUTATIONS = 24
ANSWERS = 40
"""Answers to another peer after which a case waits no longer for the end of hostile streams."""
LIMIT = ("document-limit",)
ALLOWED = ("bad-document", "document-limit")
INFLATED = 64 * 2**20
WITHIN = (
    filters_of(count=SYNC_FILTERS_MAX),
    filters_of(probes=SYNC_FILTER_PROBES_MAX),
    filters_of(bits=SYNC_FILTER_BITS_MAX, size=SYNC_FILTER_BITS_MAX // 8),
    filters_of(entries=16, bits=1, size=2),
)
"""Filters at one of their bounds."""
BEYOND = (
    filters_of(count=SYNC_FILTERS_MAX + 1),
    filters_of(probes=SYNC_FILTER_PROBES_MAX + 1),
    filters_of(bits=SYNC_FILTER_BITS_MAX + 1, size=SYNC_FILTER_BITS_MAX // 8 + 1),
    filters_of(entries=17, bits=1, size=2),
    filters_of(bits=0),
)
"""Filters beyond one of their bounds."""
ONE_HASH = b"\x01"
FILTER_PLACES = (2, 3, SYNC_FILTERS_MAX)
"""Places of a filter behind others, the last one included."""
HUGE = unsigned(2**40)
"""A number of hashes before a filter that no message holds."""
UNBACKED = (
    sync_message(heads=ONE_HASH, have=bytes(29)),
    sync_message(need=ONE_HASH, have=bytes(30)),
    sync_message(have=b"\x01" + ONE_HASH + bytes(30)),
    sync_message(have=b"\x02" + bytes(2)),
    sync_message(have=b"\x00", changes=b"\x02" + bytes(1)),
    sync_message(have=b"\x00") + b"\x03" + bytes(2),
)
"""Messages with one element more than the bytes after its count hold."""
MANY_CHANGES = tuple(
    sync_message(have=b"\x00", changes=unsigned(count) + bytes(count))
    for count in (SYNC_CHANGES_MAX, SYNC_CHANGES_MAX + 1)
)
"""Messages of empty changes: as many as the bound allows, and one more."""
EARLY = bytes.fromhex(
    "856f4a838449475801440187aa46c740fb8631fcb1242464b2ce4bbbf0b1329fd9a64a61d3f63d05ef4363"
    "042a2b2c2d0202000000061503340142025602570270027f0162017f017f2483067f00"
)
"""A change whose dependency the target never receives."""
LET = {"key": "notes:$case", "neighbour": "notes:$case-neighbour"}

hostile_case = partial(case, part="documents", isolation="peer", serial=True, hostile=True, let=LET)
"""Registers a case whose payloads attack the document library."""


async def attack(
    run: CaseRun, frame_type: FrameType, payloads: Sequence[bytes], *, must_end: bool = False
) -> list[Stream]:
    """Send each payload to its own key on its own stream, and wait for the ends of the streams.

    Meanwhile another peer reads its document repeatedly; each answer must arrive within the
    deadline and have the unchanged document. Returns the streams in the order of the payloads.
    Without `must_end` some may still be open: what bytes do not bound takes as long as the target
    allows (DC-043). Raises CaseFailed if an answer is missing or wrong, or a connection is lost.
    """
    neighbour = await plant(run, "$neighbour")
    streams = []
    for number, payload in enumerate(payloads):
        name = f"attack {number}"
        key = run.scope.names["key"] + (f"-{number}" if number else "")
        stream = await run.open("A", name)
        frame = FrameSpec(type=int(frame_type), key=key, hex=payload.hex())
        await run.send(frame, "A", name)
        await stream.finish()
        streams.append(stream)
    waiting = await _wait_out(run, streams, neighbour)
    if waiting and must_end:
        raise CaseFailed(
            "no-end", f"{len(waiting)} streams with hostile bytes never ended", missed=True
        )
    return streams


async def _over(stream: Stream, deadline_s: float) -> None:
    await stream.wait_for(lambda: stream.read_over, deadline_s)


async def _wait_out(run: CaseRun, streams: Sequence[Stream], neighbour: Wanted) -> list[Stream]:
    """Read the neighbour until every stream is over; return those that never were."""
    waiting = list(streams)
    for _ in range(ANSWERS):
        await run.read(neighbour, "B", once=True)
        waiting = [stream for stream in streams if not stream.read_over]
        if not waiting:
            break
        await _over(waiting[0], run.deadline_s / 4)
    for stream in streams:
        run.check_connection(stream.connection)
    return waiting


def check_codes(
    streams: Sequence[Stream],
    *,
    allowed: Sequence[str] = ALLOWED,
    must_refuse: bool = False,
) -> None:
    """Raise CaseFailed if a stream was refused with another code than those of `allowed`.

    With `must_refuse`, a stream that was not refused is a failure too.
    """
    for stream in streams:
        if stream.reset_code is not None and CODE_NAMES.get(stream.reset_code) not in allowed:
            raise CaseFailed(
                f"wrong-code {CODE_NAMES.get(stream.reset_code, 'unknown')}",
                "refused with another code",
                expected=(" or ".join(allowed),),
                received=(code_name(stream.reset_code),),
            )
        if must_refuse and stream.reset_code is None:
            raise CaseFailed("accepted", "the target accepted a payload that it must refuse")


@hostile_case(
    "MW-5931",
    "saved documents with one changed byte and a matching checksum",
    rules=("DC-040", "DC-022", "ER-017"),
)
async def mutated_documents(run: CaseRun) -> None:
    """A panic of the document library ends the node."""
    await run.documents(BASE)
    saved = run.contents.made["base"].saved
    streams = await attack(run, FrameType.SNAPSHOT, list(mutations(saved, MUTATIONS)))
    check_codes(streams)


@hostile_case(
    "MW-5932",
    "changes with one changed byte and a matching checksum, inside sync messages",
    rules=("DC-040", "DC-013", "ER-017"),
)
async def mutated_messages(run: CaseRun) -> None:
    """A panic of the document library ends the node or leaves a document unusable."""
    base = change(ACTOR, 1, INT, signed(513))
    payloads = []
    for changed in mutations(base, MUTATIONS):
        changes = unsigned(1) + unsigned(len(changed)) + changed
        payloads.append(sync_message(have=b"\x00", changes=changes))
    streams = await attack(run, FrameType.DELTA, payloads)
    check_codes(streams)


@hostile_case(
    "MW-5933",
    "a filter that claims 2^32-1 probes",
    rules=("DC-040", "DC-041"),
)
async def filter_of_many_probes(run: CaseRun) -> None:
    """A filter of fifteen bytes needs 16 GiB to be answered."""
    await run.documents(BASE)
    await send_snapshot(run, "A")
    message = sync_message(have=filters_of(probes=2**32 - 1))
    streams = await attack(run, FrameType.DELTA, [message], must_end=True)
    check_codes(streams, allowed=LIMIT, must_refuse=True)
    await run.read(stored(run))


@hostile_case(
    "MW-5934",
    "a change of 69 bytes that claims ten million operations",
    rules=("DC-040",),
)
async def many_operations(run: CaseRun) -> None:
    """Run-length encoded columns are expanded to gigabytes."""
    streams = await attack(run, FrameType.SNAPSHOT, [change(ACTOR, 10_000_000, 0, b"")])
    check_codes(streams, allowed=LIMIT)


@hostile_case(
    "MW-5935",
    "a compressed change that inflates to 64 MiB",
    rules=("DC-040",),
)
async def inflating_change(run: CaseRun) -> None:
    """The limits are applied to the compressed payload alone."""
    payload = await asyncio.to_thread(deflated_change, ACTOR, INFLATED)
    streams = await attack(run, FrameType.SNAPSHOT, [payload])
    check_codes(streams)


@hostile_case(
    "MW-5936",
    "counts of 2^40 to 2^63 in every part of a sync message",
    rules=("DC-040", "DC-041", "DC-013"),
)
async def huge_counts(run: CaseRun) -> None:
    """Memory is allocated for an announced count before it is checked."""
    payloads = []
    for count in (2**40, 2**62, 2**63 - 1):
        announced = unsigned(count)
        payloads += [
            sync_message(heads=announced, have=b"\x00"),
            sync_message(need=announced, have=b"\x00"),
            sync_message(have=announced),
            sync_message(have=b"\x01" + announced + b"\x00"),
            sync_message(have=b"\x00", changes=announced),
        ]
    streams = await attack(run, FrameType.DELTA, payloads, must_end=True)
    check_codes(streams, allowed=LIMIT, must_refuse=True)


@hostile_case(
    "MW-5870",
    "a sync message at each bound must be accepted, and one above it refused",
    rules=("DC-041",),
)
async def bounds_of_messages(run: CaseRun) -> None:
    """A message is refused for the cost of its answer, or a claim is not checked."""
    within = [*(sync_message(have=filters) for filters in WITHIN), MANY_CHANGES[0]]
    beyond = [*(sync_message(have=filters) for filters in BEYOND), MANY_CHANGES[1]]
    streams = await attack(run, FrameType.DELTA, [*within, *beyond, *UNBACKED], must_end=True)
    for stream in streams[: len(within)]:
        if not stream.finished:
            raise CaseFailed("refused", "a message within every bound was refused")
    check_codes(streams[len(within) :], allowed=LIMIT, must_refuse=True)


@case(
    "MW-5761",
    "an answer to a read must not contain a change that lacks its dependencies",
    part="documents",
    rules=("DC-052", "DC-046"),
    let=LET,
)
async def pending_change_in_answer(run: CaseRun) -> None:
    """What Automerge keeps pending in a document is sent with it, until no frame can hold it."""
    await run.documents(BASE)
    await send_snapshot(run, "A")
    changes = unsigned(1) + unsigned(len(EARLY)) + EARLY
    message = sync_message(have=b"\x01\x00\x00", changes=changes)
    await run.send(FrameSpec(type="delta", hex=message.hex()))
    await run.barrier()
    answer = await run.read(stored(run), "B")
    if EARLY in answer.payload:
        raise CaseFailed("pending-sent", "the answer contains a change without its dependency")


@hostile_case(
    "MW-5937",
    "counters, unknown scalars and times after the year 9999 must be stored unchanged",
    rules=("DC-025", "DC-040"),
)
async def odd_scalars(run: CaseRun) -> None:
    """Values that the implementation cannot display are rewritten or refused."""
    odd = {
        "counter": change(ACTOR, 1, COUNTER, signed(259)),
        "unknown": change(ACTOR, 1, UNKNOWN, b"\x01\x02\x03"),
        "time": change(ACTOR, 1, TIMESTAMP, signed(2**62)),
    }
    streams = await attack(run, FrameType.SNAPSHOT, list(odd.values()))
    for stream, name in zip(streams, odd, strict=True):
        if not stream.finished:
            raise CaseFailed(f"refused {name}", f"a {name} was refused")
    for number, data in enumerate(odd.values()):
        key = run.scope.names["key"] + (f"-{number}" if number else "")
        await run.read(Wanted(key, heads=frozenset((change_hash(data),))))


@hostile_case(
    "MW-5938",
    "the second of two different changes with one actor and sequence number",
    rules=("DC-040", "DC-022"),
)
async def two_histories(run: CaseRun) -> None:
    """A second change with the actor and sequence number of a stored one replaces it silently."""
    one, other = (change(ACTOR, 1, INT, signed(value)) for value in (513, 771))
    streams = await attack(run, FrameType.SNAPSHOT, [one])
    if not streams[0].finished:
        raise CaseFailed("refused", "the first change of the actor was refused")
    stream = await run.send(FrameSpec(type="snapshot", hex=other.hex()), "A", "second")
    await run.refused(ALLOWED, "A", "second")
    run.check_connection(stream.connection)
    await run.read(Wanted(run.scope.names["key"], heads=frozenset((change_hash(one),))))


@hostile_case(
    "MW-6965",
    "a filter behind others must be refused if it exceeds a bound",
    rules=("DC-041",),
)
async def bounds_of_later_filters(run: CaseRun) -> None:
    """The claims of the first filter alone are checked, or those up to some number."""
    within = [sync_message(have=_behind(place, filters_of())) for place in FILTER_PLACES]
    beyond = [
        sync_message(have=_behind(place, filters))
        for place in FILTER_PLACES
        for filters in (*BEYOND[1:], ONE_HASH + HUGE + b"\x00")
    ]
    streams = await attack(run, FrameType.DELTA, [*within, *beyond], must_end=True)
    for stream in streams[: len(within)]:
        if not stream.finished:
            raise CaseFailed("refused", "filters within every bound were refused")
    check_codes(streams[len(within) :], allowed=LIMIT, must_refuse=True)


def _behind(place: int, filters: bytes) -> bytes:
    """Return filters of which the one at this place, counted from 1, is that of `filters`."""
    good, last = (one.removeprefix(ONE_HASH) for one in (filters_of(), filters))
    return unsigned(place) + good * (place - 1) + last
