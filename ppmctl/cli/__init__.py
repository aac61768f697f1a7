"""The commands: a file a noun; each parses, calls one function, and renders what comes back."""
