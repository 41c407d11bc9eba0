"""The errors of the wire codec: what a peer sent, what cannot be sent, what is no value at all."""

from typing import Self


class WireError(Exception):
    """Root of every error of the wire codec."""


class FieldError(WireError):
    """A field that is not as its layout says.

    `reason` is a name of the closed registry `REASONS`; `offset` is where the field starts, None
    where it was refused before any byte stood; `field` is its path in the message
    (`entries[1].key`), empty for the message as a whole; `problem` is for people, and may be empty.
    """

    def __init__(self, reason: str, offset: int | None, field: str, problem: str = "") -> None:
        at = "" if offset is None else f" at byte {offset}"
        place = f" in {field}" if field else ""
        super().__init__(f"{reason}{at}{place}{f': {problem}' if problem else ''}")
        self.reason = reason
        self.offset = offset
        self.field = field
        self.problem = problem

    def within(self, field: str, offset: int) -> Self:
        """Return the same error as seen from a message that holds this one at `offset`."""
        path = f"{field}.{self.field}" if self.field else field
        at = None if self.offset is None else self.offset + offset
        return type(self)(self.reason, at, path, self.problem)


class Malformed(FieldError):
    """Received bytes are no message of the kind; the caller refuses the stream or connection.

    The only exception that decoding raises, whatever the bytes are.
    """


class Unencodable(FieldError):
    """A message of ours does not fit its layout: the caller has a bug, and nothing was written."""


def bad_value(field: str, problem: str) -> Unencodable:
    """Return the error for a JSON value that has not the shape of its kind, to be raised.

    A member is missing, unknown or of a wrong type, or its number is out of its width.
    """
    return Unencodable("bad-value", None, field, problem)
