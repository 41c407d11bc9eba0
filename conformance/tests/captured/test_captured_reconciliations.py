"""Recorded reconciliations of the deployed library, compared with the suite's own sides."""

import json
import tomllib
from collections import Counter
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from meshwire_conformance.catalogue.reconciliations import expand_items, load_cases
from meshwire_conformance.protocol.negentropy import Answer, Item, Reconciliation
from meshwire_conformance.protocol.negentropy_messages import Refused
from meshwire_spec.schemas.reconciliation import Items

HERE = Path(__file__).parent
DIFFERENCES = HERE / "reconciliations.toml"
ROLES = {"NegentropyServer": "server", "NegentropyClient": "client"}
PREFIX = "sha256:"
INIT = "NegentropyInit"
TRANSCRIPT = "NegentropyTranscript"
START_MS = 1_700_000_000_000
HELD = expand_items([Items(label="d", first=0, count=40, timestamp="1700000000", step="1")])
"""The items of both sides of the recorded verdicts."""


def records(name: str, *kinds: str) -> list[dict[str, Any]]:
    """Recorded lines of these kinds."""
    text = (HERE / name).read_text(encoding="utf-8")
    return [r for r in map(json.loads, text.splitlines()) if r["kind"] in kinds]


def item(timestamp: str, key: str) -> Item:
    """A recorded item."""
    return int(timestamp), sha256(key.encode()).digest()


@pytest.mark.parametrize("record", records("vectors.jsonl", INIT), ids=lambda r: r["name"])
def test_a_recorded_first_message_is_ours(record: Mapping[str, Any]) -> None:
    """The same items make the same first message."""
    inputs = record["inputs"]
    items = [item(timestamp, key) for timestamp, key in inputs["items"]]
    client = Reconciliation(items, inputs["frame_limit"], client=True)

    assert client.initiate().hex() == record["hex"]


def recorded_side(inputs: Mapping[str, Any], role: str) -> list[Item]:
    """Items of one side of a recorded run, by the rule that it states."""
    common, count = inputs[role]["common"], inputs[role]["n"]
    label = {"client": "a", "server": "b"}[role]
    start = START_MS if inputs["step"] else 0
    keys = [f"c:{n}" for n in range(common)] + [f"{label}:{n}" for n in range(common, count)]
    return [item(str(start + inputs["step"] * n), key) for n, key in enumerate(keys)]


@pytest.mark.parametrize("record", records("vectors.jsonl", TRANSCRIPT), ids=lambda r: r["name"])
def test_a_recorded_run_is_ours_and_a_vector(record: Mapping[str, Any]) -> None:
    """Every message is the recorded one, as many ids are found, and a vector holds the same."""
    inputs = record["inputs"]
    limit = inputs["frame_limit"]
    client = Reconciliation(recorded_side(inputs, "client"), limit, client=True)
    server = Reconciliation(recorded_side(inputs, "server"), limit, client=False)
    messages = [client.initiate()]
    have: list[bytes] = []
    need: list[bytes] = []
    for _ in range(inputs["rounds"]):
        reply = server.reconcile(messages[-1]).reply
        assert reply is not None
        answer = client.reconcile(reply)
        messages += [reply, *([] if answer.reply is None else [answer.reply])]
        have += answer.have
        need += answer.need
    texts = [message.hex() for message in messages]

    assert texts == inputs["messages"]
    assert (len(have), len(need)) == (inputs["have"], inputs["need"])
    assert texts in [list(case.body.messages) for case in load_cases()]  # type: ignore[attr-defined]


def recorded_answer(record: Mapping[str, Any]) -> tuple[Any, ...]:
    """The recorded answer of the library."""
    parsed = record["parsed"]
    if record["kind"] == "NegentropyServer":
        return parsed["reply_len"], parsed["reply_hex"]
    return parsed["next_len"], parsed["have"], parsed["need"]


def own_answer(record: Mapping[str, Any], answer: Answer) -> tuple[Any, ...]:
    """Our answer in the terms of the record."""
    size = None if answer.reply is None else len(answer.reply)
    if record["kind"] == "NegentropyClient":
        return size, len(answer.have), len(answer.need)
    assert answer.reply is not None
    text = answer.reply.hex()
    is_digest = str(record["parsed"]["reply_hex"]).startswith(PREFIX)
    return size, PREFIX + sha256(answer.reply).hexdigest() if is_digest else text


def test_every_recorded_verdict_agrees_or_is_listed() -> None:
    """If both answer, the answers are equal; refusals by one alone are in the table."""
    found: Counter[tuple[str, str, str]] = Counter()
    agreed = 0
    for record in records("verdicts.jsonl", *ROLES):
        role = ROLES[record["kind"]]
        side = Reconciliation(HELD, client=role == "client")
        try:
            answer = side.reconcile(bytes.fromhex(record["hex"]))
        except Refused as refused:
            if record["verdict"] == "ok":
                found[role, "ok", refused.reason] += 1
            else:
                agreed += 1
            continue
        if record["verdict"] != "ok":
            found[role, record["verdict"], "ok"] += 1
            continue
        agreed += 1

        assert own_answer(record, answer) == recorded_answer(record), record["case"]

    rows = tomllib.loads(DIFFERENCES.read_text(encoding="utf-8"))["difference"]
    listed = {(row["role"], row["deployed"], row["ours"]): row["count"] for row in rows}

    assert found == listed
    assert agreed == len(records("verdicts.jsonl", *ROLES)) - sum(listed.values())
