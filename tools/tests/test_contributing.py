"""The rule that CONTRIBUTING follows through its places is there, word for word."""

import json
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
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
