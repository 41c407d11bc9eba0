"""Checks of a strict node on messages that decode: keys, sizes and types, received and sent."""

import re
from collections.abc import Callable
from typing import Any, Final

from meshwire_reference.wire.batches import ChannelRecord, StreamFrame, SyncBatch, SyncEntry
from meshwire_reference.wire.enrollment import PRESENT, EnrollmentResponse
from meshwire_reference.wire.handshake import FormationChallenge, FormationId
from meshwire_reference.wire.reconciliation import NegentropyMessage, bounds_increase
from meshwire_reference.wire.tombstones import Tombstone, TombstoneBatch
from meshwire_spec.numbers import (
    AUTHOR_MAX,
    COLLECTION_MAX,
    DOCUMENT_ID_MAX,
    DOCUMENT_KEY_MAX,
    FORMATION_ID_MAX,
    FRAME_KEY_MAX,
    FRAME_TYPES,
    REASON_MAX,
    RESERVED_KEYS,
    TOMBSTONE_COLLECTION,
    FrameType,
)

COLLECTION: Final = re.compile(rf"[A-Za-z0-9_.-]{{1,{COLLECTION_MAX}}}", re.ASCII)
CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")


def is_collection(text: str) -> bool:
    """Return True if a text is the name of a collection."""
    return COLLECTION.fullmatch(text) is not None


def has_control(text: str) -> bool:
    """Return True if a text holds a control character of either range."""
    return CONTROL.search(text) is not None


def document_key_fault(key: str) -> str | None:
    """Return the reason of the registry to refuse a document key, or None if it is valid.

    Checked before a key is written locally and when one is received (D-10, D-11).
    """
    # FR-020
    size = len(key.encode())
    if not 1 <= size <= DOCUMENT_KEY_MAX:
        return "length-limit"
    # FR-026
    collection, colon, document_id = key.partition(":")
    # FR-022, FR-023, FR-024, FR-025
    stands = (
        colon
        and key not in RESERVED_KEYS
        and collection != TOMBSTONE_COLLECTION
        and is_collection(collection)
        and 1 <= len(document_id.encode()) <= DOCUMENT_ID_MAX
        and not has_control(document_id)
    )
    return None if stands else "bad-key"


DOCUMENT_TYPES: Final = frozenset((FrameType.DELTA, FrameType.SNAPSHOT))
ENTRY_TYPES: Final = frozenset(row.type for row in FRAME_TYPES if row.in_entry)

TOMBSTONE_TEXTS: Final = (
    ("collection", 1, COLLECTION_MAX),
    ("document_id", 1, DOCUMENT_ID_MAX),
    ("deleted_by", 1, AUTHOR_MAX),
    ("reason", 0, REASON_MAX),
)
"""Lengths of a tombstone's texts in bytes of UTF-8 (D-01)."""


def _key_reason(message: StreamFrame | SyncEntry) -> str | None:
    if message.type in DOCUMENT_TYPES:
        return document_key_fault(message.key)
    # FR-010, FR-021
    return "length-limit" if len(message.key.encode()) > FRAME_KEY_MAX else None


def _accept_entry(entry: SyncEntry) -> str | None:
    # BT-009
    return "unknown-type" if entry.type not in ENTRY_TYPES else _key_reason(entry)


def _accept_batch(batch: SyncBatch | TombstoneBatch) -> str | None:
    return None if batch.fault is None else batch.fault.reason


def _accept_record(record: ChannelRecord) -> str | None:
    return _accept_batch(record.batch)


def _accept_tombstone(tombstone: Tombstone) -> str | None:
    for field, minimum, maximum in TOMBSTONE_TEXTS:
        if not minimum <= len(getattr(tombstone, field).encode()) <= maximum:
            # TS-006
            return "length-limit"
    if not is_collection(tombstone.collection) or has_control(tombstone.document_id):
        # TS-007, TS-008
        return "bad-key"
    return None


def _accept_negentropy(message: NegentropyMessage) -> str | None:
    return None if bounds_increase(message) else "bad-bound"


def _accept_formation(message: FormationId | FormationChallenge) -> str | None:
    # HS-017
    return "length-limit" if len(message.formation_id.encode()) > FORMATION_ID_MAX else None


def _accept_response(response: EnrollmentResponse) -> str | None:
    flags = (response.has_certificate, response.has_secret)
    # EN-014
    return "bad-flag" if any(flag > PRESENT for flag in flags) else None


ACCEPT: Final[dict[str, Callable[[Any], str | None]]] = {
    "stream_frame": _key_reason,
    "sync_entry": _accept_entry,
    "sync_batch": _accept_batch,
    "tombstone": _accept_tombstone,
    "tombstone_batch": _accept_batch,
    "channel_record": _accept_record,
    "negentropy_message": _accept_negentropy,
    "formation_id": _accept_formation,
    "formation_challenge": _accept_formation,
    "formation_challenge_h2": _accept_formation,
    "enrollment_response": _accept_response,
}
"""Kinds with rules beyond their structure; a kind that is not here is accepted as it decodes."""


def accept(kind: str, message: object) -> str | None:
    """Return the reason for which a strict node refuses a decoded message, or None.

    Checked on receive and before sending. The caller refuses with the reason's code.
    """
    rule = ACCEPT.get(kind)
    return None if rule is None else rule(message)
