"""Parts for tests: a bench for a core, a transport in memory, and an author of documents."""
