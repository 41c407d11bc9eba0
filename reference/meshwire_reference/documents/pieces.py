"""A long document in pieces: sync messages that each bring a part of what a peer lacks.

Each piece is the message of a node that holds the document up to there and no more: its heads are
those of the changes that the peer has once it has taken the piece, so that the peer asks for
nothing that is on its way.
"""

from dataclasses import dataclass
from typing import Final

from automerge.core import Document

from meshwire_reference.core.document_calls import Heads
from meshwire_reference.core.sync_messages import HASH, Unfit
from meshwire_reference.documents.pending import message_of
from meshwire_spec.numbers import SYNC_CHANGES_MAX

LENGTH_MAX: Final = 5
"""Greatest number of bytes of the length before a change."""
FRAME_OF_MESSAGE: Final = 16
"""Bytes of a message besides its heads and changes: the marker and the counts."""


@dataclass(frozen=True, slots=True)
class CutPiece:
    """One piece, None where the peer lacks nothing, and the heads of the peer afterwards."""

    message: bytes | None
    heads: Heads
    is_last: bool


def cut_piece(document: Document, known: Heads, size_max: int) -> CutPiece:
    """Return a message of up to `size_max` bytes, with the first changes that are not `known`.

    Raises Unfit (document-limit) if not even one change fits.
    """
    lacking = document.get_changes(list(known))
    if not lacking:
        return CutPiece(None, known, is_last=True)
    heads = dict.fromkeys(known)
    size, count = FRAME_OF_MESSAGE + HASH * len(heads), 0
    for change in lacking[:SYNC_CHANGES_MAX]:
        # A change adds a head at most.
        size += LENGTH_MAX + len(change.bytes) + HASH
        if size > size_max:
            break
        for dependency in change.deps:
            heads.pop(dependency, None)
        heads[change.hash] = None
        count += 1
    if not count:
        raise Unfit("document-limit", f"a change of {len(lacking[0].bytes)} bytes fits no frame")
    after = tuple(sorted(heads))
    message = message_of(after, [change.bytes for change in lacking[:count]])
    return CutPiece(message, after, is_last=count == len(lacking))
