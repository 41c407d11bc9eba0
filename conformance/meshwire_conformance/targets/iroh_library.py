"""The `iroh` library as the suite uses it: two mends, and what its error texts say.

The library (1.2.0) gives the ends of streams and connections as text alone, so they are read off
here. Its generated binding needs two mends:

- A destructor takes the lock of its connection. The library calls Python back from threads of its
  own while it holds that lock, and a garbage collection that happens to run in such a call waits
  for ever. So destructors work only where an event loop runs; elsewhere the object is put aside
  until `release_put_aside` is called.
- Bytes to send are copied one by one in Python, 5 MB a second. One `memmove` does the same.
"""

from __future__ import annotations

import asyncio
import ctypes
import re
from collections import deque
from collections.abc import Callable
from typing import Any

import iroh
from iroh import iroh_ffi

from meshwire_conformance.targets.transport import Closed

_put_aside: deque[tuple[Callable[[Any], None], Any]] = deque()
_STREAM = re.compile(r"(client|server) (uni|bi)directional stream (\d+)")
_SIDES = {"client": 0, "server": 1}
_DIRECTIONS = {"bi": 0, "uni": 1}
_RESET = re.compile(r"Reset\((\d+)\)")
_CLOSED = re.compile(r"closed by peer: (?:(\d+)|(.*) \(code (\d+)\))", re.DOTALL)


def mend() -> None:
    """Apply both mends where the binding has the shape they are for; twice is once."""
    for thing in list(vars(iroh_ffi).values()):
        destroy = vars(thing).get("__del__") if isinstance(thing, type) else None
        if destroy is not None and destroy.__module__ == iroh_ffi.__name__:
            thing.__del__ = _where_a_loop_runs(destroy)
    builder = getattr(iroh_ffi, "_UniffiRustBufferBuilder", None)
    if builder is not None and {"_reserve", "write"} <= vars(builder).keys():
        builder.write = _write


def release_put_aside() -> None:
    """Free what could not be freed where its last reference went; only where a loop runs."""
    while _put_aside:
        destroy, thing = _put_aside.popleft()
        destroy(thing)


def cause(error: iroh.IrohError) -> str:
    """The last line of what the library says: those before it name its own source files."""
    lines: list[str] = error.message().strip().splitlines()
    return lines[-1].strip() if lines else "no reason given"


def stream_number(text: str) -> int:
    """The id on the wire of a stream, from what the library calls it."""
    found = _STREAM.fullmatch(text)
    assert found is not None, f"the library names a stream {text!r}"
    return int(found[3]) << 2 | _DIRECTIONS[found[2]] << 1 | _SIDES[found[1]]


def reset_code(error: iroh.IrohError) -> int | None:
    """The code of a reset stream; None where the read has ended for another cause."""
    found = _RESET.fullmatch(error.message())
    return None if found is None else int(found[1])


def ending(text: str) -> Closed:
    """How a connection ended that was not closed by us."""
    found = _CLOSED.fullmatch(text)
    if found is None:
        return Closed(None, text or "connection lost")
    return Closed(int(found[1] or found[3]), found[2] or "")


def _where_a_loop_runs(destroy: Callable[[Any], None]) -> Callable[[Any], None]:
    def destroy_or_put_aside(thing: Any) -> None:
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            _put_aside.append((destroy, thing))
        else:
            destroy(thing)

    return destroy_or_put_aside


def _write(builder: Any, value: bytes) -> None:
    size = len(value)
    with builder._reserve(size):  # noqa: SLF001 - as the method does that this one replaces
        if size:
            end = ctypes.addressof(builder.rbuf.data.contents) + builder.rbuf.len
            ctypes.memmove(end, bytes(value), size)
