"""`xcoder trace`: all that a run's stored files say about one problem."""
