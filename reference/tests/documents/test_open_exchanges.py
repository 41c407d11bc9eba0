"""How many exchanges the worker keeps: for one connection, and for all together."""

import pytest

from meshwire_reference.documents import exchanges
from meshwire_reference.documents.exchanges import (
    EXCHANGE_BYTES,
    DocumentExchange,
    OpenExchanges,
)

KEPT = 100
WEIGHT = EXCHANGE_BYTES + KEPT


def keep(table: OpenExchanges, connection: str, *keys: str) -> None:
    """Keep an exchange for each key."""
    for key in keys:
        table.put(connection, key, DocumentExchange(), KEPT)


def kept(table: OpenExchanges, connection: str) -> list[str]:
    """Return the keys of the exchanges of a connection."""
    return list(table._exchanges.get(connection, ()))


def test_beyond_the_bound_of_all_the_greatest_connection_loses_its_oldest(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A peer with many exchanges costs others none of theirs."""
    monkeypatch.setattr(exchanges, "ALL_BYTES_MAX", 4 * WEIGHT)
    table = OpenExchanges()
    keep(table, "many", "m1", "m2", "m3")
    keep(table, "few", "f1", "f2")
    assert (kept(table, "many"), kept(table, "few")) == (["m2", "m3"], ["f1", "f2"])
    keep(table, "one", "o1")

    assert kept(table, "one") == ["o1"]
    assert sum(len(kept(table, name)) for name in ("many", "few")) == 3


def test_the_newest_stays_whatever_its_size(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is in use."""
    monkeypatch.setattr(exchanges, "ALL_BYTES_MAX", 1)
    table = OpenExchanges()
    keep(table, "a", "1", "2")
    keep(table, "b", "3")

    assert (kept(table, "a"), kept(table, "b")) == ([], ["3"])


def test_what_is_forgotten_gives_its_bytes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """By its connection, by its document, and one by one."""
    monkeypatch.setattr(exchanges, "ALL_BYTES_MAX", 2 * WEIGHT)
    table = OpenExchanges()
    keep(table, "a", "1", "2")
    table.forget("a")
    keep(table, "b", "1", "2")
    table.drop("1")
    table.remove("b", "2")
    table.remove("b", "2")
    keep(table, "c", "1", "2")

    assert kept(table, "c") == ["1", "2"]
    assert table._weight == 2 * WEIGHT
