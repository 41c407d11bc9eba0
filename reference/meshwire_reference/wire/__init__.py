"""The reference's own codec of the sync/1 messages, by hand on `struct`, one module a family.

Decoding is structural and exact: it refuses only what has no meaning, and encoding what was
decoded gives the same bytes. What a strict node refuses beyond that is said by `accept`.
"""
