"""One connection of `aioquic` (1.7.2), without input or output, with what the library leaves out.

The library grants credit as bytes arrive, buffers whatever it is given to send, and asks no client
for a certificate. `HeldConnection` changes this by overriding methods, some of them private:

- MAX_DATA, MAX_STREAM_DATA and MAX_STREAMS rise only as this side grants.
- `room` is what the peer's credit and the bounds of the buffers admit. Bytes that the peer has not
  confirmed count, since they are kept to be sent again.
- A server asks for a certificate. Both sides take Ed25519 alone, so the key of a certificate is an
  endpoint id that TLS has proven; what else a certificate says does not matter.
- A half that the peer has stopped is reset with code 0 (TR-023), not with the code of the stop.
- No datagram is larger than the peer takes.
- CONNECTION_CLOSE is sent again while the peer goes on sending.
- An exception of the library ends the connection.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from ssl import CERT_NONE
from typing import Any, Final, Protocol, TypeAlias

from aioquic._buffer import Buffer
from aioquic.quic import events
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import (
    CONNECTION_LIMIT_FRAME_CAPACITY,
    END_STATES,
    MAX_STREAM_DATA_FRAME_CAPACITY,
    Limit,
    QuicConnection,
    QuicConnectionState,
    QuicReceiveContext,
)
from aioquic.quic.packet import (
    QuicErrorCode,
    QuicFrameType,
    QuicProtocolVersion,
    pull_quic_transport_parameters,
)
from aioquic.quic.packet_builder import QuicDeliveryState, QuicPacketBuilder
from aioquic.quic.recovery import QuicPacketSpace
from aioquic.quic.stream import QuicStream, QuicStreamSender
from aioquic.tls import AlertDescription, CipherSuite, SignatureAlgorithm
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.x509.oid import NameOID

from meshwire_reference.core.inputs import ConnectionClosed, StreamId
from meshwire_reference.transport.base import TransportOptions

Address: TypeAlias = tuple[Any, ...]
"""The address of a socket: host, port, and for IPv6 two numbers more."""

STREAM_BUFFER: Final = 256 * 2**10
"""Bytes of one stream that are sent and not confirmed, or about to be sent."""
CONNECTION_BUFFER: Final = 2**20
"""The same of all streams together."""
OWN_STREAMS_MAX: Final = 2**12
"""Streams of this side that the peer has not confirmed to be over."""

NAME: Final = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "meshwire")])
BEGIN: Final = datetime(2000, 1, 1, tzinfo=UTC)
END: Final = datetime(2999, 12, 31, tzinfo=UTC)
"""An endpoint id has no term."""

WRONG_ALPN: Final = QuicErrorCode.CRYPTO_ERROR + AlertDescription.no_application_protocol
_REASONS: Final[dict[int, str]] = {
    WRONG_ALPN: "wrong-alpn",
    QuicErrorCode.APPLICATION_ERROR: "refused",
    QuicErrorCode.CONNECTION_REFUSED: "refused",
}
"""Reasons of ends whose code is one of QUIC itself."""
IDLE: Final = "Idle timeout"
"""The library's text for a peer that has been silent for too long."""


def configure(
    options: TransportOptions, key: Ed25519PrivateKey, *, dials: bool
) -> QuicConfiguration:
    """Return the library's options for the connections of one endpoint."""
    # TR-034
    certificate = (
        x509.CertificateBuilder()
        .subject_name(NAME)
        .issuer_name(NAME)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(BEGIN)
        .not_valid_after(END)
        .sign(key, None)
    )
    return QuicConfiguration(
        alpn_protocols=[options.alpn],
        certificate=certificate,
        cipher_suites=[
            CipherSuite.AES_128_GCM_SHA256,
            CipherSuite.AES_256_GCM_SHA384,
            CipherSuite.CHACHA20_POLY1305_SHA256,
        ],
        # TR-038
        idle_timeout=options.idle_s,
        is_client=dials,
        max_data=options.windows.max_data,
        max_datagram_size=options.datagram_size,
        max_stream_data=options.windows.max_stream_data,
        private_key=key,
        supported_versions=[QuicProtocolVersion.VERSION_1],
        # The authority of a certificate proves nothing here; the key that signs the handshake does.
        verify_mode=CERT_NONE,
    )


class Receiver(Protocol):
    """Takes what a connection reports, in order."""

    def on_handshake(self) -> None:
        """Take note that the handshake of QUIC is over."""

    def on_data(self, stream: StreamId, data: bytes, *, fin: bool) -> None:
        """Take the next bytes of a stream."""

    def on_reset(self, stream: StreamId, code: int, missing: int) -> None:
        """Take a reset; `missing` bytes count against the credit and never come."""

    def on_stop(self, stream: StreamId, code: int) -> None:
        """Take a stop of this side's half."""

    def on_route(self, name: bytes, *, is_new: bool) -> None:
        """Take note of a connection id by which the peer finds this connection."""


class _DataLimit(Limit):
    """MAX_DATA: the library doubles it as bytes come, which has no effect here."""

    def __init__(self, window: int) -> None:
        self.given = window
        super().__init__(QuicFrameType.MAX_DATA, "max_data", window)

    @property
    def value(self) -> int:
        """The credit that this side has given."""
        return self.given

    @value.setter
    def value(self, _wanted: int) -> None:
        pass


class _StreamsLimit(Limit):
    """MAX_STREAMS of one kind: counts those that the application and the library are done with.

    The application has at most a window of them. The library keeps one until the peer has confirmed
    its end, and has at most two windows: so the peer need not wait for its own confirmation.
    """

    def __init__(self, frame_type: int, window: int) -> None:
        self.window = window
        self.released = 0
        self._forgotten = 0
        super().__init__(frame_type, "max_streams", window)

    @property
    def value(self) -> int:
        """The number of streams that the peer may open."""
        return self.window + min(self.released, self.window + self._forgotten)

    @value.setter
    def value(self, wanted: int) -> None:
        # The library adds one for a stream that it forgets.
        self._forgotten += wanted - self.value


class _Kept:
    """What the streams of a connection keep together."""

    __slots__ = ("size", "written")

    def __init__(self) -> None:
        self.size = 0
        """Bytes that are to be sent, perhaps again."""
        self.written = 0
        """Bytes written from the beginning, but for those that a reset kept from being sent."""


class _Sender(QuicStreamSender):
    """The sending half of a stream, which counts what it keeps for its connection."""

    all_kept: _Kept

    @classmethod
    def replace(cls, sender: QuicStreamSender, kept: _Kept) -> None:
        """Make one of the library's into one of these, before it sends anything."""
        # The library makes it where it makes the stream; a second one would take as long.
        sender.__class__ = cls
        assert isinstance(sender, cls), "it was assigned in the line before"
        sender.all_kept = kept

    @property
    def is_settled(self) -> bool:
        """True if the peer has confirmed everything that was written, with FIN."""
        return (
            self.is_finished
            or self._reset_error_code is not None
            or not (self._buffer_stop > self._buffer_start or self._buffer_fin is not None)
        )

    def room(self, most: int) -> int:
        """Return how many bytes it may take, of which the peer admits `most` from the beginning."""
        stop = self._buffer_stop
        return min(most - stop, STREAM_BUFFER + self._buffer_start - stop)

    def keep(self, data: bytes | memoryview, *, fin: bool) -> None:
        """Keep bytes until they are confirmed."""
        if self._reset_error_code is None:
            # Otherwise the peer has stopped the half, which is about to be reported.
            size = len(data)
            self.all_kept.size += size
            self.all_kept.written += size
            self.write(data, fin)  # type: ignore[arg-type]  # it is appended to a bytearray

    def on_data_delivery(
        self,
        delivery: QuicDeliveryState,
        start: int,
        stop: int,
        fin: bool,  # noqa: FBT001 - the library's signature
    ) -> None:
        """Drop what the peer has confirmed."""
        before = self._buffer_start
        super().on_data_delivery(delivery, start, stop, fin)
        self.all_kept.size -= self._buffer_start - before

    def reset(self, error_code: int) -> None:
        """End the half and drop everything; bytes that were never sent use up no credit."""
        before = self._reset_error_code
        super().reset(error_code)
        if before is None and self._reset_error_code is not None:
            self.all_kept.size -= self._buffer_stop - self._buffer_start
            self.all_kept.written -= self._buffer_stop - self.highest_offset
            self._buffer.clear()
            self._buffer_start = self._buffer_stop


class _NoLog:
    """In place of the library's log, which has a line for each packet and stream."""

    def debug(self, *_: object) -> None:
        """Write nothing."""

    info = warning = error = debug


class HeldConnection(QuicConnection):
    """A connection that holds back credit; see the module."""

    def __init__(
        self,
        options: TransportOptions,
        configuration: QuicConfiguration,
        *,
        named: bytes | None = None,
        retried: bytes | None = None,
    ) -> None:
        """Make a connection; a server names the ids that its caller has used first.

        `named` is the id of the first packet, `retried` the one that a retry gave.
        """
        super().__init__(
            configuration=configuration,
            original_destination_connection_id=named,
            retry_source_connection_id=retried,
        )
        windows = options.windows
        # TR-050
        self._local_max_data = self._data_limit = _DataLimit(windows.max_data)
        bidi = _StreamsLimit(QuicFrameType.MAX_STREAMS_BIDI, windows.max_streams_bidi)
        uni = _StreamsLimit(QuicFrameType.MAX_STREAMS_UNI, windows.max_streams_uni)
        self._local_max_streams_bidi, self._local_max_streams_uni = bidi, uni
        self._streams_limits = (bidi, uni)
        self._kept = _Kept()
        self._logger = self._loss._logger = _NoLog()  # type: ignore[assignment]  # noqa: SLF001 - the library has no other way
        self._farewell: list[tuple[bytes, Address]] = []
        self._after_farewell = 0
        self._repeats = False

    # --- What happened -----------------------------------------------------------------------

    def take_datagram(self, datagram: bytes, address: Address, now: float) -> None:
        """Take a datagram; call `report` afterwards."""
        if self._state is QuicConnectionState.CLOSING:
            self._after_farewell = count = self._after_farewell + 1
            # After 1, 2, 4, 8 packets, so that two that close never answer each other for ever.
            self._repeats = self._repeats or not count & (count - 1)
            return
        try:
            self.receive_datagram(datagram, address, now)
        except Exception:  # noqa: BLE001 - bytes of a peer never raise, whatever fails in the library
            self._fail()

    def take_time(self, now: float) -> None:
        """Do what is due by now; call `report` afterwards."""
        try:
            self.handle_timer(now)
        except Exception:  # noqa: BLE001 - as above
            self._fail()

    def report(self, receiver: Receiver) -> None:
        """Report everything that has happened since the last call."""
        pending = self._events
        while pending:
            event = pending.popleft()
            if type(event) is events.StreamDataReceived:
                receiver.on_data(event.stream_id, event.data, fin=event.end_stream)
            elif (report := _REPORTS.get(type(event))) is not None:
                report(self, receiver, event)

    def take_output(self, now: float) -> list[tuple[bytes, Address]]:
        """Return the datagrams to send now, each with the address of the peer."""
        if self._state in END_STATES:
            repeats, self._repeats = self._repeats, False
            return self._farewell if repeats else []
        is_last = self._close_pending
        try:
            datagrams = self.datagrams_to_send(now)
        except Exception:  # noqa: BLE001 - as above
            self._fail()
            self._close_end()
            return []
        if is_last:
            self._farewell = datagrams
        return datagrams

    @property
    def next_time(self) -> float | None:
        """When `take_time` is due."""
        return self.get_timer()

    @property
    def idle_s(self) -> float:
        """Seconds without a packet of the peer after which the connection ends."""
        return self._idle_timeout()

    @property
    def ending(self) -> ConnectionClosed | None:
        """How the connection ends or has ended; None while it is open."""
        event = self._close_event
        if event is None:
            return None
        if event.reason_phrase == IDLE and event.frame_type is not None:
            return ConnectionClosed(None, "connection lost", by_peer=True)
        by_peer = self._state is QuicConnectionState.DRAINING
        if event.frame_type is None:
            return ConnectionClosed(event.error_code, event.reason_phrase, by_peer=by_peer)
        code = int(event.error_code)
        reason = _REASONS.get(code, f"error {code:#x} of QUIC")
        return ConnectionClosed(None, reason, by_peer=by_peer)

    @property
    def is_over(self) -> bool:
        """True once nothing more has to be sent, also no repetition of the end."""
        return self._state in {QuicConnectionState.DRAINING, QuicConnectionState.TERMINATED}

    @property
    def peer_key(self) -> bytes | None:
        """The endpoint id that the peer has proven, None if it has none."""
        certificate = self.tls._peer_certificate  # noqa: SLF001 - it has no other name
        key = None if certificate is None else certificate.public_key()
        return key.public_bytes_raw() if isinstance(key, Ed25519PublicKey) else None

    @property
    def is_settled(self) -> bool:
        """True if the peer has confirmed all bytes, and each FIN."""
        return all(
            not isinstance(stream.sender, _Sender) or stream.sender.is_settled
            for stream in self._streams.values()
        )

    def _fail(self) -> None:
        self.close(QuicErrorCode.INTERNAL_ERROR, QuicFrameType.PADDING, "internal")

    # --- This side's halves -------------------------------------------------------------------

    def can_open(self, *, bidi: bool) -> bool:
        """Return True if the peer's credit allows one more stream."""
        most = self._remote_max_streams_bidi if bidi else self._remote_max_streams_uni
        number = self.get_next_available_stream_id(is_unidirectional=not bidi) >> 2
        return number < most and len(self._streams) < OWN_STREAMS_MAX

    def open_stream(self, *, bidi: bool) -> StreamId:
        """Open a stream; requires `can_open`. The peer learns of it with its first frame."""
        number = self.get_next_available_stream_id(is_unidirectional=not bidi)
        _Sender.replace(self._get_or_create_stream_for_send(number).sender, self._kept)
        return number

    def room(self, stream_id: StreamId) -> int:
        """Return how many bytes of a stream may be written now; 0 or less if none."""
        stream = self._streams.get(stream_id)
        if stream is None or not isinstance(stream.sender, _Sender):
            return 0
        return min(
            stream.sender.room(stream.max_stream_data_remote),
            self._remote_max_data - self._kept.written,
            CONNECTION_BUFFER - self._kept.size,
        )

    def write(self, stream_id: StreamId, data: bytes | memoryview, *, fin: bool) -> None:
        """Send bytes, at most `room` of them."""
        stream = self._streams.get(stream_id)
        if stream is not None and isinstance(stream.sender, _Sender):
            stream.sender.keep(data, fin=fin)

    def reset_half(self, stream_id: StreamId, code: int) -> None:
        """Reset this side's half."""
        stream = self._streams.get(stream_id)
        if stream is not None:
            stream.sender.reset(code)

    # --- The peer's halves --------------------------------------------------------------------

    def stop_half(self, stream_id: StreamId, code: int) -> None:
        """Ask the peer to end its half, unless it has."""
        stream = self._streams.get(stream_id)
        if stream is not None and not stream.receiver.is_finished:
            stream.receiver.stop(code)

    def grant_stream(self, stream_id: StreamId, maximum: int) -> None:
        """Raise the number of bytes of a stream, from its beginning on, that the peer may send."""
        stream = self._streams.get(stream_id)
        if stream is not None and not stream.receiver.is_finished:
            stream.max_stream_data_local = maximum

    def grant_data(self, maximum: int) -> None:
        """Raise the number of bytes of all streams together that the peer may send."""
        self._data_limit.given = maximum

    def forget_gaps(self, stream_id: StreamId) -> int:
        """Return the number of bytes of a half that was reset which count and never come."""
        half = self._streams[stream_id].receiver
        half._buffer.clear()  # noqa: SLF001 - bytes after a gap, which nobody will read
        return half.highest_offset - half.starting_offset()

    def release_stream(self, *, bidi: bool) -> None:
        """Let the peer open one more stream in place of one that is over here."""
        self._streams_limits[not bidi].released += 1

    # --- Overridden ----------------------------------------------------------------------------

    def _initialize(self, peer_cid: bytes) -> None:
        super()._initialize(peer_cid)
        self.tls._request_client_certificate = not self._is_client  # noqa: SLF001 - it has no other name
        self.tls._signature_algorithms = [SignatureAlgorithm.ED25519]  # noqa: SLF001 - as above

    def _parse_transport_parameters(self, data: bytes, from_session_ticket: bool = False) -> None:  # noqa: FBT001, FBT002 - the library's signature
        super()._parse_transport_parameters(data, from_session_ticket)
        most = pull_quic_transport_parameters(Buffer(data=data)).max_udp_payload_size
        if most is not None:
            self._max_datagram_size = min(self._max_datagram_size, most)
        # The library takes 0 for the shortest idle time, and it says that the peer has none.
        self._remote_max_idle_timeout = self._remote_max_idle_timeout or None

    def _get_or_create_stream(self, frame_type: int, stream_id: int) -> QuicStream:
        stream = super()._get_or_create_stream(frame_type, stream_id)
        sender = stream.sender
        if type(sender) is QuicStreamSender and not sender.is_finished:
            _Sender.replace(sender, self._kept)
        return stream

    def _handle_stop_sending_frame(
        self, context: QuicReceiveContext, frame_type: int, buf: Buffer
    ) -> None:
        stream_id, code = buf.pull_uint_var(), buf.pull_uint_var()
        self._assert_stream_can_send(frame_type, stream_id)
        stream = self._get_or_create_stream(frame_type, stream_id)
        # TR-023
        stream.sender.reset(QuicErrorCode.NO_ERROR)
        self._events.append(events.StopSendingReceived(code, stream_id))

    def _write_connection_limits(self, builder: QuicPacketBuilder, space: QuicPacketSpace) -> None:
        # The library keeps back half of the streams, for which a peer may wait that opens several
        # before it writes.
        for limit in (self._data_limit, *self._streams_limits):
            maximum = limit.value
            if limit.sent != maximum:
                buffer = builder.start_frame(
                    limit.frame_type,
                    capacity=CONNECTION_LIMIT_FRAME_CAPACITY,
                    handler=self._on_connection_limit_delivery,
                    handler_args=(limit,),
                )
                buffer.push_uint_var(maximum)
                limit.sent = maximum

    def _write_stream_limits(
        self, builder: QuicPacketBuilder, space: QuicPacketSpace, stream: QuicStream
    ) -> None:
        maximum = stream.max_stream_data_local
        assert stream.stream_id is not None, "only those of the handshake have no number"
        if stream.max_stream_data_local_sent == maximum or stream.receiver.is_finished:
            return
        buffer = builder.start_frame(
            QuicFrameType.MAX_STREAM_DATA,
            capacity=MAX_STREAM_DATA_FRAME_CAPACITY,
            handler=self._on_max_stream_data_delivery,
            handler_args=(stream,),
        )
        buffer.push_uint_var(stream.stream_id)
        buffer.push_uint_var(maximum)
        stream.max_stream_data_local_sent = maximum


def _report_reset(quic: HeldConnection, receiver: Receiver, event: events.StreamReset) -> None:
    receiver.on_reset(event.stream_id, event.error_code, quic.forget_gaps(event.stream_id))


def _report_stop(_: HeldConnection, receiver: Receiver, event: events.StopSendingReceived) -> None:
    receiver.on_stop(event.stream_id, event.error_code)


def _report_handshake(_: HeldConnection, receiver: Receiver, _event: events.QuicEvent) -> None:
    receiver.on_handshake()


def _report_issued(_: HeldConnection, receiver: Receiver, event: events.ConnectionIdIssued) -> None:
    receiver.on_route(event.connection_id, is_new=True)


def _report_retired(
    _: HeldConnection, receiver: Receiver, event: events.ConnectionIdRetired
) -> None:
    receiver.on_route(event.connection_id, is_new=False)


_REPORTS: Final[dict[type[events.QuicEvent], Callable[..., None]]] = {
    events.StreamReset: _report_reset,
    events.StopSendingReceived: _report_stop,
    events.HandshakeCompleted: _report_handshake,
    events.ConnectionIdIssued: _report_issued,
    events.ConnectionIdRetired: _report_retired,
}
"""Events of the library -> how they are reported; the others are found out otherwise."""
