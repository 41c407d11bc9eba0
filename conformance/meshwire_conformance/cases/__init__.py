"""Cases that need a loop or a branch, one module a subject, and the cases of the harness."""
