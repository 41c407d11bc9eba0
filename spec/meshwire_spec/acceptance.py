"""Checks of a strict node on a decoded message: key grammar and limits of texts."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from meshwire_spec.numbers import (
    AUTHOR_MAX,
    COLLECTION_MAX,
    DOCUMENT_ID_MAX,
    DOCUMENT_KEY_MAX,
    FORMATION_ID_MAX,
    FRAME_KEY_MAX,
    REASON_MAX,
    RESERVED_KEYS,
    TOMBSTONE_COLLECTION,
    FrameType,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


def collection_grammar(longest: int) -> re.Pattern[str]:
    """Return the pattern of the name of a collection of at most this many bytes."""
    return re.compile(rf"[A-Za-z0-9_.-]{{1,{longest}}}")


COLLECTION_GRAMMAR: Final = collection_grammar(COLLECTION_MAX)
CONTROL: Final = re.compile("[\x00-\x1f\x7f-\x9f]")
DOCUMENT_TYPES: Final = frozenset({FrameType.DELTA, FrameType.SNAPSHOT})
ENTRY_TYPES: Final = DOCUMENT_TYPES | {FrameType.TOMBSTONE}


def text_size(text: str) -> int:
    """Return the number of bytes that a text has in UTF-8."""
    return len(text.encode("utf-8"))


def accept_document_key(key: str) -> str | None:
    """Return the reason to refuse a document key (D-11, D-10), or None if it is valid.

    A valid key is `collection:id` within the limits.
    """
    if not 1 <= text_size(key) <= DOCUMENT_KEY_MAX:
        return "length-limit"
    collection, colon, document_id = key.partition(":")
    if key in RESERVED_KEYS or collection == TOMBSTONE_COLLECTION or not colon:
        return "bad-key"
    if not COLLECTION_GRAMMAR.fullmatch(collection) or CONTROL.search(document_id):
        return "bad-key"
    return None if 1 <= text_size(document_id) <= DOCUMENT_ID_MAX else "bad-key"


def _accept_frame(value: Mapping[str, Any]) -> str | None:
    if value["type"] in DOCUMENT_TYPES:
        return accept_document_key(value["key"])
    return "length-limit" if text_size(value["key"]) > FRAME_KEY_MAX else None


def _accept_entry(value: Mapping[str, Any]) -> str | None:
    return _accept_frame(value) if value["type"] in ENTRY_TYPES else "unknown-type"


def _accept_faultless(value: Mapping[str, Any]) -> str | None:
    return None if value["fault"] is None else str(value["fault"]["reason"])


TOMBSTONE_LIMITS: Final = {
    "collection": (1, COLLECTION_MAX),
    "document_id": (1, DOCUMENT_ID_MAX),
    "deleted_by": (1, AUTHOR_MAX),
    "reason": (0, REASON_MAX),
}


def _accept_tombstone(value: Mapping[str, Any]) -> str | None:
    for name, (low, high) in TOMBSTONE_LIMITS.items():
        if not low <= text_size(value[name]) <= high:
            return "length-limit"
    legal = COLLECTION_GRAMMAR.fullmatch(value["collection"])
    return "bad-key" if not legal or CONTROL.search(value["document_id"]) else None


def _accept_formation(value: Mapping[str, Any]) -> str | None:
    return "length-limit" if text_size(value["formation_id"]) > FORMATION_ID_MAX else None


def _accept_ranges(value: Mapping[str, Any]) -> str | None:
    last: tuple[int, bytes] | None = None
    for found in value["ranges"]:
        upper = found["upper"]
        if upper["timestamp"] is None:
            return None
        bound = (upper["timestamp"], upper["prefix"])
        if last is not None and bound <= last:
            return "bad-bound"
        last = bound
    return None


def _accept_flags(value: Mapping[str, Any]) -> str | None:
    return "bad-flag" if max(value["has_certificate"], value["has_secret"]) > 1 else None


ACCEPTORS: Final[dict[str, Callable[[Mapping[str, Any]], str | None]]] = {
    "stream_frame": _accept_frame,
    "sync_entry": _accept_entry,
    "sync_batch": _accept_faultless,
    "channel_record": lambda value: _accept_faultless(value["batch"]),
    "tombstone": _accept_tombstone,
    "tombstone_batch": _accept_faultless,
    "negentropy_message": _accept_ranges,
    "formation_id": _accept_formation,
    "formation_challenge": _accept_formation,
    "formation_challenge_h2": _accept_formation,
    "enrollment_response": _accept_flags,
}


def accept_value(kind: str, value: Mapping[str, Any]) -> str | None:
    """Return the reason to refuse the members of a decoded message of a kind, or None."""
    acceptor = ACCEPTORS.get(kind)
    return None if acceptor is None else acceptor(value)
