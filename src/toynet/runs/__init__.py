"""Floor 4: a recipe, the folder of a run, and the way from one to the other."""
