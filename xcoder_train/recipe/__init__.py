"""Recipes: what one is, how it is read, what is refused, and its reference page."""
