"""Cases: their type, the files they are read from, how they are selected, and their digest."""
