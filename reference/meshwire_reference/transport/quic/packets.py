"""What a listener reads of a datagram before it has a connection for it, and what it answers."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from typing import Final

from aioquic._buffer import Buffer
from aioquic.quic.configuration import SMALLEST_MAX_DATAGRAM_SIZE
from aioquic.quic.connection import TRANSPORT_CLOSE_FRAME_CAPACITY
from aioquic.quic.crypto import CryptoPair
from aioquic.quic.packet import (
    QuicErrorCode,
    QuicFrameType,
    QuicPacketType,
    QuicProtocolVersion,
    encode_quic_retry,
    encode_quic_version_negotiation,
    pull_quic_header,
)
from aioquic.quic.packet_builder import QuicPacketBuilder
from aioquic.quic.retry import QuicRetryTokenHandler

from meshwire_reference.transport.quic.library import Address

NAME: Final = 8
"""Length in bytes of the connection ids of this side."""
LONG: Final = 0x80
"""Bit of the first byte of a packet that belongs to a handshake."""
ID_AT: Final = 6
"""Where the id begins in such a packet: after first byte, version, and the length of the id."""


@dataclass(frozen=True, slots=True)
class FirstPacket:
    """The first packet of a caller; `named` and `retried` are arguments of its connection."""

    name: bytes
    named: bytes
    retried: bytes | None
    source: bytes

    def refuse(self) -> bytes:
        """Return the datagram that refuses this caller, which keeps no state here."""
        crypto = CryptoPair()
        version = QuicProtocolVersion.VERSION_1
        crypto.setup_initial(cid=self.name, is_client=False, version=version)
        builder = QuicPacketBuilder(
            host_cid=self.name,
            is_client=False,
            max_datagram_size=SMALLEST_MAX_DATAGRAM_SIZE,
            peer_cid=self.source,
            version=version,
        )
        builder.start_packet(QuicPacketType.INITIAL, crypto)
        buffer = builder.start_frame(
            QuicFrameType.TRANSPORT_CLOSE, capacity=TRANSPORT_CLOSE_FRAME_CAPACITY
        )
        buffer.push_uint_var(QuicErrorCode.CONNECTION_REFUSED)
        buffer.push_uint_var(QuicFrameType.PADDING)
        buffer.push_uint_var(0)
        (datagram,), _ = builder.flush()
        return datagram


def name_of(datagram: bytes) -> bytes:
    """Return the connection id that a datagram is for, empty where it has none."""
    if not datagram or not datagram[0] & LONG:
        return datagram[1 : 1 + NAME]
    if len(datagram) < ID_AT:
        return b""
    return datagram[ID_AT : ID_AT + datagram[ID_AT - 1]]


class Reception:
    """Reads the first packets of callers. With `retries` each has to show that it gets answers."""

    def __init__(self) -> None:
        self._tokens = QuicRetryTokenHandler()

    def receive(
        self, datagram: bytes, address: Address, now: float, *, retries: bool
    ) -> FirstPacket | bytes | None:
        """Return the caller, or a datagram to answer it with, or None for other packets."""
        try:
            header = pull_quic_header(Buffer(data=datagram), host_cid_length=NAME)
        except ValueError:
            return None
        is_first = len(datagram) >= SMALLEST_MAX_DATAGRAM_SIZE and header.version is not None
        if not is_first or header.packet_type is QuicPacketType.VERSION_NEGOTIATION:
            return None
        name, source = header.destination_cid, header.source_cid
        if header.version != QuicProtocolVersion.VERSION_1:
            return encode_quic_version_negotiation(name, source, [QuicProtocolVersion.VERSION_1])
        if header.packet_type is not QuicPacketType.INITIAL:
            return None
        if header.token:
            return self._check(FirstPacket(name, name, name, source), header.token, address, now)
        plain = FirstPacket(name, name, None, source)
        return self._retry(plain, address, now) if retries else plain

    def _check(
        self, first: FirstPacket, token: bytes, address: Address, now: float
    ) -> FirstPacket | bytes:
        """Return the caller with the id that it used before the retry, or its refusal."""
        try:
            named = self._tokens.validate_token(
                address=address, destination_cid=first.name, token=token, now=now
            )
        except ValueError:
            return first.refuse()
        return replace(first, named=named)

    def _retry(self, first: FirstPacket, address: Address, now: float) -> bytes:
        ours = os.urandom(NAME)
        token = self._tokens.create_token(
            address=address,
            original_destination_connection_id=first.name,
            retry_source_connection_id=ours,
            now=now,
        )
        return encode_quic_retry(
            QuicProtocolVersion.VERSION_1, ours, first.source, first.name, token
        )
