"""Disposable hosts on this machine: Debian with systemd and SSH in containers, and an ACME server beside them.

`make host` and the tests of the roles stand on it; nothing that is deployed imports it.
"""
