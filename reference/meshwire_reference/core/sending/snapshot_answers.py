"""Own snapshots as answers to a peer whose snapshot lacked something; not too often for a key."""

from meshwire_reference.core.context import Context
from meshwire_reference.core.limits.rate_limit import Cooldowns
from meshwire_reference.core.sending.outbound import Outbound
from meshwire_reference.core.sending.parcels import Kind


class SnapshotAnswers:
    """The snapshots that one peer is answered with."""

    def __init__(self, context: Context, connection: int, outbound: Outbound) -> None:
        self._context = context
        self._connection = connection
        self._outbound = outbound
        self._cooldowns = Cooldowns(context.settings.snapshot_answer_s)

    def answer(self, key: str) -> None:
        """Send the own snapshot, at once or as soon as it may be sent again."""
        now_s = self._context.now.monotonic_s
        wait_s = self._cooldowns.wait_s(key, now_s)
        name = ("snapshot", self._connection, key)
        if wait_s > 0:
            self._context.timers.set(name, now_s + wait_s, lambda: self.answer(key))
        elif self._outbound.is_open:
            self._cooldowns.take(key, now_s)
            self._outbound.add(Kind.SNAPSHOT, key)
