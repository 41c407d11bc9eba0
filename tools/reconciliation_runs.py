"""The plans of the reconciliation vectors: sets, limits and rules.

`make_reconciliation.py` computes the bytes. A set is a list of parts in the form that the vectors
store, see `vectors/README.md`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from meshwire_conformance.protocol.negentropy_messages import fingerprint_of

Part = Mapping[str, Any]
MS = 1_700_000_000_000
SECONDS = 1_700_000_000
LIMIT = 4096
"""The smallest frame limit that the algorithm permits."""


@dataclass(frozen=True, slots=True)
class Plan:
    """One planned run: its title, the sets and frame limits of both sides, and its rules."""

    title: str
    client: Sequence[Part]
    server: Sequence[Part]
    rules: tuple[str, ...]
    limits: tuple[int, int] = (0, 0)
    source: str = ""
    """Empty if the bytes come only from the crate."""


def row(label: str, first: int, count: int, timestamp: int = 0, step: int = 0) -> Part:
    """Return `count` items from `label:first` on, whose timestamps are `step` apart."""
    return {
        "label": label,
        "first": first,
        "count": count,
        "timestamp": str(timestamp),
        "step": str(step),
    }


def alike(prefix: str, label: str, count: int, timestamp: int = 0) -> Part:
    """Return items of one timestamp whose ids have a common prefix."""
    return {**row(label, 0, count, timestamp), "prefix": prefix}


def one(timestamp: int, name: str) -> Part:
    """Return a single item; its id is the SHA-256 of a name."""
    return {"timestamp": str(timestamp), "id": sha256(name.encode()).hexdigest()}


def sides(
    common: int, client: int, server: int, timestamp: int = 0, step: int = 0
) -> tuple[list[Part], list[Part]]:
    """Return the sets of client and server: common items, then those of one side, numbered on."""
    shared = [row("c", 0, common, timestamp, step)] if common else []
    mine = [row("a", common, client, timestamp, step)] if client else []
    theirs = [row("b", common, server, timestamp, step)] if server else []
    return [*shared, *mine], [*shared, *theirs]


def alone(mine: int, theirs: int) -> str:
    """Return the part of a title that counts the items of one side."""
    return f"{mine} only at the client, {theirs} only at the server"


LISTS = ("NG-050", "NG-052", "NG-056", "NG-059", "NG-061")
SPLITS = ("NG-051", "NG-053", "NG-055")
ROUNDS = ("NG-051", "NG-053", "NG-055", "NG-057")
CUTS = ("NG-057", "NG-058")
PLACED = (*CUTS, "NG-064")


def small_plans() -> Iterator[Plan]:
    """Yield plans with sets around the sizes at which the algorithm changes its output."""
    for mine, theirs in ((0, 0), (1, 0), (0, 1), (1, 1), (31, 0), (0, 31), (31, 31), (5, 3)):
        sets = sides(0, mine, theirs)
        yield Plan(
            f"{mine} items at the client, {theirs} at the server, none in common", *sets, LISTS
        )
    for count in (1, 2, 31, 32, 33, 47, 48, 49):
        rules = LISTS if count < 32 else SPLITS  # noqa: PLR2004 - the size at which it changes
        yield Plan(f"equal sets of {count} item{'s' * (count > 1)}", *sides(count, 0, 0), rules)
    for common, mine, theirs in ((30, 1, 1), (31, 1, 0), (31, 0, 1), (32, 1, 0), (32, 0, 1)):
        title = f"{common} items in common, {alone(mine, theirs)}"
        yield Plan(title, *sides(common, mine, theirs), (*LISTS, *SPLITS))
    keys = [one(1000 + number, f"doc-{number + 1}") for number in range(3)]
    yield Plan("doc-1, doc-2, doc-3 with timestamps from 1000 on both sides", keys, keys, LISTS)
    later = [one(1000, "doc-2"), one(1001, "doc-3")]
    title = "doc-1 and doc-2 at the client, doc-2 and doc-3 at the server, at 1000 and 1001"
    # The same id at two timestamps is two items; a run reports ids without timestamps.
    yield Plan(title, keys[:2], later, LISTS)
    yield Plan(
        "nodes::node-1 at 1000 at the client, no items at the server",
        [one(1000, "nodes::node-1")],
        [],
        LISTS,
    )
    for common, mine, theirs in ((100, 2, 3), (500, 3, 1)):
        title = f"{common} items in common, one millisecond apart, {alone(mine, theirs)}"
        yield Plan(title, *sides(common, mine, theirs, MS, 1), SPLITS)


EDGES = (2**7, 2**14, 2**31, 2**32, 2**53, 2**63)


def timestamp_plans() -> Iterator[Plan]:
    """Yield plans with timestamps at the limits of number types, and their differences."""
    for power in EDGES:
        near = [one(power + offset, f"edge {power} {offset}") for offset in (-2, -1, 0, 1)]
        others = [one(power, f"other {power}"), *near[1:]]
        title = f"lists with timestamps around 2^{power.bit_length() - 1}"
        yield Plan(title, near, others, ("NG-050", "NG-056"))
        shared = row("c", 0, 60, power - 30, 1)
        theirs = [shared, one(power - 1, "before"), one(power, "behind")]
        title = f"bounds on both sides of 2^{power.bit_length() - 1}"
        yield Plan(title, [shared, one(power, "mine")], theirs, ("NG-001", "NG-054", "NG-055"))
    top = [one(2**64 - 2 - number, f"top {number}") for number in range(40)]
    rules = ("NG-001", "NG-005", "NG-054")
    yield Plan("the greatest timestamp and those before it", top, top[1:], rules)
    wide = [one(0, "zero"), one(2**64 - 2, "greatest")]
    yield Plan(
        "timestamp 0 and the greatest timestamp in one list", wide, wide[:1], ("NG-050", "NG-056")
    )
    spread = row("s", 0, 40, 1, 2**58)
    yield Plan("40 timestamps 2^58 apart", [spread], [spread, one(2**59, "one more")], rules)


def collision_plans() -> Iterator[Plan]:
    """Yield plans with equal timestamps and common id prefixes, so that bounds need prefixes."""
    for size in (1, 2, 8, 30, 31):
        prefix = "c7" * size
        shared = alike(prefix, "p", 60, 5)
        count = f"{size} byte{'s' * (size > 1)}"
        if size < 31:  # noqa: PLR2004 - with 31 bytes alike there are only 256 ids
            extra = {**alike(prefix, "q", 3, 5), "first": 7}
            title = f"ids of one timestamp that share a prefix of {count}"
            yield Plan(title, [shared], [shared, extra], ("NG-050", "NG-054"))
    low = [one_id(9, f"{'00' * 31}{number:02x}") for number in range(1, 81, 2)]
    rules = ("NG-001", "NG-050", "NG-054")
    yield Plan(
        "ids that differ in the last byte alone", low, [*low[:-1], one_id(9, "ff" * 32)], rules
    )
    high = [one_id(9, f"{number:02x}{'ff' * 31}") for number in range(1, 81, 2)]
    yield Plan("ids that differ in the first byte alone", high, high[1:], rules)
    again = [one(3, "again"), one(3, "again"), one(3, "other")]
    yield Plan("an item given twice", again, again[1:], ("NG-050",))
    ones = [one_id(1, "ff" * 32), *(one_id(2, f"{number:02x}" * 32) for number in range(1, 41))]
    yield Plan("a sum of ids that exceeds 256 bits", ones, ones[1:], ("NG-051",))
    pairs = [{**row("g", 0, 90, SECONDS, 1), "group": 30}]
    yield Plan(
        "three groups of thirty equal timestamps",
        pairs,
        [*pairs, one(SECONDS + 1, "one more")],
        ("NG-050", "NG-054", "NG-055"),
    )


def one_id(timestamp: int, name: str) -> Part:
    """Return a single item with a given id."""
    return {"timestamp": str(timestamp), "id": name}


def round_plans() -> Iterator[Plan]:
    """Yield plans in which the client needs several rounds."""
    clocks = (("timestamp 0", 0, 0), ("one second apart", SECONDS, 1), ("13 ms apart", MS, 13))
    for words, timestamp, step in clocks:
        for common, mine, theirs in (
            (512, 1, 0),
            (512, 0, 1),
            (513, 1, 1),
            (560, 2, 3),
            (600, 5, 0),
            (640, 0, 7),
            (800, 40, 0),
            (530, 1, 1),
            (700, 1, 2),
            (1000, 2, 2),
        ):
            title = f"{common} items in common, {words}, {alone(mine, theirs)}"
            yield Plan(title, *sides(common, mine, theirs, timestamp, step), ROUNDS)
    for spots in ((0,), (599,), (0, 599), (300, 301), tuple(range(0, 600, 97)), (37, 38, 290, 598)):
        whole = row("c", 0, 600, 1, 2)
        others = [row("x", spot, 1, 1, 2) for spot in spots]
        title = f"600 items, further ones of the client at {', '.join(map(str, spots))}"
        yield Plan(title, [whole, *others], [whole], ROUNDS)
        yield Plan(title.replace("client", "server"), [whole], [whole, *others], ROUNDS)
    for first, last in ((0, 100), (250, 350), (500, 600)):
        whole, hole = (
            row("c", 0, 600, 1, 2),
            [row("c", 0, first, 1, 2), row("c", last, 600 - last, 1, 2)],
        )
        kept = [part for part in hole if part["count"]]
        title = f"600 items, of which {first} to {last - 1} are missing at the"
        yield Plan(f"{title} server", [whole], kept, ROUNDS)
        yield Plan(f"{title} client", kept, [whole], ROUNDS)


def cut_plans() -> Iterator[Plan]:
    """Yield plans whose frame limits end a message within a range, where the run continues."""
    for limits in ((LIMIT, LIMIT), (0, LIMIT), (LIMIT, 0), (LIMIT + 1, 5000)):
        words = f"frame limits {limits[0]} and {limits[1]}"
        for common, mine, theirs in ((0, 0, 130), (20, 30, 200), (0, 140, 150), (40, 250, 20)):
            title = f"{common} items in common, {alone(mine, theirs)}, {words}"
            # There are items between the last bound that the server writes and the place where it
            # stops.
            rules = PLACED if limits[1] and mine in (30, 140) else CUTS
            yield Plan(title, *sides(common, mine, theirs), rules, limits)
    for count in (120, 121, 122, 123, 124):
        title = f"no items at the client, {count} at the server, frame limit {LIMIT}"
        yield Plan(title, *sides(0, 0, count), CUTS, (LIMIT, LIMIT))
    # With 1 + 32 x 122 bytes the frame is exactly full at 4105, and the list holds one id more.
    for limit in (4104, 4105, 4106):
        title = f"no items at the client, 140 at the server, frame limit {limit}"
        yield Plan(title, *sides(0, 0, 140), CUTS, (LIMIT, limit))
    # The list is whole, and exceeds the limit only by the bytes before its ids.
    for limit in (4105, 4108, 4109):
        title = f"no items at the client, 122 at the server, frame limit {limit}"
        yield Plan(title, *sides(0, 0, 122), CUTS, (LIMIT, limit))
    for words, timestamp, step in (("timestamp 0", 0, 0), ("13 ms apart", MS, 13)):
        for common, mine, theirs in ((600, 90, 110), (900, 60, 60)):
            title = f"{common} items in common, {words}, {alone(mine, theirs)}, frame limit 4096"
            sets = sides(common, mine, theirs, timestamp, step)
            rules = (*ROUNDS, *(CUTS if step else PLACED))
            yield Plan(title, *sets, rules, (LIMIT, LIMIT))
    tight = [alike("ee" * 30, "t", 200, 4)]
    yield Plan(
        "no items at the client, ids with one prefix at the server, frame limit 4096",
        [],
        tight,
        CUTS,
        (LIMIT, LIMIT),
    )


def large_plans() -> Iterator[Plan]:
    """Yield plans with ten thousand items."""
    for words, timestamp, step in (("timestamp 0", 0, 0), ("17 ms apart", MS, 17)):
        for mine, theirs in ((1, 0), (5, 5)):
            title = f"10,000 items, {words}, {alone(mine, theirs)}"
            yield Plan(title, *sides(10_000, mine, theirs, timestamp, step), ROUNDS)
    sets = sides(10_000, 20, 20)
    title = (
        "10,000 items, timestamp 0, 20 only at the client, 20 only at the server, frame limit 4096"
    )
    yield Plan(title, *sets, (*ROUNDS, *PLACED), (LIMIT, LIMIT))


CAPTURED = (
    ("10 against 10 the same", (10, 0, 0, 0, 0), 0),
    ("8 against 7, 5 in common", (5, 3, 2, 0, 0), 0),
    ("40 against 45, 38 in common", (38, 2, 7, 0, 0), 0),
    ("200 against 210, 190 in common", (190, 10, 20, MS, 13), 0),
    ("1000 against 1001", (1000, 0, 1, 0, 0), 0),
    ("1000 against 1000, 950 in common, limit 4096", (950, 50, 50, MS, 13), LIMIT),
    ("0 against 5", (0, 0, 5, 0, 0), 0),
    ("5 against 0", (0, 5, 0, 0, 0), 0),
)


def captured_plans() -> Iterator[Plan]:
    """Yield the recorded runs again; a test compares their bytes with the recording."""
    for words, sizes, limit in CAPTURED:
        rules = ("NG-052", "NG-056") if sizes[0] < 31 else ROUNDS  # noqa: PLR2004 - as above
        yield Plan(f"recorded: {words}", *sides(*sizes), rules, (limit, limit), "recorded")


@dataclass(frozen=True, slots=True)
class Odd:
    """A valid message that a correct peer does not send."""

    title: str
    role: str
    """Side that receives it."""
    items: Sequence[Part]
    message: bytes
    rules: tuple[str, ...]


LIST_RULES = {"client": ("NG-061",), "server": ("NG-056",)}


def odd_plans() -> Iterator[Odd]:
    """Yield the handwritten messages."""
    few = [row("a", 0, 5)]
    ids = [sha256(f"a:{number}".encode()).digest() for number in range(5)]
    other = sha256(b"b:0").digest()
    versions = ((0x60, "the previous one"), (0x62, "the next one"), (0x6F, "the last one"))
    for number, words in versions:
        title = f"a query in version {number:02x}, {words}, to the server"
        yield Odd(title, "server", few, bytes((number,)) + b"\x00\x00\x02\x00", ("NG-060",))
    lists = {
        "a repeated id": [ids[0], other, other, ids[1]],
        "ids in decreasing order": sorted([*ids, other], reverse=True),
    }
    for words, names in lists.items():
        data = b"a\x00\x00\x02" + bytes((len(names),)) + b"".join(names)
        for role in ("client", "server"):
            yield Odd(f"a list with {words}, to the {role}", role, few, data, LIST_RULES[role])
    rest = b"\x00\x00\x01" + fingerprint_of(())
    for role in ("client", "server"):
        full = b"a\x00\x00\x02\x01" + ids[0] + rest
        title = f"an empty range after infinity, to the {role}"
        yield Odd(title, role, few, full, ("NG-058",))
        yield Odd(f"a message without ranges, to the {role}", role, few, b"a", ("NG-010",))
        skip = b"a\x00\x00\x00"
        yield Odd(f"a skip of the whole set, to the {role}", role, few, skip, ("NG-057",))
        ends = b"a" + bytes.fromhex("86a0b3c40601a5") + b"\x02\x00"
        yield Odd(f"ranges that end before infinity, to the {role}", role, few, ends, ("NG-057",))


FILES = {
    "small": small_plans,
    "timestamps": timestamp_plans,
    "collisions": collision_plans,
    "rounds": round_plans,
    "frame-limits": cut_plans,
    "large": large_plans,
    "captured": captured_plans,
}
"""Functions that yield the plans of a file, by the first part of its name."""
