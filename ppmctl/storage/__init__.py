"""The bucket of an index: object storage that several nodes share, and what is where in it."""
