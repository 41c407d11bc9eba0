"""Limits on what a peer may cost: bytes, turns and repetitions."""
