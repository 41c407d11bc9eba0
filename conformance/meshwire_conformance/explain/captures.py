"""Captures of a network, pcap and pcapng: the doorway to the libraries that read their packets."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from io import BytesIO
from struct import error as StructError  # noqa: N812 - a class of the standard library
from struct import unpack_from

import dpkt
import pcapng
from pcapng.blocks import EnhancedPacket, InterfaceDescription, ObsoletePacket, SimplePacket

from meshwire_conformance.explain.hex_dumps import UnreadableInput
from meshwire_conformance.explain.tcp import Segment

PREFIXES: Mapping[int, int] = {0: 4, 12: 0, 101: 0, 108: 4, 113: 16, 228: 0, 229: 0, 276: 20}
"""Bytes before the IP packet, by link type; Ethernet has tags and is not in the table."""
PCAP_HEADER, PCAP_PACKET, PACKET_LENGTHS = 24, 16, 8
"""Bytes of the header of a pcap and of each packet, and where in that its two lengths begin."""
PCAP_BIG_ENDIAN = (b"\xa1\xb2",)
ETHERNET, LINK_MASK = 1, 0xFFFF
FRAGMENT = 44
"""Number of the header of a fragment in IPv6."""
IP4, IP6 = 4, 6
FAULTS = (dpkt.Error, ValueError, IndexError, KeyError, StructError, EOFError, TypeError)
"""What the libraries raise for packets and files that are malformed."""


@dataclass(slots=True)
class Packets:
    """The TCP segments of a capture, and how many other packets it has.

    `cut` counts packets of which the capture kept a part, `fragments` those that IP has divided;
    `fault` is why it ended early.
    """

    segments: list[Segment]
    others: int = 0
    cut: int = 0
    fragments: int = 0
    fault: str = ""


def read_capture(form: str, content: bytes) -> Packets:
    """Return the TCP segments of a capture; raises UnreadableInput if it has no packet at all."""
    found = Packets([])
    count = 0
    try:
        for link, frame, is_cut in _FRAMES[form](content):
            count += 1
            found.cut += is_cut
            _take(found, link, frame)
    except (*FAULTS, pcapng.exceptions.PcapngException) as exc:
        found.fault = f"the capture ends after packet {count}: {exc or type(exc).__name__}"
    if not count:
        raise UnreadableInput(found.fault or "the capture has no packet")
    return found


Frames = Iterator[tuple[int, bytes, bool]]
"""Link type and bytes of each packet, and whether the capture cut it."""


def _pcap_frames(content: bytes) -> Frames:
    reader = dpkt.pcap.Reader(BytesIO(content))
    order = ">" if content[:2] in PCAP_BIG_ENDIAN else "<"
    at = PCAP_HEADER
    for _, frame in reader:
        kept, sent = unpack_from(f"{order}II", content, at + PACKET_LENGTHS)
        at += PCAP_PACKET + kept
        # The bits above the type tell how long a checksum of the link is.
        yield reader.datalink() & LINK_MASK, frame, kept < sent
        if len(frame) < kept:
            raise EOFError(f"the file has {len(frame)} of its {kept} bytes")


def _pcapng_frames(content: bytes) -> Frames:
    first: InterfaceDescription | None = None
    for block in pcapng.FileScanner(BytesIO(content)):
        if isinstance(block, InterfaceDescription):
            first = first or block
        if isinstance(block, EnhancedPacket | ObsoletePacket):
            yield block.interface.link_type, block.packet_data, _is_cut(block)
        elif isinstance(block, SimplePacket) and first is not None:
            yield first.link_type, block.packet_data, _is_cut(block)


def _is_cut(block: EnhancedPacket) -> bool:
    return len(block.packet_data) < int(block.packet_len)


_FRAMES: Mapping[str, Callable[[bytes], Frames]] = {
    "pcap": _pcap_frames,
    "pcapng": _pcapng_frames,
}


def _take(found: Packets, link: int, frame: bytes) -> None:
    packet = _packet(link, frame)
    tcp = getattr(packet, "data", None)
    if packet is not None and _is_fragment(packet):
        found.fragments += 1
        return
    if packet is None or not isinstance(tcp, dpkt.tcp.TCP):
        found.others += 1
        return
    source, target = _host(packet.src), _host(packet.dst)
    found.segments.append(
        Segment(
            f"{source}:{tcp.sport}",
            f"{target}:{tcp.dport}",
            tcp.seq,
            bool(tcp.flags & dpkt.tcp.TH_SYN),
            bytes(tcp.data),
        )
    )


def _packet(link: int, frame: bytes) -> dpkt.Packet | None:
    """Return the IP packet in a frame, or None if it has none."""
    try:
        if link == ETHERNET:
            inner = dpkt.ethernet.Ethernet(frame).data
            return inner if isinstance(inner, dpkt.ip.IP | dpkt.ip6.IP6) else None
        if link not in PREFIXES:
            return None
        data = frame[PREFIXES[link] :]
        version = data[0] >> 4 if data else 0
        if version == IP4:
            return dpkt.ip.IP(data)
        return dpkt.ip6.IP6(data) if version == IP6 else None
    except FAULTS:
        return None


def _is_fragment(packet: dpkt.Packet) -> bool:
    if isinstance(packet, dpkt.ip.IP):
        return bool(packet.mf or packet.offset)
    return FRAGMENT in packet.extension_hdrs


def _host(address: bytes) -> str:
    if len(address) == IP4:
        return ".".join(str(byte) for byte in address)
    return f"[{dpkt.utils.inet_to_str(address)}]"
