"""One message of enrollment on a stream: its length in 4 bytes, little endian, then its bytes.

The sender ends its half after it, so each half has one message and nothing else.
"""

from typing import Final

from meshwire_spec.numbers import ENROLLMENT_MAX

LENGTH: Final = 4
"""Bytes of the length that precedes a message."""


def framed(message: bytes) -> bytes:
    """Return the bytes of a half that carries a message of at most `ENROLLMENT_MAX` bytes."""
    # EN-061
    assert len(message) <= ENROLLMENT_MAX, "a message of enrollment is short"
    return len(message).to_bytes(LENGTH, "little") + message


class FramedMessage:
    """The message on a half, as its bytes arrive; at most `ENROLLMENT_MAX` of them are kept.

    `fault` is the reason to refuse it, as soon as that is known. `message` are its bytes once the
    half has ended, None before and where there is a fault.
    """

    def __init__(self) -> None:
        self.fault: str | None = None
        self.message: bytes | None = None
        self._received = bytearray()

    @property
    def is_over(self) -> bool:
        """True if the message is whole or refused."""
        return self.fault is not None or self.message is not None

    def receive(self, data: bytes, *, fin: bool) -> None:
        """Take the next bytes of the half, and its end; what follows a fault is dropped."""
        if self.fault is not None or self.message is not None:
            return
        self._received += data[: LENGTH + ENROLLMENT_MAX + 1 - len(self._received)]
        has_length = len(self._received) >= LENGTH
        size = int.from_bytes(self._received[:LENGTH], "little") if has_length else 0
        rest = len(self._received) - LENGTH
        # EN-062
        if size > ENROLLMENT_MAX:
            self.fault = "length-limit"
        # EN-063
        elif has_length and rest > size:
            self.fault = "trailing-bytes"
        elif fin and (not has_length or rest < size):
            self.fault = "truncated"
        elif fin:
            self.message = bytes(self._received[LENGTH:])
        if fin or self.fault is not None:
            self._received.clear()

    def end(self) -> None:
        """Note that nothing more comes, for another reason than FIN."""
        if not self.is_over:
            self.fault = "truncated"
