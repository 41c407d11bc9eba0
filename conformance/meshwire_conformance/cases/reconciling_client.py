"""Cases about a target that begins a reconciliation: the suite is the server of its run."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from functools import partial

from meshwire_conformance.cases.planting import plant, send_snapshot
from meshwire_conformance.catalogue.python_cases import case
from meshwire_conformance.protocol.negentropy import Item
from meshwire_conformance.protocol.negentropy_messages import INFINITE, Range
from meshwire_conformance.socket_suite.calls import accept_call
from meshwire_conformance.socket_suite.case_run import CaseRun
from meshwire_conformance.socket_suite.evidence import CaseFailed
from meshwire_conformance.socket_suite.inbox import BegunRun
from meshwire_conformance.socket_suite.meanwhile import code_name, ends_of
from meshwire_conformance.socket_suite.reconciling import (
    ANSWERS_MAX,
    answer_of,
    item_of,
    message_of,
    next_answer,
    take_answer,
)
from meshwire_spec.codec import Message, encode
from meshwire_spec.numbers import (
    NEGENTROPY_KEY,
    NEGENTROPY_MESSAGE_MAX,
    REASONS,
    FrameType,
)
from meshwire_spec.schemas.steps import FrameSpec

NEEDS = ("documents", "dials", "reconciles")
LET = {"key": "tracks:$case"}
DOUBT = message_of([Range(INFINITE, bytes(range(1, 17)))])
"""An answer that leaves everything open: a fingerprint that no set has."""
SAME_MAX = 4
"""More messages in a row with one range in front than a client may take (NG-020)."""

client_case = partial(case, part="reconciliation", needs=NEEDS, isolation="peer", let=LET)
"""Registers a case about a target that begins a reconciliation."""
refused_case = partial(client_case, negative=True, control="MW-6080")
"""Registers a case in which the target must refuse its run."""


@dataclass(slots=True)
class ServedRun:
    """A run of the target, with the suite as its server."""

    run: CaseRun
    begun: BegunRun

    async def say(
        self,
        message: bytes,
        frame_type: int = FrameType.NEGENTROPY_RESPONSE,
        key: str = NEGENTROPY_KEY,
    ) -> None:
        """Send a frame on the stream of the run."""
        fields = {"key": key, "type": int(frame_type), "payload": message}
        data = encode(Message("stream_frame", fields))
        what = f"frame of type 0x{frame_type:02x}"
        await self.run.write(self.begun.stream, data, what, kind="stream_frame")

    async def next(self) -> bytes | None:
        """Return the next message of the target, or None if it has ended its half."""
        return await next_answer(self.run, self.begun.stream)

    async def serve(
        self,
        items: Iterable[Item],
        message: bytes | None = None,
        answer: Callable[[list[Item], bytes], bytes] = answer_of,
    ) -> None:
        """Answer until the target has no more messages; raises CaseFailed."""
        held = list(items)
        message = message or self.begun.message
        for _ in range(ANSWERS_MAX):
            await self.say(answer(held, message))
            following = await self.next()
            if following is None:
                break
            message = following
        await self.begun.stream.finish()
        self.run.check_connection(self.begun.stream.connection)
        if not self.begun.stream.finished:
            raise CaseFailed(
                "no-end",
                "the run was settled, and its stream did not end",
                expected=("FIN, once nothing is open",),
                received=ends_of(self.begun.stream) or ("nothing within the deadline",),
                missed=True,
            )

    async def check_refused(self, reason: str) -> None:
        """Fail unless the target refuses the stream of the run for this reason."""
        stream, code = self.begun.stream, REASONS[reason].code
        stream.end_pauses()
        await stream.wait_for(lambda: stream.stop_code is not None, self.run.deadline_s)
        self.run.check_connection(stream.connection)
        reset = {None, code} if stream.finished else {code}
        if stream.stop_code != code or stream.reset_code not in reset:
            raise CaseFailed(
                "no-refusal" if stream.stop_code is None else f"wrong-code {stream.stop_code}",
                "the target did not refuse the run for that",
                expected=(f"STOP with {code_name(code)}, and RESET unless FIN has come",),
                received=ends_of(stream) or ("nothing within the deadline",),
                missed=stream.stop_code is None,
            )


async def take_run(run: CaseRun) -> ServedRun:
    """Take a connection that the target dials, and the run that it begins there."""
    runs = run.session.inbox.serve_runs(run.own_peer("A").name)
    known = len(runs)
    connection = await accept_call(run, "A")
    await run.session.inbox.signal.wait_for(lambda: len(runs) > known, run.deadline_s)
    run.check_connection(connection)
    if len(runs) == known:
        raise CaseFailed("no-run", "the target began no reconciliation", missed=True)
    return ServedRun(run, runs[-1])


@client_case(
    "MW-6080",
    "a target that reconciles must send its tombstones, then the documents that its peer lacks",
    rules=("NG-025", "NG-062"),
    let={**LET, "deleted": "nodes:$case"},
)
async def tombstones_first(run: CaseRun) -> None:
    """The run takes the place of the offer, and with it of the tombstones."""
    await run.send(FrameSpec(type="tombstone", key="$deleted"), "B")
    await run.barrier("B")
    planted = await plant(run)
    served = await take_run(run)
    await served.serve([])
    document = await run.expect(planted, "A")
    deleted = run.subscription(run.scope.names["deleted"]).arrivals
    peer = run.peer("A").name
    if not any(one.peer == peer and one.order < document.order for one in deleted):
        raise CaseFailed(
            "out-of-order",
            "a document was sent, and a tombstone that the target holds was not",
            expected=("the tombstone, then the document",),
            received=("the document",),
        )


@client_case(
    "MW-6081",
    "a document that the run finds missing must come before one that both sides hold",
    rules=("NG-025",),
    let={**LET, "held": "tracks:$case-held"},
)
async def missing_first(run: CaseRun) -> None:
    """The result of the run is not used: everything is offered in its order."""
    held = await plant(run, "$held")
    planted = await plant(run)
    served = await take_run(run)
    await served.serve([item_of(held.key)])
    document = await run.expect(planted, "A")
    peer = run.peer("A").name
    early = [
        one
        for one in run.subscription(held.key).arrivals
        if one.peer == peer and one.order < document.order
    ]
    if early:
        raise CaseFailed(
            "out-of-order",
            "a document that both sides hold came before one that the suite lacks",
            expected=(f"{planted.key} first",),
            received=(f"{held.key} first",),
        )


@client_case(
    "MW-6082",
    "later messages of a run must be sent as 0x09 on its stream",
    rules=("NG-062", "FR-014"),
    level="wire",
)
async def later_messages(run: CaseRun) -> None:
    """Each message begins a run anew, on a stream of its own or as 0x08."""
    planted = await plant(run)
    served = await take_run(run)
    await served.say(DOUBT)
    message = await served.next()
    if message is None:
        raise CaseFailed("ended-early", "a range was left open, and the target sent nothing")
    await served.serve([], message)
    await run.expect(planted, "A")


@client_case(
    "MW-6083",
    "a target must offer its documents as without a run, where its peer refuses that",
    rules=("NG-027", "DC-035"),
)
async def refused_run(run: CaseRun) -> None:
    """A peer without reconciliation never gets a document."""
    planted = await plant(run)
    served = await take_run(run)
    code = REASONS["unsupported"].code
    await served.begun.stream.stop(code)
    await served.begun.stream.reset(code)
    await run.expect(planted, "A")


@client_case(
    "MW-6084",
    "a target whose run ends without an answer must offer its documents as without a run",
    rules=("NG-027", "DC-035"),
)
async def ended_run(run: CaseRun) -> None:
    """FIN in place of an answer is not noticed, or counts as an answer."""
    planted = await plant(run)
    served = await take_run(run)
    await served.begun.stream.finish()
    await run.expect(planted, "A")


async def _reset(run: CaseRun, served: ServedRun) -> None:
    await served.begun.stream.reset(258)
    run.ended(served.begun.stream, "RESET with 258")


async def _stop(run: CaseRun, served: ServedRun) -> None:
    await served.begun.stream.stop(0)
    run.ended(served.begun.stream, "STOP with 0")


def _ends(
    case_id: str,
    title: str,
    rules: tuple[str, ...],
    end: Callable[[CaseRun, ServedRun], Awaitable[None]],
    hunts: str,
) -> None:
    """Register a case in which one half of a run ends in place of an answer."""

    async def ends(run: CaseRun) -> None:
        planted = await plant(run)
        served = await take_run(run)
        await end(run, served)
        await run.expect(planted, "A")

    ends.__doc__ = hunts
    client_case(case_id, title, rules=rules)(ends)


_ends(
    "MW-6440",
    "a RESET in place of an answer must end the run",
    ("NG-027", "DC-035"),
    _reset,
    "Only FIN or a refusal of both halves counts as the end of a run.",
)
_ends(
    "MW-6441",
    "a STOP of the target's half of a run must end the run",
    ("NG-027", "DC-035"),
    _stop,
    "An answer is waited for although no further message can be sent.",
)


@client_case(
    "MW-6442",
    "frames and a run of the peer must be served while the target's own run waits",
    rules=("NG-016", "NG-014", "TR-002"),
    needs=(*NEEDS, "reconciliation"),
    let={**LET, "sent": "notes:$case"},
)
async def served_beside_a_run(run: CaseRun) -> None:
    """A node that waits for an answer reads nothing else, so that two such nodes lock up."""
    planted = await plant(run)
    served = await take_run(run)
    await run.read(await send_snapshot(run, "A", key="$sent"), "A")
    await run.send(FrameSpec(type="negentropy-init", hex="61"), "A", "beside")
    await take_answer(run, await run.stream("A", "beside"), b"\x61")
    await served.serve([])
    await run.expect(planted, "A")
    await run.send(FrameSpec(type="negentropy-response", hex="61"), "A", "beside")
    await take_answer(run, await run.stream("A", "beside"), b"\x61")
    await run.barrier("A", "beside")


@client_case(
    "MW-6443",
    "a connection that ends while the target waits for an answer must not stop its next run",
    rules=("NG-025", "LB-053"),
)
async def closed_within_a_run(run: CaseRun) -> None:
    """A run that its connection has ended counts as begun, or is still waited for."""
    planted = await plant(run)
    served = await take_run(run)
    await served.begun.stream.connection.close()
    served = await take_run(run)
    await served.say(DOUBT)
    await served.begun.stream.connection.close()
    await (await take_run(run)).serve([])
    await run.expect(planted, "A")


@client_case(
    "MW-6980",
    "a target whose peer closes at its 0x08 must offer its documents at the next connection",
    rules=("NG-065", "DC-035"),
)
async def closed_at_the_run(run: CaseRun) -> None:
    """A peer that closes each connection at a 0x08 never gets a document."""
    planted = await plant(run)
    served = await take_run(run)
    await served.begun.stream.connection.close(REASONS["internal"].code, "no 0x08 here")
    runs = run.session.inbox.serve_runs(run.own_peer("A").name)
    arrivals = run.subscription(planted.key).arrivals
    known, before = len(runs), len(arrivals)
    connection = await accept_call(run, "A")
    await run.session.inbox.signal.wait_for(
        lambda: len(runs) > known or len(arrivals) > before, run.deadline_s
    )
    run.check_connection(connection)
    if len(runs) > known:
        raise CaseFailed(
            "run-again",
            "the target began a run again with a peer that closes at one",
            expected=("its documents, as without a run",),
            received=("a 0x08",),
        )
    await run.expect(planted, "A", after=before)


@client_case(
    "MW-6085",
    "a target must begin a run on each connection",
    rules=("NG-025", "NG-016"),
)
async def run_on_each_connection(run: CaseRun) -> None:
    """A run counts for a peer and not for its connection, so that later ones bring nothing."""
    planted = await plant(run)
    for _ in range(2):
        before = len(run.subscription(planted.key).arrivals)
        served = await take_run(run)
        await served.serve([])
        await run.expect(planted, "A", after=before)
        await served.begun.stream.connection.close()


# --- Answers at fault ----------------------------------------------------------------------------


def _refuses(
    case_id: str,
    title: str,
    rules: tuple[str, ...],
    payload: bytes,
    reason: str,
    hunts: str,
    frame: tuple[int, str] = (FrameType.NEGENTROPY_RESPONSE, NEGENTROPY_KEY),
) -> None:
    """Register a case with an answer for which a client refuses its run, and offers everything."""

    async def refuses(run: CaseRun) -> None:
        planted = await plant(run)
        served = await take_run(run)
        await served.say(payload, *frame)
        await served.check_refused(reason)
        await run.expect(planted, "A")

    refuses.__doc__ = hunts
    refused_case(case_id, title, rules=rules)(refuses)


_refuses(
    "MW-6086",
    "an answer that does not decode must end the run",
    ("NG-022", "NG-027"),
    bytes.fromhex("61000007"),
    "bad-mode",
    "A bad answer counts as the end of a complete run, so that nothing is offered.",
)
_refuses(
    "MW-6087",
    "a delta on the stream of a run must be refused",
    ("NG-028",),
    bytes.fromhex("42000001000000020102"),
    "unexpected-message",
    "A frame on the stream of a run is taken for an answer whatever its type.",
    (FrameType.DELTA, "notes:other"),
)
_refuses(
    "MW-6088",
    "an answer with another key must be refused",
    ("NG-028",),
    bytes.fromhex("6100000200"),
    "unexpected-message",
    "The key of an answer is not looked at.",
    (FrameType.NEGENTROPY_RESPONSE, "_negentropz"),
)
_refuses(
    "MW-6089",
    "a 0x08 in place of an answer must be refused",
    ("NG-028",),
    bytes.fromhex("6100000200"),
    "unexpected-message",
    "The first message of a run of the peer is taken for an answer.",
    (FrameType.NEGENTROPY_INIT, NEGENTROPY_KEY),
)


@refused_case(
    "MW-6090",
    "an answer of more than 131,072 bytes must be refused as soon as its length is read",
    rules=("NG-018", "NG-027"),
)
async def long_answer(run: CaseRun) -> None:
    """The limit of a message holds for the server alone."""
    planted = await plant(run)
    served = await take_run(run)
    size = NEGENTROPY_MESSAGE_MAX + 1
    key = NEGENTROPY_KEY.encode()
    head = len(key).to_bytes(2, "big") + key + bytes((FrameType.NEGENTROPY_RESPONSE,))
    await run.write(served.begun.stream, head + size.to_bytes(4, "big"), f"a length of {size}")
    await served.check_refused("length-limit")
    await run.expect(planted, "A")


@refused_case(
    "MW-6091",
    "a run that makes no progress must be refused by its client",
    rules=("NG-020", "NG-027"),
)
async def no_progress(run: CaseRun) -> None:
    """A server that repeats itself keeps a client busy for ever."""
    planted = await plant(run)
    served = await take_run(run)
    for _ in range(SAME_MAX):
        await served.say(DOUBT)
        if await served.next() is None:
            break
    await served.check_refused("no-progress")
    await run.expect(planted, "A")


@refused_case(
    "MW-6092",
    "an answer after the end of a run must be refused",
    rules=("NG-028",),
)
async def answer_after_the_end(run: CaseRun) -> None:
    """Frames on the stream of a complete run are read over."""
    planted = await plant(run)
    served = await take_run(run)
    message: bytes | None = served.begun.message
    while message is not None:
        await served.say(answer_of([], message))
        message = await served.next()
    await served.say(DOUBT)
    await served.check_refused("unexpected-message")
    await run.expect(planted, "A")
