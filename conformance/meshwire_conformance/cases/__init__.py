"""Cases that need a loop or a branch, one module per subject, and the cases of the harness."""
