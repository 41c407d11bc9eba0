"""Socket cases: runs against a node over connections, and verdicts on what it sends."""
