"""Many nodes in one process under a virtual clock: seeded plans, faults, judgements, shrinking."""
