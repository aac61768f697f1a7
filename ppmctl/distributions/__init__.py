"""A wheel or sdist as values: its filename, archive and metadata; the wheel of a shared environment."""
