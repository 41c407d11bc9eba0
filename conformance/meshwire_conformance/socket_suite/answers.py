"""Answers of a reconciliation: taken off the stream of their run, and told apart where wrong.

An answer is a 0x09 on the target's half of the stream that our message went out on. Everything
else that can be there instead, or in another place, has a symptom of its own.
"""

from __future__ import annotations

from collections.abc import Iterator

from meshwire_conformance.explain.field_rows import fields_of, rows_of
from meshwire_conformance.explain.hexdump import Mark
from meshwire_conformance.protocol.frame_content import whole_frame
from meshwire_conformance.protocol.negentropy_messages import Range, Refused, read_message
from meshwire_conformance.socket_suite.case_run import CaseRun, code_name
from meshwire_conformance.socket_suite.outcome import CaseFailed
from meshwire_conformance.socket_suite.shortfall import arrival_lines, difference
from meshwire_conformance.targets.transport import Stream
from meshwire_spec.codec import Malformed, decode
from meshwire_spec.numbers import NEGENTROPY_FRAME_LIMIT, NEGENTROPY_KEY, FrameType

FRAME = "stream_frame"
MESSAGE = "negentropy_message"
ANSWER = "a 0x09 with the key _negentropy on the stream of the message"
RANGES_TOLD = 6
_KEPT = 4096


async def take_answer(
    run: CaseRun, stream: Stream, wanted: bytes | None = None, on: str = "A"
) -> bytes:
    """The next message of the target on a stream of ours; `wanted` where there is but one right.

    Raises CaseFailed where none comes within the deadline, or another.
    """
    payload = await next_answer(run, stream)
    if payload is None:
        raise _no_answer(run, stream, on)
    if wanted is not None:
        check_answer(payload, wanted)
    return payload


async def next_answer(run: CaseRun, stream: Stream) -> bytes | None:
    """The next message of the target, or None where it ends the stream or says nothing.

    Raises CaseFailed for what is no answer.
    """
    try:
        await stream.wait_for(
            lambda: bool(whole_frame(stream.received)) or stream.read_over or stream.refused,
            run.deadline_s,
        )
        data = bytes(stream.received[: whole_frame(stream.received)])
        if not data:
            return None
        payload = _payload_of(data)
    except Malformed as exc:
        raise _unreadable(bytes(stream.received[:_KEPT]), exc.reason) from exc
    del stream.received[: len(data)]
    return payload


def _payload_of(data: bytes) -> bytes:
    """The message in a frame; raises CaseFailed where it is not what a server may answer."""
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
        "what came on the stream of the run is no frame",
        expected=(ANSWER,),
        received=rows_of(FRAME, data),
    )


def _wrong_member(data: bytes, name: str, wanted: str | int) -> CaseFailed:
    span = fields_of(FRAME, data).named(name)
    assert span is not None, "the frame was decoded"
    text = wanted if isinstance(wanted, str) else f"0x{wanted:02x}"
    return CaseFailed(
        f"wrong-value {name}",
        f"the {name} of what came on the stream of the run is another",
        expected=(ANSWER,),
        received=rows_of(FRAME, data, Mark(span.offset, span.size, f"{name} (expected {text})")),
    )


def _no_answer(run: CaseRun, stream: Stream, on: str) -> CaseFailed:
    """Why there is no answer: refused, ended, said elsewhere, or silence."""
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
    """The answer is the one that was wanted, to the byte; raises CaseFailed."""
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
    """What a message says of its ranges, in a few words."""
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
