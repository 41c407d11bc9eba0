"""Kills of a node under `put`: nothing that it has acknowledged or reported is lost."""

import asyncio
from pathlib import Path

import pytest

from bench import kill_puts, kills
from meshwire_reference.control.messages import Put

KILLS = 3

pytestmark = [pytest.mark.process, pytest.mark.socket]


def test_no_acknowledged_put_is_lost(tmp_path: Path) -> None:
    """Nor one that a watch has reported; deleted documents stay so."""
    kept, starts_s = asyncio.run(kill_puts.kill_often(tmp_path, KILLS, 1))

    assert len(starts_s) == KILLS
    assert kept.replies > KILLS
    assert kept.reported > 0
    assert kept.edits


@pytest.mark.parametrize("loses", ["document", "edit", "field", "deletion"])
def test_a_loss_is_seen(loses: str, tmp_path: Path) -> None:
    """Of a whole document, of its last edit, of a field of an earlier one, and of a deletion."""
    name = ("notes", "n1")

    async def run() -> None:
        control = tmp_path / "node.sock"
        node = await kills.start(tmp_path / "data", "--control", str(control))
        try:
            promised = kill_puts.Promised()
            promised.note(name, 3 if loses == "edit" else 2)
            if loses != "document":
                fields = {"edit": 2, "field-1": 1, "field-2": 2}
                if loses == "field":
                    del fields["field-1"]
                channel = await kill_puts.Channel.open(control)
                put = Put(id=1, collection="notes", document="n1", fields=fields)
                assert "document" in (await channel.ask(put) or {})
                await channel.close()
            if loses == "deletion":
                promised.deleted.add(name)
            with pytest.raises(kills.Lost):
                await kill_puts.verify(control, promised, [name])
        finally:
            node.process.terminate()
            await node.process.wait()

    asyncio.run(run())
