"""The policies of the collection table."""

from meshwire_reference.core.state.policy import PUBLISHED
from meshwire_spec.numbers import COLLECTION_ROWS, DeletionPolicy, FrameType, SyncMode


def test_every_row_of_the_table_decides_type_and_policy() -> None:
    """DC-033, DC-034, TS-031: the collection table is what decides."""
    for row in COLLECTION_ROWS:
        is_delta = PUBLISHED.push_type(f"{row.name}:x") is FrameType.DELTA
        obeys = PUBLISHED.obeys_tombstones(f"{row.name}:x")

        assert is_delta == (row.mode is SyncMode.FULL_HISTORY)
        assert obeys == (row.deletion is DeletionPolicy.TOMBSTONE)
    assert PUBLISHED.push_type("anything:x") is FrameType.DELTA
