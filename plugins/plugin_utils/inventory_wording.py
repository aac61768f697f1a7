"""The messages of check_inventory: what each value must be, and missing or unknown variables."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping
from typing import Any

KINDS = {
    "str": "a text",
    "path": "a path",
    "int": "a whole number",
    "bool": "true or false",
    "list": "a list",
    "dict": "a mapping",
}

# What a value must be, if its type is not enough.
MUST_BE = {
    "ppm_domain": "a host name in small letters, such as packages.example.com",
    "ppm_root": "an absolute path of letters, digits and . _ - /, such as /srv/ppm",
    "ppm_max_upload_size": "a size such as 500M or 4G",
    "ppm_audit_max_size": "a size such as 50M or 1G",
    "ppm_storage": "the address of a bucket such as s3://bucket/prefix (or gs, az), without a credential",
    "ppm_cache_max_size": "a size such as 10G or 500G",
    "ppm_memory_max": "a size of 128M or more, such as 512M or 2G",
    "ppm_log_max_size": "a size of 1M or more, such as 100M or 1G",
    "ppm_journal_max_size": "a size of 16M or more, such as 500M or 2G",
    "ppm_firewall_ports": "a port with its protocol, such as 9100/tcp or 51820/udp",
    "ppm_prune": "options of ppmctl package prune, such as --keep 3 --prereleases 90d --unused 365d",
    "ppm_upstream_url": "a URL without a credential, such as https://index.example/simple/",
    "ppm_pip_index_url": "a URL without a credential, such as https://index.example/simple/",
    "ppm_proxy_url": "a URL without a credential, such as https://index.example/simple/",
    "ppm_acme_directory": "a URL without a credential, such as https://index.example/simple/",
    "ppm_acme_email": "an e-mail address",
    "ppm_no_proxy": "a host name or a network",
    "ppm_trusted_proxies": "a network such as 10.0.0.0/8",
    "ppm_backup_repository": (
        "a restic repository without a password, such as sftp:backup@backup.example.com:/ppm,"
        " s3:https://s3.example.com/ppm or an absolute path"
    ),
    "ppm_backup_time": (
        "a calendar event of systemd for each day, such as 02:30 or *-*-* 00/6:15; a backup of more than two days"
        " before is reported as a fault"
    ),
    "ppm_backup_drill_time": (
        "a calendar event of systemd for each week, such as Sun 04:00 or 02:30; a drill of more than eight days"
        " before is reported as a fault"
    ),
    "ppm_backup_known_hosts": "a line of known_hosts without a comment, such as backup.example.com ssh-ed25519 AAAA…",
    "ppm_backup_memory_max": "a size of 128M or more, such as 512M or 2G",
    "ppm_snapshot": "the id of a snapshot, or latest",
}
NAME_PATTERN = "a pattern of names, such as acme-*"
OWN_FOLDER = "a folder of the index's own, such as /srv/ppm; this one has other uses"
_NAME_PATTERNS = (
    "patterns of names that a name can match, such as acme-*; 50 with * ? or [ ] at most, of 1000 characters together"
)
CREDENTIAL_MUST_BE = {
    "name of a user": "letters, digits and . _ @ -",
    "name of a token": "OWNER+PURPOSE, such as ci+deploy",
    "secret": "32 to 200 random characters without spaces (openssl rand -hex 32)",
    "email": "an e-mail address",
    "projects": _NAME_PATTERNS,
    "reads": _NAME_PATTERNS,
    "expires": "a day such as 2030-01-31, or a time such as 2030-01-31T12:00:00Z",
}


def unknown(name: str, known: Collection[str]) -> str:
    """Return the message for a variable that ppm does not have."""
    return f"{name} is not a variable of ppm: {suggestion(name, known, 'roles/*/README.md list all variables.')}"


def suggestion(name: str, known: Collection[str], otherwise: str) -> str:
    """Return a question with the most similar known name, or `otherwise`."""
    near = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {near[0]}?" if near else otherwise


def missing(name: str, spec: Mapping[str, Any]) -> str:
    """Return the message for a required variable without a value."""
    description = spec["description"]
    about = description if isinstance(description, str) else " ".join(description)
    return f"{name} is missing: set it in your inventory. {about}"


def report(problems: Collection[str], *, what: str) -> str:
    """Return one text with all problems; `what` is what was not done."""
    listed = "\n".join(f"  - {problem}" for problem in problems)
    return f"Nothing {what}. The problems:\n{listed}"
