"""What the node holds: tombstones, the index of documents, and what is not durable yet."""
