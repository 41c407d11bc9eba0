"""Cases about what the target's own user writes: one document, one actor, nothing left out."""

from __future__ import annotations

from typing import Final

from meshwire_conformance.cases import user
from meshwire_conformance.cases.controlled import NEEDS, document_in, hold, hold_fields
from meshwire_conformance.catalogue.python_cases import case
from meshwire_conformance.protocol.automerge_bytes import actors_of
from meshwire_conformance.socket_suite.case_run import CaseRun
from meshwire_conformance.socket_suite.connecting import adopt_lab
from meshwire_conformance.socket_suite.content import Wanted
from meshwire_conformance.socket_suite.evidence import CaseFailed
from meshwire_conformance.targets.lab_records import Windows
from meshwire_spec.numbers import FrameType

EDITS: Final = 12
BURST: Final = 150
"""Documents of a burst: more than some nodes remember in a feed of changes."""
BY: Final = "_deleted_by"
ENOUGH: Final = 2**12


@case(
    "MW-7263",
    "edits of the user must follow one another, by one actor",
    part="documents",
    rules=("DC-082", "DC-036"),
    needs=NEEDS,
    isolation="peer",
    let={"key": "tracks:$case"},
)
async def edits_by_one_actor(run: CaseRun) -> None:
    """Each edit forks the document, or begins it anew: actors add up, and an old value can win."""
    for number in range(EDITS):
        await user.put(run, "$key", size=258 + number)
    await run.own_peer("late").connection()
    came = await run.expect(Wanted(run.scope.text("$key"), FrameType.SNAPSHOT), "late")
    hold(await document_in(run, came), size=258 + EDITS - 1)
    actors, heads = actors_of(came.payload)
    if (actors, heads) != (1, 1):
        raise CaseFailed(
            "wrong-content actors",
            f"{EDITS} edits of one user have {actors} actors and {heads} heads",
            expected=("1 actor and 1 head",),
            received=(f"{actors} actors and {heads} heads",),
        )


@case(
    "MW-7264",
    "a document that the user deletes must be marked where its fields are",
    part="documents",
    rules=("DC-083", "DC-059"),
    needs=NEEDS,
    let={"key": "notes:$case"},
)
async def marks_of_a_deletion(run: CaseRun) -> None:
    """The marks stand where no reader of the fields looks, so a deleted document still shows."""
    await run.connection("A")
    await user.put(run, "$key", name="alpha")
    await user.delete(run, "$key")
    fields = await document_in(run, await run.read(Wanted(run.scope.text("$key")), "A"))
    hold(fields, name="alpha", _deleted=True)
    if not fields.get(BY):
        hold(fields, **{BY: "a name of who did it"})
    if await user.fields_of(run, "$key") is not None:
        raise CaseFailed("came-back", "the user still sees the document")


@case(
    "MW-7265",
    "every change of a burst must come to a peer that takes none meanwhile",
    part="documents",
    rules=("DC-059", "TM-003"),
    needs=(*NEEDS, "binding:tcp"),
    isolation="process",
)
async def burst_of_changes(run: CaseRun) -> None:
    """A feed of changes has a bound, and a reader that lags misses what fell out of it."""
    name = run.scope.names["case"]
    keys = [f"notes:{name}-{number}" for number in range(BURST)]
    for key in keys:
        run.subscription(key)
    connection = await adopt_lab(run, "late", Windows(max_streams_bidi=0))
    for size in (258, 386):
        for key in keys:
            await user.put(run, key, size=size)
    connection.lab.allow_streams(ENOUGH)
    connection.flush()
    for key in keys:
        await run.expect(Wanted(key, FrameType.DELTA), "late")
    await hold_fields(run, keys[0], "late", size=386)
    await hold_fields(run, keys[-1], "late", size=386)
