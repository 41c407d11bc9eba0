"""A run of the suite: which cases go to which target, which part judges them, and the record."""
