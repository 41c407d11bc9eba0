"""The `aioquic` library as the suite uses it: one side of a connection, without input and output.

What the library (1.7) does not say by a public name is read here and nowhere else: how many streams
the peer has granted, whether bytes wait for a confirmation, the certificate that the peer has
shown, and the end of a connection as soon as it is known. The library reports that end only when
it forgets the connection, three timeouts later.
"""

from __future__ import annotations

import datetime as dt
import logging
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from aioquic.quic import events
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection as LibraryConnection
from aioquic.quic.connection import QuicConnectionState
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID

from meshwire_conformance.targets.transport import Closed
from meshwire_spec.numbers import ALPN

# Its warnings are about packets of a peer, which no reader of a report can act on.
logging.getLogger("quic").addHandler(logging.NullHandler())

IDLE_S = 30.0
"""Seconds without a packet after which a connection is over, as over iroh."""
KEEP_ALIVE_S = 5.0
"""Seconds after which a probe is sent on an idle connection, if its timeout is not shorter."""
PROBES = 3
"""Probes that fit into the idle timeout, so that one may be lost."""
DATAGRAM = 1200
"""Bytes of a datagram: what every path carries, and every peer has to take."""
COMMON_NAME = "meshwire"
_BEGINS = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)
_ENDS = dt.datetime(2100, 1, 1, tzinfo=dt.UTC)
"""The time for which a certificate is valid; peers look at its key alone."""
_PLACE = ("", 0)
"""The place of the peer as the library gets it: the socket knows the real one."""
CERTIFICATES_KEPT = 256
ID_BYTES = 8
"""Bytes of the ids by which packets name connections of the suite."""
LONG_HEADER = 0x80
"""Bit of the first byte of a packet that belongs to a handshake, and says how long its ids are."""
NUMBERS = 2**60
"""Above every number that QUIC can carry in a credit, or nearly so."""
LONG_ID_AT = 6
"""Offset of the id in such a packet, after its length."""


@dataclass(frozen=True, slots=True)
class Identity:
    """A key, and the certificate that the key has signed itself."""

    key: Ed25519PrivateKey | ec.EllipticCurvePrivateKey
    certificate: x509.Certificate

    @property
    def endpoint_id(self) -> bytes:
        """The public key; raises TypeError for a key of another sort."""
        if not isinstance(self.key, Ed25519PrivateKey):
            raise TypeError("a key of another sort is no endpoint id")
        return self.key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)


@lru_cache(maxsize=CERTIFICATES_KEPT)
def identity_of(seed: bytes) -> Identity:
    """Return the identity of a secret key of 32 bytes."""
    return _certified(Ed25519PrivateKey.from_private_bytes(seed))


def identity_of_another_sort() -> Identity:
    """Return a new identity whose key is one of ECDSA, which no endpoint has."""
    return _certified(ec.generate_private_key(ec.SECP256R1()))


def _certified(key: Ed25519PrivateKey | ec.EllipticCurvePrivateKey) -> Identity:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, COMMON_NAME)])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(_BEGINS)
        .not_valid_after(_ENDS)
        .sign(key, None if isinstance(key, Ed25519PrivateKey) else hashes.SHA256())
    )
    return Identity(key, certificate)


class _Asking(LibraryConnection):
    """The accepting side, which asks the dialler for its certificate.

    The library can do so, but has no setting for it.
    """

    def _initialize(self, peer_cid: bytes) -> None:
        super()._initialize(peer_cid)
        self.tls._request_client_certificate = True  # noqa: SLF001 - no public name


def _configuration(
    identity: Identity | None, *, is_client: bool, alpn: str, idle_s: float = IDLE_S
) -> QuicConfiguration:
    return QuicConfiguration(
        alpn_protocols=[alpn],
        certificate=None if identity is None else identity.certificate,
        connection_id_length=ID_BYTES,
        idle_timeout=idle_s,
        is_client=is_client,
        max_datagram_size=DATAGRAM,
        private_key=None if identity is None else identity.key,
        # A certificate is a key here. The library checks its signature all the same.
        verify_mode=ssl.CERT_NONE,
    )


def dialling(identity: Identity | None, alpn: str = ALPN, *, idle_s: float = IDLE_S) -> QuicLink:
    """Return the dialling side of a new connection; without an identity it has no certificate.

    `idle_s` is the idle time that it declares.
    """
    configuration = _configuration(identity, is_client=True, alpn=alpn, idle_s=idle_s)
    return QuicLink(LibraryConnection(configuration=configuration))


def connection_id_of(datagram: bytes) -> bytes | None:
    """Return the id by which a datagram names its connection, or None if it names none."""
    if len(datagram) <= ID_BYTES:
        return None
    if not datagram[0] & LONG_HEADER:
        return datagram[1 : 1 + ID_BYTES]
    named = datagram[LONG_ID_AT : LONG_ID_AT + datagram[LONG_ID_AT - 1]]
    return named or None


def begins(datagram: bytes) -> bool:
    """Return True if a datagram can be the first one of a connection."""
    return len(datagram) >= DATAGRAM and bool(datagram[0] & LONG_HEADER)


def accepting(identity: Identity, first_id: bytes) -> QuicLink:
    """Return the accepting side of a connection whose first packet names this id."""
    configuration = _configuration(identity, is_client=False, alpn=ALPN)
    return QuicLink(
        _Asking(configuration=configuration, original_destination_connection_id=first_id)
    )


class QuicLink:
    """One side of a connection: packets in, packets out, and what happened in between.

    After `receive` or `fire` the caller takes `happened`, looks at `ended`, sends the `packets`,
    and calls `fire` at the time of `timer`.
    """

    def __init__(self, library: LibraryConnection) -> None:
        self._library = library
        self.ids = {library.host_cid}
        """The ids by which the peer may name this connection."""
        self.is_open = False
        """True once both sides are authenticated and streams may be opened."""

    # --- packets and time ---------------------------------------------------------------------

    def begin(self, now: float) -> None:
        """Begin the handshake as the side that dials."""
        self._library.connect(_PLACE, now)

    def receive(self, datagram: bytes, now: float) -> None:
        """Take a datagram of the peer."""
        self._library.receive_datagram(datagram, _PLACE, now)

    def packets(self, now: float) -> list[bytes]:
        """Return the datagrams that may be sent now."""
        return [data for data, _ in self._library.datagrams_to_send(now)]

    def timer(self) -> float | None:
        """Return the time at which `fire` is due."""
        return self._library.get_timer()

    def fire(self, now: float) -> None:
        """Do what is due, such as sending again what was lost."""
        self._library.handle_timer(now)

    def probe(self, number: int = 0) -> None:
        """Send what the peer confirms, so that neither side takes the other for dead.

        `happened` then has a PingAcknowledged with the number.
        """
        self._library.send_ping(number)

    def keep_alive_s(self) -> float:
        """Return after how many idle seconds a probe is due, by the shorter of both timeouts."""
        return min(KEEP_ALIVE_S, self._library._idle_timeout() / PROBES)  # noqa: SLF001 - no public name

    # --- what happened ------------------------------------------------------------------------

    def happened(self) -> Iterator[events.QuicEvent]:
        """Yield what the peer did on its streams since the last call."""
        while (event := self._library.next_event()) is not None:
            match event:
                case events.HandshakeCompleted():
                    self.is_open = True
                case events.ConnectionIdIssued():
                    self.ids.add(event.connection_id)
                case events.ConnectionIdRetired():
                    self.ids.discard(event.connection_id)
            yield event

    def ended(self) -> Closed | None:
        """Return how the connection ended, if neither the suite nor its last word ended it."""
        event = self._library._close_event  # noqa: SLF001 - the public event comes later
        if event is None:
            return None
        said = event.reason_phrase
        if event.frame_type is None:
            return Closed(event.error_code, said)
        if self._library._state is QuicConnectionState.DRAINING:  # noqa: SLF001 - no public name
            return Closed(
                None, f"closed by the target with QUIC error {event.error_code:#x} {said}".rstrip()
            )
        return Closed(None, said or f"QUIC error {event.error_code:#x}")

    def error(self) -> int | None:
        """Return the error of QUIC with which the peer has ended the connection, if it has."""
        event = self._library._close_event  # noqa: SLF001 - as above
        is_draining = self._library._state is QuicConnectionState.DRAINING  # noqa: SLF001 - as above
        is_of_quic = event is not None and event.frame_type is not None
        return event.error_code if event is not None and is_draining and is_of_quic else None

    def peer_id(self) -> bytes | None:
        """Return the endpoint id of the peer, or None if it showed no Ed25519 key."""
        certificate = self._library.tls._peer_certificate  # noqa: SLF001 - no public name
        key = None if certificate is None else certificate.public_key()
        if not isinstance(key, Ed25519PublicKey):
            return None
        return key.public_bytes(Encoding.Raw, PublicFormat.Raw)

    # --- streams ------------------------------------------------------------------------------

    def can_open(self, *, uni: bool) -> bool:
        """Return True if the peer has granted one more stream."""
        taken = self._library.get_next_available_stream_id(is_unidirectional=uni) // 4
        return taken < self.granted(uni=uni)

    def granted(self, *, uni: bool) -> int:
        """Return how many streams of a kind the peer has granted from the beginning on."""
        library = self._library
        return library._remote_max_streams_uni if uni else library._remote_max_streams_bidi  # noqa: SLF001 - no public name

    def overdraw(self, number: int, data: bytes, skipped: int) -> None:
        """Write bytes of a stream whether or not the peer has granted it, `skipped` bytes later."""
        library = self._library
        library._remote_max_streams_bidi = library._remote_max_streams_uni = NUMBERS  # noqa: SLF001 - no public name
        library._remote_max_data = library._remote_max_stream_data_bidi_remote = NUMBERS  # noqa: SLF001 - as above
        library._remote_max_stream_data_uni = NUMBERS  # noqa: SLF001 - as above
        stream = library._get_or_create_stream_for_send(number)  # noqa: SLF001 - as above
        stream.is_blocked, stream.max_stream_data_remote = False, NUMBERS
        stream.sender._buffer_start += skipped  # noqa: SLF001 - as above
        stream.sender._buffer_stop += skipped  # noqa: SLF001 - as above
        library.send_stream_data(number, data)

    def stay_open(self) -> None:
        """Go on without packets of the peer for longer than the idle time that was declared."""
        library = self._library
        library._configuration.idle_timeout = IDLE_S  # noqa: SLF001 - no public name
        library._remote_max_idle_timeout = None  # noqa: SLF001 - as above
        library._close_at = (library._close_at or 0.0) + IDLE_S  # noqa: SLF001 - as above

    def open(self, *, uni: bool) -> int:
        """Return the number of a new stream, of which the peer learns with its first bytes."""
        number = self._library.get_next_available_stream_id(is_unidirectional=uni)
        self._library.send_stream_data(number, b"")
        return number

    def write(self, number: int, data: bytes, *, fin: bool = False) -> None:
        """Queue bytes of this side's half, which must be open."""
        self._library.send_stream_data(number, data, end_stream=fin)

    def reset(self, number: int, code: int) -> None:
        """Reset this side's half."""
        self._library.reset_stream(number, code)

    def stop(self, number: int, code: int) -> None:
        """Stop the peer's half, which must not be over."""
        self._library.stop_stream(number, code)

    def unconfirmed(self) -> bool:
        """Return True if the peer has not confirmed everything that was written."""
        return any(
            not sender.is_finished
            and (sender._buffer_fin is not None or sender._buffer_stop > sender._buffer_start)  # noqa: SLF001 - no public name
            for sender in (stream.sender for stream in self._library._streams.values())  # noqa: SLF001 - as above
        )

    def close(self, code: int, text: str) -> None:
        """Close the connection; what was not sent is dropped."""
        self._library.close(code, reason_phrase=text)
