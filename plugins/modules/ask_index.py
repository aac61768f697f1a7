#!/usr/bin/python
"""Ask an index as a client does, after it was set up, and look at the end of its certificate."""

from __future__ import annotations

import http.client
import socket
import ssl
import subprocess
from datetime import UTC, datetime, timedelta
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.ppm.index.plugins.module_utils.ppm_addresses import own_addresses

DOCUMENTATION = """
module: ask_index
short_description: ask an index as a client does
description:
  - Asks for the health and the list of projects, without a credential, directly and without a proxy.
  - The server counts as the host if it sends the host's own certificate, whether this machine trusts it or not.
options:
  domain:
    description: The name of the index.
    type: str
    required: true
  address:
    description: The address to connect to. If empty, the DNS is asked, and another server is no failure.
    type: str
    default: ""
  tls:
    description: Whether the index has TLS.
    type: bool
    required: true
  is_public:
    description: Whether reads need no credential.
    type: bool
    default: false
  certificate:
    description: The host's own certificate (PEM).
    type: str
    default: ""
  certificate_file:
    description: The file with the host's own certificate; its dates are checked too.
    type: path
    default: ""
author: The ppm developers
"""
RETURN = """
problem:
  description: Why the index could not be asked, or "".
  type: str
  returned: always
certificate:
  description: The host's own certificate (PEM).
  type: str
  returned: always
late:
  description: When the certificate expires, if it should have been renewed, or "".
  type: str
  returned: always
"""

_SECONDS = 10
_LATE = timedelta(days=20)
_DATE = "%b %d %H:%M:%S %Y GMT"
_LOGS = "journalctl -u nginx -u ppm, and /var/log/nginx/error.log, have the reason."


class OtherServer(Exception):
    """The host was not reached: there is no connection, or another server answers."""


def connect(domain: str, address: str, *, tls: bool, pem: str) -> socket.socket:
    """Return a connection to the host. Raise OtherServer."""
    where = address or domain
    port = 443 if tls else 80
    try:
        plain = socket.create_connection((where, port), timeout=_SECONDS)
        if not tls:
            return plain
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # compared with the host's own instead
        encrypted = context.wrap_socket(plain, server_hostname=domain)
    except OSError as exc:
        raise OtherServer(f"no connection to port {port} of {where}: {exc}") from exc
    if pem and encrypted.getpeercert(binary_form=True) != ssl.PEM_cert_to_DER_cert(_first(pem)):
        encrypted.close()
        raise OtherServer(f"{where} sends another certificate than the host has: another server, or an older one")
    return encrypted


def ask(domain: str, address: str, *, tls: bool, pem: str, is_public: bool) -> str:
    """Return what is wrong with the answers of the host, or "". Raise OtherServer."""
    for path, wanted in (("/healthz", 200), ("/simple/", 200 if is_public else 401)):
        connection = http.client.HTTPConnection(domain, timeout=_SECONDS)
        connection.sock = connect(domain, address, tls=tls, pem=pem)
        try:
            connection.request("GET", path, headers={"Accept": "application/vnd.pypi.simple.v1+json"})
            status = connection.getresponse().status
        except (OSError, http.client.HTTPException) as exc:
            return f"{path} is not answered: {exc or type(exc).__name__}"
        finally:
            connection.close()
        if status != wanted:
            return f"{path} is answered with {status}, not {wanted}"
    return ""


def dates(path: str) -> tuple[datetime, datetime]:
    """Return when the first certificate of a file begins and ends. Raise OSError or ValueError."""
    done = subprocess.run(
        ["openssl", "x509", "-in", path, "-noout", "-startdate", "-enddate"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={"PATH": "/usr/bin:/bin", "LC_ALL": "C"},
    )
    begin, end = [line.partition("=")[2] for line in done.stdout.splitlines()[:2]]
    return datetime.strptime(begin, _DATE).replace(tzinfo=UTC), datetime.strptime(end, _DATE).replace(tzinfo=UTC)


def is_late(begin: datetime, end: datetime, now: datetime) -> bool:
    """Return whether a certificate should have been renewed: certbot does so with a third of its life left."""
    return end - now < min(_LATE, (end - begin) / 4)


def _first(pem: str) -> str:
    end = "-----END CERTIFICATE-----"
    return pem[: pem.index(end) + len(end)] + "\n"


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "domain": {"type": "str", "required": True},
            "address": {"type": "str", "default": ""},
            "tls": {"type": "bool", "required": True},
            "is_public": {"type": "bool", "default": False},
            "certificate": {"type": "str", "default": ""},
            "certificate_file": {"type": "path", "default": ""},
        },
        supports_check_mode=True,
    )
    given = module.params
    result: dict[str, Any] = {"changed": False, "problem": "", "certificate": given["certificate"], "late": ""}
    url = f"{'https' if given['tls'] else 'http'}://{given['domain']}/"
    if given["tls"] and given["certificate_file"]:
        path = given["certificate_file"]
        try:
            with open(path, encoding="ascii") as file:
                result["certificate"] = _first(file.read())
            begin, end = dates(path)
        except (OSError, ValueError) as exc:
            module.fail_json(msg=f"The certificate of {url} can't be read: {path}: {exc}")
        now = datetime.now(UTC)
        if end <= now:
            module.fail_json(
                msg=f"The certificate of {url} expired on {end:%Y-%m-%d}. With ppm_tls letsencrypt: systemctl start"
                " certbot.service, and journalctl -u certbot.service has the reason. With provided: get a new one."
            )
        result["late"] = f"{end:%Y-%m-%d}" if is_late(begin, end, now) else ""
    problem = ""
    # another site may have the loopback's address for itself
    for address in [given["address"], *own_addresses()] if given["address"] else [""]:
        try:
            asked = ask(
                given["domain"], address, tls=given["tls"], pem=result["certificate"], is_public=given["is_public"]
            )
        except OtherServer as exc:
            if not given["address"]:
                module.exit_json(**result | {"problem": str(exc)})
            asked = str(exc)
        if not asked:
            module.exit_json(**result)
        problem = problem or asked
    if problem:
        module.fail_json(msg=f"The index does not work at {url} : {problem}. On the host, {_LOGS}")
    module.exit_json(**result)


if __name__ == "__main__":
    main()
