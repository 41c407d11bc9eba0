"""The document that most cases send, and the steps by which they give it to a target."""

from __future__ import annotations

from meshwire_conformance.socket_suite.case_run import CaseRun
from meshwire_conformance.socket_suite.content import BASE, Wanted
from meshwire_spec.schemas.steps import FrameSpec

NOTHING = frozenset[str]()
"""The heads in the answer of a target that holds no such document."""


def stored(run: CaseRun, document: str = "base", key: str = "$key") -> Wanted:
    """Return what a target sends for a key under which it holds this document of the case."""
    return Wanted(run.scope.text(key), heads=run.contents.made[document].heads)


async def send_snapshot(
    run: CaseRun, on: str = "B", *, document: str = "base", key: str = "$key"
) -> Wanted:
    """Send a snapshot, wait for the barrier, and return what the target then holds."""
    await run.send(FrameSpec(type="snapshot", key=key, document=document), on)
    await run.barrier(on)
    return stored(run, document, key)


async def plant(run: CaseRun, key: str = "$key") -> Wanted:
    """Make the document `base`, and give it to the target over the connection of the peer B."""
    await run.documents(BASE)
    return await send_snapshot(run, key=key)
