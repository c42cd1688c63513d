"""A run: its stages, the keys of their results, its folder, and how stages are started."""
