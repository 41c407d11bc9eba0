"""Nodes of `oplog/1` with a join token and under TLS, over sockets."""

import asyncio
import datetime as dt
import json
from contextlib import suppress
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from websockets.asyncio.client import connect
from websockets.asyncio.connection import Connection
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from meshwire_reference.node.operations import OplogNode
from meshwire_reference.oplog.authoring import OperationAuthor
from meshwire_reference.oplog.hub import Hub
from meshwire_reference.oplog.join import JoinIdentity
from meshwire_reference.oplog.replica import Replica, ReplicaSettings
from meshwire_reference.oplog.schema import TYPES
from meshwire_reference.oplog.signatures import Signer
from meshwire_reference.testing.progress import NotedCounts, Progress
from meshwire_reference.transport.base import TransportError
from meshwire_reference.transport.websocket import Security, dial_websocket, read_tls
from meshwire_spec.numbers import OPLOG_JOIN_BYTES_MAX

pytestmark = pytest.mark.socket
TOKEN = b"one token of the mesh"
# Of the certificates: no test runs before or after.
VALID_FROM = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)
VALID_TO = dt.datetime(2999, 1, 1, tzinfo=dt.UTC)


class Member:
    """A node with an author and a log."""

    def __init__(self, number: int, token: bytes | None = TOKEN, **security: object) -> None:
        self.progress = Progress()
        self.hub = Hub(Replica(ReplicaSettings(schema=TYPES)))
        self.hub.counts = NotedCounts(self.progress)
        self.lines: list[str] = []
        self.node = OplogNode(
            self.hub, keep, lambda _, text: self.lines.append(text), lambda: -4.999, lambda: 0.0
        )
        signer = Signer(bytes([number]) * 32)
        self.author = OperationAuthor(signer, self.hub.replica)
        if token is not None:
            self.node.identity = JoinIdentity(token, signer.author)
            security["first_bytes_max"] = OPLOG_JOIN_BYTES_MAX
        self.node.security = Security(**security)  # type: ignore[arg-type] # of its fields

    async def write(self, text: str) -> None:
        """Insert a text at the end of a list."""
        self.hub.add_own(self.author.append(("ls",), text))
        await self.node.publish()

    def texts(self) -> list[str]:
        """Return the list."""
        return [str(text.view()) for text in self.hub.replica.document.fields["ls"].shown()]

    async def operations(self, count: int) -> None:
        """Wait until the node has `count` operations."""
        await self.progress.until(lambda: len(self.hub.log) == count)

    async def has_refused(self, count: int = 1) -> None:
        """Wait until the node has refused `count` peers."""
        await self.progress.until(lambda: self.hub.counts["join-refused"] == count)


async def keep(_: list[str]) -> None:
    """Store nothing."""


async def rest(connection: Connection) -> list[str]:
    """Return every message until the connection is over."""
    found = []
    with suppress(ConnectionClosed):
        while True:
            found.append(str(await connection.recv()))
    return found


def test_two_nodes_with_the_token_meet() -> None:
    """A long bulk follows the proofs at once, on both sides."""

    async def run() -> None:
        one, two = Member(1), Member(2)
        await one.write("x" * 5000)
        await two.write("y" * 5000)
        one.node.keep_connected(await two.node.listen("127.0.0.1", 0))
        await one.operations(2)
        await two.operations(2)
        await one.write("z")
        await two.operations(3)
        assert sorted(one.texts()) == ["x" * 5000, "y" * 5000, "z"]
        assert two.texts() == one.texts()
        await one.node.close()
        await two.node.close()

    asyncio.run(run())


def test_nothing_is_sent_to_a_peer_without_the_token() -> None:
    """It gets a hello, nothing that depends on operations, and a close frame that says why."""

    async def run() -> None:
        one = Member(1)
        await one.write("secret")
        address = await one.node.listen("127.0.0.1", 0)
        firsts = {'{"type":"bulk","ops":[]}': 4002, b"binary": 4002, " " * 1025: 1009}
        for first, code in firsts.items():
            async with connect(address, compression=None, proxy=None) as peer:
                got = [str(await peer.recv())]
                await peer.send(first)
                got += await rest(peer)
                assert [json.loads(text)["type"] for text in got] == ["join-hello"]
                assert peer.close_code == code
        await one.has_refused(3)
        await one.node.close()

    asyncio.run(run())


def test_a_node_with_another_token_is_refused() -> None:
    """By the dialler, which has not shown anything by then."""

    async def run() -> None:
        one, two = Member(1), Member(2, token=b"another token, as long")
        await one.write("x")
        two.node.keep_connected(await one.node.listen("127.0.0.1", 0))
        await two.has_refused()
        assert two.hub.log == []
        assert any("wrong proof" in line for line in two.lines)
        await two.node.close()
        await one.node.close()

    asyncio.run(run())


def test_a_dialled_stranger_learns_nothing() -> None:
    """Whatever it answers, it gets one hello, and no byte of the token (D-128)."""

    async def run() -> None:
        seen: list[str] = []

        async def stranger(connection: ServerConnection) -> None:
            assert connection.request is not None
            seen.append(connection.request.path)
            seen.extend(f"{key}: {value}" for key, value in connection.request.headers.raw_items())
            await connection.send(json.dumps(
                {"type": "join-hello", "v": 1, "node": "55" * 32, "nonce": "66" * 32}
            ))  # fmt: skip
            await connection.send(json.dumps({"type": "join-proof", "proof": "00" * 32}))
            seen.extend(await rest(connection))

        async with serve(stranger, "127.0.0.1", 0) as server:
            port = next(iter(server.sockets)).getsockname()[1]
            one = Member(1)
            await one.write("secret")
            one.node.keep_connected(f"ws://127.0.0.1:{port}/crdt-sync")
            await one.has_refused()
            await one.node.close()
        said = [json.loads(text) for text in seen if text.startswith("{")]
        assert [message["type"] for message in said] == ["join-hello"] * len(said)
        assert said
        assert not any(TOKEN.decode() in text for text in seen)

    asyncio.run(run())


def test_a_silent_peer_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    """It may not keep a place without a proof."""
    monkeypatch.setattr("meshwire_reference.node.operations.JOIN_S", 0.05)

    async def run() -> None:
        one = Member(1)
        async with connect(await one.node.listen("127.0.0.1", 0), proxy=None) as peer:
            await peer.wait_closed()
            assert peer.close_code == 4002
        await one.node.close()

    asyncio.run(run())


def test_a_bearer_is_demanded_and_sent_in_a_header() -> None:
    """Where both sides are configured so; a dialler without it gets 401."""

    async def run() -> None:
        bearer = TOKEN.decode()
        one, two = Member(1, None, bearer=bearer), Member(2, None, bearer=bearer)
        await one.write("x")
        address = await one.node.listen("127.0.0.1", 0)
        two.node.keep_connected(address)
        await two.operations(1)
        for security in (Security(), Security(bearer=bearer + "x")):
            with pytest.raises(TransportError, match="401"):
                await dial_websocket(address, security)
        await two.node.close()
        await one.node.close()

    asyncio.run(run())


# --- TLS -------------------------------------------------------------------------------------


class Authority:
    """An authority that certifies hosts; its files are in a folder."""

    def __init__(self, folder: Path, name: str) -> None:
        self._folder = folder
        self._name = name
        self._key = ec.generate_private_key(ec.SECP256R1())
        subject = _named(name)
        self._certificate = (
            _builder(subject, subject, self._key.public_key())
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(self._key, hashes.SHA256())
        )
        self.file = folder / f"{name}.pem"
        self.file.write_bytes(self._certificate.public_bytes(serialization.Encoding.PEM))

    def certify(self, host: str) -> tuple[Path, Path]:
        """Return the files of a certificate for a host, and of its key."""
        key = ec.generate_private_key(ec.SECP256R1())
        try:
            name: x509.GeneralName = x509.IPAddress(ip_address(host))
        except ValueError:
            name = x509.DNSName(host)
        certificate = (
            _builder(_named(host), self._certificate.subject, key.public_key())
            .add_extension(x509.SubjectAlternativeName([name]), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        files = self._folder / f"{self._name}-{host}.pem", self._folder / f"{host}.key"
        files[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        files[1].write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        return files


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey
) -> x509.CertificateBuilder:
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key)
    builder = builder.serial_number(x509.random_serial_number())
    return builder.not_valid_before(VALID_FROM).not_valid_after(VALID_TO)


def test_a_session_under_tls_is_bound_to_the_certificate(tmp_path: Path) -> None:
    """The same proofs, with the certificate of the listener in them."""

    async def run() -> None:
        authority = Authority(tmp_path, "ours")
        one = Member(1, tls=read_tls(*authority.certify("127.0.0.1")))
        two = Member(2, authorities=authority.file)
        await one.write("x")
        address = await one.node.listen("127.0.0.1", 0, "wss")
        assert address.startswith("wss://127.0.0.1:")
        two.node.keep_connected(address)
        await two.operations(1)
        await two.node.close()
        await one.node.close()

    asyncio.run(run())


def test_a_proof_does_not_pass_through_another_certificate(tmp_path: Path) -> None:
    """Who sits between two nodes with a certificate of its own passes on messages, not proofs."""

    async def run() -> None:
        authority = Authority(tmp_path, "ours")
        between = read_tls(*authority.certify("127.0.0.1"))
        one = Member(1, tls=read_tls(*authority.certify("127.0.0.1")))
        two = Member(2, authorities=authority.file)
        await one.write("secret")
        inner = await one.node.listen("127.0.0.1", 0, "wss")

        async def relay(connection: ServerConnection) -> None:
            onward = await dial_websocket(inner, Security(authorities=authority.file))

            async def back() -> None:
                while isinstance(message := await onward.receive(), str | bytes):
                    await connection.send(message)

            task = asyncio.create_task(back())
            async for message in connection:
                await onward.send(message)
            task.cancel()
            await onward.close(1000, "")

        async with serve(relay, "127.0.0.1", 0, ssl=between.context) as server:
            port = next(iter(server.sockets)).getsockname()[1]
            two.node.keep_connected(f"wss://127.0.0.1:{port}/crdt-sync")
            await two.has_refused()
        assert any("wrong proof" in line for line in two.lines)
        assert two.hub.log == []
        await two.node.close()
        await one.node.close()

    asyncio.run(run())


@pytest.mark.parametrize("wrong", ["authority", "host", "no TLS"])
def test_a_certificate_is_checked(tmp_path: Path, wrong: str) -> None:
    """Another authority, another host, and a listener without TLS are refused."""

    async def run() -> None:
        ours, other = Authority(tmp_path, "ours"), Authority(tmp_path, "other")
        host = "localhost" if wrong == "host" else "127.0.0.1"
        one = Member(1, None, tls=read_tls(*ours.certify(host)))
        address = await one.node.listen("127.0.0.1", 0, "ws" if wrong == "no TLS" else "wss")
        trusted = other if wrong == "authority" else ours
        with pytest.raises(TransportError):
            await dial_websocket(
                address.replace("ws://", "wss://"), Security(authorities=trusted.file)
            )
        assert not one.hub.sessions
        await one.node.close()

    asyncio.run(run())


def test_files_that_are_none_are_refused(tmp_path: Path) -> None:
    """A missing file, text that is no certificate, and a key of another certificate."""
    authority = Authority(tmp_path, "ours")
    certificate, _ = authority.certify("127.0.0.1")
    _, key = authority.certify("localhost")
    text = tmp_path / "text"
    text.write_text("x")
    for files in ((tmp_path / "none", key), (text, text), (certificate, key)):
        with pytest.raises(TransportError):
            read_tls(*files)
