"""Hold every input that a test of the core handles to the table in ARCHITECTURE.md."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from meshwire_reference.core.effects import Effect
from meshwire_reference.core.inputs import ConnectionInput, Input
from meshwire_reference.core.node import NodeCore
from meshwire_reference.core.settings import Moment

PAGE = Path(__file__).resolve().parents[3] / "ARCHITECTURE.md"
SECTION = "## The contract of the core\n"
ROW = re.compile(
    r"^\| `(?P<input>\w+)` \|[^|]*\|(?P<effects>[^|]*)\|(?P<notes>[^|]*)\|$", re.MULTILINE
)
GOES_ON = "what waits may go on"


def read_contract() -> Mapping[str, frozenset[str]]:
    """Return the names of the effects that each input may lead to, by the name of the input."""
    section = PAGE.read_text(encoding="utf-8").partition(SECTION)[2].partition("\n## ")[0]
    rows = list(ROW.finditer(section))
    own = {row["input"]: frozenset(re.findall(r"`(\w+)`", row["effects"])) for row in rows}
    more = (own["StreamData"] - {"CloseConnection"}) | own["StreamSent"]
    return {
        row["input"]: own[row["input"]] | (more if GOES_ON in row["notes"] else frozenset())
        for row in rows
    }


CONTRACT = read_contract()


@pytest.fixture
def contract() -> Mapping[str, frozenset[str]]:
    """Return the table."""
    return CONTRACT


@pytest.fixture(autouse=True)
def _contract_is_kept(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Fail a test in which an input leads to an effect that its row does not have."""
    handle = NodeCore.handle
    breaches: list[str] = []

    def watched(core: NodeCore, happened: Input, now: Moment) -> list[Effect]:
        event = happened.event if isinstance(happened, ConnectionInput) else happened
        at_s = core.deadline()
        allowed = CONTRACT[type(event).__name__]
        if at_s is not None and at_s <= now.monotonic_s:
            # Deadlines that have passed come first.
            allowed |= CONTRACT["TimerFired"]
        effects = handle(core, happened, now)
        led_to = {type(effect).__name__ for effect in effects}
        breaches.extend(f"{type(event).__name__} led to {name}" for name in led_to - allowed)
        return effects

    monkeypatch.setattr(NodeCore, "handle", watched)
    yield
    assert breaches == []
