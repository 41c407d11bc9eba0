"""A run of the suite: which cases go to which target, and which part judges them."""
