"""The iroh target: what the library says, what a case needs to see, and verdicts as over tcp."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from unittest.mock import AsyncMock, Mock, call

import pytest

from meshwire_conformance.catalogue.case import SOCKET, Case
from meshwire_conformance.catalogue.transcripts import needs_of
from meshwire_conformance.contracts import Attachment, Settings
from meshwire_conformance.errors import Incomplete
from meshwire_conformance.run.loading import load_catalogue
from meshwire_conformance.socket_suite.part import run
from meshwire_conformance.targets.attach import attach, parse_address, start_node
from meshwire_conformance.targets.base import parse_target
from meshwire_conformance.targets.bundle import short_deadline_s
from meshwire_conformance.targets.transport import Closed, Connection, Dial, Stream
from meshwire_conformance.verdicts import TOO_SLOW, CaseResult, Verdict
from meshwire_spec.numbers import REASONS
from meshwire_spec.schemas.transcripts import Transcript, decode_file

pytest.importorskip("iroh", reason="the extra iroh is not installed")
from meshwire_conformance.targets import iroh_library
from meshwire_conformance.targets.iroh import IrohDialler
from meshwire_conformance.targets.iroh_connection import IrohConnection
from meshwire_conformance.targets.iroh_library import cause, ending, is_overdue, stream_number

pytestmark = [pytest.mark.process, pytest.mark.socket]

OPEN, H1 = "--open", "--formation-id lab-formation"
H2 = f"{H1} --dialect H2 --no-detection"
IDENTITY = bytes(range(32))
OTHER = bytes(range(1, 33))
DEADLINE_S = 600.0
"""Seconds after which a test hangs; nothing takes as long."""
HOOK = Path(__file__).parents[2] / "mutants" / "hook"


def command(binding: str, dialect: str, rows: str = "") -> str:
    """The command line of the bundled node on a binding, with the rows of mutants applied."""
    hook = f"MUTANT_ROWS={rows} PYTHONPATH='{HOOK}'"
    node = f"env {hook} '{sys.executable}' -m meshwire_reference.cli"
    short_s = short_deadline_s()
    deadlines = f"--handshake-s {short_s:g} --frame-stall-s {short_s:g}"
    return f"{node} run --listen {binding}://127.0.0.1:0 {deadlines} {dialect}"


def verdicts(results: Sequence[CaseResult]) -> dict[str, Verdict]:
    """Verdict by case, without those that this machine is too slow to judge."""
    return {result.case: result.verdict for result in results if result.symptom != TOO_SLOW}


def in_both(one: dict[str, Verdict], other: dict[str, Verdict]) -> dict[str, Verdict]:
    """The verdicts of the first run on cases that the second has judged too."""
    return {name: verdict for name, verdict in one.items() if name in other}


async def judge(
    cases: Sequence[Case], binding: str, dialect: str, rows: str = ""
) -> dict[str, Verdict]:
    """Verdict by case for the bundled node over a binding."""
    line = command(binding, dialect, rows)
    target = Attachment("node", line, line)
    results = await run(cases, load_catalogue(), target, Settings(), lambda _: None)
    for one in results:
        if one.verdict is Verdict.FAIL:
            # Shown only where a test fails: a verdict alone does not say what differs.
            logging.getLogger(__name__).warning(
                "%s over %s: %s, %s", one.case, binding, one.symptom, one.received
            )
    return verdicts(results)


def judge_side_by_side(
    cases: Sequence[Case], dialect: str, rows: str = ""
) -> tuple[dict[str, Verdict], dict[str, Verdict]]:
    """Verdicts over iroh and over tcp, of cases that wait more than they work."""

    async def both() -> list[dict[str, Verdict]]:
        return await asyncio.gather(
            judge(cases, "iroh", dialect, rows), judge(cases, "tcp", dialect, rows)
        )

    over_iroh, over_tcp = asyncio.run(both())
    return over_iroh, over_tcp


def socket_cases(*prefixes: str) -> list[Case]:
    """Socket cases whose id begins so."""
    return [c for c in load_catalogue().cases if c.kind == SOCKET and c.id.startswith(prefixes)]


def tcp_alone(case: Case) -> bool:
    """Whether a case looks at something that iroh does not show."""
    return any(need.startswith(("binding:tcp", "shows:")) for need in case.needs)


def transcript(*steps: dict[str, object]) -> Transcript:
    """A transcript with these steps."""
    value = {"id": "MW-0001", "title": "a", "rules": ["TR-001"], "steps": list(steps)}
    content = {"part": "transport", "about": "a", "transcripts": [value]}
    return decode_file(json.dumps(content).encode()).transcripts[0]


class TestWhatTheLibrarySays:
    """Codes and numbers come as text."""

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("closed by peer: 0", Closed(0, "")),
            ("closed by peer: 1297547285", Closed(1297547285, "")),
            ("closed by peer: bad-marker (code 258)", Closed(258, "bad-marker")),
            ("closed by peer: a (code 3)\nb (code 772)", Closed(772, "a (code 3)\nb")),
            ("timed out", Closed(None, "timed out")),
            ("", Closed(None, "connection lost")),
        ],
    )
    def test_a_code_is_the_last_thing_a_close_says(self, text: str, expected: Closed) -> None:
        """A reason that looks like a code is not taken for one."""
        assert ending(text) == expected

    @pytest.mark.parametrize("result", [7, ValueError("it has none")])
    def test_a_cancelled_call_leaves_no_result(
        self, monkeypatch: pytest.MonkeyPatch, result: int | ValueError
    ) -> None:
        """A result that is there already, such as a connection, is taken and freed."""
        library = Mock(**{"_uniffi_rust_call_with_error.side_effect": [result]})
        library.rust_free_u64.__name__ = "rust_free_u64"
        monkeypatch.setattr(iroh_library, "_binding", library)
        cancelled = AsyncMock(side_effect=asyncio.CancelledError)
        calling = iroh_library._without_rest(cancelled)

        with pytest.raises(asyncio.CancelledError):
            asyncio.run(
                calling(5, "poll", "complete", library.rust_free_u64, library.lift, "errors")
            )

        assert library.mock_calls == [
            call._UniffiLib.rust_cancel_u64(5),
            call._uniffi_rust_call_with_error("errors", "complete", 5),
            *([call.lift(7)] if result == 7 else []),
            call.rust_free_u64(5),
        ]

    def test_another_endpoint_is_said_in_words(self) -> None:
        """The library blames the issuer of a certificate, and there is none."""
        text = "error 48: invalid peer certificate: UnknownIssuer"

        assert cause(Mock(message=lambda: text)) == "another endpoint answers there"

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("aborted by peer: the server refused to accept a new connection", False),
            ("aborted: it caused the connection to be closed during the handshake", True),
            ("dialling failed\ntimed out", True),
        ],
    )
    def test_a_handshake_that_was_given_up_is_late(self, text: str, *, expected: bool) -> None:
        """It shows that one of the two was slow; a refusal shows what the target wants."""
        error = Mock(message=lambda: text)

        assert is_overdue(error) is expected

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("client bidirectional stream 0", 0),
            ("server bidirectional stream 3", 13),
            ("client unidirectional stream 5", 22),
            ("server unidirectional stream 258", 1035),
        ],
    )
    def test_a_stream_has_its_number_on_the_wire(self, text: str, expected: int) -> None:
        """As over the lab binding, so that reports of both name the same streams."""
        assert stream_number(text) == expected


class TestWhatACaseNeedsToSee:
    """A case that looks at what a binding does not show must not pass there."""

    def test_a_uni_stream_looked_at_after_its_fin(self) -> None:
        """A refusal of it would be a stop alone, and after FIN none travels."""
        steps: list[dict[str, object]] = [{"open": "uni"}, {"finish": True}, {"unfinished": True}]

        assert needs_of(transcript(*steps)) == ("shows:stop-after-fin",)
        assert needs_of(transcript(*steps[:1], *steps[2:])) == ()

    def test_a_bidi_stream_refused_after_its_fin(self) -> None:
        """The reset of the answering half is seen everywhere."""
        assert needs_of(transcript({"finish": True}, {"unfinished": True})) == ()

    def test_a_half_that_was_stopped(self) -> None:
        """The library reads no further after a stop."""
        assert needs_of(transcript({"stop": 0}, {"released": True})) == ("shows:release",)


class _Library:
    """A connection of the library with one stream, as far as `IrohConnection` asks for it."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.calls: list[str] = []
        self.finished = asyncio.Event()
        self.confirmed: asyncio.Future[None] = loop.create_future()
        self.over: asyncio.Future[str] = loop.create_future()
        self.arriving: asyncio.Queue[bytes] = asyncio.Queue()

    # The connection.

    def remote_id(self) -> _Library:
        return self

    def to_bytes(self) -> bytes:
        return IDENTITY

    async def accept_bi(self) -> None:
        await asyncio.shield(self.over)

    accept_uni = accept_bi

    async def open_bi(self) -> _Library:
        return self

    def send(self) -> _Library:
        return self

    recv = send

    def close(self, code: int, reason: bytes) -> None:
        self.calls.append("close")
        self.over.set_result("closed")

    async def closed(self) -> str:
        return await asyncio.shield(self.over)

    # Its stream.

    async def id(self) -> str:
        return "client bidirectional stream 0"

    async def write_all(self, data: bytes) -> None:
        self.calls.append(f"write {len(data)}")

    async def finish(self) -> None:
        self.calls.append("finish")
        self.finished.set()

    async def stopped(self) -> None:
        await asyncio.shield(self.confirmed)

    async def read(self, most: int) -> bytes:
        return await self.arriving.get()


class TestTheEndOfAConnection:
    """The library drops what is under way, in both directions."""

    def test_what_was_finished_is_confirmed_before_a_close(self) -> None:
        """Writes that were queued in this turn included."""

        async def look() -> list[str]:
            library = _Library()
            connection = IrohConnection(library, Dial(IDENTITY), lambda: None)
            stream = await connection.open()
            await stream.write(b"abc")
            await stream.write(b"de")
            await stream.finish()
            closing = asyncio.create_task(connection.close(7))
            await library.finished.wait()
            library.calls.append("confirmed")
            library.confirmed.set_result(None)
            await closing
            return library.calls

        assert asyncio.run(look()) == ["write 5", "finish", "confirmed", "close"]

    def test_what_came_before_the_end_is_taken_in_before_it_is_told(self) -> None:
        """A verdict of one byte, and the close right after it."""

        async def look() -> tuple[bytes, Closed | None]:
            library = _Library()
            connection = IrohConnection(library, Dial(IDENTITY), lambda: None)
            stream = await connection.open()
            library.over.set_result("closed by peer: rejected (code 258)")
            for data in (b"\x00", b"\x02", b""):
                library.arriving.put_nowait(data)
            await connection.wait_closed(DEADLINE_S)
            return bytes(stream.received), connection.closed

        assert asyncio.run(look()) == (b"\x00\x02", Closed(258, "rejected"))


def test_without_the_extra_the_line_that_installs_it_is_given(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A case that cannot run names what is missing."""
    monkeypatch.setitem(sys.modules, "iroh", None)
    for name in ("iroh", "iroh_connection", "iroh_library"):
        monkeypatch.delitem(sys.modules, f"meshwire_conformance.targets.{name}")
    target = parse_target(f"iroh://{'0a' * 32}@127.0.0.1:9")

    with pytest.raises(Incomplete, match=r"pip install -e '\.\[iroh\]'"):
        asyncio.run(attach(target, Settings()))


async def with_node(look: Callable[[str, Connection], Awaitable[None]]) -> None:
    """Run a function with the address of a fresh node on iroh and a connection to it."""
    node = await start_node(command("iroh", OPEN))
    try:
        connection = await node.dial(Dial(IDENTITY))
        await look(node.facts.addresses[0], connection)
        await connection.close()
    finally:
        await node.close()


class TestConnection:
    """One connection with the bundled node."""

    def test_the_target_is_the_endpoint_that_the_address_names(self) -> None:
        """Another endpoint at the same place is no target."""

        async def look(address: str, connection: Connection) -> None:
            place = parse_address(address)
            assert connection.endpoint_id.hex() == place.endpoint_id

            stranger = IrohDialler(parse_address(f"iroh://{'0a' * 32}@127.0.0.1:{place.port}"))
            with pytest.raises(ConnectionError):
                await stranger.dial(Dial(IDENTITY), 1.0)
            await stranger.close()

        asyncio.run(with_node(look))

    def test_a_refusal_shows_its_code_in_stop_and_reset(self) -> None:
        """A uni stream shows it in a stop alone."""

        async def look(address: str, connection: Connection) -> None:
            bidi, uni = await connection.open(), await connection.open(uni=True)
            await bidi.write(bytes.fromhex("0003613a62ff00000000"))
            await uni.write(bytes.fromhex("020000000000000001"))

            assert await seen(bidi, "reset_code", "stop_code")
            assert await seen(uni, "stop_code")
            unknown, marker = REASONS["unknown-type"].code, REASONS["bad-marker"].code
            assert (bidi.reset_code, bidi.stop_code) == (unknown, unknown)
            assert (uni.reset_code, uni.stop_code) == (None, marker)

        asyncio.run(with_node(look))

    def test_an_identity_has_several_connections(self) -> None:
        """One after the other and at a time, each with both ends proven."""

        async def look(address: str, connection: Connection) -> None:
            dialler = IrohDialler(parse_address(address))
            for _ in range(2):
                both = [await dialler.dial(Dial(OTHER), DEADLINE_S) for _ in range(2)]

                assert [one.closed for one in both] == [None, None]
                for one in both:
                    await one.close()
            await dialler.close()

        asyncio.run(with_node(look))


async def seen(stream: Stream, *names: str) -> bool:
    """Whether a stream shows all of these codes within the deadline."""
    return await stream.wait_for(
        lambda: all(getattr(stream, name) is not None for name in names), DEADLINE_S
    )


class TestVerdicts:
    """Every case that both bindings can show has the same verdict over both."""

    def test_of_a_node_of_dialect_open(self) -> None:
        """All socket cases; what iroh does not show is not applicable there, and nothing else."""
        cases = socket_cases("MW-")
        shared = [case for case in cases if not tcp_alone(case)]
        over_iroh = asyncio.run(judge(cases, "iroh", OPEN))
        over_tcp = asyncio.run(judge(shared, "tcp", OPEN))

        alone = {over_iroh.pop(case.id) for case in cases if tcp_alone(case)}

        assert in_both(over_tcp, over_iroh) == in_both(over_iroh, over_tcp)
        assert alone == {Verdict.NOT_APPLICABLE}
        assert list(over_tcp.values()).count(Verdict.PASS) > 200

    @pytest.mark.parametrize("dialect", [H1, H2], ids=["H1", "H2"])
    def test_of_handshakes(self, dialect: str) -> None:
        """A node of both dialects that begins in H1, and one of H2 alone."""
        cases = [case for case in socket_cases("MW-56", "MW-66") if not tcp_alone(case)]
        over_iroh, over_tcp = judge_side_by_side(cases, dialect)

        assert in_both(over_iroh, over_tcp) == in_both(over_tcp, over_iroh)
        assert {*over_iroh.values()} <= {Verdict.PASS, Verdict.NOT_APPLICABLE}
        assert list(over_iroh.values()).count(Verdict.PASS) > 30

    def test_of_a_node_that_is_wrong(self) -> None:
        """A pass over iroh is no blindness: what is wrong turns the same cases red."""
        wrong = {"MW-5211": "unknown-type", "MW-5225": "bad-key", "MW-5552": "bad-marker"}
        cases = socket_cases(*wrong, "MW-5201", "MW-5202", "MW-5206", "MW-5551")
        rows = ",".join(f"accept-{reason}" for reason in wrong.values())
        over_iroh, over_tcp = judge_side_by_side(cases, OPEN, rows)

        assert in_both(over_iroh, over_tcp) == in_both(over_tcp, over_iroh)
        failed = {name for name in over_iroh if over_iroh[name] is Verdict.FAIL}
        assert failed == set(in_both(dict.fromkeys(wrong, Verdict.FAIL), over_iroh))

    def test_of_a_running_node_by_its_address(self) -> None:
        """A plain address declares what every node must offer, and no deadlines."""
        cases = socket_cases("MW-5201", "MW-5109")

        async def look(address: str, connection: Connection) -> None:
            results = await run(
                cases, load_catalogue(), parse_target(address), Settings(), lambda _: None
            )
            assert verdicts(results) == {
                "MW-5201": Verdict.PASS,
                "MW-5109": Verdict.NOT_APPLICABLE,
            }

        asyncio.run(with_node(look))
