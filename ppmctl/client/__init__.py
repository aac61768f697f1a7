"""Requests to an index over HTTP, the credential for them, and the user's configuration of both."""
