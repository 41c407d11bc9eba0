"""The errors of the wire codec: for received bytes, for messages to send, and for JSON values."""

from typing import Self


class WireError(Exception):
    """Root of every error of the wire codec."""


class FieldError(WireError):
    """A field that does not fit its layout.

    `reason` is a name of the closed registry `REASONS`; `offset` is where the field starts, None if
    it was refused before any byte was written; `field` is its path in the message
    (`entries[1].key`), empty for the message as a whole; `problem` is a text for people, and may be
    empty.
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
        """Return the same error as seen from a message that holds this one at `offset`.

        Without a `field` the fields of this message are those of the other.
        """
        path = ".".join(filter(None, (field, self.field)))
        at = None if self.offset is None else self.offset + offset
        return type(self)(self.reason, at, path, self.problem)


class Malformed(FieldError):
    """Received bytes are not a message of the kind; the caller refuses the stream or connection.

    Decoding raises no other exception, whatever the bytes are.
    """


class Unencodable(FieldError):
    """A message of ours does not fit its layout: the caller has a bug, and nothing was written."""


def bad_value(field: str, problem: str) -> Unencodable:
    """Return the error, to be raised, for a JSON value without the form of its kind.

    A member is missing, unknown or of a wrong type, or its number is out of range.
    """
    return Unencodable("bad-value", None, field, problem)
