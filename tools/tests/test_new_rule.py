"""The scaffold of a rule: its place, its id, and that nothing is green before it is done."""

import json
from pathlib import Path

import pytest

import new_rule
import pages
from check_citations import uncited
from meshwire_spec.numbers import KINDS
from meshwire_spec.schemas.transcripts import decode_file
from new_rule import BadRule, Draft
from repository import Repository
from tracing import rule_problems
from vector_files import TODO

PAGE = """# Frames

**FR-001**{#FR-001} (wire) A sender MUST send. <!-- seen: codec; kinds: stream_frame -->

> **Deployed.** They do.
> Always.

**FR-002**{#FR-002} (withdrawn) It was once.

Prose behind the rules.
"""
REFUSES = Draft(
    "FR",
    "strict",
    "A receiver MUST refuse a key that begins with a slash.",
    ("codec", "socket"),
    ("stream_frame", "sync_entry"),
    "bad-key",
)


@pytest.fixture
def spec(tmp_path: Path) -> Path:
    """Return a folder with one page."""
    (tmp_path / "03-frames.md").write_text(PAGE)
    return tmp_path


@pytest.fixture
def vectors(tmp_path: Path) -> Path:
    """Return a folder of vectors with one transcript and one id given beyond it."""
    folder = tmp_path / "vectors"
    (folder / "frames").mkdir(parents=True)
    content = {"transcripts": [{"id": "MW-5201"}, {"id": "MW-5202"}]}
    (folder / "frames" / "a.transcript.json").write_text(json.dumps(content))
    (folder / "ids.json").write_text(json.dumps({"MW-5203": "given once, and gone"}))
    return folder


def test_rule_is_put_behind_the_last_one(spec: Path) -> None:
    """It has the first id above all that were ever given, and is a rule in good form."""
    rule = new_rule.add(spec, REFUSES, None)
    text = (spec / "03-frames.md").read_text()

    assert rule.id == "FR-003"
    assert f"once.\n\n{REFUSES.line('FR-003')}\n\nProse" in text
    assert pages.page_problems("03-frames.md", text) == []
    assert pages.all_rules(spec)[-1] == rule


def test_rule_is_put_behind_a_rule_and_its_note(spec: Path) -> None:
    """--after counts the note as part of the rule."""
    new_rule.add(spec, REFUSES, "FR-001")

    assert (
        f"> Always.\n\n{REFUSES.line('FR-003')}\n\n**FR-002**"
        in (spec / "03-frames.md").read_text()
    )


def test_rule_is_put_into_its_section(spec: Path) -> None:
    """--under finds the last rule of a section, or the heading of one without rules."""
    path = spec / "03-frames.md"
    path.write_text(PAGE + "\n## Empty {#empty}\n\nProse.\n\n## Full {#full}\n\nMore.\n")
    new_rule.add(spec, REFUSES, under="empty")
    new_rule.add(spec, REFUSES, under="empty")
    lines = [line.split("{#")[0] for line in path.read_text().splitlines() if line]

    assert lines[-6:-1] == ["## Empty ", "**FR-003**", "**FR-004**", "Prose.", "## Full "]
    with pytest.raises(BadRule):
        new_rule.add(spec, REFUSES, under="nowhere")


BAD = [
    (Draft("FR", "wire", "A receiver refuses.", ("socket",)), None),
    (Draft("FR", "wire", "It MUST. It MAY.", ("socket",)), None),
    (Draft("FR", "wire", "A receiver MUST refuse", ("socket",)), None),
    (Draft("FR", "wire", "A receiver\nMUST refuse.", ("socket",)), None),
    (Draft("FR", "wire", "A receiver MUST refuse.", ("telepathy",)), None),
    (Draft("FR", "wire", "A receiver MUST refuse.", ()), None),
    (Draft("FR", "wire", "A receiver MUST refuse.", ("codec",), ("nokind",)), None),
    (Draft("FR", "wire", "A receiver MUST refuse.", ("codec",), (), "nosuch"), None),
    (Draft("ZZ", "wire", "A receiver MUST refuse.", ("socket",)), None),
    (Draft("FR", "wire", "A receiver MUST refuse.", ("socket",)), "FR-009"),
]


@pytest.mark.parametrize(("draft", "after"), BAD)
def test_bad_rule_is_not_written(spec: Path, draft: Draft, after: str | None) -> None:
    """A sentence that breaks the form, an unknown prefix or place leaves the page alone."""
    with pytest.raises(BadRule):
        new_rule.add(spec, draft, after)

    assert (spec / "03-frames.md").read_text() == PAGE


def test_what_is_left_is_red(spec: Path) -> None:
    """Until it has its cases and its comment, the rule is a problem of both checkers."""
    rule = new_rule.add(spec, REFUSES, None)

    assert [line.split(":")[0] for line in rule_problems([rule], [])] == [
        "FR-003 (03-frames.md) has no codec case",
        "FR-003 (03-frames.md) has no socket case",
    ]
    assert len(list(uncited(Repository(spec), [rule]))) == 1


def test_stubs_name_the_rule_and_free_ids(spec: Path, vectors: Path) -> None:
    """A vector for each kind, one transcript with an id never given, the comment of the code."""
    rule = new_rule.add(spec, REFUSES, None)
    said = list(new_rule.left_to_do(rule, vectors))

    assert [text.split(":")[0].split()[-1] for text in said[:3]] == [
        "vectors/frames/stream_frame.json",
        "vectors/frames/sync_entry.json",
        "vectors/frames/NAME.transcript.json",
    ]
    assert '"id": "MW-5204"' in said[2]
    assert "`# FR-003`" in said[3]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("reason", ["", "bad-key"])
def test_stub_of_a_transcript_has_the_form(spec: Path, kind: str, reason: str) -> None:
    """For each kind it can be read as it is, but for the id of its control."""
    draft = Draft("FR", "wire", "A receiver MUST do it.", ("socket",), (kind,), reason)
    stub = new_rule.transcript_stub(new_rule.add(spec, draft, None), "MW-5204")
    text = json.dumps({"part": "frames", "about": "", "transcripts": [stub]})

    (read,) = decode_file(text.replace("MW-TODO", "MW-5201").encode()).transcripts

    assert TODO in read.title


def test_stub_is_no_vector_yet(spec: Path) -> None:
    """A placeholder is never accepted as bytes."""
    rule = new_rule.add(spec, REFUSES, None)

    with pytest.raises(ValueError, match="non-hexadecimal"):
        bytes.fromhex(new_rule.vector_stub(rule, "stream_frame")["hex"])
