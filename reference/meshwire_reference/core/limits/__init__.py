"""Limits on the cost of a peer: bytes, turns and repetitions."""
