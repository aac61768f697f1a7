"""The index as its clients see it, looked at from another machine: each promise tried, each fault with its remedy.

It needs Python 3.11, the `cryptography` that Ansible brings along, and a pip. `run.look` is where it starts.
"""
