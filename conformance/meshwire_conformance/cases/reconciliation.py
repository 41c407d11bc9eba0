"""Cases about the result of a reconciliation run: the documents that it lists and their ids."""

from __future__ import annotations

import asyncio

from meshwire_conformance.cases.planting import NOTHING
from meshwire_conformance.catalogue.python_cases import case
from meshwire_conformance.socket_suite.case_run import CaseRun
from meshwire_conformance.socket_suite.content import BASE, Wanted
from meshwire_conformance.socket_suite.reconciling import (
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
"""Number of stored documents: more than fit into one list, so that the set is split."""
KNOWN = 20
CLAIMED = 1000


@case(
    "MW-5540",
    "a client without items must learn the ids of documents stored just before",
    part="reconciliation",
    rules=("NG-014", "NG-015", "NG-059"),
    needs=NEEDS,
    isolation="peer",
)
async def empty_client(run: CaseRun) -> None:
    """The target answers on streams of its own, or not at all."""
    keys = own_keys(run, 3)
    await send_documents(run, keys)
    run.watch(NEGENTROPY_KEY, "A", ("negentropy-response",))
    conversation, client = Conversation(run), Client(())
    await client.run(conversation)
    await conversation.end()
    check_learnt(client, keys)


@case(
    "MW-5541",
    "a client with a thousand items must learn the missing items of both sides in several rounds",
    part="reconciliation",
    rules=("NG-014", "NG-015", "NG-051", "NG-053", "NG-054", "NG-055", "NG-056"),
    needs=NEEDS,
)
async def several_rounds(run: CaseRun) -> None:
    """The half is finished after the first answer, so that fingerprints never lead to ids."""
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
    "messages that arrive byte by byte must be answered",
    part="reconciliation",
    rules=("NG-014",),
    needs=("reconciliation",),
)
async def single_bytes(run: CaseRun) -> None:
    """The bytes of one read are treated as a complete message."""
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
    "a run must stay open while another stream is used, and a later run list what it stored",
    part="reconciliation",
    rules=("NG-014", "NG-015", "TR-021"),
    needs=NEEDS,
)
async def open_meanwhile(run: CaseRun) -> None:
    """The set is listed only once, at the first run, or the stream is closed after its answer."""
    first, second = own_keys(run, 2)
    await send_documents(run, [first])
    conversation = Conversation(run)
    await ask_about(conversation, (first, second), (first,))
    await send_documents(run, [second])
    await run.read(Wanted(second, heads=run.contents.made["base"].heads))
    # A run may or may not list documents stored during it; this range has not changed.
    await ask_about(conversation, (first,), (first,))
    await conversation.end()
    later = Conversation(run, name="later")
    await ask_about(later, (first, second), (first, second))
    await later.end()


@case(
    "MW-5544",
    "a document must be listed by the SHA-256 of its key, however it was received",
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
    """Ids are derived from the content of documents, or unknown keys that were read are listed."""
    names = run.scope.names
    await run.documents(BASE)
    await run.contents.prepare_delta("base")
    await run.send(FrameSpec(type="snapshot", key="$snapshot", document="base"))
    await run.send(FrameSpec(type="delta", key="$delta", document="base"))
    entry = FrameSpec(type="snapshot", key="$batched", document="base")
    await run.send(FrameSpec(type="batch", entries=[entry], key="$batched"))
    await run.barrier()
    await run.read(Wanted(names["asked"], heads=NOTHING))
    held = [names[name] for name in ("snapshot", "delta", "batched")]
    conversation = Conversation(run)
    await ask_about(conversation, (*held, names["asked"], names["other"]), held)
    await conversation.end()


@case(
    "MW-5545",
    "a document deleted by a tombstone must no longer be listed",
    part="reconciliation",
    rules=("NG-015", "TS-030"),
    needs=NEEDS,
    let={"dead": "nodes:$case-dead", "live": "nodes:$case-live", "never": "nodes:$case-never"},
)
async def tombstoned(run: CaseRun) -> None:
    """Deleted documents are listed, as if the other side needed them."""
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
    "a client with a false list of items must change nothing",
    part="reconciliation",
    rules=("NG-023",),
    needs=NEEDS,
    isolation="peer",
    let={"one": "tracks:$case", "two": "notes:$case", "three": "nodes:$case"},
)
async def lying_client(run: CaseRun) -> None:
    """Documents that the peer does not list are deleted."""
    keys = [run.scope.names[name] for name in ("one", "two", "three")]
    await send_documents(run, keys)
    for key in keys:
        run.watch(key, "B", ("tombstone",))
    await run.connection("B")
    for number, items in enumerate(((), invented(run, HELD // 2))):
        conversation, client = Conversation(run, name=f"lie {number}"), Client(items)
        await client.run(conversation)
        # Claim once more to hold none of these documents: they must still be listed.
        await ask_about(conversation, keys, keys)
        await conversation.end()
    for key in keys:
        await run.read(Wanted(key, heads=run.contents.made["base"].heads), "B")
