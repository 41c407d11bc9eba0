"""The counters of a node over HTTP, for Prometheus: `GET /metrics`, and nothing else.

A client has one request, a few seconds, and one answer, after which its connection is closed. The
number of clients has a bound; beyond it a connection is closed at once. Nothing is authenticated:
the operator chooses the address, and every client that reaches it may read.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from http import HTTPStatus
from typing import Final

from meshwire_reference.backend import Backend
from meshwire_reference.control.prometheus import exposition

PATH: Final = "/metrics"
HEAD_MAX: Final = 8 * 2**10
"""Bytes of a request."""
CLIENTS_MAX: Final = 16
CLIENT_S: Final = 10.0
"""Seconds that a client has for its request and for taking the answer."""
PLAIN: Final = "text/plain; charset=utf-8"
END: Final = b"\r\n\r\n"
REQUEST_WORDS: Final = 3


class MetricsServer:
    """Serves the counters of one node at an address; `open`, then `close`."""

    def __init__(self, backend: Backend, host: str, port: int, client_s: float = CLIENT_S) -> None:
        self._backend = backend
        self._host = host
        self._port = port
        self._client_s = client_s
        self._server: asyncio.Server | None = None
        self._clients: set[asyncio.Task[None]] = set()

    @property
    def address(self) -> str:
        """Where the counters are, once the server is open."""
        assert self._server is not None, "the server is open"
        host, port = self._server.sockets[0].getsockname()[:2]
        return f"http://{f'[{host}]' if ':' in host else host}:{port}{PATH}"

    async def open(self) -> None:
        """Bind the address and begin to serve. Raises OSError, whose text names the address."""
        try:
            self._server = await asyncio.start_server(
                self._accept, self._host, self._port, limit=HEAD_MAX
            )
        except OSError as exc:
            place = f"{self._host}:{self._port}"
            problem = f"the counters cannot be served at {place}: {exc.strerror or exc}"
            raise OSError(problem) from exc

    async def close(self) -> None:
        """End every connection."""
        if self._server is not None:
            self._server.close()
            for client in self._clients:
                client.cancel()
            await asyncio.gather(*self._clients, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        client = asyncio.current_task()
        assert client is not None
        try:
            if len(self._clients) < CLIENTS_MAX:
                self._clients.add(client)
                async with asyncio.timeout(self._client_s):
                    await self._serve(reader, writer)
        except (OSError, TimeoutError, asyncio.CancelledError):
            # The client is gone or slow, or the node ends.
            writer.transport.abort()
        finally:
            self._clients.discard(client)
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(END)
        except asyncio.IncompleteReadError:
            return
        except asyncio.LimitOverrunError:
            head = b""
        writer.write(self._answer(head.decode("latin-1")))
        await writer.drain()

    def _answer(self, head: str) -> bytes:
        """Return the answer to the head of a request."""
        first, *fields = head.split("\r\n")
        words = first.split(" ")
        if len(words) != REQUEST_WORDS or not words[2].startswith("HTTP/1."):
            return response(HTTPStatus.BAD_REQUEST, f"this is no HTTP; GET {PATH} is served\n")
        if words[0] not in {"GET", "HEAD"}:
            return response(HTTPStatus.METHOD_NOT_ALLOWED, f"only GET {PATH} is served\n")
        if words[1].partition("?")[0] != PATH:
            return response(HTTPStatus.NOT_FOUND, f"the counters are at {PATH}\n")
        text, content_type = exposition(self._backend.statistics, accepted(fields))
        return response(HTTPStatus.OK, text, content_type, with_body=words[0] == "GET")


def accepted(fields: list[str]) -> str:
    """Return the value of the field Accept in the head of a request, empty without one."""
    for field in fields:
        name, _, value = field.partition(":")
        if name.strip().lower() == "accept":
            return value.strip()
    return ""


def response(
    status: HTTPStatus, body: bytes | str, content_type: str = PLAIN, *, with_body: bool = True
) -> bytes:
    """Return an answer of HTTP, after which the connection is closed."""
    content = body.encode() if isinstance(body, str) else body
    head = (
        f"HTTP/1.1 {status.value} {status.phrase}\r\nContent-Type: {content_type}\r\n"
        f"Content-Length: {len(content)}\r\nConnection: close\r\n\r\n"
    )
    return head.encode() + (content if with_body else b"")
