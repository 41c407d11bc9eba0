"""Ways to attach to a target: one module per scheme."""
