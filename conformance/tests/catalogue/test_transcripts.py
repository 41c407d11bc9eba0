"""Tests of the transcript format: what the loader lets through, and what it calls a suite fault."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

import format_transcripts
from meshwire_conformance.catalogue.transcripts import (
    VERBS,
    Transcript,
    load_cases,
    needs_of,
    read_file,
    schema_text,
    transcript_files,
)
from meshwire_conformance.errors import SuiteFault

GOOD: dict[str, Any] = {
    "id": "MW-9001",
    "title": "a snapshot is stored",
    "rules": ["DC-020"],
    "let": {"key": "tracks:$case"},
    "documents": {"base": {"actor": "01", "fields": {"a": 1}}},
    "steps": [
        {"send": {"type": "snapshot", "document": "base"}},
        {"barrier": True},
        {"read": "$key", "content": {"document": "base"}},
    ],
}
REFUSAL = {"refused": "bad-key"}


def written(folder: Path, **changes: object) -> Path:
    """A file with one transcript, some of whose members were changed."""
    path = folder / "one.transcript.json"
    content = {"part": "documents", "about": "-", "transcripts": [{**GOOD, **changes}]}
    path.write_text(json.dumps(content))
    return path


def transcript(folder: Path, **changes: object) -> Transcript:
    """The transcript as it is read."""
    return read_file(written(folder, **changes)).transcripts[0]


def test_a_good_transcript_is_read(tmp_path: Path) -> None:
    """Verbs, options and documents arrive as they were written."""
    found = transcript(tmp_path)

    assert [step.verb for step in found.steps] == ["send", "barrier", "read"]
    assert found.documents["base"].fields == {"a": 1}


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"colour": "red"}, "unknown field"),
        ({"id": "1"}, "MW-"),
        ({"rules": []}, "without a rule"),
        ({"steps": [{}]}, "0 verbs"),
        ({"steps": [{"barrier": True, "finish": True}]}, "2 verbs"),
        ({"steps": [{"send": {"type": "snapshot", "document": "nobody"}}]}, "no document"),
        ({"steps": [{"read": "$key", "content": {"documents": ["nobody"]}}]}, "no document"),
        ({"steps": [REFUSAL]}, "positive control"),
        ({"steps": [{"raw": ["0g"]}, REFUSAL]}, "positive control"),
        ({"steps": [{"ping": "0g"}]}, "regex"),
        ({"isolation": "planet"}, "planet"),
    ],
)
def test_a_wrong_transcript_is_a_fault_of_the_suite(
    tmp_path: Path, changes: dict[str, object], complaint: str
) -> None:
    """The loader says which file and what is wrong; nothing is skipped."""
    with pytest.raises(SuiteFault, match=complaint):
        transcript(tmp_path, **changes)


def test_needs_name_what_a_target_must_offer(tmp_path: Path) -> None:
    """Dialect, binding, deadlines of the target, documents."""
    steps = [{"raw": ["00"]}, {**REFUSAL, "within": "frame_stall_s"}]
    found = transcript(tmp_path, steps=steps, control="MW-9001", dialect="H1", binding="tcp")

    assert needs_of(found) == (
        "dialect:H1",
        "binding:tcp",
        "deadline:frame_stall_s",
        "documents",
    )


def test_a_transcript_that_asks_for_a_refusal_is_negative(tmp_path: Path) -> None:
    """Such a case ends with a liveness probe."""
    negative = transcript(tmp_path, steps=[REFUSAL], control="MW-9001")

    assert (negative.negative, transcript(tmp_path).negative) == (True, False)


def test_the_published_schema_is_the_one_of_the_types() -> None:
    """The frozen file is what the loader's types say, and what all files keep."""
    schema = json.loads(schema_text())

    assert format_transcripts.SCHEMA.read_text("utf-8") == schema_text()
    for path in transcript_files():
        Draft202012Validator(schema).validate(json.loads(path.read_text("utf-8")))


def test_every_file_has_its_one_form() -> None:
    """The formatting tool would change nothing."""
    assert format_transcripts.main(["--check"]) == 0


def test_every_verb_is_used() -> None:
    """A verb that no transcript uses would be shown by nothing."""
    used = {
        step.verb
        for case in load_cases()
        if isinstance(case.body, Transcript)
        for step in case.body.steps
    }

    assert used == set(VERBS)


def test_every_control_is_a_positive_transcript() -> None:
    """A negative stands beside something that is to be accepted."""
    bodies = {case.id: case.body for case in load_cases()}
    controls = {case.control for case in load_cases() if case.control is not None}

    assert [name for name in sorted(controls) if bodies[name].negative] == []  # type: ignore[attr-defined]
