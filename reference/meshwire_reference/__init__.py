"""The reference node: a correct, plain implementation of the sync/1 profile."""
