"""What the steps of a transcript notice: the suite against servers that do one thing wrong."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from meshwire_conformance.contracts import Attachment, Settings
from meshwire_conformance.errors import Incomplete
from meshwire_conformance.oplog_suite.part import run
from meshwire_conformance.run.loading import load_catalogue
from meshwire_conformance.verdicts import TOO_SLOW, CaseResult, Verdict

pytestmark = pytest.mark.socket

Take = Callable[["Naive", str, ServerConnection], Awaitable[None]]

PING = 0x89
"""First byte of the frame of a ping."""


class Naive:
    """A hub that checks nothing: it keeps and relays every text that it gets."""

    def __init__(self) -> None:
        self.log: list[str] = []
        self.sessions: set[ServerConnection] = set()

    async def serve(self, connection: ServerConnection) -> None:
        """Serve one session until it is over."""
        await connection.send(self.bulk())
        self.sessions.add(connection)
        try:
            async for message in connection:
                for text in self.texts_of(message):
                    await self.take(text, connection)
        except ConnectionClosed:
            pass
        finally:
            self.sessions.discard(connection)

    def connection(self, *arguments: Any, **options: Any) -> ServerConnection:
        """Return the server's end of a new session."""
        return ServerConnection(*arguments, **options)

    def bulk(self) -> str:
        """Return the first message of a session."""
        return json.dumps({"type": "bulk", "ops": self.log})

    def texts_of(self, message: str | bytes) -> list[str]:
        """Return the operations of a message, or nothing."""
        try:
            value: Any = json.loads(message)
            if isinstance(message, bytes):
                return [json.dumps(value["op"])]
            return list(value["ops"]) if value["type"] == "bulk" else [value["op"]]
        except (ValueError, KeyError, TypeError, RecursionError):
            return []

    async def take(self, text: str, source: ServerConnection) -> None:
        """Keep a text once, and send it to every session but its source."""
        if text not in self.log:
            self.log.append(text)
            for other in list(self.sessions):
                if self.wants(other, source):
                    await other.send(f'{{"v":1,"op":{text}}}'.encode())

    def wants(self, other: ServerConnection, source: ServerConnection) -> bool:
        """Return True if a session gets what another one brought."""
        return other is not source


class Echo(Naive):
    """It sends everything back to its source too."""

    def wants(self, other: ServerConnection, source: ServerConnection) -> bool:
        """Return True."""
        return True


class Mute(Naive):
    """It relays nothing, as deployed peers."""

    def wants(self, other: ServerConnection, source: ServerConnection) -> bool:
        """Return False."""
        return False


class Deaf(Naive):
    """It keeps nothing."""

    async def take(self, text: str, source: ServerConnection) -> None:
        """Drop a text."""


class Waking(Naive):
    """It keeps nothing until a session on which operations came is over."""

    def __init__(self) -> None:
        super().__init__()
        self.givers: set[ServerConnection] = set()
        self.is_awake = False

    async def serve(self, connection: ServerConnection) -> None:
        """Serve one session."""
        await super().serve(connection)
        if connection in self.givers:
            self.wake()

    def wake(self) -> None:
        """Keep operations from now on."""
        self.is_awake = True

    async def take(self, text: str, source: ServerConnection) -> None:
        """Keep a text, or drop it."""
        self.givers.add(source)
        if self.is_awake:
            await super().take(text, source)


class Tardy(Waking):
    """It never keeps anything, and reads a ping only once a session with operations is over."""

    def __init__(self) -> None:
        super().__init__()
        self.held: list[Callable[[], None]] = []
        self.now_s = 0.0

    def connection(self, *arguments: Any, **options: Any) -> ServerConnection:
        """Return a session that holds pings."""
        return Holding(self.held, *arguments, **options)

    def wake(self) -> None:
        """Read the pings that were held, much later."""
        self.now_s += 1000
        for read in self.held:
            read()
        self.held.clear()


class Holding(ServerConnection):
    """A session that reads no ping by itself."""

    def __init__(self, held: list[Callable[[], None]], *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.held = held

    def data_received(self, data: bytes) -> None:
        """Read bytes, or put a ping aside."""
        if data[0] == PING:
            self.held.append(partial(super().data_received, data))
        else:
            super().data_received(data)


class Late(Naive):
    """It begins with no bulk."""

    def bulk(self) -> str:
        """Return another message."""
        return '{"type":"op","op":"{}"}'


class Abrupt(Naive):
    """It ends a session at the first message that it cannot read."""

    async def serve(self, connection: ServerConnection) -> None:
        """Serve one session."""
        self.sessions.add(connection)
        await connection.send(self.bulk())
        async for message in connection:
            texts = self.texts_of(message)
            if not texts and message != '{"type":"bulk","ops":[]}':
                await connection.close(1002)
            for text in texts:
                await self.take(text, connection)


def judge(
    hub: Naive,
    *names: str,
    level: str = "strict",
    timeout_scale: float = 0.1,
    clock: Callable[[], float] = lambda: 0.0,
) -> dict[str, CaseResult]:
    """Return the results of cases against a hub; by the clock of pings each of them is prompt."""
    catalogue = load_catalogue()

    async def run_it() -> list[CaseResult]:
        async with serve(hub.serve, "127.0.0.1", 0, create_connection=hub.connection) as server:
            port = next(iter(server.sockets)).getsockname()[1]
            target = Attachment("ws", f"127.0.0.1:{port}/crdt-sync", "ws")
            cases = [catalogue.by_id[name] for name in names]
            settings = Settings(level=level, timeout_scale=timeout_scale)  # type: ignore[arg-type] # a text
            return await run(cases, catalogue, target, settings, lambda _: None, clock)

    return {result.case: result for result in asyncio.run(run_it())}


FIRST, LIVE, SOURCE, JSON, CONTENT = "MW-8950", "MW-8969", "MW-8973", "MW-9002", "MW-9034"


@pytest.mark.parametrize(
    ("hub", "name", "symptom"),
    [
        (Late, FIRST, "no-bulk"),
        (Echo, SOURCE, "relayed"),
        (Mute, LIVE, "not-relayed"),
        (Abrupt, JSON, "session-ended"),
        (Naive, CONTENT, "applied"),
    ],
)
def test_a_fault_is_noticed(hub: type[Naive], name: str, symptom: str) -> None:
    """By the case about it, with a symptom that says what was seen."""
    result = judge(hub(), name)[name]

    assert (result.verdict, result.symptom) == (Verdict.FAIL, symptom), result


def test_a_target_that_stays_silent_beside_prompt_pings_fails() -> None:
    """The report says how prompt they were."""
    result = judge(Deaf(), FIRST)[FIRST]

    assert (result.verdict, result.symptom) == (Verdict.FAIL, "not-applied"), result
    assert any("the slowest ping took" in note for note in result.notes), result


def test_a_target_that_stays_silent_beside_slow_pings_is_not_judged() -> None:
    """The pong comes only once the case is over, so nothing shows that the target is quicker."""
    hub = Tardy()

    result = judge(hub, FIRST, clock=lambda: hub.now_s)[FIRST]

    assert (result.verdict, result.symptom) == (Verdict.COULD_NOT_RUN, TOO_SLOW), result
    assert any("the slowest ping took" in note for note in result.notes), result


def test_a_target_that_is_in_time_alone_passes() -> None:
    """Marked as slow."""
    result = judge(Waking(), FIRST, timeout_scale=0.3)[FIRST]

    assert (result.verdict, result.slow) == (Verdict.PASS, True), result


@pytest.mark.parametrize("name", [FIRST, LIVE, SOURCE, JSON])
def test_a_hub_without_that_fault_passes(name: str) -> None:
    """So it is the fault that was noticed, and nothing else."""
    result = judge(Naive(), name)[name]

    assert result.verdict is Verdict.PASS, result


def test_a_level_that_demands_nothing_is_not_judged() -> None:
    """At level wire a peer that relays nothing breaks no rule."""
    results = judge(Mute(), FIRST, LIVE, level="wire")

    assert results[FIRST].verdict is Verdict.PASS
    assert results[LIVE].verdict is Verdict.INFORMATIONAL


def test_a_target_that_is_not_there_is_no_verdict() -> None:
    """The run is incomplete, and says which address."""
    target = Attachment("ws", "127.0.0.1:1/crdt-sync", "ws")
    cases = [load_catalogue().by_id[FIRST]]

    with pytest.raises(Incomplete, match="cannot open"):
        asyncio.run(run(cases, load_catalogue(), target, Settings(), lambda _: None))
