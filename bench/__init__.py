"""Measure indexes side by side in one run (`make bench`). Only ratios within a run can be compared."""
