"""The catalogue: selection by patterns, digests, and cases that contradict each other."""

from collections.abc import Mapping
from dataclasses import replace

import pytest

from meshwire_conformance.catalogue.case import BOTH_VALID, Case, digest_of
from meshwire_conformance.catalogue.catalogue import Catalogue, selection_digest
from meshwire_conformance.errors import Incomplete, SuiteFault, UsageError
from meshwire_conformance.run.loading import load_catalogue

REJECT: Mapping[str, str] = {"wire": "any", "strict": "reject"}


def case(name: str, *rules: str, control: str | None = None) -> Case:
    """A case of that id."""
    return Case(
        id=name,
        title=f"case {name}",
        kind="heartbeat",
        part="liveness",
        rules=rules or ("LV-001",),
        results=REJECT if control else BOTH_VALID,
        source="hand",
        digest=digest_of(name),
        control=control,
    )


ONE, TWO = case("MW-1001", "LV-001"), case("MW-1002", "TS-001", "TS-002")


def test_selection_by_case_and_by_rule() -> None:
    """Patterns fit ids of cases and of rules; `skip` takes away from what `only` gives."""
    catalogue = Catalogue((ONE, TWO))

    assert catalogue.select(["TS-*"]) == (TWO,)
    assert catalogue.select(["MW-*"], ["LV-001"]) == (TWO,)
    assert catalogue.select() == (ONE, TWO)


THREE = replace(
    case("MW-1003", "LV-001"), kind="tombstone", title="A Heartbeat that names heartbeat[0]"
)
NAMED = Catalogue((ONE, TWO, THREE))


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("heartbeat", (ONE, TWO)),
        ("t?mb*", (THREE,)),
        ("a heart", (THREE,)),
        ("HEARTBEAT[0]", (THREE,)),
        ("a heart*[[]0?", (THREE,)),
        ("title:heartbeat", (THREE,)),
        ("title:LV-001", ()),
        ("case mw-100?", (ONE, TWO)),
        ("MW-1001", (ONE,)),
        ("LV-00?", (ONE, THREE)),
        ("title:", ()),
        ("", ()),
    ],
)
def test_a_pattern_names_ids_and_rules_else_kinds_else_titles(
    pattern: str, found: tuple[Case, ...]
) -> None:
    """A kind that is a word of titles too is a kind; what was named by id or rule stays so."""
    if not found:
        with pytest.raises(Incomplete, match="matches no case"):
            NAMED.select([pattern])
        return

    assert NAMED.select([pattern]) == found
    assert NAMED.select(["MW-*"], [pattern]) == tuple(c for c in NAMED.cases if c not in found)


def test_kinds_are_combined_with_patterns() -> None:
    """Several kinds add to each other, and everything that is given must fit."""
    assert NAMED.select(kinds=["tombstone"]) == (THREE,)
    assert NAMED.select(kinds=["tombstone", "heartbeat"]) == (ONE, TWO, THREE)
    assert NAMED.select(["LV-001"], kinds=["heartbeat"]) == (ONE,)
    assert NAMED.select((), ["TS-*"], ["heartbeat"]) == (ONE,)
    with pytest.raises(Incomplete, match="no case is selected"):
        NAMED.select(["TS-*"], kinds=["tombstone"])


@pytest.mark.parametrize(("kind", "hint"), [("tombston", "tombstone"), ("tomb*", "kinds are")])
def test_an_unknown_kind_is_wrong_usage(kind: str, hint: str) -> None:
    """A kind is a name; a pattern of kinds is one for `only`."""
    with pytest.raises(UsageError, match=hint):
        NAMED.select(kinds=[kind])


@pytest.mark.parametrize(("only", "skip"), [(["no-such*"], []), ([], ["no-such*"]), ([], ["*"])])
def test_a_pattern_that_fits_nothing_is_incomplete(only: list[str], skip: list[str]) -> None:
    """A typing error in a pattern never looks like a pass."""
    with pytest.raises(Incomplete):
        Catalogue((ONE, TWO)).select(only, skip)


def test_an_id_used_twice_is_a_suite_fault() -> None:
    """Ids name one case for ever."""
    with pytest.raises(SuiteFault, match="MW-1001"):
        Catalogue((ONE, replace(TWO, id="MW-1001")))


def test_a_control_must_exist() -> None:
    """A negative without its control would never count."""
    with pytest.raises(SuiteFault, match="MW-0404"):
        Catalogue((ONE, case("MW-1003", control="MW-0404")))


def test_the_digest_changes_with_any_content_and_not_with_the_order() -> None:
    """Two suites of one digest ask the same."""
    changed = replace(TWO, digest=digest_of("else"))

    assert selection_digest([ONE, TWO]) == selection_digest([TWO, ONE])
    assert selection_digest([ONE, TWO]) != selection_digest([ONE, changed])
    assert digest_of({"a": 1, "b": 2}) == digest_of({"b": 2, "a": 1})


def test_a_disputed_case_demands_nothing() -> None:
    """Until it is settled it is informational at every level."""
    disputed = replace(ONE, disputed=True)

    assert [disputed.demanded(level) for level in ("wire", "strict")] == ["any", "any"]


def test_the_catalogue_of_the_suite_stands() -> None:
    """At least 600 cases, every control a positive of the same kind."""
    catalogue = load_catalogue()
    controls = [(c, catalogue.by_id[c.control]) for c in catalogue.cases if c.control]

    assert len(catalogue.cases) >= 600
    for negative, control in controls:
        if negative.kind != "socket":
            assert (control.kind, control.results["strict"]) == (negative.kind, "valid")
