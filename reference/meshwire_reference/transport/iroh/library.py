"""Two fixes of the generated Python binding of the `iroh` library (1.2.0).

Bytes. Bytes to send are copied in a Python loop, 0.4 microseconds per byte: a payload of 16 MiB
would block the event loop for seven seconds. One `memmove` replaces it.

Destructors. The library calls back into Python from its own threads while it holds the lock of a
connection. A garbage collection in such a call that frees a stream of that connection waits for
this lock and deadlocks. So destructors run only where an event loop runs; elsewhere the object
waits until `free_waiting` is called from a loop.
"""

from __future__ import annotations

import asyncio
import ctypes
from collections import deque
from collections.abc import Callable
from typing import Any, Final

from iroh import iroh_ffi

LOCKING: Final = (
    "Accepting",
    "BiStream",
    "Connecting",
    "Connection",
    "Endpoint",
    "Incoming",
    "RecvStream",
    "SendStream",
)
"""Classes whose destructor takes the lock of a connection or an endpoint."""

_waiting: deque[tuple[Callable[[Any], None], Any]] = deque()


def mend_library() -> None:
    """Apply both fixes if the library has the expected form; a second call does nothing."""
    builder = getattr(iroh_ffi, "_UniffiRustBufferBuilder", None)
    if builder is not None and hasattr(builder, "_reserve") and hasattr(builder, "write"):
        builder.write = _write
    for name in LOCKING:
        class_: Any = getattr(iroh_ffi, name, None)
        destroy = getattr(class_, "__del__", None)
        if destroy is not None and destroy.__module__ == iroh_ffi.__name__:
            class_.__del__ = _destroy_where_a_loop_runs(destroy)


def free_waiting() -> None:
    """Free the objects kept by the second fix; call it from an event loop."""
    while _waiting:
        destroy, what = _waiting.popleft()
        destroy(what)


def _write(builder: Any, value: bytes) -> None:
    size = len(value)
    with builder._reserve(size):  # noqa: SLF001 - as in the method it replaces
        buffer = builder.rbuf
        if size:
            start = ctypes.addressof(buffer.data.contents) + buffer.len
            ctypes.memmove(start, bytes(value), size)


def _destroy_where_a_loop_runs(destroy: Callable[[Any], None]) -> Callable[[Any], None]:
    def destroy_or_wait(what: Any) -> None:
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            _waiting.append((destroy, what))
        else:
            destroy(what)

    return destroy_or_wait
