"""A node that enrolls others: over each transport, and with clients that do what none should."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

import turns
from meshwire_reference.core.enrollment.applicant import Membership, NotEnrolled
from meshwire_reference.core.enrollment.framing import FramedMessage, framed
from meshwire_reference.core.identity import public_key_of
from meshwire_reference.core.inputs import (
    ConnectionClosed,
    StreamData,
    StreamReset,
    StreamStopped,
    TransportEvent,
)
from meshwire_reference.core.settings import Dialect, Settings
from meshwire_reference.core.trust.signing import issue_revocation
from meshwire_reference.node import enrolling
from meshwire_reference.node.applying import enroll
from meshwire_reference.node.clocks import Clock
from meshwire_reference.node.config import Config
from meshwire_reference.node.driver import Node
from meshwire_reference.node.enrolling import Enrollment
from meshwire_reference.node.log import NodeLog
from meshwire_reference.node.online import Signal
from meshwire_reference.store.base import StoreError
from meshwire_reference.store.invitations import Invitations
from meshwire_reference.store.mesh_folder import MeshFolder
from meshwire_reference.testing.enrolling import CLIENT_SEED, applicant, new_mesh
from meshwire_reference.testing.memory_transport import offer_memory
from meshwire_reference.transport.base import Connection, TransportOptions, Unreachable, Windows
from meshwire_reference.transport.registry import dial, listen
from meshwire_reference.wire.enrollment import (
    EnrollmentResponse,
    decode_enrollment_response,
    encode_enrollment_request,
)
from meshwire_spec.numbers import (
    ENROLLMENT_ALPN,
    ENROLLMENT_CLOSE_S,
    ENROLLMENT_REQUEST_S,
    REASONS,
    EnrollmentStatus,
)

LIMIT_S = 600
"""Seconds after which a test hangs; nothing takes as long."""
TOKENS = tuple(bytes((number,)) * 32 for number in range(1, 9))
EVERY = pytest.mark.parametrize(
    "scheme",
    [
        pytest.param("memory", id="memory"),
        pytest.param("tcp", marks=pytest.mark.socket),
        pytest.param(
            "quic",
            marks=[
                pytest.mark.socket,
                pytest.mark.skipif(find_spec("aioquic") is None, reason="no extra quic"),
            ],
        ),
        pytest.param(
            "iroh",
            marks=[
                pytest.mark.socket,
                pytest.mark.skipif(find_spec("iroh") is None, reason="no extra iroh"),
            ],
        ),
    ],
)


class Kept(NodeLog):
    """A log that keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[dict[str, Any]] = []
        self._written = Signal()

    def write(self, event: str, **facts: object) -> None:
        """Keep an event."""
        self.lines.append({"event": event, **facts})
        self._written.give()

    async def until(self, holds: Callable[[], bool]) -> None:
        """Wait until something holds that is written."""
        await self._written.until(holds)


class Authority:
    """An enrollment that is served during a test, and clients of it."""

    def __init__(self, folder: MeshFolder) -> None:
        self.folder = folder
        self.clock = Clock()
        self.log = Kept()
        self.served = Enrollment(folder, self.clock, self.log)

    @property
    def address(self) -> str:
        """Return where it enrolls."""
        return self.served.addresses[0]

    async def enroll(self, token: bytes = TOKENS[0], seed: bytes = CLIENT_SEED) -> Membership:
        """Enroll a client with a token."""
        application = applicant(self.folder, token, seed)
        return await enroll(self.address, application, self.clock.wall_ms, wait_s=LIMIT_S)

    async def dial(self, **options: Any) -> Client:
        """Return a connection for enrollment of the client."""
        made = {"endpoint_id": public_key_of(CLIENT_SEED), "secret_key": CLIENT_SEED, **options}
        return Client(await dial(self.address, TransportOptions(alpn=ENROLLMENT_ALPN, **made)))

    def request(self, token: bytes = TOKENS[0]) -> bytes:
        """Return the bytes of a half with a right request."""
        request = applicant(self.folder, token).request(self.clock.wall_ms())
        return framed(encode_enrollment_request(request))

    def events(self, name: str) -> list[dict[str, Any]]:
        """Return the events of a name in the log."""
        return [one for one in self.log.lines if one["event"] == name]


Test = Callable[[Authority], Awaitable[None]]


def run(test: Test, tmp_path: Path, scheme: str = "memory") -> None:
    """Run a test against an authority that has given out some tokens."""
    offer_memory()
    address = "memory://enroll" if scheme == "memory" else f"{scheme}://127.0.0.1:0"

    async def whole() -> None:
        authority = Authority(new_mesh(tmp_path / "mesh", Clock().wall_ms(), *TOKENS))
        try:
            async with asyncio.timeout(LIMIT_S):
                await authority.served.open((address,), TransportOptions(bytes(32)))
                await test(authority)
        finally:
            await authority.served.close()

    asyncio.run(whole())


class Client:
    """A connection for enrollment, with its events as they come."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self._events: deque[TransportEvent] = deque()
        self.seen: list[TransportEvent] = []

    async def open(self, data: bytes, *, fin: bool = False, bidi: bool = True) -> int:
        """Open a stream with these bytes and return its number."""
        stream = await self.connection.open(bidi=bidi)
        await self.connection.send(stream, data, fin=fin)
        return stream

    async def next(self, *kinds: type[TransportEvent]) -> TransportEvent:
        """Return the next event of these kinds; those before it are dropped."""
        while True:
            if not self._events:
                self._events.extend(await self.connection.next_events())
            event = self._events.popleft()
            self.seen.append(event)
            if isinstance(event, kinds):
                return event

    async def told(self, event: TransportEvent) -> bool:
        """Return True once an event has come."""
        while event not in self.seen:
            await self.next(type(event))
        return True

    async def response(self, stream: int) -> EnrollmentResponse:
        """Return the response on a stream, once its half has ended."""
        message = FramedMessage()
        while not message.is_over:
            event = await self.next(StreamData, ConnectionClosed)
            assert isinstance(event, StreamData), event
            assert event.stream == stream
            self.connection.consumed(stream, len(event.data))
            message.receive(event.data, fin=event.fin)
        assert message.message is not None, message.fault
        return decode_enrollment_response(message.message)

    async def closed(self) -> ConnectionClosed:
        """Return how the node closes the connection."""
        event = await self.next(ConnectionClosed)
        assert isinstance(event, ConnectionClosed)
        return event


@EVERY
def test_a_node_enrolls_over_each_transport(tmp_path: Path, scheme: str) -> None:
    """The response comes, with certificate and secret; the token is used then."""

    async def test(authority: Authority) -> None:
        member = await authority.enroll()
        keys = authority.folder.keys()

        assert member.certificate.subject == public_key_of(CLIENT_SEED)
        assert member.certificate.issuer == public_key_of(keys.seed)
        assert member.formation_secret == keys.formation_secret
        with pytest.raises(NotEnrolled, match="used-token") as denied:
            await authority.enroll()
        assert denied.value.is_known
        assert [one["node_id"] for one in authority.events("enrolled")] == ["node-2"]
        assert [one["reason"] for one in authority.events("not-enrolled")] == ["used-token"]

    run(test, tmp_path, scheme)


@EVERY
def test_another_protocol_is_not_enrollment(tmp_path: Path, scheme: str) -> None:
    """A peer that wants to sync gets no connection there."""

    async def test(authority: Authority) -> None:
        with pytest.raises(Unreachable):
            await dial(authority.address, TransportOptions(bytes(32), secret_key=bytes(32)))

    run(test, tmp_path, scheme)


def test_one_of_many_at_once_gets_the_token(tmp_path: Path) -> None:
    """Of clients of different keys; the others receive that it is used."""

    async def test(authority: Authority) -> None:
        seeds = [bytes((number,)) * 32 for number in range(20, 32)]
        ends = await asyncio.gather(
            *(authority.enroll(seed=seed) for seed in seeds), return_exceptions=True
        )
        failed = [one for one in ends if isinstance(one, BaseException)]

        assert len(failed) == len(seeds) - 1
        assert all("used-token" in str(one) for one in failed)

    run(test, tmp_path)


def test_a_use_is_durable_before_the_response(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where it cannot be stored, the request is denied, and the log says why."""
    order: list[str] = []
    claim, encode = Invitations.claim, enrolling.encode_enrollment_response

    async def test(authority: Authority) -> None:
        def claimed(self: Any, digest: bytes, use: Any) -> bool:
            order.append("claim")
            return claim(self, digest, use)

        def encoded(response: EnrollmentResponse) -> bytes:
            order.append("response")
            return encode(response)

        def fails(_self: Any, _digest: bytes, _use: Any) -> bool:
            raise StoreError("the disk is full")

        monkeypatch.setattr(Invitations, "claim", claimed)
        monkeypatch.setattr(enrolling, "encode_enrollment_response", encoded)
        await authority.enroll()
        assert order == ["claim", "response"]
        monkeypatch.setattr(Invitations, "claim", fails)
        with pytest.raises(NotEnrolled, match="denied: 'internal'"):
            await authority.enroll(TOKENS[1])
        assert [one["why"] for one in authority.events("enrollment-failed")] == ["the disk is full"]

    run(test, tmp_path)


def test_a_revoked_node_is_denied(tmp_path: Path) -> None:
    """By the folder of its mesh or by what the node knows; its token is left unused."""

    async def test(authority: Authority) -> None:
        keys, subject = authority.folder.keys(), public_key_of(CLIENT_SEED)
        other = public_key_of(bytes((9,)) * 32)
        authority.folder.revoke(issue_revocation(keys.seed, other, keys.mesh_id, 1))
        assert (await authority.enroll(TOKENS[1])).formation_secret is not None
        authority.folder.revoke(issue_revocation(keys.seed, subject, keys.mesh_id, 1))
        with pytest.raises(NotEnrolled, match="denied: 'revoked'; enroll with a new key"):
            await authority.enroll()
        assert (await authority.enroll(seed=bytes((8,)) * 32)).formation_secret is not None
        known = public_key_of(bytes((8,)) * 32)
        authority.served._revoked = lambda: {known}
        with pytest.raises(NotEnrolled, match="denied: 'revoked'"):
            await authority.enroll(TOKENS[2], bytes((8,)) * 32)

    run(test, tmp_path)


def test_what_cannot_be_decided_is_denied_and_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A certificate that cannot be written, or revocations that cannot be read; none waits."""

    async def test(authority: Authority) -> None:
        given = authority.folder.invitations.read()
        endless = tuple(replace(one, certificate_ms=2**64) for one in given)
        with monkeypatch.context() as patched:
            patched.setattr(Invitations, "read", lambda _self: endless)
            client = await authority.dial()
            stream = await client.open(authority.request(), fin=True)
            response = await client.response(stream)
        assert (response.status, response.reason) == (EnrollmentStatus.DENIED, "internal")
        assert response.timestamp != 0
        (tmp_path / "mesh" / "revocations.txt").write_text("nonsense", "ascii")
        with pytest.raises(NotEnrolled, match="denied: 'internal'; its log says why"):
            await authority.enroll()
        failed = [one["why"] for one in authority.events("enrollment-failed")]
        assert ["expires_at" in failed[0], "revocations.txt" in failed[1]] == [True, True]
        assert not any(one.is_used for one in authority.folder.invitations.read())

    run(test, tmp_path)


@EVERY
def test_the_address_of_another_protocol_is_explained(tmp_path: Path, scheme: str) -> None:
    """Where members sync nobody is enrolled, and the line says where one is."""

    async def test(authority: Authority) -> None:
        where = "memory://sync" if scheme == "memory" else f"{scheme}://127.0.0.1:0"
        listener = await listen(where, TransportOptions(bytes(32)))
        try:
            application = applicant(authority.folder, TOKENS[0])
            with pytest.raises(
                NotEnrolled, match="; nodes enroll at the address of --enroll-listen"
            ):
                await enroll(listener.address, application, lambda: 0, wait_s=LIMIT_S)
        finally:
            await listener.close()

    run(test, tmp_path, scheme)


def test_a_bad_invitation_stops_no_other(tmp_path: Path) -> None:
    """It is named in the log, once."""

    async def test(authority: Authority) -> None:
        path = tmp_path / "mesh" / "invitations" / f"{64 * 'a'}.invitation"
        path.write_bytes(b"{")
        path.chmod(0o600)
        for token in TOKENS[:2]:
            assert (await authority.enroll(token)).formation_secret is not None
        ignored = [one["why"] for one in authority.events("invitation-ignored")]
        assert ignored == [f"{path} is no invitation"]

    run(test, tmp_path)


def test_a_client_without_a_request_is_closed(tmp_path: Path) -> None:
    """After its deadline and not before, however many bytes have come."""

    async def test(authority: Authority) -> None:
        client = await authority.dial()
        await client.open(authority.request()[:-1])
        # Its refusal shows that the node has begun to wait.
        await client.open(b"x", bidi=False)
        await client.next(StreamStopped)
        authority.clock.advance(ENROLLMENT_REQUEST_S - 1)
        assert (await authority.enroll(TOKENS[1])).formation_secret is not None
        assert client.connection.closed is None
        authority.clock.advance(1)
        closed = await client.closed()

        assert (closed.code, closed.reason) == (
            REASONS["handshake-timeout"].code,
            "handshake-timeout",
        )

    run(test, tmp_path)


def test_a_slow_reader_gets_the_whole_response(tmp_path: Path) -> None:
    """With credit for a byte at a time; the connection stays until the client ends it."""

    async def test(authority: Authority) -> None:
        client = await authority.dial(windows=Windows(max_stream_data=1))
        stream = await client.open(authority.request(), fin=True)
        response = await client.response(stream)

        assert response.status is EnrollmentStatus.APPROVED
        authority.clock.advance(ENROLLMENT_CLOSE_S - 1)
        assert (await authority.enroll(TOKENS[1])).formation_secret is not None
        assert client.connection.closed is None
        authority.clock.advance(1)
        assert (await client.closed()).code == 0

    run(test, tmp_path)


def test_further_streams_are_refused(tmp_path: Path) -> None:
    """Of both kinds; the first one goes on."""

    async def test(authority: Authority) -> None:
        code = REASONS["unsupported"].code
        client = await authority.dial()
        request = authority.request()
        first = await client.open(request[:-1])
        for bidi in (True, False):
            more = await client.open(authority.request(), bidi=bidi)
            said = {await client.next(StreamStopped, StreamReset) for _ in range(1 + bidi)}
            assert said == {StreamStopped(more, code), *([StreamReset(more, code)] * bidi)}
        await client.connection.send(first, request[-1:], fin=True)

        assert (await client.response(first)).status is EnrollmentStatus.APPROVED

    run(test, tmp_path)


@pytest.mark.parametrize(
    ("half", "fin", "reason"),
    [
        (b"\x01\x00\x01\x00", False, "length-limit"),
        (b"\x01\x00\x00\x00ab", False, "trailing-bytes"),
        (b"\x02\x00\x00\x00a", True, "truncated"),
        (b"\x00\x00\x00\x00", True, "truncated"),
    ],
)
def test_what_is_no_request_is_denied_at_once(
    tmp_path: Path, half: bytes, *, fin: bool, reason: str
) -> None:
    """Also where the client would send on; what is left of its half is stopped then."""

    async def test(authority: Authority) -> None:
        client = await authority.dial()
        stream = await client.open(half, fin=fin)
        response = await client.response(stream)

        assert fin or await client.told(StreamStopped(stream, REASONS[reason].code))
        assert (response.status, response.reason) == (EnrollmentStatus.DENIED, reason)
        assert [one["reason"] for one in authority.events("not-enrolled")] == [reason]

    run(test, tmp_path)


def test_a_reset_half_is_no_request(tmp_path: Path) -> None:
    """It is denied as one that was cut short."""

    async def test(authority: Authority) -> None:
        client = await authority.dial()
        stream = await client.open(authority.request()[:-1])
        client.connection.reset(stream, 7)

        assert (await client.response(stream)).reason == "truncated"

    run(test, tmp_path)


def test_a_client_that_goes_has_used_its_token(tmp_path: Path) -> None:
    """Also if it does not read the response."""

    async def test(authority: Authority) -> None:
        client = await authority.dial()
        await client.open(authority.request(), fin=True)
        await authority.log.until(lambda: bool(authority.events("enrolled")))
        await client.connection.close(0, "shutdown")
        with pytest.raises(NotEnrolled, match="used-token"):
            await authority.enroll()
        assert len(authority.events("enrolled")) == 1

    run(test, tmp_path)


def test_an_end_without_a_response_is_an_unknown_outcome(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As deployed authorities leave every client."""

    async def test(authority: Authority) -> None:
        async def ends(self: Any, _stream: int) -> None:
            await self._connection.close(0, "")

        monkeypatch.setattr("meshwire_reference.node.enrolling._Attempt._respond", ends)
        with pytest.raises(NotEnrolled, match="ended before the response") as found:
            await authority.enroll()
        assert not found.value.is_known

    run(test, tmp_path)


def test_a_client_waits_as_long_as_its_user_wants(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And does not know the outcome then."""

    async def test(authority: Authority) -> None:
        async def never(_self: Any, _stream: int) -> None:
            await asyncio.Event().wait()

        monkeypatch.setattr("meshwire_reference.node.enrolling._Attempt._respond", never)
        application = applicant(authority.folder, TOKENS[0])
        with pytest.raises(NotEnrolled, match=r"no response came within 0 s") as found:
            await enroll(authority.address, application, authority.clock.wall_ms, wait_s=0.0)
        assert not found.value.is_known

    run(test, tmp_path)


def test_nobody_there_is_a_known_outcome(tmp_path: Path) -> None:
    """The token is not used."""

    async def test(authority: Authority) -> None:
        application = applicant(authority.folder, TOKENS[0])
        with pytest.raises(NotEnrolled, match="memory://nobody") as found:
            await enroll("memory://nobody", application, lambda: 0, wait_s=LIMIT_S)
        assert found.value.is_known

    run(test, tmp_path)


def test_no_log_has_a_token_or_a_secret(tmp_path: Path) -> None:
    """In whatever form; nor has the folder a token."""

    async def test(authority: Authority) -> None:
        await authority.enroll()
        with pytest.raises(NotEnrolled):
            await authority.enroll()
        genesis, said = authority.folder.genesis(), json.dumps(authority.log.lines, default=repr)
        files = b"".join(
            path.read_bytes() for path in (tmp_path / "mesh" / "invitations").iterdir()
        )
        for secret in (
            TOKENS[0],
            genesis.root_secret,
            genesis.authority_secret,
            authority.folder.keys().formation_secret,
        ):
            assert secret.hex() not in said
            assert repr(secret) not in said
            assert secret not in files
            assert secret.hex().encode() not in files

    run(test, tmp_path)


def test_it_is_found_at_its_address_again(tmp_path: Path) -> None:
    """After a close and an open, and knows which tokens are used."""

    async def test(authority: Authority) -> None:
        await authority.enroll()
        before = authority.address
        await authority.served.close()
        await authority.served.open(("memory://other",), TransportOptions(bytes(32)))
        assert authority.address == before
        with pytest.raises(NotEnrolled, match="used-token"):
            await authority.enroll()
        assert (await authority.enroll(TOKENS[1])).formation_secret is not None

    run(test, tmp_path)


def config_of(mesh: Path) -> Config:
    """Return the configuration of a node that is the authority of a mesh."""
    return Config(
        ("memory://served",),
        Settings(Dialect.OPEN, heartbeat_s=0),
        authority=mesh,
        enroll_listen=("memory://enroll",),
    )


@pytest.mark.process
def test_a_node_serves_enrollment_beside_its_peers(tmp_path: Path) -> None:
    """From its start to its end, also after it was emptied."""
    offer_memory()

    async def test() -> None:
        node = Node(config_of(tmp_path / "mesh"))
        folder = new_mesh(tmp_path / "mesh", node.clock.wall_ms(), *TOKENS)
        try:
            await node.start()
            for token in TOKENS[:2]:
                application = applicant(folder, token)
                where = "memory://enroll"
                await enroll(where, application, node.clock.wall_ms, wait_s=LIMIT_S)
                await node.reset()
        finally:
            await node.close()
        assert [one.is_used for one in folder.invitations.read()].count(True) == 2
        with pytest.raises(NotEnrolled, match="memory://enroll"):
            await enroll(where, application, node.clock.wall_ms, wait_s=LIMIT_S)

    asyncio.run(test())


def test_a_node_does_not_start_without_its_mesh(tmp_path: Path) -> None:
    """A folder that has none is named."""

    async def start() -> None:
        node = Node(config_of(tmp_path))
        try:
            await node.start()
        finally:
            await node.close()

    offer_memory()
    with pytest.raises(StoreError, match="genesis"):
        asyncio.run(start())


def test_the_window_of_a_caller_is_not_needed(tmp_path: Path) -> None:
    """A client without any credit holds its connection for a bounded time."""

    async def test(authority: Authority) -> None:
        client = await authority.dial(windows=replace(Windows(), max_stream_data=0))
        await client.open(authority.request(), fin=True)
        await authority.log.until(lambda: bool(authority.events("enrolled")))
        await turns.all_wait()
        authority.clock.advance(ENROLLMENT_CLOSE_S)
        assert (await client.closed()).code == 0

    run(test, tmp_path)
