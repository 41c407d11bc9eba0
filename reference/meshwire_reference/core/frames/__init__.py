"""The effect of each frame: a table from frame type to handler, and the handlers."""
