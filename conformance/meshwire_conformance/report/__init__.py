"""Reports: one module for each format, all over the same record of a run."""
