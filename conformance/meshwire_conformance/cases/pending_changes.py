"""Cases about changes that come before those on which they depend."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product

from meshwire_conformance.cases.planting import send_snapshot
from meshwire_conformance.catalogue.python_cases import case
from meshwire_conformance.socket_suite.case_run import CaseRun
from meshwire_conformance.socket_suite.content import Wanted
from meshwire_spec.schemas.steps import DocumentSpec, FrameSpec

DOCUMENTS = {
    "first": DocumentSpec(actor="1a1b1c1d", fields={"course": 259}),
    "second": DocumentSpec(actor="0b0b0b0b", merge=["first"], edits=[{"course": 386}]),
    "other": DocumentSpec(actor="2c2c2c2c", fields={"speed": 513}),
}
"""A change, one that depends on it, and one that has nothing to do with them."""
FORMS: Mapping[str, FrameSpec] = {
    "a snapshot": FrameSpec(type="snapshot", document="first"),
    "a delta": FrameSpec(type="delta", document="first"),
    "a snapshot with another document before it": FrameSpec(
        type="snapshot", document="other", more=["first"]
    ),
}
"""How a change comes on which another one depends."""


def _carried(spec: FrameSpec, key: str, *, in_batch: bool) -> FrameSpec:
    """Return a frame for a key, or a batch with it as its entry."""
    fields = {name: getattr(spec, name) for name in ("type", "document", "more", "known")}
    frame = FrameSpec(key=key, **fields)
    return FrameSpec(type="batch", key=key, entries=[frame]) if in_batch else frame


@case(
    "MW-6960",
    "a change that came early must take effect with its dependency, in whatever frame that comes",
    part="documents",
    rules=("DC-046", "DC-020", "BT-022"),
    needs=("documents",),
    isolation="peer",
)
async def dependencies_in_each_form(run: CaseRun) -> None:
    """Early changes are looked at when a delta comes, or where there is a document already."""
    await run.documents(DOCUMENTS)
    await run.contents.prepare_delta("first")
    await run.contents.prepare_delta("second", "first")
    made = run.contents.made
    early = FrameSpec(type="delta", document="second", known="first")
    ways = product(FORMS.values(), (False, True), (False, True))
    for number, (form, is_held, in_batch) in enumerate(ways):
        key = f"notes:{run.scope.names['case']}-{number}"
        heads = made["second"].heads
        if is_held:
            await send_snapshot(run, "A", document="other", key=key)
        if is_held or "other" in (form.document, *form.more):
            heads |= made["other"].heads
        # Each change comes over a connection of its own in every second way.
        later = "AB"[number % 2]
        await run.send(_carried(early, key, in_batch=number % 3 == 0), "A", f"early {number}")
        await run.barrier("A", f"early {number}")
        await run.send(_carried(form, key, in_batch=in_batch), later, f"later {number}")
        await run.barrier(later, f"later {number}")
        await run.read(Wanted(key, heads=heads), "B")
