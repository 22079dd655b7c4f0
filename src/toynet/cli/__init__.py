"""Floor 9: the command line. Only this package prints, parses arguments or exits."""
