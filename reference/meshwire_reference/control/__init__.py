"""The control channel: a node serves its user over a unix socket, one JSON object per line."""
