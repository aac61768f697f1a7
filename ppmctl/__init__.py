"""ppm: a private Python package index for a team, and the command to use it."""

__version__ = "0.1.0"
