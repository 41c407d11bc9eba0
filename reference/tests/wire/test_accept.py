"""Messages that decode and that a strict node refuses."""

import pytest

from meshwire_reference.wire.accept import accept
from meshwire_reference.wire.batches import Fault, StreamFrame, SyncBatch, SyncEntry
from meshwire_reference.wire.enrollment import EnrollmentResponse
from meshwire_reference.wire.handshake import FormationChallenge, FormationId
from meshwire_reference.wire.liveness import Heartbeat
from meshwire_reference.wire.reconciliation import Bound, NegentropyMessage, Range
from meshwire_reference.wire.tombstones import Tombstone
from meshwire_spec.numbers import Direction, EnrollmentStatus, NegentropyMode

KEYS = (
    ("tracks:doc-1", None),
    ("A.b_c-9:a:b/c \u00e9", None),
    ("a:b", None),
    ("c" * 128 + ":" + "d" * 895, None),
    ("a:" + "\u00e9" * 447, None),
    ("", "length-limit"),
    ("a:" + "d" * 1023, "length-limit"),
    ("a:" + "d" * 896, "bad-key"),
    ("a:" + "\u00e9" * 448, "bad-key"),
    ("c" * 129 + ":d", "bad-key"),
    ("no-colon", "bad-key"),
    (":id", "bad-key"),
    ("a:", "bad-key"),
    ("a b:c", "bad-key"),
    ("\u00e9:c", "bad-key"),
    ("\u0661:c", "bad-key"),
    ("a\n:c", "bad-key"),
    ("a:b\x00", "bad-key"),
    ("a:b\n", "bad-key"),
    ("a:\x7f", "bad-key"),
    ("a:\u009f", "bad-key"),
    ("a:\u00a0", None),
    ("batch", "bad-key"),
    ("_negentropy", "bad-key"),
    ("tombstones:batch", "bad-key"),
    ("tombstones:x:y", "bad-key"),
    ("tombstones2:x", None),
)


@pytest.mark.parametrize(("key", "reason"), KEYS)
@pytest.mark.parametrize("frame_type", [0, 1])
def test_document_keys(key: str, reason: str | None, frame_type: int) -> None:
    """The grammar holds for deltas and snapshots, in frames as in entries."""
    assert reason == accept("stream_frame", StreamFrame(key, frame_type, b""))
    assert reason == accept("sync_entry", SyncEntry(key, frame_type, b""))


@pytest.mark.parametrize("frame_type", [2, 4, 5, 6, 7, 8, 9])
def test_keys_of_other_frames_are_only_short(frame_type: int) -> None:
    """Dispatch is by type: a key that is not used may be anything of at most 1035 bytes."""
    longest = "\u00e9" + "k" * 1033

    assert accept("stream_frame", StreamFrame("", frame_type, b"")) is None
    assert accept("stream_frame", StreamFrame("x\x00y", frame_type, b"")) is None
    assert accept("stream_frame", StreamFrame(longest, frame_type, b"")) is None
    assert accept("stream_frame", StreamFrame(longest + "k", frame_type, b"")) == "length-limit"


@pytest.mark.parametrize("entry_type", [2, 3, 5, 6, 7, 8, 9, 10, 255])
def test_an_entry_is_a_delta_a_snapshot_or_a_tombstone(entry_type: int) -> None:
    """The type decides before the key is looked at."""
    assert accept("sync_entry", SyncEntry("", entry_type, b"")) == "unknown-type"
    assert accept("sync_entry", SyncEntry("", 4, b"")) is None


def test_a_batch_is_refused_for_its_fault() -> None:
    """A batch without a fault is taken, whatever its entries are."""
    entry = SyncEntry("", 10, b"")

    assert accept("sync_batch", SyncBatch(1, 2, 3, 1, (entry,))) is None
    assert (
        accept("sync_batch", SyncBatch(1, 2, 3, 2, (entry,), Fault("bad-utf8", 28, b"")))
        == "bad-utf8"
    )


def tombstone(
    collection: str = "c", document_id: str = "d", deleted_by: str = "n", reason: str = ""
) -> Tombstone:
    """Return a tombstone with the texts that matter."""
    return Tombstone(collection, document_id, 5, 7, deleted_by, reason, Direction.UP_ONLY, b"\x01")


TOMBSTONES = (
    (tombstone(), None),
    (tombstone("c" * 128, "d" * 895, "n" * 1024, "r" * 1024), None),
    (tombstone(collection=""), "length-limit"),
    (tombstone(collection="c" * 129), "length-limit"),
    (tombstone(document_id=""), "length-limit"),
    (tombstone(document_id="\u00e9" * 448), "length-limit"),
    (tombstone(deleted_by=""), "length-limit"),
    (tombstone(deleted_by="n" * 1025), "length-limit"),
    (tombstone(reason="r" * 1025), "length-limit"),
    (tombstone(collection="a:b"), "bad-key"),
    (tombstone(document_id="a\x1f"), "bad-key"),
    (tombstone(document_id="a:b"), None),
    (tombstone(deleted_by="a\x00", reason="\n"), None),
    (tombstone(collection="a b", reason="r" * 1025), "length-limit"),
)


@pytest.mark.parametrize(("message", "reason"), TOMBSTONES)
def test_texts_of_a_tombstone(message: Tombstone, reason: str | None) -> None:
    """Lengths come before the grammar."""
    assert reason == accept("tombstone", message)


@pytest.mark.parametrize(
    ("bounds", "reason"),
    [
        ([], None),
        ([(0, "")], None),
        ([(5, ""), (5, "00"), (5, "01"), (6, ""), (None, "")], None),
        ([(5, ""), (5, "")], "bad-bound"),
        ([(5, "02"), (5, "01")], "bad-bound"),
    ],
)
def test_bounds_increase(bounds: list[tuple[int | None, str]], reason: str | None) -> None:
    """Every bound is above the one before it, by time and then by prefix."""
    ranges = tuple(
        Range(Bound(timestamp, bytes.fromhex(prefix)), NegentropyMode.SKIP, None)
        for timestamp, prefix in bounds
    )

    assert reason == accept("negentropy_message", NegentropyMessage(0x61, ranges))


@pytest.mark.parametrize(
    ("text", "reason"), [("\u00e9" + "f" * 253, None), ("f" * 256, "length-limit")]
)
def test_formation_ids_are_short(text: str, reason: str | None) -> None:
    """A formation id has at most 255 bytes in every message that carries one."""
    assert reason == accept("formation_id", FormationId(text))
    assert reason == accept("formation_challenge", FormationChallenge(text, b"\x01" * 32))
    assert reason == accept("formation_challenge_h2", FormationChallenge(text, b"\x01" * 32))


@pytest.mark.parametrize(
    ("flags", "reason"), [((0, 0), None), ((2, 0), "bad-flag"), ((0, 255), "bad-flag")]
)
def test_flags_are_zero_or_one(flags: tuple[int, int], reason: str | None) -> None:
    """Other flags decode as absent and are refused."""
    response = EnrollmentResponse(EnrollmentStatus.DENIED, "", flags[0], None, flags[1], None, 9)

    assert reason == accept("enrollment_response", response)


def test_kinds_without_rules_are_accepted() -> None:
    """Messages without further rules are accepted if they decode."""
    assert accept("heartbeat", Heartbeat(1, 2)) is None
