"""Reconciliation runs over streams, as server and as client."""
