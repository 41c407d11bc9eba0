"""Captures of a network: packets of several links, TCP put together, streams of the lab binding."""

import re
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
import typer
from packets import (
    ACK,
    DIALLER,
    ETHERNET,
    LINKS,
    LISTENER,
    PUSH,
    RAW,
    SYN,
    block,
    data_record,
    ip4,
    ip6,
    pcap,
    pcapng,
    preamble,
    tcp,
)

from meshwire_conformance.commands.decode import decode_command
from meshwire_conformance.errors import UsageError
from meshwire_conformance.explain.tcp import Segment, connections_of

SIMPLE = 3
"""Type of the block of a simple packet."""
HEARTBEAT = bytes.fromhex("010000018bcfe56801")
FRAME = bytes.fromhex("0003613a620100000000")
DIALLED = preamble() + data_record(2, HEARTBEAT, fin=True) + data_record(0, FRAME + FRAME[:4])
MORE = data_record(0, FRAME[4:], fin=True)
ANSWERED = preamble() + struct.pack("!BIQ", 3, 8, 2**21) + data_record(0, b"", fin=True)


def conversation() -> list[bytes]:
    """Packets of one connection: a split record, a repetition, an overlap, one out of order."""
    there, back = (DIALLER, LISTENER), (LISTENER, DIALLER)
    start = 2**32 - 50
    sent = DIALLED + MORE
    return [
        tcp(there, start - 1, SYN, b""),
        tcp(back, 999, SYN | ACK, b""),
        tcp(there, start, PUSH, sent[:40]),
        tcp(there, start + 100, PUSH, sent[100:]),
        tcp(there, start, PUSH, sent[:40]),
        tcp(back, 1000, PUSH, ANSWERED),
        tcp(there, start + 30, PUSH, sent[30:110]),
    ]


def first(number: int) -> Segment:
    """Return the SYN of a connection."""
    return Segment("a:1", "b:2", number, is_first=True, data=b"")


def later(number: int, data: bytes) -> Segment:
    """Return a segment of the same direction."""
    return Segment("a:1", "b:2", number, is_first=False, data=data)


def shown(content: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    """The exit code and output of the command for a capture."""
    (tmp_path / "capture").write_bytes(content)
    with pytest.raises(typer.Exit) as caught:
        decode_command(str(tmp_path / "capture"))
    return caught.value.exit_code, capsys.readouterr().out


@pytest.mark.parametrize("link", LINKS)
@pytest.mark.parametrize("order", ["<", ">"])
def test_a_connection_is_put_together_from_a_pcap(
    link: int, order: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of any link and byte order, over the wrap of sequence numbers."""
    packets = [LINKS[link](ip4(segment)) for segment in conversation()]

    code, out = shown(pcap(packets, link, order), tmp_path, capsys)

    assert code == 0, out
    assert out.startswith("read as: pcap capture\n--- pcap: 7 TCP segments, 1 connections")
    assert "127.0.0.1:40001 to 127.0.0.1:4711: stream 0 (bidi, opened by the dialler), FIN" in out
    assert "stream_frames in a row: 2 whole" in out
    assert "stream 2 (uni, opened by the dialler), FIN" in out
    assert "heartbeat, 9 bytes" in out
    assert "max_data: maximum 2097152" in out


def test_a_pcapng_may_have_several_links(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each packet is read by the link of its interface; IPv6 too."""
    links = (ETHERNET, RAW)
    packets = [(1, ip6(segment)) for segment in conversation()]
    packets.insert(1, (0, bytes(12) + b"\x08\x06" + bytes(28)))

    code, out = shown(pcapng(packets, links), tmp_path, capsys)

    assert code == 0, out
    assert "1 packets without TCP are left out" in out
    assert "[::1]:40001 to [::1]:4711: preamble" in out
    assert "stream_frames in a row: 2 whole" in out


def test_what_is_missing_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A lost packet ends what can be shown; a capture without the beginning says so."""
    packets = [ip4(segment) for segment in conversation()]

    code, out = shown(pcap(packets[:-1], RAW), tmp_path, capsys)
    _, late = shown(pcap(packets[3:], RAW), tmp_path, capsys)

    assert code == 1
    assert "60 bytes are missing" in out
    assert "does not have the beginning of this direction" in late


def test_a_capture_that_ends_early_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also a pcapng whose last block is cut short."""
    whole = pcapng([(0, ip4(segment)) for segment in conversation()], (RAW,))

    code, out = shown(whole[:-20], tmp_path, capsys)

    assert code == 1
    assert "the capture ends after packet 6" in out


def test_another_protocol_on_tcp_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its bytes are not decoded as messages."""
    packets = [ip4(tcp((1, 2), 0, SYN, b"")), ip4(tcp((1, 2), 1, PUSH, b"GET / HTTP/1.1\r\n\r\n"))]

    _, out = shown(pcap(packets, RAW), tmp_path, capsys)

    assert "no preamble of the lab binding: begins 47 45 54 20" in out


@pytest.mark.parametrize(
    "content",
    [pcap([]), pcap([bytes(60)], 147), pcapng([], ()), b"\xd4\xc3\xb2\xa1", b"\n\r\r\n" + bytes(9)],
)
def test_a_capture_without_tcp_is_refused(content: bytes, tmp_path: Path) -> None:
    """With one line that says why."""
    (tmp_path / "capture").write_bytes(content)

    with pytest.raises(UsageError):
        decode_command(str(tmp_path / "capture"))


def test_any_mutilated_capture_ends_without_a_fault_of_ours(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every seventh byte of a small capture changed in turn: an answer or one line."""
    whole = pcapng([(0, ip4(segment)) for segment in conversation()], (RAW,))
    for at in range(0, len(whole), 7):
        changed = whole[:at] + bytes((whole[at] ^ 0xFF,)) + whole[at + 1 :]
        (tmp_path / "capture").write_bytes(changed)
        with pytest.raises((typer.Exit, UsageError)):
            decode_command(str(tmp_path / "capture"))
        capsys.readouterr()


def test_two_connections_of_one_address_are_kept_apart() -> None:
    """A second SYN with another number begins anew."""
    segments = [
        first(100),
        later(101, b"one"),
        first(900),
        later(901, b"two"),
    ]

    found = connections_of(segments)

    assert [one.halves[0].data for one in found] == [b"one", b"two"]


def test_a_packet_of_which_a_part_was_kept_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """In either byte order, whatever limit the capture names; one as long as the limit is whole."""
    packets = [ip4(segment) for segment in conversation()]
    longest = max(map(len, packets))
    for order in "<>":
        whole = pcap(packets, RAW, order, snap=longest)
        last = len(whole) - len(packets[-1])
        kept = struct.pack(f"{order}I", len(packets[-1]) - 5)
        cut = whole[: last - 8] + kept + whole[last - 4 : -5]

        assert "cut by the capture" not in shown(whole, tmp_path, capsys)[1]
        code, out = shown(cut, tmp_path, capsys)
        assert code == 1
        assert "1 packets were cut by the capture" in out


def test_a_first_packet_out_of_order_begins_its_connection() -> None:
    """Also one that comes after two others."""
    segments = [
        later(101, b"one"),
        later(104, b"two"),
        first(100),
    ]
    for order in (segments, segments[1:] + segments[:1]):
        (found,) = connections_of(order)

        assert found.halves[0].data == b"onetwo"
        assert found.halves[0].has_start


def test_a_file_that_ends_within_its_last_packet_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Although the reader of pcap gives what there is as a packet."""
    code, out = shown(pcap([ip4(one) for one in conversation()], RAW)[:-3], tmp_path, capsys)

    assert code == 1
    assert "the capture ends after packet 7" in out


def divided(packet: bytes, size: int) -> list[bytes]:
    """An IPv4 packet as two fragments, the first with `size` bytes of it."""
    head, body = packet[:20], packet[20:]
    return [
        head[:2] + struct.pack("!HHH", 20 + len(part), 1, flags) + head[8:] + part
        for part, flags in ((body[:size], 1 << 13), (body[size:], size // 8))
    ]


def divided6(segment: bytes) -> bytes:
    """The first fragment of an IPv6 packet."""
    return ip6(struct.pack("!BBHI", 6, 0, 1, 1) + segment).replace(b"\x06\x40", b"\x2c\x40", 1)


def test_fragments_of_ip_are_never_left_out_without_a_word(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What they carry is missing, so the capture is not whole."""
    *packets, last = conversation()[:3]
    for fragments in (divided(ip4(last), 24), [divided6(last)]):
        whole = pcap([*map(ip4, packets), *fragments], RAW)
        code, out = shown(whole, tmp_path, capsys)

        assert code == 1
        assert f"{len(fragments)} fragments of IP packets are left out" in out


def test_a_preamble_that_is_not_whole_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is not taken for another protocol."""
    there = (DIALLER, LISTENER)
    packets = [ip4(tcp(there, 0, SYN, b"")), ip4(tcp(there, 1, PUSH, preamble()[:30]))]

    code, out = shown(pcap(packets, RAW), tmp_path, capsys)

    assert code == 1
    assert "a preamble of the lab binding that is not whole: begins 4d 57 4c 42" in out


def test_the_length_of_a_checksum_is_no_part_of_the_link(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Some writers set it above the type."""
    packets = [LINKS[ETHERNET](ip4(segment)) for segment in conversation()]

    assert shown(pcap(packets, ETHERNET | 0x40000000), tmp_path, capsys)[0] == 0


@pytest.mark.parametrize("magic", [0xA1B23C4D, 0xA1B2C3D4])
@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("tags", ["8100 0005", "88a8 0005 8100 0006"])
@pytest.mark.parametrize(("type_", "ip"), [("0800", ip4), ("86dd", ip6)])
def test_tagged_frames_and_nanoseconds_are_read(
    magic: int,
    order: str,
    tags: str,
    type_: str,
    ip: Callable[[bytes], bytes],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """In either byte order, with padding behind the packet."""
    head = bytes(12) + bytes.fromhex(tags + type_)
    content = pcap([head + ip(one) + bytes(6) for one in conversation()], ETHERNET, order)

    code, out = shown(struct.pack(f"{order}I", magic) + content[4:], tmp_path, capsys)

    assert code == 0
    assert "heartbeat, 9 bytes" in out


def test_a_longer_repetition_brings_what_it_has_more() -> None:
    """A segment that is sent again may have more bytes, and a later shorter one takes none."""
    segments = [
        first(100),
        later(101, b"on"),
        later(101, b"onetwo"),
        later(101, b"o"),
    ]
    (found,) = connections_of(segments)

    assert found.halves[0].data == b"onetwo"


def test_a_stream_says_its_sort_and_who_opened_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """By the two low bits of its id."""
    there = (DIALLER, LISTENER)
    streams = b"".join(data_record(number, FRAME, fin=True) for number in (0, 1, 2, 3))
    packets = [tcp(there, 0, SYN, b""), tcp(there, 1, PUSH, preamble() + streams)]

    _, out = shown(pcap([ip4(one) for one in packets], RAW), tmp_path, capsys)

    assert re.findall(r"stream (\d \(\w+, opened by the \w+)\)", out) == [
        "0 (bidi, opened by the dialler",
        "1 (bidi, opened by the listener",
        "2 (uni, opened by the dialler",
        "3 (uni, opened by the listener",
    ]


@pytest.mark.parametrize("sort", [2, 3])
def test_the_older_blocks_of_a_pcapng_are_read(
    sort: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Simple packets, which are of the first interface, and obsolete ones; a cut one is said."""
    packets = [ip4(segment) for segment in conversation()]
    # Without a length of its own a simple packet has what its interface keeps.
    for more in (0,) if sort == SIMPLE else (0, 9):
        content = pcapng([], (RAW, ETHERNET))
        for packet in packets:
            size, full = len(packet), len(packet) + (more if packet is packets[0] else 0)
            head = struct.pack("<I", full) if sort == SIMPLE else bytes(12)
            head += b"" if sort == SIMPLE else struct.pack("<II", size, full)
            content += block(sort, head + packet)

        code, out = shown(content, tmp_path, capsys)

        assert "heartbeat, 9 bytes" in out
        assert code == (1 if more else 0)
        assert ("1 packets were cut" in out) == bool(more)
