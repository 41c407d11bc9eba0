"""The reference's codec of the `sync/1` messages, on `struct`, one module per family.

Decoding is structural and exact: it refuses only bytes without meaning, and encoding a
decoded message gives the same bytes. `accept` has the further refusals of a strict node.
"""
