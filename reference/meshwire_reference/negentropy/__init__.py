"""Set reconciliation (negentropy V1): two nodes find which items only one of them holds.

Items are ordered by timestamp and then by id. A message divides that order into ranges and gives
for each what the sender holds: nothing (skip), a fingerprint, or all ids. A side whose fingerprint
differs answers with fingerprints of 16 parts of the range, or with its ids if they are few, so that
only ranges that differ are compared again. Nothing is kept between messages: a message is
answered from the items as they are then, which is why items may come and go during a run.

A fingerprint is made of the sum of the ids in a range and their number. Both storages keep the sum
of all ids before each item, so that any fingerprint costs one subtraction: `Vector` for a set that
does not change, `Index` for one that does. `Reconciliation` is the algorithm, without any cap on
rounds; `Run` is a reconciliation with the limits that a node keeps toward a peer.
"""

from meshwire_reference.negentropy.index import Index
from meshwire_reference.negentropy.session import Reconciliation, Run, Step
from meshwire_reference.negentropy.storage import Misused, NegentropyError, RunRefused, Storage
from meshwire_reference.negentropy.vector import Vector

__all__ = [
    "Index",
    "Misused",
    "NegentropyError",
    "Reconciliation",
    "Run",
    "RunRefused",
    "Step",
    "Storage",
    "Vector",
]
