"""Cases about a run that the target begins, and that ends after its first answer.

The first answer says that the suite lacks the document of the case, and leaves the rest open. So
what the run has found until then is not all, and nothing of it has been sent.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from meshwire_conformance.cases.planting import plant
from meshwire_conformance.cases.reconciling_client import ServedRun, client_case, take_run
from meshwire_conformance.protocol.negentropy_messages import INFINITE, Range
from meshwire_conformance.socket_suite.case_run import CaseRun
from meshwire_conformance.socket_suite.evidence import CaseFailed
from meshwire_conformance.socket_suite.reconciling import id_of, message_of
from meshwire_spec.numbers import NEGENTROPY_ID, NEGENTROPY_KEY, FrameType

NO_SET = bytes(range(1, 17))
"""A fingerprint that no set has."""
RESET_CODE = 258
BAD_MODE = bytes.fromhex("61000007")

EndOfRun = Callable[[CaseRun, ServedRun], Awaitable[None]]


def _lacks(key: str) -> bytes:
    """Return an answer that holds nothing up to a document, and has other items after it."""
    after = (int.from_bytes(id_of(key), "big") + 1).to_bytes(NEGENTROPY_ID, "big")
    return message_of([Range((0, after), ()), Range(INFINITE, NO_SET)])


async def _reset(run: CaseRun, served: ServedRun) -> None:
    await served.begun.stream.reset(RESET_CODE)
    run.ended(served.begun.stream, f"RESET with {RESET_CODE}")


async def _finish(run: CaseRun, served: ServedRun) -> None:
    await served.begun.stream.finish()
    run.ended(served.begun.stream, "FIN")


async def _stop(run: CaseRun, served: ServedRun) -> None:
    await served.begun.stream.stop(0)
    run.ended(served.begun.stream, "STOP with 0")


async def _spoil(run: CaseRun, served: ServedRun) -> None:
    await served.say(BAD_MODE)
    await served.check_refused("bad-mode")


async def _send_another(run: CaseRun, served: ServedRun) -> None:
    await served.say(BAD_MODE[:1], FrameType.NEGENTROPY_INIT, NEGENTROPY_KEY)
    await served.check_refused("unexpected-message")


def _ends_by(case_id: str, what: str, rules: tuple[str, ...], end: EndOfRun) -> None:
    """Register a case in which the run ends in this way after its first answer."""

    async def ends(run: CaseRun) -> None:
        planted = await plant(run)
        served = await take_run(run)
        await served.say(_lacks(planted.key))
        if await served.next() is None:
            raise CaseFailed("ended-early", "a range was left open, and the target sent nothing")
        await end(run, served)
        await run.expect(planted, "A")

    ends.__doc__ = "What a run has found before it ends counts as sent, or nothing is offered."
    title = f"{what} after an answer must end the run, and everything be offered"
    client_case(case_id, title, rules=(*rules, "DC-035"))(ends)


_ends_by("MW-6966", "a RESET", ("NG-027",), _reset)
_ends_by("MW-6967", "a FIN", ("NG-027",), _finish)
_ends_by("MW-6968", "a STOP of the target's half", ("NG-027",), _stop)
_ends_by("MW-6969", "a message that does not decode", ("NG-027", "NG-022"), _spoil)
_ends_by("MW-6970", "a 0x08", ("NG-027", "NG-028"), _send_another)
