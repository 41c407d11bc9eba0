"""The commands of `meshwire-node`."""
