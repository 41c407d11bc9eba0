"""The signed-operation CRDT of `oplog/1`: operations, documents, and the replica that applies.

More than 20 modules: the texts of each version, the rules of each level, and each part of a session
are apart from each other.
"""
