"""Where a case runs: in one dialect or each, on the target or on a further process of it.

No target is started here: attempts follow a script.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from meshwire_conformance.catalogue.case import Case
from meshwire_conformance.contracts import Attachment, Settings
from meshwire_conformance.errors import Incomplete
from meshwire_conformance.run.loading import load_catalogue
from meshwire_conformance.socket_suite.attempts import (
    COSTLY,
    COSTLY_RUN,
    Attempt,
    body_of,
    is_final,
    is_hostile,
    is_serial,
    left_out,
    shown_elsewhere,
)
from meshwire_conformance.socket_suite.inbox import Inbox
from meshwire_conformance.socket_suite.part import APART, SocketPart
from meshwire_conformance.socket_suite.peers import Session
from meshwire_conformance.targets.attach import Target
from meshwire_conformance.targets.bundle import DIALECTS
from meshwire_conformance.targets.facts import Facts
from meshwire_conformance.targets.transport import Address
from meshwire_conformance.verdicts import CaseResult, Verdict
from meshwire_spec.codec import Message
from meshwire_spec.numbers import FrameType
from turns import all_wait

SOCKET = [case for case in load_catalogue().cases if case.kind == "socket"]
SERIAL = [
    case
    for case in SOCKET
    if is_serial(case)
    and body_of(case).isolation != "process"
    and not is_hostile(body_of(case))
    and not is_final(body_of(case))
]
BESIDE = [case for case in SOCKET if not is_serial(case)][:3]
OPEN, H1, H2 = (
    Attachment("node", "", "", variant=name, serial_cases_in=home, shared_with=DIALECTS)
    for name, home in zip(DIALECTS, ("", DIALECTS[0], DIALECTS[0]), strict=True)
)


def elsewhere(attachment: Attachment, seed: int = 0) -> set[str]:
    """Ids of the cases that another attachment runs."""
    return set(shown_elsewhere(SOCKET, attachment, Settings(seed=seed)))


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_each_case_that_fits_every_dialect_runs_in_one(seed: int) -> None:
    """Those of one dialect, and those that judge a whole run, run wherever they apply."""
    left = Counter(name for one in (OPEN, H1, H2) for name in elsewhere(one, seed))
    costly = left_out(Settings(seed=seed))

    for case in SOCKET:
        if case.id in costly:
            assert left[case.id] == len(DIALECTS), case.id
            continue
        bound = any(need.startswith("dialect:") for need in case.needs)
        assert left[case.id] == (0 if bound or is_final(body_of(case)) else 2), case.id


def test_the_seed_decides_on_the_dialect_and_each_has_its_share() -> None:
    """Serial cases have one home, whatever the seed."""
    shares = [elsewhere(H1, seed) for seed in range(8)]
    shared = [case.id for case in SOCKET if case.id in shares[0] | elsewhere(OPEN)]
    serial = {case.id for case in SOCKET if is_serial(case)} & set(shared)

    assert all(serial <= share for share in shares)
    assert len(set(map(frozenset, shares))) == len(shares)
    for share in shares:
        assert 0.57 < len(share - serial) / len(set(shared) - serial) < 0.77


def test_a_share_of_the_costly_cases_runs_and_each_of_them_with_some_seed() -> None:
    """The dialects leave out the same ones, and nothing else."""
    left = [left_out(Settings(seed=seed)) for seed in range(64)]

    assert {case.id for case in SOCKET} >= COSTLY
    assert frozenset.union(*left) == COSTLY
    assert frozenset.intersection(*left) == frozenset()
    assert {len(one) for one in left} == {len(COSTLY) - COSTLY_RUN}


def test_without_sharing_no_case_is_left_out() -> None:
    """As with --full, and for any other target."""
    for one in (OPEN, H1, H2):
        found = shown_elsewhere(SOCKET, replace(one, shared_with=()), Settings())
        assert not any("costly" in reason for each in found.values() for reason in each.reasons)


def test_without_sharing_serial_cases_alone_run_elsewhere() -> None:
    """As with --full."""
    full = {case.id for case in SOCKET if case.id in elsewhere(replace(H1, shared_with=()))}

    assert full
    assert full <= {case.id for case in SOCKET if is_serial(case)}
    assert not elsewhere(replace(OPEN, shared_with=()))


class Processes(SocketPart):
    """A part whose attempts pass, but for one case where it runs apart."""

    def __init__(
        self, failing: str = "", *, starts: bool = True, keeps_order: bool = False
    ) -> None:
        node: Any = SimpleNamespace()
        target = Target(Address("tcp", "", 0), Facts(), dialler=None, formation=None)  # type: ignore[arg-type]
        self.progress: list[str] = []
        settings = Settings(keeps_order=keeps_order)
        super().__init__(
            replace(target, node=node), load_catalogue(), settings, None, "",
            lambda result: self.progress.append(result.case),
        )  # fmt: skip
        self._asked = frozenset(case.id for case in (*SERIAL, *BESIDE))
        self.failing, self.starts = failing, starts
        self.ran: list[tuple[str, int]] = []

    def _answering(self) -> bool:
        return True

    async def _flush(self) -> None:
        """Wait for nothing."""

    @asynccontextmanager
    async def _further_session(self, mark: str) -> AsyncIterator[Session]:
        if not self.starts:
            raise Incomplete("it does not start")
        yield self._session

    async def _attempt(self, case: Case, number: int, further: Session | None = None) -> Attempt:
        assert (further is None) == (number != APART)
        self.ran.append((case.id, number))
        fails = number == APART and case.id == self.failing
        verdict = Verdict.FAIL if fails else Verdict.PASS
        return Attempt(case, CaseResult(case.id, verdict))

    def judge(self, cases: Sequence[Case]) -> dict[str, CaseResult]:
        """The results of these cases."""
        return asyncio.run(self._judge(list(cases)))


def test_serial_cases_run_apart_beside_the_others() -> None:
    """What passed there is not run again, and is reported at once."""
    part = Processes()
    results = part.judge([*SERIAL, *BESIDE])

    assert len(SERIAL) > 5
    assert sorted(part.ran) == sorted(
        [(one.id, APART) for one in SERIAL] + [(one.id, 1) for one in BESIDE]
    )
    assert {result.verdict for result in results.values()} == {Verdict.PASS}
    assert set(part.progress) == {case.id for case in SERIAL}


def test_what_does_not_pass_apart_is_judged_on_the_target() -> None:
    """And so are the cases after it; its failure on the further process counts for nothing."""
    part = Processes(SERIAL[2].id)
    results = part.judge([*SERIAL, *BESIDE])
    names = [case.id for case in SERIAL]

    assert [name for name, number in part.ran if number == APART] == names[:3]
    assert [name for name, number in part.ran if number == 1 and name in names] == names[2:]
    assert results[SERIAL[2].id].verdict is Verdict.PASS
    assert SERIAL[2].id not in part.progress


@pytest.mark.parametrize("part", [Processes(starts=False), Processes(keeps_order=True)])
def test_all_run_on_the_target_where_no_other_process_may_serve(part: Processes) -> None:
    """It does not start, or the order of the cases is given."""
    part.judge([*SERIAL, *BESIDE])

    assert {number for _, number in part.ran} == {1}


def test_serial_cases_alone_need_no_further_process() -> None:
    """There is nothing to run beside them."""
    part = Processes()
    part.judge(SERIAL)

    assert {number for _, number in part.ran} == {1}


def test_a_watched_connection_is_closed_after_a_number_of_frames() -> None:
    """Frames to other peers do not count, and it is closed once."""
    closed: list[int] = []

    async def run() -> None:
        inbox = Inbox()
        frame = Message(
            "stream_frame", {"key": "a:b", "type": int(FrameType.DELTA), "payload": b"\x42"}
        )

        async def close() -> None:
            closed.append(inbox.counts.frames)

        inbox.close_after("late", 3, close)
        for peer in ("late", "A", "late", "A", "late", "late"):
            inbox.take(peer, 1, frame)
            await all_wait()

    asyncio.run(run())

    assert closed == [5]
