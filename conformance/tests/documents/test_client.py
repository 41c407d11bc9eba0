"""The suite's Automerge: documents as data in both directions, exchanges, and deaths."""

import os
import selectors
import signal
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from meshwire_conformance.documents import client
from meshwire_conformance.documents.client import Documents, Unavailable, Unreadable
from meshwire_conformance.documents.values import BadDocument, Json
from meshwire_conformance.protocol.automerge_bytes import COUNTER, INT, TIMESTAMP, change, signed
from meshwire_spec.numbers import READ_MESSAGE

pytestmark = pytest.mark.process

FIELDS: dict[str, Json] = {
    "null": None,
    "true": True,
    "int": -5,
    "fraction": 1.5,
    "string": 'a"\\\n\u2028😀',
    "bytes": {"$bytes": "0102"},
    "uint": {"$uint": "18446744073709551615"},
    "time": {"$timestamp": 1577836800123},
    "text": {"$text": "it's"},
    "map": {"list": [1, {"x": {"$uint": "2"}}, []]},
}
NOTE: dict[str, Json] = {"actor": "0a1b", "fields": {"a": 1}, "edits": [{"a": 2}]}
NOTE_HEAD = "26629767adfca827d0cfadff8a48459e5edca25d349ccffc4a5303ad40a7e433"
ACTOR = bytes.fromhex("c5" * 16)
FOR_EVER = change(ACTOR, 4 * 10**6, INT, b"\x05")
ODD = {
    "counter": (COUNTER, signed(5)),
    "timestamp past the year 9999": (TIMESTAMP, signed(300_000_000_000_000)),
    "unknown scalar type 10": (10, b"\x01\x02"),
    "unknown scalar type 15": (15, b"\x01\x02"),
}
MESSAGES_MAX = 10
CALL_S = 0.5
"""Seconds of CPU time that a call may take."""


@pytest.fixture(scope="module")
def shared() -> Iterator[Documents]:
    """One child process for the tests that do it no harm."""
    with Documents() as documents:
        yield documents


def test_fields_read_back_as_data(shared: Documents) -> None:
    """Every kind of value reads as it was written."""
    shared.create("note", {"fields": FIELDS})

    assert shared.fields("note") == FIELDS


def test_equal_data_has_equal_heads(shared: Documents) -> None:
    """Actors and times are fixed: a document is the same wherever it is made."""
    first, second = shared.create("first", NOTE), shared.create("second", NOTE)

    assert first == second
    assert first.heads == (NOTE_HEAD,)
    assert len(shared.changes("first")) == 2


def test_edits_change_and_delete(shared: Documents) -> None:
    """An edit writes, and deletes by its mark."""
    shared.create("note", {"fields": {"a": 1, "b": 2}})
    shared.edit("note", {"a": {"$delete": True}}, {"c": 3})

    assert shared.fields("note") == {"b": 2, "c": 3}


def test_wrong_data_is_a_fault_of_the_suite(shared: Documents) -> None:
    """It never reaches the library."""
    with pytest.raises(BadDocument):
        shared.create("note", {"fields": {"a": {"$nonsense": 1}}})


def test_payloads_are_read_on_their_own(shared: Documents) -> None:
    """A snapshot, and the answer to a read, show the whole document."""
    state = shared.create("note", NOTE)
    shared.receive("note", "reader", READ_MESSAGE)
    answer = shared.generate("note", "reader") or b""

    for contents in (shared.read_snapshot(state.saved), shared.read_message(answer)):
        assert (contents.heads, contents.fields) == (state.heads, {"a": 2})


def test_an_empty_document_says_the_read(shared: Documents) -> None:
    """The first message about nothing is the constant of the page."""
    shared.create("nothing")
    shared.begin("nothing", "peer")

    assert shared.generate("nothing", "peer") == READ_MESSAGE


def test_exchanges_converge(shared: Documents) -> None:
    """Two documents of one ancestor end with equal heads."""
    base = shared.create("ours", NOTE).saved
    shared.load("theirs", base, "0c2d")
    shared.edit("ours", {"b": 1})
    shared.edit("theirs", {"c": 2})
    sides, count = ["ours", "theirs"], 0
    while (message := shared.generate(sides[0], "peer")) is not None and count < MESSAGES_MAX:
        shared.receive(sides[1], "peer", message)
        sides.reverse()
        count += 1

    assert count < MESSAGES_MAX
    assert shared.state("ours").heads == shared.state("theirs").heads
    assert shared.fields("ours") == {"a": 2, "b": 1, "c": 2}


@pytest.mark.parametrize("message", [b"", b"zz", READ_MESSAGE[:4]])
def test_nonsense_is_unreadable(shared: Documents, message: bytes) -> None:
    """Bytes that are no message are reported as a fault of the peer."""
    with pytest.raises(Unreadable):
        shared.read_message(message)


def test_odd_scalars_are_opaque(shared: Documents) -> None:
    """Values whose reading would panic are named, also inside an object, and the rest is read."""
    read = {
        name: shared.read_snapshot(change(ACTOR, 1, *value)).fields["k"]
        for name, value in ODD.items()
    }

    assert read == {
        "counter": {"$opaque": "Counter"},
        "timestamp past the year 9999": {"$timestamp": 300_000_000_000_000},
        "unknown scalar type 10": {"$opaque": "Unknown"},
        "unknown scalar type 15": {"$opaque": "Unknown"},
    }


def test_a_panic_leaves_the_document_as_it_was(shared: Documents) -> None:
    """Bytes of a peer are applied to a fork."""
    before = shared.create("note", NOTE)
    with pytest.raises(Unreadable):
        shared.merge("note", change(ACTOR, 1, 2, b"") + change(ACTOR, 1, INT, b"\x05"))

    assert shared.state("note") == before


def test_a_child_that_gets_no_core_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only CPU time counts: what a busy machine delays is no fault of the bytes."""
    asked: list[float | None] = []

    class LateSelector(selectors.DefaultSelector):
        """Finds no answer of a stopped child within ten times what a call may take."""

        def select(self, timeout: float | None = None) -> Any:
            asked.append(timeout)
            if timeout is not None and timeout < 10 * CALL_S:
                return []
            os.kill(child, signal.SIGCONT)
            return super().select(timeout)

    with Documents(call_s=CALL_S) as documents:
        before = documents.create("note", NOTE)
        assert documents._process is not None
        child = documents._process.pid
        monkeypatch.setattr(client.selectors, "DefaultSelector", LateSelector)
        os.kill(child, signal.SIGSTOP)
        after = documents.edit("note", {"b": 1})

        assert asked
        assert after.heads != before.heads
        assert documents._process.pid == child


def test_endless_work_ends_the_child_and_nothing_is_lost() -> None:
    """A call over its CPU time ends the child; the next one finds every document as it last was."""
    with Documents(call_s=20.0) as documents:
        before = documents.create("note", NOTE)
        documents._call_s = 0.01
        with pytest.raises(Unreadable, match="CPU time"):
            documents.read_snapshot(FOR_EVER)
        documents._call_s = 20.0

        assert documents.state("note") == before
        assert documents.edit("note", {"b": 1}).heads != before.heads


def test_without_the_library_it_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """A child that cannot import Automerge is "could not run", with the line that helps."""
    folder = tmp_path_factory.mktemp("shadow")
    (folder / "automerge.py").write_text("raise ImportError('no automerge here')\n")
    monkeypatch.setenv("PYTHONPATH", ":".join((str(folder), *sys.path)))
    with pytest.raises(Unavailable) as caught:
        Documents().start()

    assert client.INSTALL_LINE in str(caught.value)
