"""The suite's own implementation of protocol algorithms, independent of the reference."""
