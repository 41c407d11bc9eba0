"""Every switch of the lab binding makes a connection behave otherwise than the correct one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from struct import pack
from typing import Final

import pytest

from meshwire_reference.core.switches import Switch
from meshwire_reference.mutants import MUTANTS
from meshwire_reference.transport.base import TransportOptions, Windows
from meshwire_reference.transport.lab.connection import LabConnection
from meshwire_reference.transport.lab.flaws import LAB_FLAWS, LINK_FLAWS
from meshwire_reference.transport.lab.link import LabLink
from meshwire_reference.transport.lab.records import (
    Preamble,
    encode_close,
    encode_control,
    encode_data_head,
    encode_preamble,
)
from meshwire_spec.numbers import ALPN, LabRecordType

ENDPOINT = bytes(range(32))
PREAMBLE = encode_preamble(ALPN, Preamble(ENDPOINT, Windows(max_data=50, max_streams_bidi=1)))
AFTER_NAME = PREAMBLE[6 + len(ALPN) :]
RESET, STOP = LabRecordType.RESET, LabRecordType.STOP
PING = encode_control(LabRecordType.PING, b"lopsided")


def data(stream: int, content: bytes, *, fin: bool = False) -> bytes:
    """Give a DATA record."""
    return encode_data_head(stream, fin=fin, size=len(content)) + content


# What the peer sends, each item as one piece.
SCRIPTS: Final = (
    [b"MWLC" + PREAMBLE[4:]],
    [PREAMBLE[:4] + b"\x02" + PREAMBLE[5:]],
    [PREAMBLE[:5] + b"\x02hi" + AFTER_NAME],
    [PREAMBLE[:5] + b"\x02\xff\xff" + AFTER_NAME],
    [b"MWLB\x07"],
    [PREAMBLE, PING],
    [PREAMBLE, PING[:3], PING[3:]],
    [PREAMBLE, b"\x0a\x00\x00\x00\x00"],
    [PREAMBLE, pack(">BI", 0, 65537)],
    [PREAMBLE, b"\x03\x00\x00\x00\x01\x00"],
    [PREAMBLE, b"\x03\x00\x00\x00\x09" + bytes(9)],
    [PREAMBLE, b"\x00\x00\x00\x00\x09" + bytes(8) + b"\x02"],
    [PREAMBLE, data(8, b"x")],
    [PREAMBLE, data(64 << 2, b"x")],
    [PREAMBLE, data(1, b"x")],
    [PREAMBLE, data(0, b"x", fin=True), data(0, b"y")],
    [PREAMBLE, data(0, b"x"), encode_control(RESET, 0, 1), encode_control(RESET, 0, 1)],
    [PREAMBLE, data(0, b"x") + encode_control(RESET, 0, 1)],
    [PREAMBLE, encode_control(STOP, 0, 1), encode_control(STOP, 0, 1)],
    [PREAMBLE, data(0, b"x"), data(0, b"", fin=True)],
    [PREAMBLE, encode_control(LabRecordType.MAX_DATA, 5)],
    [PREAMBLE, encode_control(LabRecordType.PONG, b"lopsided")],
    [PREAMBLE, data(0, bytes(90)), data(4, bytes(90))],
    [PREAMBLE, data(0, bytes(50)), PING],
    [PREAMBLE, encode_close(7, "end"), PING],
)


def consume(lab: LabConnection) -> None:
    """Take what came on the first stream."""
    lab.consumed(0, 50)


def use(lab: LabConnection) -> None:
    """Answer on the first stream, open another, and see the first one end."""
    lab.send(0, bytes(60))
    for _ in range(3):
        if lab.can_open(bidi=True):
            lab.send(lab.open(bidi=True), b"", fin=True)


def use_less(lab: LabConnection) -> None:
    """Answer although the peer would have its credit back."""
    lab.receive(encode_control(LabRecordType.MAX_DATA, 5))
    lab.send(0, bytes(30))


def give_up(lab: LabConnection) -> None:
    """End both halves of the first stream, and let it go."""
    lab.stop(0, 1)
    lab.receive(data(0, b"crossing"))
    lab.receive(encode_control(RESET, 0, 0))
    lab.release(0)


CALLS: Final[tuple[Callable[[LabConnection], None], ...]] = (consume, use, use_less, give_up)


def behaviour(flaw: Switch | None) -> list[object]:
    """Give all that a side shows in every script and after every call."""
    shown: list[object] = []
    for pieces in SCRIPTS:
        lab = make(flaw)
        for piece in pieces:
            lab.receive(piece)
            shown.append((lab.take_output(), lab.take_events()))
    for call in CALLS:
        lab = make(flaw)
        lab.receive(PREAMBLE + data(0, bytes(50)))
        call(lab)
        shown.append((lab.take_output(), lab.take_events(), lab.closed))
    return shown


def make(flaw: Switch | None) -> LabConnection:
    """Give a listening side with small windows and maybe a flaw."""
    windows = Windows(max_data=100, max_stream_data=80)
    lab = LabConnection(dialled=False, endpoint_id=ENDPOINT, windows=windows)
    if flaw is not None:
        LAB_FLAWS[flaw](lab)
    return lab


@pytest.mark.parametrize("flaw", LAB_FLAWS)
def test_a_flaw_shows(flaw: Switch) -> None:
    """Some script or call has another result than without it."""
    assert behaviour(flaw) != behaviour(None)


def test_every_switch_of_the_lab_binding_has_its_flaw() -> None:
    """The table of mutants and the flaws name the same switches."""
    named = {mutant.switch for mutant in MUTANTS if mutant.rule.startswith("LB-")}

    assert named == LAB_FLAWS.keys() | LINK_FLAWS.keys()


class _Carrier:
    """Keeps what is written and how it ended."""

    def __init__(self) -> None:
        self.shown: list[object] = []

    def write(self, output: bytes) -> None:
        self.shown.append(output)

    def finish(self) -> None:
        self.shown.append("finished")

    def drop(self) -> None:
        self.shown.append("dropped")

    def hold_reading(self, *, hold: bool) -> None:
        self.shown.append(hold)


def link_behaviour(flaws: frozenset[str]) -> list[object]:
    """Give what a side writes of its own accord, on a preamble, and on CLOSE."""

    async def run() -> list[object]:
        shown: list[object] = []
        options = TransportOptions(ENDPOINT, handshake_s=0, flaws=flaws)
        for said in (b"", PREAMBLE, PREAMBLE + encode_close(7, "end")):
            carrier = _Carrier()
            link = LabLink(options, dialled=False)
            link.start(carrier)
            shown.append(list(carrier.shown))
            link.data_received(said)
            # What is due runs, timers of no time included, in three turns; no time passes.
            for _ in range(3):
                await asyncio.sleep(0)
            shown.append(list(carrier.shown))
            link.link_ended()
        return shown

    return asyncio.run(run())


@pytest.mark.parametrize("flaw", LINK_FLAWS)
def test_a_flaw_of_the_link_shows(flaw: Switch) -> None:
    """The bytes written, or the end of the link, differ from those without it."""
    assert link_behaviour(frozenset({flaw})) != link_behaviour(frozenset())
