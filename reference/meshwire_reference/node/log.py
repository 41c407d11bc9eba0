"""The node's log: one line of JSON per event, on standard error.

The page on running lists the events. Keys and reasons of a peer are text that JSON escapes, and no
line holds a secret.
"""

import json
import sys
import time
from typing import Final

NS_PER_MS: Final = 1_000_000


def log(event: str, **facts: object) -> None:
    """Write an event, with the time in ms since 1970."""
    line = {"event": event, "at_ms": time.time_ns() // NS_PER_MS, **facts}
    sys.stderr.write(json.dumps(line) + "\n")
