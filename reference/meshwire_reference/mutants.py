"""The table of switches: the rule that each breaks, and what a node then does.

Read by the suite's own tests, which start a node with one switch turned (`MESHWIRE_MUTANT`, names
separated by commas) and look which case turns red.
"""

from dataclasses import dataclass
from typing import Final

from meshwire_reference.core.switches import Switch


@dataclass(frozen=True, slots=True)
class Mutant:
    """One switch with the rule it breaks."""

    switch: Switch
    rule: str
    breaks: str


class UnknownMutant(Exception):
    """A name that is not in the table."""


MUTANTS: Final = (
    Mutant(Switch.NO_BARRIER, "TR-020", "never finishes its half of a stream"),
    Mutant(Switch.REPEAT_FRAME, "TR-004", "sends each frame twice on its stream"),
    Mutant(Switch.FIN_BEFORE_FIN, "TR-021", "finishes its half after the first frame"),
    Mutant(Switch.FIN_BEFORE_EFFECT, "TR-020", "finishes before the frames have taken effect"),
    Mutant(Switch.ONE_FRAME_PER_STREAM, "TR-005", "drops all but the first frame of a stream"),
    Mutant(Switch.ANSWER_ON_SAME_STREAM, "TR-008", "answers on the stream that asked"),
    Mutant(
        Switch.HOLD_STREAM_WHILE_ANSWERING, "TR-022", "finishes only when its answers have left"
    ),
    Mutant(Switch.UNI_NOT_DRAINED, "TR-003", "never reads uni streams"),
    Mutant(Switch.NO_STALL_DEADLINE, "TR-012", "waits for ever inside a frame"),
    Mutant(Switch.DEADLINE_BETWEEN_FRAMES, "TR-013", "runs the deadline between frames too"),
    Mutant(Switch.NO_SIZE_CAP, "FR-004", "waits for a payload of any announced size"),
    Mutant(Switch.ACCEPT_UNKNOWN_TYPE, "FR-011", "ignores frames of unknown types"),
    Mutant(Switch.REFUSE_IGNORED_TYPES, "FR-012", "refuses 0x02 and 0x06"),
    Mutant(Switch.ACCEPT_LONG_KEY, "FR-020", "takes keys of any length"),
    Mutant(Switch.ACCEPT_BAD_KEY, "FR-022", "takes keys outside the grammar"),
    Mutant(Switch.BATCH_FAILS_WHOLE, "BT-013", "drops a batch with a fault or an unknown entry"),
    Mutant(Switch.REFUSE_OLD_BATCH, "BT-017", "refuses a batch with the id 0 or the ttl 0"),
    Mutant(Switch.ACCEPT_CREATED_AHEAD, "BT-018", "takes batches from the far future"),
    Mutant(Switch.REFUSE_SKIPPED_ENTRY, "BT-021", "refuses a batch for one entry that fails"),
    Mutant(Switch.FIRST_TOMBSTONE_WINS, "TS-004", "keeps the first tombstone for ever"),
    Mutant(Switch.TOMBSTONE_FROM_KEY, "TS-012", "takes the document from the key of the frame"),
    Mutant(Switch.APPLY_ANY_TOMBSTONE, "TS-031", "obeys tombstones in every collection"),
    Mutant(Switch.APPLY_EXPIRED_TOMBSTONE, "TS-032", "obeys tombstones of any age"),
    Mutant(Switch.KEEP_TOMBSTONE_EXTRA, "TS-036", "sends on the bytes behind a tombstone"),
    Mutant(Switch.TOMBSTONE_NOT_RELAYED, "TS-037", "tells nobody of a tombstone"),
    Mutant(Switch.TOMBSTONE_ECHO, "TS-038", "sends a tombstone back to where it came from"),
    Mutant(Switch.NO_GUARD, "TS-040", "lets deltas and snapshots bring a document back"),
    Mutant(Switch.NO_GUARD_ANSWER, "TS-041", "stops frames for a tombstoned key silently"),
    Mutant(Switch.DOCUMENTS_BEFORE_TOMBSTONES, "TS-042", "offers documents before tombstones"),
    Mutant(Switch.NO_TOMBSTONE_OFFER, "TS-042", "offers no tombstones to a new peer"),
    Mutant(Switch.ACCEPT_BAD_MARKER, "LV-002", "takes anything on a uni stream"),
    Mutant(Switch.SAME_NONCE, "HS-031", "challenges with the same nonce each time"),
    Mutant(Switch.ACCEPT_WRONG_HMAC, "HS-033", "accepts every response"),
    Mutant(Switch.ACCEPT_WRONG_FORMATION_ID, "HS-034", "does not compare the formation"),
    Mutant(Switch.NO_HANDSHAKE_DEADLINE, "HS-035", "waits for ever in the handshake"),
    Mutant(Switch.CLOSE_BEFORE_RESULT, "HS-036", "closes without giving the result"),
    Mutant(Switch.RESULT_UNFINISHED, "HS-042", "never finishes the handshake stream"),
    Mutant(Switch.SYNC_BEFORE_HANDSHAKE, "HS-037", "reads frames before the result"),
    Mutant(Switch.SILENT_UNKNOWN_READ, "DC-003", "does not answer a read of an unknown key"),
    Mutant(Switch.ANSWER_FIRST_READ_ONLY, "DC-002", "answers only the first read of a key"),
    Mutant(Switch.CREATE_ON_READ, "DC-004", "offers a document that was only read"),
    Mutant(Switch.SILENT_TOMBSTONED_READ, "DC-005", "does not answer reads of a deleted key"),
    Mutant(Switch.IGNORE_DELTA, "DC-010", "ignores deltas that are no reads"),
    Mutant(Switch.IGNORE_SNAPSHOT, "DC-020", "ignores snapshots"),
    Mutant(Switch.IGNORE_BAD_DOCUMENT, "DC-013", "ignores what Automerge refuses"),
    Mutant(Switch.NO_SNAPSHOT_ANSWER, "DC-024", "does not answer a snapshot that lacks changes"),
    Mutant(Switch.NO_RELAY, "DC-030", "passes no change on"),
    Mutant(Switch.ECHO_TO_SOURCE, "DC-031", "sends a change back to where it came from"),
    Mutant(Switch.RELAY_UNCHANGED, "DC-032", "passes on what changed nothing"),
    Mutant(Switch.RELAY_ALWAYS_DELTA, "DC-033", "passes every document on as a delta"),
    Mutant(Switch.RELAY_ALWAYS_SNAPSHOT, "DC-034", "passes every document on as a snapshot"),
    Mutant(Switch.NO_INITIAL_PUSH, "DC-035", "offers no documents to a new peer"),
    Mutant(Switch.NO_REFUSAL_CODE, "ER-010", "refuses with the code 0"),
    Mutant(Switch.FINISH_REFUSED, "ER-011", "finishes its half of a refused stream"),
    Mutant(Switch.APPLY_AFTER_FAULT, "ER-014", "lets frames after a fault take effect"),
    Mutant(Switch.FAULT_CLOSES_ALL, "ER-017", "turns all peers away for one's fault"),
    Mutant(Switch.CLOSE_ON_REFUSAL, "ER-016", "closes the connection for a refused stream"),
    Mutant(Switch.IGNORE_NEGENTROPY, "NG-012", "ignores 0x08 and 0x09"),
    Mutant(Switch.NO_RECONCILIATION, "NG-014", "offers no reconciliation, and says so"),
    Mutant(Switch.NEGENTROPY_ONE_REPLY, "NG-014", "ends a run with its first reply"),
    Mutant(Switch.NEGENTROPY_ON_NEW_STREAM, "NG-014", "replies on streams of its own"),
    Mutant(Switch.NEGENTROPY_NOW, "NG-015", "lists its documents with the time of the listing"),
    Mutant(Switch.NEGENTROPY_WITH_TOMBSTONED, "NG-015", "lists what a tombstone has removed"),
    Mutant(Switch.NEGENTROPY_STALE, "NG-015", "lists its documents at its first run only"),
    Mutant(Switch.NEGENTROPY_ID_OF_HEADS, "NG-015", "makes ids of more than the key"),
    Mutant(Switch.NEGENTROPY_BY_PEER, "NG-016", "keeps one run a peer"),
    Mutant(Switch.NEGENTROPY_RESTART, "NG-017", "begins a run with any message, at any time"),
    Mutant(Switch.NEGENTROPY_ANY_SIZE, "NG-018", "waits for a message of any announced size"),
    Mutant(Switch.NEGENTROPY_NO_FRAME_LIMIT, "NG-019", "answers in messages of any size"),
    Mutant(Switch.NEGENTROPY_NO_PROGRESS_CHECK, "NG-020", "goes on though nothing is settled"),
    Mutant(Switch.NEGENTROPY_ENDLESS, "NG-021", "takes any number of rounds"),
    Mutant(Switch.NEGENTROPY_IGNORE_BAD, "NG-022", "ignores a message that does not decode"),
    Mutant(Switch.NEGENTROPY_DELETE_MISSING, "NG-023", "deletes what its peer does not hold"),
    Mutant(Switch.LAB_LATE_PREAMBLE, "LB-001", "waits for the preamble of its peer before its own"),
    Mutant(Switch.LAB_ANY_MAGIC, "LB-002", "takes a preamble with any magic"),
    Mutant(Switch.LAB_ANY_VERSION, "LB-003", "takes a preamble of any version"),
    Mutant(Switch.LAB_GARBAGE_ALPN, "LB-004", "takes an ALPN that is not UTF-8"),
    Mutant(Switch.LAB_ANY_ALPN, "LB-005", "takes a preamble of any ALPN"),
    Mutant(Switch.LAB_NO_DEADLINE, "LB-008", "waits for ever for a preamble"),
    Mutant(Switch.LAB_LATE_CHECK, "LB-009", "judges a preamble only when it is whole"),
    Mutant(Switch.LAB_BYTE_TOO_MANY, "LB-020", "writes a byte behind its records"),
    Mutant(Switch.LAB_IGNORE_UNKNOWN, "LB-021", "ignores records of unknown types"),
    Mutant(Switch.LAB_ANY_LENGTH, "LB-022", "waits for a record of any announced length"),
    Mutant(Switch.LAB_IGNORE_SHORT, "LB-023", "ignores a record too short for its fields"),
    Mutant(Switch.LAB_IGNORE_LONG, "LB-024", "ignores a record with bytes behind its fields"),
    Mutant(Switch.LAB_IGNORE_FLAG, "LB-025", "ignores a DATA with an unknown FIN flag"),
    Mutant(Switch.LAB_SILENT_FAULT, "LB-028", "closes for a fault without a word"),
    Mutant(
        Switch.LAB_NO_IMPLIED_STREAMS,
        "LB-030",
        "refuses a stream whose lower numbers it has not seen",
    ),
    Mutant(Switch.LAB_NO_STREAM_LIMIT, "LB-031", "takes streams beyond the credit"),
    Mutant(
        Switch.LAB_IGNORE_BAD_STREAM,
        "LB-032",
        "ignores records for streams and halves that are not there",
    ),
    Mutant(Switch.LAB_IGNORE_DATA_AFTER_END, "LB-033", "ignores DATA after FIN or RESET"),
    Mutant(Switch.LAB_REFUSE_SECOND_RESET, "LB-034", "refuses a RESET of a half that has ended"),
    Mutant(Switch.LAB_IGNORE_STOP, "LB-035", "ignores STOP"),
    Mutant(Switch.LAB_REFUSE_SECOND_STOP, "LB-036", "refuses a STOP of a half that has ended"),
    Mutant(Switch.LAB_REFUSE_DATA_AFTER_STOP, "LB-037", "refuses DATA that crosses its STOP"),
    Mutant(Switch.LAB_RESET_KEEPS_BYTES, "LB-038", "hands on what came before a RESET"),
    Mutant(Switch.LAB_BEYOND_CREDIT, "LB-040", "sends data whatever the credit"),
    Mutant(Switch.LAB_NO_FLOW_CONTROL, "LB-041", "takes data beyond the credit"),
    Mutant(Switch.LAB_IGNORE_EMPTY_FIN, "LB-042", "overlooks FIN on a DATA without bytes"),
    Mutant(Switch.LAB_MAXIMUM_FALLS, "LB-043", "lets MAX_DATA take credit back"),
    Mutant(Switch.LAB_NO_RAISE, "LB-044", "never gives more byte credit than at first"),
    Mutant(Switch.LAB_LEAK_CREDIT, "LB-045", "keeps the credit of bytes that it discards"),
    Mutant(Switch.LAB_NO_STREAM_RAISE, "LB-046", "never gives more stream credit than at first"),
    Mutant(Switch.LAB_HOLD_PING, "LB-047", "reads no PING while bytes wait to be taken"),
    Mutant(Switch.LAB_OPEN_BEYOND, "LB-048", "opens streams whatever the credit"),
    Mutant(Switch.LAB_NO_PONG, "LB-050", "does not answer PING"),
    Mutant(Switch.LAB_REFUSE_PONG, "LB-051", "refuses a PONG that it has not asked for"),
    Mutant(Switch.LAB_KEEP_LINK, "LB-053", "keeps the TCP connection after CLOSE"),
    Mutant(Switch.LAB_CUT_RECORDS, "LB-055", "forgets a record that TCP has cut"),
)
"""Every switch once."""


def read_switches(names: str) -> frozenset[Switch]:
    """Return the switches of a comma-separated list; raises UnknownMutant."""
    wanted = [name.strip() for name in names.split(",") if name.strip()]
    known = {str(switch) for switch in Switch}
    for name in wanted:
        if name not in known:
            raise UnknownMutant(f"no switch {name!r}; known: {', '.join(sorted(known))}")
    return frozenset(Switch(name) for name in wanted)
