"""Cases about nodes in a hierarchy: what goes to parents and children, and what is taken from them.

The user of the target says what its peers are, so each case has a process of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Final

from meshwire_conformance.cases import user
from meshwire_conformance.cases.controlled import NEEDS, expect_tombstone
from meshwire_conformance.cases.planting import stored
from meshwire_conformance.catalogue.python_cases import CaseFunction, case
from meshwire_conformance.socket_suite.case_run import CaseRun
from meshwire_conformance.socket_suite.content import BASE, Wanted
from meshwire_spec.numbers import Direction, FrameType
from meshwire_spec.schemas.steps import FrameSpec

UP, DOWN, SIDE, BESIDE = "up", "down", "side", "beside"
"""A parent, a child, and two peers that are neither; the second one sends."""
ROLES: Final = {UP: "parent", DOWN: "child", SIDE: "lateral"}
KEYS: Final = {
    "upward": "nodes:$case",
    "upward_full": "summaries:$case",
    "downward": "commands:$case",
    "lateral": "cells:$case",
    "broadcast": "notes:$case",
    "broadcast_snapshot": "tracks:$case",
}
"""Documents of each direction, and of each way of sending."""
GO: Final = {
    "upward": (UP,),
    "upward_full": (UP,),
    "downward": (DOWN,),
    "lateral": (SIDE,),
    "broadcast": (UP, DOWN, SIDE),
    "broadcast_snapshot": (UP, DOWN, SIDE),
}
"""The peers that each of them is sent to."""
TOMBSTONES: Final = {
    "both": (Direction.BIDIRECTIONAL, (UP, DOWN, SIDE)),
    "up_only": (Direction.UP_ONLY, (UP,)),
    "down_only": (Direction.DOWN_ONLY, (DOWN,)),
    "everywhere": (Direction.SYSTEM_WIDE, (UP, DOWN, SIDE)),
}
"""Deleted documents: the direction of each tombstone, and the peers that it is sent to."""
DEAD: Final = {name: f"tracks:$case-{name}" for name in TOMBSTONES}
REFUSED: Final = "not-authorised"


def role_case(
    case_id: str,
    title: str,
    *,
    part: str,
    rules: Iterable[str],
    let: Mapping[str, str],
) -> Callable[[CaseFunction], CaseFunction]:
    """Register a case that gives roles to the peers of a process of its own."""
    return case(
        case_id,
        title,
        part=part,
        rules=rules,
        needs=(*NEEDS, "roles", "binding:tcp"),
        isolation="process",
        let=let,
    )


async def give_roles(run: CaseRun, roles: Mapping[str, str | None]) -> None:
    """Tell the target what some peers are."""
    for name, role in roles.items():
        endpoint_id = run.own_peer(name).identity.hex()
        await user.do(run, "role", endpoint_id=endpoint_id, role=role)


async def connect(run: CaseRun, *names: str) -> None:
    """Connect peers of the case."""
    for name in names:
        await run.own_peer(name).connection()


def forbid(run: CaseRun, go: Mapping[str, tuple[str, ...]], types: Iterable[str]) -> None:
    """Fail the case if something comes to a peer that it does not go to, until the run ends."""
    for name, peers in go.items():
        for peer in {UP, DOWN, SIDE} - set(peers):
            run.watch(run.scope.text(f"${name}"), peer, types)


async def expect_documents(run: CaseRun) -> None:
    """Wait until each document has come to every peer that it goes to, and see that no other has.

    What was queued before the answer to a read of a later document would have come with it.
    """
    for name, peers in GO.items():
        for peer in peers:
            await run.expect(stored(run, key=f"${name}"), peer)
    for peer in (UP, DOWN, SIDE):
        await run.read(stored(run, key="$broadcast"), peer)


async def expect_refusals(run: CaseRun, peer: str, specs: Iterable[FrameSpec]) -> None:
    """Send frames that the peer may not send, and wait until each was refused."""
    for spec in specs:
        await run.send(spec, peer)
        await run.refused([REFUSED], peer)


@role_case(
    "MW-7250",
    "a document must be relayed to the peers alone that its direction names",
    part="documents",
    rules=("DC-071", "DC-030"),
    let=KEYS,
)
async def relayed_by_direction(run: CaseRun) -> None:
    """Directions apply to batches alone, so that single documents go to every peer."""
    await run.documents(BASE)
    await connect(run, UP, DOWN, SIDE)
    await give_roles(run, ROLES)
    forbid(run, GO, ("delta", "snapshot"))
    for name in KEYS:
        await run.send(FrameSpec(type="snapshot", key=f"${name}", document="base"), BESIDE)
    await run.barrier(BESIDE)
    await expect_documents(run)


@role_case(
    "MW-7251",
    "each entry of a batch must be relayed by its own direction",
    part="batches",
    rules=("DC-071", "TS-051", "BT-022"),
    let={**KEYS, "up_only": DEAD["up_only"]},
)
async def batch_of_all_directions(run: CaseRun) -> None:
    """A batch goes in one direction as a whole, or a tombstone in it to everyone."""
    await run.documents(BASE)
    await connect(run, UP, DOWN, SIDE)
    await give_roles(run, ROLES)
    forbid(run, GO, ("delta", "snapshot"))
    forbid(run, {"up_only": (UP,)}, ("tombstone",))
    entries = [FrameSpec(type="snapshot", key=f"${name}", document="base") for name in KEYS]
    dead = FrameSpec(type="tombstone", key="$up_only", lamport=771, direction=Direction.UP_ONLY)
    await run.send(FrameSpec(type="batch", entries=[dead, *entries]), BESIDE)
    await run.barrier(BESIDE)
    await expect_tombstone(run, "$up_only", UP)
    await expect_documents(run)


@role_case(
    "MW-7252",
    "what a node holds must be offered to the peers alone that its direction names",
    part="documents",
    rules=("DC-071", "TS-051", "DC-035"),
    let={**KEYS, **DEAD},
)
async def offered_by_direction(run: CaseRun) -> None:
    """The whole store is offered to every peer that connects, commands to the parent too."""
    await run.documents(BASE)
    await give_roles(run, ROLES)
    forbid(run, GO, ("delta", "snapshot"))
    forbid(run, {name: peers for name, (_, peers) in TOMBSTONES.items()}, ("tombstone",))
    for name in KEYS:
        await run.send(FrameSpec(type="snapshot", key=f"${name}", document="base"), BESIDE)
    await send_tombstones(run)
    await connect(run, UP, DOWN, SIDE)
    await expect_tombstones(run)
    await expect_documents(run)


async def send_tombstones(run: CaseRun) -> None:
    """Delete a document by a tombstone of each direction, and wait for the barrier."""
    for name, (direction, _) in TOMBSTONES.items():
        spec = FrameSpec(type="tombstone", key=f"${name}", lamport=771, direction=direction)
        await run.send(spec, BESIDE)
    await run.barrier(BESIDE)


async def expect_tombstones(run: CaseRun) -> None:
    """Wait until each tombstone has come to every peer that it goes to."""
    for name, (_, peers) in TOMBSTONES.items():
        for peer in peers:
            await expect_tombstone(run, f"${name}", peer)


@role_case(
    "MW-7253",
    "a tombstone must be relayed to the peers alone that its own direction names",
    part="tombstones",
    rules=("TS-051", "TS-037"),
    let={**DEAD, "broadcast": KEYS["broadcast"]},
)
async def tombstones_by_direction(run: CaseRun) -> None:
    """A tombstone goes where the documents of its collection go, or to everyone."""
    await run.documents(BASE)
    await connect(run, UP, DOWN, SIDE)
    await give_roles(run, ROLES)
    forbid(run, {name: peers for name, (_, peers) in TOMBSTONES.items()}, ("tombstone",))
    await send_tombstones(run)
    await expect_tombstones(run)
    await run.send(FrameSpec(type="snapshot", key="$broadcast", document="base"), BESIDE)
    await run.barrier(BESIDE)
    for peer in (UP, DOWN, SIDE):
        await run.expect(stored(run, key="$broadcast"), peer)


@role_case(
    "MW-7254",
    "what goes downward must be refused from a child, and answered where it asks",
    part="documents",
    rules=("DC-072", "TS-052", "DC-001", "BT-021", "DC-071"),
    let={
        "key": "commands:$case",
        "snapshot": "commands:$case-snapshot",
        "delta": "commands:$case-delta",
        "entry": "commands:$case-entry",
        "dead": "tracks:$case-dead",
        "gone": "commands:$case-gone",
        "crowd": "tracks:$case-crowd",
        "note": "notes:$case",
    },
)
async def commands_of_a_child(run: CaseRun) -> None:
    """A child gives commands to its parent, who passes them on to its other children."""
    await run.documents(BASE)
    await run.contents.prepare_delta("base")
    await connect(run, UP, DOWN)
    await give_roles(run, ROLES)
    refused = (
        FrameSpec(type="snapshot", key="$snapshot", document="base"),
        FrameSpec(type="delta", key="$delta", document="base"),
        FrameSpec(type="tombstone", key="$dead", lamport=771, direction=Direction.DOWN_ONLY),
        FrameSpec(type="tombstone", key="$gone", lamport=771, direction=Direction.BIDIRECTIONAL),
    )
    await expect_refusals(run, DOWN, refused)
    note = FrameSpec(type="snapshot", key="$note", document="base")
    entry = FrameSpec(type="snapshot", key="$entry", document="base")
    await run.send(FrameSpec(type="batch", entries=[entry, note]), DOWN)
    crowd = FrameSpec(type="tombstone", key="$crowd", lamport=771, direction=Direction.DOWN_ONLY)
    await run.send(FrameSpec(type="tombstone-batch", tombstones=[crowd]), DOWN)
    await run.barrier(DOWN)
    await run.read(stored(run, key="$note"), UP)
    for name in ("snapshot", "delta", "entry", "dead", "gone", "crowd"):
        await run.read(Wanted(run.scope.text(f"${name}"), heads=frozenset()), UP)
    await run.send(FrameSpec(type="snapshot", document="base"), UP)
    await run.barrier(UP)
    await run.expect(stored(run), DOWN)
    await run.read(stored(run), DOWN)


@role_case(
    "MW-7255",
    "a role that is given later must hold for documents held and for later changes",
    part="documents",
    rules=("DC-074", "DC-071"),
    let={"key": "commands:$case", "later": "commands:$case-later", "dead": DEAD["down_only"]},
)
async def role_given_later(run: CaseRun) -> None:
    """A hierarchy is known at the start or not at all, and a later role is ignored."""
    await run.documents(BASE)
    await connect(run, UP, SIDE)
    await give_roles(run, ROLES)
    for name in ("key", "later"):
        run.watch(run.scope.text(f"${name}"), UP, ("delta", "snapshot"))
    await run.send(FrameSpec(type="snapshot", document="base"), BESIDE)
    spec = FrameSpec(type="tombstone", key="$dead", lamport=771, direction=Direction.DOWN_ONLY)
    await run.send(spec, BESIDE)
    await run.barrier(BESIDE)
    await give_roles(run, {SIDE: "child"})
    await run.expect(stored(run), SIDE)
    await expect_tombstone(run, "$dead", SIDE)
    await run.send(FrameSpec(type="snapshot", key="$later", document="base"), BESIDE)
    await run.barrier(BESIDE)
    await run.expect(stored(run, key="$later"), SIDE)


@role_case(
    "MW-6982",
    "what no role holds back any more must go to each peer without the last role",
    part="documents",
    rules=("DC-074",),
    let={"key": "commands:$case", "dead": DEAD["down_only"]},
)
async def last_role_taken_away(run: CaseRun) -> None:
    """Only the peer whose role has changed gets what now goes to it."""
    await run.documents(BASE)
    await connect(run, UP, SIDE)
    await give_roles(run, {UP: "parent"})
    await run.send(FrameSpec(type="snapshot", document="base"), BESIDE)
    spec = FrameSpec(type="tombstone", key="$dead", lamport=771, direction=Direction.DOWN_ONLY)
    await run.send(spec, BESIDE)
    await run.barrier(BESIDE)
    await give_roles(run, {UP: None})
    for peer in (UP, SIDE):
        await run.expect(stored(run), peer)
        await expect_tombstone(run, "$dead", peer)


@case(
    "MW-7256",
    "a document of a collection that is closed must not be taken",
    part="documents",
    rules=("DC-073", "ER-010", "ER-011"),
    let={
        "key": "notes:$case",
        "certificate": "certificates:$case",
        "revocation": "revocations:$case",
    },
)
async def closed_collections(run: CaseRun) -> None:
    """Anyone writes certificates into a node that others trust for them."""
    await run.documents(BASE)
    await run.contents.prepare_delta("base")
    await run.connection("A")
    for name in ("certificate", "revocation"):
        key = f"${name}"
        run.watch(run.scope.text(key), "A", ("delta", "snapshot", "tombstone"))
        refused = (
            FrameSpec(type="snapshot", key=key, document="base"),
            FrameSpec(type="delta", key=key, document="base"),
            FrameSpec(type="delta", key=key, hex="42000001000000020102"),
            FrameSpec(type="tombstone", key=key, lamport=771),
        )
        await expect_refusals(run, "B", refused)
        entries = [
            FrameSpec(type="snapshot", key=key, document="base"),
            FrameSpec(type="snapshot", document="base"),
        ]
        await run.send(FrameSpec(type="batch", entries=entries), "B")
        await run.barrier("B")
    await run.expect(stored(run), "A")
    await run.read(Wanted(run.scope.text("$key"), int(FrameType.DELTA)), "B")
