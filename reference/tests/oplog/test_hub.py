"""The log of a node and its sessions: what goes to whom, and when."""

import json
from dataclasses import replace

import pytest

from meshwire_reference.oplog.authoring import OperationAuthor
from meshwire_reference.oplog.frames import (
    Announcement,
    announcement,
    decode_binary,
    decode_text,
    encode_live,
    read_announcement,
)
from meshwire_reference.oplog.hub import EVICTED, TEXT_OF_SIZE, Hub, OplogSession
from meshwire_reference.oplog.operations import SignedOperation
from meshwire_reference.oplog.outcomes import Level
from meshwire_reference.oplog.replica import Replica, ReplicaSettings
from meshwire_reference.oplog.schema import TYPES
from meshwire_reference.oplog.signatures import Signer
from meshwire_reference.oplog.spelling import operation_json, read_operation_json
from meshwire_reference.oplog.values import JsonValue
from meshwire_reference.oplog.waiting import QueueLimits, operation_size
from meshwire_reference.testing.oplog_recordings import new_replica
from meshwire_spec.numbers import OPLOG_OPERATION_BYTES_MAX


def made(count: int) -> list[SignedOperation]:
    """Return a chain of insertions."""
    author = OperationAuthor(Signer(b"\x11" * 32), new_replica("types", Level.STRICT))
    return [author.append(("ls",), str(number)) for number in range(count)]


def hub(**limits: int) -> Hub:
    """Return an empty hub of the document with every type."""
    settings = ReplicaSettings(schema=TYPES, queue=QueueLimits(**limits))
    return Hub(Replica(settings), lag_max=3)


def messages(of: Hub, session: OplogSession) -> list[str | bytes]:
    """Return everything that is to be sent now."""
    found = []
    while (message := of.next_message(session)) is not None:
        found.append(message)
    return found


def take(of: Hub, signed: SignedOperation, source: int = 0) -> None:
    """Take an operation and make it durable."""
    of.take(signed, source)
    of.durable = len(of.log)


def test_a_session_begins_with_a_bulk() -> None:
    """It has everything that is durable; an empty one is sent too."""
    node = hub()
    first = node.open_session()
    for signed in (chain := made(3)):
        take(node, signed)
    second = node.open_session()

    assert messages(node, first)[0] == announcement()
    [_, bulk] = messages(node, second)
    assert isinstance(bulk, str)
    assert [read_operation_json(text) for text in decode_text(bulk)] == chain


def test_at_level_wire_an_operation_is_sent_on_once() -> None:
    """The ancestor applies it again each time, and a ring of nodes would never fall silent."""
    node = Hub(Replica(ReplicaSettings(level=Level.WIRE, schema=TYPES)))
    (signed,) = made(1)
    first, again = node.take(signed, 1), node.take(signed, 2)

    assert (len(first), again, len(node.log)) == (1, [], 1)


def test_the_first_bulk_says_who_a_node_is() -> None:
    """And that it was dialled for the mesh; what a peer says is read off its first message."""
    node, other = hub(), hub()
    node.node_id = "ab" * 32
    (first,), (second,) = (
        messages(node, node.open_session(for_mesh=for_mesh)) for for_mesh in (False, True)
    )
    assert isinstance(first, str)
    assert isinstance(second, str)
    session = other.open_session()
    list(other.take_text(second, session))
    list(other.take_text(first, session))

    assert json.loads(first) == {"type": "bulk", "ops": [], "versions": [1, 2], "node": "ab" * 32}
    assert json.loads(second) == {**json.loads(first), "mesh": True}
    assert session.greeting == read_announcement(second)
    assert (session.greeting.node, session.greeting.for_mesh) == ("ab" * 32, True)


@pytest.mark.parametrize("node", ["", "ab", "AB" * 32, "ab" * 33, 7, None, ["ab"]])
def test_what_is_no_id_says_nothing(node: JsonValue) -> None:
    """The rest of the announcement counts."""
    said = {"type": "bulk", "ops": [], "versions": [1], "node": node, "mesh": 1}

    assert read_announcement(json.dumps(said)) == Announcement(frozenset({1}))


def test_what_is_applied_during_a_bulk_follows_it() -> None:
    """Nothing falls between bulk and live operations (D-125)."""
    node = hub()
    before, after = made(2)
    take(node, before)
    session = node.open_session()
    take(node, after)
    _, bulk, live = messages(node, session)

    assert isinstance(live, bytes)
    assert isinstance(bulk, str)
    assert len(list(decode_text(bulk))) == 1
    assert decode_binary(live) == after


def test_an_operation_goes_to_every_session_but_its_source() -> None:
    """Also where it had to wait, and another peer brought what it waited for (D-127)."""
    node = hub()
    one, two, three = (node.open_session() for _ in range(3))
    for session in (one, two, three):
        messages(node, session)
    first, second = made(2)
    for signed, session in ((second, one), (first, two)):
        node.take_binary(encode_live(operation_json(signed)), session)
    node.durable = len(node.log)

    sent = [
        [decode_binary(m) for m in messages(node, s) if isinstance(m, bytes)]
        for s in (one, two, three)
    ]
    assert sent == [[first], [second], [first, second]]


def test_nothing_is_sent_before_it_is_durable() -> None:
    """A session sees the log up to what the store has."""
    node = hub()
    session = node.open_session()
    messages(node, session)
    node.take(made(1)[0], 0)

    assert messages(node, session) == []
    node.durable = 1
    assert len(messages(node, session)) == 1


def test_a_bad_operation_in_a_bulk_is_counted_and_the_others_applied() -> None:
    """Neither text nor binary ends a session (D-158)."""
    node = hub()
    session = node.open_session()
    good, other = map(operation_json, made(2))
    message = f'{{"type":"bulk","ops":[{",".join(map(_quoted, (good, "x", other)))}]}}'
    added = [part for parts in node.take_text(message, session) for part in parts]
    list(node.take_text("nonsense", session))

    assert added == [good, other]
    assert node.take_binary(b"nonsense", session) == []
    assert node.counts["bad-json"] == 3
    assert node.counts["Ok"] == 2


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def test_a_session_that_falls_behind_is_noticed() -> None:
    """The bound counts live operations alone, and a closed session is forgotten."""
    node = hub()
    session = node.open_session()
    messages(node, session)
    for signed in made(4):
        assert not node.is_behind(session)
        take(node, signed)

    assert node.is_behind(session)
    node.close_session(session)
    assert not node.sessions


def test_an_eviction_is_counted() -> None:
    """So that the node comes back for a new bulk (D-134)."""
    node = hub(count=1)
    for signed in made(3)[1:]:
        take(node, signed)

    assert node.counts[EVICTED] == 1


def test_a_stored_log_makes_the_same_document() -> None:
    """What was stored is applied again, and is sent as a bulk."""
    node = hub()
    for signed in made(3):
        take(node, signed)
    again = hub()
    again.load([entry.text for entry in node.log])

    assert again.replica.view() == node.replica.view()
    assert again.durable == 3


def test_an_operation_that_a_peer_spells_shorter_than_this_node_is_refused() -> None:
    """OP-052: the node could not read its own text of it when it starts again."""
    author = OperationAuthor(Signer(b"\x11" * 32), new_replica("types", Level.STRICT))
    own = operation_json(author.append(("lv",), [1e15] * 230_000))
    shorter = own.replace("1000000000000000.0", "1e15")
    node = hub()
    added = list(node.take_text(json.dumps({"type": "op", "op": shorter}), node.open_session()))

    assert len(shorter) < OPLOG_OPERATION_BYTES_MAX < len(own)
    assert (added, node.log, node.counts["length-limit"]) == ([[]], [], 1)


@pytest.mark.parametrize(
    "value", [1.2345678901234567e-300, None, "\x01", {"\x01" * 9: "\x01"}, [[]], {}]
)
def test_the_text_of_an_operation_is_within_what_is_reckoned_for_it(value: JsonValue) -> None:
    """So that most operations need not be spelled to know that they are short enough."""
    author = OperationAuthor(Signer(b"\xff" * 32), new_replica("types", Level.STRICT))
    content = [value] * 500
    signed = author.append(("lv",), content)
    many = replace(signed, depends_on=(b"\xff" * 64,) * 500)
    deep = replace(signed, inner=replace(signed.inner, path=(b"\xff" * 32, "\x01" * 30) * 30))

    for one in (signed, many, deep):
        assert len(operation_json(one)) < TEXT_OF_SIZE * operation_size(one)
