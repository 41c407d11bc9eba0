"""The vectors of whole reconciliations: made of plans, and vouched for by a crate."""

import json
from random import Random

import pytest

import make_reconciliation
import reconciliation_oracle
from fuzz_reconciliation import draw, hold
from make_reconciliation import Maker, PlanMismatch, canonical
from meshwire_conformance.protocol.negentropy import Reconciliation
from meshwire_conformance.protocol.negentropy_messages import read_message
from reconciliation_faults import message_of, pieces_of, spoil
from reconciliation_oracle import CrateAnswer, Oracle
from reconciliation_runs import FILES, Plan, odd_plans, row
from vector_files import Ledger

LEVELS = {f"NG-{number:03d}": "strict" for number in range(1, 70)}


class Liar:
    """An oracle that answers everything alike."""

    def open(self, items: object, limit: int) -> int:
        """Any session."""
        return 0

    def forget(self) -> None:
        """Nothing to forget."""

    def initiate(self, session: int) -> bytes:
        """The right first message of nothing."""
        return bytes.fromhex("6100000200")

    def reconcile(self, session: int, message: bytes) -> CrateAnswer:
        """A wrong answer."""
        return CrateAnswer("", b"a")


def maker(oracle: object = None) -> Maker:
    """A maker with a ledger of its own."""
    return Maker(Ledger(), oracle, LEVELS)  # type: ignore[arg-type]


def test_titles_are_given_once() -> None:
    """A title is the key of an id."""
    titles = [plan.title for plans in FILES.values() for plan in plans()]
    titles += [odd.title for odd in odd_plans()]

    assert len(titles) == len(set(titles))


def test_pieces_are_the_message_again() -> None:
    """A message taken apart and put together is the same, so a fault is the only change."""
    items = [(5 * number, bytes([number]) * 32) for number in range(70)]
    for message in (
        Reconciliation(items, client=True).initiate(),
        Reconciliation(items, client=False).reconcile(bytes.fromhex("6100000200")).reply,
        b"a",
    ):
        assert message is not None
        assert message_of(pieces_of(message)) == message


def test_every_fault_changes_the_message_in_its_own_way() -> None:
    """No two faults give the same bytes, and none the sound ones."""
    message = Reconciliation([(1, b"x" * 32)] * 2 + [(2, b"y" * 32)], client=True).initiate()
    found = [spoilt.data for spoilt in spoil(message)]

    assert read_message(message)
    assert len(set(found) | {message}) == len(found) + 1


def test_a_crate_that_says_otherwise_stops_the_tool() -> None:
    """Nothing is written that the two do not agree on."""
    plan = Plan("nothing", [], [row("b", 0, 3)], ("NG-052",))

    with pytest.raises(PlanMismatch):
        maker(Liar()).run(plan)


def test_files_are_canonical() -> None:
    """One member per line, in a fixed order, runs by id."""
    plan = Plan("nothing against three items", [], [row("b", 0, 3)], ("NG-052",))
    text = canonical([maker().run(plan)])

    assert json.loads(text)["runs"][0]["found"] == [[0, 3]]
    assert [line.split('"')[1] for line in text.splitlines() if line.startswith("    ")] == [
        name for name in make_reconciliation.ORDER if f'"{name}":' in text
    ]


@pytest.mark.process
def test_the_crate_and_the_suite_give_the_same_bytes() -> None:
    """Where cargo is present, random pairs are run through both."""
    try:
        program = reconciliation_oracle.build()
    except reconciliation_oracle.CrateFault as fault:
        pytest.skip(f"the crate cannot be built: {fault}")
    with Oracle(program) as oracle:
        counts = [hold(draw(Random(f"test:{number}")), oracle) for number in range(60)]

    assert max(counts) > 2
