"""Builds what a case sends: from the words of a transcript, with the schemas.

`Scope` resolves the texts of a transcript: `$names`, and times as `now` plus an offset. Everything
is encoded by the schema codec, which decodes what it wrote, and checked with `accept`, so that the
suite never sends a wrong message by accident; one that is wrong on purpose is marked in the
transcript.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from meshwire_conformance.catalogue.circumstances import (
    AMID,
    ANY,
    APART,
    SPLIT,
    TINY,
    Circumstances,
)
from meshwire_conformance.errors import SuiteFault
from meshwire_conformance.targets.lab_records import Writing
from meshwire_spec.codec import Malformed, Message, accept, encode
from meshwire_spec.numbers import (
    BATCH_KEY,
    FRAME_TYPES,
    NEGENTROPY_KEY,
    READ_MESSAGE,
    TOMBSTONE_BATCH_KEY,
    TOMBSTONE_COLLECTION,
    FrameType,
)
from meshwire_spec.schemas.steps import FrameSpec

_NAME = re.compile(r"\$([a-z_][a-z0-9_]*)")
_TIME = re.compile(r"now(?:([+-])(\d+)(ms|s|m|h|d))?")
_MS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}


class Scope:
    """Names of one attempt at one case; `now_ms` is read once, when the case starts."""

    def __init__(self, names: Mapping[str, str], now_ms: int) -> None:
        self.names = dict(names)
        self.now_ms = now_ms

    def define(self, let: Mapping[str, str]) -> None:
        """Add names whose values may use names defined before."""
        for name, value in let.items():
            self.names[name] = self.text(value)

    def text(self, text: str) -> str:
        """Return the text with every `$name` replaced; raises SuiteFault for an unknown name."""

        def replace(match: re.Match[str]) -> str:
            try:
                return self.names[match[1]]
            except KeyError:
                raise SuiteFault(f"no name ${match[1]} in this transcript") from None

        return _NAME.sub(replace, text)

    def integer(self, value: int | str) -> int:
        """Return a number given as such, in decimal, or as a time in ms since 1970 (`now-60s`)."""
        if isinstance(value, int):
            return value
        value = self.text(value)
        match = _TIME.fullmatch(value)
        if match is None:
            try:
                return int(value)
            except ValueError:
                raise SuiteFault(f"{value!r} is neither a number nor a time") from None
        if match[1] is None:
            return self.now_ms
        offset = int(match[2]) * _MS[match[3]]
        return self.now_ms + (offset if match[1] == "+" else -offset)


TYPE_NAMES = {row.name: row.type for row in FRAME_TYPES}
_DEFAULT_KEYS = {
    FrameType.BATCH: BATCH_KEY,
    FrameType.TOMBSTONE_BATCH: TOMBSTONE_BATCH_KEY,
    FrameType.NEGENTROPY_INIT: NEGENTROPY_KEY,
    FrameType.NEGENTROPY_RESPONSE: NEGENTROPY_KEY,
}
_LENGTH = 4
"""Bytes of a length or a count."""

DocumentBytes = Callable[[str, str | None], bytes]
"""Returns the saved bytes of a named document, or a delta of it for a peer that has another."""


def type_number(name: str | int) -> int:
    """Return the number of a frame type; names are looked up in the registry."""
    if isinstance(name, int):
        return name
    try:
        return int(TYPE_NAMES[name])
    except KeyError:
        raise SuiteFault(f"no frame type {name!r}") from None


class Composer:
    """Builds the bytes of one case.

    `saved` returns the saved bytes of a document of the transcript; `delta` returns the sync
    message that brings it to a peer that has the second document (None: an empty one).
    """

    def __init__(self, scope: Scope, saved: Mapping[str, bytes], delta: DocumentBytes) -> None:
        self._scope = scope
        self._saved = saved
        self._delta = delta

    def frame(self, spec: FrameSpec) -> bytes:
        """Return the bytes of a frame; raises SuiteFault if it is wrong and not marked as wrong."""
        frame_type = type_number(spec.type)
        payload = self._payload(frame_type, spec)
        key = self._frame_key(frame_type, spec)
        known = frame_type if frame_type in _TYPES else int(FrameType.WINDOWED_HISTORY)
        if known != frame_type and not spec.wrong:
            raise SuiteFault(f"the suite would send a frame of type 0x{frame_type:02x}")
        fields = {"key": key, "type": known, "payload": payload}
        data = self._checked("stream_frame", fields, spec)
        # The schema writes no type that is not in the registry: it is replaced afterwards.
        at = len(data) - len(payload) - _LENGTH - 1
        data = data[:at] + bytes((frame_type,)) + data[at + 1 :]
        if spec.payload_length is not None:
            at = len(data) - len(payload) - _LENGTH
            data = data[:at] + spec.payload_length.to_bytes(_LENGTH, "big") + payload
        return _mutilated(data, spec)

    def _checked(self, kind: str, fields: Mapping[str, Any], spec: FrameSpec) -> bytes:
        message = Message(kind, fields)
        try:
            data = encode(message)
            reason = accept(kind, message)
        except Malformed as exc:
            raise SuiteFault(f"the suite would send a malformed {kind}: {exc}") from exc
        if reason is not None and not spec.wrong:
            raise SuiteFault(f"the suite would send a {kind} that is refused: {reason}")
        return data

    def _frame_key(self, frame_type: int, spec: FrameSpec) -> str:
        if spec.frame_key is not None:
            return self._scope.text(spec.frame_key)
        if frame_type == FrameType.TOMBSTONE and spec.hex is None:
            return f"{TOMBSTONE_COLLECTION}:{self._scope.text(spec.key)}"
        default = _DEFAULT_KEYS.get(FrameType(frame_type)) if frame_type in _TYPES else None
        return default or self._scope.text(spec.key)

    def _payload(self, frame_type: int, spec: FrameSpec) -> bytes:
        if spec.hex is not None:
            return bytes.fromhex(spec.hex)
        maker = _PAYLOADS.get(frame_type)
        if maker is None:
            raise SuiteFault(f"a frame of type 0x{frame_type:02x} needs its payload in hex")
        payload = maker(self, spec)
        for old, new in spec.replace.items():
            if bytes.fromhex(old) not in payload:
                raise SuiteFault(f"there is no {old} to replace")
            payload = payload.replace(bytes.fromhex(old), bytes.fromhex(new), 1)
        return payload[: len(payload) - spec.payload_cut]

    def _delta_payload(self, spec: FrameSpec) -> bytes:
        if spec.document is None:
            return READ_MESSAGE + bytes.fromhex(spec.extra)
        known = spec.document if spec.opening else spec.known
        return self._delta(spec.document, known) + bytes.fromhex(spec.extra)

    def _snapshot_payload(self, spec: FrameSpec) -> bytes:
        if spec.document is None:
            raise SuiteFault("a snapshot needs a document or hex")
        saved = b"".join(self._saved[name] for name in (spec.document, *spec.more))
        return saved + bytes.fromhex(spec.extra)

    def tombstone(self, spec: FrameSpec) -> bytes:
        """Return the bytes of a tombstone without a frame around it."""
        collection, _, document_id = self._scope.text(spec.key).partition(":")
        fields = {
            "collection": collection,
            "document_id": document_id,
            "deleted_at": self._scope.integer(spec.deleted_at),
            "lamport": self._scope.integer(spec.lamport),
            "deleted_by": self._scope.text(spec.deleted_by),
            "reason": self._scope.text(spec.reason),
            "direction": 0,
            "extra": b"",
        }
        data = self._checked("tombstone", fields, spec)
        # The direction is the last byte; the schema writes no value outside its registry.
        return data[:-1] + bytes((spec.direction,)) + bytes.fromhex(spec.extra)

    def _tombstones(self, spec: FrameSpec) -> bytes:
        elements = [_mutilated(self.tombstone(one), one) for one in spec.tombstones]
        count = len(elements) if spec.count is None else spec.count
        body = b"".join(len(one).to_bytes(_LENGTH, "big") + one for one in elements)
        return count.to_bytes(_LENGTH, "big") + body + bytes.fromhex(spec.extra)

    def entry(self, spec: FrameSpec) -> bytes:
        """Return bytes of an entry of a batch."""
        frame_type = type_number(spec.type)
        payload = self._payload(frame_type, spec)
        key = self._frame_key(frame_type, spec)
        fields = {"key": key, "type": frame_type, "payload": payload}
        return _mutilated(self._checked("sync_entry", fields, spec), spec)

    def _batch(self, spec: FrameSpec) -> bytes:
        header = {
            "batch_id": self._scope.integer(spec.batch_id),
            "created_at": self._scope.integer(spec.created_at),
            "ttl": spec.ttl,
            "entry_count": 0,
            "entries": (),
            "fault": None,
            "extra": b"",
        }
        entries = [self.entry(one) for one in spec.entries]
        count = len(entries) if spec.count is None else spec.count
        head = encode(Message("sync_batch", header))[:-_LENGTH]
        body = count.to_bytes(_LENGTH, "big") + b"".join(entries)
        return head + body + bytes.fromhex(spec.extra)

    def heartbeat(self, spec: FrameSpec) -> bytes:
        """Return the bytes of a heartbeat, which is sent on a uni stream without a frame."""
        fields = {
            "marker": 1,
            "sent_at": self._scope.integer(spec.sent_at),
            "extra": bytes.fromhex(spec.extra),
        }
        return _mutilated(self._checked("heartbeat", fields, spec), spec)


def _mutilated(data: bytes, spec: FrameSpec) -> bytes:
    return data[: len(data) - spec.cut] + bytes.fromhex(spec.append)


_TYPES = frozenset(FrameType)
_PAYLOADS: dict[int, Callable[[Composer, FrameSpec], bytes]] = {
    FrameType.DELTA: Composer._delta_payload,  # noqa: SLF001 - the table of this class
    FrameType.SNAPSHOT: Composer._snapshot_payload,  # noqa: SLF001
    FrameType.TOMBSTONE: Composer.tombstone,
    FrameType.TOMBSTONE_BATCH: Composer._tombstones,  # noqa: SLF001
    FrameType.BATCH: Composer._batch,  # noqa: SLF001
}


# --- Circumstances ------------------------------------------------------------------------------

WITHOUT_EFFECT = encode(
    Message(
        "stream_frame",
        {
            "key": TOMBSTONE_BATCH_KEY,
            "type": int(FrameType.TOMBSTONE_BATCH),
            "payload": bytes(_LENGTH),
        },
    )
)
"""A frame that changes nothing and has no answer: a batch of no tombstones."""
_TINY = 5
"""Bytes of data in a tiny record, fewer than the fixed fields of a frame have."""
_TINY_SPAN = 256
"""Bytes at the front of a write that go in tiny records; the rest would only cost time."""
_KEY_LENGTH, _TYPE = 2, 1
"""Bytes of these fields of a frame."""


def writing_in(circumstances: Circumstances, data: bytes) -> Writing:
    """Return how these bytes are cut into records and mixed with other streams."""
    is_tiny = circumstances.records == TINY
    cuts = range(_TINY, min(len(data), _TINY_SPAN), _TINY) if is_tiny else ()
    return Writing(circumstances.records == ANY, circumstances.interleaving == AMID, tuple(cuts))


def payload_cut(circumstances: Circumstances, data: bytes) -> int:
    """Return the number of bytes of a frame that arrive before its rest; 0 if all come at once."""
    back = _BACK.get(circumstances.payload)
    if back is None:
        return 0
    key_length = int.from_bytes(data[:_KEY_LENGTH], "big")
    cut = _KEY_LENGTH + key_length + _TYPE + _LENGTH - back
    return cut if cut < len(data) else 0


_BACK = {APART: 0, SPLIT: _LENGTH // 2}
"""Bytes between the place where a frame is cut and its payload: none, or half of its length."""
