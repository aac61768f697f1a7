#!/usr/bin/python
"""Get a certificate for the index, from an ACME authority with certbot or self-signed, and put it in its place."""

from __future__ import annotations

import secrets
import subprocess
import tempfile
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.ppm.index.plugins.module_utils.ppm_certificate import (
    NotIssued,
    check_name,
    issue,
    renew_account,
    self_signed,
)

DOCUMENTATION = """
module: issue_certificate
short_description: get a certificate from an ACME authority, or make one
options:
  domain:
    description: The name that the certificate is for.
    type: str
    required: true
  source:
    description: The source of the certificate, which is stored with it and compared by later runs.
    type: str
    required: true
  email:
    description: The address for the authority. If empty, the certificate is self-signed.
    type: str
    default: ""
  directory:
    description: The authority's directory URL; empty means certbot's default.
    type: str
    default: ""
  webroot:
    description: The folder that nginx serves challenges from.
    type: path
    default: ""
  check_first:
    description: Check that the name leads to this host before the authority is asked.
    type: bool
    default: true
  account_only:
    description: Only register again, with a new certificate, if the authority has lost the current one's account.
    type: bool
    default: false
author: The ppm developers
"""

TLS = Path("/etc/ppm/tls")
CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
LIVE = Path("/etc/letsencrypt/live")
_DAYS = 3650


def link(name: str, target: Path) -> None:
    """Make TLS/name a link to `target`, in one step."""
    temporary = TLS / f".{name}.{secrets.token_hex(4)}"
    temporary.symlink_to(target)
    temporary.replace(TLS / name)


def make(domain: str) -> None:
    """Make a self-signed certificate, and put it in its place."""
    with tempfile.TemporaryDirectory(dir=TLS) as folder:
        self_signed(Path(folder), domain, days=_DAYS)
        for name in ("privkey.pem", "fullchain.pem"):
            (Path(folder) / name).replace(TLS / name)


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "domain": {"type": "str", "required": True},
            "source": {"type": "str", "required": True},
            "email": {"type": "str", "default": ""},
            "directory": {"type": "str", "default": ""},
            "webroot": {"type": "path", "default": ""},
            "check_first": {"type": "bool", "default": True},
            "account_only": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    given = module.params
    if module.check_mode:
        module.exit_json(changed=not given["account_only"])
    try:
        if given["account_only"]:
            is_new = renew_account(
                given["domain"],
                given["email"],
                Path(given["webroot"]),
                authorities=CERTIFICATES,
                configuration=LIVE.parent,
            )
            if not is_new:
                module.exit_json(changed=False)
        elif given["email"]:
            webroot = Path(given["webroot"])
            if given["check_first"]:
                check_name(given["domain"], webroot)
            issue(given["domain"], given["email"], given["directory"], webroot, authorities=CERTIFICATES)
            for name in ("privkey.pem", "fullchain.pem"):
                link(name, LIVE / given["domain"] / name)
        else:
            make(given["domain"])
        (TLS / "source").write_text(given["source"] + "\n")
    except (NotIssued, subprocess.SubprocessError) as exc:
        module.fail_json(msg=f"No certificate for {given['domain']}: {exc}")
    if not given["account_only"]:
        # replaces the record of a failed renewal; where the application is not installed, there is no such unit
        subprocess.run(["systemctl", "start", "ppm-succeeded@certificate.service"], check=False, capture_output=True)
    module.exit_json(changed=True)


if __name__ == "__main__":
    main()
