"""What is known of an id: every rule, case, reason and defect has an answer."""

import pytest

from meshwire_conformance.errors import UsageError
from meshwire_conformance.report.lookup import defects, explained, names_of
from meshwire_conformance.run.loading import load_listing
from meshwire_spec.rules import load_rules
from meshwire_spec.schemas.vectors import Vector


def test_everything_that_has_a_name_is_explained() -> None:
    """Each answer begins with the name and has more than that; no line is too long to read."""
    catalogue = load_listing()
    cases = [case.id for case in catalogue.cases]
    chosen = {*names_of(catalogue)} - {*cases} | {*cases[::25]}
    for name in sorted(chosen):
        lines = explained(name, catalogue)

        assert lines[0].startswith(name)
        assert len(lines) > 1, name
        assert max(len(line) for line in lines[1:4]) <= 120, name


def test_a_rule_has_its_text_page_mistakes_cases_and_bytes() -> None:
    """Everything that someone needs who broke it."""
    text = "\n".join(explained("fr-002", load_listing()))

    assert "page 03-frames.md#FR-002" in text
    assert "MUST refuse a frame whose key is not UTF-8" in text
    assert "an overlong UTF-8 form is decoded" in text
    assert "two byte strings name one document" in text
    assert "MW-1016" in text
    assert "0000  00 08" in text
    assert "meshwire check TARGET --only FR-002" in text


def test_a_case_has_its_demands_control_and_marked_bytes() -> None:
    """The bytes at fault are marked."""
    text = "\n".join(explained("MW-1016", load_listing()))

    assert "wire reject, strict reject" in text
    assert "MW-1001  a snapshot frame" in text
    assert "^^ ^^ key" in text


def test_a_reason_has_its_code_and_every_rule_that_gives_it() -> None:
    """With the kinds of message."""
    text = "\n".join(explained("bad-utf8", load_listing()))
    rules = [rule.id for rule in load_rules() if rule.reason == "bad-utf8"]

    assert "0x4d570003" in text
    assert all(f"  {rule}" in text for rule in rules)


def test_a_defect_has_what_deployed_peers_do_and_what_is_demanded() -> None:
    """From its row on the page."""
    text = "\n".join(explained("D-88", load_listing()))

    assert "Each item gets the clock of the moment" in text
    assert "NG-015" in text
    assert len(defects()) > 150


def test_a_defect_names_the_rules_that_name_it() -> None:
    """Also those that its row does not have, and the cases of both."""
    for defect in ("D-02", "D-32"):
        text = "\n".join(explained(defect, load_listing()))
        naming = [rule.id for rule in load_rules() if defect in rule.defects]

        assert naming
        assert all(f"  {rule}" in text for rule in naming)


def test_the_shortest_bytes_that_a_reason_refuses_are_shown() -> None:
    """The fewer there are, the easier the fault is found."""
    catalogue = load_listing()
    (line,) = [line for line in explained("bad-utf8", catalogue) if line.startswith("  bytes ")]
    shown = catalogue.by_id[line.split()[2].rstrip(":")]
    ids = {rule.id for rule in load_rules() if rule.reason == "bad-utf8"}
    sizes = [
        len(case.body.hex)
        for case in catalogue.cases
        if isinstance(case.body, Vector) and case.body.hex and ids & set(case.rules)
        if "bad-utf8" in (case.body.reasons or ())
    ]

    assert isinstance(shown.body, Vector)
    assert len(shown.body.hex) == min(sizes)


@pytest.mark.parametrize(
    ("name", "says"),
    [("FR-02", "FR-0"), ("bad-utf", "bad-utf8"), ("MW-10160", "MW-1016"), ("\x1b[2J", "\\\\x1b")],
)
def test_an_unknown_name_has_a_suggestion(name: str, says: str) -> None:
    """And no control character reaches the terminal."""
    with pytest.raises(UsageError, match=says):
        explained(name, load_listing())
