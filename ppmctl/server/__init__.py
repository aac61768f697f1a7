"""The server of an index: its HTTP API and the process that runs it."""
