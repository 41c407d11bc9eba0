"""Ways to attach to a target: one module for each scheme."""
