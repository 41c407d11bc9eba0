"""The iroh transport: QUIC with proven endpoint ids."""
