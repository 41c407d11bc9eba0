"""The store of documents: in memory, to the end of the process."""
