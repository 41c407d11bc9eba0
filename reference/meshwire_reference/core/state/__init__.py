"""State of the node: tombstones, index and queues of documents, policies, pending writes."""
