"""The unix socket of a control channel: for its owner alone, of one node at a time, and served."""

import asyncio
import fcntl
import os
import socket
import stat
from abc import ABC, abstractmethod
from contextlib import suppress
from pathlib import Path
from typing import Final

SOCKET_MASK: Final = 0o177
"""Umask under which the socket is made: its owner alone may connect."""
PART: Final = 2**16
"""Greatest number of bytes of a line that are read at once."""


class ControlRefused(OSError):
    """The socket cannot be made; the text is one line for the operator."""


class LineTooLong(Exception):
    """A line that has been read to its end and dropped; the text says why."""


class SocketFile:
    """A path at which one node at a time has a socket; `bind`, then `remove`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock: int | None = None
        self._is_bound = False

    def bind(self) -> socket.socket:
        """Return a socket that is bound to the path. Raises ControlRefused."""
        try:
            self._check_kind()
            self._take_lock()
            self._remove_stale()
            return self._bind()
        except OSError as exc:
            self._drop_lock()
            if isinstance(exc, ControlRefused):
                raise
            said = f"the control socket {self._path} cannot be made: {exc.strerror or exc}"
            raise ControlRefused(said) from exc

    def remove(self) -> None:
        """Remove the socket, if it was bound."""
        if self._is_bound:
            self._is_bound = False
            with suppress(FileNotFoundError):
                self._path.unlink()
        self._drop_lock()

    def _take_lock(self) -> None:
        """Hold a lock beside the socket, which tells a stale one from one in use."""
        self._lock = os.open(f"{self._path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            raise ControlRefused(
                f"another node serves the control socket {self._path}: end it, or choose another "
                "path with --control"
            ) from exc

    def _remove_stale(self) -> None:
        """Remove the socket of a node that has ended without doing so."""
        self._check_kind()
        with suppress(FileNotFoundError):
            self._path.unlink()

    def _check_kind(self) -> None:
        """Leave anything else alone; at first, so that no lock is made beside it."""
        with suppress(FileNotFoundError):
            if not stat.S_ISSOCK(self._path.lstat().st_mode):
                raise ControlRefused(
                    f"{self._path} exists and is no socket: choose another path with --control"
                )

    def _bind(self) -> socket.socket:
        bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        before = os.umask(SOCKET_MASK)
        try:
            bound.bind(str(self._path))
        except BaseException:
            bound.close()
            raise
        finally:
            os.umask(before)
        bound.setblocking(False)  # noqa: FBT003 - takes no keyword
        self._is_bound = True
        return bound

    def _drop_lock(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


class SocketServer(ABC):
    """Serves the clients of a socket; `open`, then `close`."""

    def __init__(self, path: Path) -> None:
        self._file = SocketFile(path)
        self._server: asyncio.Server | None = None
        self._clients: set[asyncio.Task[None]] = set()

    @abstractmethod
    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one client until it is done."""

    async def open(self) -> None:
        """Bind the socket and begin to serve. Raises ControlRefused."""
        bound = self._file.bind()
        self._server = await asyncio.start_unix_server(self._accept, sock=bound, limit=PART)

    async def close(self) -> None:
        """End every connection and remove the socket."""
        if self._server is not None:
            self._server.close()
            for client in self._clients:
                client.cancel()
            await asyncio.gather(*self._clients, return_exceptions=True)
        self._file.remove()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        client = asyncio.current_task()
        assert client is not None
        self._clients.add(client)
        try:
            await self.serve(reader, writer)
        except (ConnectionError, asyncio.CancelledError):
            # The client is gone, or the node ends.
            pass
        finally:
            self._clients.discard(client)
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()


async def read_line(reader: asyncio.StreamReader, line_max: int) -> bytes | None:
    """Return the next line with its end, None after the last one.

    Raises LineTooLong once a line of more than `line_max` bytes has ended: the client reads nothing
    before it has sent everything.
    """
    parts: list[bytes] = []
    size = 0
    while True:
        try:
            part = await reader.readuntil(b"\n")
        except asyncio.IncompleteReadError as exc:
            # A last line may lack its end; one that came in several parts is dropped.
            return exc.partial if exc.partial.strip() and not size else None
        except asyncio.LimitOverrunError as exc:
            part = await reader.readexactly(exc.consumed)
        size += len(part)
        if size <= line_max:
            parts.append(part)
        else:
            parts.clear()
        if part.endswith(b"\n"):
            break
    if size > line_max:
        raise LineTooLong(f"a line has at most {line_max} bytes, and this one {size}")
    return b"".join(parts)
