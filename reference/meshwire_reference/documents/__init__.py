"""The Automerge doorway: documents live in a worker process, the node sees calls and results."""
