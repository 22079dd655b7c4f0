"""Functions on maps that torch has, but slower: compiled from C on the machine that runs them."""
