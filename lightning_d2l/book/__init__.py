"""The numbers that the book published, the command that reproduces them, and the demos, which train no model."""
