"""A run of the suite: which cases go to which target, and what a part of the suite is."""
