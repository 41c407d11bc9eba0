"""Connections with peers: QUIC's streams over the lab binding and over iroh."""
