"""Completions from a model, whatever serves it."""
