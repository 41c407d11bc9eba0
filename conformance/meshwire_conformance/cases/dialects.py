"""Cells of the matrix of dialects in which the target dials, and that no other module has.

The acceptor of such a cell is the suite: of another dialect than the target, or without its key.
"""

from __future__ import annotations

from meshwire_conformance.cases.both_dialects import redial_case
from meshwire_conformance.cases.dialling import PROVES, is_served
from meshwire_conformance.cases.planting import NOTHING, plant
from meshwire_conformance.catalogue.python_cases import case
from meshwire_conformance.socket_suite.calls import Call, take_call_in_other_dialect, take_served
from meshwire_conformance.socket_suite.case_run import CaseRun
from meshwire_conformance.socket_suite.content import Wanted
from meshwire_spec.numbers import REASONS, RESULT_REJECTED

REJECTED = REASONS["authentication-failed"].code
LET = {"key": "tracks:$case"}


def _refused_with(case_id: str, rules: tuple[str, ...], reason: str, acceptor: str) -> None:
    """Register a case with an acceptor that wants a handshake of an open target."""

    async def is_refused(run: CaseRun) -> None:
        connection = await take_served(run, "A")
        await connection.close(REASONS[reason].code, reason)
        await take_served(run, "again")
        await run.read(Wanted(f"notes:{run.scope.names['case']}", heads=NOTHING), "again")

    is_refused.__doc__ = "A refusal of one connection counts for each that comes after it."
    case(
        case_id,
        f"an open target that {acceptor} refuses must serve the next connection that it dials",
        part="handshake",
        rules=rules,
        level="wire",
        needs=("dials", "dialect:open"),
        isolation="peer",
    )(is_refused)


_refused_with("MW-7055", ("HS-039", "TR-025"), "authentication-failed", "an acceptor of H2")
_refused_with("MW-7056", ("HS-039", "TR-025"), "handshake-timeout", "an acceptor of H1")


async def _reject(call: Call) -> None:
    await call.take_first()
    await call.connection.close(REJECTED, "rejected")


@redial_case(
    "MW-7057",
    "after the result 0 in the other dialect the target must send no frame, and may dial again",
    rules=("HS-065", "HS-018", "HS-037", "HS-044"),
    needs=("documents", *PROVES, "detection"),
    let=LET,
)
async def rejected_in_the_other_dialect(run: CaseRun) -> None:
    """The result counts in the dialect of the first dial alone."""
    await plant(run)
    call = await take_call_in_other_dialect(run, "other", _reject)
    await call.take_proof()
    await call.send_result(RESULT_REJECTED)
    await call.finish()
    run.watch(run.scope.names["key"], "other")
    if call.connection.closed is None:
        await run.send_read(run.scope.names["key"], "other")
    await is_served(run)
