"""A client of enrollment: one connection to an authority, one request, and its response."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from meshwire_reference.core.enrollment.applicant import (
    Application,
    Membership,
    NotEnrolled,
    membership_of,
)
from meshwire_reference.core.enrollment.framing import FramedMessage, framed
from meshwire_reference.core.identity import public_key_of
from meshwire_reference.core.inputs import ConnectionClosed, StreamData, StreamId, StreamReset
from meshwire_reference.transport.base import (
    SHUTDOWN,
    Connection,
    ConnectionGone,
    StreamGone,
    TransportOptions,
    Unreachable,
)
from meshwire_reference.transport.registry import dial
from meshwire_reference.wire.enrollment import encode_enrollment_request
from meshwire_spec.numbers import ENROLLMENT_ALPN

OTHER_PROTOCOL: Final = ("wrong-alpn", "error 120")
"""What a transport says of a listener without this protocol: its reason, or the alert of TLS."""
OTHER_ADDRESS: Final = "; nodes enroll at the address of --enroll-listen, not at that of --listen"


async def enroll(
    address: str,
    application: Application,
    wall_ms: Callable[[], int],
    *,
    wait_s: float,
    lab: bool = False,
) -> Membership:
    """Ask the authority at an address for membership and return what it gives.

    `wall_ms` returns the time in ms since 1970, `wait_s` is how long the response may take. Raises
    NotEnrolled, AddressRefused, Unencodable.
    """
    request = encode_enrollment_request(application.request(wall_ms()))
    options = TransportOptions(
        public_key_of(application.seed),
        secret_key=application.seed,
        alpn=ENROLLMENT_ALPN,
        lab=lab,
    )
    try:
        connection = await dial(address, options)
    except Unreachable as unreachable:
        is_other = any(one in unreachable.reason for one in OTHER_PROTOCOL)
        step = OTHER_ADDRESS if is_other else ""
        raise NotEnrolled(f"{address} {unreachable.reason}{step}") from unreachable
    try:
        async with asyncio.timeout(wait_s):
            message = await _exchange(connection, request)
    except TimeoutError as exc:
        raise NotEnrolled(f"no response came within {wait_s:g} s", is_known=False) from exc
    finally:
        await connection.close(SHUTDOWN, "shutdown")
    return membership_of(message, application, wall_ms())


async def _exchange(connection: Connection, request: bytes) -> bytes:
    """Send a request and return the bytes of the response. Raises NotEnrolled."""
    response, stream = FramedMessage(), -1
    # An authority that refuses stops the request, or ends the connection, and may say why before.
    with suppress(StreamGone, ConnectionGone):
        stream = await connection.open(bidi=True)
        await connection.send(stream, framed(request), fin=True)
    why = await _receive(connection, stream, response)
    if response.message is None:
        # EN-082
        said = f"the response is malformed: {response.fault}" if response.fault else why
        raise NotEnrolled(said, is_known=False)
    return response.message


async def _receive(connection: Connection, stream: StreamId, response: FramedMessage) -> str:
    """Take the response; return how the connection ended before it, if it did."""
    try:
        async for event in connection.events():
            match event:
                case StreamData(number, data, fin):
                    connection.consumed(number, len(data))
                    if number == stream:
                        response.receive(data, fin=fin)
                case StreamReset(number) if number == stream:
                    response.end()
                case ConnectionClosed() as closed:
                    return _ended(closed)
            if response.is_over:
                return ""
    except ConnectionGone as gone:
        return _ended(gone.closed)
    return ""


def _ended(closed: ConnectionClosed) -> str:
    why = closed.reason or ("it was lost" if closed.code is None else f"code {closed.code}")
    return f"the connection ended before the response: {why}"
