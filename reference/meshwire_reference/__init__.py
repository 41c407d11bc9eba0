"""The reference node: a correct and readable implementation of the profile `sync/1`."""
