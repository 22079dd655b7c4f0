"""The verbs of the command line as functions, a module for each kind; `toynet` has them all by name."""
