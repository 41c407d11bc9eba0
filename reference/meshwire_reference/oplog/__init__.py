"""The signed-operation CRDT of `oplog/1`: operations, documents, and the replica that applies."""
