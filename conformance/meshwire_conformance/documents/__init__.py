"""The suite's own Automerge, in a child process: documents as data, in both directions.

`client.Documents` is the doorway; nothing else of the suite touches the library.
"""
