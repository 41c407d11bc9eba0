"""Rule ids in comments name rules that exist."""

from pathlib import Path

import check_citations
import pages

RULES = pages.parse_rules(
    "x.md",
    "**FR-901**{#FR-901} (wire) A node MUST. <!-- seen: socket -->\n\n"
    "**FR-902**{#FR-902} (wire) A node MUST. <!-- seen: socket -->\n\n"
    "**FR-903**{#FR-903} (wire) A node MUST. <!-- seen: codec -->\n",
)


def test_comments_are_cited_with_their_place(tmp_path: Path) -> None:
    """Ids count in comments alone, several of them on a line as well."""
    (tmp_path / "a.py").write_text("x = 'FR-904'\n# FR-901, FR-999: why\n")

    found = check_citations.citations(tmp_path)

    assert found == [("FR-901", tmp_path / "a.py", 2), ("FR-999", tmp_path / "a.py", 2)]


def test_unknown_rules_are_problems(tmp_path: Path) -> None:
    """A comment that cites no rule of the pages is named with file and line."""
    found = [("FR-999", tmp_path / "a.py", 2), ("FR-901", tmp_path / "a.py", 3)]

    assert check_citations.problems_of(RULES, found) == [f"{tmp_path / 'a.py'}:2: no rule FR-999"]


def test_socket_rules_without_a_comment_are_listed(tmp_path: Path) -> None:
    """What a socket can show and no comment cites is listed; codec rules are not."""
    found = [("FR-901", tmp_path / "a.py", 2)]

    assert [rule.id for rule in check_citations.uncited(RULES, found)] == ["FR-902"]
