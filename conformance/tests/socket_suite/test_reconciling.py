"""Reconciliation over a stream as the suite does it, with a scripted peer."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from meshwire_conformance.cases.reconciliation_exact import COUNTS, recorded
from meshwire_conformance.cases.reconciliation_runs import rounds_allowed
from meshwire_conformance.catalogue.case import SOCKET
from meshwire_conformance.catalogue.transcripts import load_cases as load_transcripts
from meshwire_conformance.contracts import Settings
from meshwire_conformance.protocol.frame_content import take_frames
from meshwire_conformance.protocol.negentropy_messages import Refused, read_message
from meshwire_conformance.run.loading import load_catalogue
from meshwire_conformance.socket_suite.calibration import Deadline
from meshwire_conformance.socket_suite.case_run import CaseRun
from meshwire_conformance.socket_suite.case_streams import Terms
from meshwire_conformance.socket_suite.composing import Scope
from meshwire_conformance.socket_suite.content import Contents
from meshwire_conformance.socket_suite.evidence import CaseFailed
from meshwire_conformance.socket_suite.inbox import Inbox
from meshwire_conformance.socket_suite.needs import unmet
from meshwire_conformance.socket_suite.peers import Session
from meshwire_conformance.socket_suite.reconciling import (
    Client,
    Conversation,
    answer_of,
    ask_about,
    check_learnt,
    doubt,
    id_of,
    item_of,
    next_answer,
    question_about,
    summary,
)
from meshwire_conformance.socket_suite.transcript_steps import raw_piece
from meshwire_conformance.targets.attach import Address, Target
from meshwire_conformance.targets.facts import Facts
from meshwire_conformance.targets.transport import Connection, Dial, Stream
from meshwire_spec.codec import Message, encode
from meshwire_spec.numbers import (
    CAPABILITIES,
    NEGENTROPY_KEY,
    OPTIONAL_CAPABILITIES,
    REASONS,
    FrameType,
)
from meshwire_spec.schemas import steps
from meshwire_spec.schemas.transcripts import Transcript
from turns import all_wait

KEYS = [f"notes:{number}" for number in range(5)]
RECORDED = Path(__file__).parents[1] / "captured" / "transcripts"
FRAME_START = len(NEGENTROPY_KEY) + 7
EMPTY_QUESTION = bytes.fromhex("6100000200")

Answer = Callable[["Scripted", Stream, bytes], None]


class Scripted(Connection):
    """A connection whose other end is a function of each message that was sent."""

    def __init__(self, inbox: Inbox, answer: Answer) -> None:
        super().__init__()
        self.on_stream = inbox.reader_of("A")
        self.answer = answer
        self.pending: dict[int, bytearray] = {}
        self.opened = 0

    async def open(self, *, uni: bool = False) -> Stream:
        """One stream more."""
        self.opened += 1
        return Stream(self, 4 * self.opened, uni=uni, ours=True)

    async def write(self, stream: Stream, data: bytes) -> None:
        """Answer every message that is whole."""
        pending = self.pending.setdefault(stream.number, bytearray())
        pending += data
        for frame in take_frames(pending):
            self.answer(self, stream, frame.fields["payload"])

    async def finish(self, stream: Stream) -> None:
        """Finish the other half too."""
        stream.finished = True

    async def reset(self, stream: Stream, code: int) -> None:
        """Nothing."""

    async def stop(self, stream: Stream, code: int) -> None:
        """Nothing."""

    async def close(self, code: int = 0, text: str = "") -> None:
        """Nothing."""


class Dialler:
    """Gives one scripted connection."""

    shows: frozenset[str] = frozenset()

    def __init__(self, connection: Connection) -> None:
        self.connection = connection

    async def dial(self, dial: Dial, deadline_s: float) -> Connection:
        """The connection."""
        return self.connection

    async def close(self) -> None:
        """Nothing."""


def run_with(answer: Answer) -> CaseRun:
    """A run of a case against the scripted peer, with deadlines that are soon over."""
    inbox = Inbox()
    dialler = Dialler(Scripted(inbox, answer))
    target = Target(Address("tcp", "127.0.0.1", 1), Facts(), dialler, None)
    session = Session(target, Settings(), "nonce", inbox)
    terms = Terms("strict", Deadline(0.0, 0.01))
    return CaseRun("MW-9001", session, terms, Scope({"case": "c"}, 0), Contents(None))


def frame(payload: bytes, frame_type: int = 9, key: str = NEGENTROPY_KEY) -> bytes:
    """A frame with an answer in it."""
    return encode(
        Message("stream_frame", {"key": key, "type": int(frame_type), "payload": payload})
    )


def says(data: bytes) -> Answer:
    """A peer that writes the same bytes on the stream of every message."""

    def answer(connection: Scripted, stream: Stream, message: bytes) -> None:
        stream.received += data

    return answer


def holds(*keys: str) -> Answer:
    """A server with these documents."""

    def answer(connection: Scripted, stream: Stream, message: bytes) -> None:
        stream.received += frame(answer_of(map(item_of, keys), message))

    return answer


def elsewhere(connection: Scripted, stream: Stream, message: bytes) -> None:
    """A peer that answers on a stream of its own."""
    own = Stream(connection, 1, uni=False, ours=False)
    connection.accept(own)
    own.received += frame(answer_of((), message))
    own.changed()


def finishes(connection: Scripted, stream: Stream, message: bytes) -> None:
    """A peer that ends its half instead."""
    stream.finished = True


def refuses(connection: Scripted, stream: Stream, message: bytes) -> None:
    """A peer that refuses everything."""
    stream.reset_code = REASONS["unsupported"].code


def failure_of(answer: Answer, message: bytes = EMPTY_QUESTION) -> CaseFailed:
    """How a case fails that asks for the answer to a message, of which the empty one is wanted."""
    run = run_with(answer)
    with pytest.raises(CaseFailed) as caught:
        asyncio.run(Conversation(run).ask(message, answer_of((), message)))
    return caught.value


# --- other frames instead of an answer ----------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "symptom", "marked"),
    [
        (says(frame(EMPTY_QUESTION, FrameType.NEGENTROPY_INIT)), "wrong-value type", "0x09"),
        (says(frame(EMPTY_QUESTION, key="notes:x")), "wrong-value key", NEGENTROPY_KEY),
        (says(frame(b"\x61\x00\x00\x03")), "bad-answer bad-mode", "bad-mode"),
        (says(frame(b"")), "bad-answer truncated", ""),
        (says(b"\x00\x01\xff\x09\x00\x00\x00\x00"), "bad-frame bad-utf8", "bad-utf8"),
        (says(b"\x00\x01x\x09\xff\xff\xff\xff"), "bad-frame length-limit", "length-limit"),
        (says(frame(bytes(65537))), "frame-limit", ""),
        (holds(KEYS[0]), "wrong-answer", "(expected"),
        (finishes, "ended-early", ""),
        (refuses, "refused", ""),
        (elsewhere, "other-stream", ""),
        (says(b""), "no-answer", ""),
        (says(frame(EMPTY_QUESTION)[:-1]), "no-answer", ""),
    ],
)
def test_what_is_no_answer_is_told_apart(answer: Answer, symptom: str, marked: str) -> None:
    """Each has its symptom, the expected and received bytes, and the first wrong byte marked."""
    failed = failure_of(answer)
    marks = [line for line in failed.received if "^^" in line]

    assert failed.symptom == symptom
    assert failed.expected
    assert failed.received
    assert not marked or any(marked in line for line in marks)


@pytest.mark.parametrize(
    ("answer", "was_slow"), [(says(b""), True), (finishes, False), (refuses, False)]
)
def test_what_fails_after_a_late_message_is_tried_again(answer: Answer, *, was_slow: bool) -> None:
    """The suite takes the silence for the end of a run, and then blames something else."""
    run = run_with(answer)

    async def take() -> bytes | None:
        conversation = Conversation(run)
        await conversation.say(EMPTY_QUESTION)
        return await next_answer(run, await conversation.stream())

    assert asyncio.run(take()) is None
    assert run.evidence.was_slow is was_slow


def test_only_silence_is_tried_again() -> None:
    """A refusal or a wrong answer stands; an answer that is late is asked for once more."""
    assert failure_of(says(b"")).missed
    assert not failure_of(elsewhere).missed
    assert not failure_of(refuses).missed


def test_answers_are_kept_apart_from_what_stands_behind_them() -> None:
    """The FIN behind a run stands alone: an answer too many fails its barrier."""
    run = run_with(says(2 * frame(EMPTY_QUESTION)))

    async def ask() -> None:
        conversation = Conversation(run)
        await conversation.ask(EMPTY_QUESTION, EMPTY_QUESTION)
        await conversation.end()

    with pytest.raises(CaseFailed) as caught:
        asyncio.run(ask())

    assert caught.value.symptom == "answering-half"


def test_an_answer_on_a_stream_of_its_own_is_a_fault_of_the_target() -> None:
    """MW-5924 reports it, whichever case it was for."""
    run = run_with(elsewhere)
    with pytest.raises(CaseFailed):
        asyncio.run(Conversation(run).ask(EMPTY_QUESTION))

    assert [fault.reason for fault in run.session.inbox.faults] == ["unexpected-message"]


async def _begin_run(inbox: Inbox) -> Stream:
    """A target begins a run, sends a second message at once, and a third one later."""
    connection = Scripted(inbox, finishes)
    stream = Stream(connection, 1, uni=False, ours=False)
    connection.accept(stream)
    stream.received += frame(EMPTY_QUESTION, FrameType.NEGENTROPY_INIT) + frame(EMPTY_QUESTION)
    stream.changed()
    await all_wait()
    stream.received += frame(EMPTY_QUESTION)
    stream.changed()
    await all_wait()
    return stream


def test_a_run_that_the_target_begins_is_refused() -> None:
    """As by a node without reconciliation (NG-012); its later messages are no fault."""
    inbox = Inbox()
    stream = asyncio.run(_begin_run(inbox))

    assert stream.write_over
    assert inbox.has_refused_run("A")
    assert inbox.faults == []
    assert inbox.counts.frames_after_the_first == 0


def test_a_run_that_a_case_serves_is_left_to_it() -> None:
    """With the later messages on its stream (TR-004)."""
    inbox = Inbox()
    served = inbox.serve_runs("A")
    stream = asyncio.run(_begin_run(inbox))

    (begun,) = served
    assert (begun.stream, begun.message) == (stream, EMPTY_QUESTION)
    assert bytes(stream.received) == 2 * frame(EMPTY_QUESTION)
    assert not stream.write_over
    assert not inbox.has_refused_run("A")


def test_a_message_is_told_in_a_few_words() -> None:
    """Ranges in order, of many the first."""
    many = doubt(())[:1] + b"".join(b"\x01\x01" + bytes((n,)) + b"\x00" for n in range(1, 9))

    assert summary(b"\x61") == "nothing"
    assert summary(answer_of(map(item_of, KEYS), EMPTY_QUESTION)) == "5 ids"
    assert summary(doubt(())) == "fingerprint"
    assert summary(many) == "skip, skip, skip, skip, skip, skip, 2 ranges more"
    assert "bad-mode" in summary(b"\x61\x00\x00\x03")


# --- what is learnt -----------------------------------------------------------------------------


@pytest.mark.parametrize("opening", [None, doubt([item_of(key) for key in KEYS[:2]])])
def test_a_client_learns_what_it_lacks(opening: bytes | None) -> None:
    """Whichever way it begins."""
    run = run_with(holds(*KEYS[1:]))
    client = Client(map(item_of, KEYS[:2]), opening)
    asyncio.run(client.run(Conversation(run)))
    check_learnt(client, KEYS[2:], KEYS[1:2])

    with pytest.raises(CaseFailed, match="not-listed"):
        check_learnt(client, KEYS[:1])
    with pytest.raises(CaseFailed, match="not-matched"):
        check_learnt(client, (), KEYS[:1])


def test_a_question_is_about_its_keys_alone() -> None:
    """Documents of others are neither asked for nor told."""
    told: list[bytes] = []

    def answer(connection: Scripted, stream: Stream, message: bytes) -> None:
        told.append(answer_of(map(item_of, KEYS), message))
        holds(*KEYS)(connection, stream, message)

    asyncio.run(ask_about(Conversation(run_with(answer)), (*KEYS[:2], "notes:none"), KEYS[:2]))
    (only,) = told
    ids = [
        name for part in read_message(only) if isinstance(part.said, tuple) for name in part.said
    ]

    assert sorted(ids) == sorted(map(id_of, KEYS[:2]))


@pytest.mark.parametrize(("held", "says_so"), [(KEYS[:1], "is listed"), (KEYS[:3], "is not")])
def test_a_set_that_is_another_is_told_by_key(held: list[str], says_so: str) -> None:
    """A person reads keys, not hashes."""
    run = run_with(holds(*KEYS[:2]))
    with pytest.raises(CaseFailed) as caught:
        asyncio.run(ask_about(Conversation(run), KEYS[:3], held))

    assert caught.value.symptom == "wrong-set"
    assert says_so in caught.value.reason
    assert len(caught.value.expected) == len(caught.value.received) == 3


def test_the_allowance_of_a_run() -> None:
    """64 messages, and 80 bytes for each item in frames of 65,536 bytes (NG-021)."""
    assert [rounds_allowed(n) for n in (0, 1, 819, 820, 2200)] == [64, 65, 65, 66, 67]


# --- the cases as data --------------------------------------------------------------------------


def _payload(raw: list[Any]) -> bytes:
    """The payload of a frame that a transcript writes in pieces."""
    run = run_with(finishes)
    return b"".join(raw_piece(run, piece) for piece in raw)[FRAME_START:]


def _own(transcript: Transcript) -> bool:
    return "reconciliation" in transcript.capabilities


MESSAGES = (
    "negentropy-init",
    "negentropy-response",
    FrameType.NEGENTROPY_INIT,
    FrameType.NEGENTROPY_RESPONSE,
)
"""Types of the frames that carry the messages of a run."""
TRANSCRIPTS = [one.body for one in load_transcripts() if _own(one.body)]  # type: ignore[arg-type]


@pytest.mark.parametrize("transcript", TRANSCRIPTS, ids=lambda one: one.id)
def test_every_single_message_is_answered_or_refused_as_by_the_suite_itself(
    transcript: Transcript,
) -> None:
    """The plain server gives each answer that a transcript wants, and each reason of the codec."""
    asked: dict[str, list[bytes]] = {}
    other_frames = set()
    for step in transcript.steps:
        match step:
            case steps.Send() if step.send.type not in MESSAGES or step.send.cut:
                # The frame is at fault there, if anything is, and not a message.
                other_frames.add(step.stream)
            case steps.Send() if step.send.payload_length is None:
                asked.setdefault(step.stream, []).append(bytes.fromhex(step.send.hex or ""))
            case steps.Raw():
                asked.setdefault(step.stream, []).append(_payload(step.raw))
            case steps.Answered():
                message = asked[step.stream].pop(0)

                assert answer_of((), message).hex() == step.answered
            case steps.Refused() if step.stream not in other_frames:
                reasons = {reason.reason for reason in _refusals(asked.get(step.stream, []))}

                assert step.refused in {
                    "unexpected-message",
                    "length-limit",
                    "no-progress",
                    *reasons,
                }, transcript.id


def _refusals(messages: list[bytes]) -> list[Refused]:
    found = []
    for message in messages:
        try:
            answer_of((), message)
        except Refused as refused:
            found.append(refused)
        except IndexError:
            continue
    return found


def test_recorded_first_messages_are_those_of_the_case() -> None:
    """The frames sent to a deployed peer are sent again, byte for byte."""
    names = {3: ("empty_vs_3", "have_2_others", "same_3"), 40: ("40_id_list_vs_40", None)}
    found = recorded()

    assert set(found) <= set(COUNTS)
    for count, files in names.items():
        for name, message in zip(files, found[count], strict=True):
            content = json.loads(
                (RECORDED / f"07_negentropy_{name or '100_at_0_vs_40_docs'}.json").read_text()
            )
            first = next(entry for entry in content["streams"][0]["log"] if "hex" in entry)

            assert bytes.fromhex(first["hex"])[FRAME_START:] == message


def test_the_deployed_peer_answers_one_recorded_message_and_that_another_way() -> None:
    """D-92 and D-88: no answer to lists, and its documents at the time of the listing."""
    replies = {
        path.stem: next(
            (
                entry["hex"]
                for stream in json.loads(path.read_text())["streams"]
                for entry in stream["log"]
                if entry["dir"] == "rx" and entry.get("hex", "").startswith("000b5f6e")
            ),
            None,
        )
        for path in RECORDED.glob("07_*.json")
    }
    ((name, reply),) = [(name, reply) for name, reply in replies.items() if reply is not None]
    ranges = read_message(bytes.fromhex(reply)[FRAME_START:])
    held = [(0, sha256(f"d:{number}".encode()).digest()) for number in range(40)]
    ours = read_message(answer_of(held, recorded()[40][1]))

    assert name == "07_negentropy_100_at_0_vs_40_docs"
    assert [part.said for part in ranges[:15]] == [()] * 15
    assert {type(part.said) for part in ranges[15:]} == {bytes}
    assert all(isinstance(part.said, tuple) for part in ours)


# --- what a target must not offer ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("offered", "of_one_without", "of_one_with"),
    [((), None, "does not offer"), (("reconciliation",), "offers reconciliation", None)],
)
def test_a_case_can_be_about_what_is_not_offered(
    offered: tuple[str, ...], of_one_without: str | None, of_one_with: str | None
) -> None:
    """`without:NAME` is met by targets that do not declare NAME, `NAME` by those that do."""
    index = load_catalogue().by_id
    facts = Facts(capabilities=frozenset((*CAPABILITIES, *offered)))
    dialler = Dialler(Scripted(Inbox(), finishes))
    target = Target(Address("tcp", "127.0.0.1", 1), facts, dialler, None)
    for name, why in (("MW-5504", of_one_without), ("MW-5507", of_one_with)):
        found = unmet(index[name], target, None)
        if found is not None and found.reasons[0].startswith("needs Automerge"):
            continue

        assert (why is None) == (found is None), name
        assert found is None or (why or "") in found.reasons[0]


def test_needs_name_capabilities_that_exist() -> None:
    """A misspelt capability would leave its case out for ever."""
    of_targets = {"documents", "process", "dials", "dials-named", "accepts"}
    known = {*CAPABILITIES, *OPTIONAL_CAPABILITIES, *of_targets}
    named = {
        need.removeprefix("without:")
        for one in load_catalogue().cases
        if one.kind == SOCKET
        for need in one.needs
        if need.startswith("without:") or ":" not in need
    }

    assert named <= known


def test_questions_about_nothing_are_empty() -> None:
    """A question has two ranges for each id, and none of them is answered where it is not held."""
    ids = [name for _, name in map(item_of, KEYS)]
    message = question_about(ids)

    assert answer_of((), message) == message
    assert len(read_message(message)) == 2 * len(ids)
