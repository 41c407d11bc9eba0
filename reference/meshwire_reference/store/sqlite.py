"""The durable store: one SQLite file in the folder of the node.

Theory of operation. The file is in WAL mode with `synchronous=FULL`, so a commit has reached the
disk when it returns. One thread writes: it gets the writes that have gathered while it was at work
as one group, and makes one transaction of them, so the price of reaching the disk is shared. A
second thread reads, each time in one transaction, and sees what was committed before; it is not
delayed by the writer. Within a group the writes of one document are folded into one.

A document is a snapshot and the changes appended since, in their order. A snapshot replaces both.
Its heads are kept beside it, so that a node need not load every document to know them. Documents of
a file of version 1 have none until they are written.

The folder is locked for as long as the store is open, since two nodes with one actor would write
different changes under one name. A new file is made under another name, so an existing file that
is empty or damaged is never taken for a new one.
"""

import asyncio
import fcntl
import os
import sqlite3
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

from meshwire_reference.core.document_calls import Heads, KeptTombstone, Life
from meshwire_reference.core.effects import WriteStore
from meshwire_reference.store.base import Contents, Identity, StoreError, new_identity

FILE: Final = "store.sqlite"
NEW_FILE: Final = "store.sqlite.new"
LOCK_FILE: Final = "lock"
SIDE_FILES: Final = ("-wal", "-shm", "-journal")
"""What SQLite adds to the name of a file for the files beside it."""
APPLICATION_ID: Final = 0x6D657368
"""Marks a file as a store of this node, in the header of the file."""
FOLDER_MODE: Final = 0o700
FILE_MODE: Final = 0o600
"""The file has the secret of the endpoint."""
HEAD: Final = 32
"""Bytes of the hash of a change."""
LAMPORT: Final = 8
"""Bytes of a Lamport time, which an integer of SQLite cannot hold in full."""

MIGRATIONS: Final[tuple[tuple[str, ...], ...]] = (
    (
        """CREATE TABLE facts (
            name TEXT PRIMARY KEY, value BLOB NOT NULL
        ) WITHOUT ROWID""",
        """CREATE TABLE documents (
            key TEXT PRIMARY KEY, snapshot BLOB NOT NULL
        )""",
        """CREATE TABLE changes (
            number INTEGER PRIMARY KEY, key TEXT NOT NULL, content BLOB NOT NULL
        )""",
        "CREATE INDEX changes_of_key ON changes (key)",
        """CREATE TABLE tombstones (
            key TEXT PRIMARY KEY, content BLOB NOT NULL, received_ms INTEGER NOT NULL
        )""",
    ),
    (
        """CREATE TABLE heads (
            key TEXT PRIMARY KEY, content BLOB NOT NULL
        ) WITHOUT ROWID""",
    ),
    (
        """CREATE TABLE lives (
            key TEXT PRIMARY KEY, began_ms INTEGER NOT NULL, written_ms INTEGER NOT NULL
        ) WITHOUT ROWID""",
    ),
)
"""The statements that bring a file from each version of the schema to the next, from version 0."""

PUT_SNAPSHOT: Final = """INSERT INTO documents VALUES (?, ?)
    ON CONFLICT (key) DO UPDATE SET snapshot = excluded.snapshot"""
PUT_CHANGES: Final = "INSERT INTO changes (key, content) VALUES (?, ?)"
DROP_CHANGES: Final = "DELETE FROM changes WHERE key = ?"
DROP_DOCUMENT: Final = "DELETE FROM documents WHERE key = ?"
DROP_HEADS: Final = "DELETE FROM heads WHERE key = ?"
PUT_HEADS: Final = "INSERT OR REPLACE INTO heads VALUES (?, ?)"
LIST_HEADS: Final = "SELECT key, content FROM heads"
DROP_LIFE: Final = "DELETE FROM lives WHERE key = ?"
PUT_LIFE: Final = "INSERT OR REPLACE INTO lives VALUES (?, ?, ?)"
LIST_LIVES: Final = "SELECT key, began_ms, written_ms FROM lives"
DROP_TOMBSTONE: Final = "DELETE FROM tombstones WHERE key = ?"
PUT_TOMBSTONE: Final = "INSERT OR REPLACE INTO tombstones VALUES (?, ?, ?)"
PUT_FACT: Final = "INSERT OR REPLACE INTO facts VALUES (?, ?)"
LIST_SNAPSHOTS: Final = "SELECT key, length(snapshot) FROM documents ORDER BY rowid"
LIST_CHANGES: Final = "SELECT key, sum(length(content)) FROM changes GROUP BY key"
LIST_TOMBSTONES: Final = "SELECT content, received_ms FROM tombstones ORDER BY rowid"
GET_SNAPSHOT: Final = "SELECT snapshot FROM documents WHERE key = ?"
GET_TOMBSTONE: Final = "SELECT content, received_ms FROM tombstones WHERE key = ?"
GET_CHANGES: Final = "SELECT content FROM changes WHERE key = ? ORDER BY number"

T = TypeVar("T")


@dataclass(slots=True)
class Folded:
    """The writes of one group to one document, as one."""

    snapshot: bytes | None = None
    changes: list[bytes] = field(default_factory=list)
    heads: Heads = ()
    life: Life | None = None
    is_removed: bool = False


def fold(group: Sequence[WriteStore]) -> dict[str, Folded]:
    """Return what becomes of each document of a group."""
    folded: dict[str, Folded] = {}
    for effect in group:
        write = effect.write
        if write is None:
            folded[effect.key] = Folded(is_removed=True)
            continue
        if write.snapshot is not None:
            folded[effect.key] = Folded(write.snapshot)
        one = folded.setdefault(effect.key, Folded())
        if write.changes:
            one.changes.append(write.changes)
        one.heads, one.life = write.heads, effect.life
    return folded


def write_documents(writer: sqlite3.Connection, folded: Mapping[str, Folded]) -> None:
    """Write what becomes of each document, within the transaction that is open."""
    writer.executemany(DROP_DOCUMENT, ((key,) for key, one in folded.items() if one.is_removed))
    writer.executemany(
        PUT_SNAPSHOT,
        ((key, one.snapshot) for key, one in folded.items() if one.snapshot is not None),
    )
    writer.executemany(
        PUT_CHANGES,
        ((key, b"".join(one.changes)) for key, one in folded.items() if one.changes),
    )
    writer.executemany(DROP_HEADS, ((key,) for key, one in folded.items() if not one.heads))
    writer.executemany(
        PUT_HEADS, ((key, b"".join(one.heads)) for key, one in folded.items() if one.heads)
    )
    writer.executemany(DROP_LIFE, ((key,) for key, one in folded.items() if one.is_removed))
    writer.executemany(
        PUT_LIFE,
        (
            (key, one.life.began_ms, one.life.written_ms)
            for key, one in folded.items()
            if one.life is not None
        ),
    )


def split(content: bytes) -> Heads:
    """Return the heads that are stored one after the other."""
    return tuple(content[at : at + HEAD] for at in range(0, len(content), HEAD))


class SqliteStore:
    """The store in a folder, which is made if it does not exist."""

    def __init__(self, folder: Path, entropy: Callable[[int], bytes]) -> None:
        self._folder = folder
        self._path = folder / FILE
        self._entropy = entropy
        self._lock: int | None = None
        self._writer: sqlite3.Connection | None = None
        self._reader: sqlite3.Connection | None = None
        self._writing = ThreadPoolExecutor(1, "store-writer")
        self._reading = ThreadPoolExecutor(1, "store-reader")
        self._appended: set[str] = set()
        self._identity: Identity | None = None
        self._lamport = 0

    # --- the port ----------------------------------------------------------------------------

    async def open(self) -> Contents:
        """Lock the folder, bring the file to the schema of this version, and list what it holds."""
        return await self._run(self._writing, self._open)

    async def load(self, keys: Sequence[str]) -> list[bytes | None]:
        """Return the bytes of each document, None for one that does not exist."""
        return await self._run(self._reading, partial(self._load, keys))

    async def write(self, group: Sequence[WriteStore], expired: Sequence[str] = ()) -> None:
        """Commit the writes as one transaction; an empty one writes what is there again."""
        await self._run(self._writing, partial(self._commit, group, expired))

    async def find(self, keys: Collection[str]) -> Contents:
        """Return what is stored of some documents."""
        return await self._run(self._reading, partial(self._find, keys))

    async def close(self) -> None:
        """Close the file, which leaves one file without others beside it, and unlock the folder."""
        await self._run(self._reading, self._close_reader)
        await self._run(self._writing, self._close_writer)
        self._reading.shutdown()
        self._writing.shutdown()

    async def _run(self, thread: ThreadPoolExecutor, work: Callable[[], T]) -> T:
        """Do work in a thread; an error of SQLite or of the system becomes a StoreError."""
        try:
            return await asyncio.get_running_loop().run_in_executor(thread, work)
        except StoreError:
            raise
        except (sqlite3.Error, OSError) as exc:
            raise StoreError(f"store {self._path}: {exc}") from exc

    # --- opening -----------------------------------------------------------------------------

    def _open(self) -> Contents:
        if self._folder.exists() and not self._folder.is_dir():
            raise StoreError(f"store {self._folder} is no folder: choose another one with --data")
        self._folder.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
        self._lock_folder()
        if not self._path.exists():
            self._create()
        if not self._path.stat().st_size:
            raise StoreError(f"store {self._path} is empty: it is damaged, and not overwritten")
        self._writer = connect(self._path)
        check(self._writer, self._path)
        migrate(self._writer)
        self._reader = connect(self._path)
        self._reader.execute("PRAGMA query_only = ON")
        return self._list(self._reader)

    def _lock_folder(self) -> None:
        # The descriptor is not inherited, so a worker that outlives the node holds no lock.
        descriptor = os.open(self._folder / LOCK_FILE, os.O_RDWR | os.O_CREAT, FILE_MODE)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            os.close(descriptor)
            raise StoreError(f"{self._folder} is in use by another process") from exc
        self._lock = descriptor

    def _create(self) -> None:
        """Make a new file, which gets its name once it is complete."""
        for ending in SIDE_FILES:
            beside = Path(f"{self._path}{ending}")
            if beside.exists():
                raise StoreError(f"{self._path} is missing, but {beside.name} is there")
        new = self._folder / NEW_FILE
        for ending in ("", *SIDE_FILES):
            Path(f"{new}{ending}").unlink(missing_ok=True)
        os.close(os.open(new, os.O_RDWR | os.O_CREAT | os.O_EXCL, FILE_MODE))
        made = connect(new)
        made.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        migrate(made)
        identity = new_identity(self._entropy)
        with transaction(made):
            facts = {
                "actor": identity.actor,
                "endpoint_id": identity.endpoint_id,
                "endpoint_secret": identity.endpoint_secret,
                "lamport": bytes(LAMPORT),
            }
            made.executemany(PUT_FACT, facts.items())
        # With the last connection the files beside it go.
        made.close()
        new.rename(self._path)
        sync_folder(self._folder)

    def _list(self, reader: sqlite3.Connection) -> Contents:
        self._identity = self._read_identity(reader)
        sizes: dict[str, int] = dict(reader.execute(LIST_SNAPSHOTS))
        for key, size in reader.execute(LIST_CHANGES):
            sizes[key] = sizes.get(key, 0) + size
            self._appended.add(key)
        rows = reader.execute(LIST_TOMBSTONES)
        tombstones = tuple(KeptTombstone(content, received_ms) for content, received_ms in rows)
        heads = {key: split(content) for key, content in reader.execute(LIST_HEADS)}
        lives = {key: Life(*times) for key, *times in reader.execute(LIST_LIVES)}
        return Contents(self._identity, sizes, tombstones, self._lamport, heads, lives)

    def _read_identity(self, reader: sqlite3.Connection) -> Identity:
        """Read who the node is, and the Lamport time."""
        facts = dict(reader.execute("SELECT name, value FROM facts"))
        try:
            self._lamport = int.from_bytes(facts["lamport"], "big")
            return Identity(facts["actor"], facts["endpoint_id"], facts["endpoint_secret"])
        except KeyError as exc:
            raise StoreError(f"store {self._path} is damaged: it has no {exc}") from exc

    # --- reading and writing -----------------------------------------------------------------

    def _load(self, keys: Sequence[str]) -> list[bytes | None]:
        assert self._reader is not None, "a store is opened before it is read"
        # In one transaction: a snapshot must not be read together with changes of another time.
        with transaction(self._reader):
            return [self._read(self._reader, key) for key in keys]

    def _find(self, keys: Collection[str]) -> Contents:
        assert self._reader is not None, "a store is opened before it is read"
        with transaction(self._reader):
            found = {key: self._read(self._reader, key) for key in keys}
            rows = [row for key in keys for row in self._reader.execute(GET_TOMBSTONE, (key,))]
        sizes = {key: len(content) for key, content in found.items() if content is not None}
        tombstones = tuple(KeptTombstone(*row) for row in rows)
        assert self._identity is not None, "a store is opened before it is read"
        return Contents(self._identity, sizes, tombstones, self._lamport)

    @staticmethod
    def _read(reader: sqlite3.Connection, key: str) -> bytes | None:
        parts = [row[0] for row in reader.execute(GET_SNAPSHOT, (key,))]
        parts += [row[0] for row in reader.execute(GET_CHANGES, (key,))]
        return b"".join(parts) if parts else None

    def _commit(self, group: Sequence[WriteStore], expired: Sequence[str]) -> None:
        assert self._writer is not None, "a store is opened before it is written"
        folded = fold(group)
        replaced = {
            key for key, one in folded.items() if one.is_removed or one.snapshot is not None
        }
        lamport = max((self._lamport, *(effect.lamport for effect in group)))
        writer = self._writer
        with transaction(writer):
            writer.executemany(DROP_TOMBSTONE, ((key,) for key in expired))
            writer.executemany(DROP_CHANGES, ((key,) for key in replaced & self._appended))
            write_documents(writer, folded)
            writer.executemany(
                PUT_TOMBSTONE,
                (
                    (effect.key, effect.tombstone.content, effect.tombstone.received_ms)
                    for effect in group
                    if effect.tombstone is not None
                ),
            )
            if lamport > self._lamport or not group:
                writer.execute(PUT_FACT, ("lamport", lamport.to_bytes(LAMPORT, "big")))
        self._appended -= replaced
        self._appended |= {key for key, one in folded.items() if one.changes}
        self._lamport = lamport

    # --- the end -----------------------------------------------------------------------------

    def _close_reader(self) -> None:
        if self._reader is not None:
            self._reader.close()
            self._reader = None

    def _close_writer(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def connect(path: Path) -> sqlite3.Connection:
    """Open an existing file; a transaction begins where this node says so."""
    # Each connection is used by one thread, but another one opens it.
    uri = f"{path.absolute().as_uri()}?mode=rw"
    connection = sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    return connection


def check(connection: sqlite3.Connection, path: Path) -> None:
    """Raise StoreError for a file of another program or version, or a damaged one."""
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    if application != APPLICATION_ID:
        raise StoreError(f"{path} is not a store of meshwire-node")
    version = version_of(connection)
    if not 0 < version <= len(MIGRATIONS):
        raise StoreError(
            f"store {path} has version {version} of the schema; "
            f"this meshwire-node knows {len(MIGRATIONS)}"
        )
    (fault,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    if fault != "ok":
        raise StoreError(f"store {path} is damaged: {fault.splitlines()[-1]}")


def version_of(connection: sqlite3.Connection) -> int:
    """Return the version of the schema of a file; 0 for a new one."""
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    return int(version)


def migrate(connection: sqlite3.Connection) -> None:
    """Bring the schema to the version of this program, in one transaction."""
    version = version_of(connection)
    if version == len(MIGRATIONS):
        return
    with transaction(connection):
        for statements in MIGRATIONS[version:]:
            for statement in statements:
                connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """Commit what is done inside, or undo all of it."""
    connection.execute("BEGIN")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        # SQLite may have undone it by itself, for instance on a full disk.
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def sync_folder(folder: Path) -> None:
    """Make the names of the files in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
