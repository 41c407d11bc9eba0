"""The user's side of the control channel: one request, and its reply."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from meshwire_reference.control.messages import AnyRequest, encode_request

COMMANDS: Final = (
    "put", "get", "delete", "docs", "peers", "connect", "role", "watch", "stats", "status",
)  # fmt: skip
"""The commands of `meshwire-node` for a node of documents."""
OPERATIONS: Final = ("view", "insert", "set", "delete")
"""Those of `meshwire-node ops` for one of signed operations."""


class NoNode(Exception):
    """No node serves the socket, or one of another profile; the text is one line for the user."""


class RequestRefused(Exception):
    """The node has not carried out a request; the text is one line for the user."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def _is_other_file(path: Path) -> bool:
    """Return True if there is something at a path, and it is no socket."""
    # A name may be too long, or a folder closed.
    with suppress(OSError):
        return path.exists() and not path.is_socket()
    return False


class ControlClient:
    """A connection to the control socket of a node. Blocks; raises NoNode and RequestRefused."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._socket.connect(str(path))
        except OSError as exc:
            self._socket.close()
            if _is_other_file(path):
                raise NoNode(
                    f"{path} is no socket: give the path after --control of `meshwire-node run`"
                ) from exc
            raise NoNode(
                f"no node serves {path} ({exc.strerror or exc}): start one with "
                f"`meshwire-node run --control {path}`"
            ) from exc
        self._replies = self._socket.makefile("rb")

    def ask(self, request: AnyRequest) -> dict[str, Any]:
        """Send a request and return the reply."""
        return next(self.ask_for_all(request))

    def ask_for_all(self, request: AnyRequest) -> Iterator[dict[str, Any]]:
        """Send a request and yield every reply to it."""
        try:
            line = encode_request(request)
        except UnicodeEncodeError as exc:
            problem = "an argument has bytes that are not UTF-8, which no node can be asked"
            raise RequestRefused("bad-request", problem) from exc
        for reply in self._exchange(line):
            match reply.get("error"):
                case None:
                    yield reply
                case {"code": str(code), "message": str(message)}:
                    raise RequestRefused(code, message)
                case _:
                    raise NoNode(
                        f"the node at {self.path} is one of signed operations (oplog/1): it takes "
                        f"`meshwire-node ops` with {_listed(OPERATIONS)}"
                    )

    def ask_of_operations(self, request: Mapping[str, Any]) -> Any:
        """Send a request to a node of signed operations and return the result."""
        reply = next(self._exchange(json.dumps(request).encode() + b"\n"))
        if "result" in reply:
            return reply["result"]
        if isinstance(problem := reply.get("error"), str):
            raise RequestRefused("refused", problem)
        raise NoNode(
            f"the node at {self.path} is one of documents (sync/1): it takes `meshwire-node` with "
            f"{_listed(COMMANDS)}"
        )

    def _exchange(self, line: bytes) -> Iterator[dict[str, Any]]:
        """Send a line and yield the replies."""
        gone = RequestRefused("gone", f"the node at {self.path} has gone away: look at its log")
        try:
            self._socket.sendall(line)
            for said in self._replies:
                reply = json.loads(said)
                if not isinstance(reply, dict):
                    raise NoNode(f"what serves {self.path} is no node: it answers no object")
                yield reply
        except (OSError, ValueError) as exc:
            # A line that is cut short is what a node leaves that was killed while it wrote.
            raise gone from exc
        raise gone

    def close(self) -> None:
        """Close the connection."""
        self._replies.close()
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _listed(names: tuple[str, ...]) -> str:
    *before, last = names
    return f"{', '.join(before)} and {last}"
