"""Tracing finds each way in which rules and cases can come apart."""

import json
from pathlib import Path

import pytest

import pages
import tracing
from meshwire_conformance.run.loading import load_catalogue

CODEC = "**FR-901**{#FR-901} (wire) A node MUST. <!-- seen: codec -->"
SOCKET = "**FR-902**{#FR-902} (wire) A node MUST. <!-- seen: socket -->"
BOTH = "**FR-903**{#FR-903} (wire) A node MUST. <!-- seen: codec, socket -->"
HARNESS = "**FR-904**{#FR-904} (wire) A node MUST. <!-- seen: harness -->"
EVERY = "**FR-905**{#FR-905} (wire) A node MUST. <!-- seen: every -->"
EXCLUDED = "**FR-906**{#FR-906} (wire) A node MUST. <!-- excluded: nobody sees it -->"
WITHDRAWN = "**FR-907**{#FR-907} (withdrawn) It was so."


def rules(*lines: str) -> list[pages.PageRule]:
    """Rules as their page gives them."""
    return pages.parse_rules("x.md", "\n\n".join(lines))


def case(sort: str, *cited: str, name: str = "MW-0901") -> tracing.TracedCase:
    """A case of one sort."""
    return tracing.TracedCase(name, cited, sort, "x.json")


SHOWN = [
    (CODEC, case("codec", "FR-901")),
    (SOCKET, case("socket", "FR-902")),
    (SOCKET, case("python", "FR-902")),
    (HARNESS, case("python", "FR-904")),
    (EVERY, case("codec", "FR-901")),
]


@pytest.mark.parametrize(("line", "shown_by"), SHOWN)
def test_a_rule_with_its_sort_of_case_is_fine(line: str, shown_by: tracing.TracedCase) -> None:
    """Each way of being seen is satisfied by its sort of case."""
    assert tracing.rule_problems(rules(line), [shown_by]) == []


MISSED = [
    (CODEC, case("socket", "FR-901")),
    (SOCKET, case("codec", "FR-902")),
    (BOTH, case("codec", "FR-903")),
    (HARNESS, case("codec", "FR-904")),
    (EVERY, case("socket", "FR-905")),
    (EXCLUDED, case("socket", "FR-906")),
]


@pytest.mark.parametrize(("line", "cited_by"), MISSED)
def test_another_sort_of_case_does_not_show_a_rule(line: str, cited_by: tracing.TracedCase) -> None:
    """A rule whose way of being seen no case has, or that is excluded but cited, is a problem."""
    assert len(tracing.rule_problems(rules(line), [cited_by])) == 1


BAD_CASES = {
    "cites no rule": [case("codec")],
    "unknown rule FR-999": [case("codec", "FR-999")],
    "withdrawn rule FR-907": [case("codec", "FR-907")],
    "given twice": [case("codec", "FR-901"), case("socket", "FR-901")],
}


@pytest.mark.parametrize("text", BAD_CASES)
def test_each_fault_of_a_case_is_named(text: str) -> None:
    """Cases without rules, with unknown or withdrawn ones, and ids given twice are problems."""
    problems = tracing.case_problems(rules(CODEC, WITHDRAWN), BAD_CASES[text])

    assert [text in problem for problem in problems] == [True]


def test_cases_are_read_from_vectors_and_transcripts(tmp_path: Path) -> None:
    """Both shapes of data file are read, and registers of ids are not taken for cases."""
    folder = tmp_path / "vectors"
    (folder / "frames").mkdir(parents=True)
    vectors = {"part": "frames", "vectors": [{"id": "MW-0902", "rules": ["FR-901"]}]}
    transcript = {"id": "MW-0901", "rules": ["FR-902"], "steps": [{"id": "step", "rules": []}]}
    (folder / "frames" / "a.json").write_text(json.dumps(vectors))
    (folder / "frames" / "b.transcript.json").write_text(json.dumps(transcript))
    (folder / "ids.json").write_text(json.dumps({"MW-0903": "codec key"}))

    found = tracing.data_cases(folder)

    assert [(item.id, item.rules, item.sort) for item in found] == [
        ("MW-0902", ("FR-901",), "codec"),
        ("MW-0901", ("FR-902",), "socket"),
    ]


def test_cases_in_python_are_read_without_running_them(tmp_path: Path) -> None:
    """A call with a case id and rule ids as literals is a case, whatever the call is named."""
    (tmp_path / "a.py").write_text(
        "raise SystemExit\n"
        "@behaviour('MW-0901', title='x', rules=('TR-001', 'TR-002'))\n"
        "def run(): pass\n"
        "other('MW-0902')\n"
    )

    assert tracing.python_cases(tmp_path) == [
        tracing.TracedCase("MW-0901", ("TR-001", "TR-002"), "python", "a.py")
    ]


def test_the_table_counts_cases_of_each_sort() -> None:
    """The list shows for each rule how many cases of which sort cite it."""
    line = tracing.table(rules(BOTH), [case("codec", "FR-903"), case("codec", "FR-903")])

    assert line == ["FR-903  wire       codec=2 socket=0 python=0  codec, socket"]


def test_the_catalogue_has_every_case_of_the_repository() -> None:
    """No file of vectors and no module of cases is left out of a run."""
    traced = {
        item.id
        for item in [*tracing.data_cases(tracing.VECTORS), *tracing.python_cases(tracing.CASES)]
    }

    assert traced == set(load_catalogue().by_id)
