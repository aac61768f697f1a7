"""The configuration of the programs that use an index, and the edits of their files."""
