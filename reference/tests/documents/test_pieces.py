"""A long document in pieces: each within its size, together the whole."""

import pytest

from meshwire_reference.core.document_calls import Edit, Generated, Piece, Refused
from meshwire_reference.core.sync_messages import read_message
from meshwire_reference.documents.pipe import PipeReader, decode_request, encode_request
from meshwire_reference.documents.table import Table
from meshwire_reference.testing.author import Author

KEY = "notes:1"
PEER = "peer"
SIZE_MAX = 1000


def long_table(changes: int = 8, size: int = 300) -> Table:
    """Return a worker's table with one document of many changes."""
    table = Table(b"\x05" * 16)
    for number in range(changes):
        table.answer(Edit(KEY, {f"field {number}": f"{number}" * size}), None)
    return table


def test_pieces_bring_the_whole_document() -> None:
    """Each has at most this size and asks for nothing; the last one says so."""
    table, peer = long_table(), Author(KEY)
    is_last = False
    while not is_last:
        piece = table.answer(Piece(PEER, KEY, size_max=SIZE_MAX), None)
        assert isinstance(piece, Generated)
        assert piece.message is not None
        assert len(piece.message) <= SIZE_MAX
        answer = peer.receive(piece.message)
        assert answer is None or read_message(answer).need == ()
        is_last = piece.is_last

    assert len(peer.fields) == 8
    nothing = table.answer(Piece(PEER, KEY, size_max=SIZE_MAX), None)
    assert isinstance(nothing, Generated)
    assert (nothing.message, nothing.is_last) == (None, True)


def test_a_change_that_fits_no_piece_is_refused() -> None:
    """The node says so instead of sending a piece without it."""
    refused = long_table(1, 3 * SIZE_MAX).answer(Piece(PEER, KEY, size_max=60), None)

    assert isinstance(refused, Refused)
    assert refused.reason == "document-limit"


@pytest.mark.parametrize("stored", [None, b"bytes"])
def test_the_call_goes_through_the_pipe(stored: bytes | None) -> None:
    """The worker receives it as it was made."""
    call = Piece(PEER, KEY, size_max=0x0102)
    (frame,) = PipeReader().feed(b"".join(encode_request(7, [(call, stored)])))

    assert decode_request(frame) == [(call, stored)]
