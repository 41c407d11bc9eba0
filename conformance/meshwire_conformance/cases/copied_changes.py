"""A case about a peer that has changes from elsewhere too, and sends copies of them."""

from __future__ import annotations

from typing import Final

from meshwire_conformance.cases.asked_again import ONE_HASH
from meshwire_conformance.cases.planting import send_snapshot
from meshwire_conformance.catalogue.python_cases import case
from meshwire_conformance.protocol.automerge_bytes import CHECKSUM, MAGIC, filters_of, sync_message
from meshwire_conformance.socket_suite.case_run import CaseRun
from meshwire_conformance.socket_suite.evidence import CaseFailed
from meshwire_conformance.socket_suite.shortfall import line_of
from meshwire_spec.schemas.steps import DocumentSpec, FrameSpec

WRITER, COPIER = "writer", "copier"
COPIED: Final = 4
"""Changes of which the second peer sends a copy, before one that it has not got."""


def _versions() -> dict[str, DocumentSpec]:
    """Return documents of which each has one change more than the one before."""
    versions = {"0": DocumentSpec(actor="1a1b1c1d", fields={"course": 258})}
    for number in range(1, COPIED + 1):
        edits = [{"course": 258 + number}]
        merge = [str(number - 1)]
        versions[str(number)] = DocumentSpec(actor="1a1b1c1d", merge=merge, edits=edits)
    return versions


@case(
    "MW-7480",
    "a peer that has sent copies of changes must be sent the next one, at the latest when it asks",
    part="documents",
    rules=("DC-086", "DC-030"),
    isolation="peer",
    let={"key": "notes:$case"},
)
async def copies_come_back(run: CaseRun) -> None:
    """A peer that has shown it gets changes from elsewhere is sent no more of them."""
    await run.documents(_versions())
    await run.connection(WRITER)
    await run.connection(COPIER)
    await run.settle(COPIER)
    for number in range(COPIED):
        relayed = await send_snapshot(run, WRITER, document=str(number))
        await run.expect(relayed, COPIER)
        await send_snapshot(run, COPIER, document=str(number))
    await send_snapshot(run, WRITER, document=str(COPIED))
    await _take_last(run)


async def _take_last(run: CaseRun) -> None:
    """Fail unless the last change comes, or is announced and comes when it is asked for."""
    made = run.contents.made
    (last,), (before,) = made[str(COPIED)].heads, made[str(COPIED - 1)].heads
    arrived = run.subscription(run.scope.text("$key"))
    peer = run.peer(COPIER).name
    chunk = MAGIC + bytes.fromhex(last)[:CHECKSUM]

    def came(part: bytes) -> bool:
        return any(one.peer == peer and part in one.payload for one in arrived.arrivals)

    await arrived.signal.wait_for(lambda: came(bytes.fromhex(last)), run.deadline_s)
    if not came(chunk):
        message = sync_message(
            heads=ONE_HASH + bytes.fromhex(before),
            need=ONE_HASH + bytes.fromhex(last),
            have=filters_of(entries=0, bits=0, probes=0, size=0),
        )
        await run.send(FrameSpec(type="delta", hex=message.hex()), COPIER)
        await run.barrier(COPIER)
    if not await arrived.signal.wait_for(lambda: came(chunk), run.deadline_s):
        raise CaseFailed(
            "no-answer",
            "the last change has not come to a peer that sent copies of the others",
            expected=("the change, or its heads and then the change that was asked for",),
            received=tuple(line_of(one) for one in arrived.arrivals if one.peer == peer),
            missed=True,
        )
