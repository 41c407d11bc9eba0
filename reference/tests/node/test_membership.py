"""The documents of certificates and revocations, with a store that answers when the test wants."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from meshwire_reference.core.document_calls import Fields, Listed
from meshwire_reference.core.inputs import CredentialRead, Input
from meshwire_reference.core.trust.store import TrustSettings, TrustStore
from meshwire_reference.node.local import Observe
from meshwire_reference.node.membership import CredentialDocuments
from turns import all_wait

KEYS = tuple(f"certificates:{number:064x}" for number in (1, 2))
TRUST = TrustStore(TrustSettings("3F1A90C2", frozenset((bytes(32),))))


class HeldUser:
    """A user whose reads are answered by the test."""

    def __init__(self) -> None:
        self.reads: dict[str, asyncio.Future[Listed]] = {}

    async def operate(self, operation: Fields) -> Listed:
        """Wait for the answer of the test."""
        end = asyncio.get_running_loop().create_future()
        self.reads[operation.key] = end
        return await end

    def observe(self, _observe: Observe) -> Callable[[], None]:
        """Report nothing."""
        return lambda: None


def test_what_is_being_read_counts_once_all_was_read() -> None:
    """Also where the task that follows the documents has begun to read one of them."""
    fed: list[Input] = []

    async def run() -> bool:
        user = HeldUser()
        documents = CredentialDocuments(user, fed.append, lambda: TRUST)  # type: ignore[arg-type]
        following = asyncio.create_task(documents.run())
        reading = asyncio.create_task(documents.begin(KEYS))
        await all_wait()
        user.reads[KEYS[0]].set_result(Listed({}, ()))
        await all_wait()
        was_over = reading.done()
        user.reads[KEYS[1]].set_result(Listed({}, ()))
        await reading
        following.cancel()
        return was_over

    was_over = asyncio.run(run())

    assert not was_over
    assert fed == [CredentialRead(key, None) for key in KEYS]
