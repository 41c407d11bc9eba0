"""Cases about elements of batches after many others.

A node that takes a batch in slices, or has room for some of its elements, shows so only after
those. The others are cheap: tombstones of a collection without them, and one document again and
again. Tombstones that take effect are in grace, so that nobody is offered them later.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle

from meshwire_conformance.cases.planting import NOTHING, stored
from meshwire_conformance.catalogue.python_cases import case
from meshwire_conformance.socket_suite.case_run import CaseRun
from meshwire_conformance.socket_suite.content import BASE, Wanted
from meshwire_conformance.socket_suite.evidence import Sending
from meshwire_spec.numbers import BATCH_TTL, ENTRY_MIN, TOMBSTONE_ELEMENT_MIN, FrameType
from meshwire_spec.schemas.steps import FrameSpec

PLACES = (16, 17, 64, 300)
"""Numbers of elements before the one that matters."""
MANY = 34
"""Elements of a batch that all take effect."""
IN_GRACE = "now-25h"
"""Time of a tombstone of `nodes` that takes effect and is relayed, but not offered."""
LET = {"asked": "notes:$case-asked", "filler": "notes:$case-filler"}
AHEAD_MS = 25 * 3_600_000
LENGTH = 4
"""Bytes of the length of a tombstone, and of a count."""
KEY_LENGTH = 2
AUTHOR = b"node-a"
TOMBSTONE = FrameType.TOMBSTONE

SpoilElement = Callable[[bytes], bytes]
"""Makes an element at fault from one without."""
Elements = dict[int, bytes]
"""Elements by their place."""


@dataclass(frozen=True, slots=True)
class Carrier:
    """A frame type that has elements: how they are written, their fillers, and their faults.

    A fault has the reasons for which a frame with it may be refused. `skipped` are elements that
    have no effect, and `least` is the size of the least one.
    """

    type: str
    part: str
    element: Callable[[CaseRun, FrameSpec], bytes]
    head: Callable[[CaseRun], bytes]
    fillers: tuple[FrameSpec, ...]
    faults: tuple[tuple[tuple[str, ...], SpoilElement], ...]
    skipped: Mapping[str, FrameSpec]
    least: int


def _tombstone_element(run: CaseRun, spec: FrameSpec) -> bytes:
    data = run.composer.tombstone(spec)
    return len(data).to_bytes(LENGTH, "big") + data


def _batch_head(run: CaseRun) -> bytes:
    """Return a batch up to its count."""
    return bytes(8) + run.scope.now_ms.to_bytes(8, "big") + bytes((BATCH_TTL,))


IGNORED = FrameSpec(type="tombstone", key="$filler")
STALE_TOMBSTONES = {
    "expired": FrameSpec(type="tombstone", deleted_at="now-9999h"),
    "less": FrameSpec(type="tombstone", deleted_at=IN_GRACE, lamport=261),
    "equal": FrameSpec(type="tombstone", deleted_at=IN_GRACE, lamport=517),
}
"""Tombstones without effect, by name; the last two about documents deleted with lamport 517."""
GREATER = FrameSpec(type="tombstone", deleted_at=IN_GRACE, lamport=517)

TOMBSTONES = Carrier(
    "tombstone-batch",
    "tombstones",
    _tombstone_element,
    lambda _: b"",
    (IGNORED,),
    (
        (("bad-direction",), lambda data: data[:-1] + b"\x04"),
        (("bad-utf8",), lambda data: data.replace(AUTHOR, AUTHOR[:-1] + b"\xff")),
        (("truncated",), lambda data: b"\x7f" + data[1:]),
    ),
    {
        **STALE_TOMBSTONES,
        "nameless": FrameSpec(type="tombstone", deleted_by="", wrong=True),
        "control": FrameSpec(type="tombstone", key="$key\u0001", wrong=True),
    },
    TOMBSTONE_ELEMENT_MIN,
)
ENTRIES = Carrier(
    "batch",
    "batches",
    lambda run, spec: run.composer.entry(spec),
    _batch_head,
    (*[IGNORED] * 7, FrameSpec(type="snapshot", key="$filler", document="base")),
    (
        (("bad-utf8",), lambda data: data[:KEY_LENGTH] + b"\xff" + data[KEY_LENGTH + 1 :]),
        (("truncated",), lambda data: b"\x7f" + data[1:]),
        (("length-limit", "truncated"), lambda data: data[: _size_at(data)] + b"\xff" * LENGTH),
    ),
    {
        **STALE_TOMBSTONES,
        "unknown": FrameSpec(type=0x0B, hex="856f4a83", wrong=True),
        "nested": FrameSpec(type=0x07, hex="00" * 21, wrong=True),
        "unreadable": FrameSpec(type="snapshot", hex="856f4a83ffff"),
        "no direction": FrameSpec(type="tombstone", direction=4, deleted_at=IN_GRACE),
    },
    ENTRY_MIN,
)


def _size_at(entry: bytes) -> int:
    """Return where the payload length of an entry is."""
    return KEY_LENGTH + int.from_bytes(entry[:KEY_LENGTH], "big") + 1


def _about(spec: FrameSpec, key: str) -> FrameSpec:
    """Return an element about another key, which its own may contain as `$key`."""
    members = {name: getattr(spec, name) for name in spec.__struct_fields__}
    return FrameSpec(**{**members, "key": spec.key.replace("$key", key)})


def _key(run: CaseRun, name: str | int) -> str:
    """Return a key of the case, and keep what the target sends for it from now on."""
    return run.subscription(f"nodes:{run.scope.names['case']}-{name}").key


def _deletion(key: str) -> FrameSpec:
    return FrameSpec(type="tombstone", key=key, deleted_at=IN_GRACE)


def _filled(run: CaseRun, carrier: Carrier, elements: Elements) -> list[bytes]:
    """Return the elements at their places, with fillers between them and before."""
    fillers = cycle([carrier.element(run, spec) for spec in carrier.fillers])
    return [elements.get(place) or next(fillers) for place in range(max(elements) + 1)]


async def _send(
    run: CaseRun,
    carrier: Carrier,
    elements: Sequence[bytes],
    *,
    count: int | None = None,
    head: bytes | None = None,
    on: str = "A",
) -> None:
    """Send a frame with these elements; the report shows it on one line."""
    number = len(elements) if count is None else count
    head = carrier.head(run) if head is None else head
    payload = head + number.to_bytes(LENGTH, "big") + b"".join(elements)
    frame = FrameSpec(type=carrier.type, key="$asked", hex=payload.hex())
    stream = await run.send(frame, on)
    told = f"a {carrier.type} of {number}, with {len(elements)} elements in {len(payload)} bytes"
    run.evidence.sent[-1] = Sending(on, stream.number, told)


async def _begin(run: CaseRun) -> None:
    """Make the document, and let the peer B be answered, so that its offers do not come later."""
    await run.documents(BASE)
    await run.read(Wanted(run.scope.names["asked"], heads=NOTHING), "B")


async def _check(run: CaseRun, deleted: Iterable[str], unknown: Iterable[str] = ()) -> None:
    """Fail unless the target has tombstones of some keys, and nothing of others."""
    for key in deleted:
        await run.read(Wanted(key, TOMBSTONE))
    for key in unknown:
        await run.read(Wanted(key, heads=NOTHING))


CarrierBody = Callable[[CaseRun, Carrier], Awaitable[None]]


def _register(
    case_id: str, title: str, body: CarrierBody, carrier: Carrier, rules: tuple[str, ...]
) -> None:
    """Register a case about one carrier; `{}` in the title is its name."""
    run_one = _bound(body, carrier)
    case(case_id, title.format(carrier.type), part=carrier.part, rules=rules, let=LET)(run_one)


def _bound(body: CarrierBody, carrier: Carrier) -> Callable[[CaseRun], Awaitable[None]]:
    async def run_one(run: CaseRun) -> None:
        await body(run, carrier)

    run_one.__doc__ = body.__doc__
    return run_one


# --- Tombstones, in both carriers ----------------------------------------------------------------


async def _takes_effect(run: CaseRun, carrier: Carrier) -> None:
    """Elements are dropped from some number on, or not relayed, or relayed twice."""
    await _begin(run)
    keys = {place: _key(run, place) for place in PLACES}
    for key in keys.values():
        await run.send(FrameSpec(type="snapshot", key=key, document="base"))
    await run.barrier()
    for key in keys.values():
        await run.expect(stored(run, key=key), "B")
    await run.settle("A")
    for key in keys.values():
        run.watch(key, "A", ("tombstone",), pushes=True)
    elements = {n: carrier.element(run, _deletion(key)) for n, key in keys.items()}
    await _send(run, carrier, _filled(run, carrier, elements))
    await run.barrier()
    for key in keys.values():
        await run.expect(Wanted(key, TOMBSTONE), "B")
        run.watch(key, "B", pushes=True)
    for key in keys.values():
        await run.read(Wanted(key, TOMBSTONE), "C")


TAKES_EFFECT = (
    "tombstones after 16 to 300 other elements of a {} must delete their documents and be relayed"
)
_register(
    "MW-6900", TAKES_EFFECT, _takes_effect, TOMBSTONES, ("TS-020", "TS-030", "TS-037", "TS-038")
)
_register("MW-6901", TAKES_EFFECT, _takes_effect, ENTRIES, ("BT-022", "TS-030", "TS-037", "TS-038"))


async def _ends_at_fault(run: CaseRun, carrier: Carrier) -> None:
    """A fault in a later slice loses the elements before it, is skipped, or is not refused."""
    await _begin(run)
    before, after = [], []
    for place, (reasons, spoil) in zip(PLACES, cycle(carrier.faults), strict=False):
        keys = [_key(run, f"{place}{name}") for name in ("first", "before", "fault", "after")]
        good = [carrier.element(run, _deletion(key)) for key in keys]
        elements = dict(zip((0, place - 1, place, place + 1), good, strict=True))
        elements[place] = spoil(elements[place])
        await _send(run, carrier, _filled(run, carrier, elements))
        await run.refused(reasons)
        before += keys[:2]
        after += keys[2:]
    await _check(run, before, after)


ENDS_AT_FAULT = "16 to 300 elements of a {} before one at fault must take effect, and none after it"
_register(
    "MW-6902",
    ENDS_AT_FAULT,
    _ends_at_fault,
    TOMBSTONES,
    ("TS-023", "TS-002", "TS-003", "TS-005", "ER-013"),
)
_register(
    "MW-6903",
    ENDS_AT_FAULT,
    _ends_at_fault,
    ENTRIES,
    ("BT-013", "BT-002", "BT-003", "BT-004", "ER-013"),
)


async def _skips(run: CaseRun, carrier: Carrier) -> None:
    """What is skipped among the first elements takes effect, or ends the frame, after them."""
    await _begin(run)
    skipped = {name: _key(run, name.replace(" ", "-")) for name in carrier.skipped}
    held = [skipped["less"], skipped["equal"]]
    for key in held:
        await run.send(_about(GREATER, key))
    await run.barrier()
    for key in held:
        await run.expect(Wanted(key, TOMBSTONE), "B")
    await run.settle("B")
    for key in skipped.values():
        run.watch(key, "B", pushes=True)
    elements: Elements = {}
    good = []
    for place in PLACES[1:]:
        for number, (name, key) in enumerate(skipped.items()):
            at = place + number
            elements[at] = carrier.element(run, _about(carrier.skipped[name], key))
        good.append(_key(run, place))
        elements[place + len(skipped)] = carrier.element(run, _deletion(good[-1]))
    await _send(run, carrier, _filled(run, carrier, elements))
    await run.barrier()
    for key in good:
        await run.expect(Wanted(key, TOMBSTONE), "B")
    await _check(run, good, [key for key in skipped.values() if key not in held])
    for key in held:
        await run.read(Wanted(key, TOMBSTONE, tombstone={"lamport": GREATER.lamport}))


SKIPS = "what has no effect after 17 to 300 elements of a {} must be skipped, and the next applied"
_register("MW-6904", SKIPS, _skips, TOMBSTONES, ("TS-025", "TS-031", "TS-032", "TS-039"))
_register("MW-6905", SKIPS, _skips, ENTRIES, ("BT-006", "BT-021", "BT-022", "TS-032", "TS-039"))


async def _ends_at_count(run: CaseRun, carrier: Carrier) -> None:
    """Elements are read as long as there are bytes, or the count is checked for short frames."""
    await _begin(run)
    counted, others = [], []
    for place in PLACES:
        keys = [_key(run, f"{place}{name}") for name in ("first", "last", "extra", "beyond")]
        good = [carrier.element(run, _deletion(key)) for key in keys]
        elements = dict(zip((0, place - 1, place, place + 1), good, strict=True))
        await _send(run, carrier, _filled(run, carrier, elements), count=place)
        await run.barrier()
        counted += keys[:2]
        others += keys[2:]
    too_many = _key(run, "too-many")
    elements = {place: carrier.element(run, _deletion(too_many)) for place in (0, *PLACES)}
    filled = _filled(run, carrier, elements)
    most = sum(map(len, filled)) // carrier.least
    await _send(run, carrier, filled, count=most + 1)
    await run.refused(["count-limit"])
    await _check(run, counted, [*others, too_many])


ENDS_AT_COUNT = (
    "a {} with a count of 16 to 300 must end there, and one that counts too many have no effect"
)
_register("MW-6906", ENDS_AT_COUNT, _ends_at_count, TOMBSTONES, ("TS-024", "TS-021"))
_register("MW-6907", ENDS_AT_COUNT, _ends_at_count, ENTRIES, ("BT-015", "BT-012"))


# --- Many that take effect -----------------------------------------------------------------------


@case(
    "MW-6908",
    "34 documents, deletions, offers and reads of one batch each must be relayed or answered",
    part="batches",
    rules=("BT-022", "DC-030", "TS-020", "TS-037", "TS-041", "DC-005"),
    let=LET,
)
async def all_take_effect(run: CaseRun) -> None:
    """The number of relays or answers that one batch causes is bounded."""
    await _begin(run)
    keys = [_key(run, number) for number in range(MANY)]
    documents = [ENTRIES.element(run, _snapshot(key)) for key in keys]
    await _send(run, ENTRIES, documents)
    await run.barrier()
    for key in keys:
        await run.expect(stored(run, key=key), "B")
    await _send(run, TOMBSTONES, [TOMBSTONES.element(run, _deletion(key)) for key in keys])
    await run.barrier()
    for key in keys:
        await run.expect(Wanted(key, TOMBSTONE), "B")
        run.watch(key, "B", pushes=True)
    arrivals = {key: run.subscription(key).arrivals for key in keys}
    reads = [ENTRIES.element(run, FrameSpec(type="delta", key=key)) for key in keys]
    for elements in (documents, reads):
        known = {key: len(came) for key, came in arrivals.items()}
        await _send(run, ENTRIES, elements)
        await run.barrier()
        for key in keys:
            await run.expect(Wanted(key, TOMBSTONE), "A", after=known[key])


def _snapshot(key: str, document: str = "base") -> FrameSpec:
    return FrameSpec(type="snapshot", key=key, document=document)


# --- Entries with documents ----------------------------------------------------------------------


@case(
    "MW-6909",
    "documents and reads after 17 to 300 entries must be stored, relayed and answered in order",
    part="batches",
    rules=("BT-020", "BT-022", "DC-001", "DC-003", "DC-030"),
    let=LET,
)
async def documents_after(run: CaseRun) -> None:
    """Later entries are not applied, or a read among them before those ahead of it."""
    await _begin(run)
    await run.contents.prepare_delta("base")
    elements: Elements = {}
    names = ("snapshot", "delta", "unknown")
    for place in PLACES[1:]:
        whole, delta, unknown = (_key(run, f"{place}-{name}") for name in names)
        specs = (
            _snapshot(whole),
            FrameSpec(type="delta", key=whole),
            FrameSpec(type="delta", key=delta, document="base"),
            FrameSpec(type="delta", key=unknown),
        )
        for number, spec in enumerate(specs):
            elements[place + number] = ENTRIES.element(run, spec)
    await _send(run, ENTRIES, _filled(run, ENTRIES, elements))
    await run.barrier()
    for place in PLACES[1:]:
        whole, delta, unknown = (_key(run, f"{place}-{name}") for name in names)
        await run.expect(stored(run, key=whole), "A")
        await run.expect(Wanted(unknown, heads=NOTHING), "A")
        for key in (whole, delta):
            await run.expect(stored(run, key=key), "B")
            run.watch(key, "B", ("snapshot", "delta"), pushes=True)
        await run.read(stored(run, key=delta), "C")
    gone = [
        TOMBSTONES.element(run, _deletion(_key(run, f"{place}-{name}")))
        for place in PLACES[1:]
        for name in names[:2]
    ]
    await _send(run, TOMBSTONES, gone)
    await run.barrier()


PAIRS = ((15, 16), (3, 17), (20, 21), (63, 64), (18, 300))
"""Places of two entries about one key: in slices beside each other, and far apart."""
DELETED = FrameSpec(type="tombstone", deleted_at=IN_GRACE)
WHOLE = FrameSpec(type="snapshot", document="base")


async def _send_pairs(run: CaseRun, keys: Sequence[str], *pair: FrameSpec) -> None:
    """Send a batch with two entries about each key, and wait until it has taken effect."""
    elements: Elements = {}
    for key, places in zip(keys, PAIRS, strict=True):
        for place, spec in zip(places, pair, strict=True):
            elements[place] = ENTRIES.element(run, _about(spec, key))
    await _send(run, ENTRIES, _filled(run, ENTRIES, elements))
    await run.barrier()


@case(
    "MW-6910",
    "of two entries about one key that stand far apart the first must take effect first",
    part="batches",
    rules=("BT-020", "TS-038", "TS-040", "TS-041"),
    let=LET,
)
async def in_order(run: CaseRun) -> None:
    """Slices of a batch are taken out of turn, or its tombstones before its documents."""
    await _begin(run)
    await run.settle("A")
    guarded = [_key(run, f"{first}-guarded") for first, _ in PAIRS]
    for key in guarded:
        run.watch(key, "B", ("snapshot", "delta"))
    await _send_pairs(run, guarded, DELETED, WHOLE)
    for key in guarded:
        await run.expect(Wanted(key, TOMBSTONE), "A")
    deleted = [_key(run, f"{first}-deleted") for first, _ in PAIRS]
    for key in deleted:
        run.watch(key, "A", ("tombstone",), pushes=True)
    await _send_pairs(run, deleted, WHOLE, DELETED)
    for key in deleted:
        await run.expect(Wanted(key, TOMBSTONE), "B")
        await run.read(Wanted(key, TOMBSTONE), "C")


@case(
    "MW-6911",
    "none of 302 entries of a batch that is ahead may take effect, with a fault among them neither",
    part="batches",
    rules=("BT-018", "BT-025"),
    negative=True,
    control="MW-6901",
    let=LET,
)
async def none_of_many(run: CaseRun) -> None:
    """The time is looked at with the first entries alone."""
    await _begin(run)
    ahead = run.scope.now_ms + AHEAD_MS
    head = bytes(8) + ahead.to_bytes(8, "big") + bytes((BATCH_TTL,))
    keys = [_key(run, place) for place in (0, *PLACES)]
    for spoiled in (False, True):
        places = (0, *PLACES)
        elements = {
            place: ENTRIES.element(run, _deletion(key))
            for place, key in zip(places, keys, strict=True)
        }
        if spoiled:
            elements[PLACES[1]] = ENTRIES.faults[0][1](elements[PLACES[1]])
        await _send(run, ENTRIES, _filled(run, ENTRIES, elements), head=head)
        await run.refused(["created-ahead"])
    await _check(run, (), keys)
