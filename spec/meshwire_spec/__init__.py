"""The machine-readable half of the specification: numbers, states, layouts, rules, schemas.

Importing this package alone loads none of its modules, and so never loads construct.
"""
