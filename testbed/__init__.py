"""Disposable hosts on this machine: Debian with systemd and SSH in containers, and an ACME server.

`make host` and the tests of the roles use it; nothing that is deployed imports it.
"""
