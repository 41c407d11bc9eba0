"""Tests of the transcript format: what the loader lets through, and what it calls a suite fault."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import format_transcripts
from meshwire_conformance.catalogue.transcripts import (
    case_of,
    digest_form,
    load_cases,
    needs_of,
    read_file,
    transcript_files,
)
from meshwire_conformance.errors import SuiteFault
from meshwire_spec.schemas import steps
from meshwire_spec.schemas.steps import KINDS, VERBS
from meshwire_spec.schemas.transcripts import Transcript
from meshwire_spec.schemas.validation import faults

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

    assert [type(step) for step in found.steps] == [steps.Send, steps.Barrier, steps.Read]
    assert found.documents["base"].fields == {"a": 1}


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"colour": "red"}, "unknown field"),
        ({"id": "1"}, "MW-"),
        ({"rules": []}, "without a rule"),
        ({"steps": [{}]}, "0 verbs"),
        ({"steps": [{"barrier": True, "finish": True}]}, "MW-9001, step 1: 2 verbs"),
        ({"steps": [{"verb": "barrier", "barrier": True}]}, "verbs"),
        ({"steps": [{"barrier": True, "content": {}}]}, "unknown field"),
        ({"steps": [7]}, "object"),
        ({"steps": 7}, "array"),
        ({"documents": 7}, "object"),
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
    path = written(tmp_path, **changes)

    with pytest.raises(SuiteFault, match=rf"^one\.transcript\.json: .*{complaint}"):
        read_file(path)
    # That a name is the one of a document is more than a schema can say.
    assert complaint == "no document" or list(faults("transcript", json.loads(path.read_text())))


def test_needs_name_what_a_target_must_offer(tmp_path: Path) -> None:
    """Dialect, binding, deadlines of the target, documents."""
    waiting = [{"raw": ["00"]}, {**REFUSAL, "within": "frame_stall_s"}]
    found = transcript(tmp_path, steps=waiting, control="MW-9001", dialect="H1", binding="tcp")

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


def test_every_file_fits_the_published_schema() -> None:
    """Another suite that reads the files by the schema alone can read all of them."""
    found = [
        fault
        for path in transcript_files()
        for fault in faults("transcript", json.loads(path.read_text("utf-8")))
    ]

    assert found == []


def test_the_digest_of_a_step_is_over_every_member_of_the_format(tmp_path: Path) -> None:
    """The flat form in which the digests were first made, whatever the structs are now."""
    form = digest_form(transcript(tmp_path, steps=[{"barrier": True, "stream": "x"}]))
    (step,) = form.pop("steps")

    assert set(VERBS) <= step.keys()
    assert {name: value for name, value in step.items() if name not in VERBS or value} == {
        "overrun": None,
        "barrier": True,
        "on": "A",
        "stream": "x",
        "options": {
            "handshake": True,
            **dict.fromkeys(("alpn", "alpn_hex", "preamble", "magic", "version", "same_as")),
        },
        "content": None,
        "document": "",
        "messages": 8,
        "types": [],
        "within": "",
        "once": False,
        "next": False,
        "level": "wire",
        "note": "",
    }
    assert form["control"] is None
    assert form["documents"]["base"]["edits"] == []


def test_the_digest_of_a_transcript_is_the_one_it_was_first_given(tmp_path: Path) -> None:
    """A change of the structs is no change of a case."""
    digest = case_of(transcript(tmp_path), "documents").digest

    assert digest == "9def919b64edff78c323b805bdc6c70d085fe98584c399839fb8801b34c7b737"


def test_the_message_of_a_read_is_in_its_digest(tmp_path: Path) -> None:
    """A later member counts where it is used, and changes nothing where it is not."""
    digests = [
        case_of(transcript(tmp_path, steps=[{"read": "$key", **used}]), "documents").digest
        for used in ({}, {"hex": "42"}, {"hex": "43"})
    ]

    assert len(set(digests)) == len(digests)


def test_every_file_has_its_one_form() -> None:
    """The formatting tool would change nothing."""
    assert format_transcripts.main(["--check"]) == 0


def test_every_verb_is_used() -> None:
    """A verb that no transcript uses would be shown by nothing."""
    used = {
        type(step)
        for case in load_cases()
        if isinstance(case.body, Transcript)
        for step in case.body.steps
    }

    assert used == set(KINDS)


def test_every_control_is_a_positive_transcript() -> None:
    """A negative stands beside something that is to be accepted."""
    bodies = {case.id: case.body for case in load_cases()}
    controls = {case.control for case in load_cases() if case.control is not None}

    assert [name for name in sorted(controls) if bodies[name].negative] == []  # type: ignore[attr-defined]


def test_what_writes_records_or_preambles_needs_the_lab_binding() -> None:
    """Over another binding such a case would be a fault of the suite, which ends the whole run."""
    unsaid = [
        case.id
        for case in load_cases()
        if isinstance(case.body, Transcript)
        and any(map(_is_of_the_lab, case.body.steps))
        and not {"binding:tcp", "dials"} & set(case.needs)
    ]

    assert unsaid == []


def _is_of_the_lab(step: steps.Step) -> bool:
    """Return True if a step writes a record, or a preamble of its own."""
    if isinstance(step, steps.Connect):
        said = step.options
        return any((said.preamble, said.alpn, said.alpn_hex, said.magic, said.version))
    return isinstance(step, steps.Record | steps.Ping)
