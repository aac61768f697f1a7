"""Signed webhooks for what happens in an index: a sender reads the audit log and posts its events."""
