"""Enrollment without input or output: its messages, what an authority decides, and a client."""
