"""The codec harness: the codec of `wire` behind a pipe, one JSON object per line."""
