"""Cases about what a node does not do with what it refuses or ignores."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from meshwire_conformance.cases.planting import NOTHING, send_snapshot, stored
from meshwire_conformance.catalogue.python_cases import case
from meshwire_conformance.socket_suite.case_run import CaseRun
from meshwire_conformance.socket_suite.content import BASE, Wanted
from meshwire_conformance.socket_suite.evidence import CaseFailed
from meshwire_conformance.socket_suite.reconciling import EMPTY_RANGE
from meshwire_conformance.socket_suite.shortfall import arrival_lines
from meshwire_conformance.targets.transport import Stream
from meshwire_spec.numbers import (
    AUTHOR_MAX,
    COLLECTION_MAX,
    DOCUMENT_ID_MAX,
    NEGENTROPY_KEY,
    NEGENTROPY_MESSAGE_MAX,
    REASON_MAX,
    FrameType,
)
from meshwire_spec.schemas.steps import FrameSpec

SNAPSHOT = FrameSpec(type="snapshot", document="base")
JUNK = "856f4a83ffff"


@dataclass(frozen=True, slots=True)
class Quiet:
    """A frame that has no effect; `reset` ends its stream with a RESET instead of FIN."""

    frame: FrameSpec
    reset: bool = False


QUIET: Mapping[str, Quiet] = {
    "an unknown type": Quiet(FrameSpec(type=0x0B, hex=JUNK, wrong=True)),
    "a snapshot that cannot be read": Quiet(FrameSpec(type="snapshot", hex=JUNK)),
    "an empty snapshot": Quiet(FrameSpec(type="snapshot", hex="")),
    "a delta that cannot be read": Quiet(FrameSpec(type="delta", hex=JUNK)),
    "a snapshot that FIN truncates": Quiet(FrameSpec(type="snapshot", document="base", cut=1)),
    "a snapshot that RESET truncates": Quiet(
        FrameSpec(type="snapshot", document="base", cut=1), reset=True
    ),
    "a tombstone that is truncated": Quiet(FrameSpec(type="tombstone", payload_cut=1)),
    "a tombstone of no direction": Quiet(FrameSpec(type="tombstone", direction=4)),
    "an expired tombstone": Quiet(FrameSpec(type="tombstone", deleted_at="now-9999h")),
    "a batch that is ahead": Quiet(
        FrameSpec(type="batch", entries=[SNAPSHOT], created_at="now+25h")
    ),
    "a batch of a snapshot that cannot be read": Quiet(
        FrameSpec(type="batch", entries=[FrameSpec(type="snapshot", hex=JUNK)])
    ),
    "a batch without a count of its entry": Quiet(
        FrameSpec(type="batch", entries=[SNAPSHOT], count=0)
    ),
    "a tombstone batch without a count": Quiet(
        FrameSpec(type="tombstone-batch", tombstones=[FrameSpec(type="tombstone")], count=0)
    ),
}
"""What is refused or ignored, by name; each is sent with a key of its own."""


@case(
    "MW-6250",
    "frames at fault, and frames to ignore, must be neither stored, answered nor relayed",
    part="errors",
    rules=("DC-032", "ER-014", "FR-012", "TS-039", "TR-014"),
    isolation="peer",
    let={"asked": "notes:$case"},
)
async def nothing_comes_of_it(run: CaseRun) -> None:
    """A frame is relayed as it came, or before it is checked, or a refused one is stored."""
    await run.documents(BASE)
    keys = {name: f"nodes:{run.scope.names['case']}-{n}" for n, name in enumerate(QUIET)}
    saved = run.contents.made["base"].saved.hex()
    unread = f"nodes:{run.scope.names['case']}-unread"
    await _await_ready(run)
    for key in (*keys.values(), unread):
        for on in ("A", "B"):
            run.watch(key, on)
    streams = [await _send(run, keys[name], quiet) for name, quiet in QUIET.items()]
    unread_types = (FrameType.WINDOWED_HISTORY, FrameType.TOMBSTONE_ACK)
    frames = [FrameSpec(type=int(number), hex=saved) for number in unread_types]
    streams += [await _send(run, unread, Quiet(frame)) for frame in frames]
    await _send_on_uni(run, unread)
    for stream in streams:
        await stream.wait_for(partial(_is_over, stream), run.deadline_s)
    for key in (*keys.values(), unread):
        await run.read(Wanted(key, heads=NOTHING), "C")
    await _await_ready(run)


FIRST, LATER = "negentropy-init", "negentropy-response"


def _message(message: str = EMPTY_RANGE, frame_type: str = FIRST) -> FrameSpec:
    return FrameSpec(type=frame_type, hex=message)


AGAIN = _message(frame_type=LATER)
TOO_LONG = FrameSpec(type=FIRST, hex="", payload_length=NEGENTROPY_MESSAGE_MAX + 1)
REFUSED_RUNS: Mapping[str, tuple[FrameSpec, ...]] = {
    "a message without a version": (_message(""),),
    "a first byte of no version": (_message("700000020061"),),
    "a mode without meaning": (_message("61000003"),),
    "a varint that is too long": (_message("618280808080808080800000000200"),),
    "more ids than bytes": (_message("6100000202" + "5a" * 32),),
    "bounds that do not increase": (_message("61010108000001010700000200"),),
    "a message that is too long": (TOO_LONG,),
    "a later message without a first": (AGAIN,),
    "two first messages": (_message(), _message()),
    "messages that settle nothing": (_message(), AGAIN, AGAIN),
    "a later message that is cut": (_message(), FrameSpec(type=LATER, hex=EMPTY_RANGE, cut=1)),
}
"""Messages whose run is refused, by name; each is sent on a stream of its own."""
RUNS: Mapping[str, tuple[FrameSpec, ...]] = {
    "a question about nothing": (_message(), AGAIN),
    "no ranges": (_message("61"), _message("61", LATER)),
    "another version": (_message("62"),),
    "a set without items": (_message("6100000200"),),
    "an item that no node holds": (_message("6100000201" + "5a" * 32),),
    "a fingerprint of another set": (_message("6100000101" + "5b" * 15),),
}
"""Messages that are answered, likewise."""


@case(
    "MW-6450",
    "messages of reconciliations must be answered on their streams, and nothing else come of them",
    part="reconciliation",
    rules=("NG-014", "NG-016", "NG-022", "NG-023", "ER-014"),
    needs=("documents", "reconciliation"),
    isolation="peer",
    let={"held": "tracks:$case", "dead": "nodes:$case", "asked": "notes:$case-asked"},
)
async def runs_stay_on_their_streams(run: CaseRun) -> None:
    """A message is relayed, answered on a stream of the target's own, or changes the documents."""
    await run.documents(BASE)
    held, dead = run.scope.names["held"], run.scope.names["dead"]
    await run.send(FrameSpec(type="tombstone", key=dead), "C")
    await send_snapshot(run, "C", key=held)
    for on in ("A", "B"):
        await run.connection(on)
    wanted = stored(run, key=held)
    for on in ("A", "B"):
        # The offers of the new connections come first, and in any order.
        await run.expect(wanted, on)
        await run.expect(Wanted(dead, FrameType.TOMBSTONE), on)
        run.watch(NEGENTROPY_KEY, on, (LATER,))
        for key in (held, dead):
            run.watch(key, on, pushes=True)
    for on, groups in (("A", REFUSED_RUNS), ("X", RUNS)):
        for name, frames in groups.items():
            stream = await _send_run(run, on, name, frames)
            if stream.refused != (groups is REFUSED_RUNS):
                how = "was refused" if stream.refused else "was not refused"
                raise CaseFailed("wrong-end", f"{name}: the run {how}", missed=not stream.read_over)
    await run.read(Wanted(run.scope.names["asked"], heads=NOTHING), "B")
    _check_not_relayed(run)
    for on in ("C", "X"):
        await run.read(wanted, on)
        await run.read(Wanted(dead, FrameType.TOMBSTONE), on)


async def _send_run(run: CaseRun, on: str, name: str, frames: tuple[FrameSpec, ...]) -> Stream:
    """Send messages and FIN on one stream, and wait for its end."""
    for frame in frames:
        stream = await run.send(frame, on, name)
    await stream.finish()
    run.ended(stream, "FIN", on)
    await stream.wait_for(partial(_is_over, stream), run.deadline_s)
    run.check_connection(stream.connection)
    return stream


def _check_not_relayed(run: CaseRun) -> None:
    """Fail if the target began a run with a message that the suite has sent it."""
    sent = {
        bytes.fromhex(one.hex or "") for one in sum((*REFUSED_RUNS.values(), *RUNS.values()), ())
    }
    for arrival in run.subscription(NEGENTROPY_KEY).arrivals:
        if arrival.type == FrameType.NEGENTROPY_INIT and arrival.payload in sent:
            raise CaseFailed(
                "relayed",
                "a message of the suite came back on a stream of the target",
                expected=("nothing",),
                received=arrival_lines(arrival),
            )


def _is_over(stream: Stream) -> bool:
    return stream.read_over or stream.refused


async def _await_ready(run: CaseRun) -> None:
    """Let both peers be answered, so that what the target has queued for them has come."""
    for on in ("A", "B"):
        await run.read(Wanted(run.scope.names["asked"], heads=NOTHING), on)


async def _send(run: CaseRun, key: str, quiet: Quiet) -> Stream:
    """Send a frame about a key, alone on a stream, and end the stream."""
    name = f"{key} {quiet.frame.type}"
    stream = await run.send(_about(quiet.frame, key), "A", name)
    if quiet.reset:
        await stream.reset(0)
        run.ended(stream, "RESET with 0")
    else:
        await stream.finish()
        run.ended(stream, "FIN")
    return stream


def _about(frame: FrameSpec, key: str) -> FrameSpec:
    """Return a frame with this key, also in its entries and tombstones."""
    inner = {
        name: [_about(one, key) for one in getattr(frame, name)]
        for name in ("entries", "tombstones")
    }
    return _with(frame, **inner, key=key)


def _with(frame: FrameSpec, **members: Any) -> FrameSpec:
    """Return a frame with other members."""
    old = {name: getattr(frame, name) for name in frame.__struct_fields__}
    return FrameSpec(**{**old, **members})


async def _send_on_uni(run: CaseRun, key: str) -> None:
    """Send a heartbeat that a whole frame follows, which no uni stream has."""
    stream = await run.open("A", "heartbeat", uni=True)
    frame = run.composer.frame(_about(SNAPSHOT, key))
    await run.send(FrameSpec(type="heartbeat", extra=frame.hex()), "A", "heartbeat")
    await stream.finish()


@case(
    "MW-6251",
    "elements at each limit must take effect in each carrier, and those one byte beyond be skipped",
    part="batches",
    rules=("BT-007", "FR-023", "FR-024", "BT-021", "TS-006", "TS-025"),
)
async def limits_in_carriers(run: CaseRun) -> None:
    """A limit is kept in frames of its own, and not for entries of batches and elements."""
    await run.documents(BASE)
    name = run.scope.names["case"]
    heads = run.contents.made["base"].heads
    longest = f"{'c' * COLLECTION_MAX}:{name}".ljust(COLLECTION_MAX + 1 + DOCUMENT_ID_MAX, "i")
    beyond = (f"notes:{name}".ljust(6 + DOCUMENT_ID_MAX + 1, "i"), f"c{longest}"[:200])
    entries = [FrameSpec(type="snapshot", key=key, document="base", wrong=True) for key in beyond]
    entries.append(FrameSpec(type="snapshot", key=longest, document="base"))
    await run.send(FrameSpec(type="batch", key=longest, entries=entries))
    await run.barrier()
    await run.read(Wanted(longest, heads=heads))
    for carrier, member in (("batch", "entries"), ("tombstone-batch", "tombstones")):
        kept, deleted = await _send_tombstones(run, carrier, member)
        for key in kept:
            await run.read(Wanted(key, heads=heads))
        for key in deleted:
            await run.read(Wanted(key, FrameType.TOMBSTONE))


async def _send_tombstones(run: CaseRun, carrier: str, member: str) -> tuple[list[str], list[str]]:
    """Send tombstones at their limits and beyond; return the keys that stay, and the others."""
    keys = [f"nodes:{run.scope.names['case']}-{carrier}-{number}" for number in range(3)]
    for key in keys:
        await run.send(FrameSpec(type="snapshot", key=key, document="base"))
    await run.barrier()
    author, reason, both = keys
    longest = f"{both}-".ljust(6 + DOCUMENT_ID_MAX, "i")
    most: dict[str, Any] = {"deleted_by": "a" * AUTHOR_MAX, "reason": "r" * REASON_MAX}
    tombstones = [
        FrameSpec(type="tombstone", key=author, deleted_by="a" * (AUTHOR_MAX + 1), wrong=True),
        FrameSpec(type="tombstone", key=reason, reason="r" * (REASON_MAX + 1), wrong=True),
        FrameSpec(type="tombstone", key=both, **most),
        FrameSpec(type="tombstone", key=longest, **most),
    ]
    frame = FrameSpec(type=carrier, key=author)
    await run.send(_with(frame, **{member: tombstones}))
    await run.barrier()
    return [author, reason], [both, longest]
