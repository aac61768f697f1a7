"""Refusals of site.yml before anything is changed, and dry runs: bare hosts stay unchanged."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import yaml
from support.deployed import SITE, differences, files, settings

from testbed import playbook
from testbed.acme import Acme
from testbed.hosts import Host
from testbed.place import CHECKOUT
from testbed.playbook import Result

# Files that a mere look at a host changes: logs, and those of sudo and Ansible.
IGNORED = (
    *("/var/log", "/var/lib/systemd", "/var/lib/sudo", "/root/.ansible*", "/home/admin/.ansible*"),
    *("/home/admin/.sudo_as_admin*", "/tmp", "/run", "/proc", "/sys", "/dev"),
)

LISTED = re.compile(r"^(\S+)\s+(.*)$", re.MULTILINE)


@pytest.fixture(scope="module")
def bare(new_shared_host: Callable[..., Host]) -> dict[int, Host]:
    """Make a bare host of each release; login is as root on Debian 13, and as a user with sudo on Debian 12."""
    volumes = {"/srv/small": "size=20m", "/srv/fixed": "ro"}
    return {release: new_shared_host(release, sudo=release == 12, tmpfs=volumes) for release in (13, 12)}


@pytest.fixture
def site(acme: Acme, tmp_path: Path) -> Callable[..., Result]:
    """Run site.yml once for several hosts, or for one host under several names in the inventory.

    `named` maps a name in the inventory to the host and further variables; a value of None omits a variable.
    """

    def run(
        named: Mapping[str, tuple[Host, Mapping[str, object]]], *arguments: str, expect: int, path: Path = SITE
    ) -> Result:
        boxes = {host.name: host for host, _ in named.values()}
        needed = {name: host.variables() | settings(host, acme, tmp_path) for name, host in boxes.items()}
        hosts = {}
        for name, (host, more) in named.items():
            values = needed[host.name] | more
            hosts[name] = {key: value for key, value in values.items() if value is not None}
        inventory = tmp_path / "inventory.yml"
        inventory.write_text(yaml.safe_dump({"ppm": {"hosts": hosts}}))
        result = playbook.run(path, inventory, *arguments)
        assert result.code == expect, f"ansible-playbook exited {result.code}, not {expect}:\n{result.output}"
        return result

    return run


@contextlib.contextmanager
def untouched(*hosts: Host) -> Iterator[None]:
    """Fail if packages, files, users or units differ afterwards."""

    def snapshot() -> dict[tuple[str, str], str]:
        contents = {}
        for host in hosts:
            on_host = files(host, "/", leave_out=IGNORED)
            for kind, command in (("package", "dpkg-query -W"), ("unit", "systemctl list-unit-files --no-legend")):
                on_host |= {f"{kind} {name}": state for name, state in LISTED.findall(host.run(command).out)}
            contents |= {(host.name, path): state for path, state in on_host.items()}
        return contents

    before = snapshot()
    yield
    after = snapshot()
    assert differences(before, after) == {}


def test_a_dry_run_on_a_bare_host_shows_all_and_changes_nothing(
    bare: dict[int, Host], site: Callable[..., Result]
) -> None:
    host = bare[13]
    with untouched(host):
        result = site({host.name: (host, {})}, "--check", "--diff", expect=0)
    assert result.host.failed == 0
    assert result.host.changed > 10
    shown = ("/etc/nginx/ppm/site.conf", "/etc/systemd/system/ppm.service", f"server_name {host.domain};", "certbot")
    assert [text for text in shown if text not in result.output] == []


@dataclass(frozen=True, kw_only=True)
class Refused:
    """The variables of a host with Debian release `debian`, and all problems that have to be named."""

    debian: int = 13
    problems: tuple[str, ...]
    values: dict[str, object] = field(default_factory=dict)


# Commands that make a host unsuitable, each with its repair; they hold for all inventory names of a host.
FAULTS = {
    13: (
        ("touch /srv/file", "rm /srv/file"),
        ("systemd-run --unit=other --collect python3 -m http.server 80", "systemctl stop other"),
        (
            "cp -p /usr/lib/os-release /root/kept; sed -i 's/VERSION_ID=.*/VERSION_ID=\"11\"/' /usr/lib/os-release",
            "cp -p /root/kept /usr/lib/os-release; rm /root/kept",
        ),
    ),
    12: (
        (
            "cp -p /usr/lib/os-release /root/kept; sed -i s/=debian/=ubuntu/ /usr/lib/os-release",
            "cp -p /root/kept /usr/lib/os-release; rm /root/kept",
        ),
    ),
}
NOT_DEBIAN = "This host is not a Debian 12 or 13 that runs systemd"
OLD = (NOT_DEBIAN, "Port 80 is taken by python3: stop it")
SECRET = "x" * 40
WRONG_VALUES: dict[str, object] = {
    "ppm_domain": "packages.test; }",
    "ppm_privat_names": ["acme-*"],
    "ppm_threads": "many",
    "ppm_upstream_url": 'https://index.example/"; include /etc/shadow; #',
    "ppm_root": "/srv/ppm\nExecStart=/bin/sh",
    "ppm_tls_certificate": "{{ undefined_elsewhere }}",
}
NAMED = (
    "ppm_tls_certificate: its value can't be evaluated: 'undefined_elsewhere' is undefined",
    "ppm_privat_names is not a variable of ppm: did you mean ppm_private_names?",
    "ppm_domain is 'packages.test; }': it must be a host name",
    "ppm_threads is 'many': it must be a whole number",
    "ppm_root is '/srv/ppm\\nExecStart=/bin/sh': it must be an absolute path",
    "ppm_upstream_url is ",
)
REFUSALS = {
    "the-host-itself": Refused(problems=OLD),
    "a-full-volume": Refused(
        values={"ppm_root": "/srv/small/ppm"},
        problems=(*OLD, "ppm_root is /srv/small/ppm: /srv/small has 20 MB free"),
    ),
    "a-read-only-volume": Refused(
        values={"ppm_root": "/srv/fixed/ppm"},
        problems=(*OLD, "ppm_root is /srv/fixed/ppm: /srv/fixed is mounted read-only"),
    ),
    "a-volume-that-is-a-file": Refused(
        values={"ppm_root": "/srv/file/ppm"}, problems=(*OLD, "ppm_root is /srv/file/ppm: /srv/file is not a folder")
    ),
    "a-volume-that-is-not-mounted": Refused(
        values={"ppm_root_is_mount": True}, problems=(*OLD, "ppm_root_is_mount: nothing is mounted at /srv/ppm")
    ),
    "another-system": Refused(debian=12, problems=(NOT_DEBIAN,)),
    "no-root": Refused(
        debian=12,
        values={"ansible_become": False},
        problems=(NOT_DEBIAN, "ansible_become: the tasks do not run as root; use become, or root as ansible_user"),
    ),
    "wrong-values": Refused(values=WRONG_VALUES, problems=NAMED),
    "wrong-values-12": Refused(debian=12, values=WRONG_VALUES, problems=NAMED),
    "a-name-without-DNS": Refused(
        values={"ppm_domain": "nowhere.test"},
        problems=(*OLD, "ppm_domain is nowhere.test: nowhere.test has no address in the DNS that this host asks"),
    ),
    "a-name-of-another-host-while-port-80-is-taken": Refused(
        values={"ppm_domain": "acme.test"},
        problems=(*OLD, "ppm_domain is acme.test: nothing answers at http://acme.test/ (port 80 of "),
    ),
    "a-name-of-another-host": Refused(
        debian=12,
        values={"ppm_domain": "acme.test"},
        problems=(NOT_DEBIAN, "ppm_domain is acme.test: nothing answers at http://acme.test/ (port 80 of "),
    ),
    "wrong-users": Refused(
        values={
            "ppm_users": [{"name": "ann", "role": "king", "secret": SECRET, "expires": "2999-01-31"}],
            "ppm_tokens": [{"name": "ann+ci", "role": "reader", "secret": SECRET, "projects": ["acme-*"]}],
        },
        problems=("ppm_users, number 1 (ann): its role must be reader or publisher or admin or monitor.",),
    ),
    "no-values": Refused(
        values={"ppm_domain": None, "ppm_acme_email": None},
        problems=(
            "ppm_domain is missing: set it in your inventory. The name that clients reach the index by.",
            "ppm_acme_email is missing: set it in your inventory",
        ),
    ),
    "no-files": Refused(
        values={
            "ppm_tls": "provided",
            "ppm_tls_certificate": str(CHECKOUT / "README.md"),  # readable, but not a certificate
            "ppm_tls_key": "/nowhere/key.pem",
        },
        problems=("ppm_tls_key: /nowhere/key.pem can't be read: there is no such file.",),
    ),
}


def test_unsuitable_hosts_are_unchanged_and_all_reasons_are_named(
    bare: dict[int, Host], site: Callable[..., Result]
) -> None:
    """All are tested in one run: a host has several names in the inventory, each with other variables."""
    try:
        for release, faults in FAULTS.items():
            for command, _ in faults:
                bare[release].run(command)
        with untouched(*bare.values()):
            result = site({name: (bare[one.debian], one.values) for name, one in REFUSALS.items()}, expect=2)
    finally:
        for release, faults in FAULTS.items():
            for _, command in faults:
                bare[release].run(command)
    assert {name: (recap.failed, recap.changed) for name, recap in result.hosts.items()} == dict.fromkeys(
        REFUSALS, (1, 0)
    )
    assert SECRET not in result.output
    for name, refused in REFUSALS.items():
        reported = problems(result, name)
        assert len(reported) == len(refused.problems), (name, reported)
        for problem in refused.problems:
            assert any(one.startswith(problem) for one in reported), (name, problem, reported)


SELF_CHECK = CHECKOUT / "playbooks" / "self_check.yml"
ON_HOSTS = sorted(
    path for path in (CHECKOUT / "playbooks").glob("*.yml") if "lookup('ppm.index.hosts'" in path.read_text()
)


@pytest.mark.parametrize("path", ON_HOSTS, ids=lambda path: path.stem)
def test_every_playbook_looks_for_python_and_sudo_first(path: Path) -> None:
    """`validate` begins with `reach`."""
    play = yaml.safe_load(path.read_text())[0]
    tasks = (play.get("pre_tasks") or play["tasks"])[:4]
    included = [task.get("ansible.builtin.include_role", {}) for each in tasks for task in each.get("block", [each])]
    assert next(each["tasks_from"] for each in included if each) in ("reach", "validate")


@pytest.mark.parametrize("path", [SITE, SELF_CHECK], ids=["site.yml", "self_check.yml"])
def test_a_host_without_python_or_sudo_is_told_what_to_install(
    path: Path, bare: dict[int, Host], site: Callable[..., Result]
) -> None:
    hidden = {13: "/usr/bin/python3", 12: "/usr/bin/sudo"}
    for release, program in hidden.items():
        bare[release].run(f"mv {program} {program}-hidden")
    try:
        result = site({host.name: (host, {}) for host in bare.values()}, expect=2, path=path)
    finally:
        for release, program in hidden.items():
            bare[release].run(f"mv {program}-hidden {program}")
    assert {(each.failed, each.changed) for each in result.hosts.values()} == {(1, 0)}
    printed = " ".join(result.output.split())
    assert "it has no /usr/bin/python3, which Ansible needs. Type as root on the host: apt-get update" in printed
    assert "sudo is missing. Type as root on the host: apt-get update && apt-get install -y sudo" in printed


def test_every_playbook_for_hosts_looks_them_up() -> None:
    """Ansible itself succeeds if there is no host."""
    all_hosts = {path for path in (CHECKOUT / "playbooks").glob("*.yml") if "hosts: ppm" in path.read_text()}
    assert not all_hosts
    assert {path.stem for path in ON_HOSTS} >= {"site", "upgrade", "rollback", "self_check"}


@pytest.mark.parametrize("path", [SITE, *ON_HOSTS], ids=lambda path: "site.yml" if path == SITE else path.stem)
def test_an_inventory_without_the_group_fails(path: Path, tmp_path: Path) -> None:
    inventory = tmp_path / "inventory.yml"
    inventory.write_text("web: {hosts: {a.example: }}\n")
    result = playbook.run(path, inventory)
    assert result.code
    assert f"There is no host in the group ppm of the inventory ({inventory}; its groups are web)" in result.output
    assert "ansible-playbook -i inventory/mine" in result.output


def test_a_missing_inventory_and_a_limit_without_a_host_fail(tmp_path: Path) -> None:
    missing = playbook.run(SITE, tmp_path / "none.yml")
    assert missing.code
    assert "it has no group with a host" in missing.output
    inventory = tmp_path / "inventory.yml"
    inventory.write_text("web: {hosts: {a.example: }}\nppm: {hosts: {b.example: }}\n")
    limited = playbook.run(SITE, inventory, "--limit", "web")
    assert limited.code
    assert "--limit web leaves no host of the group ppm, which has b.example" in limited.output


def test_every_installation_waits_for_another_apt() -> None:
    """A host that has just booted installs its upgrades; the default of a minute is too short for that."""
    tasks = [task for path in (CHECKOUT / "roles").glob("*/tasks/*.yml") for task in yaml.safe_load(path.read_text())]
    apt = [task["ansible.builtin.apt"] for task in tasks if "ansible.builtin.apt" in task]
    assert [each["lock_timeout"] for each in apt] == [600] * len(apt) != []


def problems(result: Result, name: str) -> list[str]:
    """Return the problems that site.yml names for a host."""
    (failed,) = re.findall(
        rf"^fatal: \[{name}\]: FAILED! =>.*?Nothing was changed on this host\. The problems:\n(.*?)^\S",
        result.output,
        re.MULTILINE | re.DOTALL,
    )
    return [" ".join(one.split()) for one in re.split(r"^ +- ", failed, flags=re.MULTILINE)[1:]]
