"""Cases about connections over QUIC: certificates, silence, and the credit of the target."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, cast

from meshwire_conformance.cases.planting import NOTHING
from meshwire_conformance.catalogue.case import DIALS_OVER
from meshwire_conformance.catalogue.python_cases import case
from meshwire_conformance.errors import SuiteFault
from meshwire_conformance.socket_suite.calls import take_served
from meshwire_conformance.socket_suite.case_run import CaseRun
from meshwire_conformance.socket_suite.case_streams import no_connection
from meshwire_conformance.socket_suite.content import BASE, Wanted
from meshwire_conformance.socket_suite.evidence import CaseFailed
from meshwire_conformance.targets.handshake import HandshakeFailed, prove
from meshwire_conformance.targets.transport import Connection, Stream
from meshwire_spec.numbers import REASONS
from meshwire_spec.schemas.steps import FrameSpec

if TYPE_CHECKING:
    from meshwire_conformance.targets.quic import QuicDialler
    from meshwire_conformance.targets.quic_connection import QuicConnection

LET = {"key": "notes:$case"}
SHORT_IDLE_S = 2.0
"""The idle time that the suite declares where a case waits for it, in seconds."""
OTHER_ALPN = "meshwire/none"
STREAMS = 1000
BESIDE = 48
"""Streams of those that the suite has open at a time."""
BEYOND = 100
"""How far a stream is beyond the last one that the target has granted."""
SKIPPED = 2**30
"""Bytes before those that the suite sends beyond its credit."""
ALERTS = range(0x100, 0x200)
"""Errors of QUIC that carry an alert of TLS."""
FLOW_CONTROL, STREAM_LIMIT, PROTOCOL_VIOLATION = 0x3, 0x4, 0xA
PROBE = bytes.fromhex("7175696574006d77")
"""A probe that only a connection which still stands answers."""
FIRST_BYTES = bytes.fromhex("0005")
"""The first bytes of a frame, which does not end."""

quic_case = partial(
    case, part="transport", needs=("binding:quic", "accepts", "documents"), isolation="peer"
)
"""Registers a case about a target that is dialled over QUIC."""


async def _begin(
    run: CaseRun,
    name: str = "X",
    *,
    shows: str = "own",
    idle_s: float | None = None,
    alpn: str = "",
) -> QuicConnection:
    """Begin a connection of the case's own; what it shows and declares is in `QuicDialler`."""
    dialler, peer = cast("QuicDialler", run.session.target.dialler), run.own_peer(name)
    if run.session.target.binding != "quic":
        raise SuiteFault(f"{run.case_id} needs QUIC, which its `needs` does not list")
    more = ({} if idle_s is None else {"idle_s": idle_s}) | ({"alpn": alpn} if alpn else {})
    try:
        connection = await dialler.begin(peer.dial(), run.deadline_s, shows=shows, **more)  # type: ignore[arg-type]  # each has its type
    except ConnectionError as exc:
        raise no_connection(exc) from exc
    peer.adopt(connection)
    return connection


async def _opened(run: CaseRun, name: str = "X", *, idle_s: float | None = None) -> QuicConnection:
    """Return a connection of the case's own once TLS is complete, before any handshake."""
    connection = await _begin(run, name, idle_s=idle_s)
    if not await connection.ready(run.deadline_s):
        run.check_connection(connection)
        raise CaseFailed("no-connection", "the handshake of TLS was not completed", missed=True)
    return connection


# --- Certificates ----------------------------------------------------------------------------


def _check_endpoint(run: CaseRun, *connections: Connection) -> None:
    """Fail unless these connections show one Ed25519 key, which is the endpoint id if stated."""
    shown = [one.endpoint_id.hex() for one in connections]
    stated = run.session.target.facts.endpoint_id.lower() or shown[0]
    if not shown[0] or {*shown} != {stated}:
        raise CaseFailed(
            "wrong-key",
            "the certificates of the target do not name its endpoint",
            expected=(f"certificates of the key {stated or 'of an endpoint'}",),
            received=[one or "a certificate without an Ed25519 key, or none" for one in shown],
        )


@quic_case(
    "MW-7080",
    "a target that is dialled over QUIC must show the key of its endpoint on every connection",
    rules=("TR-034", "TR-028"),
)
async def shows_its_key(run: CaseRun) -> None:
    """Each connection gets a new key, or one that is not the endpoint id."""
    _check_endpoint(run, await _opened(run, "X"), await _opened(run, "Y"))


@quic_case(
    "MW-7081",
    "a target that dials over QUIC must show the key of its endpoint on every connection",
    rules=("TR-034", "TR-028"),
    needs=("dials", f"{DIALS_OVER}:quic"),
)
async def shows_its_key_where_it_dials(run: CaseRun) -> None:
    """A node that dials shows no certificate although it is asked for one, or another key."""
    _check_endpoint(run, await take_served(run, "A"), await take_served(run, "again"))


async def _is_turned_away(run: CaseRun, shows: str) -> None:
    """Fail unless a caller without an Ed25519 key is closed, and what it sent has no effect."""
    await run.documents(BASE)
    connection = await _begin(run, shows=shows)
    if await connection.ready(run.deadline_s):
        await run.send(FrameSpec(type="snapshot", key="$key", document="base"), "X")
    closed = await connection.wait_closed(run.deadline_s)
    wanted = REASONS["certificate-required"].code
    is_alert = shows != "none" and connection.error in ALERTS
    if closed is None or not (closed.code == wanted or is_alert):
        raise CaseFailed(
            "not-closed" if closed is None else "wrong-code",
            "a caller without an Ed25519 key was not turned away as such",
            expected=(f"the end of the connection with code {wanted}",),
            received=("an open connection" if closed is None else closed.text or f"{closed.code}",),
            missed=closed is None,
        )
    await run.read(Wanted(run.scope.names["key"], heads=NOTHING), "B")


@quic_case(
    "MW-7082",
    "a caller without a certificate must be closed with code 2, and nothing it sent taken",
    rules=("TR-035",),
    negative=True,
    control="MW-7080",
    let=LET,
)
async def turns_away_who_shows_none(run: CaseRun) -> None:
    """No certificate is asked for, or a caller is served before it is looked at."""
    await _is_turned_away(run, "none")


@quic_case(
    "MW-7083",
    "a caller whose certificate has another sort of key must be closed, and nothing it sent taken",
    rules=("TR-035",),
    negative=True,
    control="MW-7080",
    let=LET,
)
async def turns_away_another_sort(run: CaseRun) -> None:
    """Any certificate is good enough. TLS may refuse this one with an alert of its own."""
    await _is_turned_away(run, "another sort")


@quic_case(
    "MW-7084",
    "a caller of another ALPN must get no connection over QUIC",
    rules=("TR-001",),
    level="wire",
    negative=True,
    control="MW-7080",
)
async def speaks_no_other_alpn(run: CaseRun) -> None:
    """The target takes whatever protocol its caller names, or names its own all the same."""
    connection = await _begin(run, alpn=OTHER_ALPN)
    if await connection.ready(run.deadline_s):
        raise CaseFailed("accepted", f"a caller of the protocol {OTHER_ALPN!r} was accepted")
    if connection.closed is None:
        raise CaseFailed("no-end", "a caller of another protocol was not refused", missed=True)


# --- Silence ---------------------------------------------------------------------------------


async def _quiet(run: CaseRun, *, is_deaf: bool) -> bool:
    """Be quiet for longer than the idle time that was declared; return True if the target answers.

    With `is_deaf` not even a confirmation leaves the suite.
    """
    connection = await _opened(run, idle_s=SHORT_IDLE_S)
    if (formation := run.session.target.formation) is not None:
        # A connection without a handshake ends for that reason.
        try:
            await prove(connection, formation, run.deadline_s)
        except HandshakeFailed as exc:
            raise CaseFailed("no-handshake", str(exc), missed=True) from exc
    if not await connection.ping(bytes(8), run.deadline_s):
        raise CaseFailed("no-answer", "the target does not confirm a packet", missed=True)
    connection.hush(is_deaf=is_deaf)
    wait_s = run.terms.deadline.beyond(SHORT_IDLE_S) + SHORT_IDLE_S
    await connection.wait_closed(wait_s)
    connection.wake()
    return await connection.ping(PROBE, run.deadline_s)


@quic_case(
    "MW-7085",
    "a connection over QUIC must end when no packet has come for the idle time that its peer names",
    rules=("TR-038",),
    negative=True,
    control="MW-7086",
)
async def ends_after_its_idle_time(run: CaseRun) -> None:
    """A silent connection is kept for ever, or for the longer one of both idle times."""
    if await _quiet(run, is_deaf=True):
        raise CaseFailed(
            "still-open",
            "the target kept a connection on which no packet had come for twice the idle time",
            expected=("no answer: the connection is over",),
            received=("the confirmation of a packet",),
            missed=True,
        )


@quic_case(
    "MW-7086",
    "a target must keep an idle connection over QUIC alive, by packets that its peer confirms",
    rules=("TR-039",),
)
async def keeps_alive(run: CaseRun) -> None:
    """Connections without traffic are lost, as where the keep-alive time is above the idle time."""
    if not await _quiet(run, is_deaf=False):
        raise CaseFailed(
            "lost",
            "the target let a connection end on which the suite confirmed every packet",
            expected=("the confirmation of a packet",),
            received=("none: the connection is over",),
            missed=True,
        )


# --- Credit ----------------------------------------------------------------------------------


@quic_case(
    "MW-7087",
    "the credit for streams must not rise while all of them are open, and rise when one is over",
    rules=("TR-037", "TR-011"),
)
async def grants_streams_that_are_over(run: CaseRun) -> None:
    """Credit rises as streams are opened, so that a peer has any number of them at once."""
    connection = cast("QuicConnection", await run.connection("X"))
    # The stream of the handshake may be over only now.
    most = connection.granted(uni=False) + 1
    stream = await run.open("X", "first")
    while connection.granted(uni=False) > _opened_streams(connection):
        if _opened_streams(connection) >= most:
            raise CaseFailed(
                "too-much-credit",
                "the credit for streams has risen, and none is over",
                expected=(f"at most {most} streams",),
                received=(f"credit for {connection.granted(uni=False)}",),
            )
        stream = await run.open("X", f"{_opened_streams(connection)}")
        await run.write_alone(stream, FIRST_BYTES, "first bytes of a frame", "X")
        if connection.granted(uni=False) == _opened_streams(connection):
            await connection.ping(PROBE, run.deadline_s)
    held = connection.granted(uni=False)
    await stream.reset(0)
    run.ended(stream, "RESET with 0", "X")
    await connection.signal.wait_for(lambda: connection.granted(uni=False) > held, run.deadline_s)
    run.check_connection(connection)
    if connection.granted(uni=False) <= held:
        raise CaseFailed(
            "no-credit", "the credit did not rise after a stream was over", missed=True
        )


def _opened_streams(connection: QuicConnection) -> int:
    return sum(one.ours and not one.uni for one in connection.streams.values())


def _beyond(
    case_id: str,
    rules: tuple[str, ...],
    title: str,
    hunts: str,
    error: int,
    *,
    uni: bool,
    skipped: int = 0,
) -> None:
    """Register a case in which the suite exceeds the credit that it has."""

    async def exceeds(run: CaseRun) -> None:
        connection = await _opened(run)
        at = 0 if skipped else connection.granted(uni=uni) + BEYOND
        connection.overdraw(at << 2 | uni << 1, FIRST_BYTES, skipped=skipped)
        closed = await connection.wait_closed(run.deadline_s)
        if connection.error not in (error, PROTOCOL_VIOLATION):
            raise CaseFailed(
                "not-closed" if closed is None else "wrong-error",
                "the target did not end a connection whose peer has exceeded its credit",
                expected=(f"the end of the connection with error {error:#x} of QUIC",),
                received=("an open connection" if closed is None else closed.text or "no error",),
                missed=closed is None,
            )
        await run.read(Wanted(run.scope.names["key"], heads=NOTHING), "B")

    exceeds.__doc__ = hunts
    quic_case(case_id, title, rules=rules, negative=True, control="MW-7087", let=LET)(exceeds)


_beyond(
    "MW-7088",
    ("TR-050",),
    "a bidi stream that was not granted must end a connection over QUIC",
    "A peer that opens more streams than it may gets them.",
    STREAM_LIMIT,
    uni=False,
)
_beyond(
    "MW-7089",
    ("TR-050",),
    "a uni stream that was not granted must end a connection over QUIC",
    "Only streams of the other kind are counted.",
    STREAM_LIMIT,
    uni=True,
)
_beyond(
    "MW-7090",
    ("TR-050",),
    "bytes beyond the credit of a stream must end a connection over QUIC",
    "Bytes are kept however far they are beyond what was granted.",
    FLOW_CONTROL,
    uni=False,
    skipped=SKIPPED,
)


async def _each_stream(run: CaseRun, times: int, data: bytes, *, uni: bool = False) -> list[Stream]:
    """Send the same bytes on that many streams, and finish each; some are open at a time."""
    connection = await run.connection("X")
    turns = asyncio.Semaphore(BESIDE)

    async def one() -> Stream:
        async with turns:
            async with asyncio.timeout(run.deadline_s):
                stream = await connection.open(uni=uni)
            await stream.write(data)
            await stream.finish()
            if not uni:
                await stream.wait_for(lambda: stream.read_over, run.deadline_s)
            return stream

    sending = [asyncio.ensure_future(one()) for _ in range(times)]
    try:
        return await asyncio.gather(*sending)
    except TimeoutError as exc:
        run.check_connection(connection)
        raise CaseFailed("no-credit", "no credit for another stream", missed=True) from exc
    finally:
        for each in sending:
            each.cancel()


@quic_case(
    "MW-7091",
    f"each of {STREAMS} streams of one connection over QUIC must be finished after its frame",
    rules=("TR-020", "TR-037"),
    let=LET,
)
async def serves_a_thousand_streams(run: CaseRun) -> None:
    """What is kept for a stream that is over adds up, or its credit is not given back."""
    frame = run.composer.frame(FrameSpec(type="windowed-history", key="$key", hex="5a"))
    for stream in await _each_stream(run, STREAMS, frame):
        run.check_connection(stream.connection)
        if not stream.finished:
            raise CaseFailed("no-fin", f"stream {stream.number} was not finished", missed=True)


@quic_case(
    "MW-7092",
    "heartbeats on three times as many uni streams as the target grants must all be taken",
    rules=("TR-003", "TR-037"),
    let=LET,
)
async def drains_uni_streams(run: CaseRun) -> None:
    """Uni streams are not read over QUIC, or give back no credit."""
    connection = cast("QuicConnection", await run.connection("X"))
    times = 3 * connection.granted(uni=True)
    await _each_stream(run, times, run.composer.heartbeat(FrameSpec(type="heartbeat")), uni=True)
    await run.read(Wanted(run.scope.names["key"], heads=NOTHING), "X")
