"""Nodes without a network, a clock or a process, for tests that have to be repeatable."""
