"""Floor 0: errors, seeds, files, records, environment. Imports nothing of ToyNet above itself."""
