"""The documents of the child process by name, with their sync states per peer."""

from collections.abc import Callable
from typing import Any

from automerge.core import Document, Message, SyncState

from meshwire_conformance.documents.library import read_fields, write_change
from meshwire_conformance.documents.values import Json


class Replicas:
    """Named documents. A peer's bytes are applied to a fork, which then replaces the document."""

    def __init__(self) -> None:
        self._documents: dict[str, Document] = {}
        self._actors: dict[str, bytes] = {}
        self._states: dict[tuple[str, str], SyncState] = {}

    def handlers(self) -> dict[str, Callable[..., Any]]:
        """Return the operations that a request may name."""
        return {
            "create": self.create,
            "merge": self.merge,
            "edit": self.edit,
            "describe": self.describe,
            "changes": self.changes,
            "fields": self.fields,
            "begin": self.begin,
            "generate": self.generate,
            "receive": self.receive,
            "forget": self.forget,
        }

    def create(self, name: str, actor: str, changes: list[dict[str, Json]]) -> Any:
        """Create a document from data; it replaces a document of the same name."""
        self.forget(name)
        self._actors[name] = bytes.fromhex(actor)
        document = Document(self._actors[name])
        for fields in changes:
            write_change(document, fields)
        self._documents[name] = document
        return self.describe(name)

    def merge(self, name: str, payloads: list[bytes]) -> Any:
        """Merge saved bytes into a document."""
        fork = self._fork(name)
        for payload in payloads:
            fork.merge(Document.load(payload))
        self._documents[name] = fork
        return self.describe(name)

    def edit(self, name: str, changes: list[dict[str, Json]]) -> Any:
        """Write further changes."""
        fork = self._fork(name)
        for fields in changes:
            write_change(fork, fields)
        self._documents[name] = fork
        return self.describe(name)

    def describe(self, name: str) -> Any:
        """Return heads and saved bytes."""
        document = self._documents[name]
        return sorted(head.hex() for head in document.get_heads()), document.save()

    def changes(self, name: str) -> list[bytes]:
        """Return the bytes of every change, in the document's own order."""
        return [change.bytes for change in self._documents[name].get_changes([])]

    def fields(self, name: str) -> dict[str, Json]:
        """Return the root fields as data."""
        return read_fields(self._fork(name))

    def begin(self, name: str, peer: str) -> None:
        """Start the exchange with a peer afresh."""
        self._states[name, peer] = SyncState()

    def generate(self, name: str, peer: str) -> bytes | None:
        """Return the next message for a peer, or None if there is nothing to send."""
        state = self._states.setdefault((name, peer), SyncState())
        message: Message | None = self._fork(name).generate_sync_message(state)
        encode: Callable[[], bytes] | None = getattr(message, "encode", None)
        return None if encode is None else encode()

    def receive(self, name: str, peer: str, message: bytes) -> Any:
        """Apply a message of a peer."""
        state = self._states.setdefault((name, peer), SyncState())
        fork = self._fork(name)
        fork.receive_sync_message(state, Message.decode(message))
        self._documents[name] = fork
        return self.describe(name)

    def forget(self, name: str) -> None:
        """Drop a document and its exchanges."""
        self._documents.pop(name, None)
        self._actors.pop(name, None)
        self._states = {place: state for place, state in self._states.items() if place[0] != name}

    def _fork(self, name: str) -> Document:
        fork = self._documents[name].fork()
        fork.set_actor(self._actors[name])
        return fork
