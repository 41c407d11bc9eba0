"""What the content of a file or of standard input is: bytes, hex, a trace, a capture, or another.

Content that is bytes is looked up in `MAGIC` first, so that no other kind of file is decoded as a
message.
"""

import codecs
import re
from collections.abc import Mapping

from meshwire_conformance.explain.automerge_fields import DOCUMENT
from meshwire_conformance.explain.automerge_fields import MAGIC as MAGIC_OF_CHUNK
from meshwire_conformance.explain.hex_dumps import UnreadableInput
from meshwire_conformance.explain.spellings import BytesRead, read_text

CAPTURES: Mapping[bytes, str] = {
    bytes.fromhex("d4c3b2a1"): "pcap",
    bytes.fromhex("a1b2c3d4"): "pcap",
    bytes.fromhex("4d3cb2a1"): "pcap",
    bytes.fromhex("a1b23c4d"): "pcap",
    bytes.fromhex("0a0d0d0a"): "pcapng",
}
"""First bytes of captures of a network."""

MAGIC: Mapping[bytes, str] = {
    bytes.fromhex("1f8b08"): "a gzip file; unpack it first",
    bytes.fromhex("504b0304"): "a zip file; unpack it first",
    bytes.fromhex("fd377a585a00"): "an xz file; unpack it first",
    bytes.fromhex("28b52ffd"): "a zstd file; unpack it first",
    b"BZh": "a bzip2 file; unpack it first",
    bytes.fromhex("04224d18"): "an lz4 file; unpack it first",
    bytes.fromhex("377abcaf271c"): "a 7z file; unpack it first",
    bytes.fromhex("34cdb2a1"): "a pcap of another layout; use `editcap -F pcap`",
    bytes.fromhex("a1b2cd34"): "a pcap of another layout; use `editcap -F pcap`",
    b"snoop\x00\x00\x00": "a capture of snoop; use `editcap -F pcap`",
    b"GMBU": "a capture of Network Monitor; use `editcap -F pcap`",
    b"\x89PNG\r\n": "a PNG image",
    b"\xff\xd8\xff\xe0": "a JPEG image",
    b"%PDF-": "a PDF file",
    b"\x7fELF": "an ELF program",
    b"SQLite format 3\x00": "an SQLite database, such as the store of a node",
    MAGIC_OF_CHUNK: "an Automerge document; without --kind it is opened as one",
}
"""First bytes of files of other kinds, and what they are."""

_TEXT_BYTES = bytes(range(0x20, 0x7F)) + b"\t\r\n\f\v\x1b"
_CONTROL = re.compile("[\x00-\x08\x0e-\x1a\x1c-\x1f]")
_MARKS: Mapping[bytes, str] = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}


def capture_format(content: bytes) -> str | None:
    """Return the format of a capture of a network, or None for another content."""
    return CAPTURES.get(content[:4])


def text_of(content: bytes) -> str | None:
    """Return the content as a text, or None if it is no text."""
    for mark, encoding in _MARKS.items():
        if content.startswith(mark):
            try:
                return content.decode(encoding)
            except UnicodeDecodeError:
                return None
    if content.translate(None, _TEXT_BYTES):
        return _utf8_text(content)
    return content.decode("ascii")


def _utf8_text(content: bytes) -> str | None:
    """Return a text that has more than ASCII; None if it has control characters."""
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        return None
    return None if _CONTROL.search(text) else text


def document_kind(data: bytes) -> str | None:
    """Return the name under which bytes are decoded if they begin like an Automerge document."""
    return DOCUMENT if data.startswith(MAGIC_OF_CHUNK) else None


def read_content(content: bytes, *, opens_documents: bool = True) -> BytesRead:
    """Return the bytes that a content gives: read if it is a text, else as they are.

    Raises UnreadableInput if it is of another kind, as an Automerge document is where another kind
    was asked for (`opens_documents` is False).
    """
    text = text_of(content) if content else None
    if text is not None:
        return read_text(text)
    if not (opens_documents and document_kind(content)):
        check_magic(content)
    return BytesRead(content, "bytes")


def check_magic(data: bytes) -> None:
    """Raise UnreadableInput if bytes begin like a file of another kind."""
    for magic, says in MAGIC.items():
        if data.startswith(magic):
            raise UnreadableInput(f"it is {says}; --raw decodes the bytes all the same")
