"""Cases about what follows many ranges or ids of a reconciliation, in both roles."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from meshwire_conformance.cases.late_elements import PLACES
from meshwire_conformance.cases.reconciling_client import client_case, take_run
from meshwire_conformance.cases.spread_findings import check_found, plant_many
from meshwire_conformance.catalogue.python_cases import case
from meshwire_conformance.protocol.negentropy import Item
from meshwire_conformance.protocol.negentropy_messages import INFINITE, Range, varint_of
from meshwire_conformance.socket_suite.case_run import CaseRun
from meshwire_conformance.socket_suite.reconciling import (
    Conversation,
    ask_about,
    invented,
    item_of,
    message_of,
    own_keys,
    send_documents,
)

ASKED = 320
"""Documents about which one message asks."""
NEEDS = ("documents", "reconciliation")
HELD = 40
"""Documents of a target that begins a run; the suite lacks every second one."""


@case(
    "MW-6912",
    "a question about 320 documents must be answered for each that is held, wherever it stands",
    part="reconciliation",
    rules=("NG-014", "NG-015", "NG-056"),
    needs=NEEDS,
)
async def asked_after(run: CaseRun) -> None:
    """Ranges of a message are answered up to some number, or their answers joined from there on."""
    keys = sorted(own_keys(run, ASKED), key=lambda key: item_of(key)[1])
    held = [keys[place] for place in PLACES]
    await send_documents(run, held)
    conversation = Conversation(run)
    await ask_about(conversation, keys, held)
    await conversation.end()


# --- Faults --------------------------------------------------------------------------------------

FAR = bytes.fromhex("0104ffffffff")
"""A bound above all that come before it."""


def _too_many_ids(ids: list[bytes]) -> bytes:
    """Return a range that counts an id more than it has."""
    return FAR + b"\x02" + varint_of(len(ids) + 1) + b"".join(ids)


FAULTS: Mapping[str, tuple[str, Callable[[list[bytes]], bytes]]] = {
    "an unassigned mode": ("bad-mode", lambda _: FAR + b"\x03"),
    "a bound that is not greater": ("bad-bound", lambda _: bytes.fromhex("01010000")),
    "a prefix of 33 bytes": ("bad-bound", lambda _: b"\x01\x21" + b"\xff" * 33 + b"\x00"),
    "a varint that begins with nothing": ("bad-varint", lambda _: b"\x80" + FAR + b"\x00"),
    "a fingerprint that is cut": ("truncated", lambda _: FAR + b"\x01" + b"\x5a" * 15),
    "an id more than there are": ("count-limit", _too_many_ids),
}
"""Last ranges of a message, by name, with the reason for which it is refused."""


@case(
    "MW-6913",
    "a message whose fault is after 17 or 300 ranges or ids must be refused for it",
    part="reconciliation",
    rules=("NG-022", "NG-004", "NG-007", "NG-008", "NG-011"),
    needs=NEEDS,
    negative=True,
    control="MW-6912",
)
async def fault_after(run: CaseRun) -> None:
    """A message is checked up to some number of ranges, or of ids in one of them."""
    for place in (PLACES[1], PLACES[-1]):
        ids = sorted(name for _, name in invented(run, place))
        ranges = [Range((0, name), () if n % 2 else None) for n, name in enumerate(ids)]
        good = message_of(ranges)
        for name, (reason, fault) in FAULTS.items():
            conversation = Conversation(run, name=f"{name} after {place}")
            await conversation.say(good + fault(ids))
            await run.refused([reason], conversation.on, conversation.name)


# --- Answers to a target that begins a run -------------------------------------------------------


def _one_list(items: list[Item], _message: bytes) -> bytes:
    return message_of([Range(INFINITE, tuple(name for _, name in sorted(items)))])


def _one_range_each(items: list[Item], _message: bytes) -> bytes:
    """Return a message with a range for each item, up to the next one."""
    ids = sorted(name for _, name in items)
    bounds = [*((0, name) for name in ids[1:]), INFINITE]
    return message_of(Range(bound, (name,)) for bound, name in zip(bounds, ids, strict=True))


def _found_after(
    case_id: str,
    title: str,
    rules: tuple[str, ...],
    answer: Callable[[list[Item], bytes], bytes],
    hunts: str,
) -> None:
    """Register a case in which one answer of some hundred items settles a run."""

    async def found(run: CaseRun) -> None:
        keys = await plant_many(run, HELD)
        lacking = keys[1::2]
        held = map(item_of, keys[::2])
        served = await take_run(run)
        await served.serve([*held, *invented(run, PLACES[-1])], answer=answer)
        await check_found(run, lacking, keys)

    found.__doc__ = hunts
    client_case(case_id, title, rules=rules, let={})(found)


_found_after(
    "MW-6914",
    "documents that one answer with a list of 320 ids finds missing must all be sent first",
    ("NG-025", "NG-056"),
    _one_list,
    "A list of ids is read up to some number, so that documents after it count as missing.",
)
_found_after(
    "MW-6915",
    "documents that one answer of 320 ranges finds missing must all be sent first",
    ("NG-025", "NG-056"),
    _one_range_each,
    "The ranges of an answer are read up to some number, and what is after them not compared.",
)
