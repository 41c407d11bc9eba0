"""Bytes and values shown to a person: decoding, field rows, hex dumps, comparisons."""
