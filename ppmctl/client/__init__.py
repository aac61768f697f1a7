"""HTTP to an index, the credential it needs, and what a user has set up for it."""
