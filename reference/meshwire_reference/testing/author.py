"""A peer that holds one document: it edits, makes snapshots and deltas, and takes answers."""

from urllib.parse import quote

from meshwire_reference.core.document_calls import (
    Edit,
    Fields,
    Forget,
    Generate,
    Generated,
    Listed,
    Merge,
    Receive,
    Received,
    Save,
    Saved,
    Scalar,
)
from meshwire_reference.documents.table import Table
from meshwire_reference.wire.batches import StreamFrame
from meshwire_spec.numbers import READ_MESSAGE, FrameType

NODE = 1
"""Connection of the one peer of an author."""


class Author:
    """One document with the one actor that edits it."""

    def __init__(self, key: str, actor: int = 7) -> None:
        self.key = key
        self._table = Table(bytes((actor,)) * 16)

    def edit(self, **fields: Scalar) -> None:
        """Write root fields as one change."""
        self._table.answer(Edit(self.key, dict(fields)), None)

    @property
    def heads(self) -> tuple[bytes, ...]:
        """The heads of the document."""
        return self._saved().heads

    @property
    def fields(self) -> dict[str, object]:
        """The root fields."""
        listed = self._table.answer(Fields(self.key), None)
        assert isinstance(listed, Listed)
        return {name: value.value for name, value in (listed.fields or {}).items()}

    def snapshot(self) -> bytes:
        """Return the payload of a 0x01."""
        return self._saved().snapshot or b""

    def merge(self, snapshot: bytes) -> None:
        """Merge the payload of a 0x01."""
        self._table.answer(Merge(self.key, snapshot), None)

    def delta(self) -> bytes | None:
        """Return the payload of the next 0x00 to the node."""
        generated = self._table.answer(Generate(NODE, self.key), None)
        assert isinstance(generated, Generated)
        return generated.message

    def announcement(self) -> bytes:
        """Return the payload of a 0x00 with the heads alone."""
        generated = self._table.answer(Generate(NODE, self.key, opens=True), None)
        assert isinstance(generated, Generated)
        assert generated.message is not None
        return generated.message

    def whole_delta(self) -> bytes:
        """Return the payload of a 0x00 with the whole document, for a peer that is not known."""
        self._table.answer(Forget(NODE), None)
        return self.delta() or b""

    def receive(self, message: bytes) -> bytes | None:
        """Apply the payload of a 0x00 and return that of the answer, or None."""
        received = self._table.answer(Receive(NODE, self.key, message), None)
        assert isinstance(received, Received), received
        return received.answer

    def _saved(self) -> Saved:
        saved = self._table.answer(Save(self.key), None)
        assert isinstance(saved, Saved)
        return saved


def author(key: str, actor: int = 7, **fields: Scalar) -> Author:
    """Return the author of a document with one change."""
    made = Author(key, actor)
    made.edit(**(fields or {"by": actor}))
    return made


def snapshot(key: str, actor: int = 7) -> StreamFrame:
    """Return a snapshot frame of a document with one change."""
    return StreamFrame(key, FrameType.SNAPSHOT, author(key, actor).snapshot())


def read(key: str) -> StreamFrame:
    """Return a read."""
    return StreamFrame(key, FrameType.DELTA, READ_MESSAGE)


def file_name(key: str) -> str:
    """Return the name of the file with the document of a key in the folder of a node."""
    name = quote(key, safe="")
    return (f"%2E{name[1:]}" if name.startswith(".") else name) + ".automerge"
