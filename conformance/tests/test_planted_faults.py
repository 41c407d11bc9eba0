"""The suite is shown red: every fault planted in the bundled codec is found, its field named."""

import asyncio
import runpy
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from meshwire_conformance.catalogue import Case, load_catalogue
from meshwire_conformance.codec_part import run
from meshwire_conformance.parts import Attachment, Settings
from meshwire_conformance.verdicts import CaseResult, Verdict, exit_code
from meshwire_spec.numbers import KINDS

CODEC = Path(__file__).parent / "planted_codec.py"
FIELDS: dict[str, tuple[str, object]] = runpy.run_path(str(CODEC))["FIELDS"]

LIMITS = {
    "PAYLOAD_MAX": ("stream_frame", "payload.length"),
    "DOCUMENT_KEY_MAX": ("stream_frame", "key"),
    "FRAME_KEY_MAX": ("sync_entry", "key"),
    "COLLECTION_MAX": ("tombstone", "collection"),
    "DOCUMENT_ID_MAX": ("tombstone", "document_id"),
    "AUTHOR_MAX": ("tombstone", "deleted_by"),
    "REASON_MAX": ("tombstone", "reason"),
    "ENTRY_MIN": ("sync_batch", "entry_count"),
    "TOMBSTONE_ELEMENT_MIN": ("tombstone_batch", "tombstone_count"),
    "NEGENTROPY_PREFIX_MAX": ("negentropy_message", "prefix"),
    "NEGENTROPY_TIMESTAMP_MAX": ("negentropy_message", "timestamp"),
    "FORMATION_ID_MAX": ("formation_id", "formation_id"),
    "CHALLENGE_H2_MAX": ("formation_challenge_h2", "length"),
    "RESPONSE_H2_MIN": ("formation_response_h2", "length"),
    "RESPONSE_H2_MAX": ("formation_response_h2", "length"),
    "CALLSIGN_MAX": ("membership_certificate", "callsign"),
    "LAB_RECORD_MAX": ("lab_record", "body.length"),
    "CLOSE_REASON_MAX": ("lab_record", "reason"),
}
"""Each limit that a codec keeps, a kind that it limits, and the field that must be named."""


def judged(fault: str, kind: str) -> list[CaseResult]:
    """The suite run over one kind against the codec with this fault."""
    command = f"'{sys.executable}' '{CODEC}' {fault}"
    cases: Sequence[Case] = [case for case in load_catalogue().cases if case.kind == kind]
    target = Attachment("stdio", command, f"stdio:{command}")
    return asyncio.run(run(cases, target, Settings(), lambda _result: None))


def told(results: Sequence[CaseResult]) -> str:
    """Everything that the failures say, with the field of the case."""
    index = load_catalogue().by_id
    lines = []
    for result in results:
        if result.verdict is Verdict.FAIL:
            body = index[result.case].body
            lines += [getattr(body, "field", ""), *result.reasons, *result.sent]
    return "\n".join(lines)


@pytest.mark.parametrize("kind", KINDS)
def test_a_fault_in_every_kind_is_found(kind: str) -> None:
    """A field read and written wrongly alike fails, and the report names it."""
    results = judged(f"kind:{kind}", kind)
    field = FIELDS[kind][0].replace(".0", "[0]")

    assert exit_code(results) == 1
    assert field in told(results)


@pytest.mark.parametrize("step", ["+1", "-1"])
@pytest.mark.parametrize("limit", LIMITS)
def test_a_limit_that_is_off_by_one_is_found(limit: str, step: str) -> None:
    """Both directions: what is legal is refused, or what is not legal passes."""
    kind, field = LIMITS[limit]
    results = judged(f"limit:{limit}{step}", kind)

    assert exit_code(results) == 1
    assert field in told(results)
