"""Publish a project's folder to an index: build it, check it, upload it, and make its release."""
