"""The Automerge sync protocol about one document with one peer: receive, answer, read, push.

Read (DC-001 to DC-009). A message without heads and changes is a read, answered from a fresh
state each time, but for three that look like it:
- this node's own read is open: it is the answer to that;
- it holds the empty document, which is how a node without the document answers, and this node has
  no document either: it is not answered, so that two such nodes stop sending;
- it asks for our heads in a running exchange: the peer heard of the document and has nothing yet.
  It gets everything, once for the same heads, since a peer that does not keep the document would
  repeat it without end.

State. One exchange per connection and key, bounded per connection and in all. A sync state cannot
be saved or copied, so an exchange also keeps what a new state can be built from: the heads that
both sides are known to share. Losing an exchange is correct but costs more bytes: the next message
starts afresh.

Pending changes (DC-046) are lost with a worker, and the library of the peer sends no change twice
in an exchange, although it is requested. So a request that brings nothing twice becomes a read.
"""

import itertools
from collections import OrderedDict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final, cast

from automerge.core import Document, Message, SyncState

from meshwire_reference.core.document_calls import (
    ConnectionName,
    Done,
    Forget,
    Generate,
    Generated,
    Heads,
    Piece,
    Receive,
    Received,
    Unsent,
)
from meshwire_reference.core.sync_messages import (
    HASH,
    SyncMessage,
    Unfit,
    read_message,
    read_need,
)
from meshwire_reference.documents.chunks import (
    CHECKSUM,
    DOCUMENT,
    CheckedChunk,
    ClaimBudget,
    check_chunks,
    walk_chunks,
)
from meshwire_reference.documents.entries import Entries, Entry, heads_of
from meshwire_reference.documents.pending import (
    NEED_MAX,
    Settled,
    apply_changes,
    deps_of,
    lacked_by,
    split_ready,
)
from meshwire_reference.documents.pieces import cut_piece
from meshwire_spec.numbers import READ_MESSAGE

EXCHANGE_BYTES: Final = 512
"""Bytes that an exchange is assumed to hold besides the message it keeps."""
VAIN_MAX: Final = 2
"""Number of requests in a row without effect, after which the document is read instead."""
CONNECTION_BYTES_MAX: Final = 32 * 2**20
"""Greatest size of all exchanges of one connection; the least recently used are dropped."""
ALL_BYTES_MAX: Final = 256 * 2**20
"""The same for all connections together; those of the connection that has most are dropped."""


@dataclass(slots=True)
class DocumentExchange:
    """The exchange about one document with one peer."""

    state: SyncState = field(default_factory=SyncState)
    shared: Heads = ()
    """Heads that the peer has shown and this node holds."""
    reading: bool = False
    """True while this node's own read (DC-001) has no answer."""
    requested: Heads = ()
    """Hashes of the changes that the last answer requested."""
    vain: int = 0
    """Number of messages in a row without changes, while the same change was requested."""
    resent_at: Heads | None = None
    """Local heads at which everything was sent once more to a peer that had shown none."""
    begun_again_at: tuple[Heads, Heads] | None = None
    """Heads of both sides at which the exchange began again, for a peer that lacks what it had."""
    sent_in_pieces: Heads = ()
    """Heads of what pieces have brought the peer, which need not have confirmed it."""
    weight: int = EXCHANGE_BYTES


class OpenExchanges:
    """The exchanges that have begun, by connection and key."""

    def __init__(self) -> None:
        self._exchanges: dict[ConnectionName, OrderedDict[str, DocumentExchange]] = {}
        self._weights: dict[ConnectionName, int] = {}
        self._weight = 0

    def get(self, connection: ConnectionName, key: str) -> DocumentExchange | None:
        """Return an exchange and count it as used; None when there is none."""
        exchanges = self._exchanges.get(connection)
        if exchanges is None or key not in exchanges:
            return None
        exchanges.move_to_end(key)
        return exchanges[key]

    def put(
        self, connection: ConnectionName, key: str, exchange: DocumentExchange, kept_bytes: int
    ) -> None:
        """Keep an exchange whose state has grown by a message of this size."""
        self.remove(connection, key)
        exchange.weight = EXCHANGE_BYTES + kept_bytes
        exchanges = self._exchanges.setdefault(connection, OrderedDict())
        exchanges[key] = exchange
        self._add_weight(connection, exchange.weight)
        while self._weights[connection] > CONNECTION_BYTES_MAX and len(exchanges) > 1:
            self._drop_oldest(connection)
        while self._weight > ALL_BYTES_MAX:
            greatest = max(self._weights, key=lambda one: self._weights[one])
            if greatest == connection and len(exchanges) == 1:
                break
            self._drop_oldest(greatest)

    def _add_weight(self, connection: ConnectionName, weight: int) -> None:
        self._weights[connection] = self._weights.get(connection, 0) + weight
        self._weight += weight

    def _drop_oldest(self, connection: ConnectionName) -> None:
        """Drop the exchange of a connection that was used least recently."""
        _, oldest = self._exchanges[connection].popitem(last=False)
        self._add_weight(connection, -oldest.weight)

    def remove(self, connection: ConnectionName, key: str) -> None:
        """Remove one exchange, if there is one."""
        exchange = self._exchanges.get(connection, OrderedDict()).pop(key, None)
        if exchange is not None:
            self._add_weight(connection, -exchange.weight)

    def forget(self, connection: ConnectionName) -> None:
        """Remove every exchange of a connection."""
        self._exchanges.pop(connection, None)
        self._weight -= self._weights.pop(connection, 0)

    def drop(self, key: str) -> None:
        """Remove the exchanges of every connection about one document."""
        for connection in self._exchanges:
            self.remove(connection, key)


def pass_through(document: Document, exchange: DocumentExchange, message: bytes) -> None:
    """Receive a message, which may change the document."""
    document.receive_sync_message(exchange.state, Message.decode(message))


def say(
    document: Document, exchange: DocumentExchange, pending: Collection[CheckedChunk] = ()
) -> bytes | None:
    """Return the next message of an exchange, or None if there is nothing to send.

    It names what the pending changes lack, and does not request them again.
    """
    # The library may return None, which its type stub does not say.
    message = cast("Message | None", document.generate_sync_message(exchange.state))
    answer = None if message is None else message.encode()
    if answer is None or not pending:
        return answer
    outer = read_message(answer)
    held = {change.hash for change in pending}
    lacked = lacked_by(document, deps_of(pending) - held)
    return outer.with_need(answer, sorted(set(outer.need) - held | lacked)[:NEED_MAX])


def find_early(fork: Document, chunks: Collection[CheckedChunk]) -> list[CheckedChunk]:
    """Return those changes whose dependencies neither the document nor the chunks have.

    Raises what the library raises for one that it cannot read.
    """
    singles = [chunk for chunk in chunks if chunk.type != DOCUMENT]
    wholes = [chunk.data for chunk in chunks if chunk.type == DOCUMENT]
    lacked = lacked_by(fork, deps_of(singles).difference(chunk.hash for chunk in singles))
    if not lacked:
        return []
    if wholes:
        probe = fork.fork()
        for whole in wholes:
            probe.merge(Document.load(whole))
        lacked = lacked_by(probe, lacked)
    _, early = split_ready(singles, lacked)
    for change in early:
        apply_changes(Document(), (change.data,))
    return early


def check_taken(fork: Document, chunks: Iterable[CheckedChunk]) -> None:
    """Raise Unfit (bad-document) if the library has ignored a chunk, as it does without a word."""
    ends: set[bytes] = set()
    links: set[bytes] = set()
    for chunk in chunks:
        if chunk.type == DOCUMENT:
            ends.update(chunk.links)
        else:
            ends.add(chunk.hash)
            links.update(chunk.links)
    # What a change depends on is there if the change is.
    if lacked_by(fork, ends - links):
        raise Unfit("bad-document", "the library has ignored a change")


def whole_of(runs: Sequence[Sequence[CheckedChunk]], document: Document) -> bytes | None:
    """Return the chunk that is the whole document as it was saved, None without such a chunk."""
    if len(runs) != 1 or len(runs[0]) != 1 or runs[0][0].type != DOCUMENT:
        return None
    (chunk,) = runs[0]
    return chunk.data if tuple(sorted(chunk.links)) == heads_of(document) else None


def is_starved(document: Document, message: SyncMessage, answer: bytes | None) -> bool:
    """Return True if a message asks for a change of the document that its answer does not have."""
    if not message.need:
        return False
    runs = () if answer is None else read_message(answer).changes
    chunks = [chunk for run in runs for chunk in walk_chunks(run)]
    if any(chunk.type == DOCUMENT for chunk in chunks):
        return False
    sent = {chunk.checksum for chunk in chunks}
    unsent = {hashed for hashed in message.need if hashed[:CHECKSUM] not in sent}
    return lacked_by(document, unsent) != unsent


def begin_again(
    settled: Settled, exchange: DocumentExchange, message: SyncMessage, data: bytes
) -> tuple[DocumentExchange, bytes | None]:
    """Return an exchange that begins with a message, and its answer; once for the same heads.

    The library sends a change once, and a peer that has refused it asks for it without end.
    """
    heads = (heads_of(settled.document), message.heads)
    # DC-054
    if exchange.begun_again_at == heads:
        return exchange, None
    # DC-053
    afresh = DocumentExchange(begun_again_at=heads, resent_at=exchange.resent_at)
    pass_through(settled.document, afresh, message.with_changes(data, ()))
    return afresh, say(settled.document, afresh, settled.waiting)


class Exchanges:
    """Every exchange of the worker."""

    def __init__(self, entries: Entries) -> None:
        self._entries = entries
        self.open = OpenExchanges()

    def receive(self, call: Receive) -> Received:
        """Apply a peer's message and compute the answer.

        Raises Unfit and what the library raises; then nothing has changed, and the caller must
        remove the exchange from `open`.
        """
        message = read_message(call.message)
        entry = self._entries.get(call.key)
        exchange = self.open.get(call.connection, call.key)
        # DC-002, DC-003, DC-004
        if message.is_read and (taken := self._receive_read(call, message, entry, exchange)):
            return taken
        # DC-010, DC-011
        return self._receive_changes(call, message, entry, exchange or DocumentExchange())

    def _receive_changes(
        self, call: Receive, message: SyncMessage, entry: Entry, exchange: DocumentExchange
    ) -> Received:
        budget = ClaimBudget.of(len(call.message))
        runs = [check_chunks(chunks, budget) for chunks in message.changes]
        fork = entry.document.fork()
        # DC-046, DC-052
        early = find_early(fork, [chunk for run in runs for chunk in run])
        waiting = {change.hash for change in early}
        timely = [[chunk for chunk in run if chunk.hash not in waiting] for run in runs]
        data = call.message
        if early:
            joined = (b"".join(chunk.data for chunk in run) for run in timely)
            data = message.with_changes(data, [run for run in joined if run])
        pass_through(fork, exchange, data)
        # DC-013
        check_taken(fork, itertools.chain(*timely))
        settled = self._entries.settle(call.key, fork, early)
        answer = say(settled.document, exchange, settled.waiting)
        if is_starved(settled.document, message, answer):
            exchange, answer = begin_again(settled, exchange, message, call.message)
        saved = whole_of(runs, settled.document) if not entry.heads else None
        write = self._entries.replace(call.key, entry, settled, saved)
        exchange.reading = False
        need = () if answer is None else read_need(answer)
        if not need:
            exchange.shared = message.heads
        is_vain = not message.changes and not set(need).isdisjoint(exchange.requested)
        exchange.requested, exchange.vain = need, exchange.vain + 1 if is_vain else 0
        # DC-047
        if exchange.vain == VAIN_MAX:
            exchange, answer = DocumentExchange(requested=need), READ_MESSAGE
        kept = len(call.message) + len(answer or b"")
        self.open.put(call.connection, call.key, exchange, kept)
        return Received(entry.heads, write, answer)

    def _receive_read(
        self, call: Receive, message: SyncMessage, entry: Entry, exchange: DocumentExchange | None
    ) -> Received | None:
        """Handle a message without heads and changes; return None if its exchange continues."""
        heads = entry.heads
        awaited = Received(heads, None, None, awaited=True)
        is_open = exchange is not None and exchange.reading
        # DC-006, DC-009
        if is_open or (message.is_empty_answer and not heads):
            self.open.remove(call.connection, call.key)
            return awaited
        # DC-018
        if exchange is not None and heads and message.need:
            if exchange.resent_at == heads:
                return awaited
            exchange.resent_at = heads
            return None
        exchange = DocumentExchange()
        fork = entry.document.fork()
        pass_through(fork, exchange, call.message)
        answer = say(fork, exchange, self._entries.pending.of(call.key))
        self.open.remove(call.connection, call.key)
        if heads:
            self.open.put(call.connection, call.key, exchange, len(answer or b""))
        return Received(heads, None, answer, read=True)

    def generate(self, call: Generate) -> Generated:
        """Make the next message toward a peer: its whole document, what it lacks, or a read."""
        entry = self._entries.get(call.key)
        exchange = self.open.get(call.connection, call.key)
        if not entry.heads:
            exchange = DocumentExchange(reading=True)
            message = say(Document(), exchange)
        elif call.opens or call.resumes:
            known = self._restore(call, exchange) if call.resumes and exchange else None
            exchange = known or DocumentExchange()
            message = say(entry.document.fork(), exchange, self._entries.pending.of(call.key))
        else:
            fork = entry.document.fork()
            if exchange is None or exchange.reading:
                exchange = DocumentExchange()
                # DC-038: a peer that is not known to hold anything is sent the answer to a read.
                pass_through(fork, exchange, READ_MESSAGE)
            message = say(fork, exchange, self._entries.pending.of(call.key))
            if call.announces and message is not None:
                # DC-085, DC-086: who asks for what is left out begins again (DC-053).
                message = read_message(message).with_changes(message, ())
        self.open.put(call.connection, call.key, exchange, len(message or b""))
        return Generated(message, entry.heads)

    def note_snapshot(self, connection: ConnectionName, key: str) -> None:
        """Take a snapshot of the peer for the answer to this node's read, if it awaits one."""
        exchange = self.open.get(connection, key)
        # DC-006
        if exchange is not None and exchange.reading:
            self.open.remove(connection, key)

    def piece(self, call: Piece) -> Generated:
        """Make the next piece of what the peer lacks, after those that were sent."""
        entry = self._entries.get(call.key)
        before = self.open.get(call.connection, call.key) or DocumentExchange()
        # DC-055
        piece = cut_piece(entry.document, before.shared + before.sent_in_pieces, call.size_max)
        exchange = self._restore(call, before) or DocumentExchange()
        exchange.sent_in_pieces = piece.heads
        self.open.put(call.connection, call.key, exchange, EXCHANGE_BYTES)
        return Generated(piece.message, entry.heads, is_last=piece.is_last)

    def unsent(self, call: Unsent) -> Done:
        """Restore the heads that the peer was known to have before the last message (D-152)."""
        exchange = self.open.get(call.connection, call.key)
        self.open.remove(call.connection, call.key)
        if exchange is not None and (known := self._restore(call, exchange)):
            self.open.put(call.connection, call.key, known, len(exchange.shared) * 2 * HASH)
        return Done()

    def _restore(
        self, call: Unsent | Generate, exchange: DocumentExchange
    ) -> DocumentExchange | None:
        """Return the exchange with a peer that is known to hold the shared heads; None without."""
        if exchange.shared:
            # A state cannot be copied, but an equal one results from the message of a peer that
            # holds these heads, lacks nothing and sends nothing.
            hashes = bytes((len(exchange.shared),)) + b"".join(exchange.shared)
            message = b"\x42" + hashes + b"\x00\x01" + hashes + b"\x00" + READ_MESSAGE[6:]
            known = DocumentExchange(shared=exchange.shared)
            fork = self._entries.get(call.key).document.fork()
            fork.receive_sync_message(known.state, Message.decode(message))
            return known
        return None

    def forget(self, call: Forget) -> Done:
        """Discard every exchange of a connection."""
        # DC-017
        self.open.forget(call.connection)
        return Done()
