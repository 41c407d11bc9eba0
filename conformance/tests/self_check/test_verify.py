"""Two codecs compared: what counts as a disagreement, and which messages are sent."""

import asyncio
import random
import sys
from pathlib import Path

import pytest
from mutant_rows import read_rows

from meshwire_conformance.contracts import Attachment, Settings
from meshwire_conformance.errors import Incomplete
from meshwire_conformance.run.loading import load_catalogue
from meshwire_conformance.self_check.generated import bent, samples
from meshwire_conformance.self_check.verify import Question, disagreement, expected_answer, verify
from meshwire_spec.codec import decode, encode
from meshwire_spec.errors import Malformed
from meshwire_spec.numbers import KINDS
from mutants import mutant_of

PROGRAMS = Path(__file__).parents[1] / "programs"
HEARTBEAT = Question("a", "heartbeat", bytes.fromhex("010000018bcfe56801"))
SHORT = Question("b", "heartbeat", b"\x01\x00")


def attachment(program: str, mode: str) -> Attachment:
    """A codec program of these tests."""
    command = f"'{sys.executable}' '{PROGRAMS / program}' {mode}"
    return Attachment("stdio", command, f"stdio:{command}")


def test_equal_answers_agree() -> None:
    """The whole answer counts: value, refusal, reason, offset and field."""
    for question in (HEARTBEAT, SHORT):
        assert disagreement(question, expected_answer(question), expected_answer(question)) == ""


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        (HEARTBEAT, {"error": {"reason": "truncated"}}),
        (HEARTBEAT, {"result": {"value": {}, "refused": None}}),
        (SHORT, {"error": {"reason": "bad-marker"}}),
        (SHORT, {"error": {"reason": "truncated", "offset": 0}}),
        (SHORT, {"error": {"reason": "truncated", "field": "marker"}}),
        (SHORT, {"error": {"message": "no"}}),
        (SHORT, {"result": {}}),
    ],
)
def test_any_difference_is_a_disagreement(question: Question, answer: dict[str, object]) -> None:
    """One of the two codecs is wrong then, and both are ours."""
    assert disagreement(question, expected_answer(question), answer)


def test_offset_and_field_count_only_where_they_are_given() -> None:
    """They are optional in an answer."""
    answer = {"id": 1, "error": {"reason": "truncated"}}

    assert disagreement(SHORT, expected_answer(SHORT), answer) == ""


@pytest.mark.parametrize("kind", KINDS)
def test_made_up_messages_come_back(kind: str) -> None:
    """Each sample that decodes encodes to itself, the bent ones included."""
    whole = 0
    for data in samples(kind, 10, random.Random(kind)):
        try:
            message = decode(kind, data)
        except Malformed:
            continue
        whole += 1

        assert encode(message) == data

    assert whole >= 10


def test_samples_are_the_same_for_a_seed() -> None:
    """A disagreement can be seen again."""
    one, two = (list(samples("sync_batch", 5, random.Random(7))) for _ in range(2))

    assert one == two


def test_bent_bytes_differ() -> None:
    """Bending changes something, mostly; nothing at all is never asked twice."""
    source = random.Random(1)
    changed = [bent(HEARTBEAT.data, source) != HEARTBEAT.data for _ in range(100)]

    assert sum(changed) > 90
    assert len(bent(b"", source)) == 1


@pytest.mark.process
def test_a_wrong_codec_is_found_out(tmp_path: Path) -> None:
    """A field twisted in both directions disagrees on vectors and on made-up messages."""
    cases = [case for case in load_catalogue().cases if case.kind == "heartbeat"]
    command = f"{mutant_of('heartbeat-order', read_rows()).command(tmp_path / 'record')} codec"
    target = Attachment("stdio", command, f"stdio:{command}")
    count, found = asyncio.run(verify(cases, target, Settings()))

    assert count > len(cases)
    assert any("sent_at" in line and line.startswith("MW-") for line in found)
    assert any("sent_at" in line and "sample" in line for line in found)


@pytest.mark.process
def test_a_codec_that_gives_out_is_incomplete() -> None:
    """No verdict on half the questions."""
    with pytest.raises(Incomplete, match="stopped answering"):
        asyncio.run(verify([], attachment("codec_peer.py", "goes"), Settings()))
