"""Cases about changes that the target has sent, and that its peer asks for again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from meshwire_conformance.cases.planting import NOTHING, send_snapshot
from meshwire_conformance.catalogue.python_cases import case
from meshwire_conformance.protocol.automerge_bytes import CHECKSUM, MAGIC, filters_of, sync_message
from meshwire_conformance.socket_suite.case_run import CaseRun
from meshwire_conformance.socket_suite.content import Wanted
from meshwire_conformance.socket_suite.evidence import CaseFailed
from meshwire_conformance.socket_suite.inbox import Arrival
from meshwire_conformance.socket_suite.shortfall import line_of
from meshwire_spec.numbers import FrameType
from meshwire_spec.schemas.steps import DocumentSpec, FrameSpec

ASKED = 3
"""Times that the suite asks for the change that it has lost."""
ONE_HASH = b"\x01"
UNHEARD = "5ac3" * 16
"""The hash of a change that no document of the suite has."""

again_case = partial(
    case,
    part="documents",
    needs=("documents",),
    isolation="peer",
    let={"key": "notes:$case", "asked": "notes:$case-asked"},
)
"""Registers a case about a change that its peer asks for again."""


@again_case(
    "MW-6700",
    "a change that its peer asks for again must be sent again, once for the same heads",
    rules=("DC-053", "DC-054"),
    # It counts the frames received after the push, and streams of QUIC come in any order.
    needs=("documents", "binding:tcp"),
)
async def a_lost_change_is_sent_again(run: CaseRun) -> None:
    """The library sends a change once, and answers the second request without it, without end."""
    lost = await _lose_a_change(run)
    for _ in range(ASKED):
        await _ask_again(run, lost.first, lost=lost.second)
    await run.read(lost.whole)
    _check_sent_once(lost.answers(), lost.chunk)


@dataclass(frozen=True, slots=True)
class LostChange:
    """A change that was pushed to A, which asks for it again since it has only the first one."""

    whole: Wanted
    first: str
    second: str
    pushed: Arrival
    arrivals: Sequence[Arrival]

    @property
    def chunk(self) -> bytes:
        """The beginning of the chunk with the change."""
        return MAGIC + bytes.fromhex(self.second)[:CHECKSUM]

    def answers(self) -> list[Arrival]:
        """Return the deltas that came to A after the push, and are not that push again.

        A target may offer a document once more that it has just relayed, and answers nothing so.
        """
        after = self.arrivals.index(self.pushed) + 1
        return [
            one
            for one in self.arrivals[after:]
            if _is_delta_to(one, self.pushed.peer) and one.payload != self.pushed.payload
        ]


async def _lose_a_change(run: CaseRun) -> LostChange:
    """Let the target push a document of two changes to A, which has the first alone."""
    await run.documents(
        {
            "first": DocumentSpec(actor="1a1b1c1d", fields={"course": 259}),
            "both": DocumentSpec(actor="0b0b0b0b", merge=["first"], edits=[{"course": 386}]),
            "later": DocumentSpec(actor="0b0b0b0b", merge=["both"], edits=[{"course": 517}]),
        }
    )
    made = run.contents.made
    (first,) = made["first"].heads
    (second,) = made["both"].heads
    # From here on A is sent what changes.
    await run.read(Wanted(run.scope.names["asked"], heads=NOTHING))
    whole = await send_snapshot(run, document="both")
    pushed = await run.expect(whole, "A")
    return LostChange(whole, first, second, pushed, run.subscription(whole.key).arrivals)


async def _ask_again(run: CaseRun, *heads: str, lost: str) -> None:
    """Say that A has these heads and lacks a change, which the target believes it has."""
    message = sync_message(
        heads=bytes((len(heads),)) + b"".join(map(bytes.fromhex, sorted(heads))),
        need=ONE_HASH + bytes.fromhex(lost),
        have=filters_of(entries=0, bits=0, probes=0, size=0),
    )
    await run.send(FrameSpec(type="delta", hex=message.hex()))
    await run.barrier()


async def _check_sent_twice(run: CaseRun, lost: LostChange) -> None:
    """Fail unless the change has come in two deltas after its push."""

    def times() -> int:
        return sum(lost.chunk in one.payload for one in lost.answers())

    signal = run.subscription(lost.whole.key).signal
    if not await signal.wait_for(lambda: times() > 1, run.deadline_s):
        raise CaseFailed(
            "not-sent-again",
            "a change is not sent again, although the heads of one side have changed",
            expected=("two deltas with the change",),
            received=tuple(map(line_of, lost.answers())),
            missed=True,
        )


@again_case(
    "MW-6947",
    "a change that its peer asks for with further heads must be sent once more",
    rules=("DC-053",),
)
async def asked_with_other_heads(run: CaseRun) -> None:
    """What was answered is remembered by the target's own heads alone."""
    lost = await _lose_a_change(run)
    await _ask_again(run, lost.first, lost=lost.second)
    await _ask_again(run, lost.first, UNHEARD, lost=lost.second)
    await _check_sent_twice(run, lost)


@again_case(
    "MW-6948",
    "a change that its peer asks for must be sent once more when the target has other heads",
    rules=("DC-053",),
)
async def asked_after_a_change(run: CaseRun) -> None:
    """What was answered is remembered by the heads of the peer alone."""
    lost = await _lose_a_change(run)
    await _ask_again(run, lost.first, lost=lost.second)
    await send_snapshot(run, document="later")
    await _ask_again(run, lost.first, lost=lost.second)
    await _check_sent_twice(run, lost)


def _check_sent_once(answers: Sequence[Arrival], chunk: bytes) -> None:
    """Fail unless one of the answers has the change, and no other but the last one came."""
    repeated = [one for one in answers if chunk in one.payload]
    if not repeated:
        raise CaseFailed(
            "not-sent-again",
            "a change that the peer has lost is not sent again",
            expected=("a delta with the change",),
            received=tuple(map(line_of, answers)),
        )
    # The last one answers the read.
    if len(answers) > len((repeated[0], answers[-1])):
        raise CaseFailed(
            "endless-talk",
            "the same request, with the same heads on both sides, is answered again",
            expected=("a delta with the change, and the answer to the read",),
            received=tuple(map(line_of, answers)),
        )


def _is_delta_to(arrival: Arrival, peer: str) -> bool:
    return arrival.peer == peer and arrival.type == FrameType.DELTA
