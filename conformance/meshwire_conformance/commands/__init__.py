"""The commands of `meshwire`, and how the process begins and ends."""
