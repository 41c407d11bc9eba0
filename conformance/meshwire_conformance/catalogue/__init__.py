"""Every case: its type, the files and functions it is read from, and the digest over all."""
