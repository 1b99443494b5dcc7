"""Malformed inputs of every kind that the program reads, and what it makes of them: ``python -m tests.fuzz --help``."""
