"""Helpers of tests about reconciliation: a node with real documents, its items, frames of a run."""

from meshwire_reference.core.settings import Dialect, Settings
from meshwire_reference.core.state.document_index import identify_key
from meshwire_reference.documents.table import Table
from meshwire_reference.negentropy import Vector
from meshwire_reference.testing import author
from meshwire_reference.testing.bench import Bench
from meshwire_reference.wire.batches import StreamFrame, encode_stream_frame
from meshwire_spec.numbers import NEGENTROPY_KEY, FrameType

INIT, RESPONSE = FrameType.NEGENTROPY_INIT, FrameType.NEGENTROPY_RESPONSE
EMPTY = bytes.fromhex("6100000200")
"""A message about all items, which lists none."""


def make_bench(**settings: float) -> Bench:
    """Return an open node with real document handling."""
    table = Table(b"\x09" * 16)
    chosen = Settings(Dialect.OPEN, heartbeat_s=0, **settings)  # type: ignore[arg-type]
    return Bench(lambda call: table.answer(call, None), chosen)


def keys(first: int, after: int) -> list[str]:
    """Return the keys of some documents."""
    return [f"notes:{number}" for number in range(first, after)]


def fill(bench: Bench, names: list[str]) -> None:
    """Have a node hold documents, brought by a peer that leaves again."""
    source = bench.connect()
    for key in names:
        bench.send(source, author.snapshot(key))
    bench.disconnect(source)


def items(names: list[str]) -> Vector:
    """Return what a node with these documents takes for its items."""
    vector = Vector()
    for key in names:
        vector.insert(0, identify_key(key))
    vector.seal()
    return vector


def message(content: bytes, kind: FrameType = RESPONSE) -> bytes:
    """Return the bytes of a frame of a run."""
    return encode_stream_frame(StreamFrame(NEGENTROPY_KEY, kind, content))
