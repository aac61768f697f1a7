"""What stops before anything was changed, and what a dry run leaves behind: on hosts that are bare, and stay it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.deployed import SITE, Deployed, files, settings

from testbed.acme import Acme
from testbed.hosts import Host

# What a look at a host leaves: of logs, of sudo and of Ansible's own.
PASSING = (
    *("/var/log", "/var/lib/systemd", "/var/lib/sudo", "/root/.ansible*", "/home/admin/.ansible*"),
    *("/home/admin/.sudo_as_admin*", "/tmp", "/run", "/proc", "/sys", "/dev"),
)


@pytest.fixture(scope="module", params=[13, 12], ids=["debian13", "debian12"])
def bare(
    request: pytest.FixtureRequest,
    new_shared_host: Callable[..., Host],
    acme: Acme,
    tmp_path_factory: pytest.TempPathFactory,
) -> Deployed:
    """A bare host that nothing has been changed on, to come in as root, or as a user with sudo."""
    volumes = {"/srv/small": "size=20m", "/srv/fixed": "ro"}
    host = new_shared_host(request.param, sudo=request.param == 12, tmpfs=volumes)
    folder = tmp_path_factory.mktemp("bare")
    return Deployed(host=host, folder=folder, ca=folder / "none", variables=settings(host, acme, folder))


@contextlib.contextmanager
def untouched(host: Host) -> Iterator[None]:
    """Fail if a package, a file, a user or a unit is another one afterwards."""

    def look() -> dict[str, str]:
        found = files(host, "/", leave_out=PASSING)
        return found | {"packages": host.run("dpkg-query -W; systemctl list-unit-files --no-legend").out}

    before = look()
    yield
    after = look()
    assert {
        path: (before.get(path), after.get(path)) for path in before | after if before.get(path) != after.get(path)
    } == {}


def refused(index: Deployed, *arguments: str, **variables: object) -> str:
    """What site.yml says when it stops at its first look."""
    result = index.play(SITE, *arguments, expect=2, **variables)
    assert result.host.failed == 1
    assert result.host.changed == 0
    assert "Nothing was changed on this host. What is in the way:" in result.output
    return result.output


def test_a_dry_run_on_a_bare_host_shows_all_and_changes_nothing(bare: Deployed) -> None:
    with untouched(bare.host):
        result = bare.play(SITE, "--check", "--diff")
    assert result.host.failed == 0
    assert result.host.changed > 10
    for shown in (
        "/etc/nginx/ppm/site.conf",
        "/etc/systemd/system/ppm.service",
        f"server_name {bare.domain};",
        "certbot",
    ):
        assert shown in result.output


def test_what_is_wrong_with_the_inventory_is_said_at_once(bare: Deployed) -> None:
    with untouched(bare.host):
        said = refused(
            bare,
            ppm_domain="packages.test; }",
            ppm_privat_names=["acme-*"],
            ppm_threads="many",
            ppm_upstream_url='https://index.example/"; include /etc/shadow; #',
            ppm_root="/srv/ppm\nExecStart=/bin/sh",
            ppm_tls_certificate="{{ undefined_elsewhere }}",
        )
    for problem in (
        "ppm_domain is 'packages.test; }': it must be a host name",
        "ppm_privat_names is not a variable of ppm: did you mean ppm_private_names?",
        "ppm_threads is 'many': it must be a whole number",
        "ppm_upstream_url is ",
        "nExecStart=/bin/sh': it must be an absolute path",
        "ppm_tls_certificate: its value can't be made out: 'undefined_elsewhere' is undefined",
    ):
        assert problem in said


def test_a_missing_variable_is_named_with_what_it_is(bare: Deployed) -> None:
    left_out = ("ppm_domain", "ppm_acme_email")
    with untouched(bare.host):
        result = bare.play(expect=2, leave_out=left_out)
    assert (
        "ppm_domain is missing: set it in your inventory. The name that clients reach the index by." in result.output
    )
    assert "ppm_acme_email is missing: set it in your inventory" in result.output


def test_files_that_cant_be_read_are_named(bare: Deployed, tmp_path: Path) -> None:
    no_certificate = tmp_path / "text.pem"
    no_certificate.write_text("text")
    with untouched(bare.host):
        said = refused(
            bare, ppm_tls="provided", ppm_tls_certificate=str(no_certificate), ppm_tls_key="/nowhere/key.pem"
        )
    assert "ppm_tls_key: /nowhere/key.pem can't be read: there is no such file." in said


# What is done to the host and undone, what the variables say of it, and what is said.
HOSTS: dict[str, tuple[str, str, dict[str, object], str]] = {
    "a full volume": ("", "", {"ppm_root": "/srv/small/ppm"}, "/srv/small has 20 MB free, 512 MB"),
    "a read-only volume": ("", "", {"ppm_root": "/srv/fixed/ppm"}, "/srv/fixed is mounted read-only; mount it to be"),
    "a volume that is a file": (
        "touch /srv/file",
        "rm /srv/file",
        {"ppm_root": "/srv/file/ppm"},
        "/srv/file is not a folder",
    ),
    "a volume that is not mounted": ("", "", {"ppm_root_is_mount": True}, "nothing is mounted at /srv/ppm"),
    "a port that is taken": (
        "systemd-run --unit=other --collect python3 -m http.server 80",
        "systemctl stop other",
        {},
        "Port 80 is taken by python3: stop it",
    ),
    "another system": (
        "cp -p /usr/lib/os-release /root/kept; sed -i s/=debian/=ubuntu/ /usr/lib/os-release",
        "cp -p /root/kept /usr/lib/os-release; rm /root/kept",
        {},
        "This host is not a Debian 12 or 13 that runs systemd",
    ),
    "another release": (
        "cp -p /usr/lib/os-release /root/kept; sed -i 's/VERSION_ID=.*/VERSION_ID=\"11\"/' /usr/lib/os-release",
        "cp -p /root/kept /usr/lib/os-release; rm /root/kept",
        {},
        "This host is not a Debian 12 or 13",
    ),
}


@pytest.mark.parametrize("what", HOSTS)
@pytest.mark.parametrize("bare", [13], ids=["debian13"], indirect=True)
def test_a_host_that_cant_be_an_index_is_left_alone(what: str, bare: Deployed) -> None:
    before, after, variables, said = HOSTS[what]
    bare.host.run(before or "true")
    try:
        with untouched(bare.host):
            assert said in refused(bare, **variables)
    finally:
        bare.host.run(after or "true")


@pytest.mark.parametrize("bare", [12], ids=["debian12"], indirect=True)
def test_who_may_not_change_the_host_is_told(bare: Deployed) -> None:
    with untouched(bare.host):
        said = refused(bare, "-e", "ansible_become=false")
    assert "the tasks do not run as root; use become, or root as ansible_user" in said
