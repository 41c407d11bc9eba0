"""Connections with peers: QUIC's streams over the lab binding, over QUIC and over iroh."""
