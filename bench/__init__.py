"""Measurements of an index, side by side in one run: `make bench`. Only ratios within a run mean anything."""
