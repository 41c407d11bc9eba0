"""The suite's own implementation of negentropy, Automerge bytes and frame content."""
