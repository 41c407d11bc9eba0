"""Ways to attach to a target: the table of schemes, and a module for each transport or process.

More than 20 modules: each transport has its own, and those of a foreign library a doorway to it.
"""
