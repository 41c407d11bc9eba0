"""A worker whose calls do by their key what hostile bytes would make the library do.

The folder of the first argument remembers which names were seen, and whether limits can be set (a
file `no-limits` says that they cannot). The rest of the arguments are a worker's.
"""

import itertools
import os
import resource
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

from automerge.core import ROOT, Document, Message, ScalarType, SyncState

from meshwire_reference.core.document_calls import Call, Result
from meshwire_reference.documents import worker
from meshwire_reference.documents.table import Table

FOLDER = Path(sys.argv[1])
BURNT_S = 0.3
"""CPU time that a call for `burn:NAME` takes besides, in seconds."""
TOO_MUCH = 2**40
answer = Table.answer


def end(_name: str) -> None:
    """End the process."""
    os._exit(1)


def end_once(name: str) -> None:
    """End the process the first time."""
    if not (FOLDER / name).exists():
        (FOLDER / name).touch()
        os._exit(1)


def end_once_then_wait(name: str) -> None:
    """End the process the first time, then wait for ever."""
    end_once(name)
    signal.pause()


def abort(_name: str) -> None:
    """Abort, as native code does."""
    os.abort()


def hoard(_name: str) -> None:
    """Ask for more memory than the worker may have."""
    bytearray(TOO_MUCH)


def loop(_name: str) -> None:
    """Work for ever in native code that holds the interpreter lock."""
    sum(itertools.repeat(1))


def wait(_name: str) -> None:
    """Wait for ever without working."""
    signal.pause()


def burn(_name: str) -> None:
    """Use CPU time."""
    until_s = time.process_time() + BURNT_S  # noqa: TID251 - CPU time is what it uses
    while time.process_time() < until_s:  # noqa: TID251 - the same
        pass


def end_if_blocking(_name: str) -> None:
    """End the process if it blocks a signal."""
    if signal.pthread_sigmask(signal.SIG_BLOCK, ()):
        os._exit(1)


def load(name: str) -> None:
    """Load the document of this file unchecked."""
    Document.load((FOLDER / name).read_bytes())


def receive(name: str) -> None:
    """Receive the sync message of this file unchecked, and answer it."""
    document, state = Document(), SyncState()
    with document.transaction() as transaction:
        transaction.put(ROOT, "a", ScalarType.Int, 1)
    document.receive_sync_message(state, Message.decode((FOLDER / name).read_bytes()))
    document.generate_sync_message(state)


def gate(name: str) -> None:
    """Wait until the pipe of this name has been written to."""
    (FOLDER / name).read_bytes()


DEEDS: dict[str, Callable[[str], None]] = {
    "die": end,
    "once": end_once,
    "stuck": end_once_then_wait,
    "abort": abort,
    "hoard": hoard,
    "loop": loop,
    "wait": wait,
    "burn": burn,
    "gate": gate,
    "load": load,
    "receive": receive,
    "blocked": end_if_blocking,
}


def deadly_answer(self: Table, call: Call, stored: bytes | None) -> Result:
    """Do what the key says, then what the call says."""
    kind, _, name = str(getattr(call, "key", "")).partition(":")
    if kind in DEEDS:
        DEEDS[kind](name)
    return answer(self, call, stored)


def refuse(_limit: int, _values: tuple[int, int]) -> None:
    """Refuse a limit, as some systems do."""
    raise ValueError("current limit exceeds maximum limit")


Table.answer = deadly_answer  # type: ignore[method-assign]  # this is the point
if (FOLDER / "no-limits").exists():
    resource.setrlimit = refuse

if __name__ == "__main__":
    sys.exit(worker.main(sys.argv[2:]))
