"""Three fixes of the generated Python binding of the `iroh` library (1.2.0).

Bytes. Bytes to send are copied in a Python loop, 0.4 microseconds per byte: a payload of 16 MiB
would block the event loop for seven seconds. One `memmove` replaces it.

Destructors. The library calls back into Python from its own threads while it holds the lock of a
connection. A garbage collection in such a call that frees a stream of that connection waits for
this lock and deadlocks. So destructors run only where an event loop runs; elsewhere the object
waits until `free_waiting` is called from a loop.

Cancelled calls. The result of a call that is cancelled after the library has finished it was never
taken, so that what it had made, a connection for example, stayed open without an owner. Now it is
taken and freed.
"""

from __future__ import annotations

import asyncio
import ctypes
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
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

_binding: Any = iroh_ffi
_waiting: deque[tuple[Callable[[Any], None], Any]] = deque()


def mend_library() -> None:
    """Apply the fixes if the library has the expected form; a second call does nothing."""
    builder = getattr(iroh_ffi, "_UniffiRustBufferBuilder", None)
    if builder is not None and hasattr(builder, "_reserve") and hasattr(builder, "write"):
        builder.write = _write
    for name in LOCKING:
        class_: Any = getattr(iroh_ffi, name, None)
        destroy = getattr(class_, "__del__", None)
        if destroy is not None and destroy.__module__ == iroh_ffi.__name__:
            class_.__del__ = _destroy_where_a_loop_runs(destroy)
    call = getattr(_binding, "_uniffi_rust_call_async", None)
    if call is not None and call.__module__ == iroh_ffi.__name__:
        _binding._uniffi_rust_call_async = _free_results_of_cancelled_calls(call)  # noqa: SLF001 - the only doorway


def _free_results_of_cancelled_calls(
    call: Callable[..., Awaitable[Any]],
) -> Callable[..., Awaitable[Any]]:
    """Return the library's `call` of a Rust future so that a cancelled one leaves nothing."""

    async def call_or_free(
        future: int,
        poll: Callable[..., None],
        complete: Any,
        free: Any,
        lift: Callable[[Any], Any],
        errors: Any,
    ) -> Any:
        # Freed below instead: a future can be asked for its result until then.
        try:
            return await call(future, poll, complete, lambda _: None, lift, errors)
        except asyncio.CancelledError:
            # Ends what still runs. A result that is there already stays.
            cancel = free.__name__.replace("_free_", "_cancel_")
            getattr(_binding._UniffiLib, cancel)(future)  # noqa: SLF001 - as the call itself
            # The library says so where there is no result; the future may have failed, too.
            with suppress(Exception):
                lift(_binding._uniffi_rust_call_with_error(errors, complete, future))  # noqa: SLF001
            raise
        finally:
            free(future)

    return call_or_free


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
