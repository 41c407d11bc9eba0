"""Cases about what a run of reconciliation finds: which documents, by which ids."""

from __future__ import annotations

import asyncio

from meshwire_conformance.catalogue.python_cases import case
from meshwire_conformance.socket_suite.case_run import CaseRun
from meshwire_conformance.socket_suite.content import Wanted
from meshwire_conformance.socket_suite.reconciling import (
    BASE,
    Client,
    Conversation,
    ask_about,
    check_claimed,
    check_learnt,
    doubt,
    invented,
    item_of,
    own_keys,
    question_about,
    send_documents,
)
from meshwire_spec.numbers import NEGENTROPY_KEY
from meshwire_spec.schemas.steps import FrameSpec

NEEDS = ("documents", "reconciliation")
HELD = 40
"""Documents held: more than fit in one list, so that the set is split into ranges."""
KNOWN = 20
CLAIMED = 1000


@case(
    "MW-5540",
    "a client that holds nothing learns the ids of documents just sent",
    part="reconciliation",
    rules=("NG-014", "NG-015", "NG-059"),
    needs=NEEDS,
    isolation="peer",
)
async def empty_client(run: CaseRun) -> None:
    """Answers on streams of the target's own, or none at all."""
    keys = own_keys(run, 3)
    await send_documents(run, keys)
    run.watch(NEGENTROPY_KEY, "A", ("negentropy-response",))
    conversation, client = Conversation(run), Client(())
    await client.run(conversation)
    await conversation.end()
    check_learnt(client, keys)


@case(
    "MW-5541",
    "a client with a thousand items learns what each side lacks, in several rounds",
    part="reconciliation",
    rules=("NG-014", "NG-015", "NG-051", "NG-053", "NG-054", "NG-055", "NG-056"),
    needs=NEEDS,
)
async def several_rounds(run: CaseRun) -> None:
    """A half that is finished with the first answer, so that fingerprints never lead to ids."""
    keys = own_keys(run, HELD)
    await send_documents(run, keys)
    claimed = invented(run, CLAIMED)
    items = [*claimed, *map(item_of, keys[:KNOWN])]
    conversation, client = Conversation(run), Client(items, doubt(items))
    await client.run(conversation)
    await conversation.end()
    check_learnt(client, keys[KNOWN:], keys[:KNOWN])
    check_claimed(client, claimed)
    run.note(f"{client.answers} answers")


@case(
    "MW-5542",
    "messages that come byte by byte are answered",
    part="reconciliation",
    rules=("NG-014",),
    needs=("reconciliation",),
)
async def single_bytes(run: CaseRun) -> None:
    """A reader that takes what one read gives for a whole message."""
    message = question_about(name for _, name in invented(run, 2))
    conversation = Conversation(run)
    stream = await conversation.stream()
    for frame_type in ("negentropy-init", "negentropy-response"):
        data = run.composer.frame(FrameSpec(type=frame_type, hex=message.hex()))
        for number in range(len(data)):
            await run.write(stream, data[number : number + 1], "one byte of a message")
            # One record, or one packet, for each.
            await asyncio.sleep(0)
        await conversation.answer(message)
    await conversation.end()


@case(
    "MW-5543",
    "a run stays open while another stream works, and the next one has what came meanwhile",
    part="reconciliation",
    rules=("NG-014", "NG-015", "TR-021"),
    needs=NEEDS,
)
async def open_meanwhile(run: CaseRun) -> None:
    """A set that is listed once, at the first run; a stream that is shut behind its answer."""
    first, second = own_keys(run, 2)
    await send_documents(run, [first])
    conversation = Conversation(run)
    await ask_about(conversation, (first, second), (first,))
    await send_documents(run, [second])
    await run.read(Wanted(second, heads=run.contents.made["base"].heads))
    # Whether a run sees what comes while it goes on is left open; this range has not changed.
    await ask_about(conversation, (first,), (first,))
    await conversation.end()
    later = Conversation(run, name="later")
    await ask_about(later, (first, second), (first, second))
    await later.end()


@case(
    "MW-5544",
    "a document is listed by the SHA-256 of its key, whatever brought it",
    part="reconciliation",
    rules=("NG-015", "DC-004"),
    needs=NEEDS,
    let={
        "snapshot": "notes:$case-snapshot",
        "delta": "notes:$case-delta",
        "batched": "notes:$case-batched",
        "asked": "notes:$case-asked",
        "other": "notes:$case-other",
    },
)
async def listed_by_key(run: CaseRun) -> None:
    """Ids made of what is in a document, or items for what was only asked for."""
    names = run.scope.names
    await run.documents(BASE)
    await run.contents.prepare_delta("base")
    await run.send(FrameSpec(type="snapshot", key="$snapshot", document="base"))
    await run.send(FrameSpec(type="delta", key="$delta", document="base"))
    entry = FrameSpec(type="snapshot", key="$batched", document="base")
    await run.send(FrameSpec(type="batch", entries=[entry], key="$batched"))
    await run.barrier()
    await run.read(Wanted(names["asked"], heads=frozenset()))
    held = [names[name] for name in ("snapshot", "delta", "batched")]
    conversation = Conversation(run)
    await ask_about(conversation, (*held, names["asked"], names["other"]), held)
    await conversation.end()


@case(
    "MW-5545",
    "a document that a tombstone has removed is listed no more",
    part="reconciliation",
    rules=("NG-015", "TS-030"),
    needs=NEEDS,
    let={"dead": "nodes:$case-dead", "live": "nodes:$case-live", "never": "nodes:$case-never"},
)
async def tombstoned(run: CaseRun) -> None:
    """Deleted documents that look as if the other side needed them."""
    names = run.scope.names
    await send_documents(run, (names["dead"], names["live"]))
    keys = [names[name] for name in ("dead", "live", "never")]
    conversation = Conversation(run, name="before")
    await ask_about(conversation, keys, (names["dead"], names["live"]))
    await conversation.end()
    for name in ("$dead", "$never"):
        await run.send(FrameSpec(type="tombstone", key=name))
    await run.barrier()
    conversation = Conversation(run, name="after")
    await ask_about(conversation, keys, (names["live"],))
    await conversation.end()


@case(
    "MW-5546",
    "a client that lies about what it holds changes nothing",
    part="reconciliation",
    rules=("NG-023",),
    needs=NEEDS,
    isolation="peer",
    let={"one": "tracks:$case", "two": "notes:$case", "three": "nodes:$case"},
)
async def lying_client(run: CaseRun) -> None:
    """A node that deletes what its peer does not hold."""
    keys = [run.scope.names[name] for name in ("one", "two", "three")]
    await send_documents(run, keys)
    for key in keys:
        run.watch(key, "B", ("tombstone",))
    await run.connection("B")
    for number, items in enumerate(((), invented(run, HELD // 2))):
        conversation, client = Conversation(run, name=f"lie {number}"), Client(items)
        await client.run(conversation)
        # Once more, that of just these documents none is held: they are still listed.
        await ask_about(conversation, keys, keys)
        await conversation.end()
    for key in keys:
        await run.read(Wanted(key, heads=run.contents.made["base"].heads), "B")
