"""`xcoder trace`: from a problem's id to all that a run's stored files tell of it."""
