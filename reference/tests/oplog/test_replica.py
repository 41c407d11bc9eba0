"""What a correct replica refuses, waits for and remembers, defect by defect."""

from dataclasses import replace

from meshwire_reference.oplog.authoring import OperationAuthor
from meshwire_reference.oplog.nodes import ListNode
from meshwire_reference.oplog.operations import (
    ROOT,
    Operation,
    Path,
    SignedOperation,
    digest_text,
    hash_text,
    id_text_of,
)
from meshwire_reference.oplog.outcomes import Level, State
from meshwire_reference.oplog.replica import Replica, ReplicaSettings
from meshwire_reference.oplog.schema import TYPES
from meshwire_reference.oplog.signatures import Signer
from meshwire_reference.oplog.values import ABSENT, Content
from meshwire_reference.oplog.waiting import QueueLimits
from meshwire_reference.testing.oplog_recordings import new_replica
from meshwire_spec.numbers import (
    OPLOG_COPIES_MAX,
    OPLOG_DEPENDENCIES_MAX,
    OPLOG_PATH_MAX,
    OPLOG_SEQUENCE_AHEAD_MAX,
    OPLOG_SEQUENCE_MAX,
)

ALICE, BOB = Signer(b"\x11" * 32), Signer(b"\x22" * 32)


def signed(
    path: Path,
    content: Content,
    *,
    sequence: int = 1,
    origin: bytes = ROOT,
    author: bytes = ALICE.author,
    depends_on: tuple[bytes, ...] = (),
) -> SignedOperation:
    """Return an operation of Alice's."""
    is_deleted = content is ABSENT
    found = hash_text(id_text_of(origin, author, sequence, content, is_deleted=is_deleted))
    whole = (*path, origin if is_deleted else found)
    inner = Operation(origin, author, sequence, is_deleted, content, whole, found)
    return sign(inner, depends_on)


def sign(inner: Operation, depends_on: tuple[bytes, ...] = ()) -> SignedOperation:
    """Return `inner` as signed by Alice."""
    digest = hash_text(digest_text(inner.id, inner.path, depends_on))
    return SignedOperation(ALICE.author, ALICE.sign(digest), depends_on, inner)


def outcome(replica: Replica, operation: SignedOperation) -> str:
    """Apply; return the reason of a refusal, or the state."""
    found = replica.apply(operation)
    return found.reason or found.state.value


def strict() -> Replica:
    """Return an empty strict replica of the document with every type."""
    return new_replica("types", Level.STRICT)


def test_a_forged_copy_does_not_keep_the_genuine_one_out() -> None:
    """Signature and digest of the copy are valid, its content is not (D-118)."""
    genuine = signed(("rs",), "genuine")
    forged = replace(genuine, inner=replace(genuine.inner, content="forged"))
    replica = strict()

    assert [outcome(replica, o) for o in (forged, genuine, genuine)] == [
        "bad-id", "Ok", "AlreadySeen",
    ]  # fmt: skip
    assert replica.document.fields["rs"].view() == "genuine"


def test_a_forged_copy_that_waits_does_not_keep_the_genuine_one_out() -> None:
    """A copy is refused before it enters the queue."""
    first = signed(("rs",), "first")
    genuine = signed(("rb",), content=True, depends_on=(first.signed_digest,))
    forged = replace(genuine, inner=replace(genuine.inner, content=False))
    replica = strict()

    assert [outcome(replica, o) for o in (forged, genuine, first)] == [
        "bad-id", "MissingCausalDependencies", "Ok",
    ]  # fmt: skip
    assert replica.document.fields["rb"].view() is True


def test_a_set_before_its_item_waits_for_it() -> None:
    """No dependency is declared; the set takes effect with the insertion (D-119)."""
    row = signed(("grid",), [True, True])
    maker = strict()
    maker.apply(row)
    grid = maker.document.fields["grid"]
    assert isinstance(grid, ListNode)
    cells = grid.elements[row.inner.id].node
    assert isinstance(cells, ListNode)
    change = signed(("grid", row.inner.id, cells.walk()[1].id), content=False, sequence=2)
    replica = strict()

    assert [outcome(replica, o) for o in (change, row)] == ["MissingCausalDependencies", "Ok"]
    assert [o.signed_digest for o in replica.applied] == [row.signed_digest, change.signed_digest]
    assert replica.document.fields["grid"].view() == [[False, True]]


def test_another_inner_author_is_refused() -> None:
    """Neither the signer nor the enclosing item (D-116)."""
    assert outcome(strict(), signed(("rs",), "x", author=BOB.author)) == "inner-author"


def test_sequences_are_bounded() -> None:
    """Above 2^53-1 always, and too far above what is known for now (D-122)."""
    replica = strict()
    far = signed(("rs",), "far", sequence=OPLOG_SEQUENCE_AHEAD_MAX + 2)

    assert outcome(replica, signed(("rs",), "x", sequence=OPLOG_SEQUENCE_MAX + 1)) == (
        "sequence-limit"
    )
    assert outcome(replica, far) == "sequence-jump"
    assert outcome(replica, signed(("rs",), "near", sequence=2)) == "Ok"
    assert outcome(replica, far) == "Ok"


def test_what_waits_does_not_count_as_a_jump() -> None:
    """A long history in reverse ends complete: the bound is that of when it is applied."""
    replica = strict()
    chain: list[SignedOperation] = []
    for number in range(3):
        depends_on = (chain[-1].signed_digest,) if chain else ()
        sequence = 1 + number * OPLOG_SEQUENCE_AHEAD_MAX
        chain.append(signed(("rs",), str(number), sequence=sequence, depends_on=depends_on))

    assert [outcome(replica, o) for o in reversed(chain)][-1] == "Ok"
    assert len(replica.received) == 3


def test_a_wrong_type_changes_nothing() -> None:
    """The register keeps its value, at `strict` alone (D-121)."""
    for level, shown in ((Level.STRICT, "good"), (Level.WIRE, None)):
        replica = new_replica("types", level)
        replica.apply(signed(("rs",), "good"))
        replica.apply(signed(("rs",), 5.0, sequence=2))

        assert replica.document.fields["rs"].view() == shown


def test_a_member_list_refuses_other_signers() -> None:
    """A valid signature by another key is not enough (D-116)."""
    settings = ReplicaSettings(schema=TYPES, members=frozenset((BOB.author,)))

    assert outcome(Replica(settings), signed(("rs",), "x")) == "not-a-member"


def test_an_operation_that_is_signed_again_is_known() -> None:
    """One operation has one effect, and a limited number of signatures of it is kept (D-117)."""
    replica = strict()
    first = signed(("ls",), "A")
    other = sign(first.inner, ())
    assert other.signed_digest == first.signed_digest
    again = [
        sign(first.inner, (signed(("rs",), "d", sequence=n).signed_digest,)) for n in range(1, 70)
    ]
    for number in range(1, 70):
        replica.apply(signed(("rs",), "d", sequence=number))
    states = [outcome(replica, o) for o in (first, *again)]

    assert states == ["Ok"] + ["AlreadySeen"] * (OPLOG_COPIES_MAX - 1) + ["copies-limit"] * 6
    assert replica.apply(again[-1]).state is State.ALREADY_SEEN
    assert again[-1].signed_digest not in replica.received
    assert replica.document.fields["ls"].view() == ["A"]


def test_an_operation_that_waits_for_its_element_is_not_yet_too_far_ahead() -> None:
    """The insertion that it waits for raises the bound (OP-024)."""
    base = OPLOG_SEQUENCE_AHEAD_MAX
    insertion = signed(("lreg",), 1.0, sequence=base)
    write = signed(("lreg", insertion.inner.id), 2.0, sequence=base + 1)
    replica = strict()

    assert [outcome(replica, o) for o in (write, insertion)] == ["MissingCausalDependencies", "Ok"]
    assert replica.document.fields["lreg"].view() == [2.0]


def test_a_deletion_of_a_register_writes_null_whatever_it_carries() -> None:
    """Its content is not looked at (OP-013)."""
    written = signed(("rs",), "x")
    found = hash_text(id_text_of(ROOT, ALICE.author, 2, "y", is_deleted=True))
    deletion = replace(written.inner, sequence=2, is_deleted=True, content="y")
    deletion = replace(deletion, path=("rs", found), id=found)
    replica = strict()

    assert [outcome(replica, o) for o in (written, sign(deletion))] == ["Ok", "Ok"]
    assert replica.document.fields["rs"].view() is None


def test_the_path_of_an_insertion_ends_in_its_id() -> None:
    """An altered last segment is refused, and the genuine operation taken (D-163)."""
    genuine = signed(("ls",), "A")
    # The digest has six digits of the id only, so the signature is still valid (D-115).
    altered_id = genuine.inner.id[:3] + bytes(29)
    altered = replace(genuine, inner=replace(genuine.inner, path=("ls", altered_id)))
    replica = strict()

    assert [outcome(replica, o) for o in (altered, genuine)] == ["path-end", "Ok"]
    assert replica.document.fields["ls"].view() == ["A"]


def test_the_root_of_a_list_is_not_deleted() -> None:
    """It is no element (D-124)."""
    assert outcome(strict(), signed(("ls",), ABSENT)) == "root-delete"


def test_lengths_are_bounded() -> None:
    """A path and a list of dependencies that nobody needs are refused before they are hashed."""
    long_path = sign(replace(signed(("rs",), "x").inner, path=("rs",) * (OPLOG_PATH_MAX + 1)))
    many = signed(("rs",), "x", depends_on=(bytes(64),) * (OPLOG_DEPENDENCIES_MAX + 1))

    assert [outcome(strict(), o) for o in (long_path, many)] == ["length-limit"] * 2


def test_an_evicted_operation_comes_again() -> None:
    """The eviction is counted; another bulk brings what it lost (D-134)."""
    settings = ReplicaSettings(schema=TYPES, queue=QueueLimits(count=1))
    replica = Replica(settings)
    first = signed(("rs",), "1")
    later = [signed((name,), "2", depends_on=(first.signed_digest,)) for name in ("rv", "rc")]
    for operation in (*later, first):
        replica.apply(operation)

    assert replica.queue.evicted == 1
    assert outcome(replica, later[0]) == "Ok"


def test_a_chain_in_reverse_needs_no_recursion() -> None:
    """Every operation is released, declared dependencies and origins alike (D-161)."""
    for level in Level:
        maker = OperationAuthor(ALICE, new_replica("types", level))
        chain = [maker.insert(("ls",), ROOT, "0")]
        for number in range(1, 3000):
            chain.append(maker.insert(("ls",), chain[-1].inner.id, str(number)))
        replica = new_replica("types", level)
        for operation in reversed(chain):
            replica.apply(operation)

        assert replica.view() == maker.replica.view()
        assert replica.apply(chain[0]).state in (State.OK, State.ALREADY_SEEN)
        assert not replica.queue
