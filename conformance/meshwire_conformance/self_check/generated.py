"""Random messages from the schema by a seeded generator, as values and as mutated bytes."""

import random
from collections.abc import Callable, Iterator
from typing import Any

from meshwire_spec import fields as blocks
from meshwire_spec.codec import encode, from_value
from meshwire_spec.errors import Malformed
from meshwire_spec.layouts import LAYOUTS, Layout, compound, reconciliation
from meshwire_spec.numbers import NEGENTROPY_FINGERPRINT, NEGENTROPY_ID, NEGENTROPY_PREFIX_MAX

LETTERS = "abz09:._-\u00e9\u4e2d\U0001f6f0 \x00"
ELEMENTS_MAX = 3
"""Most elements of a generated list."""
BYTES_MAX = 40
"""Most bytes of a generated field."""
TIME_STEP_MAX = 2**20
"""Greatest step from a timestamp to the next."""

Random = random.Random


def message_bytes(kind: str, source: Random) -> bytes | None:
    """Return the bytes of a random message, or None if the values drawn do not fit together."""
    value = _layout(LAYOUTS[kind], source)
    try:
        return encode(from_value(kind, value))
    except Malformed:
        return None


def bent(data: bytes, source: Random) -> bytes:
    """Return the bytes with one mutation: a byte changed, dropped or inserted, or an end cut."""
    if not data:
        return source.randbytes(1)
    at = source.randrange(len(data))
    return source.choice(
        (
            data[:at] + bytes([source.randrange(256)]) + data[at + 1 :],
            data[:at] + bytes([data[at] ^ (1 << source.randrange(8))]) + data[at + 1 :],
            data[:at] + data[at + 1 :],
            data[:at] + source.randbytes(1) + data[at:],
            data[:at],
            data + source.randbytes(1),
        )
    )


def samples(kind: str, count: int, source: Random) -> Iterator[bytes]:
    """Yield `count` random messages of a kind, each unchanged and with three mutations."""
    made = 0
    while made < count:
        data = message_bytes(kind, source)
        if data is not None:
            made += 1
            yield data
            for _ in range(3):
                yield bent(data, source)


def _layout(layout: Layout, source: Random) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for name, block in layout.blocks.items():
        value[name] = _value(block, value, source)
    return value


def _value(block: Any, before: dict[str, Any], source: Random) -> Any:
    for kind, make in MAKERS:
        if isinstance(block, kind):
            return make(block, before, source)
    raise TypeError(f"{type(block).__name__} has no maker")


def _number(block: Any, before: dict[str, Any], source: Random) -> Any:
    number = source.choice((0, 1, block.maximum, source.randint(0, block.maximum)))
    return block.to_json(number)


def _text(source: Random, most: int) -> str:
    return "".join(source.choice(LETTERS) for _ in range(source.randint(0, most)))


def _elements(block: Any, before: dict[str, Any], source: Random) -> Any:
    return [_layout(block.layout, source) for _ in range(int(before[block.count]))]


def _when(block: Any, before: dict[str, Any], source: Random) -> Any:
    return _value(block.block, before, source) if before[block.flag] == 1 else None


def _body(block: Any, before: dict[str, Any], source: Random) -> Any:
    return _layout(block.cases[before[block.tag]], source)


def _rest(block: Any, before: dict[str, Any], source: Random) -> Any:
    if block.is_text:
        return _text(source, ELEMENTS_MAX)
    return source.randbytes(source.choice((0, 0, 3))).hex()


def _ranges(block: Any, before: dict[str, Any], source: Random) -> Any:
    time, found = 0, []
    for _ in range(source.randint(0, ELEMENTS_MAX)):
        time += source.randint(0, TIME_STEP_MAX)
        prefix = source.randbytes(source.randint(0, NEGENTROPY_PREFIX_MAX)).hex()
        found.append({"upper": {"timestamp": str(time), "prefix": prefix}, **_payload(source)})
    if source.randrange(2):
        found.append({"upper": {"timestamp": None, "prefix": ""}, **_payload(source)})
    return found


def _payload(source: Random) -> dict[str, Any]:
    ids = [source.randbytes(NEGENTROPY_ID).hex() for _ in range(source.randint(0, ELEMENTS_MAX))]
    fingerprint = source.randbytes(NEGENTROPY_FINGERPRINT).hex()
    mode = source.randrange(3)
    return {"mode": mode, "payload": (None, {"fingerprint": fingerprint}, {"ids": ids})[mode]}


Maker = Callable[[Any, dict[str, Any], Random], Any]
MAKERS: tuple[tuple[type, Maker], ...] = (
    (blocks.Constant, lambda b, _v, _s: b.value),
    (blocks.Choice, lambda b, _v, s: s.choice(sorted(b.legal))),
    (blocks.Flag, lambda _b, _v, s: s.randrange(2)),
    (blocks.Count, lambda _b, _v, s: s.randint(0, ELEMENTS_MAX)),
    (blocks.Number, _number),
    (blocks.Chars, lambda b, _v, s: "".join(s.choice("09AF") for _ in range(b.size))),
    (blocks.Fixed, lambda b, _v, s: (b.value or s.randbytes(b.size)).hex()),
    (blocks.Text, lambda _b, _v, s: _text(s, BYTES_MAX // 8)),
    (blocks.Blob, lambda _b, _v, s: s.randbytes(s.randint(0, BYTES_MAX)).hex()),
    (blocks.Rest, _rest),
    (compound.Nested, lambda b, _v, s: _layout(b.layout, s)),
    (compound.When, _when),
    (compound.Elements, _elements),
    (compound.Fault, lambda _b, _v, _s: None),
    (compound.Body, _body),
    (reconciliation.Ranges, _ranges),
)
"""Functions that draw a value, by the type of the block; the first match is used."""
