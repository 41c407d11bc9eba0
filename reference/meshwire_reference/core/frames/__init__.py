"""What each frame does: a table from frame type to handler, and the handlers."""
