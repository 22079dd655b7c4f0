"""How fast this machine could train, how fast it does, and what would help."""
