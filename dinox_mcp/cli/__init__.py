"""The command line: every parser and everything that is printed to a terminal."""
