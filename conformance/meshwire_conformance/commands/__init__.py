"""The commands of `meshwire`: one module each, arguments in, lines and an exit code out."""
