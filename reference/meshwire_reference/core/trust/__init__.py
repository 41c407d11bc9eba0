"""Certificates of members: how they are signed, verified, revoked and held."""
