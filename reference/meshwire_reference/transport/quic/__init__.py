"""The QUIC transport: aioquic, with credit and buffers that this side controls."""
