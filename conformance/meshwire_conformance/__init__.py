"""The conformance suite: vectors, transcripts and the check that holds a target to them."""
