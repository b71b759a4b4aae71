"""Closed forms that a study may draw over its figure, a file for each topic; theories.py lists their names."""
