"""Each role in a playbook of its own; certificates of each source, and reasons for no certificate.

The order matters: each role runs on a host with the state that the roles before it left.
"""

from __future__ import annotations

import json
import os
import ssl
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import pytest
import requests
from support.deployed import Deployed, certificate, eventually, settings
from support.tls import Authority

from testbed.acme import Acme
from testbed.hosts import Host
from testbed.playbook import Result

PLAY = """\
- name: {role} alone
  hosts: ppm
  become: true
  gather_facts: false
  roles:
    - role: {role}
"""


@dataclass(kw_only=True)
class HostForRoles(Deployed):
    """A host on which tests run roles one by one."""

    def role(self, name: str, *arguments: str, expect: int = 0, **variables: object) -> Result:
        """Run one role."""
        path = self.folder / f"{name}.yml"
        path.write_text(PLAY.format(role=name))
        return self.play(path, *arguments, expect=expect, **variables)

    def certificate_tasks(self, *arguments: str, expect: int = 0, **variables: object) -> Result:
        """Run letsencrypt without its dependencies, which have run already and would change nothing."""
        source = self.host.run("cat /etc/ppm/tls/source", check=False).out.strip()
        facts = {"certificate": source, "packages": ["certbot"], "units": {"ready": [], "off": []}}
        start = ("--start-at-task", "letsencrypt : *", "-e", json.dumps({"base_host": facts}))
        return self.role("letsencrypt", *start, *arguments, expect=expect, **variables)

    def workers(self) -> tuple[str, str]:
        """Return the processes of nginx: the main one, and the workers, which a reload replaces."""
        return (
            self.host.run("systemctl show -p MainPID --value nginx.service").out,
            self.host.run("pgrep -f 'nginx: worker' | sort").out,
        )


def host_for_roles(host: Host, acme: Acme, folder: Path) -> HostForRoles:
    made = HostForRoles(host=host, folder=folder, ca=folder / "root.pem", variables=settings(host, acme, folder))
    made.ca.write_bytes(acme.root())
    return made


@pytest.fixture(scope="module")
def web(new_shared_host: Callable[..., Host], acme: Acme, tmp_path_factory: pytest.TempPathFactory) -> HostForRoles:
    """Make the host for base, nginx and certificates."""
    return host_for_roles(new_shared_host(13), acme, tmp_path_factory.mktemp("web"))


@pytest.fixture(scope="module")
def app(new_shared_host: Callable[..., Host], acme: Acme, tmp_path_factory: pytest.TempPathFactory) -> HostForRoles:
    """Make the host for the application and its credentials."""
    return host_for_roles(new_shared_host(12, sudo=True), acme, tmp_path_factory.mktemp("app"))


def test_base(web: HostForRoles) -> None:
    web.role("base")
    host = web.host
    assert host.run("stat -c '%U %G %a' /srv/ppm /srv/ppm/credentials").out == "ppm www-data 750\nppm www-data 2750\n"
    assert host.run("getent passwd ppm").out.endswith(":/srv/ppm:/usr/sbin/nologin\n")
    assert host.run("command -v nginx certbot", check=False).code, "what others need is theirs"
    bundle = host.run("cat /etc/ssl/certs/ca-certificates.crt").out
    authorities = cast("list[str]", web.variables["ppm_ca_certificates"])
    assert Path(authorities[0]).read_text().strip() in bundle
    assert host.run("ls /etc/nginx /opt/ppm", check=False).out == ""


def test_pypiserver(app: HostForRoles) -> None:
    """The application answers on its socket, without nginx."""
    app.role("pypiserver")
    ask = (
        "import socket; s = socket.socket(socket.AF_UNIX); s.connect('/run/ppm/ppm.sock');"
        " s.sendall(b'GET /healthz HTTP/1.0\\r\\n\\r\\n'); print(s.makefile().read())"
    )
    assert app.host.run(f'python3 -c "{ask}"').out.rstrip().endswith("ok")
    assert app.host.run("ls /srv/ppm/first-credential /etc/nginx", check=False).out == ""
    assert app.host.run("command -v nginx", check=False).code


def test_credentials(app: HostForRoles) -> None:
    made = app.role("credentials", "--start-at-task", "credentials : *")  # its dependencies have just run
    first = "credentials : Make the first admin if there is no admin"
    assert made.changed == (first,)
    user, _, secret = app.host.run("cat /srv/ppm/first-credential").out.strip().partition(":")
    assert secret.startswith("ppm_")
    assert secret not in made.output
    assert user in app.host.run("ppmctl user list").out
    # the administrator deletes the file; another run makes no other admin
    app.host.run("rm /srv/ppm/first-credential /srv/ppm/netrc")
    again = app.role("credentials", "--start-at-task", first)
    assert (again.host.ok, again.changed) == (1, ())
    assert app.host.run("ls /srv/ppm/first-credential", check=False).code


def test_nginx(web: HostForRoles, tmp_path: Path) -> None:
    """Without a certificate it starts with a temporary one, which no client trusts.

    The host has an nginx with another site: what does not fit is found first, then both sites are served.
    """
    web.host.run("apt-get install -y -qq --no-install-recommends nginx")
    other = "/etc/nginx/sites-enabled/other"
    web.host.run(f"echo 'server {{ listen 80 default_server; return 200 other; }}' >{other}")
    refused = web.role("nginx", expect=2)
    assert "a duplicate default server for 0.0.0.0:80" in " ".join(refused.output.split())
    web.host.run(f"echo 'server {{ listen 80; server_name other.test; return 200 other; }}' >{other}")
    assert web.host.run("ls /etc/nginx/ppm /var/backups/ppm", check=False).out == ""
    original = web.host.run("cat /etc/nginx/nginx.conf").out
    web.role("nginx")
    assert web.host.run("cat /var/backups/ppm/etc/nginx/nginx.conf.*").out == original
    there = web.session.get(f"http://{web.domain}/", headers={"Host": "other.test"}, timeout=20)
    assert there.text == "other"
    web.host.run(f"rm {other}; systemctl reload nginx")
    assert web.host.run("nginx -t 2>&1 | tail -1").out.endswith("test is successful\n")
    with pytest.raises(requests.exceptions.SSLError):
        web.get("/simple/")
    temporary = tmp_path / "temporary.pem"
    temporary.write_bytes(web.host.box.get("/etc/ppm/tls/fullchain.pem"))
    assert "temporary" in certificate(web, root=temporary).issuer
    unhealthy = web.ask("GET", "/healthz", verify=str(temporary))
    assert (unhealthy.status_code, unhealthy.text) == (503, "The pages can't be read\n"), "nobody has written pages"
    assert web.ask("GET", "/simple/", verify=str(temporary), auth=None).status_code == 401
    assert web.session.get(f"http://{web.domain}/", timeout=20, allow_redirects=False).status_code == 301
    with pytest.raises(requests.exceptions.ConnectionError):
        web.session.get(f"http://{web.domain}/", headers={"Host": "other.test"}, timeout=20)


def test_a_self_signed_certificate(web: HostForRoles, tmp_path: Path) -> None:
    before = web.workers()
    given = {"ppm_tls": "selfsigned", "ppm_acme_email": ""}
    made, again = web.certificate_tasks(**given), web.certificate_tasks(**given)
    assert made.changed == ("letsencrypt : Make the certificate", "nginx : Reload nginx")
    assert again.changed == ()
    root = tmp_path / "own.pem"
    root.write_bytes(web.host.box.get("/etc/ppm/tls/fullchain.pem"))
    assert certificate(web, root=root).domains == [web.domain]
    assert web.workers()[0] == before[0]
    assert web.host.run("stat -c %a /etc/ppm/tls/privkey.pem").out == "600\n"
    assert web.host.run("command -v certbot", check=False).code, "nothing is installed that it does not need"


# Reasons for no certificate: a domain, whether the host checks it first, another CA, and the message.
# `{other}` is a host with another server, `{web}` the host itself.
REFUSALS = {
    "no DNS": ("nowhere.test", True, "", "nowhere.test has no address in the DNS that this host asks"),
    "port 80 is closed": ("acme.test", True, "", "nothing answers at http://acme.test/ (port 80 of "),
    "another server": ("{other}", True, "", "another server answers there ('an answer of status 404')"),
    "no DNS for the authority": ("nowhere.test", False, "", "the authority finds no address for nowhere.test (DNS)"),
    "closed to the authority": (
        "acme.test",
        False,
        "",
        "the authority did not reach this nginx at http://acme.test/",
    ),
    "another to the authority": ("{other}", False, "", "the authority did not reach this nginx at http://{other}/"),
    "no authority": ("{web}", True, "https://acme.test:9/dir", "this host does not reach the authority"),
    "an authority that nobody vouches for": (
        *("{web}", True, "https://{web}/dir"),
        "the authority's own certificate is not trusted by this host",
    ),
}


def test_reasons_for_no_certificate(web: HostForRoles, app: HostForRoles, acme: Acme, tmp_path: Path) -> None:
    """The role's module gets all of them in one run, then the role gets one. The host continues to serve."""
    web.host.run("apt-get install -y -qq --no-install-recommends certbot")
    app.host.run("systemd-run --unit=other --collect python3 -m http.server 80")
    names = {"web": web.domain, "other": app.domain}
    tasks: list[dict[str, object]] = [
        {
            "name": name,
            "ppm.index.issue_certificate": {
                "domain": domain.format(**names),
                "email": "admin@example.com",
                "directory": directory.format(**names) or acme.directory,
                "webroot": "/var/lib/ppm/acme",
                "check_first": first,
                "source": "a test",
            },
            "register": f"result{number}",
            "ignore_errors": True,
        }
        for number, (name, (domain, first, directory, _)) in enumerate(REFUSALS.items())
    ]
    content = ", ".join(f"'{name}': result{number}.msg" for number, name in enumerate(REFUSALS))
    keep = {"content": "{{ {" + content + "} | to_json }}", "dest": "/root/messages.json", "mode": "0600"}
    tasks.append({"name": "Keep", "copy": keep})
    book = tmp_path / "refusals.yml"
    book.write_text(json.dumps([{"hosts": "ppm", "become": True, "gather_facts": False, "tasks": tasks}]))
    before = certificate_files(web)
    web.play(book)
    app.host.run("systemctl stop other.service")
    messages = json.loads(web.host.run("cat /root/messages.json; rm /root/messages.json").out)
    for name, (domain, _, _, meaning) in REFUSALS.items():
        assert messages[name].startswith(f"No certificate for {domain.format(**names)}: "), name
        assert meaning.format(**names) in messages[name], f"{name}: {messages[name]}"

    refused = web.certificate_tasks(expect=2, ppm_domain="nowhere.test")
    assert "No certificate for nowhere.test: nowhere.test has no address in the DNS" in refused.output
    assert certificate_files(web) == before
    assert web.host.run("ls /var/lib/ppm/acme/.well-known/acme-challenge").out == "", "no probe is left"
    assert web.host.run("systemctl is-active nginx").out == "active\n"


def certificate_files(index: Deployed) -> str:
    return index.host.run("ls -l /etc/ppm/tls; cat /etc/ppm/tls/source").out


def test_a_certificate_is_issued_after_a_refused_one(web: HostForRoles) -> None:
    web.role("letsencrypt")
    assert eventually(lambda: issuer_or_error(web), lambda text: "Pebble" in text)
    timer = web.host.run("systemctl is-enabled certbot.timer; systemctl is-active certbot.timer").out
    assert timer == "enabled\nactive\n"


def issuer_or_error(index: Deployed, root: Path | None = None) -> str:
    """Return the issuer of the served certificate, or the reason why it is not trusted."""
    try:
        return certificate(index, root=root).issuer
    except ssl.SSLCertVerificationError as exc:
        return str(exc)


def test_a_provided_certificate_and_its_replacement(web: HostForRoles, tmp_path: Path) -> None:
    """It is served with its chain; a new one, with its key in ansible-vault, is served after a reload."""
    authority = Authority()
    root = authority.write_root(tmp_path / "root.pem")
    chain, key = authority.issue(web.folder / "first", web.domain)
    before = web.workers()
    web.certificate_tasks(ppm_tls="provided", ppm_tls_certificate=str(chain), ppm_tls_key=str(key))
    eventually(lambda: issuer_or_error(web, root), lambda text: "Issuing" in text)
    first = certificate(web, root=root)
    assert web.host.run("stat -c '%F %a %U' /etc/ppm/tls/privkey.pem").out == "regular file 600 root\n"

    chain, key = authority.issue(web.folder / "second", web.domain)
    password = tmp_path / "password"
    password.write_text("of the vault\n")
    encrypt(key, password)
    between = web.workers()
    given = {"ppm_tls": "provided", "ppm_tls_certificate": "second/chain.pem", "ppm_tls_key": "second/key.pem"}
    runs = [web.certificate_tasks("--vault-password-file", str(password), **given) for _ in range(2)]
    brought, reloaded = "letsencrypt : Copy the certificate and its key", "nginx : Reload nginx"
    assert [run.changed for run in runs] == [(brought, reloaded), ()]
    assert "PRIVATE KEY" not in runs[0].output
    second = eventually(lambda: certificate(web, root=root), lambda served: served.serial != first.serial)
    assert second.domains == [web.domain]
    after = web.workers()
    assert before[0] == between[0] == after[0]
    assert after[1] != between[1]


def encrypt(path: Path, password: Path) -> None:
    command = [str(Path(sys.executable).parent / "ansible-vault"), "encrypt", str(path)]
    environ = {**os.environ, "ANSIBLE_VAULT_PASSWORD_FILE": str(password)}
    subprocess.run(command, check=True, env=environ, capture_output=True, timeout=60)
    assert path.read_text().startswith("$ANSIBLE_VAULT")


def test_no_tls_behind_a_tls_proxy(web: HostForRoles) -> None:
    given = {"ppm_tls": "none", "ppm_trusted_proxies": ["0.0.0.0/0"], "ppm_acme_email": ""}
    web.role("letsencrypt", **given)
    eventually(lambda: web.host.run("cat /proc/net/tcp").out, lambda open_: " 00000000:01BB " not in open_)
    url = f"http://{web.domain}"
    assert web.session.get(f"{url}/healthz", timeout=20).status_code == 503
    assert web.session.get(f"{url}/simple/", timeout=20).status_code == 401
    assert "Strict-Transport-Security" not in web.session.get(f"{url}/simple/", timeout=20).headers
    web.session.get(f"{url}/simple/", headers={"X-Forwarded-For": "203.0.113.9"}, timeout=20)
    last = json.loads(web.host.run("tail -1 /var/log/nginx/access.log").out)
    assert last["client"] == "203.0.113.9"
