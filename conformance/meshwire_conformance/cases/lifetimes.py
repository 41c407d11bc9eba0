"""Cases about documents that end by themselves, a lifetime after their last change.

They move the clock of a process of their own, and never wait for it.
"""

from __future__ import annotations

from functools import partial
from typing import Final

from meshwire_conformance.cases import user
from meshwire_conformance.cases.clocked import HOUR_S, MARGIN_S, clock_case
from meshwire_conformance.cases.planting import NOTHING, send_snapshot
from meshwire_conformance.socket_suite.case_run import CaseRun
from meshwire_conformance.socket_suite.content import BASE, Wanted
from meshwire_spec.numbers import EXPIRY_SWEEP_S, collection_of
from meshwire_spec.schemas.steps import DocumentSpec

LIFETIME_S: Final = collection_of("beacons:b").ttl_s or 0
OVER_S: Final = LIFETIME_S + EXPIRY_SWEEP_S + MARGIN_S
"""Seconds after which a document without a change is gone."""
MOST: Final = 0.75
"""Part of a lifetime: twice it is more than one."""
NEWER: Final = {
    **BASE,
    "newer": DocumentSpec(actor="0b0c0d0e", merge=["base"], edits=[{"speed": 7}]),
}
"""The document of these cases, and the same with one more change."""

lifetime_case = partial(clock_case, part="documents", let={"key": "beacons:$case"})
"""Registers a case about a document with a lifetime."""


async def hold_gone(run: CaseRun) -> None:
    """Fail unless the document is gone, for a peer that asks and for one that connects."""
    await run.read(Wanted(run.scope.text("$key"), heads=NOTHING), "A")


@lifetime_case(
    "MW-7259",
    "a document with a lifetime must be gone once that has passed",
    rules=("DC-077",),
)
async def document_ends(run: CaseRun) -> None:
    """Nothing writes the field that the lifetime is counted from, and documents stay for ever."""
    await run.documents(BASE)
    await send_snapshot(run)
    live = await send_snapshot(run, key="nodes:$case")
    await user.advance(run, LIFETIME_S - MARGIN_S)
    await run.read(Wanted(run.scope.text("$key"), heads=run.contents.made["base"].heads), "A")
    await user.advance(run, OVER_S - LIFETIME_S + MARGIN_S)
    await hold_gone(run)
    # The offer may be here before the case waits for it.
    run.subscription(live.key)
    run.own_peer("late")
    run.watch(run.scope.text("$key"), "late", ("snapshot", "delta"))
    await run.peer("late").connection()
    await run.expect(live, "late")


@lifetime_case(
    "MW-7260",
    "a document that changes must live for a lifetime after each change",
    rules=("DC-078",),
)
async def change_renews(run: CaseRun) -> None:
    """Each change adds a deadline, and the earliest of them ends the document."""
    await run.documents(NEWER)
    await send_snapshot(run)
    await user.advance(run, MOST * LIFETIME_S)
    wanted = await send_snapshot(run, document="newer")
    await user.advance(run, MOST * LIFETIME_S)
    await run.read(wanted, "A")
    await user.advance(run, OVER_S)
    await hold_gone(run)


@lifetime_case(
    "MW-7261",
    "a document that has ended must not return as it was, and must with another change",
    rules=("DC-079", "DC-077"),
)
async def ended_document_returns(run: CaseRun) -> None:
    """A peer that still holds the document brings it back, and its life begins anew."""
    await run.documents(NEWER)
    await send_snapshot(run)
    await user.advance(run, OVER_S)
    await send_snapshot(run)
    await hold_gone(run)
    wanted = await send_snapshot(run, document="newer")
    await run.read(wanted, "A")


@lifetime_case(
    "MW-7262",
    "a calendar that is set two hours ahead must not end a document",
    rules=("DC-080", "DC-077"),
)
async def calendar_is_set(run: CaseRun) -> None:
    """The age of a document is the difference of two times of the calendar."""
    await run.documents(BASE)
    wanted = await send_snapshot(run)
    ahead_ms = await user.wall_ms(run) + 2 * HOUR_S * 1000
    await user.advance(run, EXPIRY_SWEEP_S + MARGIN_S, ahead_ms)
    await run.read(wanted, "A")
    await user.advance(run, OVER_S, ahead_ms - 4 * HOUR_S * 1000)
    await hold_gone(run)
