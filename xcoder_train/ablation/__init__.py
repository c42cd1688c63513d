"""`xcoder ablate`: the runs of a recipe that vary it, what makes them comparable, and the tables of what they gave."""
