"""A release on its way: a project's folder → checked files → an index that shows them with the same sha256."""
