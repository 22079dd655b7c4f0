"""Floor 1: the model families, their catalog, their cost and their picture."""
