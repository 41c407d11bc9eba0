"""Codec cases: requests to a codec harness, and verdicts on its answers."""
