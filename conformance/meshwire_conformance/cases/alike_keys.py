"""Cases about keys that look alike: in another normal form, in other letters, or with more spaces.

Their bytes differ, so that they name different documents (FR-028), in whatever carries them.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Sequence

from meshwire_conformance.cases.planting import NOTHING, stored
from meshwire_conformance.cases.reconciling_client import client_case, take_run
from meshwire_conformance.cases.spread_findings import check_found
from meshwire_conformance.catalogue.python_cases import case
from meshwire_conformance.socket_suite.case_run import CaseRun
from meshwire_conformance.socket_suite.content import BASE, Wanted
from meshwire_conformance.socket_suite.reconciling import (
    Conversation,
    ask_about,
    item_of,
)
from meshwire_spec.numbers import FrameType
from meshwire_spec.schemas.steps import DocumentSpec, FrameSpec

ALIKE = (
    ("\u00e9", "e\u0301"),
    ("\u00e9", "\u00c9"),
    ("\u00e9", "\u00e9 "),
    ("\u00c5", "\u212b"),
    ("A", "\uff21"),
    ("\u00e9", "\u00e9\u200b"),
)
"""Pairs of ends of keys that are equal once they are normalised, folded or trimmed."""
DOCUMENTS = {
    "first": DocumentSpec(actor="0a0b0c0d", fields={"name": "alpha"}),
    "second": DocumentSpec(actor="1a1b1c1d", fields={"name": "bravo"}),
    "third": DocumentSpec(actor="2a2b2c2d", fields={"name": "carol"}),
}
"""What neighbours hold differs, so that one is never taken for the other."""
IN_GRACE = "now-25h"
"""Time of a tombstone of `nodes` that takes effect and is relayed, but not offered."""
LET = {"asked": "notes:$case-asked"}
TOMBSTONE = FrameType.TOMBSTONE


def _keys(run: CaseRun, label: str = "") -> list[str]:
    """Return pairs of keys that look alike, and keep what the target sends for them from now on."""
    name = f"{run.scope.names['case']}{label}"
    ends = [f"{name}-{number}{end}" for number, pair in enumerate(ALIKE) for end in pair]
    return [run.subscription(f"nodes:{end}").key for end in (*ends, name, f"\ufeff{name}")]


def _document(number: int) -> str:
    return list(DOCUMENTS)[number % len(DOCUMENTS)]


def _snapshot(key: str, number: int) -> FrameSpec:
    return FrameSpec(type="snapshot", key=key, document=_document(number))


def _delta(key: str, number: int) -> FrameSpec:
    return FrameSpec(type="delta", key=key, document=_document(number))


def _deletion(key: str, _number: int = 0) -> FrameSpec:
    """Return a tombstone that is greater than each of its key that the suite has sent."""
    return FrameSpec(type="tombstone", key=key, deleted_at=IN_GRACE, lamport=517)


Make = Callable[[str, int], FrameSpec]
Numbered = Sequence[tuple[int, str]]


async def _in_frames(run: CaseRun, keys: Numbered, make: Make) -> None:
    for number, key in keys:
        await run.send(make(key, number), "A")
    await run.barrier("A")


async def _in_entries(run: CaseRun, keys: Numbered, make: Make) -> None:
    entries = [make(key, number) for number, key in keys]
    await run.send(FrameSpec(type="batch", key="$asked", entries=entries), "A")
    await run.barrier("A")


async def _in_elements(run: CaseRun, keys: Numbered, make: Make) -> None:
    tombstones = [make(key, number) for number, key in keys]
    await run.send(FrameSpec(type="tombstone-batch", key="$asked", tombstones=tombstones), "A")
    await run.barrier("A")


async def _begin(run: CaseRun) -> None:
    """Make the documents, and let the peer B be answered, so that its offers do not come later."""
    await run.documents(DOCUMENTS)
    for name in DOCUMENTS:
        await run.contents.prepare_delta(name)
    await run.read(Wanted(run.scope.names["asked"], heads=NOTHING), "B")


async def _check(run: CaseRun, keys: Numbered, deleted: Collection[str]) -> None:
    """Fail unless each key has its own document, or is deleted."""
    for number, key in keys:
        if key in deleted:
            await run.read(Wanted(key, TOMBSTONE), "A")
        else:
            await run.read(stored(run, _document(number), key), "A")


Way = Callable[[CaseRun, Numbered, Make], Awaitable[None]]


async def _expect(run: CaseRun, keys: Numbered, deleted: Collection[str], on: str) -> None:
    """Fail unless a peer gets the document or the tombstone of each key, with its own bytes."""
    for number, key in keys:
        is_gone = key in deleted
        wanted = Wanted(key, TOMBSTONE) if is_gone else stored(run, _document(number), key)
        await run.expect(wanted, on)


async def _are_guarded(
    run: CaseRun, keys: Numbered, deleted: Collection[str], store: Way, make: Make
) -> None:
    """Send all documents again; fail unless each of these keys is answered with its tombstone."""
    known = {key: len(run.subscription(key).arrivals) for key in deleted}
    await store(run, keys, make)
    for key in deleted:
        await run.expect(Wanted(key, TOMBSTONE), "A", after=known[key])


def _each_for_itself(
    case_id: str,
    title: str,
    rules: tuple[str, ...],
    make: Make,
    ways: tuple[Way, Way],
) -> None:
    """Register a case in which documents are stored one way, and every second is deleted another.

    The others must stay, and each deleted one be guarded for itself.
    """

    async def each_for_itself(run: CaseRun) -> None:
        store, delete = ways
        await _begin(run)
        keys = [*enumerate(_keys(run))]
        deleted = [key for _, key in keys[::2]]
        await store(run, keys, make)
        await _expect(run, keys, (), "B")
        await delete(run, keys[::2], _deletion)
        await _expect(run, keys[::2], deleted, "B")
        await _check(run, keys, deleted)
        await _are_guarded(run, keys, deleted, store, make)
        await _check(run, keys, deleted)
        await delete(run, keys[1::2], _deletion)
        await _are_guarded(run, keys, [key for _, key in keys[1::2]], store, make)

    each_for_itself.__doc__ = "Keys are normalised, folded or trimmed, in one of the carriers."
    case(case_id, title, part="documents", rules=rules, let=LET)(each_for_itself)


_each_for_itself(
    "MW-6930",
    "snapshots and tombstones of keys that look alike must each have their own effect",
    ("FR-028", "DC-030", "TS-030", "TS-037", "TS-041"),
    _snapshot,
    (_in_frames, _in_frames),
)
_each_for_itself(
    "MW-6931",
    "deltas and tombstone batches of keys that look alike must each have their own effect",
    ("FR-028", "DC-010", "DC-030", "TS-020", "TS-037", "TS-041"),
    _delta,
    (_in_frames, _in_elements),
)
_each_for_itself(
    "MW-6932",
    "snapshots and tombstones in entries of keys that look alike must each have their own effect",
    ("FR-028", "BT-022", "DC-030", "TS-037", "TS-041"),
    _snapshot,
    (_in_entries, _in_entries),
)
_each_for_itself(
    "MW-6933",
    "deltas in entries of keys that look alike must each have their own effect",
    ("FR-028", "BT-022", "DC-010", "DC-030", "TS-041"),
    _delta,
    (_in_entries, _in_elements),
)


@case(
    "MW-6934",
    "keys that look alike must be offered to a new peer each for itself, documents and tombstones",
    part="documents",
    rules=("FR-028", "DC-035", "TS-042"),
    isolation="peer",
    let=LET,
)
async def offered(run: CaseRun) -> None:
    """Of keys that look alike one is offered, or in another form than it has."""
    await _begin(run)
    keys, gone = [*enumerate(_keys(run))], [*enumerate(_keys(run, "-gone"))]
    await _in_frames(run, keys, _snapshot)
    await _in_elements(run, gone, _current_deletion)
    await run.connection("late")
    await _expect(run, [*keys, *gone], [key for _, key in gone], "late")
    # Nothing of this is left to be offered to those that connect later.
    await _in_elements(run, [*keys, *gone], _deletion)


def _current_deletion(key: str, _number: int) -> FrameSpec:
    return FrameSpec(type="tombstone", key=key)


# --- Reconciliation ------------------------------------------------------------------------------


@case(
    "MW-6935",
    "of keys that look alike a run must list exactly those that are held, each by its own id",
    part="reconciliation",
    rules=("NG-015", "NG-056", "FR-028", "TS-030"),
    needs=("documents", "reconciliation"),
    let=LET,
)
async def listed(run: CaseRun) -> None:
    """The id of a document is that of its key in a normal form, or without regard to case."""
    await _begin(run)
    numbered = [*enumerate(_keys(run))]
    keys = [key for _, key in numbered]
    await _in_frames(run, numbered[::2], _snapshot)
    await _ask(run, "half", keys, keys[::2])
    await _in_frames(run, numbered[1::2], _snapshot)
    await _ask(run, "all", keys, keys)
    await _in_elements(run, numbered[::2], _deletion)
    await _ask(run, "the other half", keys, keys[1::2])
    await _in_elements(run, numbered[1::2], _deletion)


async def _ask(run: CaseRun, name: str, keys: list[str], held: list[str]) -> None:
    """Ask about the keys in a run of its own; fail unless those held are listed, and no other."""
    conversation = Conversation(run, name=name)
    await ask_about(conversation, keys, held)
    await conversation.end()


@client_case(
    "MW-6936",
    "of keys that look alike a target that begins a run must send first what its peer lacks",
    rules=("NG-025", "NG-015", "FR-028"),
    let=LET,
)
async def found(run: CaseRun) -> None:
    """What a run finds is looked up by a key in another form, or one of several alike is sent."""
    await run.documents(BASE)
    keys = _keys(run)
    gone = _keys(run, "-gone")
    for key in keys:
        await run.send(FrameSpec(type="snapshot", key=key, document="base"), "B")
    for key in gone:
        await run.send(FrameSpec(type="tombstone", key=key), "B")
    await run.barrier("B")
    served = await take_run(run)
    await served.serve(map(item_of, keys[::2]))
    await check_found(run, keys[1::2], keys)
    for key in gone:
        await run.expect(Wanted(key, TOMBSTONE), "A")
