"""The closed forms that a study may lay over its figure, a file a topic."""
