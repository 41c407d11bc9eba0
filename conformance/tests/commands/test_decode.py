"""`meshwire decode` on what people have: each input is read as what it is, or refused."""

import base64
import io
import json
import re
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
import typer

from meshwire_conformance.commands.decode import decode_command
from meshwire_conformance.errors import UsageError

TOMBSTONE = bytes.fromhex(
    "000374726b0003642d310000018bcfe5687b010203040506070800046e642d61000377687902"
)
HEARTBEAT = bytes.fromhex("010000018bcfe56801")
FRAME = bytes.fromhex("0003613a620400000026") + TOMBSTONE
REQUEST = json.dumps({"op": "decode", "kind": "heartbeat", "data": HEARTBEAT.hex()})
TRACE = (
    json.dumps({"note": "the canary took 3 ms"}),
    json.dumps(
        {"sent": "a tombstone", "case": "MW-5001", "peer": "A", "stream": 4, "bytes": FRAME.hex()}
    ),
    json.dumps({"received": "0x04", "peer": "A", "stream": 1, "key": "a:b", "payload": "00"}),
    json.dumps({"sent": REQUEST}),
)


def xxd(data: bytes, *, step: int = 16, group: int = 2) -> str:
    """A dump as `xxd` writes it."""
    lines = []
    for at in range(0, len(data), step):
        row = data[at : at + step]
        groups = [row[i : i + group].hex() for i in range(0, len(row), group)]
        width = step * 2 + step // group
        text = "".join(chr(one) if 32 <= one < 127 else "." for one in row)
        lines.append(f"{at:08x}: {' '.join(groups):<{width}} {text}")
    return "\n".join(lines) + "\n"


def canonical(data: bytes) -> str:
    """A dump as `hexdump -C` writes it, repeated rows as an asterisk."""
    lines: list[str] = []
    last, starred = b"", False
    for at in range(0, len(data), 16):
        row = data[at : at + 16]
        if row == last and len(row) == 16:
            lines += [] if starred else ["*"]
            starred = True
            continue
        last, starred = row, False
        halves = f"{row[:8].hex(' '):<23}  {row[8:].hex(' '):<23}"
        text = "".join(chr(one) if 32 <= one < 127 else "." for one in row)
        lines.append(f"{at:08x}  {halves}  |{text}|")
    return "\n".join([*lines, f"{len(data):08x}"]) + "\n"


def od(data: bytes, base: str = "o", *, text: bool = False) -> str:
    """A dump as `od -t x1` writes it, with offsets in a base."""
    lines = []
    for at in range(0, len(data), 16):
        row = data[at : at + 16]
        tail = "".join(chr(one) if 32 <= one < 127 else "." for one in row)
        lines.append(f"{at:07{base}} {row.hex(' '):<47}" + (f"  >{tail}<" if text else ""))
    return "\n".join([*lines, f"{len(data):07{base}}"]) + "\n"


def c_array(data: bytes) -> str:
    """A declaration as `xxd -i FILE` writes it."""
    body = ", ".join(f"0x{one:02x}" for one in data)
    return f"unsigned char m_bin[] = {{\n  {body}\n}};\nunsigned int m_bin_len = {len(data)};\n"


SPELLINGS: dict[str, Callable[[bytes], str]] = {
    "digits": bytes.hex,
    "capitals": lambda data: data.hex().upper(),
    "blanks": lambda data: data.hex(" "),
    "colons": lambda data: data.hex(":"),
    "dashes": lambda data: data.hex("-"),
    "commas": lambda data: data.hex(","),
    "lines": lambda data: data.hex("\n"),
    "one 0x": lambda data: f"0x{data.hex()}",
    "0x and colons": lambda data: f"0x{data.hex(':')}",
    "0x each": lambda data: " ".join(f"0x{one:02x}" for one in data),
    "0x each, short": lambda data: ", ".join(f"0x{one:x}" for one in data),
    "0X each": lambda data: " ".join(f"0X{one:02X}" for one in data),
    "escapes": lambda data: "".join(f"\\x{one:02x}" for one in data),
    "quoted escapes": lambda data: '"' + "".join(f"\\x{one:02x}" for one in data) + '"',
    "python": repr,
    "c array": c_array,
    "c braces": lambda data: "{" + ", ".join(f"0x{one:02x}" for one in data) + "}",
    "go": lambda data: "[]byte{" + ", ".join(f"0x{one:02x}" for one in data) + "}",
    "rust": lambda data: "&[" + ", ".join(f"0x{one:02x}u8" for one in data) + "]",
    "java": lambda data: "{" + ", ".join(f"(byte) 0x{one:02x}" for one in data) + "}",
    "decimal list": lambda data: str(list(data)),
    "commented array": lambda data: "{ /* key */ " + ", ".join(map(hex, data)) + " }; // end",
    "sql": lambda data: f"X'{data.hex()}'",
    "cbor": lambda data: f"h'{data.hex()}'",
    "xxd": xxd,
    "xxd -c 8 -g 1": lambda data: xxd(data, step=8, group=1),
    "xxd -p": lambda data: "\n".join(data[i : i + 30].hex() for i in range(0, len(data), 30)),
    "hexdump -C": canonical,
    "od": od,
    "od -A x": lambda data: od(data, "x"),
    "od -A d -t x1z": lambda data: od(data, "d", text=True),
    "colours": lambda data: f"\x1b[32m{data.hex(' ')}\x1b[0m\n",
}


def decoded(
    source: str,
    capsys: pytest.CaptureFixture[str],
    *,
    kind: str | None = None,
    every: bool = False,
    raw: bool = False,
    as_json: bool = False,
    color: str = "never",
) -> tuple[int, str]:
    """The exit code and the output of the command."""
    with pytest.raises(typer.Exit) as caught:
        decode_command(source, kind, False, every, raw, as_json, color)  # type: ignore[arg-type] # noqa: FBT003 - as typer calls it
    return caught.value.exit_code, capsys.readouterr().out


@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize("data", [FRAME, FRAME + bytes(70) + b"0123456789abcdef" * 3 + b"ab"])
def test_every_spelling_gives_the_bytes(
    spelling: str, data: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As an argument and in a file, also where text looks like digits and rows are repeated."""
    text = SPELLINGS[spelling](data)
    (tmp_path / "file").write_text(text)

    _, shown = decoded(text, capsys, kind="tombstone", as_json=True)
    code, filed = decoded(str(tmp_path / "file"), capsys, kind="tombstone", as_json=True)
    found = json.loads(filed)

    assert json.loads(shown)["parts"] == found["parts"]
    assert code in {0, 1}
    assert found["parts"][0]["size"] == len(data)
    assert found["read_as"] != "bytes"


def test_the_spelling_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    """Hex needs no word; anything else has one, so that nothing is misread unnoticed."""
    assert decoded(HEARTBEAT.hex(), capsys)[1].startswith("heartbeat")
    assert decoded(xxd(HEARTBEAT), capsys)[1].startswith("read as: hex dump\nheartbeat")


OTHERS = {
    "half a byte": ("0100000", "7 hex digits"),
    "text": ("hello, world", "it is text"),
    "base64": (base64.b64encode(FRAME).decode(), "base64"),
    "json": ('{"a": [true]}', "JSON without a message"),
    "xml": ("<?xml version='1.0'?>", "XML"),
    "http": ("GET / HTTP/1.1\r\nHost: a\r\n", "HTTP"),
    "intel hex": (":10010000214601360121470136007EFE09D2190140\n", "Intel HEX"),
    "s-records": ("S00F000068656C6C6F202020202000003C\n", "S-records"),
    "pem": ("-----BEGIN CERTIFICATE-----\nMIIB\n", "PEM"),
    "od words": ("0000000 0300 6961 0462 2626\n0000010\n", "byte order of a host"),
    "od octal": ("0000000 000003 060541 002142\n0000006\n", "octal"),
    "od -c": ("0000000  \\0 003   a   :   b\n0000005\n", "od -A x -t x1"),
    "xxd -b": ("00000000: 00000000 00000011 01100001  ..a\n", "bits"),
    "xxd -e": ("00000000: 3a610300 00000462           ..a:b...\n", "words in another order"),
    "xxd from the middle": ("00000010: 0003 613a 62    ..a:b\n", "begins at offset 00000010"),
    "a dump with a gap": ("00000000: 0003 613a\n00000010: 6204\n", "do not fit"),
    "tcpdump -x": (
        "12:00:00.0 IP 127.0.0.1.1 > 127.0.0.1.2: tcp 5\n\t0x0000:  4500 003c\n",
        "tcpdump -w",
    ),
    "a number over a byte": ("[1, 2, 300]", "300"),
    "decimal numbers": ("1, 0, 0, 1, 139, 207, 229, 104", "'1' between separators"),
    "digits without their zeros": ("1 2 3 4", "two digits for each byte"),
    "octal numbers": ("{010, 020}", "has 010, which is octal"),
    "a decimal number with a zero": ("[08, 9]", "has 08, which is octal"),
    "a dump that repeats without end": (
        "00000000  01 02 03 04 05 06 07 08\n*\n7fffffffffffffff\n",
        "offset 7fffffffffffffff",
    ),
    "nested json": ('{"a":' * 900 + '{"hex": "00"}' + "}" * 900, "nested too deeply"),
    "json whose data is text": ('{"data": "hello"}', "JSON without a message"),
    "two arrays": ("{0x01, 0x02} {0x03, 0x04}", "2 arrays"),
}


@pytest.mark.parametrize("name", OTHERS)
def test_a_text_of_another_kind_is_never_decoded(name: str, tmp_path: Path) -> None:
    """It is named; neither as an argument nor in a file are its characters taken for bytes."""
    text, says = OTHERS[name]
    (tmp_path / "file").write_text(text)

    for source in (text, str(tmp_path / "file")):
        with pytest.raises(UsageError) as caught:
            decode_command(source)

        assert says in str(caught.value)


@pytest.mark.parametrize(
    ("begins", "says"),
    [
        ("1f8b0800", "gzip"),
        ("504b0304", "zip"),
        ("425a6839", "bzip2"),
        ("04224d18", "lz4"),
        ("377abcaf271c", "7z"),
        ("34cdb2a1", "another layout"),
        ("a1b2cd34", "another layout"),
        ("736e6f6f70000000", "snoop"),
        ("474d425502", "Network Monitor"),
        ("89504e470d0a1a0a", "PNG"),
        ("7f454c4602", "ELF"),
        ("53514c69746520666f726d6174203300", "SQLite"),
    ],
)
def test_a_file_of_another_kind_is_named(begins: str, says: str, tmp_path: Path) -> None:
    """By its first bytes."""
    (tmp_path / "file").write_bytes(bytes.fromhex(begins) + bytes(20))

    with pytest.raises(UsageError) as caught:
        decode_command(str(tmp_path / "file"))

    assert says in str(caught.value)


DOCUMENT = (
    "856f4a8311bf629f007501100102030405060708090a0b0c0d0e0f1001fb23f82ad86ebd87204202106d169e9a3ab770"
    "8b97660d709580e50853406988060102030213022302400256020815062102230234014202560257058001027f007f01"
    "7f017f007f007f077f046e616d657f007f01017f017f56616c7068617f0000"
)
"""The snapshot of the page Build one."""


@pytest.mark.parametrize("as_text", [True, False], ids=["hex", "bytes"])
def test_an_automerge_document_by_itself_is_opened_and_says_what_is_opaque(
    as_text: bool,  # noqa: FBT001 - a parameter of the test
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Header, actors and heads are fields; its columns are not, which is said."""
    (tmp_path / "file").write_bytes(bytes.fromhex(DOCUMENT))
    with pytest.raises(typer.Exit) as caught:
        decode_command(DOCUMENT if as_text else str(tmp_path / "file"))
    lines = capsys.readouterr().out.splitlines()

    assert caught.value.exit_code == 0
    assert lines[0] == "automerge document, 127 bytes"
    for name in ("magic", "checksum", "type", "size", "actors.count", "heads[0]", "columns"):
        assert sum(f" {name} " in line for line in lines) == 1, name
    assert lines[-1].startswith("opaque, 66 bytes that only Automerge's library opens: columns")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda data: data[:20], "there"),
        (lambda data: data + b"\x00", "not that of a chunk"),
        (lambda data: data[:9] + b"\xff" * 11 + data[9:], "not a varint"),
    ],
    ids=["cut", "followed", "no size"],
)
def test_a_document_that_is_malformed_is_shown_up_to_its_fault(
    change: Callable[[bytes], bytes], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the reason, and exit 1."""
    with pytest.raises(typer.Exit) as caught:
        decode_command(change(bytes.fromhex(DOCUMENT)).hex())

    assert caught.value.exit_code == 1
    assert says in capsys.readouterr().out


def test_a_document_is_not_decoded_as_a_kind_that_was_asked_for(tmp_path: Path) -> None:
    """A file of one is of another kind than a heartbeat."""
    (tmp_path / "file").write_bytes(bytes.fromhex(DOCUMENT))

    with pytest.raises(UsageError, match="Automerge document"):
        decode_command(str(tmp_path / "file"), kind="heartbeat")


def test_raw_takes_the_bytes_all_the_same(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whatever they look like."""
    (tmp_path / "file").write_bytes(b"0102030405060708" * 2)

    found = json.loads(decoded(str(tmp_path / "file"), capsys, raw=True, as_json=True)[1])

    assert (found["read_as"], found["parts"][0]["size"]) == ("bytes", 32)
    given = json.loads(decoded("hello", capsys, raw=True, as_json=True)[1])
    assert (given["read_as"], given["parts"][0]["size"]) == ("bytes", 5)


def test_bytes_come_from_a_file_and_from_standard_input(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As they are, and as hex in UTF-16 too."""
    (tmp_path / "raw").write_bytes(HEARTBEAT)
    (tmp_path / "utf16").write_text(HEARTBEAT.hex(), encoding="utf-16")
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(HEARTBEAT)))

    for source in (str(tmp_path / "raw"), str(tmp_path / "utf16"), "-"):
        code, shown = decoded(source, capsys)

        assert code == 0
        assert shown.splitlines()[0] == "heartbeat, 9 bytes"


def test_payloads_are_opened_to_their_fields(capsys: pytest.CaptureFixture[str]) -> None:
    """A batch in a frame, a tombstone in the batch, a sync message and a document beside it."""
    delta = bytes.fromhex("420000000102") + b"\x85\x6f"
    entries = (
        struct.pack("!H3sBI", 3, b"a:b", 4, len(TOMBSTONE)) + TOMBSTONE,
        struct.pack("!H3sBI", 3, b"a:c", 0, len(delta)) + delta,
    )
    batch = struct.pack("!QQBI", 0x0102, 1_700_000_000_000, 5, 2) + b"".join(entries)
    frame = struct.pack("!H5sBI", 5, b"batch", 7, len(batch)) + batch

    code, shown = decoded(frame.hex(), capsys)

    assert code == 1
    assert "payload.entries[0].payload.deleted_by" in shown
    assert "payload.entries[1].payload.changes[0]" in shown
    assert "2 bytes announced" not in shown.split("refused: ")[0]
    assert "bad-document at payload.entries[1].payload.changes[0].magic" in shown


@pytest.mark.parametrize(
    ("kind", "text", "says"),
    [
        ("stream_frame", "0003613a6201000000050102", "5 bytes announced, 2 there"),
        ("stream_frame", "0009613a62", "9 bytes announced, 3 there"),
        ("sync_batch", "00" * 16 + "0500000002" + "0003613a620100000000", "2 announced, 1 there"),
        (
            "sync_batch",
            "00" * 16 + "0500000002" + "0003613a620100000000" + "0003613a620100",
            "entry_count announces 2, 1 there",
        ),
        ("tombstone_batch", "0000000200000026" + TOMBSTONE.hex(), "2 announced, 1 there"),
        (
            "tombstone_batch",
            "0000000200000026" + TOMBSTONE.hex() + "00000026" + TOMBSTONE.hex()[:60],
            "38 bytes announced, 30 there",
        ),
        ("stream_frame", "0003613a620000000003" + "420200", "2 announced, 0 there"),
        ("stream_frame", "0003613a620000000006" + "420000000105", "5 bytes announced, 0 there"),
    ],
)
def test_what_is_missing_is_counted(
    kind: str, text: str, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """What a length or a count announces, and what is there."""
    code, shown = decoded(text, capsys, kind=kind)

    assert code == 1
    assert says in shown


def test_frames_in_a_row_are_each_shown(capsys: pytest.CaptureFixture[str]) -> None:
    """With a kind and without; what is cut short after them is said."""
    for kind in (None, "stream_frame"):
        code, shown = decoded((FRAME * 3).hex(), capsys, kind=kind)

        assert code == 0
        assert shown.splitlines()[0] == f"stream_frames in a row: 3 whole, {len(FRAME) * 3} bytes"
        assert shown.count("payload.deleted_by.length") == 3
        code, shown = decoded((FRAME * 2 + FRAME[:20]).hex(), capsys, kind=kind)

        assert code == 1
        assert "2 whole" in shown
        assert "38 bytes announced, 10 there" in shown


def preamble(name: bytes = b"cap/automerge/1") -> bytes:
    """The preamble of the lab binding."""
    credit = struct.pack("!QQQQ", 2**20, 2**18, 64, 64)
    return b"MWLB\x01" + bytes([len(name)]) + name + bytes(range(32)) + credit


def record(kind: int, body: bytes) -> bytes:
    """A record of the lab binding."""
    return struct.pack("!BI", kind, len(body)) + body


def data_record(stream: int, data: bytes, *, fin: bool = False) -> bytes:
    """A DATA record."""
    return record(0, struct.pack("!QB", stream, fin) + data)


def test_a_direction_of_the_lab_binding_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    """Preamble and records, one after the other."""
    code, shown = decoded((preamble() + record(7, b"12345678")).hex(), capsys)

    assert code == 0
    assert "lab binding, one direction: 2 whole" in shown


def test_a_trace_is_read_line_by_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Frames of either direction, requests of a codec; a malformed one is the exit code."""
    (tmp_path / "trace.jsonl").write_text("\n".join(TRACE[:2]) + "\n")
    code, shown = decoded(str(tmp_path / "trace.jsonl"), capsys)
    (tmp_path / "trace.jsonl").write_text("\n".join(TRACE) + "\n")
    worse, more = decoded(str(tmp_path / "trace.jsonl"), capsys)

    assert code == 0
    assert "--- MW-5001: sent by A on stream 4: a tombstone" in shown
    assert worse == 1
    assert "--- received by A on stream 1" in more
    assert "heartbeat, 9 bytes" in more


def test_json_of_vectors_is_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each vector by its own kind, also in the array and file that have them."""
    vector = {"id": "MW-1158", "kind": "heartbeat", "hex": HEARTBEAT.hex(), "title": "a\x7f"}
    (tmp_path / "v.json").write_text(json.dumps({"vectors": [vector, vector]}, ensure_ascii=False))

    code, shown = decoded(str(tmp_path / "v.json"), capsys)

    assert code == 0
    assert shown.count("heartbeat, 9 bytes") == 2


def test_a_message_of_json_that_is_not_hex_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Beside others, and in a line of a trace: nothing is left out without a word."""
    good, bad = {"hex": HEARTBEAT.hex()}, {"id": "a", "hex": "0"}
    for number, values in enumerate(([good, bad], [good, {"sent": json.dumps(bad)}])):
        (tmp_path / "v.json").write_text(json.dumps(values))

        code, shown = decoded(str(tmp_path / "v.json"), capsys)

        assert code == 1, number
        assert "this is not hex" in shown
        assert "heartbeat, 9 bytes" in shown


@pytest.mark.parametrize("order", [1, -1])
def test_one_message_that_is_refused_is_the_end_of_all(
    order: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """For programs too, whichever comes first."""
    messages = [{"hex": HEARTBEAT.hex(), "kind": "heartbeat"}, {"hex": "02", "kind": "heartbeat"}]
    (tmp_path / "v.json").write_text(json.dumps(messages[::order]))

    code, shown = decoded(str(tmp_path / "v.json"), capsys, as_json=True)
    found = json.loads(shown)

    assert (code, found["accepted"]) == (1, False)
    assert [one["accepted"] for one in found["parts"]] == [True, False][::order]


def test_a_line_of_a_trace_that_is_nested_too_deeply_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As one that is no JSON."""
    (tmp_path / "trace.jsonl").write_text(json.dumps({"sent": "[" * 100_000}))

    assert "a line that is not whole JSON" in decoded(str(tmp_path / "trace.jsonl"), capsys)[1]


def test_the_kind_that_was_asked_for_is_that_of_messages_without_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """In JSON, where one that names its kind keeps it."""
    messages = [{"hex": HEARTBEAT.hex()}, {"hex": HEARTBEAT.hex(), "kind": "heartbeat"}]
    (tmp_path / "v.json").write_text(json.dumps(messages))

    _, shown = decoded(str(tmp_path / "v.json"), capsys, kind="tombstone")

    assert [line for line in shown.splitlines() if line.endswith(" bytes")] == [
        "tombstone, 9 bytes",
        "heartbeat, 9 bytes",
    ]


def test_a_long_batch_is_opened_at_its_beginning(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The first thousand entries are shown, the rest are counted and still checked."""
    entry = struct.pack("!H3sBI", 3, b"a:b", 1, 0)
    bad = struct.pack("!H3sBI", 3, b"a/b", 1, 0)
    odd = struct.pack("!H3sBI", 3, b"a:b", 9, 0)
    head = struct.pack("!QQBI", 1, 2, 5, 1500)
    (tmp_path / "good").write_bytes(head + entry * 1500)
    (tmp_path / "odd").write_bytes(head + entry * 1400 + bad * 60 + odd * 40)
    (tmp_path / "cut").write_bytes(head + entry * 1450 + entry[:4] + b"\xff" * 500)
    (tmp_path / "behind").write_bytes(head + entry * 1500 + b"xyz")

    code, shown = decoded(str(tmp_path / "good"), capsys)
    _, odd_shown = decoded(str(tmp_path / "odd"), capsys)
    cut_code, cut_shown = decoded(str(tmp_path / "cut"), capsys, kind="sync_batch")
    _, behind = decoded(str(tmp_path / "behind"), capsys, kind="sync_batch")
    _, everything = decoded(str(tmp_path / "good"), capsys, every=True)

    assert code == 0
    assert "1500  -- u32" in shown
    assert shown.count(".payload.length") == 1000
    assert "500 more of entries, whole and not opened: 500 snapshot; --all" in shown
    assert "60 of them refused by a strict node: bad-key" in odd_shown
    assert "40 of them skipped by readers" in odd_shown
    assert cut_code == 1
    assert "entries[1450]" in cut_shown
    assert "extra" in behind
    assert everything.count(".payload.length") == 1500


def test_colour_is_never_the_only_sign(capsys: pytest.CaptureFixture[str]) -> None:
    """Without it the text is the same, and without it by default where nobody looks."""
    _, plain = decoded(FRAME.hex(), capsys)
    _, coloured = decoded(FRAME.hex(), capsys, color="always")
    stripped = re.sub("\x1b\\[[0-9;]*m", "", coloured)

    assert coloured != plain
    assert stripped == plain


@pytest.mark.parametrize("text", [b"\x1b[2Jevil", "\u202e".encode(), b"\x07bell"])
def test_text_of_a_peer_does_not_reach_the_terminal(
    text: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    """Escapes, bells and changes of direction come out as their numbers."""
    key = b"a:" + text
    frame = struct.pack("!H", len(key)) + key + b"\x01\x00\x00\x00\x00"

    _, shown = decoded(frame.hex(), capsys)

    assert not set(shown) & set("\x1b\x07\u202e")
