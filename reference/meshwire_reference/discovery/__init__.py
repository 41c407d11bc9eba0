"""Services that other machines announce: which are dialled, and the doorway of mDNS."""
