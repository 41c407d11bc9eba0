"""The vector tools: canonical files, ids that never come back, mutations of one field alone."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import make_vectors
import vector_files
from meshwire_conformance.errors import SuiteFault
from meshwire_conformance.self_check.field_table import CLASSES as ROLES
from meshwire_conformance.self_check.field_table import FieldRow, fields_of, generic
from meshwire_spec.codec import decode
from meshwire_spec.errors import Malformed
from meshwire_spec.numbers import KINDS
from meshwire_spec.schemas.vectors import expand
from vector_files import Ledger, canonical, shorten
from vector_mutations import CLASSES, MUTATORS, base_of, cut, places, splice
from vector_rules import rules_for, wire_result

CHALLENGE = bytes.fromhex("29000000" + "0700616c7068612d37" + "ab" * 32)
BATCH = bytes.fromhex(
    "0000000200000019" + "00" * 25 + "00000020" + "000174" + "00026431" + "00" * 16
    + "00016e" + "0003776879" + "02"
)  # fmt: skip


def row(kind: str, path: str) -> FieldRow:
    """One field of the table."""
    return next(found for found in fields_of(kind) if found.path == path)


def reason_of(kind: str, data: bytes) -> tuple[str, str]:
    """Reason and field for which bytes are refused."""
    with pytest.raises(Malformed) as caught:
        decode(kind, data)
    return caught.value.reason, caught.value.field


def test_an_id_is_given_once() -> None:
    """The same key keeps its id; a new key gets the next, also after one fell out of use."""
    ledger = Ledger({"MW-1001": "a", "MW-1007": "withdrawn"})

    assert [ledger.id_of("a"), ledger.id_of("b"), ledger.id_of("b")] == [
        "MW-1001",
        "MW-1008",
        "MW-1008",
    ]


def test_ids_of_socket_cases_are_noted_and_never_given() -> None:
    """They count in a range of their own."""
    ledger = Ledger({"MW-1001": "a"})
    ledger.note("MW-1002", "a socket case")
    ledger.note("MW-5001", "another")

    assert ledger.id_of("b") == "MW-1003"


def test_a_title_claims_no_result() -> None:
    """It is printed beside the verdict: "a key that is refused: accepted" would contradict it."""
    ledger = Ledger({})
    case = next(iter(make_vectors.socket_cases()))
    vectors = {"kind": "heartbeat", "title": "a marker of 2 is refused", "rules": ["LV-002"]}
    files = {Path("heartbeat.json"): {"part": "liveness", "vectors": [vectors]}}

    with pytest.raises(make_vectors.Disagreement, match='claims "are ignored"'):
        make_vectors.note_ids(ledger, [replace(case, title="bytes after it are ignored")])
    assert 'claims "is refused"' in next(vector_files.written_faults(files))
    assert not vector_files.title_fault("a frame that is refused must be the last one")


def test_canonical_text_is_stable() -> None:
    """Members in their order, vectors by id; reading and writing again changes nothing."""
    vectors = [{"kind": "x", "id": "MW-1002"}, {"title": "t", "id": "MW-1001"}]
    text = canonical("frames", vectors)
    document = json.loads(text)

    assert [vector["id"] for vector in document["vectors"]] == ["MW-1001", "MW-1002"]
    assert canonical("frames", document["vectors"]) == text


@pytest.mark.parametrize(
    "text", ["ab" * 400, "00" + "abc" * 500 + "ff", "x" * 513, "ab12" * 200 + "a", "0f" * 100]
)
def test_shortened_texts_expand_to_themselves(text: str) -> None:
    """A repetition is only a shorter way to write the same."""
    node = shorten({"value": [text]})

    assert expand(node) == {"value": [text]}
    assert len(json.dumps(node)) <= len(text) + 20


def test_every_class_is_stated_and_can_be_made() -> None:
    """Each class that a role asks for has an expectation and a mutator."""
    asked = {fault for faults in ROLES.values() for fault in faults}

    assert asked == set(CLASSES) == set(MUTATORS)


@pytest.mark.parametrize("kind", KINDS)
def test_every_block_of_the_schema_has_a_role(kind: str) -> None:
    """A new kind of block in a layout cannot slip past the table."""
    assert all(found.role in ROLES for found in fields_of(kind))


def test_a_cut_inside_a_nested_message_mends_the_length_around_it() -> None:
    """The outer length fits, so that the inner field is what is missing."""
    base = base_of("formation_challenge_h2", CHALLENGE)

    assert reason_of("formation_challenge_h2", cut(base, 20)) == ("truncated", "nonce")


def test_a_splice_mends_every_length_around_it() -> None:
    """A byte more in a text is a byte more in its own length and in that of its element."""
    base = base_of("tombstone_batch", BATCH)
    (_, place) = places(base, row("tombstone_batch", "tombstones[].collection"))
    data = splice(base, place.start, place.end, b"tt", own=place.length)

    assert decode("tombstone_batch", data).fields["tombstones"][1]["collection"] == "tt"


def test_paths_lose_their_indices() -> None:
    """Coverage counts fields, not elements."""
    assert generic("batch.entries[12].key") == "batch.entries[].key"


def test_rules_follow_kind_reason_and_place() -> None:
    """The rule that refuses for this reason, at this field."""
    (rule,) = rules_for("heartbeat", "marker", "far-value", rejected=True, reasons=["bad-marker"])

    assert rule.id == "LV-002"
    assert rules_for("heartbeat", "", "", rejected=True, reasons=["bad-direction"]) == []


def test_the_level_of_the_rule_decides_what_wire_demands() -> None:
    """At level wire a refusal by a strict rule is optional."""
    strict = rules_for("stream_frame", "", "trailing", rejected=True, reasons=["trailing-bytes"])
    wire = rules_for("stream_frame", "key", "bad-utf8", rejected=True, reasons=["bad-utf8"])

    assert wire_result("reject", strict) == "any"
    assert wire_result("reject", wire) == "reject"


def test_a_vector_that_the_schema_does_not_read_so_is_refused() -> None:
    """Neither a wrong value nor a wrong reason gets into the files."""
    value = {"marker": 1, "sent_at": "1700000000001", "extra": ""}
    right: dict[str, Any] = {
        "id": "MW-1",
        "title": "t",
        "kind": "heartbeat",
        "hex": "010000018bcfe56801",
        "value": value,
        "result": {"wire": "valid", "strict": "valid"},
    }
    assert make_vectors.agree(right) == {}
    wrong = (
        {**right, "value": {**value, "sent_at": "2"}},
        {**right, "hex": "02"},
        {**right, "result": {"wire": "any", "strict": "reject"}, "reasons": ["truncated"]},
    )
    for vector in wrong:
        with pytest.raises(make_vectors.Disagreement):
            make_vectors.agree(vector)


def test_a_negative_that_decodes_gets_its_value() -> None:
    """A suite can then tell a value that `accept` refuses from one that cannot exist (CH-011)."""
    negative: dict[str, Any] = {
        "id": "MW-1",
        "title": "t",
        "kind": "stream_frame",
        "field": "key",
        "hex": "000361626300000000" + "00",
        "at": [2, 5],
        "result": {"wire": "any", "strict": "reject"},
        "reasons": ["bad-key"],
    }
    value = {"key": "abc", "type": 0, "payload": ""}

    assert make_vectors.agree(negative) == {"value": value}
    assert make_vectors.agree({**negative, "value": value}) == {}
    with pytest.raises(make_vectors.Disagreement, match="do not decode"):
        make_vectors.agree(
            {**negative, "hex": "00", "at": [0, 1], "reasons": ["truncated"], "value": None}
        )


def test_a_place_behind_which_the_schema_fails_is_refused() -> None:
    """`at` has to contain the byte at which the schema fails, if it fails in another field."""
    wrong: dict[str, Any] = {
        "id": "MW-1",
        "title": "t",
        "kind": "heartbeat",
        "field": "sent_at",
        "hex": "020000018bcfe56801",
        "at": [1, 9],
        "result": {"wire": "reject", "strict": "reject"},
        "reasons": ["bad-marker"],
    }
    make_vectors.agree({**wrong, "field": "marker", "at": [0, 1]})
    with pytest.raises(make_vectors.Disagreement, match="fails at 0, in marker"):
        make_vectors.agree(wrong)


def test_the_committed_files_are_up_to_date() -> None:
    """Derived vectors are those that the tool derives from the positives today."""
    ledger = vector_files.read_ledger()
    texts = dict(make_vectors.complete(vector_files.read_files(), ledger))

    assert [path.name for path, text in texts.items() if path.read_text() != text] == []
    assert json.loads(ledger.text()) == json.loads(vector_files.LEDGER.read_text())


def test_unfinished_vector_is_named_in_one_line() -> None:
    """A stub that is filled in by half has its file, its title or id, and its members named."""
    half = {"kind": "heartbeat", "title": "a half", "rules": ["LV-002"], "hex": "TODO"}
    files = {Path("heartbeat.json"): {"part": "liveness", "vectors": [half]}}

    found = list(vector_files.written_faults(files))

    assert found[0] == "heartbeat.json: LV-002: TODO stands in hex"
    assert all(line.startswith("heartbeat.json: a half") for line in found[1:])
    assert "\n" not in "".join(found)


def test_fault_of_a_transcript_names_its_id() -> None:
    """The index of a message of the decoder becomes the id that the file has there."""
    fault = SuiteFault("heartbeats.transcript.json: odd - at `$.transcripts[1].steps[0]`")

    assert "`$.MW-5552.steps[0]`" in vector_files.fault_text(fault)
