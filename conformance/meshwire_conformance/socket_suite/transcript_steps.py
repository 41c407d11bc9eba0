"""The operation of each step of a transcript: a table by the class of the step."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

from meshwire_conformance.errors import SuiteFault
from meshwire_conformance.socket_suite.case_run import CaseRun
from meshwire_conformance.socket_suite.composing import type_number
from meshwire_conformance.socket_suite.connecting import (
    connect,
    run_handshake,
    send_record,
)
from meshwire_conformance.socket_suite.content import Mismatch, Wanted, declared_heads
from meshwire_conformance.socket_suite.evidence import CaseFailed
from meshwire_conformance.socket_suite.inbox import Arrival
from meshwire_conformance.socket_suite.meanwhile import code_name
from meshwire_conformance.socket_suite.reconciling import take_answer
from meshwire_conformance.socket_suite.shortfall import headline, received_lines, wanted_lines
from meshwire_conformance.targets.handshake import FIRSTS
from meshwire_spec.numbers import NEGENTROPY_KEY, FrameType, LabRecordType
from meshwire_spec.schemas import steps
from meshwire_spec.schemas.steps import ContentSpec, FrameSpec
from meshwire_spec.schemas.transcripts import Transcript

_IDLE_FACTOR = 1.5
"""A stream is left idle for this multiple of the deadline that the target declares."""
_TOMBSTONE_FIELDS = ("lamport", "deleted_at", "deleted_by", "reason", "direction")


async def run_transcript(run: CaseRun, transcript: Transcript) -> None:
    """Run the steps in order; raises CaseFailed at the first that fails."""
    run.begin(transcript.let)
    if any(isinstance(step, steps.Answered) for step in transcript.steps):
        # An answer on another stream is thus seen, and not reported as a missing answer.
        run.subscription(NEGENTROPY_KEY)
    await run.documents(transcript.documents)
    for step in transcript.steps:
        if isinstance(step, steps.Send):
            await _prepare_deltas(run, step.send)
    for name in _listeners(transcript):
        await run.connection(name)
    for step in transcript.steps:
        if step.level == "strict" and not run.strict:
            continue
        await _OPERATIONS[type(step)](run, step)
    if transcript.negative:
        await run.probe()


def _listeners(transcript: Transcript) -> list[str]:
    """Return the peers that wait for pushed frames; they must be connected before the steps."""
    waiting, dialled = set(), set()
    for step in transcript.steps:
        match step:
            case steps.Expect() | steps.Watch() if step.on:
                waiting.add(step.on)
            case steps.Connect():
                dialled.add(step.connect)
    return sorted(waiting - dialled)


async def _prepare_deltas(run: CaseRun, spec: FrameSpec) -> None:
    if spec.type == "delta" and spec.document is not None:
        known = spec.document if spec.opening else spec.known
        await run.contents.prepare_delta(spec.document, known)
    for entry in spec.entries:
        await _prepare_deltas(run, entry)


async def wanted_of(run: CaseRun, spec: ContentSpec, key: str | None = None) -> Wanted:
    """Return what a content member of a step demands."""
    names = [*spec.documents, *([spec.document] if spec.document is not None else [])]
    heads = frozenset(spec.heads) if spec.empty or spec.heads else None
    if names:
        heads = await run.contents.heads(names)
    tombstone: dict[str, str | int | bytes] = {}
    for name in _TOMBSTONE_FIELDS:
        value = getattr(spec, name)
        if value is not None:
            text = name in ("deleted_by", "reason")
            tombstone[name] = run.scope.text(value) if text else run.scope.integer(value)
    if spec.extra is not None:
        tombstone["extra"] = bytes.fromhex(spec.extra)
    return Wanted(
        run.scope.text(key or spec.key),
        None if spec.type is None else type_number(spec.type),
        heads,
        tombstone or None,
    )


async def _open(run: CaseRun, step: steps.Open) -> None:
    await run.open(step.on, step.stream, uni=step.open == "uni")


async def _send(run: CaseRun, step: steps.Send) -> None:
    await run.send(step.send, step.on, step.stream)


async def _raw(run: CaseRun, step: steps.Raw) -> None:
    stream = await run.stream(step.on, step.stream)
    data = b"".join(raw_piece(run, piece) for piece in step.raw)
    # Bytes in the middle of a stream begin inside a message: no schema reads those.
    kind = "" if stream.sent else _first_kind(run, step.stream)
    what = step.note or "raw bytes"
    await run.write(stream, data, what, step.on, kind="heartbeat" if stream.uni else kind)


def _first_kind(run: CaseRun, stream: str) -> str:
    """Return the kind of the first message on a stream: a frame, but on that of the handshake."""
    formation = run.session.target.formation
    return FIRSTS[formation.dialect] if stream == "hs" and formation else "stream_frame"


def raw_piece(run: CaseRun, piece: Any) -> bytes:
    """Return the bytes of one piece.

    A piece is hex, `u8` to `u64`, `text`, `key`, `repeat` with `times`, or `sized`.
    """
    if isinstance(piece, str):
        return bytes.fromhex(piece)
    if "repeat" in piece:
        return bytes.fromhex(str(piece["repeat"])) * int(piece["times"])
    ((name, value),) = piece.items()
    if name == "sized":
        body = b"".join(raw_piece(run, inner) for inner in value)
        return len(body).to_bytes(4, "big") + body
    if name in _WIDTHS:
        return run.scope.integer(value).to_bytes(_WIDTHS[name], "big")
    text = run.scope.text(str(value)).encode()
    if name == "key":
        return len(text).to_bytes(2, "big") + text
    if name == "text":
        return text
    raise SuiteFault(f"no piece {name!r} in raw bytes")


_WIDTHS = {"u8": 1, "u16": 2, "u32": 4, "u64": 8}


async def _finish(run: CaseRun, step: steps.Finish) -> None:
    stream = await run.stream(step.on, step.stream)
    await stream.finish()
    run.ended(stream, "FIN", step.on)


async def _reset(run: CaseRun, step: steps.Reset) -> None:
    stream = await run.stream(step.on, step.stream)
    run.forget(step.on, step.stream)
    await stream.reset(step.reset)
    run.ended(stream, f"RESET with {code_name(step.reset)}", step.on)


async def _stop(run: CaseRun, step: steps.Stop) -> None:
    stream = await run.stream(step.on, step.stream)
    await stream.stop(step.stop)
    run.ended(stream, f"STOP with {code_name(step.stop)}", step.on)


async def _barrier(run: CaseRun, step: steps.Barrier) -> None:
    await run.barrier(step.on, step.stream)


async def _released(run: CaseRun, step: steps.Released) -> None:
    """Wait until a half that the suite stopped is reset with code 0 or finished (TR-023)."""
    stream = await run.stream(step.on, step.stream)
    run.forget(step.on, step.stream)
    await stream.finish()
    await stream.wait_for(lambda: stream.read_over, run.deadline_s)
    run.check_connection(stream.connection)
    if stream.reset_code not in (None, 0):
        raise CaseFailed(
            "wrong-code",
            "a half that was stopped is reset with code 0",
            expected=(f"FIN, or RESET with {code_name(0)}",),
            received=(f"RESET with {code_name(stream.reset_code or 0)}",),
        )
    if not stream.read_over:
        raise CaseFailed("not-released", "the half that was stopped never ended", missed=True)


async def _answered(run: CaseRun, step: steps.Answered) -> None:
    stream = await run.stream(step.on, step.stream)
    await take_answer(run, stream, bytes.fromhex(step.answered) or None, step.on)


async def _refused(run: CaseRun, step: steps.Refused) -> None:
    reasons = [step.refused] if isinstance(step.refused, str) else step.refused
    await run.refused(reasons, step.on, step.stream, step.within)


async def _closed(run: CaseRun, step: steps.Closed) -> None:
    reasons = [step.closed] if isinstance(step.closed, str) else step.closed
    await run.closed(reasons, step.on, step.within)


async def _close(run: CaseRun, step: steps.Close) -> None:
    try:
        connection = await run.connection(step.on)
    except CaseFailed:
        # A target ends by itself what it has rejected, before a suite that is late.
        if not run.was_rejected(step.on):
            raise
        return
    await connection.close(step.close)


async def _unfinished(run: CaseRun, step: steps.Unfinished) -> None:
    """Fail if the target has ended its half (TR-021)."""
    stream = await run.stream(step.on, step.stream)
    run.check_connection(stream.connection)
    if stream.finished or stream.refused:
        how = "finished its half" if stream.finished else "refused the stream"
        raise CaseFailed("ended-early", f"the target {how} before our FIN")


async def _idle(run: CaseRun, step: steps.Idle) -> None:
    """Wait for a deadline of the target and fail if the stream ends meanwhile (TR-013)."""
    stream = await run.stream(step.on, step.stream)
    run.judge_deadline(stream)
    declared = run.session.target.facts.deadlines[step.idle]
    over = await stream.wait_for(
        lambda: stream.read_over or stream.refused, declared * _IDLE_FACTOR
    )
    if over:
        raise CaseFailed("ended-idle", "the target ended a stream because time passed")


async def _expect(run: CaseRun, step: steps.Expect) -> None:
    wanted = await wanted_of(run, step.expect)
    place = run.marks.get((wanted.key, step.on), 0) if step.next else 0
    _mark(run, wanted, step.on, await run.expect(wanted, step.on, after=place))


async def _read(run: CaseRun, step: steps.Read) -> None:
    wanted = await wanted_of(run, step.content or ContentSpec(), step.read)
    once = step.once and run.strict
    _mark(run, wanted, step.on, await run.read(wanted, step.on, once=once, message=step.hex))


def _mark(run: CaseRun, wanted: Wanted, on: str, arrival: Arrival) -> None:
    """Let a step with `next` begin after this arrival, so that one answer does not count twice."""
    arrivals = run.subscription(wanted.key).arrivals
    run.marks[wanted.key, on] = arrivals.index(arrival) + 1


async def _watch(run: CaseRun, step: steps.Watch) -> None:
    if step.pushes and step.on:
        await run.settle(step.on)
    run.watch(run.scope.text(step.watch), step.on, step.types, pushes=step.pushes)


async def _sync(run: CaseRun, step: steps.Sync) -> None:
    wanted = await wanted_of(run, step.content or ContentSpec(document=step.document), step.sync)
    await synchronise(run, step.document, replace(wanted, type=None), step.on, step.messages)


async def _ping(run: CaseRun, step: steps.Ping) -> None:
    ping = {"type": int(LabRecordType.PING), "body": {"payload": step.ping}}
    await send_record(run, step.on, ping, echo=step.ping)


async def _record(run: CaseRun, step: steps.Record) -> None:
    await send_record(run, step.on, step.record)


async def _connect(run: CaseRun, step: steps.Connect) -> None:
    await connect(run, step.connect, step.options)


async def _handshake(run: CaseRun, step: steps.Handshake) -> None:
    await run_handshake(run, step.on, step.stream, step.handshake)


async def _probe(run: CaseRun, step: steps.Probe) -> None:
    await run.probe()


_OPERATIONS: dict[type[steps.Step], Callable[[CaseRun, Any], Awaitable[None]]] = {
    steps.Connect: _connect,
    steps.Open: _open,
    steps.Send: _send,
    steps.Raw: _raw,
    steps.Finish: _finish,
    steps.Reset: _reset,
    steps.Stop: _stop,
    steps.Barrier: _barrier,
    steps.Released: _released,
    steps.Answered: _answered,
    steps.Refused: _refused,
    steps.Closed: _closed,
    steps.Close: _close,
    steps.Unfinished: _unfinished,
    steps.Idle: _idle,
    steps.Expect: _expect,
    steps.Read: _read,
    steps.Watch: _watch,
    steps.Sync: _sync,
    steps.Ping: _ping,
    steps.Record: _record,
    steps.Handshake: _handshake,
    steps.Probe: _probe,
}


async def synchronise(
    run: CaseRun, name: str, wanted: Wanted, on: str, messages: int, *, first: Arrival | None = None
) -> None:
    """Exchange deltas until the suite's document and the target's have the wanted heads.

    `name` is the document of the suite, which begins unless the target has sent `first` already.
    Raises CaseFailed if that takes more than `messages` messages in both directions together, or
    an answer is missing.
    """
    subscription = run.subscription(wanted.key)
    place = subscription.arrivals[-1].order if subscription.arrivals else 0
    exchange = await run.contents.documents.open_exchange(run.contents.made[name].saved)
    count, theirs = 0, None
    try:
        while True:
            message = None if first is not None else await exchange.generate()
            if message is not None:
                count += 1
                await _send_delta(run, on, wanted.key, message)
            if theirs == wanted.heads == await exchange.heads():
                return
            if count > messages:
                raise CaseFailed(
                    "no-convergence",
                    f"more than {messages} messages without equal heads",
                    expected=wanted_lines(wanted),
                    received=("heads", *sorted(theirs or ())),
                )
            arrival, first = first or await _next(run, wanted, on, place), None
            place = arrival.order
            count += 1
            if arrival.type == FrameType.DELTA:
                theirs = declared_heads(arrival.payload)
            try:
                await exchange.receive(arrival.type, arrival.payload)
            except ValueError as exc:
                raise _unreadable(wanted, arrival, str(exc)) from exc
    finally:
        await exchange.close()


def _unreadable(wanted: Wanted, arrival: Arrival, came: str) -> CaseFailed:
    why = Mismatch("document", came)
    return CaseFailed(
        f"wrong-content {why.field}",
        headline(wanted, why),
        expected=wanted_lines(wanted),
        received=received_lines([(arrival, why)], wanted),
    )


async def _send_delta(run: CaseRun, on: str, key: str, message: bytes) -> None:
    stream = await run.open(on, f"sync {key}")
    data = run.composer.frame(FrameSpec(type="delta", key=key, hex=message.hex()))
    await run.write(stream, data, f"delta of {key}", on, kind="stream_frame")
    await stream.finish()


async def _next(run: CaseRun, wanted: Wanted, on: str, place: int) -> Arrival:
    """Return the next delta or snapshot of the target for the key."""
    subscription = run.subscription(wanted.key)
    name = run.peer(on).name

    def fitting() -> Arrival | None:
        return next(
            (
                arrival
                for arrival in subscription.arrivals
                if arrival.order > place
                and arrival.peer == name
                and arrival.type in (FrameType.DELTA, FrameType.SNAPSHOT)
            ),
            None,
        )

    await subscription.signal.wait_for(lambda: fitting() is not None, run.deadline_s)
    arrival = fitting()
    if arrival is None:
        last = run.peer(on).last
        if last is not None:
            run.check_connection(last)
        raise CaseFailed(
            "no-answer",
            f"the exchange about {wanted.key} stopped: no delta came",
            expected=wanted_lines(wanted),
            received=("nothing within the deadline",),
            missed=True,
        )
    return arrival
