"""The node that comes with the suite as a target: how it is started, and in which dialects."""

from __future__ import annotations

from collections.abc import Sequence

from meshwire_conformance.catalogue.case import Case
from meshwire_conformance.contracts import Attachment
from meshwire_conformance.socket_suite.attempts import is_serial
from meshwire_conformance.verdicts import CaseResult, Verdict

BESIDE = "beside"
"""Says that the same node is run in another dialect too, where serial cases are shown once."""
SHORT_DEADLINE_S = 1
"""Deadlines given to the bundled node, in seconds, so that cases about them are soon over."""


def shown_elsewhere(cases: Sequence[Case], attachment: Attachment) -> dict[str, CaseResult]:
    """Serial cases that no dialect changes, where the same node is run in another one too."""
    other = attachment.facts.get(BESIDE)
    if other is None:
        return {}
    why = (f"serial, and shown in the run of dialect {other}",)
    return {
        case.id: CaseResult(case.id, Verdict.NOT_APPLICABLE, why, variant=attachment.variant)
        for case in cases
        if is_serial(case) and not any(need.startswith("dialect:") for need in case.needs)
    }


def bundled(command: str) -> list[Attachment]:
    """Ways to attach to the bundled node, whose command line this is: one for each dialect."""
    deadlines = f"--handshake-s {SHORT_DEADLINE_S} --frame-stall-s {SHORT_DEADLINE_S}"
    run_it = f"{command} run --listen tcp://127.0.0.1:0 {deadlines}"
    dialects: tuple[tuple[str, str, dict[str, str]], ...] = (
        ("open", "--open", {}),
        ("H1", "--formation-id lab-formation", {BESIDE: "open"}),
    )
    return [
        Attachment("node", f"{run_it} {how}", f"node:{run_it} {how}", variant=variant, facts=facts)
        for variant, how, facts in dialects
    ]
