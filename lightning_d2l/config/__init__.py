"""From a command line to a checked configuration, without importing torch."""
