"""The errors of the wire codec: what a peer sent, what cannot be sent, what is no value at all."""

from typing import Self


class WireError(Exception):
    """Root of every error of the wire codec."""


class FieldError(WireError):
    """A field that is not as its layout says.

    `reason` is a name of the closed registry `REASONS`; `offset` is where the field starts, None
    where it was refused before any byte stood; `field` is its path in the message
    (`entries[1].key`), empty for the message as a whole.
    """

    def __init__(self, reason: str, offset: int | None, field: str) -> None:
        at = "" if offset is None else f" at byte {offset}"
        super().__init__(f"{reason}{at}{f' in {field}' if field else ''}")
        self.reason = reason
        self.offset = offset
        self.field = field

    def within(self, field: str, offset: int) -> Self:
        """Return the same error as seen from a message that holds this one at `offset`."""
        path = f"{field}.{self.field}" if self.field else field
        return type(self)(self.reason, None if self.offset is None else self.offset + offset, path)


class Malformed(FieldError):
    """Received bytes are no message of the kind; the caller refuses the stream or connection.

    The only exception that decoding raises, whatever the bytes are.
    """


class Unencodable(FieldError):
    """A message of ours does not fit its layout: the caller has a bug, and nothing was written."""


class BadValue(WireError):
    """A JSON value has not the shape of its kind: a member missing, unknown or of a wrong type."""

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(f"{field or 'value'}: {problem}")
        self.field = field
