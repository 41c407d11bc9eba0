"""`sync`: Automerge's own protocol run with the target until both sides have equal heads."""

from __future__ import annotations

from meshwire_conformance.socket_suite.case_run import CaseRun
from meshwire_conformance.socket_suite.content import Wanted, declared_heads
from meshwire_conformance.socket_suite.inbox import Arrival
from meshwire_conformance.socket_suite.outcome import CaseFailed
from meshwire_conformance.socket_suite.shortfall import wanted_lines
from meshwire_spec.numbers import FrameType
from meshwire_spec.schemas.steps import FrameSpec


async def synchronise(run: CaseRun, name: str, wanted: Wanted, on: str, messages: int) -> None:
    """Exchange deltas until our document and the target's have the wanted heads.

    `name` is our document; raises CaseFailed where that takes more than `messages` messages in
    both directions together, or an answer is missing.
    """
    subscription = run.subscription(wanted.key)
    place = subscription.arrivals[-1].order if subscription.arrivals else 0
    exchange = await run.contents.documents.open_exchange(run.contents.made[name].saved)
    count, theirs = 0, None
    try:
        while True:
            message = await exchange.generate()
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
            arrival = await _next(run, wanted, on, place)
            place = arrival.order
            count += 1
            if arrival.type == FrameType.DELTA:
                theirs = declared_heads(arrival.payload)
            await exchange.receive(arrival.type, arrival.payload)
    finally:
        await exchange.close()


async def _send_delta(run: CaseRun, on: str, key: str, message: bytes) -> None:
    stream = await run.open(on, f"sync {key}")
    data = run.composer.frame(FrameSpec(type="delta", key=key, hex=message.hex()))
    await run.write(stream, data, f"delta of {key}", on, kind="stream_frame")
    await stream.finish()


async def _next(run: CaseRun, wanted: Wanted, on: str, place: int) -> Arrival:
    """The next delta or snapshot of the target for the key."""
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
