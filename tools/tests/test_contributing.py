"""CONTRIBUTING quotes the rule in its places word for word, and its example works."""

import json
import re
import shlex
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

import make_vectors
import new_rule
from meshwire_spec import acceptance
from meshwire_spec.schemas.transcripts import decode_file
from pages import PageRule, page_problems
from tracing import case_problems, data_cases, rule_problems
from vector_files import read_files, written_faults

ROOT = Path(__file__).resolve().parents[2]
COMMAND = re.search(
    r"^python tools/new_rule\.py (?P<arguments>(?:.*\\\n)*.*)$",
    (ROOT / "CONTRIBUTING.md").read_text(),
    re.MULTILINE,
)
assert COMMAND is not None
ARGUMENTS = shlex.split(COMMAND["arguments"].replace("\\\n", " "))
SECTION = re.search(
    r"## One rule, from its sentence to green\n(?P<text>.*?)\nTo start one",
    (ROOT / "CONTRIBUTING.md").read_text(),
    re.DOTALL,
)
assert SECTION is not None
TEXT = SECTION["text"]
CITED = [
    (ROOT / name).read_text()
    for name in dict.fromkeys(re.findall(r"`((?:spec|reference|vectors)/[\w./-]+\.\w+)`", TEXT))
]


@pytest.fixture
def rule(tmp_path: Path) -> PageRule:
    """Return the rule of the command, put on its page in a copy of the pages."""
    shutil.copytree(ROOT / "spec", tmp_path / "spec", ignore=shutil.ignore_patterns("meshwire_*"))
    options = new_rule.parser().parse_args(ARGUMENTS)
    return new_rule.add(tmp_path / "spec", new_rule.draft_of(options), options.after)


def filled(rule: PageRule) -> dict[str, Any]:
    """Return the stub of the vector with everything filled in."""
    positive = next(
        vector
        for vector in json.loads((ROOT / "vectors/tombstones/tombstone.json").read_text())[
            "vectors"
        ]
        if vector["result"]["strict"] == "valid" and vector.get("value", {}).get("collection")
    )
    name = positive["value"]["collection"].encode()
    data = bytes.fromhex(positive["hex"]).replace(
        len(name).to_bytes(2) + name, len(b"tombstones").to_bytes(2) + b"tombstones", 1
    )
    return {
        **new_rule.vector_stub(rule, "tombstone"),
        "title": "a tombstone of the collection of tombstones",
        "field": "collection",
        "fault": "bad-key-reserved",
        "hex": data.hex(),
        "at": [2, 2 + len(b"tombstones")],
        "hunts": "the collection is not looked at",
        "harm": "the key of its frame means two things",
        "control": positive["id"],
    }


def test_example_begins_red(rule: PageRule, tmp_path: Path) -> None:
    """The sentence keeps the form of its page; stubs that are not filled in count as nothing."""
    text = (tmp_path / "spec" / rule.page).read_text()
    stub = {**new_rule.transcript_stub(rule, "MW-9999"), "control": "MW-5401"}
    (tmp_path / "vectors").mkdir()
    file = {"part": "tombstones", "about": "x", "transcripts": [stub]}
    (tmp_path / "vectors" / "a.transcript.json").write_text(json.dumps(file))
    cases = data_cases(tmp_path / "vectors")
    vectors = {Path("tombstone.json"): {"part": "x", "vectors": [new_rule.vector_stub(rule, "x")]}}

    assert page_problems(rule.page, text) == []
    assert len(decode_file(json.dumps(file).encode()).transcripts) == 1
    assert len(rule_problems([rule], cases)) == 2
    assert case_problems([rule], cases) == [
        "MW-9999 (vectors/a.transcript.json) is not finished: TODO stands in it"
    ]
    assert any("TODO stands in title, field" in fault for fault in written_faults(vectors))


def test_example_can_become_green(rule: PageRule, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the rule the filled vector disagrees; with it this one and all others agree."""
    vector = {"id": "MW-9999", **filled(rule)}
    files = make_vectors.by_hand(read_files())
    known = [found for file in files.values() for found in file["vectors"]]
    accept = acceptance.ACCEPTORS["tombstone"]

    def refuse(value: Mapping[str, Any]) -> str | None:
        return "bad-key" if value["collection"] == "tombstones" else accept(value)

    assert list(written_faults({Path("x.json"): {"part": "tombstones", "vectors": [vector]}})) == []
    with pytest.raises(make_vectors.Disagreement, match="MW-9999"):
        make_vectors.agree(vector)
    monkeypatch.setitem(acceptance.ACCEPTORS, "tombstone", refuse)
    for one in [vector, *known]:
        make_vectors.agree(one)


def quotes(language: str) -> list[str]:
    """Return the fenced blocks of a language."""
    return re.findall(rf"```{language}\n(.*?)```", TEXT, re.DOTALL)


def test_quoted_lines_are_in_the_cited_files() -> None:
    """Each line of page, schema, transcript and code is in one of the files named beside it."""
    blocks = [*quotes("markdown"), *quotes("text"), quotes("json")[1]]
    lines = [line.strip() for block in blocks for line in block.splitlines() if line.strip()]

    assert len(lines) > 5
    assert [line for line in lines if not any(line in text for text in CITED)] == []


def test_quoted_vector_is_the_committed_one() -> None:
    """The vector has every member that it has in its file."""
    quoted = json.loads(quotes("json")[0])
    committed = [
        vector
        for path in (ROOT / "vectors" / "liveness").glob("heartbeat*.json")
        for vector in json.loads(path.read_text()).get("vectors", ())
        if vector["id"] == quoted["id"]
    ]

    assert committed == [quoted]


def test_every_place_names_the_rule() -> None:
    """A search for the id finds page, vectors, transcript, code, mutants and tests."""
    rows = (ROOT / "conformance" / "mutants" / "rows").glob("*.toml")

    assert sum("LV-002" in text for text in CITED) >= 6
    assert any("LV-002" in path.read_text() for path in rows)


def test_map_of_the_tools_names_each() -> None:
    """Every script has its line in the README of the folder."""
    text = (ROOT / "tools" / "README.md").read_text()
    names = [path.name for path in (ROOT / "tools").glob("*.py")]

    assert names
    assert [name for name in names if f"| `{name}` |" not in text] == []
