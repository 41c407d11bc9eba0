"""A worker that dies or hangs by the key of a call, as hostile bytes would make it.

Keys: `die:NAME` ends the process, `hang:NAME` never ends; `once:NAME` ends it the first time only,
and `stuck:NAME` never ends after that, which a file in the folder of the first argument remembers.
The rest of the arguments are a worker's.
"""

import os
import signal
import sys
from pathlib import Path

from meshwire_reference.core.document_calls import Call, Result
from meshwire_reference.documents import worker
from meshwire_reference.documents.table import Table

FOLDER = Path(sys.argv[1])
answer = Table.answer


def deadly_answer(self: Table, call: Call, stored: bytes | None) -> Result:
    """Do what the key says, then what the call says."""
    kind, _, name = str(getattr(call, "key", "")).partition(":")
    is_first = not (FOLDER / name).exists()
    if kind == "hang" or (kind == "stuck" and not is_first):
        signal.pause()
    if kind == "die" or (kind in ("once", "stuck") and is_first):
        (FOLDER / name).touch()
        os._exit(1)
    return answer(self, call, stored)


Table.answer = deadly_answer  # type: ignore[method-assign]  # this is the point

if __name__ == "__main__":
    sys.exit(worker.main(sys.argv[2:]))
