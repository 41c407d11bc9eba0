"""The conformance suite: vectors, transcripts, and the check that runs them on a target."""
