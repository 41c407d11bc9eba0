"""Any order, with duplicates and delays, ends in one view on every node (strict)."""

from hypothesis import given, settings
from hypothesis import strategies as st

from meshwire_reference.oplog.authoring import OperationAuthor
from meshwire_reference.oplog.nodes import ListNode
from meshwire_reference.oplog.operations import ROOT, SignedOperation
from meshwire_reference.oplog.outcomes import Level, State
from meshwire_reference.oplog.signatures import Signer
from meshwire_reference.testing.oplog_recordings import new_replica

AUTHORS = 5
SIGNERS = [Signer(bytes([0x11 * (number + 1)]) * 32) for number in range(AUTHORS)]

# Each step: an author, an action, a choice of its target, and how many of the operations made so
# far the author receives first.
steps = st.lists(
    st.tuples(
        st.integers(0, AUTHORS - 1),
        st.sampled_from(("insert", "delete", "register", "row", "cell", "in-row")),
        st.integers(0, 1000),
        st.integers(0, 3),
    ),
    max_size=30,
)


def ids(node: object) -> list[bytes]:
    """Return the ids of the elements of a list, the root first."""
    assert isinstance(node, ListNode)
    return [element.id for element in node.walk()]


def make(author: OperationAuthor, action: str, choice: int, text: str) -> SignedOperation:
    """Return a new operation of `author`; one without a target becomes an insertion."""
    document = author.replica.document
    grid = document.fields["grid"]
    assert isinstance(grid, ListNode)
    texts, rows = ids(document.fields["ls"]), ids(grid)
    match action:
        case "delete" if len(texts) > 1:
            return author.delete(("ls",), texts[1 + choice % (len(texts) - 1)])
        case "register":
            return author.set(("rs",), text)
        case "row":
            return author.insert(("grid",), rows[choice % len(rows)], [choice % 2 == 0, True])
        case "cell" | "in-row" if len(rows) > 1:
            row = rows[1 + choice % (len(rows) - 1)]
            cells = ids(grid.elements[row].node)
            if action == "in-row":
                return author.insert(("grid", row), cells[choice % len(cells)], choice % 3 == 0)
            cell = cells[1 + choice % (len(cells) - 1)]
            return author.set(("grid", row, cell), choice % 5 == 0)
    return author.insert(("ls",), texts[choice % len(texts)], text)


def history(level: Level, plan: list[tuple[int, str, int, int]]) -> list[SignedOperation]:
    """Return what five authors make who hear of each other late and in any order."""
    authors = [OperationAuthor(signer, new_replica("types", level)) for signer in SIGNERS]
    made: list[SignedOperation] = []
    for number, (who, action, choice, heard) in enumerate(plan):
        for offset in range(heard):
            if made:
                authors[who].replica.apply(made[(choice + offset) % len(made)])
        made.append(make(authors[who], action, choice, f"{who}.{number}"))
    return made


@settings(max_examples=60, deadline=None)
@given(plan=steps, level=st.sampled_from(Level), data=st.data())
def test_every_order_ends_in_one_view(
    plan: list[tuple[int, str, int, int]], level: Level, data: st.DataObject
) -> None:
    """Operations of correct authors and of deployed ones converge, and none is lost."""
    made = history(level, plan)
    repeated = made + data.draw(
        st.lists(st.sampled_from(made), max_size=8) if made else st.just([])
    )
    first, second = new_replica("types", Level.STRICT), new_replica("types", Level.STRICT)
    for signed in data.draw(st.permutations(repeated)):
        first.apply(signed)
    for signed in data.draw(st.permutations(repeated)):
        second.apply(signed)

    assert first.view() == second.view()
    assert len(first.queue) == len(second.queue) == 0
    assert first.received == second.received == {signed.signed_digest for signed in made}


def test_two_sets_of_one_field_end_alike() -> None:
    """Sets as deployed peers make them tie in sequence and author, and still agree (D-162)."""
    authors = [OperationAuthor(signer, new_replica("types", Level.WIRE)) for signer in SIGNERS[:2]]
    row = authors[0].insert(("grid",), ROOT, [True])
    authors[1].replica.apply(row)
    grid = authors[0].replica.document.fields["grid"]
    assert isinstance(grid, ListNode)
    cell = ids(grid.elements[row.inner.id].node)[1]
    sets = [
        author.set(("grid", row.inner.id, cell), value)
        for author, value in zip(authors, (True, False), strict=True)
    ]
    views = []
    for order in (sets, sets[::-1]):
        replica = new_replica("types", Level.STRICT)
        outcomes = [replica.apply(signed).state for signed in (row, *order)]
        views.append(replica.view())

        assert outcomes == [State.OK] * 3
    assert views[0] == views[1]
    assert sets[0].inner.author == sets[1].inner.author
