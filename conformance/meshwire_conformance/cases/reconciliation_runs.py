"""Cases about concurrent reconciliation runs, and about runs that never end."""

from __future__ import annotations

from collections.abc import Sequence

from meshwire_conformance.catalogue.python_cases import case
from meshwire_conformance.protocol.negentropy_messages import Range
from meshwire_conformance.socket_suite.case_run import CaseRun
from meshwire_conformance.socket_suite.evidence import CaseFailed
from meshwire_conformance.socket_suite.reconciling import (
    Client,
    Conversation,
    check_claimed,
    check_learnt,
    doubt,
    invented,
    item_of,
    message_of,
    next_answer,
    own_keys,
    send_documents,
)
from meshwire_spec.numbers import (
    NEGENTROPY_FRAME_LIMIT,
    NEGENTROPY_ROUND_BYTES,
    NEGENTROPY_ROUNDS_MIN,
)
from meshwire_spec.schemas.steps import FrameSpec

NEEDS = ("documents", "reconciliation")
EMPTY_RANGE = "MW-5506"
"""Control case: it asks about an empty range and shows that runs are answered at all."""
HELD = 40
"""Number of stored documents: more than fit into one list, so that the set is split."""
CLAIMED = 100
PLACES = (("A", "one"), ("A", "other"), ("B", "third"))
FIRST_PLACE = 0x5AA5_3CC3_0FF0_0000
PLACE_BYTES = 8
CUT = 20
RESET_CODE = 258
ROUNDS_TRIED = 8
"""Messages beyond the allowed rounds; enough for a target with thousands of other documents."""


async def _beside(run: CaseRun, keys: Sequence[str]) -> list[tuple[Conversation, Client]]:
    """Return runs with sets of their own, each of which knows a different third of the keys."""
    runs = []
    for number, (on, name) in enumerate(PLACES):
        items = [*invented(run, CLAIMED, name), *map(item_of, keys[number :: len(PLACES)])]
        runs.append((Conversation(run, on, name), Client(items, doubt(items))))
    return runs


def _check(run: CaseRun, keys: Sequence[str], number: int, client: Client) -> None:
    known = keys[number :: len(PLACES)]
    check_learnt(client, [key for key in keys if key not in known], known)
    check_claimed(client, invented(run, CLAIMED, PLACES[number][1]))


@case(
    "MW-5547",
    "three concurrent runs, two of one peer, must each find the differences of their own sets",
    part="reconciliation",
    rules=("NG-016", "NG-014"),
    needs=NEEDS,
)
async def interleaved(run: CaseRun) -> None:
    """Runs are looked up by peer, so that one run receives the messages of another."""
    keys = own_keys(run, HELD)
    await send_documents(run, keys)
    runs = await _beside(run, keys)
    while any(client.next is not None for _, client in runs):
        going = [(conversation, client) for conversation, client in runs if client.next is not None]
        for conversation, client in going:
            assert client.next is not None
            await conversation.say(client.next)
        for conversation, client in reversed(going):
            client.take(await conversation.answer())
    for number, (conversation, client) in enumerate(runs):
        await conversation.end()
        _check(run, keys, number, client)


@case(
    "MW-5548",
    "a run that is reset inside a message must not affect other runs of its peer",
    part="reconciliation",
    rules=("NG-016", "TR-014"),
    needs=NEEDS,
)
async def one_is_reset(run: CaseRun) -> None:
    """The rest of an abandoned run is processed as part of another."""
    keys = own_keys(run, HELD)
    await send_documents(run, keys)
    runs = await _beside(run, keys)
    for conversation, client in runs:
        assert client.next is not None
        client.take(await conversation.ask(client.next))
    (given_up, client), *others = runs
    stream = await given_up.stream()
    message = client.next or b""
    frame = run.composer.frame(FrameSpec(type="negentropy-response", hex=message.hex()))
    await run.write(stream, frame[:CUT], "the beginning of a message")
    await stream.reset(RESET_CODE)
    run.ended(stream, f"RESET with {RESET_CODE}")
    for number, (conversation, client) in enumerate(others, 1):
        await client.run(conversation)
        await conversation.end()
        _check(run, keys, number, client)


def place(number: int) -> bytes:
    """Return a message that asks about an empty range, a different one for each number."""
    lower = FIRST_PLACE + 2 * number
    bounds = [(lower + step).to_bytes(PLACE_BYTES, "big") for step in range(2)]
    return message_of([Range((0, bounds[0]), None), Range((0, bounds[1]), ())])


def rounds_allowed(items: int) -> int:
    """Return how many messages a run may have with a node that holds `items` items (NG-021)."""
    further = -(-NEGENTROPY_ROUND_BYTES * items // NEGENTROPY_FRAME_LIMIT)
    return NEGENTROPY_ROUNDS_MIN + further


async def _count_documents(run: CaseRun, name: str) -> int:
    """Return the number of documents that the target lists to a client that holds none."""
    conversation, client = Conversation(run, name=name), Client(())
    await client.run(conversation)
    await conversation.end()
    return len(client.need)


@case(
    "MW-5549",
    "a run that always queries another range must end with too-many-rounds",
    part="reconciliation",
    rules=("NG-021", "ER-010"),
    needs=NEEDS,
    control=EMPTY_RANGE,
    negative=True,
)
async def endless(run: CaseRun) -> None:
    """A run is answered without limit, or ends before its limit."""
    await send_documents(run, own_keys(run, 1))
    before = await _count_documents(run, "before")
    least = rounds_allowed(before)
    conversation = Conversation(run)
    for number in range(least):
        await conversation.say(place(number))
    for number in range(least):
        await conversation.answer(place(number))
    answered = least
    while answered < least + ROUNDS_TRIED:
        await conversation.say(place(answered))
        if await next_answer(run, await conversation.stream()) is None:
            break
        answered += 1
    # Other cases store documents meanwhile.
    most = rounds_allowed(max(before, await _count_documents(run, "after")))
    if answered > most:
        raise CaseFailed(
            "no-refusal",
            f"{answered} messages of a run were answered, with {before} documents stored",
            expected=(f"{least} to {most} answers, then a refusal with too-many-rounds",),
            received=(f"{answered} answers",),
        )
    await run.refused(["too-many-rounds"], conversation.on, conversation.name)
