"""One peer: its session, its handshake, and the streams that it opened."""
