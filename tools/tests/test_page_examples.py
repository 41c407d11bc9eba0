"""Code and bytes on the pages agree with the vectors."""

import re
from hashlib import sha256
from typing import Any

import pytest

import page_examples
import pages
from meshwire_spec.codec import decode, to_value

ALGORITHM = pages.SPEC / "06-reconciliation.md"
MODES = ("skip", "fingerprint", "ids")
LIMITED_MAX = 200_000
"""Bytes of a run up to which it is run here: the code of the page is plain and slow."""


def algorithm() -> dict[str, Any]:
    """The code of the page, loaded."""
    blocks = re.findall(r"```python\n(.*?)```", ALGORITHM.read_text(), re.DOTALL)
    names: dict[str, Any] = {}
    exec("".join(blocks), names)  # noqa: S102 - the code stands on a page of ours
    return names


def items(parts: list[dict[str, Any]]) -> list[tuple[int, bytes]]:
    """Items of a set as vectors/README.md describes them."""
    found = []
    for part in parts:
        timestamp = int(part["timestamp"])
        if "id" in part:
            found.append((timestamp, bytes.fromhex(part["id"])))
            continue
        prefix, group = bytes.fromhex(part.get("prefix", "")), part.get("group", 1)
        for number in range(part["first"], part["first"] + part["count"]):
            name = prefix + sha256(f"{part['label']}:{number}".encode()).digest()
            found.append((timestamp + int(part["step"]) * (number // group), name[:32]))
    return found


def ranges(message: str) -> list[tuple[tuple[int, bytes], int, Any]]:
    """The ranges of a message as the code of the page takes them."""
    found = []
    for one in to_value(decode("negentropy_message", bytes.fromhex(message)))["ranges"]:
        at = one["upper"]["timestamp"]
        upper = (2**64 - 1 if at is None else int(at), bytes.fromhex(one["upper"]["prefix"]))
        payload = one["payload"] or {}
        told: Any = bytes.fromhex(payload.get("fingerprint", ""))
        if "ids" in payload:
            told = [bytes.fromhex(name) for name in payload["ids"]]
        found.append((upper, one["mode"], told))
    return found


WHOLE = [
    run
    for run in page_examples.runs()
    if run["result"]["strict"] == "valid"
    and len(run["messages"]) > 1
    and not {"only", "bad"} & run.keys()
    and sum(map(len, run["messages"])) < LIMITED_MAX
]


def test_there_are_runs_of_every_sort() -> None:
    """Runs with and without a frame limit, so that nothing passes by being left out."""
    limited = [run for run in WHOLE if run["client"]["frame_limit"] or run["server"]["frame_limit"]]

    assert len(limited) > 5
    assert len(WHOLE) - len(limited) > 50


@pytest.mark.parametrize("run", WHOLE, ids=[run["id"] for run in WHOLE])
def test_the_code_of_the_page_writes_every_message_of_a_run(run: dict[str, Any]) -> None:
    """Both sides of the run, played by the code of the page, write the bytes of the vector."""
    code = algorithm()
    sides = [sorted(set(items(run[side]["items"]))) for side in page_examples.SIDES]
    rooms = [run[side]["frame_limit"] - 200 for side in page_examples.SIDES]
    needed: set[bytes] = set()

    written = [code["first_message"](sides[0]).hex()]
    for number, message in enumerate(run["messages"], 1):
        side = number % 2
        room = rooms[side] if rooms[side] > 0 else None
        out, _, need = code["answer"](ranges(message), sides[side], side == 0, room)
        needed |= need
        written.append(code["encode"](out).hex())

    assert written[:-1] == run["messages"]
    assert written[-1] == "61"
    if isinstance(run["need"], list):
        assert sorted(name.hex() for name in needed) == run["need"]


def test_a_run_of_the_page_shows_every_byte() -> None:
    """The table of a message, joined again, is the message of the vector."""
    text = page_examples.render_run("MW-2429")
    run = next(run for run in page_examples.runs() if run["id"] == "MW-2429")

    shown = "".join(re.findall(r"^\| \d+ \| `([0-9a-f ]+)` \|", text, re.MULTILINE))

    assert shown.replace(" ", "") == "".join(run["messages"])
