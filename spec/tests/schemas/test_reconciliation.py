"""Reconciliation vectors: what struct and published schema let through, and what neither does."""

from typing import Any

import msgspec
import pytest

from meshwire_spec.schemas.reconciliation import ReconciliationFile, ReconciliationRun
from meshwire_spec.schemas.validation import faults

ONE = {"timestamp": "7", "id": "ab" * 32}
SEVERAL = {"timestamp": "7", "label": "x", "first": 0, "count": 3, "step": "2", "group": 2}
POSITIVE: dict[str, Any] = {
    "id": "MW-2001",
    "title": "two sets that differ",
    "rules": ["NG-001"],
    "client": {"frame_limit": 0, "items": [ONE, SEVERAL]},
    "server": {"frame_limit": 4096, "items": [{**SEVERAL, "prefix": "0a0b"}]},
    "messages": ["61", "6100"],
    "found": [[1, 3]],
    "have": ["ab" * 32],
    "need": {"count": 3, "sha256": "cd" * 32},
    "result": {"wire": "valid", "strict": "valid"},
    "source": "hand",
}
NEGATIVE: dict[str, Any] = {
    **{name: value for name, value in POSITIVE.items() if name not in ("found", "have", "need")},
    "bad": "62",
    "field": "version",
    "result": {"wire": "any", "strict": "reject"},
    "reasons": ["bad-version"],
    "hunts": "a version taken for another",
    "harm": "both sides go astray",
    "control": "MW-2002",
    "crate": "taken",
}


def without(run: dict[str, Any], name: str) -> dict[str, Any]:
    """A run that lacks this member."""
    return {other: value for other, value in run.items() if other != name}


def file_of(run: dict[str, Any]) -> dict[str, Any]:
    """A file with this one run."""
    return {"part": "reconciliation", "runs": [run]}


def with_item(item: dict[str, Any]) -> dict[str, Any]:
    """The positive run whose client has this item."""
    return {**POSITIVE, "client": {"frame_limit": 0, "items": [item]}}


@pytest.mark.parametrize("run", [POSITIVE, NEGATIVE, {**POSITIVE, "only": "server"}])
def test_a_run_is_read_and_nothing_of_it_is_lost(run: dict[str, Any]) -> None:
    """Schema and struct let it through, and the struct has what the file has and no more."""
    file = msgspec.convert(file_of(run), ReconciliationFile)

    assert list(faults("reconciliation", file_of(run))) == []
    assert msgspec.json.decode(msgspec.json.encode(file)) == file_of(run)


@pytest.mark.parametrize(
    "run",
    [
        *(without(POSITIVE, name) for name in POSITIVE),
        *(without(NEGATIVE, name) for name in NEGATIVE),
        *({**NEGATIVE, name: POSITIVE[name]} for name in ("found", "have", "need")),
        *({**POSITIVE, name: NEGATIVE[name]} for name in ("field", "reasons", "control", "crate")),
        {**POSITIVE, "result": {"wire": "valid", "strict": "any"}},
        {**POSITIVE, "messages": ["61", "610"]},
        {**POSITIVE, "messages": ["61", "610G"]},
        {**NEGATIVE, "bad": "6"},
        {**POSITIVE, "only": "both"},
        {**POSITIVE, "found": [[1]]},
        {**POSITIVE, "have": ["ab"]},
        {**POSITIVE, "need": {"count": 0, "sha256": "cd" * 32}},
        {**POSITIVE, "server": {"frame_limit": 4095, "items": []}},
        {**POSITIVE, "server": {"frame_limit": 1, "items": []}},
        with_item({**ONE, "label": "x"}),
        with_item({**ONE, "group": 2}),
        with_item({"timestamp": "7"}),
        with_item({**SEVERAL, "id": "ab" * 32}),
        with_item({**SEVERAL, "group": 1}),
        with_item(without(SEVERAL, "step")),
        with_item({**SEVERAL, "timestamp": "07"}),
        with_item({**SEVERAL, "prefix": "ab" * 32}),
    ],
)
def test_a_wrong_run_is_refused(run: dict[str, Any]) -> None:
    """By the schema and by the struct alike."""
    assert list(faults("reconciliation", file_of(run)))
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(file_of(run), ReconciliationFile)


def test_the_side_that_gets_the_bad_message_is_the_next_to_be_spoken_to() -> None:
    """The client speaks first, so after two messages the server is."""
    run = msgspec.convert(NEGATIVE, ReconciliationRun)
    after_one = msgspec.structs.replace(run, messages=["61"])

    assert (run.bad_role, after_one.bad_role) == ("server", "client")
    assert run.side("client").frame_limit == 0
