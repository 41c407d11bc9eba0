"""Tests of the pieces that socket cases stand on: names, bytes, inbox, watches, deadlines."""

# Longer than 500 lines: the parts of a case run are tested over the same small connections.

from __future__ import annotations

import asyncio
import base64
import json
from pathlib import Path

import pytest

from meshwire_conformance.contracts import Settings
from meshwire_conformance.errors import Incomplete, SuiteFault, UsageError
from meshwire_conformance.protocol.frame_content import take_frames, wrong_keys
from meshwire_conformance.socket_suite.composing import Composer, Scope
from meshwire_conformance.socket_suite.content import Contents, Mismatch, Wanted, declared_heads
from meshwire_conformance.socket_suite.evidence import arm
from meshwire_conformance.socket_suite.inbox import Arrival, Inbox
from meshwire_conformance.socket_suite.peers import Session
from meshwire_conformance.targets.attach import Target, attach, parse_address
from meshwire_conformance.targets.base import parse_target
from meshwire_conformance.targets.facts import Facts, read_facts, read_target_file, require_profile
from meshwire_conformance.targets.handshake import Formation, read_secret
from meshwire_conformance.targets.transport import Address, Connection, Stream
from meshwire_spec.codec import Malformed, Message, accept, decode, encode
from meshwire_spec.numbers import (
    CAPABILITIES,
    OPTIONAL_CAPABILITIES,
    PAYLOAD_MAX,
    READ_MESSAGE,
    FrameType,
)
from meshwire_spec.schemas.steps import FrameSpec

NOW_MS = 1_700_000_000_000
SAVED = {"base": b"\x85oJ\x83saved"}


def composer() -> Composer:
    """The composer of a case whose key is `tracks:t-1`."""
    scope = Scope({"key": "tracks:t-1"}, NOW_MS)
    return Composer(scope, SAVED, lambda name, known: f"{name}>{known}".encode())


def frame_of(data: bytes) -> Message:
    """The frame in these bytes."""
    return decode("stream_frame", data)


# --- scope -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "milliseconds"),
    [
        ("now", NOW_MS),
        ("now-60s", NOW_MS - 60_000),
        ("now+25h", NOW_MS + 90_000_000),
        ("now-1500ms", NOW_MS - 1500),
        ("now+2d", NOW_MS + 172_800_000),
        ("18446744073709551615", 2**64 - 1),
        (7, 7),
    ],
)
def test_times_are_now_plus_an_offset(text: str | int, milliseconds: int) -> None:
    """Numbers, decimals and times mean milliseconds since 1970."""
    assert Scope({}, NOW_MS).integer(text) == milliseconds


def test_names_may_use_the_ones_before_them() -> None:
    """`let` is read in order."""
    scope = Scope({"case": "mw-1"}, NOW_MS)
    scope.define({"key": "tracks:$case", "other": "$key-2"})

    assert scope.text("<$other>") == "<tracks:mw-1-2>"


@pytest.mark.parametrize("text", ["now-60", "soon", "$nobody"])
def test_what_is_no_number_is_a_fault_of_the_suite(text: str) -> None:
    """A misspelt time never becomes a zero."""
    with pytest.raises(SuiteFault):
        Scope({}, NOW_MS).integer(text)


# --- composing ---------------------------------------------------------------------------------


def test_a_read_is_the_constant_message() -> None:
    """A delta without a document asks for one."""
    frame = frame_of(composer().frame(FrameSpec(type="delta")))

    assert frame.fields["payload"] == READ_MESSAGE
    assert frame.fields["key"] == "tracks:t-1"


def test_a_tombstone_has_its_own_frame_key_and_direction() -> None:
    """The direction byte may be one that no schema writes."""
    frame = frame_of(composer().frame(FrameSpec(type="tombstone", direction=7)))

    assert frame.fields["key"] == "tombstones:tracks:t-1"
    assert frame.fields["payload"][-1] == 7


def test_a_batch_holds_its_entries_and_may_count_wrongly() -> None:
    """`count` announces what is not there."""
    entry = FrameSpec(type="snapshot", document="base")
    spec = FrameSpec(type="batch", entries=[entry, entry], count=9)
    payload = frame_of(composer().frame(spec)).fields["payload"]

    assert payload[17:21] == (9).to_bytes(4, "big")
    assert payload.count(SAVED["base"]) == 2


def test_an_announced_payload_length_replaces_the_right_one() -> None:
    """The four length bytes alone change."""
    data = composer().frame(FrameSpec(type="snapshot", hex="aabb", payload_length=513))

    assert data.endswith(bytes.fromhex("00000201aabb"))


@pytest.mark.parametrize(
    "spec",
    [
        FrameSpec(type="snapshot", document="base", key="no colon"),
        FrameSpec(type="tombstone", deleted_by=""),
        FrameSpec(type=0x0B, hex="00"),
        FrameSpec(type="snapshot"),
        FrameSpec(type="gossip"),
        FrameSpec(type="snapshot", document="base", replace={"00ff": "00"}),
    ],
)
def test_the_suite_sends_nothing_wrong_by_accident(spec: FrameSpec) -> None:
    """A forbidden frame must be marked as wrong, else it is a fault of the suite."""
    with pytest.raises(SuiteFault):
        composer().frame(spec)


def test_what_is_wrong_on_purpose_is_sent() -> None:
    """`wrong` lets a bad key and an unknown type through."""
    bad_key = composer().frame(FrameSpec(type="snapshot", hex="", key="no colon", wrong=True))
    bad_type = composer().frame(FrameSpec(type=0x0B, hex="2a", wrong=True))

    assert accept("stream_frame", frame_of(bad_key)) == "bad-key"
    assert bad_type[-6] == 0x0B


# --- inbox and watches -------------------------------------------------------------------------


def test_frames_are_cut_off_the_front_of_what_came() -> None:
    """Whole frames are taken, the rest waits."""
    data = composer().frame(FrameSpec(type="delta"))
    received = bytearray(data + data + data[:5])
    frames = list(take_frames(received))

    assert len(frames) == 2
    assert received == data[:5]


def test_a_frame_that_announces_too_much_is_refused_at_once() -> None:
    """The suite does not wait for 4 GiB either."""
    header = composer().frame(FrameSpec(type="delta", hex="", payload_length=2**32 - 1))

    with pytest.raises(Malformed):
        list(take_frames(bytearray(header)))


def inbox_after(*specs: FrameSpec) -> Inbox:
    """An inbox that has taken these frames from the peer A."""
    inbox = Inbox()
    inbox.subscribe("tracks:t-1")
    for number, spec in enumerate(specs):
        inbox.take("A", number, frame_of(composer().frame(spec)))
    return inbox


def arrivals(*specs: FrameSpec) -> list[Arrival]:
    """The arrivals for `tracks:t-1` in these frames."""
    inbox = Inbox()
    subscription = inbox.subscribe("tracks:t-1")
    for number, spec in enumerate(specs):
        inbox.take("A", number, frame_of(composer().frame(spec)))
    return subscription.arrivals


class Unread(Connection):
    """A connection on which everything is without effect."""

    async def open(self, *, uni: bool = False) -> Stream:
        """Never asked for."""
        raise ConnectionError

    async def write(self, stream: Stream, data: bytes) -> None:
        """Nothing."""

    async def finish(self, stream: Stream) -> None:
        """Nothing."""

    async def reset(self, stream: Stream, code: int) -> None:
        """Nothing."""

    async def stop(self, stream: Stream, code: int) -> None:
        """Nothing."""

    async def close(self, code: int = 0, text: str = "") -> None:
        """Nothing."""


def test_what_the_suite_cannot_read_is_a_fault_of_the_suite(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An error of its own while it reads a stream ends the run; it is not lost in a callback."""

    def broken(data: bytearray) -> list[Message]:
        raise TypeError("broken")

    monkeypatch.setattr("meshwire_conformance.socket_suite.inbox.take_frames", broken)
    inbox = Inbox()
    connection = Unread()
    connection.on_stream = inbox.reader_of("A")
    stream = Stream(connection, 1, uni=False, ours=False)
    connection.accept(stream)
    inbox.check()
    stream.changed()

    with pytest.raises(SuiteFault, match="TypeError: broken"):
        inbox.check()


@pytest.mark.parametrize(("fault", "counts"), [(ConnectionError(), False), (KeyError(7), True)])
def test_what_runs_beside_the_reading_may_lose_its_connection_alone(
    fault: Exception, *, counts: bool
) -> None:
    """Any other end of it is a fault of the suite."""

    async def work() -> None:
        raise fault

    async def run() -> Inbox:
        inbox = Inbox()
        inbox.spawn(work())
        await asyncio.wait(inbox._tasks)
        return inbox

    inbox = asyncio.run(run())
    if counts:
        with pytest.raises(SuiteFault, match="KeyError: 7"):
            inbox.check()
    else:
        inbox.check()


def test_content_is_taken_from_whatever_carries_the_key() -> None:
    """A frame of its own, an entry of a batch, an element of a tombstone batch."""
    snapshot = FrameSpec(type="snapshot", document="base")
    tombstone = FrameSpec(type="tombstone")
    found = arrivals(
        snapshot,
        FrameSpec(type="batch", entries=[snapshot]),
        tombstone,
        FrameSpec(type="tombstone-batch", tombstones=[tombstone]),
    )

    assert [(one.type, one.carrier) for one in found] == [
        (FrameType.SNAPSHOT, FrameType.SNAPSHOT),
        (FrameType.SNAPSHOT, FrameType.BATCH),
        (FrameType.TOMBSTONE, FrameType.TOMBSTONE),
        (FrameType.TOMBSTONE, FrameType.TOMBSTONE_BATCH),
    ]
    assert found[2].payload == found[3].payload


def test_a_key_that_the_suite_planted_is_not_held_against_the_target() -> None:
    """A target that stores what the grammar forbids passes it on; other keys count as before."""
    wrong, right = (
        FrameSpec(type="snapshot", key=key, document="base", wrong=True)
        for key in ("no colon", "tracks:t-1")
    )
    batch = composer().frame(FrameSpec(type="batch", entries=[wrong, right], wrong=True))
    found = []
    for planted in ([], [composer().frame(right)], [composer().frame(wrong)], [batch]):
        inbox = Inbox()
        for data in planted:
            inbox.planted.update(wrong_keys(data))
        inbox.take("A", 1, frame_of(batch))
        found.append([fault.reason for fault in inbox.faults])

    assert found == [["bad-key"], ["bad-key"], [], []]
    assert inbox.counts.foreign == 1


def test_frames_for_nobody_are_counted_and_no_faults() -> None:
    """A push of the whole store is legal."""
    other = FrameSpec(type="snapshot", key="notes:elsewhere", document="base")
    inbox = inbox_after(other, other)

    assert inbox.counts.foreign == 2
    assert inbox.faults == []


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        (FrameSpec(type="tombstone", frame_key="tracks:t-1"), "bad-key"),
        (FrameSpec(type="batch", frame_key="x"), "bad-key"),
        (FrameSpec(type="batch", entries=[FrameSpec(type=0x0A, hex="00", wrong=True)]),
         "unknown-type"),
        (FrameSpec(type="tombstone", direction=4), "bad-direction"),
        (FrameSpec(type="windowed-history", hex="00"), "unknown-type"),
    ],
)  # fmt: skip
def test_what_a_target_must_not_send_is_a_fault_of_it(spec: FrameSpec, reason: str) -> None:
    """FR-013, FR-014 and the rest of what a sender must keep."""
    assert [fault.reason for fault in inbox_after(spec).faults] == [reason]


def test_a_watch_looks_only_at_what_comes_after_it() -> None:
    """Armed in the middle, for one peer and one type."""
    inbox = Inbox()
    subscription = inbox.subscribe("tracks:t-1")
    snapshot = frame_of(composer().frame(FrameSpec(type="snapshot", document="base")))
    inbox.take("A", 1, snapshot)
    watch = arm(subscription, "A", frozenset((FrameType.SNAPSHOT,)))
    inbox.take("B", 2, snapshot)
    quiet = list(watch.tripped())
    inbox.take("A", 3, snapshot)

    assert quiet == []
    assert [arrival.stream for arrival in watch.tripped()] == [3]


def test_a_push_of_the_whole_store_trips_no_watch_that_allows_it() -> None:
    """The witness comes with each push, and once more on each connection; nothing else sends it."""
    target = Target(Address("tcp", "", 0), Facts(), dialler=None, formation=None)  # type: ignore[arg-type]
    session = Session(target, Settings(), "n", Inbox())
    session.witness = session.inbox.subscribe("tracks:witness-n")
    peer = session.peer("A")
    peer.adopt(Unread())
    witness, snapshot = (
        frame_of(composer().frame(FrameSpec(type="snapshot", key=key, document="base")))
        for key in ("tracks:witness-n", "tracks:t-1")
    )
    tripped = []
    for offered, frames in ((1, (snapshot, witness, snapshot)), (2, (snapshot, snapshot))):
        for _ in range(offered):
            session.inbox.take("A", 0, witness)
        watch = arm(session.inbox.subscribe("tracks:t-1"), "A", frozenset())
        watch.pushes = session.pushes_to(peer)
        for stream, frame in enumerate(frames):
            session.inbox.take("A", stream, frame)
            tripped.append([arrival.stream for arrival in watch.tripped()])

    # A push shows when it is over; after the second witness a push may be in progress.
    assert tripped == [[0], [], [2], [], [1]]


@pytest.mark.parametrize(
    ("echoes", "came", "left"), [(0, 0, [0]), (0, 1, []), (1, 1, [0]), (1, 2, [])]
)
def test_a_push_in_progress_shows_at_the_peer_that_gave_the_witness(
    echoes: int, came: int, left: list[int]
) -> None:
    """The first push had brought the witness before the watch; an echo is no push."""
    target = Target(Address("tcp", "", 0), Facts(), dialler=None, formation=None)  # type: ignore[arg-type]
    session = Session(target, Settings(), "n", Inbox())
    session.witness = session.inbox.subscribe("tracks:witness-n")
    session.witness_sender = session.peer("probe")
    session.echoes = echoes
    peer = session.peer("A")
    for one in (peer, session.witness_sender):
        one.adopt(Unread())
    witness, snapshot = (
        frame_of(composer().frame(FrameSpec(type="snapshot", key=key, document="base")))
        for key in ("tracks:witness-n", "tracks:t-1")
    )
    session.inbox.take("A", 0, witness)
    watch = arm(session.inbox.subscribe("tracks:t-1"), "A", frozenset())
    watch.pushes = session.pushes_to(peer)
    session.inbox.take("A", 0, snapshot)
    for _ in range(came):
        session.inbox.take("probe", 1, witness)

    assert [arrival.stream for arrival in watch.tripped()] == left


# --- contents ----------------------------------------------------------------------------------


def test_heads_are_read_off_a_sync_message() -> None:
    """The read message declares none; junk declares nothing at all."""
    one = bytes(range(32))

    assert declared_heads(READ_MESSAGE) == frozenset()
    assert declared_heads(b"\x43\x01" + one + b"\x00") == {one.hex()}
    assert [declared_heads(junk) for junk in (b"", b"\x42", b"zz", b"\x42\x02" + one)] == [None] * 4


@pytest.mark.parametrize(
    ("wanted", "why"),
    [
        (Wanted("tracks:t-1", FrameType.TOMBSTONE, None, {"lamport": 258}), None),
        (Wanted("tracks:t-1", FrameType.TOMBSTONE, None, {"lamport": 257}), "lamport"),
        (Wanted("tracks:t-1", FrameType.SNAPSHOT), "type"),
        (Wanted("tracks:t-1", heads=frozenset(("aa",))), "tombstone"),
        (Wanted("tracks:t-1"), None),
    ],
)
def test_an_arrival_is_compared_member_by_member(wanted: Wanted, why: str | None) -> None:
    """The first thing that differs is named."""
    (arrival,) = arrivals(FrameSpec(type="tombstone", lamport=258))
    found = asyncio.run(Contents(None).mismatch(wanted, arrival, strict=True))

    assert (found and found.field) == why


HEAD, OTHER = "ab" * 32, "cd" * 32
DECLARES_OTHER = FrameSpec(type="delta", hex=f"4201{OTHER}00010000")


@pytest.mark.parametrize(
    ("spec", "wanted", "mismatch"),
    [
        (
            FrameSpec(type="snapshot", document="base"),
            Wanted("tracks:t-1", FrameType.DELTA),
            Mismatch("type", "a snapshot", "delta"),
        ),
        (
            FrameSpec(type="tombstone", lamport=257, deleted_by="node-b"),
            Wanted("tracks:t-1", tombstone={"lamport": 257, "deleted_by": "node-c"}),
            Mismatch("deleted_by", "node-b", "node-c"),
        ),
        (
            DECLARES_OTHER,
            Wanted("tracks:t-1", heads=frozenset((HEAD,))),
            Mismatch("heads", OTHER, HEAD),
        ),
    ],
)
def test_a_mismatch_names_what_came_and_what_was_wanted(
    spec: FrameSpec, wanted: Wanted, mismatch: Mismatch
) -> None:
    """With the member in which they differ, and not with one that is equal."""
    (arrival,) = arrivals(spec)

    assert asyncio.run(Contents(None).mismatch(wanted, arrival, strict=True)) == mismatch


# --- deadlines, addresses, facts, formation ----------------------------------------------------


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("tcp://127.0.0.1:4040", Address("tcp", "127.0.0.1", 4040)),
        ("tcp://[::1]:1", Address("tcp", "::1", 1)),
        ("tcp://[::FFFF:127.0.0.1]:1", Address("tcp", "127.0.0.1", 1)),
        ("tcp://[fe80::1%lo]:1", Address("tcp", "fe80::1%lo", 1)),
        ("tcp://[fe80::1%25lo]:1", Address("tcp", "fe80::1%lo", 1)),
        ("tcp://[::1%lo]:1", Address("tcp", "::1", 1)),
        (f"iroh://{'ab' * 32}@[::1]:9", Address("iroh", "::1", 9, "ab" * 32)),
        (f"iroh://{'ab' * 32}@127.0.0.1:9", Address("iroh", "127.0.0.1", 9, "ab" * 32)),
    ],
)
def test_addresses_are_read(text: str, address: Address) -> None:
    """Both bindings, both families, mapped addresses and zones."""
    assert parse_address(text) == address


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("tcp://::1:4711", "tcp://[::1]:4711"),
        ("tcp://fe80::1%lo:4711", "tcp://[fe80::1%lo]:4711"),
        ("tcp://2001:db8::1:4711", "tcp://[2001:db8::1]:4711"),
        ("tcp://fd00:1:2:3:4:5:6:7", "tcp://[fd00:1:2:3:4:5:6:7]:PORT"),
        (f"iroh://{'ab' * 32}@::1:9", f"iroh://{'ab' * 32}@[::1]:9"),
        ("tcp://[127.0.0.1]:4711", "tcp://127.0.0.1:4711"),
        ("tcp://[::g]:4711", "'::g' is no IPv6 address"),
    ],
)
def test_a_wrong_form_of_an_ipv6_address_is_named(text: str, says: str) -> None:
    """With the form that is right, before anything is said of permissions."""
    with pytest.raises(UsageError) as caught:
        asyncio.run(attach(parse_target(text), Settings()))

    assert says in str(caught.value)


@pytest.mark.parametrize(
    "text",
    ["tcp://x", "udp://h:1", "tcp://h:99999", "iroh://h:1", f"tcp://{'ab' * 32}@h:1", "h:1"],
)
def test_what_is_no_address_is_a_usage_error(text: str) -> None:
    """One clear line, exit 2."""
    with pytest.raises(UsageError):
        parse_address(text)


def test_a_target_without_a_required_capability_is_incomplete() -> None:
    """An undeclared required capability is exit 3."""
    with pytest.raises(Incomplete, match="tombstones"):
        require_profile(Facts(capabilities=frozenset(CAPABILITIES) - {"tombstones"}))
    with pytest.raises(Incomplete, match="oplog"):
        require_profile(Facts(profile="oplog/1"))


def test_a_target_file_says_where_and_what(tmp_path: Path) -> None:
    """The path of the secret is read relative to the file."""
    path = tmp_path / "target.toml"
    path.write_text(
        'addresses = ["tcp://127.0.0.1:4040"]\nprofile = "sync/1"\ndialect = "H1"\n'
        'formation_id = "f"\nformation_secret_file = "secret"\n'
        "[deadlines]\nhandshake_s = 2.0\nframe_stall_s = 3.0\n"
    )
    (attachment,) = read_target_file(path)

    assert attachment.location == "127.0.0.1:4040"
    facts = read_facts(attachment.facts)
    assert facts.secret_file == tmp_path / "secret"
    assert (facts.dialect, facts.formation_id, facts.payload_cap) == ("H1", "f", PAYLOAD_MAX)
    assert facts.deadlines == {"handshake_s": 2.0, "frame_stall_s": 3.0}
    assert (facts.capabilities, facts.unsaid) == (set(CAPABILITIES), set(OPTIONAL_CAPABILITIES))


@pytest.mark.parametrize("text", ["addresses = 3", "=", 'colour = "red"'])
def test_a_bad_target_file_is_a_usage_error(tmp_path: Path, text: str) -> None:
    """No TOML, or not what the schema says."""
    path = tmp_path / "target.toml"
    path.write_text(text)

    with pytest.raises(UsageError):
        read_target_file(path)


def test_the_suite_s_own_answer_agrees_with_the_vector() -> None:
    """Derivation and HMAC of the worked example of the page on the handshake."""
    vector = next(
        one
        for one in _formation_vectors()
        if one["kind"] == "formation_response" and "respond" in one
    )
    respond = vector["respond"]
    formation = Formation(respond["formation_id"], bytes.fromhex(respond["secret"]))

    assert formation.answer(bytes.fromhex(respond["nonce"])).hex() == vector["hex"]


def _formation_vectors() -> list[dict[str, dict[str, str]]]:
    folder = Path(__file__).parents[3] / "vectors/handshake"
    vectors: list[dict[str, dict[str, str]]] = json.loads(
        (folder / "formation_response.json").read_text("utf-8")
    )["vectors"]
    return vectors


def test_a_secret_file_holds_base64(tmp_path: Path) -> None:
    """Anything else is a usage error."""
    good, bad = tmp_path / "good", tmp_path / "bad"
    good.write_bytes(base64.b64encode(bytes(32)) + b"\n")
    bad.write_text("***")

    assert read_secret(good) == bytes(32)
    for path in (bad, tmp_path / "none"):
        with pytest.raises(UsageError):
            read_secret(path)


def test_a_tombstone_that_was_sent_is_what_the_schema_reads() -> None:
    """Round trip through the schema codec."""
    payload = composer().tombstone(FrameSpec(type="tombstone", reason="stale", extra="5a"))
    message = decode("tombstone", payload)

    assert encode(message) == payload
    assert message.fields["extra"] == b"\x5a"


@pytest.mark.parametrize("end", ["finished", "reset_code"])
def test_a_stream_with_a_frame_has_to_end(end: str) -> None:
    """It is listed until it does, also if its end comes later than its frame (TR-004)."""
    inbox = Inbox()
    connection = Unread()
    connection.on_stream = inbox.reader_of("A")
    stream = Stream(connection, 5, uni=False, ours=False)

    async def run() -> None:
        connection.accept(stream)
        stream.received += composer().frame(FrameSpec(type="tombstone", key="tracks:t-1"))
        stream.changed()
        assert [(peer, one.number) for peer, one in inbox.unended()] == [("A", 5)]
        setattr(stream, end, 1)
        stream.changed()
        assert list(inbox.unended()) == []

    asyncio.run(run())
