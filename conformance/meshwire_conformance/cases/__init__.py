"""Cases that need a loop or a branch, one module per subject, and the cases of the harness.

More than 20 modules: each subject of the pages has cases of its own.
"""
