"""Cases that need the lab binding, over connections of another one."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from meshwire_conformance.errors import SuiteFault
from meshwire_conformance.socket_suite.connecting import without_lab
from meshwire_conformance.socket_suite.evidence import NotApplicable
from meshwire_conformance.targets.listening import Listener


def run_over(binding: str | None, *, dials: bool) -> Any:
    """Return as much of a run as matters: over which transport the target dials, if it does."""
    listener = None if binding is None else Listener(binding)
    session = SimpleNamespace(target=SimpleNamespace(listener=listener))
    return SimpleNamespace(session=session, terms=SimpleNamespace(dials=dials), case_id="MW-6050")


@pytest.mark.parametrize(
    ("binding", "dials", "raised"),
    [
        ("quic", True, NotApplicable),
        ("quic", False, SuiteFault),
        ("tcp", True, SuiteFault),
        (None, False, SuiteFault),
    ],
)
def test_a_case_of_the_lab_binding_does_not_fit_a_target_that_dials_over_quic(
    binding: str | None, raised: type[Exception], *, dials: bool
) -> None:
    """That is no fault of the suite, which any other connection without the binding is."""
    assert type(without_lab(run_over(binding, dials=dials))) is raised
