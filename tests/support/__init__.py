"""Helpers that tests share: servers, distributions and a clean environment for clients."""
