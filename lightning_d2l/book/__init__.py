"""The book's published figures, the command that reproduces them, and the demos that train nothing."""
