"""The child process of the suite's Automerge: requests on standard input, answers on output.

Usage: python -m meshwire_conformance.documents.child MEMORY_BYTES
"""

import os
import resource
import signal
import struct
import sys
from collections.abc import Callable
from typing import Any, BinaryIO, Final

import msgspec

LENGTH: Final = struct.Struct(">I")
DETAIL_MAX: Final = 300
"""Characters of an error that are passed on."""


def confine(memory_bytes: int) -> None:
    """Cap the memory, leave no core file, leave interrupts of the terminal to the parent."""
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    cap = memory_bytes if hard == resource.RLIM_INFINITY else min(memory_bytes, hard)
    resource.setrlimit(resource.RLIMIT_AS, (cap, hard))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # The kernel ends a native call that holds the lock of the interpreter.
    signal.signal(signal.SIGPROF, signal.SIG_DFL)


def read_frame(stream: BinaryIO) -> bytes | None:
    """Read one frame; None when the stream has ended."""
    header = stream.read(LENGTH.size)
    return stream.read(LENGTH.unpack(header)[0]) if len(header) == LENGTH.size else None


def write_frame(stream: BinaryIO, answer: dict[str, Any]) -> None:
    """Write one frame and flush it."""
    body = msgspec.msgpack.encode(answer)
    stream.write(LENGTH.pack(len(body)) + body)
    stream.flush()


def answer_one(handlers: dict[str, Callable[..., Any]], request: bytes) -> dict[str, Any]:
    """Carry out one request. A panic of the library is an answer like any other fault.

    A request that takes more CPU time than it states ends the process, in the library or not.
    """
    name, arguments, cpu_s = msgspec.msgpack.decode(request, type=tuple[str, list[Any], float])
    signal.setitimer(signal.ITIMER_PROF, cpu_s)
    try:
        return {"result": handlers[name](*arguments)}
    except (KeyboardInterrupt, SystemExit, MemoryError):
        raise
    except BaseException as exc:  # noqa: BLE001  # a panic of the library is no Exception
        return {"error": f"{type(exc).__name__}: {exc}"[:DETAIL_MAX]}
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


def main(arguments: list[str]) -> int:
    """Serve until the input ends; 1 when the library is missing."""
    # Output of the library goes to standard error, which is not read.
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    confine(int(arguments[0]))
    try:
        from meshwire_conformance.documents.replicas import Replicas  # noqa: PLC0415  # may be missing
    except ImportError as exc:
        write_frame(answers, {"error": str(exc)})
        return 1
    write_frame(answers, {"result": "ready"})
    handlers = Replicas().handlers()
    while (request := read_frame(sys.stdin.buffer)) is not None:
        write_frame(answers, answer_one(handlers, request))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
