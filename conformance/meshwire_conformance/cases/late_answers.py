"""Cases about answers to stale snapshots that have to wait: for a stream, and for the interval."""

from __future__ import annotations

import asyncio

from meshwire_conformance.cases.planting import send_snapshot
from meshwire_conformance.cases.streams import LISTED_WINDOW, big, give_credit, is_snapshot
from meshwire_conformance.catalogue.python_cases import case
from meshwire_conformance.socket_suite.case_run import CaseRun
from meshwire_conformance.socket_suite.connecting import adopt_lab
from meshwire_conformance.socket_suite.content import Wanted
from meshwire_conformance.socket_suite.evidence import CaseFailed
from meshwire_conformance.socket_suite.shortfall import line_of
from meshwire_conformance.targets.lab_records import Windows
from meshwire_conformance.targets.tcp import TcpConnection
from meshwire_spec.numbers import SNAPSHOT_ANSWER_INTERVAL_S, FrameType
from meshwire_spec.schemas.steps import DocumentSpec

NEEDS = ("documents", "binding:tcp")
GRANTED = 8
PATIENCE = 4
"""Deadlines that an answer may take which waits for an interval."""
CLOCK_ANSWERS = 3
"""Answers to another peer, an interval between each two, so that more than one has passed."""


@case(
    "MW-6303",
    "an answer that waited for a stream must have the changes that came meanwhile",
    part="documents",
    rules=("DC-027", "DC-024"),
    needs=NEEDS,
    isolation="peer",
    let={"key": "notes:$case"},
)
async def answers_are_made_when_sent(run: CaseRun) -> None:
    """The answer is made when the snapshot comes, and is old when it is sent."""
    documents = {
        "stale": DocumentSpec(actor="1a1b1c1d", fields={"course": 259}),
        "whole": DocumentSpec(actor="0b0b0b0b", merge=["stale"], edits=[{"course": 386}]),
        "later": DocumentSpec(actor="0b0b0b0b", merge=["whole"], edits=[{"course": 517}]),
    }
    await run.documents(documents)
    await send_snapshot(run, document="whole")
    shut = await adopt_lab(run, "shut", Windows(max_streams_bidi=0))
    await send_snapshot(run, "shut", document="stale")
    await send_snapshot(run, document="later")
    key = run.scope.names["key"]
    arrivals = run.subscription(key).arrivals
    shut.lab.allow_streams(GRANTED)
    shut.flush()
    # A document of `notes` is pushed as a delta, so every snapshot is an answer.
    first = await run.expect(Wanted(key, FrameType.SNAPSHOT), "shut")
    await run.read(Wanted(key, heads=run.contents.made["later"].heads), "shut")
    wanted = Wanted(key, FrameType.SNAPSHOT, run.contents.made["later"].heads)
    for one in arrivals:
        if one.peer != first.peer or one.type != FrameType.SNAPSHOT:
            continue
        why_not = await run.contents.mismatch(wanted, one, strict=True)
        if why_not is not None:
            raise CaseFailed(
                "old-answer",
                "an answer lacks a change that took effect before its stream was granted",
                expected=("the document as it is when it is sent",),
                received=(line_of(one), why_not.line()),
            )


@case(
    "MW-6304",
    "the interval between two answers must begin with the last byte of the first",
    part="documents",
    rules=("DC-026", "DC-027"),
    needs=NEEDS,
    isolation="process",
    serial=True,
    let={"key": "notes:$case"},
)
async def the_interval_begins_at_the_end(run: CaseRun) -> None:
    """The interval counts from the making of an answer, and is over before it has left."""
    documents = {
        "stale": DocumentSpec(actor="1a1b1c1d", fields={"course": 259}),
        "whole": DocumentSpec(actor="0b0b0b0b", merge=["stale", "big"]),
    }
    await run.documents({"big": big(), **documents})
    await send_snapshot(run, "clock", document="whole")
    slow = await adopt_lab(run, "slow", Windows(max_stream_data=LISTED_WINDOW, held=True))
    await send_snapshot(run, "slow", document="stale")
    await _begun(run, slow)
    await _let_an_interval_pass(run)
    await send_snapshot(run, "slow", document="stale")
    if _answers(slow) > 1:
        raise CaseFailed("early-answer", "an answer began before the one before it had ended")
    wanted = Wanted(run.scope.names["key"], FrameType.SNAPSHOT)
    # The last byte of the first answer leaves after this moment, as its credit comes later.
    granted_s = asyncio.get_running_loop().time()
    give_credit(slow)
    first = await run.expect(wanted, "slow")
    after = run.subscription(wanted.key).arrivals.index(first) + 1
    await run.expect(wanted, "slow", after=after, patience=PATIENCE)
    passed_s = asyncio.get_running_loop().time() - granted_s
    if passed_s < SNAPSHOT_ANSWER_INTERVAL_S:
        raise CaseFailed(
            "early-answer",
            f"an answer came {passed_s:.2f} s after the credit for the rest of the one before it",
            expected=(f"at least {SNAPSHOT_ANSWER_INTERVAL_S:g} s after its last byte",),
            received=(f"the whole next answer after {passed_s:.2f} s",),
        )


async def _let_an_interval_pass(run: CaseRun) -> None:
    """Draw answers on another connection, each of which is due an interval after the last."""
    wanted = Wanted(run.scope.names["key"], FrameType.SNAPSHOT)
    arrivals = run.subscription(wanted.key).arrivals
    after = len(arrivals)
    for _ in range(CLOCK_ANSWERS):
        await send_snapshot(run, "clock", document="stale")
        seen = await run.expect(wanted, "clock", after=after, patience=PATIENCE)
        after = arrivals.index(seen) + 1


def _answers(connection: TcpConnection) -> int:
    """Return how many answers to snapshots the target has begun on a connection."""
    return sum(is_snapshot(stream) for stream in connection.streams.values())


async def _begun(run: CaseRun, connection: TcpConnection) -> None:
    """Wait until the target has begun an answer to a snapshot."""
    await connection.signal.wait_for(lambda: _answers(connection) > 0, run.deadline_s)
    run.check_connection(connection)
    if not _answers(connection):
        raise CaseFailed("no-answer", "a stale snapshot was not answered", missed=True)
