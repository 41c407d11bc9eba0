"""The causal queue: bounded, without duplicates where asked, evicting the oldest."""

from meshwire_reference.oplog.operations import ROOT, Operation, SignedOperation
from meshwire_reference.oplog.waiting import CausalQueue, QueueLimits, operation_size


def operation(number: int, text: str = "x") -> SignedOperation:
    """Return an operation that only `number` distinguishes."""
    inner = Operation(
        ROOT, ROOT, number, is_deleted=False, content=text, path=("ls",), id=bytes([number]) * 32
    )
    return SignedOperation(ROOT, bytes([number]) * 64, (), inner)


def test_taken_in_the_order_of_arrival() -> None:
    """Each key has its own operations, and what is taken is gone."""
    queue = CausalQueue(QueueLimits(), deduplicates=True)
    for number, key in ((3, "a"), (1, "b"), (2, "a")):
        queue.put(operation(number), key)

    assert queue.take("a") == [operation(3), operation(2)]
    assert queue.take("a") == []
    assert len(queue) == 1


def test_a_duplicate_takes_no_room() -> None:
    """The same operation waits once; at the other level as often as it comes, as recorded."""
    for deduplicates, count in ((True, 1), (False, 3)):
        queue = CausalQueue(QueueLimits(), deduplicates=deduplicates)
        for _ in range(3):
            queue.put(operation(7), "a")

        assert len(queue) == len(queue.take("a")) == count
        assert queue.size == 0


def test_the_oldest_goes_when_there_are_too_many() -> None:
    """Evictions are counted, and what is evicted may come again."""
    queue = CausalQueue(QueueLimits(count=2), deduplicates=True)
    for number in (1, 2, 3):
        queue.put(operation(number), "a")
    queue.put(operation(1), "b")

    assert queue.evicted == 2
    assert queue.take("a") == [operation(3)]
    assert queue.take("b") == [operation(1)]


def test_the_oldest_goes_when_they_are_too_large() -> None:
    """Size counts too: one operation over the whole bound does not stay either."""
    size = operation_size(operation(1))
    queue = CausalQueue(QueueLimits(size=2 * size), deduplicates=True)
    for number in (1, 2, 3):
        queue.put(operation(number), "a")

    assert (len(queue), queue.size, queue.evicted) == (2, 2 * size, 1)
    queue.put(operation(9, "x" * size), "a")
    assert (len(queue), queue.size, queue.evicted) == (0, 0, 4)
