"""Move an index between a volume and a bucket."""
