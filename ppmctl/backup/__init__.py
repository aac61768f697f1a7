"""Back up a volume with restic, restore it, and prove by drills that a restore works."""
