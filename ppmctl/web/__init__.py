"""Pages for people: browse and search the index, environments, account and administration, in a browser."""
