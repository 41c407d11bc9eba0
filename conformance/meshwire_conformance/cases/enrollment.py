"""Enrollment: the suite asks the target for certificates, as it should and as it should not."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Final

from meshwire_conformance.cases import user
from meshwire_conformance.catalogue.python_cases import case
from meshwire_conformance.socket_suite.case_run import CaseRun
from meshwire_conformance.socket_suite.enrolling import (
    LENGTH,
    Enrolling,
    check_approved,
    check_denied,
    connect,
    dial_enrollment,
    enrollment_of,
    framed,
    new_folder,
    response_on,
    seed_of,
    send,
    send_on,
    token_in,
)
from meshwire_conformance.socket_suite.evidence import CaseFailed, CouldNotRun
from meshwire_conformance.targets.tcp import TcpConnection
from meshwire_conformance.targets.transport import Connection, Stream
from meshwire_spec.numbers import (
    ALPN,
    ENROLLMENT_AGE_MAX_MS,
    ENROLLMENT_ALPN,
    ENROLLMENT_CLOSE_S,
    ENROLLMENT_DENIALS_MAX,
    ENROLLMENT_MAX,
    ENROLLMENT_RATE_S,
    ENROLLMENT_REQUEST_S,
    REASONS,
    SIGNATURE,
    EnrollmentDenial,
    EnrollmentStatus,
)

EARLY: Final = 0.2
"""Part of a deadline of the target after which it must not have passed."""
MARGIN_MS: Final = 60_000
"""How far a time is within its limit or beyond it: more than a case takes."""
AT_ONCE: Final = 8
"""Requests with one token that are sent at the same time."""
FIXED: Final = 32 + 1 + 1 + 1 + 2 + 8 + SIGNATURE
"""Bytes of a request without its texts and its token."""
UNKNOWN: Final = bytes(range(7, 39))
"""A token that no target has given out."""
PROBE: Final = bytes.fromhex("656e726f6c6c2121")
NEEDS: Final = ("control", "enrollment")

enrollment_case = partial(case, part="enrollment", needs=NEEDS, isolation="peer")
"""Registers a case about a target that enrolls others."""
process_case = partial(case, part="enrollment", needs=(*NEEDS, "test-control"), isolation="process")
"""The same for one that moves the clock of the target, or is denied often."""


async def invited(run: CaseRun, **terms: object) -> bytes:
    """Return a new token of the target."""
    with new_folder() as folder:
        path = Path(folder) / "token"
        await user.do(run, "invite", token_file=str(path), **terms)
        return token_in(path)


async def request_of(run: CaseRun, token: bytes, name: str = "X") -> Enrolling:
    """Return a right request of a peer of the case's own, at the time of the target."""
    wall_ms = (await user.do(run, "clock")).clock
    assert wall_ms, "the reply to `clock` has the time"
    return Enrolling(seed_of(run, name), enrollment_of(run).mesh_id, token, wall_ms.wall_ms)


async def new_request(run: CaseRun, name: str = "X", **terms: object) -> Enrolling:
    """Return a right request with a new token."""
    return await request_of(run, await invited(run, **terms), name)


async def enroll(run: CaseRun, request: Enrolling, name: str = "X") -> None:
    """Send a request that has to be approved."""
    stream = await send(run, framed(request.encode()), name)
    check_approved(run, await response_on(run, stream), request)


async def be_denied(
    run: CaseRun, request: Enrolling, *reasons: str, name: str = "X", **wrong: object
) -> None:
    """Send a request that has to be denied for one of these reasons."""
    stream = await send(run, framed(request.encode(**wrong)), name)
    check_denied(await response_on(run, stream), *reasons, timestamp=request.timestamp)


async def advance(run: CaseRun, seconds: float) -> None:
    """Put the clock of the target forward."""
    await user.do(run, "clock", advance_s=seconds)


@process_case(
    "MW-7360",
    "a request with a token must be approved, with its certificate and the formation secret",
    rules=("EN-061", "EN-075"),
    level="wire",
)
async def right_request(run: CaseRun) -> None:
    """The response is lost, or the certificate is of another node, tier or authority."""
    request = await new_request(run)
    stream = await send(run, framed(request.encode()))
    response = await response_on(run, stream)
    check_approved(run, response, request)
    if response["secret"] is None or len(response["secret"]) != len(UNKNOWN):
        raise CaseFailed("no-secret", "an approval has no formation secret of 32 bytes")


@process_case(
    "MW-7361",
    "a token that has enrolled a node must not enroll another one",
    rules=("EN-070", "EN-077"),
)
async def used_token(run: CaseRun) -> None:
    """A token is good for any number of nodes."""
    token = await invited(run)
    await enroll(run, await request_of(run, token))
    await be_denied(run, await request_of(run, token, "Y"), "used-token", name="Y")


@process_case(
    "MW-7362",
    "a request that is sent again, byte for byte, must be denied",
    rules=("EN-070",),
)
async def replayed_request(run: CaseRun) -> None:
    """A recorded request gets the formation secret once more."""
    request = await new_request(run)
    await enroll(run, request)
    await be_denied(run, request, "used-token")


@process_case(
    "MW-7363",
    "of many requests with one token, sent at once, one must be approved",
    rules=("EN-070",),
)
async def crossing_requests(run: CaseRun) -> None:
    """The token is looked up before the use of another request is stored."""
    token = await invited(run)
    names = [f"X{number}" for number in range(AT_ONCE)]
    requests = [await request_of(run, token, name) for name in names]
    connections = [await connect(run, name) for name in names]
    halves = [framed(request.encode()) for request in requests]
    streams = [
        await send_on(run, connection, half[:-1], name, fin=False)
        for name, half, connection in zip(names, halves, connections, strict=True)
    ]
    for stream, half in zip(streams, halves, strict=True):
        await stream.write(half[-1:])
    await asyncio.gather(*(stream.finish() for stream in streams))
    responses = [await response_on(run, stream) for stream in streams]
    approved = [one for one in responses if one["status"] == EnrollmentStatus.APPROVED]
    if len(approved) != 1:
        raise CaseFailed(
            "approved-twice" if approved else "not-approved",
            "not exactly one of the requests was approved",
            expected=("one approval",),
            received=(f"{len(approved)} of {AT_ONCE}",),
        )
    for response in responses:
        if response is not approved[0]:
            check_denied(response, "used-token")


@process_case(
    "MW-7364",
    "a request with a token that was never given out must be denied",
    rules=("EN-069", "EN-077"),
    level="wire",
)
async def unknown_token(run: CaseRun) -> None:
    """Every token enrolls, also an empty one, or one that begins as another."""
    right = await new_request(run)
    for token in (UNKNOWN, b"", right.token[:-1], right.token + b"\x00"):
        await be_denied(run, replace(right, token=token), "unknown-token")
    await enroll(run, right)


@process_case(
    "MW-7365",
    "a request for another mesh must be denied",
    rules=("EN-067",),
    level="wire",
)
async def wrong_mesh(run: CaseRun) -> None:
    """The mesh id is not compared, or only its beginning, or without its case."""
    right = await new_request(run)
    for mesh_id in ("", right.mesh_id[:-1], right.mesh_id + "0", right.mesh_id + "\x00"):
        await be_denied(run, replace(right, mesh_id=mesh_id), "wrong-mesh")
    await enroll(run, right)


@process_case(
    "MW-7366",
    "a request that its key has not signed as it is must be denied",
    rules=("EN-066",),
    level="wire",
)
async def forged_request(run: CaseRun) -> None:
    """The signature is not verified, or not over every field."""
    right = await new_request(run)
    other = replace(right, seed=bytes(32)).members()
    forgeries: Iterable[dict[str, object]] = (
        {"signature": other["signature"]},
        {"signature": bytes(SIGNATURE)},
        {"node_id": "another"},
        {"tier": 0},
        {"timestamp": right.timestamp + 1},
    )
    for wrong in forgeries:
        stream = await send(run, framed(right.encode(**wrong)))
        check_denied(await response_on(run, stream), "bad-signature")
    forged = replace(right, token=UNKNOWN).encode(token=right.token)
    check_denied(await response_on(run, await send(run, framed(forged))), "bad-signature")
    await enroll(run, right)


@process_case(
    "MW-7367",
    "a request must be denied whose key is not the endpoint id of its connection",
    rules=("EN-068",),
)
async def wrong_subject(run: CaseRun) -> None:
    """A node gets a certificate for a key that no connection of it will prove."""
    right = await new_request(run)
    await be_denied(run, right, "wrong-subject", name="Y")
    await enroll(run, right)


@process_case(
    "MW-7368",
    "a request must be denied whose time is more than five minutes from that of the target",
    rules=("EN-065",),
)
async def old_request(run: CaseRun) -> None:
    """A recorded request is good for ever, or one from the future until then."""
    for sign in (-1, 1):
        right = await new_request(run)
        far = right.timestamp + sign * (ENROLLMENT_AGE_MAX_MS + MARGIN_MS)
        await be_denied(run, replace(right, timestamp=far), "not-now")
        near = right.timestamp + sign * (ENROLLMENT_AGE_MAX_MS - MARGIN_MS)
        await enroll(run, replace(right, timestamp=near))


@process_case(
    "MW-7369",
    "a token must enroll within its term and the node of its name alone",
    rules=("EN-071",),
)
async def terms_of_a_token(run: CaseRun) -> None:
    """What the token was given out for does not hold."""
    named = await new_request(run, node_id="suite")
    await be_denied(run, replace(named, node_id="Suite"), "wrong-node")
    await enroll(run, named)
    token = await invited(run, term_s=60)
    await advance(run, 61)
    await be_denied(run, await request_of(run, token, "Y"), "expired-token", name="Y")


@process_case(
    "MW-7370",
    "a half that is no message must be denied with its reason, and at once",
    rules=("EN-063", "EN-062"),
)
async def no_message(run: CaseRun) -> None:
    """The target waits for what never comes, or keeps as many bytes as the length says."""
    right = framed((await new_request(run)).encode())
    too_long = (ENROLLMENT_MAX + 1).to_bytes(LENGTH, "little")
    for half, fin, reason in (
        (b"", True, "truncated"),
        (right[: LENGTH - 1], True, "truncated"),
        (right[:-1], True, "truncated"),
        (right + b"\x00", False, "trailing-bytes"),
        (too_long, False, "length-limit"),
        (b"\xff\xff\xff\xff", False, "length-limit"),
    ):
        stream = await send(run, half, fin=fin)
        check_denied(await response_on(run, stream), reason, timestamp=0)


@process_case(
    "MW-7378",
    "bytes that come some time after the message of a half must be refused",
    rules=("EN-063", "EN-061"),
)
async def late_bytes(run: CaseRun) -> None:
    """A message is taken for whole before its half has ended."""
    right = await new_request(run)
    connection = await connect(run)
    stream = await send_on(run, connection, framed(right.encode()), fin=False)
    # The target has read the message once it has served another connection.
    await enroll(run, await new_request(run, "Y"), "Y")
    await stream.write(b"\x00")
    check_denied(await response_on(run, stream), "trailing-bytes", timestamp=0)
    await enroll(run, right)


@process_case(
    "MW-7371",
    "a request that cannot be decoded must be denied with the reason of the decoder",
    rules=("EN-064",),
)
async def no_request(run: CaseRun) -> None:
    """A fault ends the connection without a response, or is read as something else."""
    right = (await new_request(run)).encode()
    text_at, tier_at = 33, FIXED - SIGNATURE - 8 - 2 + len("suite") + len(right[33:41]) - 1
    for message, reason in (
        (right[:-1], "truncated"),
        (right + b"\x00", "trailing-bytes"),
        (right[:text_at] + b"\xff" + right[text_at + 1 :], "bad-utf8"),
        (right[:tier_at] + b"\x04" + right[tier_at + 1 :], "bad-enum"),
        (b"", "truncated"),
    ):
        stream = await send(run, framed(message))
        check_denied(await response_on(run, stream), reason, timestamp=0)


@process_case(
    "MW-7372",
    "a request of 65,536 bytes must be read",
    rules=("EN-062",),
    level="wire",
)
async def longest_request(run: CaseRun) -> None:
    """The limit is one byte less, or that of another number."""
    right = await new_request(run)
    texts = len(right.mesh_id.encode()) + len(right.node_id.encode())
    longest = replace(right, token=bytes(ENROLLMENT_MAX - FIXED - texts))
    await be_denied(run, longest, "unknown-token")


@process_case(
    "MW-7373",
    "after 20 denials of an address within a minute others must follow, and none later",
    rules=("EN-072", "EN-077"),
)
async def many_denials(run: CaseRun) -> None:
    """Tokens can be tried at any rate or with ever new keys, or an address is shut out for ever."""
    right = await new_request(run)
    wrong = {
        name: replace(right, seed=seed_of(run, name), token=UNKNOWN) for name in ("X", "Y", "Z")
    }
    for number in range(ENROLLMENT_DENIALS_MAX):
        name = "XY"[number % 2]
        await be_denied(run, wrong[name], "unknown-token", name=name)
    for name in ("X", "Z"):
        await be_denied(run, wrong[name], EnrollmentDenial.RATE_LIMITED, name=name)
    await be_denied(run, right, EnrollmentDenial.RATE_LIMITED)
    await advance(run, ENROLLMENT_RATE_S)
    await enroll(run, right)


async def _is_open(run: CaseRun, connection: Connection, moved_s: float, deadline_s: float) -> None:
    """Fail if a connection has ended, as far as the target has sent by now.

    The clock of the target was moved by `moved_s` since it began, and `deadline_s` is its deadline.
    """
    assert isinstance(connection, TcpConnection), "the case needs the lab binding"
    is_answered = await connection.ping(PROBE, run.deadline_s)
    if connection.closed is not None or not is_answered:
        if time.monotonic() - connection.began_at + moved_s >= deadline_s:
            raise CouldNotRun("the suite itself took as long as the deadline of the target")
        closed = connection.closed
        raise CaseFailed(
            "closed",
            "the target has ended the connection",
            expected=("an answer to a PING",),
            received=("nothing" if closed is None else closed.text or f"code {closed.code}",),
            missed=closed is None,
        )


async def _is_closed(run: CaseRun, connection: Connection, reason: str) -> None:
    """Fail unless the target closes a connection with a reason."""
    closed = await connection.wait_closed(run.deadline_s)
    if closed is None or closed.code != REASONS[reason].code:
        raise CaseFailed(
            "not-closed" if closed is None else "wrong-code",
            "the target has not closed the connection as it should",
            expected=(f"a close with {reason}",),
            received=("an open connection" if closed is None else closed.text or f"{closed.code}",),
            missed=closed is None,
        )


@process_case(
    "MW-7374",
    "a connection without a whole request must be closed after ten seconds",
    rules=("EN-073",),
)
async def no_request_in_time(run: CaseRun) -> None:
    """A client holds a connection for ever with the first bytes of a request."""
    right = framed((await new_request(run)).encode())
    connection = await connect(run)
    await send_on(run, connection, right[:-1], fin=False)
    await _is_open(run, connection, 0, ENROLLMENT_REQUEST_S)
    await advance(run, ENROLLMENT_REQUEST_S * EARLY)
    # What is due then is over once a whole exchange is.
    await enroll(run, await new_request(run, "Y"), "Y")
    await _is_open(run, connection, ENROLLMENT_REQUEST_S * EARLY, ENROLLMENT_REQUEST_S)
    await advance(run, ENROLLMENT_REQUEST_S * (1 - EARLY))
    await _is_closed(run, connection, "handshake-timeout")


@process_case(
    "MW-7375",
    "a connection must stay open after its response until the client closes it, for half a minute",
    rules=("EN-074",),
)
async def slow_client(run: CaseRun) -> None:
    """The connection ends with the response on its way, which is lost then."""
    request = await new_request(run)
    connection = await connect(run)
    stream = await send_on(run, connection, framed(request.encode()))
    check_approved(run, await response_on(run, stream), request)
    await _is_open(run, connection, 0, ENROLLMENT_CLOSE_S)
    await advance(run, ENROLLMENT_CLOSE_S * EARLY)
    await enroll(run, await new_request(run, "Y"), "Y")
    await _is_open(run, connection, ENROLLMENT_CLOSE_S * EARLY, ENROLLMENT_CLOSE_S)
    await advance(run, ENROLLMENT_CLOSE_S * (1 - EARLY))
    await _is_closed(run, connection, "shutdown")


async def _is_refused(run: CaseRun, stream: Stream) -> None:
    code = REASONS["unsupported"].code
    await stream.wait_for(lambda: stream.stop_code is not None, run.deadline_s)
    codes = [stream.stop_code] if stream.uni else [stream.stop_code, stream.reset_code]
    if codes != [code] * len(codes):
        raise CaseFailed(
            "not-refused",
            "a further stream was not refused",
            expected=(f"STOP and RESET with {code:#x}",),
            received=(f"codes {codes}",),
            missed=not stream.refused,
        )


@process_case(
    "MW-7376",
    "streams of a client after its first one must be refused, and the first one served",
    rules=("EN-079",),
)
async def further_streams(run: CaseRun) -> None:
    """A second request on one connection is served, or a uni stream is read for ever."""
    request, other = await new_request(run), await new_request(run)
    connection = await connect(run)
    half = framed(request.encode())
    first = await send_on(run, connection, half[:-1], fin=False)
    for uni in (False, True):
        more = await connection.open(uni=uni)
        await more.write(framed(other.encode()))
        await _is_refused(run, more)
    await first.write(half[-1:])
    await first.finish()
    check_approved(run, await response_on(run, first), request)


@process_case(
    "MW-7379",
    "a uni stream before the request must be refused, and the request served",
    rules=("EN-079",),
)
async def uni_stream_first(run: CaseRun) -> None:
    """The first stream is read, whatever it is, and the response has no way back."""
    request = await new_request(run)
    connection = await connect(run)
    early = await connection.open(uni=True)
    await early.write(framed(request.encode()))
    await _is_refused(run, early)
    stream = await send_on(run, connection, framed(request.encode()))
    check_approved(run, await response_on(run, stream), request)


@enrollment_case(
    "MW-7377",
    "addresses for enrollment must speak its protocol alone, and others not",
    rules=("EN-060", "LB-005"),
)
async def other_protocols(run: CaseRun) -> None:
    """A node that syncs gets in where nobody proves anything, or the other way round."""
    here = run.session.target.facts.addresses[0]
    for alpn, address in ((ALPN, ""), (ENROLLMENT_ALPN, here)):
        try:
            await dial_enrollment(run, alpn=alpn, address=address)
        except ConnectionError:
            continue
        raise CaseFailed("accepted", f"a caller of the protocol {alpn!r} was accepted")
