"""The durable store: what it holds after it was closed, and what it refuses to open."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path

import pytest

from meshwire_reference.core.document_calls import KeptTombstone, Life, Write
from meshwire_reference.core.effects import WriteStore
from meshwire_reference.store import sqlite
from meshwire_reference.store.base import Contents, StoreError
from meshwire_reference.store.sqlite import FILE, MIGRATIONS, SqliteStore

FULL_RANGE = 2**64 - 1


def entropy(count: int) -> bytes:
    """Return as many bytes, different ones for each length."""
    return bytes((3 * index + count) % 256 for index in range(count))


def snapshot(number: int, key: str, content: bytes) -> WriteStore:
    """Return the write of a whole document."""
    return WriteStore(number, key, Write(content, b""))


def more(number: int, key: str, content: bytes) -> WriteStore:
    """Return the write of further changes."""
    return WriteStore(number, key, Write(None, content))


def use(folder: Path, work: Callable[[SqliteStore, Contents], Awaitable[None]]) -> Contents:
    """Open a store, do work with it, and close it whatever happens; return what it held."""

    async def run() -> Contents:
        store = SqliteStore(folder, entropy)
        try:
            contents = await store.open()
            await work(store, contents)
        finally:
            await store.close()
        return contents

    return asyncio.run(run())


async def nothing(_store: SqliteStore, _contents: Contents) -> None:
    """Do nothing with a store."""


def put(folder: Path, *groups: tuple[WriteStore, ...]) -> None:
    """Write groups into a store, one transaction each."""

    async def work(store: SqliteStore, _contents: Contents) -> None:
        for group in groups:
            await store.write(group)

    use(folder, work)


def read(folder: Path, *keys: str) -> list[bytes | None]:
    """Read documents from a store that is opened for that."""
    found: list[bytes | None] = []

    async def work(store: SqliteStore, _contents: Contents) -> None:
        found.extend(await store.load(keys))

    use(folder, work)
    return found


def refuse(folder: Path) -> str:
    """Open a store that must not open, and return why."""
    with pytest.raises(StoreError) as caught:
        use(folder, nothing)
    assert "\n" not in str(caught.value)
    return str(caught.value)


class TestDocuments:
    """A document is a snapshot and what was appended since."""

    def test_changes_follow_the_snapshot_in_their_order(self, tmp_path: Path) -> None:
        """In one group and over several."""
        put(
            tmp_path,
            (snapshot(1, "a:1", b"S"), more(2, "a:1", b"+1"), snapshot(3, "b:1", b"T")),
            (more(4, "a:1", b"+2"),),
        )

        assert read(tmp_path, "a:1", "b:1") == [b"S+1+2", b"T"]

    def test_a_snapshot_replaces_everything_before(self, tmp_path: Path) -> None:
        """Appended changes of an earlier use of the store included."""
        put(tmp_path, (snapshot(1, "a:1", b"S"), more(2, "a:1", b"+1")))
        put(tmp_path, (snapshot(1, "a:1", b"whole"),))

        assert read(tmp_path, "a:1") == [b"whole"]

        put(tmp_path, (more(1, "a:1", b"+2"), snapshot(2, "a:1", b"W"), more(3, "a:1", b"+3")))

        assert read(tmp_path, "a:1") == [b"W+3"]

    def test_a_removed_document_is_absent_and_may_come_back(self, tmp_path: Path) -> None:
        """In one group and over several."""
        put(tmp_path, (snapshot(1, "a:1", b"S"), more(2, "a:1", b"+1"), snapshot(3, "b:1", b"T")))
        put(
            tmp_path,
            (WriteStore(1, "a:1", None), WriteStore(2, "b:1", None), snapshot(3, "b:1", b"U")),
        )

        assert read(tmp_path, "a:1", "b:1", "c:1") == [None, b"U", None]

    def test_any_key_is_kept_as_it_is(self, tmp_path: Path) -> None:
        """Also with a NUL, and where two keys differ in case or form only."""
        keys = ("a:\0x", "a:\0y", "a:A", "a:a", "a:\u00e9", "a:e\u0301", "a:\U0001f600")
        put(tmp_path, tuple(snapshot(at, key, key.encode()) for at, key in enumerate(keys)))

        assert read(tmp_path, *keys) == [key.encode() for key in keys]

    def test_sizes_are_listed_when_it_is_opened(self, tmp_path: Path) -> None:
        """Of the snapshot with everything appended."""
        put(tmp_path, (snapshot(1, "b:1", b"abc"), snapshot(2, "a:1", b"ab"), more(3, "a:1", b"c")))
        contents = use(tmp_path, nothing)

        assert dict(contents.sizes) == {"b:1": 3, "a:1": 3}


class TestTombstones:
    """A tombstone is kept in place of its document."""

    def test_it_comes_back_with_the_time_of_its_arrival(self, tmp_path: Path) -> None:
        """And a greater one replaces it."""
        put(tmp_path, (snapshot(1, "tracks:1", b"S"),))
        put(tmp_path, (WriteStore(1, "tracks:1", None, KeptTombstone(b"one", 0x0102), 7),))
        put(tmp_path, (WriteStore(1, "tracks:1", None, KeptTombstone(b"two", 0x0103), 8),))
        contents = use(tmp_path, nothing)

        assert contents.tombstones == (KeptTombstone(b"two", 0x0103),)
        assert read(tmp_path, "tracks:1") == [None]

    def test_an_expired_one_is_removed(self, tmp_path: Path) -> None:
        """Before what is written in the same group."""
        kept = KeptTombstone(b"one", 1)
        keys = ("tracks:1", "tracks:2", "tracks:3")
        put(tmp_path, tuple(WriteStore(at, key, None, kept, 7) for at, key in enumerate(keys)))

        async def work(store: SqliteStore, _contents: Contents) -> None:
            again = WriteStore(1, "tracks:2", None, KeptTombstone(b"two", 2), 8)
            await store.write((again,), ("tracks:1", "tracks:2"))

        use(tmp_path, work)

        assert set(use(tmp_path, nothing).tombstones) == {kept, KeptTombstone(b"two", 2)}

    def test_those_of_some_documents_are_found(self, tmp_path: Path) -> None:
        """With the sizes of the documents that there are."""
        kept = KeptTombstone(b"one", 0x0102)
        group = (
            WriteStore(1, "tracks:1", None, kept, 7),
            WriteStore(2, "tracks:2", None, kept, 7),
            snapshot(3, "a:1", b"S"),
            more(4, "a:1", b"+1"),
        )

        async def work(store: SqliteStore, contents: Contents) -> None:
            await store.write(group)
            found = await store.find(("tracks:1", "a:1", "b:1"))

            assert found.identity == contents.identity
            assert (dict(found.sizes), found.tombstones) == ({"a:1": 3}, (kept,))

        use(tmp_path, work)

    def test_the_lamport_time_outlives_its_tombstone(self, tmp_path: Path) -> None:
        """D-87: the greatest ever, in its whole range."""
        one, two = KeptTombstone(b"one", 1), KeptTombstone(b"two", 2)
        put(tmp_path, (WriteStore(1, "tracks:1", None, one, FULL_RANGE),))
        put(tmp_path, (WriteStore(1, "tracks:2", None, two, 3),))

        assert use(tmp_path, nothing).lamport == FULL_RANGE


class TestIdentity:
    """The node is the same after a restart."""

    def test_actor_and_endpoint_stay(self, tmp_path: Path) -> None:
        """D-47: they are drawn once for a store."""
        before = use(tmp_path / "one", nothing).identity

        assert use(tmp_path / "one", nothing).identity == before
        assert before.actor == entropy(16)

    def test_nobody_else_reads_the_secret(self, tmp_path: Path) -> None:
        """The file and a folder made for it are for their owner alone."""
        use(tmp_path / "data", nothing)

        assert (tmp_path / "data").stat().st_mode & 0o077 == 0
        assert (tmp_path / "data" / FILE).stat().st_mode & 0o077 == 0


class TestGroups:
    """A group takes effect as a whole, and is durable before `write` returns."""

    def test_a_group_that_fails_leaves_nothing(self, tmp_path: Path) -> None:
        """A full disk: earlier writes can be read, and later ones are made once there is room."""

        async def work(store: SqliteStore, _contents: Contents) -> None:
            await store.write((snapshot(1, "a:1", b"S"),))
            assert store._writer is not None
            (pages,) = store._writer.execute("PRAGMA page_count").fetchone()
            store._writer.execute(f"PRAGMA max_page_count = {pages}")
            with pytest.raises(StoreError):
                await store.write((more(2, "a:1", b"+1"), snapshot(3, "b:1", bytes(10**6))))

            assert await store.load(("a:1", "b:1")) == [b"S", None]

            found = await store.find(("a:1", "b:1"))

            assert (dict(found.sizes), found.tombstones) == ({"a:1": 1}, ())

            store._writer.execute("PRAGMA max_page_count = 1000000")
            await store.write(())
            await store.write((more(2, "a:1", b"+2"),))

        use(tmp_path, work)

        assert read(tmp_path, "a:1", "b:1") == [b"S+2", None]

    def test_what_was_committed_survives_without_a_close(self, tmp_path: Path) -> None:
        """A copy of the files as they are after `write` has everything."""
        copy = tmp_path / "copy"
        copy.mkdir()

        async def work(store: SqliteStore, _contents: Contents) -> None:
            await store.write((snapshot(1, "a:1", b"S"),))
            for ending in ("", "-wal"):
                content = (tmp_path / f"{FILE}{ending}").read_bytes()
                (copy / f"{FILE}{ending}").write_bytes(content)

        use(tmp_path, work)

        assert read(copy, "a:1") == [b"S"]

    def test_every_commit_reaches_the_disk(self, tmp_path: Path) -> None:
        """The settings on which all durability rests."""

        async def work(store: SqliteStore, _contents: Contents) -> None:
            assert store._writer is not None
            assert store._writer.execute("PRAGMA journal_mode").fetchone() == ("wal",)
            assert store._writer.execute("PRAGMA synchronous").fetchone() == (2,)

        use(tmp_path, work)


class TestRefusals:
    """A store that cannot be used is refused with one line, and stays as it is."""

    def test_a_second_user_of_the_folder(self, tmp_path: Path) -> None:
        """Until the first has closed it."""

        async def work(_store: SqliteStore, _contents: Contents) -> None:
            second = SqliteStore(tmp_path, entropy)
            with pytest.raises(StoreError, match="in use"):
                await second.open()
            await second.close()

        use(tmp_path, work)
        use(tmp_path, nothing)

    @pytest.mark.parametrize("content", [b"", b"not a database at all, but text " * 100])
    def test_a_file_that_is_no_database(self, content: bytes, tmp_path: Path) -> None:
        """An empty one too: a store is never empty."""
        (tmp_path / FILE).write_bytes(content)
        refuse(tmp_path)

        assert (tmp_path / FILE).read_bytes() == content

    @pytest.mark.parametrize("cut", [4096, 5000])
    def test_a_file_that_was_cut(self, cut: int, tmp_path: Path) -> None:
        """Between two pages, and within one."""
        put(tmp_path, tuple(snapshot(at, f"a:{at}", bytes(2000)) for at in range(30)))
        content = (tmp_path / FILE).read_bytes()[:cut]
        (tmp_path / FILE).write_bytes(content)
        refuse(tmp_path)

        assert (tmp_path / FILE).read_bytes() == content

    def test_a_damaged_page(self, tmp_path: Path) -> None:
        """It is found when the store is opened."""
        put(tmp_path, tuple(snapshot(at, f"a:{at}", bytes(2000)) for at in range(30)))
        content = bytearray((tmp_path / FILE).read_bytes())
        content[4 * 4096 : 5 * 4096] = b"\xa5" * 4096
        (tmp_path / FILE).write_bytes(content)
        refuse(tmp_path)

        assert (tmp_path / FILE).read_bytes() == content

    def test_a_database_of_another_program(self, tmp_path: Path) -> None:
        """Its tables are left alone."""
        with closing(sqlite3.connect(tmp_path / FILE)) as other:
            other.execute("CREATE TABLE theirs (x)")

        assert "not a store" in refuse(tmp_path)

    def test_a_later_version_of_the_schema(self, tmp_path: Path) -> None:
        """The program cannot know what it may overwrite."""
        use(tmp_path, nothing)
        with closing(sqlite3.connect(tmp_path / FILE)) as later:
            later.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")

        assert "version" in refuse(tmp_path)

    def test_a_missing_file_whose_log_is_there(self, tmp_path: Path) -> None:
        """A new file would make the log worthless."""
        (tmp_path / f"{FILE}-wal").write_bytes(b"log")
        refuse(tmp_path)

        assert (tmp_path / f"{FILE}-wal").read_bytes() == b"log"

    def test_a_folder_that_cannot_be_made(self, tmp_path: Path) -> None:
        """A file has its name."""
        (tmp_path / "data").write_bytes(b"a file")
        refuse(tmp_path / "data")

        assert (tmp_path / "data").read_bytes() == b"a file"


class TestMigration:
    """An earlier version of the schema is brought to this one."""

    def test_an_earlier_store_gets_what_it_lacks(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """In one transaction, and the documents stay."""
        put(tmp_path, (snapshot(1, "a:1", b"S"),))
        later = (*MIGRATIONS, ("CREATE TABLE more (x)", "INSERT INTO more VALUES (7)"))
        monkeypatch.setattr(sqlite, "MIGRATIONS", later)

        assert read(tmp_path, "a:1") == [b"S"]
        with closing(sqlite3.connect(tmp_path / FILE)) as now:
            assert now.execute("SELECT x FROM more").fetchall() == [(7,)]
            assert now.execute("PRAGMA user_version").fetchone() == (len(later),)

    def test_a_migration_that_fails_changes_nothing(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The version before can still open the store."""
        put(tmp_path, (snapshot(1, "a:1", b"S"),))
        with monkeypatch.context() as patched:
            broken = (*MIGRATIONS, ("CREATE TABLE more (x)", "INSERT INTO none VALUES (7)"))
            patched.setattr(sqlite, "MIGRATIONS", broken)
            refuse(tmp_path)

        assert read(tmp_path, "a:1") == [b"S"]

    def test_a_new_file_that_was_never_finished_is_made_again(self, tmp_path: Path) -> None:
        """The process was killed while it made the store."""
        (tmp_path / "store.sqlite.new").write_bytes(b"half")
        put(tmp_path, (snapshot(1, "a:1", b"S"),))

        assert read(tmp_path, "a:1") == [b"S"]
        assert sorted(path.name for path in tmp_path.iterdir()) == ["lock", FILE]


class TestHeads:
    """The heads of a document are kept with it, as its last write tells them."""

    ONE = bytes.fromhex("0102" * 16)
    TWO = bytes.fromhex("f1f2" * 16)

    def test_they_come_back_with_the_next_start(self, tmp_path: Path) -> None:
        """NG-066: those of the last write of a group, and none of a document that is gone."""
        put(
            tmp_path,
            (
                WriteStore(1, "notes:1", Write(b"one", b"", (self.ONE,))),
                WriteStore(2, "notes:1", Write(None, b"+", (self.ONE, self.TWO))),
                WriteStore(3, "notes:2", Write(b"two", b"", (self.ONE,))),
                WriteStore(4, "notes:3", Write(b"three", b"", (self.TWO,))),
            ),
            (
                WriteStore(5, "notes:2", None),
                WriteStore(6, "notes:3", Write(None, b"+", (self.ONE,))),
            ),
        )

        assert use(tmp_path, nothing).heads == {
            "notes:1": (self.ONE, self.TWO),
            "notes:3": (self.ONE,),
        }

    def test_a_write_that_does_not_tell_them_removes_them(self, tmp_path: Path) -> None:
        """Old ones would be those of another document."""
        put(tmp_path, (WriteStore(1, "notes:1", Write(b"one", b"", (self.ONE,))),))
        put(tmp_path, (WriteStore(2, "notes:1", Write(None, b"+")),))

        assert use(tmp_path, nothing).heads == {}

    def test_a_file_of_version_1_has_none(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Its documents stay, and the next write of one tells its heads."""
        with monkeypatch.context() as patched:
            patched.setattr(sqlite, "MIGRATIONS", MIGRATIONS[:1])
            for statement in ("PUT_HEADS", "DROP_HEADS", "DROP_LIFE", "PUT_LIFE"):
                patched.setattr(sqlite, statement, "DELETE FROM documents WHERE key = ? AND 0")
            nothing_listed = "SELECT key, value FROM facts, documents WHERE 0"
            for statement in ("LIST_HEADS", "LIST_LIVES"):
                patched.setattr(sqlite, statement, nothing_listed)
            put(tmp_path, (snapshot(1, "notes:1", b"one"), snapshot(2, "notes:2", b"two")))
        put(tmp_path, (WriteStore(3, "notes:2", Write(None, b"+", (self.TWO,))),))
        found = use(tmp_path, nothing)

        assert found.sizes == {"notes:1": 3, "notes:2": 4}
        assert found.heads == {"notes:2": (self.TWO,)}


class TestLives:
    """When a document with a lifetime began and was written last is kept with it."""

    def test_they_come_back_with_the_next_start(self, tmp_path: Path) -> None:
        """DC-077: those of the last write of a group, and none of a document that is gone."""
        one = [Life(0x0102, 0x0304 + number) for number in range(3)]
        put(
            tmp_path,
            (
                WriteStore(1, "beacons:1", Write(b"one", b""), life=one[0]),
                WriteStore(2, "beacons:1", Write(None, b"+"), life=one[1]),
                WriteStore(3, "beacons:2", Write(b"two", b""), life=one[0]),
                WriteStore(4, "notes:1", Write(b"three", b"")),
            ),
            (WriteStore(5, "beacons:2", None),),
        )

        assert use(tmp_path, nothing).lives == {"beacons:1": one[1]}
