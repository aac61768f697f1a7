"""Users and tokens declared in the inventory, and credentials that expire while the application is stopped.

The host is shared by the session; declared users are removed afterwards.
"""

from __future__ import annotations

import contextlib
import secrets
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support import sshd
from support.deployed import FIRST_CREDENTIAL, Deployed, eventually
from support.servers import ppmctl

from testbed.playbook import Result

PLAYBOOK = """\
- name: The credentials alone
  hosts: ppm
  become: true
  gather_facts: false
  roles: [credentials]
"""
DECLARE = "credentials : Apply the declared users and tokens"
TIMER = "/run/systemd/system/ppm-prune.timer.d/often.conf"
HASHES = "sort /srv/ppm/credentials/htpasswd /srv/ppm/credentials/access.yml"


@pytest.fixture(scope="module")
def index(deployed: Callable[[int], Deployed]) -> Deployed:
    return deployed(13)


@pytest.fixture
def declare(index: Deployed, tmp_path: Path) -> Callable[..., Result]:
    """Run only the role with these users and tokens; its dependencies ran when the host was made."""
    path = tmp_path / "credentials.yml"
    path.write_text(PLAYBOOK)

    def run(*, expect: int = 0, **lists: object) -> Result:
        return index.play(path, "--start-at-task", "credentials : *", expect=expect, **lists)

    return run


@contextlib.contextmanager
def user_made_on_host(index: Deployed, name: str) -> Iterator[str]:
    """Add a user on the host, and yield the secret."""
    secret = index.ppmctl(f"user add {name} --role reader 2>/dev/null").strip()
    try:
        yield secret
    finally:
        index.ppmctl(f"user remove {name} || true")


def status(index: Deployed, auth: tuple[str, str]) -> int:
    return index.get("/simple/", auth=auth).status_code


def test_the_inventory_declares_users_and_tokens(index: Deployed, declare: Callable[..., Result]) -> None:
    secret, other = secrets.token_hex(32), "ppm_" + secrets.token_urlsafe(32)
    declared: dict[str, object] = {
        "ppm_users": [
            {"name": "decl-ann", "role": "reader", "email": "ann@example.com", "expires": "2999-01-31"},
            {"name": "decl-ci", "role": "publisher", "projects": ["acme-*"], "secret": secret},
        ],
        "ppm_tokens": [{"name": "decl-ci+deploy", "role": "reader", "secret": other}],
    }
    with user_made_on_host(index, "decl-hand") as mine:
        before = index.host.run(HASHES).out
        try:
            first = declare(**declared)
            assert first.changed == (DECLARE,)
            assert status(index, ("decl-ci", secret)) == 200
            assert status(index, ("decl-ci+deploy", other)) == 200
            assert "ann@example.com" in index.ppmctl("user show decl-ann 2>&1")
            assert before.strip().splitlines()[0] in index.host.run(HASHES).out

            again = declare(**declared)
            assert (again.host.changed, again.changed) == (0, ())
            assert status(index, ("decl-hand", mine)) == 200

            other_way = [{"name": "decl-hand", "role": "admin", "secret": secret}]
            clash = declare(expect=2, ppm_users=other_way)
            assert "decl-hand was made by unix:root, not by a list, and is not touched." in clash.output
            assert status(index, ("decl-hand", mine)) == 200

            for run in (first, again, clash):
                assert secret not in run.output
                assert other not in run.output
            logs = index.host.run("journalctl --no-pager -b; cat /srv/ppm/audit.jsonl").out
            assert secret not in logs
            assert other not in logs
            assert '"action": "token apply"' in logs
        finally:
            index.ppmctl("user remove decl-ann; ppmctl user remove decl-ci")
        assert index.host.run(HASHES).out == before, "what others made is as it was"
        assert status(index, ("decl-ci+deploy", other)) == 401


@pytest.mark.parametrize("release", [13, 12])
def test_commands_over_ssh(release: int, deployed: Callable[[int], Deployed], tmp_path: Path) -> None:
    """Output, exit codes and files are those of local commands, as root and as an administrator with sudo."""
    index = deployed(release)
    home = tmp_path / "home"
    key = index.host.run("cat /etc/ssh/ssh_host_ed25519_key.pub").out
    (home / ".ssh").mkdir(parents=True, mode=0o700)
    (home / ".ssh" / "known_hosts").write_text(f"{index.host.address} {key}")
    (home / ".ssh" / "config").write_text(
        f"Host *\n  IdentityFile {index.host.key}\n  IdentitiesOnly yes\n"
        f"  UserKnownHostsFile {home / '.ssh' / 'known_hosts'}\n"
    )
    scheme = "ssh" if index.host.user == "root" else "ssh+sudo"
    target = f"{scheme}://{index.host.user}@{index.host.address}"

    def on(*arguments: str, expect: int = 0) -> subprocess.CompletedProcess[str]:
        return ppmctl(*arguments, "--on", target, expect=expect, env=sshd.at_home(home))

    assert on("user", "list").stdout == index.ppmctl("user list")
    assert "no credential 'decl-nobody'" in on("user", "remove", "decl-nobody", expect=1).stderr
    file, given, secret = tmp_path / "token", tmp_path / "users.yml", secrets.token_hex(32)
    given.write_text(f"users: [{{name: decl-far, role: reader, secret: {secret}}}]\n")
    try:
        assert on("token", "create", "admin+far", "--role", "reader", "--output", str(file)).stdout == ""
        user, _, issued = file.read_text().strip().partition(":")
        assert file.stat().st_mode & 0o777 == 0o600
        assert status(index, (user, issued)) == 200
        on("user", "apply", str(given))
        assert status(index, ("decl-far", secret)) == 200
        logs = index.host.run("journalctl --no-pager -b; cat /srv/ppm/audit.jsonl").out
        assert secret not in logs
        assert issued not in logs
        assert index.host.run("find /tmp /var/tmp -name '*users.yml' -o -name '*-token'").out == ""
    finally:
        on("token", "revoke", "admin+far")
        on("user", "remove", "decl-far")
    assert status(index, (user, issued)) == 401


def test_site_yml_made_the_first_admin_once(index: Deployed) -> None:
    """The first run made it, and later runs made no other."""
    assert index.host.box.get(FIRST_CREDENTIAL).decode().strip() == f"{index.user}:{index.secret}"
    assert status(index, index.auth) == 200
    assert "credentials : Make the first admin if there is no admin" in index.first.changed


def test_the_prune_timer_and_service(index: Deployed) -> None:
    """The timer fires exactly every 30 s. The service has the application's sandbox; it does nothing and logs nothing
    while the application runs.
    """
    shown = index.host.run("systemctl show -p TimersCalendar -p AccuracyUSec -p ActiveState ppm-prune.timer").out
    assert "OnCalendar=*-*-* *:*:00/30 " in shown
    assert "AccuracyUSec=1s" in shown
    assert "ActiveState=active" in shown
    assert index.host.run("systemctl is-enabled ppm-prune.timer").out == "enabled\n"
    last = "systemctl show -p Result -p ExecMainStartTimestampMonotonic ppm-prune.service"
    index.host.run("systemctl start ppm-prune.service")
    assert "Result=exec-condition" in index.host.run(last).out
    safe = index.host.run("systemd-analyze security --no-pager ppm-prune.service").out.split()
    assert float(safe[safe.index("ppm-prune.service:") + 1]) <= 1.5
    journal = index.host.run("journalctl -u ppm-prune.service --no-pager -o cat").out
    assert "Start" not in journal
    assert "Finished" not in journal


def test_expired_tokens_can_not_read_while_the_application_is_stopped(index: Deployed) -> None:
    """The timer fires every 2 s in this test; with the application stopped, a token is valid until it expires."""
    often = "[Timer]\\nOnCalendar=\\nOnCalendar=*:*:00/2\\n"
    index.host.run(f"mkdir -p {Path(TIMER).parent} && printf '{often}' > {TIMER}")
    index.host.run("systemctl daemon-reload && systemctl restart ppm-prune.timer")
    index.host.run("systemctl stop ppm.socket ppm.service")
    try:
        secret = index.ppmctl("token create admin+brief --role reader --expires 6s 2>/dev/null").strip()
        assert status(index, ("admin+brief", secret)) == 200
        eventually(lambda: status(index, ("admin+brief", secret)), lambda code: code == 401)
        assert status(index, index.auth) == 200
        assert "admin+brief" in index.host.run("journalctl -u ppm-prune.service --no-pager -o cat -n 20").out
        assert index.host.run("systemctl is-active ppm.service", check=False).out == "inactive\n"
    finally:
        index.host.run(f"rm -r {Path(TIMER).parent}; systemctl daemon-reload; systemctl restart ppm-prune.timer")
        index.host.run("systemctl start ppm.socket ppm.service")
        index.ppmctl("token revoke admin+brief || true")
