"""Backups of a host to another one over SFTP, and a new host that continues with the data of the lost one."""

from __future__ import annotations

import dataclasses
import json
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from support import backups, evidence, planted, readme, wheels
from support.deployed import ROOT, Deployed, differences, eventually, files
from support.tls import Authority

from testbed.hosts import Host
from testbed.place import CHECKOUT

DOCUMENTED = "\n".join(readme.blocks("docs/backup.md")["On a host"])
MAKE_KEY, SCAN = DOCUMENTED.splitlines()[:2]
PLAYBOOKS = re.findall(r"(?m)^\.venv/bin/ansible-playbook -i inventory/mine (\S+)$", DOCUMENTED)
FIRST, BACKUP, RESTORE = (CHECKOUT / name for name in PLAYBOOKS)
PASSWORD = "/etc/ppm/backup/password"
SECRETS = ("password", "environment", "ssh_key", "known_hosts")
LET_ONLY_ROOT = "backup : Let only root change the existing password"
SPECIAL = r"""a$HOME`id`"b\#;c d&"""  # a shell and systemd read it from one file
REMOVED = wheels.wheel("withdrawn", "1.0")
RESTORED = [f"{ROOT}/{name}" for name in ("packages", "quarantine", "credentials", "first-credential", "netrc")]
_TIME = re.compile(r" [0-9]+[.][0-9]+(?= )")
_SECRET = re.compile(r"ppm_[\w-]{40,}")


@dataclass(frozen=True, kw_only=True)
class Store:
    """A host that keeps backups: anyone with the key may log in as `keeper` for SFTP."""

    host: Host
    key: Path

    def variables(self) -> dict[str, object]:
        host_key = " ".join(self.host.run("cat /etc/ssh/ssh_host_ed25519_key.pub").out.split()[:2])
        scanned = readme.paste(SCAN.replace("backup.example.com", self.host.address), self.key.parent, os.environ)
        assert scanned.split(maxsplit=1)[1].strip() == host_key, "as the server's own key"
        return {
            "ppm_backup_repository": f"sftp:keeper@{self.host.domain}:/home/keeper/ppm",
            "ppm_backup_ssh_key": str(self.key),
            "ppm_backup_known_hosts": [f"{self.host.domain} {host_key}"],
            "ppm_backup_environment": {"AWS_SECRET_ACCESS_KEY": SPECIAL},
        }


@pytest.fixture
def store(new_host: Callable[..., Host], tmp_path: Path) -> Store:
    (tmp_path / "inventory" / "mine").mkdir(parents=True)
    readme.paste(MAKE_KEY, tmp_path, os.environ)
    host, key = new_host(), tmp_path / "inventory" / "mine" / "backup-key"
    backups.make_account(host, key)
    return Store(host=host, key=key)


@dataclass(frozen=True, kw_only=True)
class Users:
    """Secrets of users: of one, and of a token; of a removed user, and of a revoked token."""

    works: dict[str, str]
    ended: dict[str, str]


def add_users(index: Deployed) -> Users:
    def add(command: str) -> str:
        return _SECRET.findall(index.host.run(f"ppmctl {command} 2>&1").out)[0]

    works = {"ann": add("user add ann --role publisher"), "ann+ci": add("token create ann+ci --role reader")}
    ended = {"bob": add("user add bob --role reader"), "ann+old": add("token create ann+old --role reader")}
    index.ppmctl("user remove bob")
    index.ppmctl("token revoke ann+old")
    return Users(works=works, ended=ended)


def fill(index: Deployed) -> Users:
    """Give it users, releases, an environment, a yanked release, a removed file and a quarantined project."""
    users = add_users(index)
    planted.plant(index)
    for made in (REMOVED, wheels.wheel("withdrawn", "2.0"), wheels.wheel("suspect", "1.0")):
        answer = index.upload(made, auth=("ann", users.works["ann"]))
        assert answer.status_code == 200, answer.text
    index.ppmctl(f"package yank {planted.PROJECT} 1.0 --reason broken")
    index.ppmctl("package remove withdrawn 1.0 --yes")
    index.ppmctl("package status suspect quarantined --reason odd")
    return users


def volume(index: Deployed) -> dict[str, str]:
    """Return what the volume has, with owners, modes and hashes."""
    found = files(
        index.host, *RESTORED, leave_out=(f"{ROOT}/credentials/sessions", f"{ROOT}/credentials/login-links")
    )
    # Debian's releases number users and groups differently
    user, group = (index.host.run(f"id -{kind} ppm").out.strip() for kind in "ug")
    names = {f" {user}:{group} ": " ppm:ppm ", f" {user}:33 ": " ppm:www-data "}
    return {path: _named(_TIME.sub("", state), names) for path, state in found.items()}


def _named(state: str, names: dict[str, str]) -> str:
    for numbers, name in names.items():
        state = state.replace(numbers, name, 1)
    return state


def pages(index: Deployed) -> dict[str, object]:
    """Return what the pages of all projects list."""
    names = [each["name"] for each in index.get("/simple/", headers={"Accept": evidence.JSON}).json()["projects"]]
    return {name: index.page(name)["files"] for name in names}


NAMES = ("backup", "drill", "certificate")


def operations(index: Deployed) -> dict[str, dict[str, object]]:
    listed = json.loads(index.ppmctl("operation list --json"))["operations"]
    return {each["name"]: each for each in listed}


def audit(index: Deployed) -> list[str]:
    return index.host.run(f"cat {ROOT}/audit*.jsonl").out.splitlines()


def require_failure_is_reported(index: Deployed, store: Store, variables: dict[str, object]) -> None:
    """Fail unless a backup whose server is down fails the playbook, and is in the journal and the operations."""
    store.host.run("systemctl stop ssh.socket ssh.service")
    try:
        failed = index.play(BACKUP, expect=2, **variables)
    finally:
        store.host.run("systemctl start ssh.service")
    assert "ppm-backup.service" in index.host.run("systemctl --failed --no-legend").out
    errors = "journalctl -q -b -p err -u ppm-backup.service --no-pager"
    eventually(lambda: index.host.run(errors).out, bool)  # journald writes after the playbook has ended
    result = operations(index)["backup"]
    assert result["succeeded"] is False
    assert str(result["detail"])[:30] in " ".join(failed.output.split())
    assert '"action":"backup"' in audit(index)[-1].replace(" ", "")


def require_secrets_are_kept(index: Deployed) -> None:
    """Fail unless only the backups' own units can read their secrets: the application runs as the same user."""
    paths = " ".join(f"/etc/ppm/backup/{name}" for name in SECRETS)
    modes = index.host.run(f"stat -c '%U:%G %a' /etc/ppm/backup {paths}").out.splitlines()
    # the command ppmctl reads them as root; SSH wants its key of its own user
    assert modes == ["root:ppm 750", "root:ppm 640", "root:ppm 640", "ppm:ppm 600", "root:ppm 640"]
    assert index.host.run("runuser -u www-data -- ls /etc/ppm/backup", check=False).code
    pid = index.host.run("systemctl show -p MainPID --value ppm.service").out.strip()
    assert index.host.run(f"nsenter --target {pid} --mount ls -A /etc/ppm/backup", check=False).out == ""
    file, show = "/etc/ppm/backup/environment", "printenv AWS_SECRET_ACCESS_KEY"
    assert index.host.run(f"set -a; . {file}; {show}").out == f"{SPECIAL}\n"
    unit = f"systemd-run --quiet --wait --pipe --property=EnvironmentFile={file}"
    assert index.host.run(f"{unit} {show}").out == f"{SPECIAL}\n"
    for unit in ("ppm-backup.service", "ppm-backup-drill.service"):
        shown = index.host.run(f"systemd-analyze security --no-pager {unit}").out
        match = re.search(r"Overall exposure level for \S+: ([0-9.]+)", shown)
        assert match, shown
        assert float(match[1]) <= 2.5, shown


def install_environment(index: Deployed, user: str, secret: str) -> str:
    """Install the environment with pip on the host itself, and return the names of what was installed."""
    index.host.box.put("/root/authority.pem", index.ca.read_bytes())
    netrc = f"machine {index.domain} login {user} password {secret}\n"
    index.host.box.put("/root/.netrc", netrc.encode(), mode=0o600)
    pip = f"PIP_CERT=/root/authority.pem try/bin/pip --no-cache-dir -q install -i {index.simple}"
    index.host.run(f"cd /root && python3 -m venv try && {pip} ppm-env-{planted.PROJECT}")
    return index.host.run("/root/try/bin/pip list --format=freeze").out


# Holds apt's lock until a process has waited for it for some seconds, like upgrades after a first boot.
ANOTHER_APT = """\
import fcntl, glob, os, time
lock = open("/var/lib/dpkg/lock-frontend", "w")
fcntl.lockf(lock, fcntl.LOCK_EX)
open("/root/locked", "w").close()
seen = 0
while seen < 40:
    time.sleep(0.1)
    waiting = False
    for path in glob.glob("/proc/[0-9]*"):
        try:
            waiting |= open(path + "/comm").read() == "apt-get\\n" or "apt_pkg" in open(path + "/maps").read()
        except OSError:
            pass
    seen = seen + 1 if waiting else 0
open("/root/waited", "w").close()
"""


def hold_apt(host: Host) -> None:
    host.box.put("/root/another-apt.py", ANOTHER_APT.encode())
    host.run("systemd-run --quiet --collect python3 /root/another-apt.py")
    evidence.until(lambda: not host.run("test -e /root/locked", check=False).code, "the lock is held")


# Kills a restore as soon as it replaces files, with all that it has started.
INTERRUPT = """\
systemctl stop ppm-prune.timer ppm.socket ppm.service
systemd-run --quiet --collect --unit=interrupted ppmctl backup restore --force --snapshot {snapshot}
while systemctl is-active --quiet interrupted.service; do
    if [ -e {root}/backup/restore/step ]; then systemctl kill --signal KILL interrupted.service; fi
done
test -e {root}/backup/restore/step
"""


def interrupt_a_restore(index: Deployed, snapshot: str) -> None:
    command = INTERRUPT.format(snapshot=snapshot, root=ROOT)
    evidence.until(lambda: not index.host.run(command, check=False).code, "a restore was interrupted", seconds=300)
    assert "was interrupted" in index.host.run("ppmctl backup create 2>&1", check=False).out


@pytest.mark.timeout(1800)  # it provisions a bare host, and in a new session another one before
def test_a_lost_host_is_restored_on_a_bare_one(
    new_deployed: Callable[..., Deployed],
    new_host: Callable[..., Host],
    store: Store,
    tmp_path: Path,
    figures: list[str],
) -> None:
    index, variables = new_deployed(13), store.variables()
    users = fill(index)
    provisioned = index.play(FIRST, **variables)
    password = index.host.run(f"cat {PASSWORD}").out.strip()
    assert "The password of the backups is only on this host" in " ".join(provisioned.output.split())
    assert index.host.run("systemctl is-active ppm-backup.timer ppm-backup-drill.timer").out == "active\nactive\n"
    require_secrets_are_kept(index)
    index.host.run(f"chown ppm:ppm {PASSWORD} && chmod 600 {PASSWORD}")  # as earlier versions made it
    assert index.play(FIRST, **variables).changed == (LET_ONLY_ROOT,)
    require_secrets_are_kept(index)
    assert index.host.run(f"cat {PASSWORD}").out.strip() == password
    require_failure_is_reported(index, store, variables)

    before, listed, trail = volume(index), pages(index), audit(index)
    backed_up = index.play(BACKUP, **variables)
    index.host.run(
        "systemctl start ppm-backup-drill.service || { journalctl -u ppm-backup-drill.service >&2; exit 1; }"
    )
    assert {name: each["succeeded"] for name, each in operations(index).items()} == dict.fromkeys(NAMES, True)
    index.host.remove()

    # a new machine, with another certificate: the testbed's authority would ask the session's host
    chain, key = (authority := Authority()).issue(tmp_path / "certificate", index.domain)
    given = {"ppm_tls": "provided", "ppm_tls_certificate": str(chain), "ppm_tls_key": str(key), "ppm_acme_email": ""}
    variables |= given
    bare = new_host(12, domain=index.domain, is_found=False)
    bare.run(f"echo {bare.address} {index.domain} >>/etc/hosts")
    restored = dataclasses.replace(
        index, host=bare, folder=tmp_path, ca=authority.write_root(tmp_path / "root.pem"), runs=[]
    )
    refused = restored.play(RESTORE, expect=2, **variables)
    assert "ppm_backup_password is missing" in " ".join(refused.output.split())
    assert refused.host.changed == 0

    variables["ppm_backup_password"] = password
    hold_apt(bare)
    result = restored.play(RESTORE, **variables)
    bare.run("test -e /root/waited")
    figures.append(f"restore.yml took {result.seconds:.0f} s from a bare host")
    assert result.changed.count("backup : Write the units") == 1, "a second run changes nothing"
    assert differences(before, volume(restored)) == {}
    assert pages(restored) == listed
    assert audit(restored)[: len(trail)] == trail, "the audit continues"
    restored.ppmctl("index check")
    for name, secret in users.works.items():
        assert restored.get("/simple/", auth=(name, secret)).status_code == 200, name
    for name, secret in users.ended.items():
        assert restored.get("/simple/", auth=(name, secret)).status_code == 401, name
    assert restored.get(f"/packages/withdrawn/{REMOVED[0]}").status_code == 404
    assert restored.upload(REMOVED).status_code in (400, 409), "a removed name is never used again"
    assert restored.get("/packages/suspect/suspect-1.0-py3-none-any.whl").status_code == 404
    assert planted.PROJECT in install_environment(restored, "ann+ci", users.works["ann+ci"])
    assert restored.upload(planted.fresh(planted.PROJECT).file).status_code == 200

    again = restored.play(RESTORE, expect=2, **variables)
    assert "-e ppm_restore_force=true" in " ".join(again.output.split())
    assert again.host.changed == 0
    snapshots = json.loads(restored.ppmctl("backup list --json"))["snapshots"]
    interrupt_a_restore(restored, snapshots[0]["id"])
    completed = restored.play(RESTORE, **variables)
    assert pages(restored) == listed, "what was published after the restore is only in the backup before it"
    assert "before-restore" in restored.ppmctl("backup list")
    for run in (provisioned, backed_up, result, again, completed):
        assert password not in run.output
        assert "PRIVATE KEY" not in run.output
