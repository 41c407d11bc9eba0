"""The formats of files, lines and reports: msgspec structs, and the JSON Schemas made from them.

Importing this package alone loads none of its modules. Change a struct, then run
`tools/make_schemas.py`, which writes the `.json` files of this folder.
"""
