"""The policies of the collection table."""

from dataclasses import replace

from meshwire_reference.core.state.policy import PUBLISHED, Collections
from meshwire_spec.numbers import (
    CLOSED_COLLECTIONS,
    COLLECTION_ROWS,
    DEFAULT_COLLECTION,
    DeletionPolicy,
    FrameType,
    SyncMode,
)


def test_every_row_of_the_table_decides_type_and_policy() -> None:
    """DC-033, DC-034, TS-031: the collection table is what decides."""
    for row in COLLECTION_ROWS:
        is_delta = PUBLISHED.push_type(f"{row.name}:x") is FrameType.DELTA
        obeys = PUBLISHED.obeys_tombstones(f"{row.name}:x")

        assert is_delta == (row.mode is SyncMode.FULL_HISTORY)
        assert obeys == (row.deletion is DeletionPolicy.TOMBSTONE)
    assert PUBLISHED.push_type("anything:x") is FrameType.DELTA


def test_nothing_deletes_certificates_and_revocations() -> None:
    """CT-036: whatever the table of the user says of them."""
    own = replace(DEFAULT_COLLECTION, deletion=DeletionPolicy.TOMBSTONE)
    collections = Collections(dict.fromkeys((*CLOSED_COLLECTIONS, "notes"), own))

    assert collections.obeys_tombstones("notes:x")
    assert [collections.obeys_tombstones(f"{name}:x") for name in CLOSED_COLLECTIONS] == [
        False,
        False,
    ]
