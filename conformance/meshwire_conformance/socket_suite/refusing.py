"""Whether a target has refused as it must, and the failure of a case in which it has not."""

from __future__ import annotations

from meshwire_conformance.socket_suite.evidence import CaseFailed
from meshwire_conformance.socket_suite.meanwhile import (
    CODE_NAMES,
    code_name,
    ends_of,
    fault_lines,
)
from meshwire_conformance.targets.transport import Closed, Stream
from meshwire_spec.numbers import REASONS


def refusal_is_whole(stream: Stream, must_stop: bool) -> bool:  # noqa: FBT001
    """Return True if a refusal is complete: STOP, and RESET unless the stream is uni."""
    stopped = stream.stop_code is not None or not must_stop
    return stopped and (stream.uni or stream.reset_code is not None)


def not_refused(
    stream: Stream, reasons: list[str], wanted: set[int], codes: set[int], *, must_stop: bool
) -> CaseFailed:
    """Return the failure of a case whose stream got other `codes` than the wanted ones, or none."""
    names = " or ".join(code_name(REASONS[reason].code) for reason in reasons)
    signs = ("STOP and RESET" if must_stop else "RESET") if not stream.uni else "STOP"
    other = min(codes - wanted, default=0)
    missed = False
    if codes == {0}:
        symptom, told = "no-code", "the stream was refused without a code"
    elif codes - wanted:
        symptom = f"wrong-code {CODE_NAMES.get(other, 'unknown')}"
        told = f"the stream was refused for another reason: {code_name(other)}, expected {names}"
    elif stream.finished and codes:
        symptom, told = (
            "half-refused",
            "stopped as required, but finished with FIN instead of RESET",
        )
    elif stream.finished:
        symptom, told = "accepted", "the target accepted a stream that it must refuse"
    else:
        symptom = "half-refused" if codes else "no-refusal"
        told, missed = "the target did not refuse the stream", True
    expected = (f"{signs} with {names}",)
    received = ends_of(stream) or ("nothing within the deadline",)
    return CaseFailed(symptom, told, expected=expected, received=received, missed=missed)


def not_closed(closed: Closed | None, wanted: set[int]) -> CaseFailed:
    """Return the failure of a case whose connection stays open, or ends with no wanted code."""
    expected = (f"CLOSE with {' or '.join(code_name(code) for code in sorted(wanted))}",)
    if closed is None:
        return CaseFailed(
            "not-closed",
            "the target did not refuse the connection",
            expected=expected,
            received=("an open connection",),
            missed=True,
        )
    if closed.code is None:
        return CaseFailed(
            "no-code",
            "the connection ended without a code",
            expected=expected,
            received=(closed.text, *(fault_lines(closed.fault) if closed.fault else ())),
        )
    return CaseFailed(
        f"wrong-code {CODE_NAMES.get(closed.code, closed.code)}",
        f"the connection was refused for another reason: {code_name(closed.code)}",
        expected=expected,
        received=(f"CLOSE with {code_name(closed.code)}",),
    )
