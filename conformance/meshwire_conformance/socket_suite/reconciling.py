"""The suite as the client of a reconciliation: its messages, the answers, and what it learns.

An answer is a 0x09 on the target's half of the stream that carries the client's message. Anything
else there, or an answer in another place, has a symptom of its own.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from hashlib import sha256

from meshwire_conformance.explain.field_rows import fields_of, rows_of
from meshwire_conformance.explain.hexdump import Mark
from meshwire_conformance.protocol.frame_content import whole_frame
from meshwire_conformance.protocol.negentropy import Item, Reconciliation
from meshwire_conformance.protocol.negentropy_messages import (
    INFINITE,
    Range,
    Refused,
    Writer,
    fingerprint_of,
    read_message,
)
from meshwire_conformance.socket_suite.case_run import CaseRun
from meshwire_conformance.socket_suite.content import BASE
from meshwire_conformance.socket_suite.evidence import CaseFailed
from meshwire_conformance.socket_suite.meanwhile import code_name
from meshwire_conformance.socket_suite.shortfall import arrival_lines, difference
from meshwire_conformance.targets.transport import Stream
from meshwire_spec.codec import Malformed, decode
from meshwire_spec.numbers import NEGENTROPY_FRAME_LIMIT, NEGENTROPY_ID, NEGENTROPY_KEY, FrameType
from meshwire_spec.schemas.steps import FrameSpec

FRAME = "stream_frame"
MESSAGE = "negentropy_message"
ANSWER = "a 0x09 with the key _negentropy on the stream of the message"
DOCUMENTS_A_DEADLINE = 32
"""Documents that a target may take in within the deadline of one answer, on a busy machine."""
RANGES_TOLD = 6
"""Ranges of a message that a report names."""
_KEPT = 4096
"""Bytes kept for the report of a message that cannot be read."""


async def take_answer(
    run: CaseRun, stream: Stream, wanted: bytes | None = None, on: str = "A"
) -> bytes:
    """Return the next message of the target on a stream of the suite.

    With `wanted` the answer must be these bytes. Raises CaseFailed if none comes within the
    deadline, or another one.
    """
    payload = await next_answer(run, stream)
    if payload is None:
        raise _no_answer(run, stream, on)
    if wanted is not None:
        check_answer(payload, wanted)
    return payload


async def next_answer(run: CaseRun, stream: Stream) -> bytes | None:
    """Return the next message of the target, or None if it ends the stream or sends nothing.

    Raises CaseFailed for anything that is not an answer.
    """
    try:
        await stream.wait_for(
            lambda: bool(whole_frame(stream.received)) or stream.read_over or stream.refused,
            run.deadline_s,
        )
        data = bytes(stream.received[: whole_frame(stream.received)])
        if not data:
            # Silence may be slowness: what fails after it is repeated alone before it counts.
            run.evidence.was_slow |= not (stream.read_over or stream.refused)
            return None
        payload = _payload_of(data)
    except Malformed as exc:
        raise _unreadable(bytes(stream.received[:_KEPT]), exc.reason) from exc
    del stream.received[: len(data)]
    return payload


def _payload_of(data: bytes) -> bytes:
    """Return the message in a frame; raises CaseFailed if a server must not send it."""
    fields = decode(FRAME, data).fields
    for name, wanted in (("type", FrameType.NEGENTROPY_RESPONSE), ("key", NEGENTROPY_KEY)):
        if fields[name] != wanted:
            raise _wrong_member(data, name, wanted)
    payload: bytes = fields["payload"]
    if len(payload) > NEGENTROPY_FRAME_LIMIT:
        raise CaseFailed(
            "frame-limit",
            f"an answer of {len(payload)} bytes",
            expected=(f"at most {NEGENTROPY_FRAME_LIMIT} bytes",),
            received=rows_of(FRAME, data),
        )
    try:
        read_message(payload)
    except Refused as refused:
        mark = Mark(len(data) - len(payload) + refused.offset, 1, refused.reason)
        raise CaseFailed(
            f"bad-answer {refused.reason}",
            f"the answer is malformed: {refused}",
            expected=("a message that decodes",),
            received=rows_of(FRAME, data, mark),
        ) from refused
    return payload


def _unreadable(data: bytes, reason: str) -> CaseFailed:
    return CaseFailed(
        f"bad-frame {reason}",
        "the bytes on the stream of the run are no frame",
        expected=(ANSWER,),
        received=rows_of(FRAME, data),
    )


def _wrong_member(data: bytes, name: str, wanted: str | int) -> CaseFailed:
    span = fields_of(FRAME, data).named(name)
    assert span is not None, "the frame was decoded"
    text = wanted if isinstance(wanted, str) else f"0x{wanted:02x}"
    return CaseFailed(
        f"wrong-value {name}",
        f"the frame on the stream of the run has another {name}",
        expected=(ANSWER,),
        received=rows_of(FRAME, data, Mark(span.offset, span.size, f"{name} (expected {text})")),
    )


def _no_answer(run: CaseRun, stream: Stream, on: str) -> CaseFailed:
    """Return why there is no answer: refused, ended, sent elsewhere, or silence."""
    run.check_connection(stream.connection)
    code = stream.reset_code if stream.reset_code is not None else stream.stop_code
    if code is not None:
        how = f"{'STOP' if stream.reset_code is None else 'RESET'} with {code_name(code)}"
        why = f"the run was refused: {code_name(code)}"
        return CaseFailed("refused", why, expected=(ANSWER,), received=(how,))
    if stream.finished:
        why = "the target finished its half of the stream instead of answering"
        return CaseFailed("ended-early", why, expected=(ANSWER,), received=("FIN",))
    peer = run.peer(on).name
    elsewhere = [one for one in run.subscription(NEGENTROPY_KEY).arrivals if one.peer == peer]
    if elsewhere:
        why = "what may be the answer came on a stream of the target's own"
        received = arrival_lines(elsewhere[-1])
        return CaseFailed("other-stream", why, expected=(ANSWER,), received=received)
    came = f"{len(stream.received)} bytes of a frame, and " if stream.received else ""
    return CaseFailed(
        "no-answer",
        "a message of the run was not answered",
        expected=(ANSWER,),
        received=(f"{came}nothing within the deadline",),
        missed=True,
    )


def check_answer(payload: bytes, wanted: bytes) -> None:
    """Raise CaseFailed unless the answer has exactly the wanted bytes."""
    if payload == wanted:
        return
    mark = difference(MESSAGE, wanted, MESSAGE, payload, payload)
    says, should = summary(payload), summary(wanted)
    parts = "in bytes alone" if says == should else f"{says}, expected {should}"
    raise CaseFailed(
        "wrong-answer",
        f"the answer is another: {parts}",
        expected=(f"{len(wanted)} bytes: {should}", *rows_of(MESSAGE, wanted)),
        received=(f"{len(payload)} bytes: {says}", *rows_of(MESSAGE, payload, mark)),
    )


def summary(message: bytes) -> str:
    """Return a short description of the ranges of a message."""
    try:
        ranges = read_message(message)
    except Refused as refused:
        return f"what is refused: {refused}"
    told = [*_said(ranges[:RANGES_TOLD])]
    if len(ranges) > RANGES_TOLD:
        told.append(f"{len(ranges) - RANGES_TOLD} ranges more")
    return ", ".join(told) or "nothing"


def _said(ranges: list[Range]) -> Iterator[str]:
    for part in ranges:
        if part.said is None:
            yield "skip"
        elif isinstance(part.said, bytes):
            yield "fingerprint"
        else:
            yield "1 id" if len(part.said) == 1 else f"{len(part.said)} ids"


EMPTY_RANGE = "610108a55ac33c0ff00f5a000108a55ac33c0ff00f5b0200"
"""A message about a range in which no document lies; its answer is the same."""
ANSWERS_MAX = 500
"""More answers than any run of the suite needs; a target that exceeds it makes no progress."""


def id_of(key: str) -> bytes:
    """Return the id of a document (NG-015)."""
    return sha256(key.encode()).digest()


def item_of(key: str) -> Item:
    """Return the item of a node for a document (NG-015)."""
    return 0, id_of(key)


def message_of(ranges: Iterable[Range]) -> bytes:
    """Return a message with these ranges."""
    writer = Writer()
    writer.add(ranges)
    return bytes(writer.data)


def doubt(items: Sequence[Item]) -> bytes:
    """Return a first message with one fingerprint of all items, so that the run has rounds.

    A client that keeps NG-053 would split it; a server answers both.
    """
    return message_of([Range(INFINITE, fingerprint_of(name for _, name in sorted(items)))])


def question_about(ids: Iterable[bytes]) -> bytes:
    """Return a message that asks for these ids alone; the answer lists those the target holds."""
    ranges = []
    for name in sorted(ids):
        after = (int.from_bytes(name, "big") + 1).to_bytes(NEGENTROPY_ID, "big")
        ranges += [Range((0, name), None), Range((0, after), ())]
    return message_of(ranges)


def answer_of(items: Iterable[Item], message: bytes) -> bytes:
    """Return the answer of the suite's own server with these items."""
    reply = Reconciliation(items, NEGENTROPY_FRAME_LIMIT, client=False).reconcile(message).reply
    assert reply is not None, "a server always has an answer"
    return reply


def own_keys(run: CaseRun, count: int) -> list[str]:
    """Return keys of documents that only this attempt at a case sends."""
    return [f"notes:{run.scope.names['case']}-{number}" for number in range(count)]


def invented(run: CaseRun, count: int, label: str = "") -> list[Item]:
    """Return items that the target cannot hold, different ones for each label."""
    return [item_of(f"notes:{run.scope.names['case']}-{label}-not-{n}") for n in range(count)]


async def send_documents(run: CaseRun, keys: Iterable[str], on: str = "A") -> None:
    """Send a document for each key, all on one stream, and wait until the target holds them."""
    if "base" not in run.contents.made:
        await run.documents(BASE)
    wanted = list(keys)
    for key in wanted:
        await run.send(FrameSpec(type="snapshot", key=key, document="base"), on, "documents")
    # One deadline is that of one answer.
    await run.barrier(on, "documents", patience=1 + len(wanted) / DOCUMENTS_A_DEADLINE)


class Conversation:
    """One run on one stream: the first message is sent as 0x08, later ones as 0x09."""

    def __init__(self, run: CaseRun, on: str = "A", name: str = "run") -> None:
        self.run = run
        self.on = on
        self.name = name
        self.said = 0
        run.subscription(NEGENTROPY_KEY)

    async def stream(self) -> Stream:
        """Return the stream of the run."""
        return await self.run.stream(self.on, self.name)

    async def say(self, message: bytes) -> None:
        """Send the next message."""
        frame_type = "negentropy-response" if self.said else "negentropy-init"
        self.said += 1
        await self.run.send(FrameSpec(type=frame_type, hex=message.hex()), self.on, self.name)

    async def answer(self, wanted: bytes | None = None) -> bytes:
        """Return the next answer; raises CaseFailed."""
        return await take_answer(self.run, await self.stream(), wanted, self.on)

    async def ask(self, message: bytes, wanted: bytes | None = None) -> bytes:
        """Send a message and take its answer; raises CaseFailed."""
        await self.say(message)
        return await self.answer(wanted)

    async def end(self) -> None:
        """Finish the stream and wait for the target's FIN; no frame may come before it."""
        await self.run.barrier(self.on, self.name)


async def ask_about(conversation: Conversation, keys: Iterable[str], held: Collection[str]) -> None:
    """Ask for these documents alone; raises CaseFailed unless exactly those held are listed."""
    named = {id_of(key): key for key in keys}
    message = question_about(named)
    answer = await conversation.ask(message)
    ranges = read_message(answer)
    listed = {name for part in ranges if isinstance(part.said, tuple) for name in part.said}
    wrong = [key for name, key in named.items() if (key in held) != (name in listed)]
    if wrong:
        says = "is not listed" if wrong[0] in held else "is listed"
        raise CaseFailed(
            "wrong-set",
            f"{wrong[0]} {says}",
            expected=[_place(name, key, key in held) for name, key in named.items()],
            received=[_place(name, key, name in listed) for name, key in named.items()],
        )
    check_answer(answer, answer_of(map(item_of, held), message))


def _place(name: bytes, key: str, is_listed: bool) -> str:  # noqa: FBT001 - a line of a table
    return f"{'listed' if is_listed else 'not   '} {name.hex()[:16]}... of {key}"


class Client:
    """The client of a run: its next message, None at the end, and the ids it has learnt."""

    def __init__(self, items: Iterable[Item], opening: bytes | None = None) -> None:
        self._side = Reconciliation(items, NEGENTROPY_FRAME_LIMIT, client=True)
        self.next: bytes | None = self._side.initiate() if opening is None else opening
        self.have: set[bytes] = set()
        self.need: set[bytes] = set()
        self.answers = 0

    def take(self, answer: bytes) -> None:
        """Process an answer; raises CaseFailed if the run does not end."""
        self.answers += 1
        if self.answers > ANSWERS_MAX:
            raise CaseFailed("no-end", f"the run is not over after {ANSWERS_MAX} answers")
        found = self._side.reconcile(answer)
        self.have |= set(found.have)
        self.need |= set(found.need)
        self.next = found.reply

    async def run(self, conversation: Conversation) -> None:
        """Exchange messages until the run ends; raises CaseFailed."""
        while self.next is not None:
            self.take(await conversation.ask(self.next))


def check_learnt(client: Client, needed: Iterable[str], known: Iterable[str] = ()) -> None:
    """Raise CaseFailed unless the client learnt that it lacks `needed` and that both hold `known`.

    Keys are given; other keys are not checked.
    """
    missing = [key for key in needed if id_of(key) not in client.need]
    if missing:
        raise CaseFailed(
            "not-listed",
            f"the run is over and {len(missing)} documents of the target were not told",
            expected=tuple(f"need {id_of(key).hex()}, of {key}" for key in missing[:4]),
            received=(f"{len(client.need)} ids, none of these among them",),
        )
    for key in known:
        _check_known(client, key)


def check_claimed(client: Client, claimed: Iterable[Item]) -> None:
    """Raise CaseFailed unless the client learnt that the target holds none of these items."""
    believed = sorted(name for _, name in claimed if name not in client.have)
    if believed:
        raise CaseFailed(
            "believed",
            f"{len(believed)} items that the target cannot hold count as held by both",
            expected=(f"have {believed[0].hex()}",),
            received=(f"{len(client.have)} ids, this one not among them",),
        )


def _check_known(client: Client, key: str) -> None:
    name = id_of(key)
    wrong = [word for word, ids in (("have", client.have), ("need", client.need)) if name in ids]
    if wrong:
        raise CaseFailed(
            "not-matched",
            f"{key} is held by both, and the run says that it is not",
            expected=(f"nothing about {name.hex()}, of {key}",),
            received=tuple(f"{word} {name.hex()}" for word in wrong),
        )
