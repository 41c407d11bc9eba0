"""The doorway to the suite's Automerge: a child process that a peer's bytes may kill.

Calls block for milliseconds; from asyncio use `asyncio.to_thread(documents.receive, ...)`: calls
from several threads wait for each other. After a death the child is started again with every
document as it last was; exchanges start afresh.
"""

import os
import selectors
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Self

import msgspec

from meshwire_conformance.documents.values import Json, check_actor, check_document, check_fields
from meshwire_conformance.extras import install_line
from meshwire_conformance.targets import children

INSTALL_LINE: Final = install_line("documents")
"""Hint for cases that could not run."""
START_S: Final = 30.0
"""Seconds that the child process may take to start."""
CEILING_S: Final = 60.0
CEILING_BUDGETS: Final = 20
"""Least wall time, in seconds and in budgets of CPU time, after which a call is stuck.

A call is limited by CPU time, since a busy machine delays every call.
"""
READ_BYTES: Final = 2**20
"""Bytes that one read asks for."""
LENGTH_BYTES: Final = 4
"""Bytes of the length before each message."""


class Unavailable(Exception):
    """Automerge is not installed or does not start: cases that need it could not run."""


class Unreadable(Exception):
    """Automerge refuses these bytes, or the process that reads them ends or stalls."""


@dataclass(frozen=True, slots=True)
class State:
    """A document after a call: heads in hex, sorted, and the saved bytes."""

    heads: tuple[str, ...]
    saved: bytes


@dataclass(frozen=True, slots=True)
class PayloadContents:
    """The content of one payload of a peer, applied to an empty document."""

    heads: tuple[str, ...]
    fields: dict[str, Json]
    saved: bytes


class Documents:
    """Named documents and their exchanges; `start` first, `close` at the end, or use `with`.

    A call may take `call_s` seconds of CPU time.
    """

    def __init__(self, *, call_s: float = 10.0, memory_bytes: int = 2 * 2**30) -> None:
        self._call_s = call_s
        self._memory_bytes = memory_bytes
        self._process: subprocess.Popen[bytes] | None = None
        self._buffer = bytearray()
        self._lock = threading.RLock()
        self._actors: dict[str, str] = {}
        self._saved: dict[str, bytes] = {}
        self._throwaways = 0

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    # --- life ----------------------------------------------------------------------------------

    def start(self) -> None:
        """Start the child. Raises Unavailable with the line that installs what is missing."""
        with self._lock:
            self._start()

    def close(self) -> None:
        """End the child."""
        with self._lock:
            self._end()

    def _start(self) -> None:
        module = "meshwire_conformance.documents.child"
        command = [sys.executable, "-Pm", module, str(self._memory_bytes)]
        children.guard()
        try:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env={**os.environ, "RUST_BACKTRACE": "0"},
                # Ctrl-C goes to the suite, which then ends the child.
                start_new_session=True,
            )
            children.remember(self._process.pid)
            answer = self._read(START_S)
        except (OSError, Unreadable) as exc:
            self._end()
            raise Unavailable(f"no Automerge process ({exc}): {INSTALL_LINE}") from exc
        if "error" in answer:
            self._end()
            raise Unavailable(f"{answer['error']}: {INSTALL_LINE}")

    def _end(self) -> None:
        process, self._process = self._process, None
        self._buffer.clear()
        if process is None:
            return
        process.kill()
        # Reaps the process and closes both pipes.
        process.communicate()
        children.forget(process.pid)

    def _restart(self) -> None:
        """Start the child again after its death, with every document as it last was."""
        self._end()
        self._start()
        for name, actor in self._actors.items():
            self._exchange("create", name, actor, [])
            self._exchange("merge", name, [self._saved[name]])

    # --- documents -----------------------------------------------------------------------------

    def create(self, name: str, document: Mapping[str, Json] | None = None) -> State:
        """Create a document from data, or an empty one. Raises BadDocument for invalid data."""
        data = check_document(document or {})
        with self._lock:
            self._actors[name], self._saved[name] = data.actor, b""
            return self._change("create", name, data.actor, data.changes)

    def load(self, name: str, payload: bytes, actor: Json = None) -> State:
        """Create a document from saved bytes or changes. Raises Unreadable."""
        self.create(name, {"actor": check_actor(actor)} if actor is not None else None)
        return self.merge(name, payload)

    def merge(self, name: str, *payloads: bytes) -> State:
        """Merge saved bytes (0x01) into a document. Raises Unreadable."""
        return self._change("merge", name, list(payloads))

    def edit(self, name: str, *edits: dict[str, Json]) -> State:
        """Write edits, one change each. Raises BadDocument for invalid data."""
        return self._change("edit", name, [check_fields(edit) for edit in edits])

    def state(self, name: str) -> State:
        """Return a document's heads and saved bytes."""
        return self._change("describe", name)

    def changes(self, name: str) -> tuple[bytes, ...]:
        """Return the bytes of every change of a document."""
        return tuple(self._call("changes", name))

    def fields(self, name: str) -> dict[str, Json]:
        """Return a document's root fields as data (see `values`)."""
        fields: dict[str, Json] = self._call("fields", name)
        return fields

    def forget(self, name: str) -> None:
        """Drop a document."""
        with self._lock:
            self._actors.pop(name, None)
            self._saved.pop(name, None)
            self._call("forget", name)

    # --- exchanges -----------------------------------------------------------------------------

    def begin(self, name: str, peer: str) -> None:
        """Start the exchange about a document with a peer afresh."""
        self._call("begin", name, peer)

    def generate(self, name: str, peer: str) -> bytes | None:
        """Return the next 0x00 payload for a peer, or None if there is nothing to send."""
        message: bytes | None = self._call("generate", name, peer)
        return message

    def receive(self, name: str, peer: str, message: bytes) -> State:
        """Apply a 0x00 payload of a peer. Raises Unreadable."""
        return self._change("receive", name, peer, message)

    # --- payloads on their own -----------------------------------------------------------------

    def read_message(self, message: bytes) -> PayloadContents:
        """Return the content that a 0x00 payload adds to an empty document. Raises Unreadable."""
        return self._read_payload("receive", "reader", message)

    def read_snapshot(self, payload: bytes) -> PayloadContents:
        """Return the content of a 0x01 payload. Raises Unreadable."""
        return self._read_payload("merge", [payload])

    def _read_payload(self, operation: str, *arguments: object) -> PayloadContents:
        with self._lock:
            self._throwaways += 1
            name = f"throwaway {self._throwaways}"
            self.create(name)
            try:
                state = self._change(operation, name, *arguments)
                return PayloadContents(state.heads, self.fields(name), state.saved)
            finally:
                self.forget(name)

    # --- the pipe ------------------------------------------------------------------------------

    def _change(self, operation: str, name: str, *arguments: object) -> State:
        with self._lock:
            heads, saved = self._call(operation, name, *arguments)
            self._saved[name] = saved
            return State(tuple(heads), saved)

    def _call(self, operation: str, *arguments: object) -> Any:  # as the operation says
        with self._lock:
            if self._process is None:
                self._restart()
            return self._exchange(operation, *arguments)

    def _exchange(self, operation: str, *arguments: object) -> Any:  # as above
        body = msgspec.msgpack.encode((operation, arguments, self._call_s))
        process = self._process
        if process is None or process.stdin is None:
            raise Unreadable("the Automerge process is not running")
        try:
            process.stdin.write(len(body).to_bytes(LENGTH_BYTES, "big") + body)
            process.stdin.flush()
            answer = self._read(max(CEILING_S, CEILING_BUDGETS * self._call_s))
        except (OSError, Unreadable) as exc:
            self._end()
            raise Unreadable(f"{operation} ended the Automerge process: {exc}") from exc
        if "error" in answer:
            raise Unreadable(answer["error"])
        return answer["result"]

    def _read(self, timeout_s: float) -> dict[str, Any]:
        """Read one answer. Raises Unreadable if the child ends, stalls or writes anything else."""
        process = self._process
        if process is None or process.stdout is None:
            raise Unreadable("not running")
        end = time.monotonic() + timeout_s
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ)
            while (body := self._cut()) is None:
                if not selector.select(max(0.0, end - time.monotonic())):
                    raise Unreadable(f"no answer within {timeout_s:g} s")
                data = os.read(process.stdout.fileno(), READ_BYTES)
                if not data:
                    raise Unreadable(_cause_of_death(process))
                self._buffer += data
        try:
            return msgspec.msgpack.decode(body, type=dict[str, Any])
        except msgspec.DecodeError as exc:
            raise Unreadable(f"nonsense: {exc}") from exc

    def _cut(self) -> bytes | None:
        """Remove one complete answer from the buffer and return it; None if there is none yet."""
        length = int.from_bytes(self._buffer[:LENGTH_BYTES], "big")
        end = LENGTH_BYTES + length
        if len(self._buffer) < max(end, LENGTH_BYTES):
            return None
        body = bytes(self._buffer[LENGTH_BYTES:end])
        del self._buffer[:end]
        return body


def _cause_of_death(process: subprocess.Popen[bytes]) -> str:
    """Return why a child has closed its output, which it does at its end."""
    try:
        is_over_budget = process.wait(CEILING_S) == -signal.SIGPROF
    except subprocess.TimeoutExpired:
        return "it closed its output"
    return "it takes too much CPU time" if is_over_budget else "it died"
