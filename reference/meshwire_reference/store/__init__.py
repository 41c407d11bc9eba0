"""The store of a node: in memory to the end of the process, or durable in a folder."""
