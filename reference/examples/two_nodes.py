"""Two nodes in one process: a document written on one is observed and read on the other."""

import asyncio

from meshwire_reference.backend import Backend, Choices, Document, Updated, make_config

LISTEN = "tcp://127.0.0.1:0"  # port 0: any free one


async def main() -> None:
    """Write on the first node, and print what the second one gets."""
    config = make_config(Choices([LISTEN], is_open=True))  # data=Path("folder") keeps documents
    async with await Backend.open(config) as one, await Backend.open(config) as other:
        await one.sync_engine.start_sync()
        await other.sync_engine.start_sync()
        peer = await other.peer_discovery.connect(one.addresses[0])
        print("connected to", peer.endpoint_id == one.endpoint_id)

        async with other.document_store.observe("notes") as changes:
            await anext(changes)  # Initial: what is there already
            await one.document_store.upsert(Document("notes", {"title": "first"}, id="n1"))
            async for change in changes:
                if isinstance(change, Updated):
                    print(change.document.id, dict(change.document.fields))
                    break
        await other.document_store.remove("notes", "n1")
        print(await other.document_store.count("notes"), "documents left")


if __name__ == "__main__":
    asyncio.run(main())
