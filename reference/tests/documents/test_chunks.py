"""The claims of chunks are counted before the library allocates for them."""

import random
import zlib
from string import ascii_lowercase

import pytest
from automerge.core import ROOT, Document, ObjType, ScalarType

from meshwire_reference.core.sync_messages import Unfit
from meshwire_reference.documents.chunks import (
    CHANGE,
    COMPRESSED_CHANGE,
    DEFLATED,
    DOCUMENT,
    MAGIC,
    ROWS_MAX,
    ClaimBudget,
    check_chunks,
    columns_of,
    rows_of,
)

MILLION_ROWS = bytes.fromhex(
    "856f4a8355c4d1fe01360010c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c501010000000515053403420456047004c0843d01"
    "6bc0843dc0843d01c0843d02c0843d00"
)
TEN_MILLION_ROWS = bytes.fromhex(
    "856f4a836fc328ba013b0010c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c50101000000051506340442055605700580ade204"
    "016b80ade20480ade2040180ade2040280ade20400"
)


def written(fields: int, text: str = "välue") -> Document:
    """Return a document with this many root fields."""
    document = Document(b"\xa1" * 16)
    with document.transaction() as transaction:
        for number in range(fields):
            transaction.put(ROOT, f"field {number}", ScalarType.Str, f"{text} {number}")
    return document


def unverified(kind: int, body: bytes) -> bytes:
    """Return a chunk with a zero checksum, which the walk does not look at."""
    size, length = len(body), b""
    while size > 0x7F:
        length, size = length + bytes((size & 0x7F | 0x80,)), size >> 7
    return MAGIC + bytes((0, 0, 0, 0, kind)) + length + bytes((size,)) + body


def deflate(data: bytes) -> bytes:
    """Deflate as Automerge does, without a header."""
    stream = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    return stream.compress(data) + stream.flush()


def judge(data: bytes) -> str | None:
    """Return the reason these chunks are refused for, None where they pass."""
    try:
        check_chunks(data, ClaimBudget.of(len(data)))
    except Unfit as exc:
        return exc.reason
    return None


@pytest.mark.parametrize("fields", [0, 1, 40, 2000])
def test_honest_documents_pass(fields: int) -> None:
    """Saved documents and their changes, compressed ones too, are within their claims."""
    document = written(fields)
    changes = b"".join(change.bytes for change in document.get_changes([]))

    (whole,) = check_chunks(document.save(), ClaimBudget.of(100))
    assert (whole.type, whole.links) == (DOCUMENT, tuple(document.get_heads()))
    singles = check_chunks(changes, ClaimBudget.of(100))
    assert {chunk.type for chunk in singles} <= {CHANGE, COMPRESSED_CHANGE}
    told = [(change.hash, tuple(change.deps)) for change in document.get_changes([])]
    assert [(chunk.hash, chunk.links) for chunk in singles] == told
    assert judge(document.save() + changes) is None


def test_a_long_text_passes() -> None:
    """Long runs of an honest text are no false claim."""
    document = Document(b"\xa1" * 16)
    with document.transaction() as transaction:
        text = transaction.put_object(ROOT, "text", ObjType.Text)
        transaction.splice_text(text, 0, 0, "abcdefghij" * 5000)

    assert judge(document.save()) is None


@pytest.mark.parametrize("size", [300_000, 1_000_000])
def test_a_text_that_deflates_well_passes(size: int) -> None:
    """Each character is a row, of which the deflated chunk has a third of a byte."""
    choice = random.Random(3)
    words = ["".join(choice.choices(ascii_lowercase, k=choice.randint(2, 9))) for _ in range(3000)]
    text = " ".join(choice.choices(words, k=size // 4))[:size]
    document = Document(b"\xa1" * 16)
    with document.transaction() as transaction:
        transaction.splice_text(transaction.put_object(ROOT, "text", ObjType.Text), 0, 0, text)

    assert len(document.save()) < size / 2
    assert judge(document.save()) is None


@pytest.mark.parametrize("data", [MILLION_ROWS, TEN_MILLION_ROWS])
def test_claims_of_millions_are_refused(data: bytes) -> None:
    """64 bytes that claim a million operations are too dear, also behind an honest document."""
    assert judge(data) == "document-limit"
    assert judge(written(3).save() + data) == "document-limit"


def test_deflated_claims_are_refused() -> None:
    """Compression hides no claim."""
    assert judge(unverified(COMPRESSED_CHANGE, deflate(MILLION_ROWS[10:]))) == "document-limit"


def test_a_bomb_is_refused() -> None:
    """No more is inflated than the item may cost."""
    assert judge(unverified(COMPRESSED_CHANGE, deflate(bytes(20 * 2**20)))) == "document-limit"


@pytest.mark.parametrize(
    "data",
    [
        b"\x85",
        MAGIC,
        b"\x00" * 20,
        written(1).save() + b"\x00",
        written(1).save()[:-1],
        unverified(3, b"\x00"),
        unverified(COMPRESSED_CHANGE, b"\xff\xff"),
    ],
    ids=["one byte", "magic", "zeros", "trailing", "cut", "type", "not deflated"],
)
def test_what_is_no_run_of_chunks_is_refused(data: bytes) -> None:
    """Bytes that are not whole chunks cannot be a document."""
    assert judge(data) == "bad-document"


def test_nothing_is_nothing() -> None:
    """No bytes hold no chunk and are no fault."""
    assert check_chunks(b"", ClaimBudget.of(0)) == ()


@pytest.mark.parametrize("size", [10, 2000], ids=["plain", "deflated"])
def test_a_wrong_checksum_is_refused(size: int) -> None:
    """Whatever comes before and after the damaged chunk (DC-051)."""
    document = Document()
    with document.transaction() as transaction:
        transaction.put(ROOT, "text", ScalarType.Str, "x" * size)
    change, whole = bytes(document.get_changes([])[0].bytes), document.save()
    for chunk in (change, whole):
        damaged = chunk[:4] + bytes(4) + chunk[8:]
        for data in (damaged, chunk + damaged, damaged + chunk):
            with pytest.raises(Unfit) as refusal:
                check_chunks(data, ClaimBudget.of(len(data)))
            assert refusal.value.reason == "bad-document"


TELLING_BYTES = (0x00, 0x01, 0x3F, 0x40, 0x7F, 0x80, 0x81, 0xBF, 0xC0, 0xFF)


@pytest.mark.parametrize("specification", range(2 * DEFLATED))
def test_columns_that_are_not_read_claim_few_rows(specification: int) -> None:
    """Whatever their bytes are, in runs as long as two bytes can say."""
    choice = random.Random(specification)
    unread = 0
    for _ in range(1000):
        column = bytes(choice.choices(TELLING_BYTES, k=choice.randint(1, 20)))
        if specification & DEFLATED:
            column = deflate(column * choice.randint(1, 100))
        columns = columns_of(bytes((specification, len(column))))
        if columns.claim_few(column, 0):
            unread += 1
            assert rows_of(specification, column, ClaimBudget(10**9, 10**9)) <= ROWS_MAX
    # Those whose bytes say nothing of their rows are always read.
    assert bool(unread) is not bool(specification & DEFLATED)


def test_a_small_deflated_column_is_read() -> None:
    """Its few bytes hide the claim of a million rows."""
    column = deflate(bytes.fromhex("c0843d01"))
    columns = columns_of(bytes((0x42 | DEFLATED, len(column))))

    assert not columns.claim_few(column, 0)


@pytest.mark.parametrize(
    ("announced", "sizes"),
    [("0102", ((1, 2),)), ("8001027f04", ((128, 2), (127, 4))), ("ff7f808001", ((16383, 16384),))],
    ids=["one byte each", "two bytes", "three bytes"],
)
def test_a_list_of_columns_is_read_by_its_numbers(
    announced: str, sizes: tuple[tuple[int, int], ...]
) -> None:
    """Also where a specification or a length takes several bytes."""
    columns = columns_of(bytes.fromhex(announced))

    assert columns.sizes == sizes
