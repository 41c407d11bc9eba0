"""The errors of reconciliation: what a peer did, and what a caller did."""

from meshwire_spec.numbers import REASONS


class NegentropyError(Exception):
    """Root of every error of reconciliation."""


class Refused(NegentropyError):
    """The peer's message cannot be answered; the run is over and its stream is refused.

    `reason` is a name of the closed registry `REASONS` and `code` its application code; `offset`
    is where the field that is wrong starts, None where the message as a whole is refused.
    """

    def __init__(self, reason: str, offset: int | None = None) -> None:
        super().__init__(reason if offset is None else f"{reason} at byte {offset}")
        self.reason = reason
        self.code = REASONS[reason].code
        self.offset = offset


class Misused(NegentropyError):
    """The caller has a bug: a step out of order, or an item that cannot be one."""
