"""Frames to a peer: queues, the initial exchange, relays and answers."""
