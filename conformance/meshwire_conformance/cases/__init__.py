"""Socket cases that need a loop or a branch: one module for each page of the specification."""
