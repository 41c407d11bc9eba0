"""The exceptions of the specification: one root, and one type for every malformed message."""

from __future__ import annotations

from meshwire_spec.numbers import REASONS


class SpecError(Exception):
    """Root of the exceptions of this package."""


class Malformed(SpecError):
    """A message, or the bytes of one, that its schema refuses.

    `reason` is a name of the registry in `numbers.py`, `offset` the first byte of the field at
    fault counted from the start of the message, `field` its path such as `entries[1].key`, `rule`
    the id of the rule that it breaks (page Errors), `kind` the kind of message.
    """

    def __init__(
        self,
        reason: str,
        offset: int,
        field: str,
        *,
        rule: str = "",
        kind: str = "",
        detail: str = "",
    ) -> None:
        self.reason = reason
        self.offset = offset
        self.field = field
        self.rule = rule
        self.kind = kind
        self.detail = detail
        super().__init__(reason, offset, field)

    def behind(self, size: int) -> Malformed:
        """Return this fault in a message that `size` bytes of another one precede."""
        return Malformed(
            self.reason,
            self.offset + size,
            self.field,
            rule=self.rule,
            kind=self.kind,
            detail=self.detail,
        )

    @property
    def code(self) -> int:
        """Application code of this reason on the wire."""
        return REASONS[self.reason].code

    def __str__(self) -> str:
        where = f"{self.kind}.{self.field}" if self.kind and self.field else self.kind or self.field
        tail = f": {self.detail}" if self.detail else ""
        return f"{self.reason} at byte {self.offset} ({where or 'message'}){tail}"


class UnknownKind(SpecError):
    """No kind of message has this name."""
