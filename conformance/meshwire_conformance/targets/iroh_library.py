"""The `iroh` library as the suite uses it: three fixes, and the meaning of its error texts.

The library (1.2.0) reports the ends of streams and connections as text alone, which is parsed here.
Its generated binding needs three fixes:

- A destructor takes the lock of its connection. The library calls Python back from threads of its
  own while it holds that lock, and a garbage collection in such a call would deadlock. So
  destructors run only where an event loop runs; elsewhere the object is kept until
  `release_put_aside` is called.
- Bytes to send are copied one by one in Python, 5 MB a second. One `memmove` does the same.
- A call that was cancelled keeps a result that it had already, such as a connection, which then
  stays open without an owner. The result is taken and freed.
"""

from __future__ import annotations

import asyncio
import ctypes
import re
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import iroh
from iroh import iroh_ffi

from meshwire_conformance.targets.transport import Closed

_binding: Any = iroh_ffi
_put_aside: deque[tuple[Callable[[Any], None], Any]] = deque()
_STREAM = re.compile(r"(client|server) (uni|bi)directional stream (\d+)")
_SIDES = {"client": 0, "server": 1}
_DIRECTIONS = {"bi": 0, "uni": 1}
_GIVEN_UP = ("timed out", "caused the connection to be closed during the handshake")
"""Ends of the texts about a handshake that was given up."""
_OTHER_KEY = "invalid peer certificate: UnknownIssuer"
"""End of the text about an endpoint with another key than the one of the address."""
_RESET = re.compile(r"Reset\((\d+)\)")
_CLOSED = re.compile(r"closed by peer: (?:(\d+)|(.*) \(code (\d+)\))", re.DOTALL)


def mend() -> None:
    """Apply the fixes if the binding has the expected form; a second call does nothing."""
    for thing in list(vars(iroh_ffi).values()):
        destroy = vars(thing).get("__del__") if isinstance(thing, type) else None
        if destroy is not None and destroy.__module__ == iroh_ffi.__name__:
            thing.__del__ = _where_a_loop_runs(destroy)
    builder = getattr(iroh_ffi, "_UniffiRustBufferBuilder", None)
    if builder is not None and {"_reserve", "write"} <= vars(builder).keys():
        builder.write = _write
    call = getattr(_binding, "_uniffi_rust_call_async", None)
    if call is not None and call.__module__ == iroh_ffi.__name__:
        _binding._uniffi_rust_call_async = _without_rest(call)  # noqa: SLF001 - the only doorway


def release_put_aside() -> None:
    """Free the objects kept by the first fix; call it only where an event loop runs."""
    while _put_aside:
        destroy, thing = _put_aside.popleft()
        destroy(thing)


def cause(error: iroh.IrohError) -> str:
    """Return the last line of a library error; the lines before name its source files."""
    lines: list[str] = error.message().strip().splitlines()
    last = lines[-1].strip() if lines else "no reason given"
    return "another endpoint answers there" if last.endswith(_OTHER_KEY) else last


def is_overdue(error: iroh.IrohError) -> bool:
    """Return True if a dial failed because a handshake took too long for either side.

    The target that gives one up closes the connection without a reason, in QUIC's own words.
    """
    return cause(error).endswith(_GIVEN_UP)


def stream_number(text: str) -> int:
    """Return the id of a stream on the wire, from the library's text for it."""
    found = _STREAM.fullmatch(text)
    assert found is not None, f"the library names a stream {text!r}"
    return int(found[3]) << 2 | _DIRECTIONS[found[2]] << 1 | _SIDES[found[1]]


def reset_code(error: iroh.IrohError) -> int | None:
    """Return the code of a reset stream, or None if the read ended for another cause."""
    found = _RESET.fullmatch(error.message())
    return None if found is None else int(found[1])


def ending(text: str) -> Closed:
    """Return how a connection ended that the suite did not close."""
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


def _without_rest(call: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    """Return the binding's `call`, which takes the functions of one future of the library."""

    async def call_without_rest(
        future: int, poll: Any, complete: Any, free: Any, lift: Any, errors: Any
    ) -> Any:
        try:
            return await call(future, poll, complete, lambda _: None, lift, errors)
        except asyncio.CancelledError:
            library = _binding._UniffiLib  # noqa: SLF001 - as the call that is replaced
            getattr(library, free.__name__.replace("_free_", "_cancel_"))(future)
            # It fails where there is no result, which is as good.
            with suppress(Exception):
                lift(_binding._uniffi_rust_call_with_error(errors, complete, future))  # noqa: SLF001
            raise
        finally:
            free(future)

    return call_without_rest
