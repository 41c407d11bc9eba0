"""Every case: where it is read from, how it is selected, and the digest over all."""
