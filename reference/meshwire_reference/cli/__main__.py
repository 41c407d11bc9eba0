"""Makes `python -m meshwire_reference.cli` the same as `meshwire-node`."""

from meshwire_reference.cli.app import main

main()
