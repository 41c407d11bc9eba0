"""The bundled codec with one fault planted: started by tests as `planted_codec.py FAULT`.

`limit:NAME+1` moves a limit of `numbers.py` before the codec reads it; `kind:KIND` reads and
writes one field of a kind wrongly, the same way in both directions, so that a round trip through
this codec alone would never notice.
"""

import sys
from collections.abc import Callable
from typing import Any

from meshwire_spec import numbers

Twist = Callable[[Any], Any]


def other_order(number: str) -> str:
    """A 64-bit number read in the other byte order; what has more bits is left as it is."""
    if int(number) >> 64:
        return number
    return str(int.from_bytes(int(number).to_bytes(8, "big"), "little"))


def backwards(text: str) -> str:
    """Bytes from their end."""
    return bytes.fromhex(text)[::-1].hex()


def next_digit(text: str) -> str:
    """Text with its first two characters swapped."""
    return text[1::-1] + text[2:]


def low_bit(number: int) -> int:
    """A small number with its lowest bit turned."""
    return number ^ 1


FIELDS: dict[str, tuple[str, Twist]] = {
    "stream_frame": ("payload", backwards),
    "sync_entry": ("key", next_digit),
    "sync_batch": ("created_at", other_order),
    "tombstone": ("lamport", other_order),
    "tombstone_batch": ("tombstones.0.deleted_by", next_digit),
    "heartbeat": ("sent_at", other_order),
    "negentropy_message": ("ranges.0.payload.fingerprint", backwards),
    "formation_id": ("formation_id", next_digit),
    "formation_challenge": ("nonce", backwards),
    "formation_challenge_h2": ("nonce", backwards),
    "formation_response": ("hmac", backwards),
    "formation_response_h2": ("hmac", backwards),
    "formation_result": ("result", low_bit),
    "channel_record": ("batch.batch_id", other_order),
    "lab_preamble": ("max_data", other_order),
    "lab_record": ("body.stream_id", other_order),
    "enrollment_request": ("timestamp", other_order),
    "enrollment_response": ("certificate.issued_at", other_order),
    "mesh_certificate": ("permissions", low_bit),
    "membership_certificate": ("expires_at", other_order),
    "mesh_genesis": ("root_secret", backwards),
    "mesh_credentials": ("mesh_id", next_digit),
}
"""The field of each kind that is twisted, and how."""


def twist(value: Any, path: list[str], how: Twist) -> Any:
    """The value with the member at a path twisted, where it has one."""
    if not path:
        return how(value)
    name, rest = path[0], path[1:]
    if isinstance(value, list):
        return [twist(value[0], rest, how), *value[1:]] if value else value
    if not isinstance(value, dict) or value.get(name) is None:
        return value
    return {**value, name: twist(value[name], rest, how)}


def plant_limit(text: str) -> None:
    """Move a limit by one; before the codec is loaded."""
    name, step = text[:-2], int(text[-2:])
    setattr(numbers, name, getattr(numbers, name) + step)


def plant_kind(kind: str) -> None:
    """Twist a field of a kind in both directions."""
    from meshwire_reference.harness import kinds  # noqa: PLC0415 - after limits were moved

    path, how = FIELDS[kind]
    to_value, from_value = kinds.to_value, kinds.from_value

    def twisted(name: str, value: Any) -> Any:
        return twist(value, path.split("."), how) if name == kind else value

    kinds.to_value = lambda name, message: twisted(name, to_value(name, message))
    kinds.from_value = lambda name, value: from_value(name, twisted(name, value))


def main(fault: str) -> None:
    """Plant the fault and serve."""
    where, _, what = fault.partition(":")
    {"limit": plant_limit, "kind": plant_kind}[where](what)
    from meshwire_reference.harness import serve as harness  # noqa: PLC0415 - after the fault was planted

    sys.exit(harness.main())


if __name__ == "__main__":
    main(sys.argv[1])
