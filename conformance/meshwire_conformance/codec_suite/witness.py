"""A further process of a codec, which answers hello while a request to the first one waits.

Theory: a passed deadline alone proves nothing, since the machine is shared. A request that waits
alone is judged by what its codec does meanwhile in another process. If that process answers hello
promptly, the request counts as unanswered. If it is slow, the request could not be judged.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

from meshwire_conformance.errors import Incomplete
from meshwire_conformance.targets.stdio import Ending, Harness
from meshwire_conformance.verdicts import PROMPT

EARLY = 0.1
"""Part of its deadline that a request waits before there is a witness."""
PAUSE = 0.02
"""Pause between two questions to a witness, as a part of the deadline."""


async def is_beside_prompt(
    waiting: asyncio.Task[Any],
    answer_s: float,
    start: Callable[[], Awaitable[Harness]],
    greet: Callable[[Harness], Awaitable[Ending]],
) -> bool:
    """Return True unless a witness was slow while a request waited.

    `answer_s` is the deadline of an answer, `start` starts a process, and `greet` sends hello and
    returns how that ended. A request that is answered early needs no witness, and a witness that
    ends by itself shows nothing.
    """
    done, _ = await asyncio.wait((waiting,), timeout=EARLY * answer_s)
    if done:
        return True
    try:
        witness = await start()
    except Incomplete:
        return True
    try:
        # The first answer includes the start of the process: only that it comes counts.
        ending = await greet(witness)
        while ending is Ending.ANSWERED and not waiting.done():
            began = time.monotonic()
            ending = await greet(witness)
            if time.monotonic() - began > PROMPT * answer_s:
                return False
            await asyncio.wait((waiting,), timeout=PAUSE * answer_s)
        return ending is not Ending.HUNG
    finally:
        await witness.abort()
