"""Who may do what: users, tokens, invites, the credential files, and the audit log."""
