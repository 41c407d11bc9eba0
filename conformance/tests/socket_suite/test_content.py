"""Tests that the suite asks Automerge once for what many cases have in common."""

from __future__ import annotations

import asyncio
from typing import Any

from meshwire_conformance.documents.client import Documents
from meshwire_conformance.socket_suite.content import Doorway, Made
from meshwire_spec.numbers import FrameType
from meshwire_spec.schemas.steps import DocumentSpec


class Counting(Documents):
    """Documents without a process: the heads are the calls so far, so no two answers are alike."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def _call(self, operation: str, *arguments: object) -> Any:
        self.calls += 1
        return {} if operation == "fields" else ([f"{self.calls:064x}"], b"saved")


def test_equal_documents_are_made_once() -> None:
    """A case gets the document that an earlier one had made from the same data."""
    doorway = Doorway(Counting())

    def make(name: str, *bases: bytes, mark: str = "01") -> Made:
        spec = DocumentSpec(actor="0a", fields={"name": name})
        return asyncio.run(doorway.make(spec, bases, mark))

    first = make("alpha")

    assert make("alpha") == first
    assert make("beta") != first
    assert make("alpha", b"base") != first
    assert make("alpha", mark="02") != first


def test_equal_payloads_of_one_type_are_read_once() -> None:
    """The heads of a payload that came before are known; another payload is read."""
    documents = Counting()
    doorway = Doorway(documents)

    def heads(payload: bytes) -> frozenset[str]:
        return asyncio.run(doorway.heads_of(FrameType.SNAPSHOT, payload))

    first = heads(b"one")
    calls = documents.calls

    assert heads(b"one") == first
    assert documents.calls == calls
    assert heads(b"two") != first
