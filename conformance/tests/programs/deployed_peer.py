"""A scripted peer that behaves over the lab binding as a deployed peat-mesh node does.

Run as a process: `python deployed_peer.py [--poll-s S]` prints where it listens. It does what
`spec/93-deployed.md` says of such a node: it reads one frame of a stream and lets both halves go,
sends no codes, stores what the key grammar forbids, obeys tombstones everywhere and keeps the
first one, drops frames for tombstoned keys without a word, never reads uni streams, passes
documents on by pushing its whole store at every poll, and answers only what Automerge has to say.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import secrets
import sys
from collections.abc import Callable, Mapping
from typing import Any

from meshwire_conformance.documents.client import Documents, Unreadable
from meshwire_conformance.protocol.frame_content import take_frames
from meshwire_conformance.targets.tcp import TcpConnection
from meshwire_conformance.targets.transport import Dial, Stream
from meshwire_spec.codec import Malformed, Message, decode, encode
from meshwire_spec.numbers import (
    TOMBSTONE_BATCH_KEY,
    FrameType,
    SyncMode,
    collection_of,
)

DECODED_ENTRIES = frozenset((0, 1, 2, 4, 5, 6, 7))
"""Entry types that a deployed decoder knows; one other loses the batch."""


class Store:
    """Documents and tombstones, and what was said to whom about them."""

    def __init__(self) -> None:
        self.documents = Documents()
        self.documents.start()
        self.keys: dict[str, str] = {}
        self.tombstones: dict[str, bytes] = {}

    def name(self, key: str) -> str:
        """Return the name of the document in the library; an empty one is made if it is new."""
        if key not in self.keys:
            self.keys[key] = f"{len(self.keys)} {key}"
            self.documents.create(self.keys[key])
        return self.keys[key]

    def remove(self, key: str) -> None:
        """Delete a document."""
        name = self.keys.pop(key, None)
        if name is not None:
            self.documents.forget(name)


class Node:
    """The node: its store, its connections, and the poll."""

    def __init__(self, poll_s: float) -> None:
        self.store = Store()
        self.poll_s = poll_s
        self.identity = secrets.token_bytes(32)
        self.peers: list[Peer] = []
        self.tasks: set[asyncio.Task[None]] = set()
        self.turn = asyncio.Lock()

    def spawn(self, work: Any) -> None:
        """Run something beside."""
        task = asyncio.get_running_loop().create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def poll(self) -> None:
        """Push every document to every peer, repeatedly."""
        while True:
            # A real clock, in a process of its own: deployed peers push by it and by nothing else.
            await asyncio.sleep(self.poll_s)
            for peer in list(self.peers):
                # One that grants no stream, or has sent no preamble, delays no other one.
                if not peer.is_pushing:
                    self.spawn(peer.push_everything())


class Peer:
    """One connection."""

    def __init__(self, node: Node, connection: TcpConnection) -> None:
        self.node = node
        self.connection = connection
        self.name = secrets.token_hex(8)
        self.is_pushing = False
        node.peers.append(self)

    def accept(self, stream: Stream) -> None:
        """Serve a bidi stream; uni streams are never read."""
        if stream.uni:
            return
        stream.on_change = lambda _: self.changed(stream)

    def changed(self, stream: Stream) -> None:
        """Read exactly one frame, then let go of both halves."""
        stream.on_change = None
        try:
            frame = next(take_frames(stream.received), None)
        except Malformed:
            frame = None
            failed = True
        else:
            failed = stream.read_over
        if frame is None and not failed:
            stream.on_change = lambda _: self.changed(stream)
            return
        self.node.spawn(self.serve(stream, frame))

    async def serve(self, stream: Stream, frame: Message | None) -> None:
        """Do what the frame says; every error ends the handler without a word."""
        try:
            if frame is not None:
                await self.take(frame.fields)
        except (Malformed, Unreadable):
            pass
        await stream.stop(0)
        await stream.finish()

    async def take(self, fields: Mapping[str, Any]) -> None:
        """Dispatch by type."""
        handler = HANDLERS.get(fields["type"])
        if handler is not None:
            await handler(self, fields)

    def abort(self) -> None:
        """A count that needs too much memory ends the process.

        It is started again at once, with its store on disk: every connection is gone.
        """
        for peer in list(self.node.peers):
            peer.connection.abort()

    async def delta(self, fields: Mapping[str, Any]) -> None:
        """Apply, store, and answer if there is anything to say."""
        key, store = fields["key"], self.node.store
        if key in store.tombstones:
            return
        if FATAL_PROBES in fields["payload"]:
            self.abort()
            return
        name = store.name(key)
        store.documents.receive(name, self.name, fields["payload"])
        answer = store.documents.generate(name, self.name)
        if answer is None:
            store.documents.begin(name, self.name)
        else:
            await self.send(key, FrameType.DELTA, answer)

    async def snapshot(self, fields: Mapping[str, Any]) -> None:
        """Merge; the empty payload is the empty document."""
        key, store = fields["key"], self.node.store
        if key in store.tombstones:
            return
        if fields["payload"][8:9] == DEFLATED:
            return  # The library inflates it and gives a clean error, in more time than tests have.
        if FATAL_OPERATIONS in fields["payload"]:
            self.abort()
            return
        # Frames are taken at the same time, so that other peers have their turn between two.
        async with self.node.turn:
            await asyncio.sleep(0)
        if fields["payload"]:
            store.documents.read_snapshot(fields["payload"])
        name = store.name(key)
        if fields["payload"]:
            store.documents.merge(name, fields["payload"])

    async def tombstone(self, fields: Mapping[str, Any]) -> None:
        """Delete whatever it names, keep the first, pass a new one on."""
        found = decode("tombstone", fields["payload"]).fields
        key = f"{found['collection']}:{found['document_id']}"
        if key in self.node.store.tombstones:
            return
        self.bury(key, found)
        for peer in self.node.peers:
            if peer is not self:
                passed_on = self.node.store.tombstones[key]
                # The sender's stream does not wait for the credit of another peer.
                self.node.spawn(peer.send(f"tombstones:{key}", FrameType.TOMBSTONE, passed_on))

    def bury(self, key: str, found: Mapping[str, Any]) -> None:
        """Store a tombstone and delete its document."""
        self.node.store.tombstones[key] = encode(Message("tombstone", {**found, "extra": b""}))
        self.node.store.remove(key)

    async def tombstones(self, fields: Mapping[str, Any]) -> None:
        """All or nothing, and passed on by the poll alone."""
        if int.from_bytes(fields["payload"][:4], "big") > COUNT_FATAL:
            self.abort()
        batch = decode("tombstone_batch", fields["payload"]).fields
        if batch["fault"] is not None:
            return
        for element in batch["tombstones"]:
            key = f"{element['collection']}:{element['document_id']}"
            if key not in self.node.store.tombstones:
                self.bury(key, element)

    async def batch(self, fields: Mapping[str, Any]) -> None:
        """All entries decode or none is processed; one that fails is skipped."""
        if int.from_bytes(fields["payload"][17:21], "big") > COUNT_FATAL:
            self.abort()
        batch = decode("sync_batch", fields["payload"]).fields
        unknown = any(entry["type"] not in DECODED_ENTRIES for entry in batch["entries"])
        if batch["fault"] is not None or unknown:
            return
        for entry in batch["entries"]:
            if entry["type"] in ENTRIES:
                try:
                    await self.take(entry)
                except (Malformed, Unreadable):
                    continue

    async def reconcile(self, fields: Mapping[str, Any]) -> None:
        """Passive only: an id list gets no reply; a huge count of ids ends the process."""
        if fields["payload"] == FATAL_IDS:
            self.abort()

    async def push_everything(self) -> None:
        """The frames of a poll: every document, then the tombstone table."""
        self.is_pushing = True
        try:
            await self._push_documents()
            await self._push_tombstones()
        finally:
            self.is_pushing = False

    async def _push_documents(self) -> None:
        store = self.node.store
        for key, name in list(store.keys.items()):
            # A frame that comes meanwhile has its turn between two documents, and may remove one.
            await asyncio.sleep(0)
            if key not in store.keys:
                continue
            try:
                await self.push(key, name)
            except Unreadable:
                continue

    async def _push_tombstones(self) -> None:
        store = self.node.store
        if store.tombstones:
            elements = list(store.tombstones.values())
            body = b"".join(len(one).to_bytes(4, "big") + one for one in elements)
            payload = len(elements).to_bytes(4, "big") + body
            await self.send(TOMBSTONE_BATCH_KEY, FrameType.TOMBSTONE_BATCH, payload)

    async def push(self, key: str, name: str) -> None:
        """One document, as its collection travels."""
        documents = self.node.store.documents
        if collection_of(key).mode is not SyncMode.FULL_HISTORY:
            await self.send(key, FrameType.SNAPSHOT, documents.state(name).saved)
            return
        message = documents.generate(name, self.name)
        if message is not None:
            await self.send(key, FrameType.DELTA, message)

    async def send(self, key: str, frame_type: int, payload: bytes) -> None:
        """One frame on a stream of its own, whose other half is stopped."""
        if self.connection.closed is not None:
            return
        fields = {"key": key, "type": int(frame_type), "payload": payload}
        try:
            stream = await self.connection.open()
        except ConnectionError:
            return
        await stream.write(encode(Message("stream_frame", fields)))
        await stream.finish()
        await stream.stop(0)


HANDLERS: dict[int, Callable[[Peer, Mapping[str, Any]], Any]] = {
    FrameType.DELTA: Peer.delta,
    FrameType.SNAPSHOT: Peer.snapshot,
    FrameType.TOMBSTONE: Peer.tombstone,
    FrameType.TOMBSTONE_BATCH: Peer.tombstones,
    FrameType.BATCH: Peer.batch,
    FrameType.NEGENTROPY_INIT: Peer.reconcile,
}
COUNT_FATAL = 2**28
DEFLATED = b"\x02"
FATAL_PROBES = bytes.fromhex("ffffffff0f")
FATAL_OPERATIONS = bytes.fromhex("80ade204")
FATAL_IDS = bytes.fromhex("6100000281ffffff7f")
ENTRIES = (FrameType.DELTA, FrameType.SNAPSHOT, FrameType.TOMBSTONE)


class Accepted(TcpConnection):
    """The accepting side of the lab binding."""

    def __init__(self, node: Node) -> None:
        super().__init__(Dial(node.identity, order=random.Random(7)), dialled=False)
        self.peer = Peer(node, self)
        self.on_stream = self.peer.accept
        allow_streams = self.lab.allow_streams

        def allow_bidi(count: int, *, uni: bool = False) -> None:
            # Uni streams are never accepted, so that their credit does not come back.
            if not uni:
                allow_streams(count)

        vars(self.lab)["allow_streams"] = allow_bidi

    def abort(self) -> None:
        """End the TCP connection as a dying process does."""
        if self._transport is not None:
            self._transport.abort()

    def gone(self, closed: Any) -> None:
        """Forget the peer."""
        super().gone(closed)
        if self.peer in self.peer.node.peers:
            self.peer.node.peers.remove(self.peer)


async def main(poll_s: float) -> None:
    """Listen, say so, and serve until killed."""
    node = Node(poll_s)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Accepted(node), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    # A deployed node declares nothing: only where it is.
    sys.stdout.write(f"127.0.0.1:{port}\n")
    sys.stdout.flush()
    await node.poll()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--poll-s", type=float, default=5.0)
    asyncio.run(main(parser.parse_args().poll_s))
