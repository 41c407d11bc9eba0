"""The table of switches: complete, and about cases that exist."""

from __future__ import annotations

from meshwire_conformance.catalogue.case import SOCKET
from meshwire_conformance.catalogue.catalogue import load_catalogue
from meshwire_conformance.mutants import read_table


def test_every_socket_case_has_a_switch_that_it_must_notice() -> None:
    """No case without a mutant, no row without a case."""
    cases = {case.id for case in load_catalogue().cases if case.kind == SOCKET}

    assert set(read_table()) == cases
