"""What every folder of tests may ask for: see tests/support/beds.py. It costs nothing until a test does."""

from __future__ import annotations

pytest_plugins = ["support.beds"]
