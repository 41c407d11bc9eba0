"""The documents that the node holds, as runs see them."""

from hashlib import sha256
from itertools import islice

import pytest

from meshwire_reference.core.state.document_index import EDITS, DocumentIndex, identify_key
from meshwire_reference.negentropy import Storage
from meshwire_reference.wire.reconciliation import TIMESTAMP


def hold(holdings: DocumentIndex, *keys: str) -> DocumentIndex:
    """Return the holdings with some documents more."""
    for key in keys:
        holdings[key] = 7
    return holdings


def ids(items: Storage) -> list[bytes]:
    """Return the ids of a set, in its order."""
    return items.ids(0, items.size)


def test_the_id_of_a_document_is_the_digest_of_its_key() -> None:
    """N-04, T-017: equal for equal keys whatever the document, and known in full."""
    digests = {
        "nodes::node-1": "08f49ba182472b38013a324da08ab04f613a8153aa0cba52308769751163f638",
        "doc-1": "bb0e4f49443794d901e8969ff11bd112e34208a0dcdf0e1eedb480cc9b3c7293",
    }

    assert {key: identify_key(key).hex() for key in digests} == digests
    assert identify_key("nodes::node-1") != identify_key("nodes::node-2")
    assert identify_key("notes:ü") == sha256("notes:ü".encode()).digest()


def test_an_item_has_no_time() -> None:
    """NG-015: a document listed now and one that comes later have the timestamp 0."""
    holdings = hold(DocumentIndex(), "notes:a")
    items = holdings.as_storage()
    hold(holdings, "notes:b")

    assert [items.key(rank)[:TIMESTAMP] for rank in range(2)] == [bytes(TIMESTAMP)] * 2


def test_the_set_follows_the_documents() -> None:
    """N-14: an added item counts once and a removed one is gone, also while a run uses the set."""
    holdings = hold(DocumentIndex(), "notes:a", "notes:b")
    items = holdings.as_storage()
    hold(holdings, "notes:b", "notes:c")
    del holdings["notes:a"]

    assert holdings.as_storage() is items
    assert ids(items) == sorted(map(identify_key, ("notes:b", "notes:c")))


def test_an_id_is_named_by_its_own_node_alone() -> None:
    """N-10: the key of an id that is not held is not known, which no run depends on."""
    holdings = hold(DocumentIndex(), "notes:a")
    holdings.as_storage()

    assert holdings.key_of(identify_key("notes:a")) == "notes:a"
    assert holdings.key_of(identify_key("notes:b")) is None


def test_how_documents_are_told_apart_is_a_parameter() -> None:
    """N-03: another id than that of the key, for nodes that agree on one."""
    by_content = {"notes:a": bytes(32), "notes:b": b"\1" * 32}
    holdings = hold(DocumentIndex(by_content.__getitem__), *by_content)

    assert ids(holdings.as_storage()) == sorted(by_content.values())
    assert holdings.key_of(bytes(32)) == "notes:a"


class TestSlices:
    """The set is made in slices, of one block each here."""

    @pytest.fixture(autouse=True)
    def _small_blocks(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("meshwire_reference.negentropy.index.BLOCK", 10)

    def test_a_slice_identifies_the_documents_of_one_block(self) -> None:
        """However many there are."""
        identified: list[str] = []

        def identify(key: str) -> bytes:
            identified.append(key)
            return identify_key(key)

        holdings = hold(DocumentIndex(identify), *(f"notes:{number}" for number in range(95)))
        after_each = [len(identified) for _ in holdings.list_in_slices()]

        assert after_each == [*range(10, 91, 10), *[95] * 9]
        assert ids(holdings.as_storage()) == sorted(
            identify_key(f"notes:{number}") for number in range(95)
        )
        assert len(identified) == 95

    @pytest.mark.parametrize("slices", range(0, 19, 3))
    def test_changes_meanwhile_are_in_the_set(self, slices: int) -> None:
        """Documents that come, go, come back and go again, whatever was listed before."""
        holdings = hold(DocumentIndex(), *(f"notes:{number}" for number in range(95)))
        listing = holdings.list_in_slices()
        assert len(list(islice(listing, slices))) == min(slices, 18)
        hold(holdings, *(f"notes:{number}" for number in range(200, 201 + EDITS)))
        for number in (3, 7, 94, 200):
            del holdings[f"notes:{number}"]
        hold(holdings, "notes:7")
        for _ in listing:
            continue

        assert ids(holdings.as_storage()) == sorted(map(identify_key, holdings))
        assert holdings.key_of(identify_key("notes:3")) is None
        assert holdings.key_of(identify_key("notes:7")) == "notes:7"

    def test_a_listing_at_once_ends_one_in_slices(self) -> None:
        """Both are of the documents as they are."""
        holdings = hold(DocumentIndex(), *(f"notes:{number}" for number in range(25)))
        listing = holdings.list_in_slices()
        next(listing)
        items = holdings.as_storage()
        hold(holdings, "notes:99")
        for _ in listing:
            continue

        assert holdings.as_storage() is items
        assert ids(items) == sorted(map(identify_key, holdings))
