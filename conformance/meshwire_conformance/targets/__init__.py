"""Ways to attach to a target: the table of schemes, and a module for each transport or process."""
