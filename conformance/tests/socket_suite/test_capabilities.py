"""Capabilities that a target does not declare are tested for."""

from __future__ import annotations

import asyncio
import sys

import pytest

from meshwire_conformance.contracts import Attachment, Settings
from meshwire_conformance.run.loading import load_catalogue
from meshwire_conformance.socket_suite import part as socket_part
from meshwire_conformance.targets.attach import start_node
from meshwire_conformance.verdicts import Verdict
from meshwire_spec.numbers import PROFILE
from meshwire_spec.schemas.targets import TargetFile

pytestmark = [pytest.mark.process, pytest.mark.socket]

NODE = f"{sys.executable} -m meshwire_reference.cli run --listen tcp://127.0.0.1:0 --open"
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
