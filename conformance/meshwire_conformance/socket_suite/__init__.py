"""Socket cases: runs against a node over connections, and verdicts on what it sends.

More than 20 modules: each step from the first contact with a target to the evidence of a case is a
module of its own.
"""
