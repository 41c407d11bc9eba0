"""The table of faults that can be planted in the codec: one at least a kind and a limit.

`field` is what a report on the fault has to name, as the pages spell it, with `[]` for the index
of an element.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Final

from codec_patches import (
    Plant,
    accepting,
    any_single_byte,
    as_double,
    as_signed,
    backwards,
    counting_characters,
    counting_decoded_characters,
    cut_short,
    dropped,
    listed,
    member,
    message,
    moved,
    named,
    not_closed,
    order,
    other_order,
    replacing,
    swapped,
    taking_empty,
    text,
    wire,
    with_surrogates,
    without_extra,
)

from meshwire_spec import numbers

END: Final = "end of the message"
"""Where a report points when bytes follow the last field."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One mistake: in which kind or at which limit, what it does, and the field to be named."""

    name: str
    kind: str
    breaks: str
    field: str
    plant: Plant
    limit: str = ""


# --- Mistakes of one kind -----------------------------------------------------------------


def _from_header(batch: Any) -> Any:
    """A batch whose fault is counted from behind its header."""
    if batch.fault is None:
        return batch
    header = wire("batches").BATCH_HEADER.size
    return replace(batch, fault=replace(batch.fault, offset=batch.fault.offset - header))


def _from_batch(record: Any) -> Any:
    """A record whose fault is counted from the start of its batch."""
    if record.batch.fault is None:
        return record
    header = wire("batches").RECORD_HEADER
    fault = replace(record.batch.fault, offset=record.batch.fault.offset - header)
    return replace(record, batch=replace(record.batch, fault=fault))


def _only_whole(batch: Any) -> Any:
    """A batch that is cut to what stands before its fault, as if there were none."""
    return batch if batch.fault is None else replace(batch, fault=None)


def _each_from_zero(reader: Any, previous: int) -> int | None:
    """The timestamp of a bound as if it were absolute."""
    step: int = wire("reconciliation").read_varint(reader, "upper.timestamp")
    return None if step == 0 else step - 1


def _low_digits_first(reader: Any, field: str) -> int:
    """A varint with its least significant digits first, as LEB128 has it."""
    value, shift = 0, 0
    while True:
        byte: int = reader.number(wire("cursor").U8, field)
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return value


def _any_length(reader: Any, field: str) -> int:
    """A varint that may begin with zeros and be of any size."""
    value = 0
    while True:
        byte: int = reader.number(wire("cursor").U8, field)
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            return value & numbers.U64_MAX


def _present_if_not_zero() -> None:
    """Flags of which every value but 0 is present."""
    enrollment = wire("enrollment")

    class NotZero(int):
        """Equal to every flag that is set."""

        def __eq__(self, other: object) -> bool:
            return bool(other)

        __hash__ = int.__hash__

    enrollment.PRESENT = NotZero(1)


def _keyed_by_secret_alone() -> None:
    """A proof whose key does not depend on the formation."""
    from meshwire_reference.core.formation import FormationKey  # noqa: PLC0415 - loads cryptography

    derive = FormationKey.derive.__func__

    def without_salt(cls: Any, formation_id: str, secret: bytes) -> Any:
        return replace(derive(cls, "", secret), formation_id=formation_id)

    FormationKey.derive = classmethod(without_salt)


def _challenge_alone(reader: Any) -> Any:
    """A challenge without a look at what follows it."""
    handshake, cursor = wire("handshake"), wire("cursor")
    formation_id = reader.text(cursor.U16_LE, "formation_id")
    return handshake.FormationChallenge(formation_id, reader.fixed(numbers.NONCE, "nonce"))


def _alone(reason: str) -> Any:
    """Let through whatever is refused for one reason."""
    return lambda _content, given: given == reason


KIND_FAULTS: Final = (
    # stream_frame
    Fault("frame-payload-length-order", "stream_frame", "reads the length of a payload from its "
          "low byte", "payload.length", order("stream_frame", "payload.length")),
    Fault("frame-key-replaced", "stream_frame", "puts marks in the place of bad UTF-8", "key",
          text("stream_frame", "key", replacing)),
    Fault("frame-type-any", "stream_frame", "takes frames of every type", "type",
          named("batches", "FRAME_TYPES", range(256))),
    Fault("frame-type-no-ack", "stream_frame", "does not know the type 0x06", "type",
          named("batches", "FRAME_TYPES", frozenset(numbers.FrameType) - {6})),
    Fault("frame-trailing", "stream_frame", "ignores bytes behind a frame", END,
          not_closed("stream_frame")),
    Fault("frame-bad-key", "stream_frame", "does not know the grammar of keys", "key",
          accepting("stream_frame", _alone("bad-key"))),
    # sync_entry
    Fault("entry-key-length-order", "sync_entry", "reads the length of a key from its low byte",
          "key.length", order("sync_entry", "key.length")),
    Fault("entry-key-surrogates", "sync_entry", "takes surrogates in a key", "key",
          text("sync_entry", "key", with_surrogates)),
    Fault("entry-type-any", "sync_entry", "takes entries of every type", "type",
          accepting("sync_entry", _alone("unknown-type"))),
    Fault("entry-trailing", "sync_entry", "ignores bytes behind an entry", END,
          not_closed("sync_entry")),
    # sync_batch
    Fault("batch-created-at-order", "sync_batch", "reads the time from its low byte",
          "created_at", member("sync_batch", "created_at", other_order)),
    Fault("batch-id-double", "sync_batch", "carries the batch id as a float", "batch_id",
          member("sync_batch", "batch_id", as_double)),
    Fault("batch-key-replaced", "sync_batch", "puts marks in the place of bad UTF-8",
          "entries[].key",
          named("batches", "str", lambda content, _: str(content, "utf-8", "replace"))),
    Fault("batch-fault-offset", "sync_batch", "counts the offset of a fault behind the header",
          "fault.offset", message("sync_batch", _from_header)),
    Fault("batch-fault-silent", "sync_batch", "keeps what stands before a fault and forgets the "
          "fault", "fault", message("sync_batch", _only_whole)),
    Fault("batch-extra-refused", "sync_batch", "refuses bytes behind the last entry", "extra",
          without_extra("sync_batch")),
    # tombstone
    Fault("tombstone-lamport-order", "tombstone", "reads the lamport clock from its low byte",
          "lamport", order("tombstone", "lamport")),
    Fault("tombstone-clocks-swapped", "tombstone", "takes time and lamport clock for each other",
          "deleted_at", swapped("tombstone", "deleted_at", "lamport")),
    Fault("tombstone-direction-any", "tombstone", "takes an unknown direction for the first",
          "direction", listed("tombstone", "direction", range(256), 0)),
    Fault("tombstone-direction-no-last", "tombstone", "does not know the last direction",
          "direction", listed("tombstone", "direction", range(3))),
    Fault("tombstone-extra-refused", "tombstone", "refuses bytes behind the direction", "extra",
          without_extra("tombstone")),
    Fault("tombstone-control-characters", "tombstone", "takes control characters in a document id",
          "document_id", named("accept", "has_control", lambda _text: False)),
    Fault("tombstone-author-replaced", "tombstone", "puts marks in the place of bad UTF-8",
          "deleted_by", text("tombstone", "deleted_by", replacing)),
    # tombstone_batch
    Fault("tombstones-length-order", "tombstone_batch", "reads the length of an element from its "
          "low byte", "tombstones[].length", order("tombstone_batch", "tombstones[].length")),
    Fault("tombstones-time-signed", "tombstone_batch", "reads times with a sign",
          "tombstones[].deleted_at", member("tombstone_batch", "tombstones.deleted_at", as_signed)),
    Fault("tombstones-extra-refused", "tombstone_batch", "refuses bytes behind the last element",
          "extra", without_extra("tombstone_batch")),
    Fault("tombstones-fault-silent", "tombstone_batch", "keeps what stands before a fault and "
          "forgets the fault", "fault", message("tombstone_batch", _only_whole)),
    # heartbeat
    Fault("heartbeat-order", "heartbeat", "reads the time from its low byte", "sent_at",
          order("heartbeat", "sent_at")),
    Fault("heartbeat-signed", "heartbeat", "reads the time with a sign", "sent_at",
          member("heartbeat", "sent_at", as_signed)),
    Fault("heartbeat-marker-any", "heartbeat", "takes every marker", "marker",
          listed("heartbeat", "marker", range(256), 1)),
    Fault("heartbeat-extra-refused", "heartbeat", "refuses bytes behind the time", "extra",
          without_extra("heartbeat")),
    # negentropy_message
    Fault("negentropy-fingerprint-backwards", "negentropy_message", "turns fingerprints round",
          "ranges[].payload.fingerprint",
          member("negentropy_message", "ranges.payload.fingerprint", backwards)),
    Fault("negentropy-timestamp-absolute", "negentropy_message", "does not add up timestamps",
          "ranges[].upper.timestamp", named("reconciliation", "_read_timestamp", _each_from_zero)),
    Fault("negentropy-varint-order", "negentropy_message", "reads varints from their low digits",
          "ranges[].upper.timestamp", named("reconciliation", "read_varint", _low_digits_first)),
    Fault("negentropy-varint-padded", "negentropy_message", "takes varints that are not minimal",
          "ranges[].upper.timestamp", named("reconciliation", "read_varint", _any_length)),
    Fault("negentropy-bounds-any", "negentropy_message", "takes bounds that do not increase",
          "ranges[].upper.prefix", accepting("negentropy_message", _alone("bad-bound"))),
    Fault("negentropy-version-any", "negentropy_message", "takes every version", "version",
          listed("negentropy_message", "version", range(256), numbers.NEGENTROPY_VERSION)),
    Fault("negentropy-fingerprint-cut", "negentropy_message", "fills up a cut fingerprint",
          "ranges[].payload.fingerprint", cut_short("negentropy_message", "payload.fingerprint")),
    # formation_id
    Fault("formation-length-order", "formation_id", "reads the length from its high byte",
          "formation_id.length", order("formation_id", "formation_id.length")),
    Fault("formation-latin", "formation_id", "reads bytes as Latin-1", "formation_id",
          text("formation_id", "formation_id", any_single_byte)),
    Fault("formation-trailing", "formation_id", "ignores bytes behind the id", END,
          not_closed("formation_id")),
    # formation_challenge, formation_challenge_h2
    Fault("challenge-nonce-backwards", "formation_challenge", "turns the nonce round", "nonce",
          member("formation_challenge", "nonce", backwards)),
    Fault("challenge-nonce-cut", "formation_challenge", "fills up a cut nonce", "nonce",
          cut_short("formation_challenge", "nonce")),
    Fault("challenge-h2-length-order", "formation_challenge_h2", "reads the length from its high "
          "byte", "length", order("formation_challenge_h2", "length")),
    Fault("challenge-h2-not-filled", "formation_challenge_h2", "ignores bytes inside the length",
          END, named("handshake", "_read_challenge", _challenge_alone)),
    Fault("challenge-h2-trailing", "formation_challenge_h2", "ignores bytes behind the length",
          END, not_closed("formation_challenge_h2")),
    # formation_response, formation_response_h2, formation_result
    Fault("response-backwards", "formation_response", "turns the proof round", "hmac",
          member("formation_response", "hmac", backwards)),
    Fault("response-cut", "formation_response", "fills up a cut proof", "hmac",
          cut_short("formation_response", "hmac")),
    Fault("response-unsalted", "formation_response", "derives the key without the formation",
          "hmac", _keyed_by_secret_alone),
    Fault("response-h2-length-order", "formation_response_h2", "reads the length from its high "
          "byte", "length", order("formation_response_h2", "length")),
    Fault("response-h2-extra-refused", "formation_response_h2", "refuses bytes behind the proof",
          "extra", without_extra("formation_response_h2")),
    Fault("result-as-flag", "formation_result", "reads every other number as 1", "result",
          member("formation_result", "result", lambda number: min(number, 1))),
    Fault("result-trailing", "formation_result", "ignores bytes behind the result", END,
          not_closed("formation_result")),
    # channel_record
    Fault("record-marker-any", "channel_record", "takes every marker", "marker",
          listed("channel_record", "marker", range(256), numbers.CHANNEL_MARKER)),
    Fault("record-length-order", "channel_record", "reads the length from its low byte",
          "batch.length", order("channel_record", "batch.length")),
    Fault("record-fault-offset", "channel_record", "counts the offset of a fault in the batch",
          "batch.fault.offset", message("channel_record", _from_batch)),
    Fault("record-trailing", "channel_record", "ignores bytes behind the batch", END,
          not_closed("channel_record")),
    # lab_preamble
    Fault("preamble-magic-any", "lab_preamble", "takes every magic", "magic", named(
        "lab", "LAB_MAGIC", type("AnyMagic", (bytes,), {"__ne__": lambda *_: False})(b"MWLB"))),
    Fault("preamble-version-any", "lab_preamble", "takes every version", "version",
          listed("lab_preamble", "version", range(256), numbers.LAB_VERSION)),
    Fault("preamble-windows-swapped", "lab_preamble", "takes the two stream windows for each other",
          "max_streams_bidi", swapped("lab_preamble", "max_streams_bidi", "max_streams_uni")),
    Fault("preamble-data-order", "lab_preamble", "reads a window from its low byte", "max_data",
          order("lab_preamble", "max_data")),
    # lab_record
    Fault("record-fin-any", "lab_record", "takes every flag that is not 0 for FIN", "body.fin",
          listed("lab_record", "fin", range(256), 1)),
    Fault("record-code-swapped", "lab_record", "takes stream and code for each other",
          "body.stream_id", swapped("lab_record", "stream_id", "code", at="body")),
    Fault("record-type-any", "lab_record", "takes unknown types for CLOSE", "type",
          listed("lab_record", "type", range(256), numbers.LabRecordType.CLOSE)),
    Fault("record-reason-replaced", "lab_record", "puts marks in the place of bad UTF-8",
          "body.reason", text("lab_record", "reason", replacing)),
    Fault("record-body-not-filled", "lab_record", "ignores bytes inside the body", "body",
          not_closed("lab_record", outer=False)),
    # enrollment_request, enrollment_response
    Fault("request-token-length-order", "enrollment_request", "reads the length from its high byte",
          "token.length", order("enrollment_request", "token.length")),
    Fault("request-tier-any", "enrollment_request", "takes an unknown tier for the last", "tier",
          listed("enrollment_request", "tier", range(256), numbers.Tier.EDGE)),
    Fault("request-time-double", "enrollment_request", "carries the time as a float", "timestamp",
          member("enrollment_request", "timestamp", as_double)),
    Fault("response-status-no-last", "enrollment_response", "does not know the last status",
          "status", listed("enrollment_response", "status", range(3))),
    Fault("response-flag-not-zero", "enrollment_response", "takes every flag but 0 for present",
          "has_certificate", _present_if_not_zero),
    Fault("response-certificate-not-filled", "enrollment_response", "ignores bytes behind the "
          "certificate", "certificate", not_closed("enrollment_response", outer=False)),
    Fault("response-time-order", "enrollment_response", "reads the time from its high byte",
          "timestamp", order("enrollment_response", "timestamp")),
    # mesh_certificate, membership_certificate
    Fault("certificate-times-swapped", "mesh_certificate", "takes the two times for each other",
          "issued_at", swapped("mesh_certificate", "issued_at", "expires_at")),
    Fault("certificate-permissions-masked", "mesh_certificate", "drops the high permissions",
          "permissions", member("mesh_certificate", "permissions", lambda number: number & 0x0F)),
    Fault("certificate-tier-any", "mesh_certificate", "takes an unknown tier for the first",
          "tier", listed("mesh_certificate", "tier", range(256), numbers.Tier.ENTERPRISE)),
    Fault("membership-time-signed", "membership_certificate", "reads a time with a sign",
          "expires_at", member("membership_certificate", "expires_at", as_signed)),
    Fault("membership-callsign-latin", "membership_certificate", "reads bytes as Latin-1",
          "callsign", text("membership_certificate", "callsign", any_single_byte)),
    Fault("membership-trailing", "membership_certificate", "ignores bytes behind the signature",
          END, not_closed("membership_certificate")),
    # mesh_genesis, mesh_credentials
    Fault("genesis-secrets-swapped", "mesh_genesis", "takes the two secrets for each other",
          "root_secret", swapped("mesh_genesis", "root_secret", "authority_secret")),
    Fault("genesis-policy-any", "mesh_genesis", "takes an unknown policy for the strictest",
          "policy", listed("mesh_genesis", "policy", range(256), numbers.MeshPolicy.STRICT)),
    Fault("credentials-name-length-order", "mesh_credentials", "reads the length from its high "
          "byte", "name.length", order("mesh_credentials", "name.length")),
    Fault("credentials-policy-no-last", "mesh_credentials", "does not know the last policy",
          "policy", listed("mesh_credentials", "policy", range(2))),
    Fault("credentials-id-replaced", "mesh_credentials", "puts marks in the place of bad UTF-8",
          "mesh_id", text("mesh_credentials", "mesh_id", replacing)),
)  # fmt: skip
"""Mistakes of one kind each."""


# --- Limits -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Bound:
    """A maximum (or minimum) of `numbers` with the field it limits in each kind."""

    limit: str
    constant: str
    fields: tuple[tuple[str, str], ...]


BOUNDS: Final = (
    Bound("payload", "PAYLOAD_MAX",
          (("stream_frame", "payload.length"), ("sync_entry", "payload.length"))),
    Bound("document key", "DOCUMENT_KEY_MAX", (("stream_frame", "key"), ("sync_entry", "key"))),
    Bound("frame key", "FRAME_KEY_MAX", (("stream_frame", "key"), ("sync_entry", "key"))),
    Bound("collection", "COLLECTION_MAX", (("tombstone", "collection"),)),
    Bound("document id", "DOCUMENT_ID_MAX", (("tombstone", "document_id"),)),
    Bound("author", "AUTHOR_MAX", (("tombstone", "deleted_by"),)),
    Bound("deletion reason", "REASON_MAX", (("tombstone", "reason"),)),
    Bound("negentropy prefix", "NEGENTROPY_PREFIX_MAX",
          (("negentropy_message", "ranges[].upper.prefix"),)),
    Bound("formation id", "FORMATION_ID_MAX",
          (("formation_id", "formation_id"), ("formation_challenge", "formation_id"),
           ("formation_challenge_h2", "formation_id"))),
    Bound("H2 challenge", "CHALLENGE_H2_MAX", (("formation_challenge_h2", "length"),)),
    Bound("H2 response", "RESPONSE_H2_MAX", (("formation_response_h2", "length"),)),
    Bound("H2 response", "RESPONSE_H2_MIN", (("formation_response_h2", "length"),)),
    Bound("callsign", "CALLSIGN_MAX", (("membership_certificate", "callsign"),)),
    Bound("lab record body", "LAB_RECORD_MAX", (("lab_record", "body.length"),)),
    Bound("close reason", "CLOSE_REASON_MAX", (("lab_record", "body.reason"),)),
    Bound("negentropy timestamp", "NEGENTROPY_TIMESTAMP_MAX",
          (("negentropy_message", "ranges[].upper.timestamp"),)),
    Bound("sync_batch", "ENTRY_MIN", (("sync_batch", "entry_count"),)),
    Bound("tombstone_batch", "TOMBSTONE_ELEMENT_MIN", (("tombstone_batch", "tombstone_count"),)),
)  # fmt: skip
"""Limits that stand in `numbers`; a count is bounded by the smallest size of its elements."""


def _ids_of_at_least(size: int) -> Plant:
    """Ids of a range whose count is bounded as if each had another size."""

    def read(reader: Any) -> Any:
        module = wire("reconciliation")
        start = reader.position
        count = module.read_varint(reader, "payload.count")
        if count * size > reader.remaining():
            raise reader.fault("count-limit", "payload.count", start)
        content = reader.fixed(count * numbers.NEGENTROPY_ID, "payload.ids")
        step = numbers.NEGENTROPY_ID
        return module.IdList(tuple(content[at : at + step] for at in range(0, len(content), step)))

    return named("reconciliation", "_read_ids", read)


def _close_reason(record: Any) -> str | None:
    return getattr(record.body, "reason", None)


def _bound_faults() -> Iterator[Fault]:
    for bound in BOUNDS:
        name = bound.constant.lower().replace("_", "-")
        for number, (kind, field) in enumerate(bound.fields):
            tail = f"-{kind}" if number else ""
            for by, says in ((1, "one more"), (-1, "one less")):
                breaks = f"has the {bound.limit} limit {bound.constant} at {says}"
                yield Fault(
                    f"{name}{by:+d}{tail}",
                    kind, breaks, field, moved(bound.constant, by), bound.limit,
                )  # fmt: skip
        if not bound.constant.endswith("_MIN"):
            kind, field = bound.fields[0]
            breaks = f"does not hold {bound.limit} against {bound.constant}"
            plant = dropped(bound.constant)
            yield Fault(f"{name}-dropped", kind, breaks, field, plant, bound.limit)


IDS: Final = "ranges[].payload.ids"
KEY_ROWS: Final = (("stream_frame", "frame"), ("sync_entry", "entry"))
BYTES: Final = "counts characters instead of bytes"

LIMIT_FAULTS: Final = (
    *_bound_faults(),
    Fault("negentropy-ids-31", "negentropy_message", "takes ids to be one byte shorter", IDS,
          _ids_of_at_least(31), "negentropy_message"),
    Fault("negentropy-ids-33", "negentropy_message", "takes ids to be one byte longer",
          "ranges[].payload.count", _ids_of_at_least(33), "negentropy_message"),
    Fault("negentropy-ids-dropped", "negentropy_message", "does not bound the count of ids", IDS,
          _ids_of_at_least(0), "negentropy_message"),
    Fault("entries-dropped", "sync_batch", "does not bound the count of entries", "entry_count",
          named("batches", "ENTRY_MIN", 1e-9), "sync_batch"),
    Fault("tombstones-dropped", "tombstone_batch", "does not bound the count of tombstones",
          "tombstone_count", named("tombstones", "TOMBSTONE_ELEMENT_MIN", 1e-9), "tombstone_batch"),
    Fault("h2-response-short", "formation_response_h2", "takes a response of any length",
          "length", moved("RESPONSE_H2_MIN", -numbers.RESPONSE_H2_MIN), "H2 response"),
    *(Fault(f"{short}-key-empty", kind, "takes an empty key", "key", taking_empty(kind, "key"),
            "document key") for kind, short in KEY_ROWS),
    Fault("collection-empty", "tombstone", "takes an empty collection", "collection",
          taking_empty("tombstone", "collection"), "collection"),
    Fault("document-id-empty", "tombstone", "takes an empty document id", "document_id",
          taking_empty("tombstone", "document_id"), "document id"),
    Fault("author-empty", "tombstone", "takes an empty author", "deleted_by",
          taking_empty("tombstone", "deleted_by"), "author"),
    *(Fault(f"{short}-key-characters", kind, BYTES, "key",
            counting_characters(kind, "key", numbers.DOCUMENT_KEY_MAX), "document key")
      for kind, short in KEY_ROWS),
    Fault("document-id-characters", "tombstone", BYTES, "document_id",
          counting_characters("tombstone", "document_id", numbers.DOCUMENT_ID_MAX), "document id"),
    Fault("author-characters", "tombstone", BYTES, "deleted_by",
          counting_characters("tombstone", "deleted_by", numbers.AUTHOR_MAX), "author"),
    Fault("reason-characters", "tombstone", BYTES, "reason",
          counting_characters("tombstone", "reason", numbers.REASON_MAX), "deletion reason"),
    *(Fault(f"{kind.replace('_', '-')}-characters", kind, BYTES, "formation_id",
            counting_characters(kind, "formation_id", numbers.FORMATION_ID_MAX), "formation id")
      for kind in ("formation_id", "formation_challenge", "formation_challenge_h2")),
    Fault("callsign-characters", "membership_certificate", BYTES, "callsign",
          counting_decoded_characters("membership_certificate", "CALLSIGN_MAX",
                                      lambda found: found.callsign), "callsign"),
    Fault("close-reason-characters", "lab_record", BYTES, "body.reason",
          counting_decoded_characters("lab_record", "CLOSE_REASON_MAX", _close_reason),
          "close reason"),
)  # fmt: skip
"""Limits that are off by one, gone, or held against something else."""

FAULTS: Final = {fault.name: fault for fault in (*KIND_FAULTS, *LIMIT_FAULTS)}
assert len(FAULTS) == len(KIND_FAULTS) + len(LIMIT_FAULTS), "a name is given twice"
