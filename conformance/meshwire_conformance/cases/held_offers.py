"""Cases about what happens while an offer is held: changes, deletions and new documents.

Another peer sends them to the target. The late peer must end with the state of the target, in
whatever phase its offer was.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from meshwire_conformance.cases.reconciling_client import DOUBT, client_case, take_run
from meshwire_conformance.cases.streams import give_credit
from meshwire_conformance.catalogue.python_cases import case
from meshwire_conformance.socket_suite.case_run import CaseRun
from meshwire_conformance.socket_suite.connecting import adopt_lab, check_echo
from meshwire_conformance.socket_suite.content import Wanted
from meshwire_conformance.socket_suite.evidence import CaseFailed
from meshwire_conformance.targets.lab_records import Windows
from meshwire_conformance.targets.tcp import TcpConnection
from meshwire_spec.numbers import FrameType
from meshwire_spec.schemas.steps import DocumentSpec, FrameSpec

WAVES = 3
"""Times that the other peer changes, deletes and adds something, with some credit between."""
NARROW = 96
"""Bytes of a window that a handshake fits, and a batch of tombstones does not."""
SHORT = 512
"""Bytes of a connection that a handshake fits, and the tombstone of these cases does not."""
LONG_REASON = "x" * 900
FURTHER_BYTES = 258
ENOUGH_BYTES = 2**22
ENOUGH_STREAMS = 2**12
MODES = ("tracks", "track_history", "notes")
"""A collection of each sync mode."""

held_case = partial(
    case,
    part="documents",
    needs=("documents", "binding:tcp"),
    isolation="peer",
)
"""Registers a case about an offer that waits for credit."""


class _Changes:
    """What another peer sends to the target, and what the late peer must have received of it."""

    def __init__(self, run: CaseRun) -> None:
        self.run = run
        self.wanted: dict[str, Wanted] = {}

    def _key(self, collection: str, name: str) -> str:
        return f"{collection}:{self.run.scope.names['case']}-{name}"

    async def _put(self, key: str, version: int) -> None:
        document = f"version {version}"
        self.run.subscription(key)
        await self.run.send(FrameSpec(type="snapshot", key=key, document=document), "B", "changes")
        self.wanted[key] = Wanted(key, heads=self.run.contents.made[document].heads)

    async def _delete(self, key: str, lamport: int, reason: str = "") -> None:
        self.run.subscription(key)
        spec = FrameSpec(type="tombstone", key=key, lamport=lamport, reason=reason)
        await self.run.send(spec, "B", "changes")
        self.wanted[key] = Wanted(key, FrameType.TOMBSTONE, tombstone={"lamport": lamport})

    async def prepare(self) -> None:
        """Give the target documents and a tombstone, and wait until it holds them."""
        versions = {"version 0": DocumentSpec(actor="0a0b0c0d", fields={"name": "alpha"})}
        for number in range(1, WAVES + 1):
            before = [f"version {number - 1}"]
            edits = [{"speed": 512 + number}]
            versions[f"version {number}"] = DocumentSpec(
                actor="0a0b0c0d", merge=before, edits=edits
            )
        await self.run.documents(versions)
        for collection in MODES:
            await self._put(self._key(collection, "changed"), 0)
        for number in range(1, WAVES + 1):
            await self._put(self._key("tracks", f"deleted-{number}"), 0)
        await self._delete(self._key("nodes", "old"), 513, LONG_REASON)
        await self.run.barrier("B", "changes")

    async def wave(self, number: int) -> None:
        """Change, add and delete something, and wait until the target has all of it."""
        for collection in MODES:
            await self._put(self._key(collection, "changed"), number)
            await self._put(self._key(collection, f"new-{number}"), 0)
        await self._delete(self._key("tracks", f"deleted-{number}"), 258 + number)
        await self._delete(self._key("nodes", f"unknown-{number}"), 258 + number)
        await self._delete(self._key("nodes", "old"), 513 + number)
        await self.run.barrier("B", "changes")

    async def expect_all(self, on: str) -> None:
        """Fail unless a peer gets the latest of everything."""
        for wanted in self.wanted.values():
            await self.run.expect(wanted, on)


def _held_by(
    case_id: str,
    title: str,
    rules: tuple[str, ...],
    windows: Windows,
    further: Callable[[TcpConnection], None],
    hunts: str,
) -> None:
    """Register a case whose late peer grants `windows`, and more after each wave of changes."""

    async def held(run: CaseRun) -> None:
        changes = _Changes(run)
        await changes.prepare()
        connection = await adopt_lab(run, "late", windows)
        await check_echo(run, connection)
        for number in range(1, WAVES + 1):
            await changes.wave(number)
            further(connection)
            connection.flush()
            await check_echo(run, connection)
        lab = connection.lab
        lab.allow_data(ENOUGH_BYTES)
        lab.allow_streams(ENOUGH_STREAMS)
        give_credit(connection)
        await changes.expect_all("late")

    held.__doc__ = hunts
    held_case(case_id, title, rules=rules)(held)


def _release_one(connection: TcpConnection) -> None:
    """Give credit to the first stream of the target that waits for it."""
    waiting = (one for one in connection.streams.values() if not (one.ours or one.read_over))
    stream = next(waiting, None)
    if stream is not None:
        connection.lab.release(stream.number, FURTHER_BYTES)


_held_by(
    "MW-6875",
    "what changes while an offer waits for streams must reach the late peer",
    ("DC-030", "DC-035", "TS-037", "TS-042"),
    Windows(max_streams_bidi=0, all_held=True),
    lambda connection: connection.lab.allow_streams(1),
    "Changes are not pushed while the offer runs, although its documents were chosen before.",
)
_held_by(
    "MW-6876",
    "what changes while an offer waits for the credit of its streams must reach the late peer",
    ("DC-030", "DC-035", "TS-037", "TS-042"),
    Windows(max_stream_data=NARROW, held=True),
    _release_one,
    "A change replaces what is in flight, or is lost because its document is being offered.",
)
_held_by(
    "MW-6877",
    "what changes while an offer waits for the credit of its connection must reach the late peer",
    ("DC-030", "DC-035", "TS-037", "TS-042"),
    Windows(max_data=SHORT, all_held=True),
    lambda connection: connection.lab.allow_data(FURTHER_BYTES),
    "What was chosen for the offer counts as sent, also where it was deleted or changed since.",
)


@client_case(
    "MW-6878",
    "what changes while the target's run goes on must reach its peer",
    part="documents",
    rules=("DC-030", "NG-025", "TS-037"),
)
async def changes_within_a_run(run: CaseRun) -> None:
    """Changes are held back until the run is over, and then only what it found is sent."""
    changes = _Changes(run)
    await changes.prepare()
    served = await take_run(run)
    await changes.wave(1)
    await served.say(DOUBT)
    message = await served.next()
    if message is None:
        raise CaseFailed("ended-early", "a range was left open, and the target sent nothing")
    await changes.wave(2)
    await served.serve([], message)
    await changes.wave(3)
    await changes.expect_all("A")
