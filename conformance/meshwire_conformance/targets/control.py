"""The control socket of a target: requests of its own user, for what the wire cannot ask for.

A request is one JSON object on a line, and so is its reply; the formats are published. Each request
has a connection of its own, as those of a command have.
"""

from __future__ import annotations

import asyncio
import json
from itertools import count
from pathlib import Path
from typing import Any

from meshwire_conformance.targets.stdio import strict_json
from meshwire_spec.schemas.control import ControlReply
from meshwire_spec.schemas.validation import checked, faults

LINE_MAX = 2**20
"""Bytes of the longest reply that is read."""


class BadReply(Exception):
    """The socket cannot be used, or the answer is no reply to the request; the text says which."""


class ControlSocket:
    """The control socket of a target, at a path on this machine."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._numbers = count(1)

    async def ask(self, do: str, deadline_s: float, **members: Any) -> ControlReply:
        """Send a request and return its reply, which may be an error.

        Raises BadReply, and TimeoutError if no reply comes.
        """
        request = {"id": next(self._numbers), "do": do, **members}
        for fault in faults("control-request", request):
            raise AssertionError(f"the suite sends no such request: {fault}")
        async with asyncio.timeout(deadline_s):
            line = await self._exchange(json.dumps(request).encode() + b"\n")
        try:
            reply = checked("control-reply", strict_json(line), ControlReply)
        except (ValueError, RecursionError) as exc:
            raise BadReply(f"the reply to `{do}` is none: {exc}") from exc
        if reply.id != request["id"]:
            raise BadReply(f"the reply to `{do}` has the id {reply.id}, not {request['id']}")
        return reply

    async def _exchange(self, line: bytes) -> bytes:
        try:
            reader, writer = await asyncio.open_unix_connection(str(self.path), limit=LINE_MAX)
        except OSError as exc:
            raise BadReply(f"no node serves {self.path}: {exc.strerror or exc}") from exc
        try:
            writer.write(line)
            await writer.drain()
            return await reader.readuntil(b"\n")
        except asyncio.IncompleteReadError as exc:
            raise BadReply("the control socket was closed instead of a reply") from exc
        except asyncio.LimitOverrunError as exc:
            raise BadReply(f"the reply is longer than {LINE_MAX} bytes") from exc
        except OSError as exc:
            raise BadReply(f"the control socket was lost: {exc.strerror or exc}") from exc
        finally:
            writer.close()
