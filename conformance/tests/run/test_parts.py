"""The table of parts fits the table of schemes and the catalogue."""

from meshwire_conformance.contracts import Attachment
from meshwire_conformance.run.loading import load_catalogue
from meshwire_conformance.run.parts import PARTS, needs_of, part_over
from meshwire_conformance.run.runner import Options, _with_adapter
from meshwire_conformance.targets.base import SCHEMES


def test_every_scheme_names_a_part() -> None:
    """A row with a misspelt part would fail only at its first use."""
    assert {part_over(name).needs for name in SCHEMES} == {part.needs for part in PARTS.values()}


def test_every_case_is_judged_by_one_part() -> None:
    """None is left out and none is judged twice."""
    for case in load_catalogue().cases:
        takers = [part for part in PARTS.values() if part.takes(case)]

        assert [part.needs for part in takers] == [needs_of(case)]


def test_the_cases_of_the_adapter_join_a_selection_of_codec_cases() -> None:
    """By kind too, unless they are skipped; a run over a connection has none."""
    catalogue = load_catalogue()
    codec, node = (Attachment(name, "x", "x") for name in ("stdio", "node"))

    def kinds(target: Attachment, options: Options) -> set[str]:
        return {case.kind for case in _with_adapter([target], catalogue, options)}

    assert kinds(codec, Options(kinds=["heartbeat"])) == {"heartbeat", "harness"}
    assert kinds(codec, Options(only=["heartbeat"], skip=["harness"])) == {"heartbeat"}
    ids = [case.id for case in catalogue.cases if case.kind == "harness"]
    assert kinds(codec, Options(kinds=["heartbeat", "tombstone"], skip=ids)) == {
        "heartbeat",
        "tombstone",
    }
    assert "harness" in kinds(codec, Options(kinds=["heartbeat"], skip=ids[1:]))
    assert kinds(codec, Options(kinds=["socket"])) == {"socket"}
    assert kinds(node, Options(kinds=["heartbeat"])) == {"heartbeat"}
