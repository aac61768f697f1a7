"""ppm: a team's own Python package index, and the command that people use with it."""

__version__ = "0.1.0"
