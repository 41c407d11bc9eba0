"""Cases about the order in which documents of different urgency are sent.

The peer that is judged grants one stream after the other, so the order in which frames arrive is
that in which the target has chosen them. Each case has a process of its own, which holds nothing
else that would have to be sent.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import pairwise
from typing import Final

from meshwire_conformance.cases.pace import check_before, plant_all, takes_a_stream
from meshwire_conformance.catalogue.python_cases import case
from meshwire_conformance.socket_suite.case_run import CaseRun
from meshwire_conformance.socket_suite.connecting import adopt_lab
from meshwire_conformance.socket_suite.content import BASE
from meshwire_conformance.socket_suite.evidence import CaseFailed
from meshwire_conformance.socket_suite.inbox import Arrival
from meshwire_conformance.targets.lab_records import Windows
from meshwire_conformance.targets.tcp import TcpConnection
from meshwire_spec.numbers import Urgency
from meshwire_spec.schemas.steps import FrameSpec

CLASSES: Final = {
    "logs": Urgency.BULK,
    "beacons": Urgency.LOW,
    "tracks": Urgency.NORMAL,
    "events": Urgency.NORMAL,
    "imagery": Urgency.HIGH,
    "alerts": Urgency.CRITICAL,
}
"""A collection or two of each class, the least urgent first, as they are planted."""
OF_EACH: Final = 30
"""Documents of each collection: more than one batch of most nodes."""
LESS_URGENT: Final = 100
"""More documents than may be sent before a more urgent one."""
ENOUGH: Final = 2**12
"""Streams that are granted once the order is known."""

order_case = partial(
    case,
    part="documents",
    needs=("documents", "binding:tcp"),
    isolation="process",
    serial=True,
)
"""Registers a case about the order of frames to one peer."""


def _arrivals(run: CaseRun, keys: Sequence[str]) -> list[Arrival]:
    """Return what has come to the late peer under these keys, in its order."""
    peer = run.peer("late").name
    found = (one for key in keys for one in run.subscription(key).arrivals if one.peer == peer)
    return sorted(found, key=lambda one: one.order)


def _class_of(key: str) -> Urgency:
    return CLASSES[key.partition(":")[0]]


def _came(run: CaseRun, keys: Sequence[str]) -> list[str]:
    """Return those of these keys under which something has come, in the order of their first."""
    return list(dict.fromkeys(one.key for one in _arrivals(run, keys)))


async def _take_all(run: CaseRun, connection: TcpConnection, keys: Sequence[str]) -> list[str]:
    """Grant one stream after the other until something has come under each key.

    Returns the keys in the order in which each came first.
    """
    while len(_came(run, keys)) < len(keys):
        if not await takes_a_stream(run, connection):
            run.check_connection(connection)
            raise CaseFailed(
                "offer-incomplete",
                "no further document arrived",
                expected=(f"{len(keys)} documents, however long they take",),
                received=(f"{len(_came(run, keys))} of them",),
                missed=True,
            )
    return _came(run, keys)


@order_case(
    "MW-7257",
    "a new connection must be offered the most urgent documents first",
    rules=("DC-075", "DC-037"),
)
async def urgent_documents_are_offered_first(run: CaseRun) -> None:
    """A node offers documents in the order in which it got them, or the least urgent first."""
    case_name = run.scope.names["case"]
    keys = [f"{name}:{case_name}-{number}" for name in CLASSES for number in range(OF_EACH)]
    await plant_all(run, keys)
    for key in keys:
        run.subscription(key)
    connection = await adopt_lab(run, "late", Windows(max_streams_bidi=0))
    came = await _take_all(run, connection, keys)
    for before, after in pairwise(came):
        if _class_of(before) > _class_of(after):
            raise CaseFailed(
                "offer-out-of-order",
                f"{before} came before {after}",
                expected=(f"documents of class {_class_of(after)} before {_class_of(before)}",),
                received=(f"{before}, then {after}",),
            )


async def _begin(run: CaseRun, collection: str) -> tuple[TcpConnection, list[str], str]:
    """Connect a peer that grants no stream yet, to which documents will be relayed.

    Returns the connection, the keys of many documents of a collection, and that of an alert.
    """
    case_name = run.scope.names["case"]
    less_urgent = [f"{collection}:{case_name}-{number}" for number in range(LESS_URGENT)]
    urgent = f"alerts:{case_name}"
    for key in (*less_urgent, urgent):
        run.subscription(key)
    return await adopt_lab(run, "late", Windows(max_streams_bidi=0)), less_urgent, urgent


async def _check_urgent(
    run: CaseRun, connection: TcpConnection, less_urgent: Sequence[str], urgent: FrameSpec
) -> None:
    """Send a frame; fail unless it is relayed before the rest of the less urgent ones."""
    key = urgent.key
    await run.send(urgent)
    await run.barrier()
    came = await _take_all(run, connection, [key])
    assert came == [key]
    (first, *_) = _arrivals(run, [key])
    others = less_urgent, "frames of less urgent classes"
    check_before(run, "urgent-last", others, (first, key))
    connection.lab.allow_streams(ENOUGH)
    connection.flush()


@order_case(
    "MW-7258",
    "an urgent change must be relayed before the rest of 100 less urgent ones",
    rules=("DC-076", "DC-030", "TM-003"),
)
async def urgent_changes_are_sent_first(run: CaseRun) -> None:
    """A node relays changes in the order in which they came."""
    connection, logs, urgent = await _begin(run, "logs")
    await plant_all(run, logs)
    snapshot = FrameSpec(type="snapshot", key=urgent, document="base")
    await _check_urgent(run, connection, logs, snapshot)


@order_case(
    "MW-7380",
    "an urgent change must be relayed before the rest of 100 less urgent tombstones",
    rules=("DC-076", "DC-088", "TS-037"),
)
async def urgent_changes_are_sent_before_tombstones(run: CaseRun) -> None:
    """A node relays every tombstone before any document."""
    await run.documents(BASE)
    connection, tracks, urgent = await _begin(run, "tracks")
    tombstones = [FrameSpec(type="tombstone", key=key) for key in tracks]
    await run.send(FrameSpec(type="tombstone-batch", key=urgent, tombstones=tombstones))
    await run.barrier()
    snapshot = FrameSpec(type="snapshot", key=urgent, document="base")
    await _check_urgent(run, connection, tracks, snapshot)


@order_case(
    "MW-7381",
    "an urgent tombstone must be relayed before the rest of 100 less urgent changes",
    rules=("DC-088", "TS-037"),
)
async def urgent_tombstones_are_sent_first(run: CaseRun) -> None:
    """A node relays tombstones after every document, or by the class of their own collection."""
    connection, tracks, urgent = await _begin(run, "tracks")
    await plant_all(run, tracks)
    await _check_urgent(run, connection, tracks, FrameSpec(type="tombstone", key=urgent))
