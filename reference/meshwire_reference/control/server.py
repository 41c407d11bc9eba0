"""The node's side of the control channel: a thin layer over the backend.

Requests of one connection are answered one after another, each with one line. Other connections go
on meanwhile.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, Final

from meshwire_reference.backend import (
    Backend,
    BackendError,
    Change,
    ChangeStream,
    Document,
    NotStored,
    Removed,
    TooLarge,
    Updated,
)
from meshwire_reference.backend.model import key_of
from meshwire_reference.backend.values import Json, shown
from meshwire_reference.control.messages import (
    LINE_MAX,
    AnyRequest,
    AssignRole,
    Connect,
    Delete,
    Docs,
    EmptyNode,
    Get,
    Invite,
    MoveClock,
    NoRequest,
    Peers,
    Put,
    ReplaceTrust,
    Stats,
    Status,
    Watch,
    decode_request,
    encode_reply,
    error_reply,
    id_of,
    no_document,
    not_an_authority,
    not_for_tests,
    show_document,
    show_document_status,
    show_peer,
    show_statistics,
)
from meshwire_reference.control.socket_file import LineTooLong, SocketServer, read_line
from meshwire_reference.store.base import StoreError
from meshwire_reference.store.token_file import Terms, invite

MS_PER_S: Final = 1000
LISTED_MAX: Final = 1000
"""Documents of one reply to `docs`."""
SHOWN_AT_ONCE: Final = 50
"""Documents of one event with `initial`."""


class ControlServer(SocketServer):
    """The control socket of one node; `open`, then `close`."""

    def __init__(self, backend: Backend, path: Path) -> None:
        super().__init__(path)
        self.backend = backend

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one client."""
        await Client(self.backend, reader, writer).serve()


class Client:
    """One connection."""

    def __init__(
        self, backend: Backend, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.backend = backend
        self._reader = reader
        self._writer = writer

    async def serve(self) -> None:
        """Answer every line until the client closes its side."""
        while True:
            try:
                line = await read_line(self._reader, LINE_MAX)
                if line is None:
                    return
            except LineTooLong as exc:
                await self._reply(None, error_reply(TooLarge(str(exc))))
                continue
            if line.strip():
                await self._answer(line)

    async def _answer(self, line: bytes) -> None:
        number = None
        try:
            request = decode_request(line)
            number = request.id
            if isinstance(request, Watch):
                await self._watch(request)
                return
            reply = await HANDLERS[type(request)](self, request)
        except BackendError as exc:
            number = id_of(line) if number is None else number
            reply = error_reply(exc)
        await self._reply(number, reply)

    async def _reply(self, number: int | None, reply: dict[str, Json]) -> None:
        self._writer.write(encode_reply(number, reply))
        await self._writer.drain()

    async def _watch(self, request: Watch) -> None:
        """Send events until the client closes its side, or sends anything more."""
        stream = self.backend.document_store.observe(request.collection)
        sending = asyncio.ensure_future(self._send_events(request.id, stream))
        hearing = asyncio.ensure_future(self._reader.read(1))
        try:
            await asyncio.wait((sending, hearing), return_when=asyncio.FIRST_COMPLETED)
        finally:
            stream.close()
            for task in (sending, hearing):
                task.cancel()
            await asyncio.gather(sending, hearing, return_exceptions=True)
        raise ConnectionResetError("the client has ended its watch")

    async def _send_events(self, number: int, stream: ChangeStream) -> None:
        try:
            async for change in stream:
                for event in events_of(change):
                    await self._reply(number, {"event": event})
        except BackendError as exc:
            # The end of the watch too: the client would wait for changes that it does not get.
            await self._reply(number, error_reply(exc))

    # --- requests ------------------------------------------------------------------------------

    async def put(self, request: Put) -> dict[str, Json]:
        """Write a document."""
        # The store would choose an id for an empty one.
        key_of(request.collection, request.document)
        document = Document(request.collection, request.fields, request.document)
        stored = await self.backend.document_store.upsert(document, replace=request.replace)
        return {"document": show_document(stored)}

    async def get(self, request: Get) -> dict[str, Json]:
        """Read a document."""
        found = await self.backend.document_store.get(request.collection, request.document)
        if found is None:
            raise no_document(request.collection, request.document)
        return {"document": show_document(found)}

    async def delete(self, request: Delete) -> dict[str, Json]:
        """Delete a document."""
        if not await self.backend.document_store.remove(request.collection, request.document):
            raise no_document(request.collection, request.document)
        return {"deleted": True}

    async def docs(self, request: Docs) -> dict[str, Json]:
        """List some documents."""
        found, more = await self.backend.document_store.page(
            request.collection, request.after, LISTED_MAX
        )
        names: list[Json] = [
            {"collection": document.collection, "document": document.id} for document in found
        ]
        return {"documents": {"names": names, "more": more}}

    async def peers(self, _request: Peers) -> dict[str, Json]:
        """List the peers."""
        discovery = self.backend.peer_discovery
        refused: list[Json] = [
            {"endpoint_id": one.endpoint_id, "reason": one.reason, "at_ms": one.at_ms}
            for one in discovery.refused_peers()
        ]
        known: list[Json] = [show_peer(peer) for peer in discovery.discovered_peers()]
        return {"peers": {"known": known, "refused": refused}}

    async def connect(self, request: Connect) -> dict[str, Json]:
        """Dial an address from now on."""
        return {"peer": show_peer(await self.backend.peer_discovery.connect(request.address))}

    async def assign_role(self, request: AssignRole) -> dict[str, Json]:
        """Give a peer a role."""
        peer_id = bytes.fromhex(request.endpoint_id)
        self.backend.peer_discovery.assign_role(peer_id, request.role)
        return {"assigned": True}

    async def invite(self, request: Invite) -> dict[str, Json]:
        """Give out a token."""
        enrollment = self.backend.node.enrollment
        if enrollment is None:
            raise not_an_authority()
        path = Path(request.token_file)
        if not path.is_absolute():
            raise NoRequest(f"`token_file` is a path from the root, not {shown(str(path))}")
        terms = Terms(round(request.term_s * MS_PER_S), node_id=request.node_id)
        wall_ms = self.backend.node.clock.wall_ms()
        try:
            expires_at = await asyncio.to_thread(
                invite, enrollment.folder, path, terms, secrets.token_bytes, wall_ms
            )
        except StoreError as exc:
            raise NotStored(str(exc)) from exc
        return {"invited": {"token_file": str(path), "expires_at_ms": expires_at}}

    async def stats(self, request: Stats) -> dict[str, Json]:
        """Return the counters."""
        statistics = self.backend.statistics()
        return {"stats": show_statistics(statistics, by_peer=request.by_peer)}

    async def status(self, request: Status) -> dict[str, Json]:
        """Return what the node is and has, or what became of a document."""
        if request.collection is not None and request.document is not None:
            status = await self.backend.document_status(request.collection, request.document)
            return {"document_status": show_document_status(status)}
        if request.collection is not None or request.document is not None:
            raise NoRequest("`collection` and `document` of a status are given together")
        backend, config = self.backend, self.backend.config
        failure = backend.node.store_failure
        connected = [one for one in backend.peer_discovery.discovered_peers() if one.is_connected]
        return {
            "status": {
                "endpoint_id": backend.endpoint_id,
                "addresses": list(backend.addresses),
                "dialect": str(config.settings.dialect),
                "formation_id": None if config.key is None else config.key.formation_id,
                "data": None if config.data is None else str(config.data),
                "documents": len(backend.node.keys),
                "peers": len(connected),
                "store": "ok" if failure is None else str(failure),
                "for_tests": config.is_tested,
                "mesh_id": backend.node.mesh_id,
            }
        }

    async def move_clock(self, request: MoveClock) -> dict[str, Json]:
        """Move the clocks and do what is due then."""
        if not self.backend.config.is_tested:
            raise not_for_tests()
        node = self.backend.node
        await node.move_clock(request.advance_s, request.wall_ms)
        return {"clock": {"wall_ms": node.clock.wall_ms()}}

    async def replace_trust(self, request: ReplaceTrust) -> dict[str, Json]:
        """Demand certificates of these roots."""
        if not self.backend.config.is_tested:
            raise not_for_tests()
        roots = frozenset(map(bytes.fromhex, request.roots))
        await self.backend.node.replace_trust(request.mesh_id, roots)
        return {"trusted": True}

    async def reset(self, _request: EmptyNode) -> dict[str, Json]:
        """Empty the node."""
        if not self.backend.config.is_tested:
            raise not_for_tests()
        await self.backend.reset()
        return {"reset": True}


def events_of(change: Change) -> Iterator[dict[str, Json]]:
    """Yield the events of a change; documents that are there come a few at a time."""
    if isinstance(change, Updated):
        yield {"updated": show_document(change.document)}
    elif isinstance(change, Removed):
        yield {"removed": {"collection": change.collection, "document": change.id}}
    else:
        documents = change.documents
        for at in range(0, max(1, len(documents)), SHOWN_AT_ONCE):
            part: list[Json] = [show_document(one) for one in documents[at : at + SHOWN_AT_ONCE]]
            yield {"initial": part, "more": at + SHOWN_AT_ONCE < len(documents)}


HANDLERS: Final[dict[type[AnyRequest], Callable[[Client, Any], Awaitable[dict[str, Json]]]]] = {
    Put: Client.put,
    Get: Client.get,
    Delete: Client.delete,
    Docs: Client.docs,
    Peers: Client.peers,
    Connect: Client.connect,
    AssignRole: Client.assign_role,
    Invite: Client.invite,
    Stats: Client.stats,
    Status: Client.status,
    MoveClock: Client.move_clock,
    ReplaceTrust: Client.replace_trust,
    EmptyNode: Client.reset,
}
"""The method for each request that has one reply."""
