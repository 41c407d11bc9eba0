"""Parts for tests: a bench that plays everything around a core, and a transport in memory."""
