"""Packets of the lab binding and captures of them, as the writers of captures make them."""

import struct
from collections.abc import Sequence

SYN, ACK, PUSH = 0x02, 0x10, 0x18
ETHERNET, RAW, LOOP, SLL, SLL2 = 1, 101, 0, 113, 276
DIALLER, LISTENER = 40001, 4711


def preamble() -> bytes:
    """The preamble of the lab binding."""
    credit = struct.pack("!QQQQ", 2**20, 2**18, 64, 64)
    return b"MWLB\x01\x0fcap/automerge/1" + bytes(range(32)) + credit


def data_record(stream: int, data: bytes, *, fin: bool = False) -> bytes:
    """A DATA record."""
    return struct.pack("!BIQB", 0, len(data) + 9, stream, fin) + data


def tcp(ports: tuple[int, int], sequence: int, flags: int, data: bytes) -> bytes:
    """A TCP segment."""
    return struct.pack("!HHIIBBHHH", *ports, sequence % 2**32, 1, 5 << 4, flags, 8192, 0, 0) + data


def ip4(segment: bytes) -> bytes:
    """An IPv4 packet between two addresses of loopback."""
    size = 20 + len(segment)
    address = bytes((127, 0, 0, 1))
    return struct.pack("!BBHHHBBH", 0x45, 0, size, 1, 0, 64, 6, 0) + address * 2 + segment


def ip6(segment: bytes) -> bytes:
    """An IPv6 packet from loopback to itself."""
    return struct.pack("!IHBB", 6 << 28, len(segment), 6, 64) + (bytes(15) + b"\x01") * 2 + segment


LINKS = {
    ETHERNET: lambda packet: bytes(12) + b"\x08\x00" + packet,
    RAW: lambda packet: packet,
    LOOP: lambda packet: b"\x02\x00\x00\x00" + packet,
    SLL: lambda packet: bytes(14) + b"\x08\x00" + packet,
    SLL2: lambda packet: b"\x08\x00" + bytes(18) + packet,
}


def pcap(
    packets: Sequence[bytes], link: int = ETHERNET, order: str = "<", snap: int = 65535
) -> bytes:
    """A capture as `tcpdump -w` writes it."""
    head = struct.pack(f"{order}IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, snap, link)
    return head + b"".join(
        struct.pack(f"{order}IIII", 1, 2, len(packet), len(packet)) + packet for packet in packets
    )


def block(kind: int, body: bytes) -> bytes:
    """A block of a pcapng."""
    body += bytes(-len(body) % 4)
    size = struct.pack("<I", len(body) + 12)
    return struct.pack("<I", kind) + size + body + size


def pcapng(packets: Sequence[tuple[int, bytes]], links: Sequence[int]) -> bytes:
    """A capture of several interfaces, each packet with the number of its own."""
    head = block(0x0A0D0D0A, struct.pack("<IHHq", 0x1A2B3C4D, 1, 0, -1))
    interfaces = b"".join(block(1, struct.pack("<HHI", link, 0, 0)) for link in links)
    return (
        head
        + interfaces
        + b"".join(
            block(6, struct.pack("<IIIII", number, 0, 0, len(data), len(data)) + data)
            for number, data in packets
        )
    )
