"""The feature tree: what tasks can be about, where it comes from, and how subtrees are drawn from it."""
