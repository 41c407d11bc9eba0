"""The node as a process: the asyncio driver of the core, its connections and its settings."""
