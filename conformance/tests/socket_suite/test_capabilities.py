"""Capabilities that a target does not declare are tested for."""

from __future__ import annotations

import asyncio
import base64
import sys
from pathlib import Path
from unittest.mock import AsyncMock, Mock

import pytest

from meshwire_conformance.contracts import Attachment, Settings
from meshwire_conformance.run.loading import load_catalogue
from meshwire_conformance.socket_suite import part as socket_part
from meshwire_conformance.socket_suite.calibration import PROBE
from meshwire_conformance.socket_suite.inbox import Inbox
from meshwire_conformance.socket_suite.needs import find_capabilities, unmet
from meshwire_conformance.socket_suite.peers import Session
from meshwire_conformance.targets.attach import Target, start_node
from meshwire_conformance.targets.facts import read_facts
from meshwire_conformance.targets.handshake import Formation
from meshwire_conformance.targets.transport import Address, Connection, Stream
from meshwire_conformance.verdicts import Verdict
from meshwire_spec.numbers import PROFILE
from meshwire_spec.schemas.targets import TargetFile

pytestmark = [pytest.mark.process, pytest.mark.socket]

RUN = f"{sys.executable} -m meshwire_reference.cli run --listen tcp://127.0.0.1:0"
NODE = f"{RUN} --open"
WITHOUT, WITH = "MW-5501", "MW-5506"
"""A case for nodes that offer no reconciliation, and one for those that do."""


def verdicts(option: str, capabilities: list[str] | None = None) -> dict[str, Verdict]:
    """Verdicts of the two cases about a node that is dialled, and stated to offer these."""
    cases = [load_catalogue().by_id[name] for name in (WITHOUT, WITH)]

    async def check() -> dict[str, Verdict]:
        node = await start_node(f"{NODE} {option}")
        try:
            where = f"{node.address.host}:{node.address.port}"
            stated = None
            if capabilities is not None:
                stated = TargetFile(
                    addresses=[f"tcp://{where}"],
                    profile=PROFILE,
                    dialect="open",
                    capabilities=capabilities,
                )
            attachment = Attachment("tcp", where, f"tcp://{where}", stated)
            results = await socket_part.run(
                cases, load_catalogue(), attachment, Settings(), lambda _result: None
            )
        finally:
            await node.close()
        return {result.case: result.verdict for result in results}

    return asyncio.run(check())


@pytest.mark.parametrize(("option", "asked"), [("", WITH), ("--no-reconciliation", WITHOUT)])
def test_a_node_that_says_nothing_is_asked(option: str, asked: str) -> None:
    """One of the two cases applies, and holds."""
    found = verdicts(option)
    other = WITH if asked == WITHOUT else WITHOUT

    assert found == {asked: Verdict.PASS, other: Verdict.NOT_APPLICABLE}


def test_a_node_that_says_what_it_offers_is_taken_at_its_word() -> None:
    """The check fails if a target offers more than it declares."""
    required = ["frames", "deltas", "snapshots", "batches", "tombstones", "reads"]

    assert verdicts("", required) == {
        WITHOUT: Verdict.FAIL,
        WITH: Verdict.NOT_APPLICABLE,
    }


@pytest.mark.parametrize("dialect", ["H1", "H2"])
@pytest.mark.parametrize("detects", [True, False])
def test_a_node_that_does_not_say_whether_it_knows_both_dialects_is_asked(
    tmp_path: Path, dialect: str, *, detects: bool
) -> None:
    """One of H1 alone does not answer in the other dialect, and one of H2 alone closes."""
    secret = tmp_path / "secret.txt"
    secret.write_text(base64.b64encode(b"\x21" * 32).decode())
    options = f"--formation-id squad --formation-secret-file {secret} --dialect {dialect}"
    case = load_catalogue().by_id["MW-6620"]

    async def check() -> Verdict:
        node = await start_node(f"{RUN} {options} {'' if detects else '--no-detection'}")
        try:
            where = f"{node.address.host}:{node.address.port}"
            stated = TargetFile(
                addresses=[f"tcp://{where}"],
                profile=PROFILE,
                dialect=dialect,  # type: ignore[arg-type] # one of the parameters
                formation_id="squad",
                formation_secret_file=str(secret),
            )
            attachment = Attachment("tcp", where, f"tcp://{where}", stated)
            results = await socket_part.run(
                [case], load_catalogue(), attachment, Settings(), lambda _result: None
            )
        finally:
            await node.close()
        return results[0].verdict

    assert asyncio.run(check()) is (Verdict.PASS if detects else Verdict.NOT_APPLICABLE)


class Late(Connection):
    """A connection on which nothing comes in time until it is asked for the n-th time."""

    def __init__(self, answers_from: int) -> None:
        super().__init__()
        self.answers_from = answers_from
        self.asked = 0

    async def open(self, *, uni: bool = False) -> Stream:
        """Return a stream; the target has ended it if it answers."""
        self.asked += 1
        stream = Stream(self, 4 * self.asked, uni=uni, ours=True)
        stream.finished = self.asked >= self.answers_from
        return stream

    async def write(self, stream: Stream, data: bytes) -> None:
        """Drop the bytes."""

    finish = reset = stop = close = AsyncMock()


@pytest.mark.parametrize(
    ("answers_from", "unsure", "verdict"),
    [
        (1, False, Verdict.NOT_APPLICABLE),
        (2, False, Verdict.NOT_APPLICABLE),
        (3, True, Verdict.COULD_NOT_RUN),
    ],
)
def test_a_target_that_is_late_offers_neither_a_capability_nor_its_absence(
    answers_from: int, *, unsure: bool, verdict: Verdict
) -> None:
    """It is asked once more, and after that no case counts on what it did not show."""
    target = Target(Address("tcp", "", 0), read_facts(None), dialler=None, formation=None)  # type: ignore[arg-type]
    session = Session(target, Settings(timeout_scale=0.001), "n", Inbox())
    cases = [load_catalogue().by_id[name] for name in (WITHOUT, WITH)]

    async def ask() -> None:
        session.peer(PROBE).adopt(Late(answers_from))
        await find_capabilities(session, cases)

    asyncio.run(ask())
    found = unmet(cases[1], target, None)

    assert target.facts.unsure == (frozenset(("reconciliation",)) if unsure else frozenset())
    assert found is not None
    assert found.verdict is verdict


def test_a_target_that_is_late_in_a_handshake_may_prove_itself_all_the_same() -> None:
    """It was not accepted yet, so that its silence is no answer to the question."""
    formation = Formation("squad", bytes(range(32)))
    dialler = Mock(dial=AsyncMock(side_effect=lambda *_: Late(answers_from=10**6)))
    target = Target(Address("tcp", "", 0), read_facts(None), dialler=dialler, formation=formation)
    session = Session(target, Settings(timeout_scale=0.01), "n", Inbox())

    async def ask() -> None:
        session.peer(PROBE).adopt(Late(answers_from=1))
        await find_capabilities(session, [load_catalogue().by_id["MW-7150"]])

    asyncio.run(ask())

    assert target.facts.unsure == {"mutual-proof"}
    assert dialler.dial.await_count == 2
