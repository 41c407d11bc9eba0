"""Kill a node with `kill -9` under `put`, again and again, and look for what it has lost.

Each round starts `meshwire-node run --data DIR --control PATH` on the folder of the round before.
Writers put and delete documents over the control channel; a reply is an acknowledgement. A watch
notes what the node reports. After a random number of replies the node is killed. The next one must
have every document that was acknowledged or reported, in that state or a later one, and none that
was deleted.
"""

import asyncio
import itertools
import json
import random
import signal
import sys
from asyncio import StreamReader, StreamWriter
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from meshwire_reference.control.messages import (
    AnyRequest,
    Delete,
    Get,
    Put,
    Watch,
    encode_request,
)

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench.kills import DELAY_S, STEP_S, Lost, Running, print_kills, start

WRITERS: Final = 3
EDITS_OF_DOCUMENT: Final = 5
"""Number of edits after which a writer begins the next document."""
REPLIES: Final = (1, 60)
"""Least and greatest number of replies before the kill."""
COLLECTIONS: Final = ("notes", "beacons", "tracks")
DELETED: Final = frozenset(("notes", "tracks"))
"""Collections whose documents a writer deletes in the end: by marks, and by a tombstone."""
LINE_MAX: Final = 2**22


@dataclass(slots=True)
class Promised:
    """The greatest edit of each document that was acknowledged or reported."""

    edits: dict[tuple[str, str], int] = field(default_factory=dict)
    deleted: set[tuple[str, str]] = field(default_factory=set)
    unsure: set[tuple[str, str]] = field(default_factory=set)
    """Documents whose deletion was requested and not answered."""
    replies: int = 0
    reported: int = 0
    _touched: dict[tuple[str, str], None] = field(default_factory=dict)

    def take_names(self) -> list[tuple[str, str]]:
        """Return the documents noted since the last call."""
        names, self._touched = list(self._touched), {}
        return names

    def note(self, name: tuple[str, str], edit: int) -> None:
        """Note an edit of a document."""
        self.edits[name] = max(edit, self.edits.get(name, 0))
        self._touched[name] = None


class Channel:
    """A connection to the control socket of a node."""

    def __init__(self, reader: StreamReader, writer: StreamWriter) -> None:
        self.reader = reader
        self._writer = writer

    @classmethod
    async def open(cls, control: Path) -> "Channel":
        """Connect to a node."""
        return cls(*await asyncio.open_unix_connection(str(control), limit=LINE_MAX))

    async def ask(self, request: AnyRequest) -> dict[str, Any] | None:
        """Send a request and return the reply, None if the node is gone."""
        with suppress(ConnectionError):
            self._writer.write(encode_request(request))
            await self._writer.drain()
            line = await self.reader.readline()
            if line.endswith(b"\n"):
                reply: dict[str, Any] = json.loads(line)
                return reply
        return None

    async def close(self) -> None:
        """Close the connection."""
        self._writer.close()
        with suppress(ConnectionError):
            await self._writer.wait_closed()


async def write(channel: Channel, number: int, at_round: int, promised: Promised) -> None:
    """Put documents of one's own until the node is gone. Raises Lost if it refuses one."""
    for document in itertools.count():
        name = (COLLECTIONS[document % len(COLLECTIONS)], f"w{number}-{at_round}-{document}")
        for edit in range(1, EDITS_OF_DOCUMENT + 1):
            fields = {"edit": edit, f"field-{edit}": [number, at_round]}
            put = Put(id=edit, collection=name[0], document=name[1], fields=fields)
            reply = await channel.ask(put)
            if reply is None:
                return
            if "document" not in reply:
                raise Lost(f"a put is refused: {reply}")
            promised.note(name, edit)
            promised.replies += 1
        if name[0] in DELETED:
            promised.unsure.add(name)
            reply = await channel.ask(Delete(id=0, collection=name[0], document=name[1]))
            if reply is None:
                return
            promised.deleted.add(name)
            promised.replies += 1


async def watch(channel: Channel, promised: Promised) -> None:
    """Note what the node reports until it is gone."""
    reply = await channel.ask(Watch(id=0))
    while reply is not None:
        event = reply["event"]
        for document in [*event.get("initial", ()), event.get("updated")]:
            if document is not None:
                name = (document["collection"], document["document"])
                promised.note(name, document["fields"]["edit"])
                promised.reported += 1
        reply = None
        with suppress(ConnectionError):
            line = await channel.reader.readline()
            reply = json.loads(line) if line.endswith(b"\n") else None


async def load_and_kill(
    node: Running, control: Path, at_round: int, promised: Promised, replies: int, delay_s: float
) -> None:
    """Put a node under load until it has replied often enough, and kill it a little later."""
    channels = [await Channel.open(control) for _ in range(WRITERS + 1)]
    watching = asyncio.create_task(watch(channels[-1], promised))
    writers = [
        asyncio.create_task(write(channels[number], number, at_round, promised))
        for number in range(WRITERS)
    ]
    enough = promised.replies + replies
    while promised.replies < enough and not any(writer.done() for writer in writers):
        await asyncio.wait(writers, timeout=STEP_S)
    await asyncio.wait(writers, timeout=delay_s)
    node.process.send_signal(signal.SIGKILL)
    await node.process.wait()
    await asyncio.gather(*writers, watching)
    for channel in channels:
        await channel.close()


async def verify(control: Path, promised: Promised, names: Iterable[tuple[str, str]]) -> None:
    """Read documents. Raises Lost for the first that is not as it was promised."""
    channel = await Channel.open(control)
    try:
        for name in names:
            await _verify_one(channel, promised, name)
    finally:
        await channel.close()


async def _verify_one(channel: Channel, promised: Promised, name: tuple[str, str]) -> None:
    """Read a document. Raises Lost if it is not as it was promised."""
    reply = await channel.ask(Get(id=0, collection=name[0], document=name[1]))
    fields = (reply or {}).get("document", {}).get("fields")
    if name in promised.deleted:
        if fields is not None:
            raise Lost(f"{name} was deleted and is back")
    elif name not in promised.unsure:
        _check(name, promised.edits[name], fields)


def _check(name: tuple[str, str], edit: int, fields: Mapping[str, Any] | None) -> None:
    """Raise Lost if a document lacks an edit, or any field of one that it has."""
    if fields is None or fields["edit"] < edit:
        raise Lost(f"{name} had edit {edit} and is {fields}")
    lacking = [number for number in range(1, edit + 1) if f"field-{number}" not in fields]
    if lacking:
        raise Lost(f"{name} lacks the fields of edits {lacking}")


async def kill_often(folder: Path, kills: int, seed: int) -> tuple[Promised, list[float]]:
    """Kill a node again and again; return its promises, and how long each start took.

    Raises Lost.
    """
    random_of = random.Random(seed)  # noqa: S311 - moments to kill at, not secrets
    control, promised = folder / "node.sock", Promised()
    starts_s = []
    node = await start(folder / "data", "--control", str(control))
    for at_round in range(kills):
        replies, delay_s = random_of.randint(*REPLIES), random_of.uniform(0, DELAY_S)
        await load_and_kill(node, control, at_round, promised, replies, delay_s)
        node = await start(folder / "data", "--control", str(control))
        starts_s.append(node.ready_s)
        await verify(control, promised, promised.take_names())
    await verify(control, promised, promised.edits)
    node.process.terminate()
    await node.process.wait()
    return promised, starts_s


def describe_kept(kept: Promised) -> str:
    """Return what a node has kept."""
    return (
        f"{kept.replies} puts and deletions acknowledged and "
        f"{kept.reported} changes reported, none lost of {len(kept.edits)} documents"
    )


if __name__ == "__main__":
    sys.exit(print_kills(kill_often, describe_kept, __doc__))
