"""Grammar of document keys: `collection:id`, with the collection up to the first colon."""

import re
from typing import Final

from meshwire_spec.numbers import (
    COLLECTION_MAX,
    DOCUMENT_ID_MAX,
    DOCUMENT_KEY_MAX,
    RESERVED_KEYS,
    TOMBSTONE_COLLECTION,
)

COLLECTION: Final = re.compile(rf"[A-Za-z0-9_.-]{{1,{COLLECTION_MAX}}}", re.ASCII)
CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")


def is_collection(text: str) -> bool:
    """Say whether a text is a collection's name."""
    return COLLECTION.fullmatch(text) is not None


def has_control(text: str) -> bool:
    """Say whether a text holds a control character of either range."""
    return CONTROL.search(text) is not None


def document_key_fault(key: str) -> str | None:
    """Return why a text is no document key, as a reason of the registry, or None where it is one.

    Asked before a key is written locally as well as when one is received (D-10, D-11).
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
