"""The bundled node gets short deadlines, which a busy machine makes longer."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from meshwire_conformance.targets import bundle
from meshwire_conformance.targets.bundle import bundled, node_attachments, short_deadline_s, strain


def ticking(step_s: float) -> Callable[[], float]:
    """A clock that advances with every reading."""
    now_s = 0.0

    def read() -> float:
        nonlocal now_s
        now_s += step_s
        return now_s

    return read


def test_a_machine_without_other_work_has_no_strain() -> None:
    """Work takes its CPU time there, and a coarse clock makes it no shorter."""
    cpu = ticking(0.001)

    assert strain(cpu, cpu) == pytest.approx(1.0, abs=0.2)
    assert strain(lambda: 0.0, ticking(0.001)) == 1.0


def test_work_that_waits_for_a_core_shows_the_strain() -> None:
    """The clock runs on while another process has the core."""
    now_s = 0.0

    def cpu() -> float:
        nonlocal now_s
        now_s += 0.004
        return now_s / 4

    assert strain(lambda: now_s, cpu) == pytest.approx(4.0, rel=0.3)


def test_short_deadlines_scale_with_the_machine_and_the_caller() -> None:
    """They are never shorter than on an idle machine."""
    assert short_deadline_s(1.0, busy=1.0) == 1.0
    assert short_deadline_s(1.0, busy=3.26) == 3.3
    assert short_deadline_s(4.0, busy=2.0) == 8.0
    assert short_deadline_s(0.1, busy=1.0) == 1.0


def test_the_node_is_started_with_them() -> None:
    """Both deadlines, in each dialect, and where it dials, so that the ready line has them."""
    commands = [one.location for one in node_attachments("node", 2.5)]

    assert len(commands) == 11
    assert all("--handshake-s 2.5 --frame-stall-s 2.5" in command for command in commands)


def test_the_scale_of_the_caller_reaches_the_node() -> None:
    """A hundred times the deadline is longer than any machine makes it."""
    (_, *nodes, oplog) = bundled(100.0)

    assert nodes
    assert oplog.scheme == "oplog-node"
    for node in nodes:
        words = node.location.split()
        assert float(words[words.index("--handshake-s") + 1]) >= 100.0


def test_quic_is_left_out_where_its_library_is_not_installed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Neither side could speak it; with it a short run has only the cases about QUIC."""
    short = {one.variant: one for one in bundled(full=False)}
    monkeypatch.setattr(bundle, "LIBRARY_OF_QUIC", "meshwire_no_such_library")
    without = {one.variant for one in bundled()}

    assert {*bundle.OVER_QUIC} <= {*short}
    assert short["quic"].only == ("binding:quic",)
    assert not {*bundle.OVER_QUIC} & without
    assert without
