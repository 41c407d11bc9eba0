"""The Automerge sync protocol about one document with one peer: receive, answer, read, push.

Read (`wire.md` F2). Three messages look alike, for none of them has heads:
- without any chunk and asking for nothing: a read, answered from a fresh state each time, unless
  this node's own read is open, whose answer it then is;
- with the chunk of an empty document: the answer to a read by a node without the document, and
  never answered, so that two such nodes fall silent;
- without a chunk but asking for our heads: the peer heard of the document and has nothing yet. In
  a running exchange it gets everything, once for the same heads, since a peer that does not keep
  the document would ask for ever; outside of one it is a read.
"""

from typing import cast

from automerge.core import Document, Message

from meshwire_reference.core.document_calls import (
    Connection,
    Done,
    Forget,
    Generate,
    Generated,
    Receive,
    Received,
    Unsent,
)
from meshwire_reference.core.sync_messages import SyncMessage, read_message
from meshwire_reference.documents.chunks import DOCUMENT, Budget, check_chunks
from meshwire_reference.documents.entries import Entries, Entry
from meshwire_reference.documents.sessions import Session, Sessions
from meshwire_spec.numbers import READ_MESSAGE


def pass_through(document: Document, session: Session, message: bytes) -> bytes | None:
    """Receive a message, which may change the document, and return what is said to it."""
    document.receive_sync_message(session.state, Message.decode(message))
    return say(document, session)


def say(document: Document, session: Session) -> bytes | None:
    """Return the next message of a session, None when there is nothing to say."""
    # The library's stub denies that there may be nothing to say.
    message = cast("Message | None", document.generate_sync_message(session.state))
    return None if message is None else message.encode()


class Exchanges:
    """Every exchange of the worker."""

    def __init__(self, entries: Entries) -> None:
        self._entries = entries
        self._sessions = Sessions()

    def receive(self, call: Receive) -> Received:
        """Apply a peer's message and work out the answer.

        Raises Unfit and what the library raises; then nothing has changed, and `abandon` is due.
        """
        message = read_message(call.message)
        entry = self._entries.get(call.key)
        session = self._sessions.get(call.connection, call.key)
        # DC-006
        if message.is_empty_answer:
            self._sessions.remove(call.connection, call.key)
            return Received(entry.heads, entry.heads, None, None, awaited=True)
        # DC-002, DC-003, DC-004
        if message.is_read and (taken := self._receive_read(call, message, entry, session)):
            return taken
        # DC-010, DC-011
        return self._receive_changes(call, message, entry, session or Session())

    def _receive_changes(
        self, call: Receive, message: SyncMessage, entry: Entry, session: Session
    ) -> Received:
        budget = Budget.of(len(call.message))
        singles = 0
        for chunks in message.changes:
            singles += sum(kind != DOCUMENT for kind in check_chunks(chunks, budget))
        before = entry.heads
        fork = entry.document.fork()
        answer = pass_through(fork, session, call.message)
        # Changes that came one by one and were not all applied may wait in the fork for others.
        applied = len(fork.get_changes(list(before))) if singles else 0
        orphan_bytes = sum(map(len, message.changes)) if applied < singles else 0
        write = self._entries.replace(call.key, entry, fork, orphan_bytes)
        session.reading = False
        if answer is None or not read_message(answer).need:
            session.shared = message.heads
        kept = len(call.message) + len(answer or b"")
        self._sessions.put(call.connection, call.key, session, kept)
        return Received(before, entry.heads, write, answer)

    def _receive_read(
        self, call: Receive, message: SyncMessage, entry: Entry, session: Session | None
    ) -> Received | None:
        """Deal with a message without heads and changes; None where its exchange simply goes on."""
        heads = entry.heads
        awaited = Received(heads, heads, None, None, awaited=True)
        # DC-006
        if session is not None and session.reading:
            session.reading = False
            return awaited
        if session is not None and heads and message.need:
            if session.resent_at == heads:
                return awaited
            session.resent_at = heads
            return None
        session = Session()
        answer = pass_through(entry.document.fork(), session, call.message)
        self._sessions.remove(call.connection, call.key)
        if heads:
            self._sessions.put(call.connection, call.key, session, len(answer or b""))
        return Received(heads, heads, None, answer, read=True)

    def generate(self, call: Generate) -> Generated:
        """Make the next message toward a peer: its whole document, what it lacks, or a read."""
        entry = self._entries.get(call.key)
        session = self._sessions.get(call.connection, call.key)
        if not entry.heads:
            session = Session(reading=True)
            message = say(Document(), session)
        elif session is None or session.reading:
            session = Session()
            # D-143: who is not known to hold anything is told what its read would be answered.
            message = pass_through(entry.document.fork(), session, READ_MESSAGE)
        else:
            message = say(entry.document.fork(), session)
        self._sessions.put(call.connection, call.key, session, len(message or b""))
        return Generated(message, entry.heads)

    def unsent(self, call: Unsent) -> Done:
        """Go back to what the peer was known to hold before the last message (D-152)."""
        session = self._sessions.get(call.connection, call.key)
        self._sessions.remove(call.connection, call.key)
        if session is not None and session.shared:
            # A state cannot be copied, but a new one comes to the same by being told what a peer
            # says that holds these heads, lacks nothing and sends nothing.
            hashes = bytes((len(session.shared),)) + b"".join(session.shared)
            message = b"\x42" + hashes + b"\x00\x01" + hashes + b"\x00" + READ_MESSAGE[6:]
            known = Session(shared=session.shared)
            fork = self._entries.get(call.key).document.fork()
            fork.receive_sync_message(known.state, Message.decode(message))
            self._sessions.put(call.connection, call.key, known, len(message))
        return Done()

    def abandon(self, connection: Connection, key: str) -> None:
        """Let go of a sync state that a failed call may have left half changed."""
        self._sessions.remove(connection, key)

    def forget(self, call: Forget) -> Done:
        """Let go of every exchange of a connection."""
        # DC-017
        self._sessions.forget(call.connection)
        return Done()

    def drop(self, key: str) -> None:
        """Let go of every exchange about a document."""
        self._sessions.drop(key)
