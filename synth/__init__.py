"""SynthSmith: features to tasks, solutions, tests and verified datasets."""
