"""The lab binding: QUIC's stream model over one TCP connection."""
