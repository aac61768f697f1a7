"""The server of an index: what it answers, and the process that answers it."""
