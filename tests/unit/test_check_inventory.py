"""Tests of the inventory's checks, which run before a host is changed."""

from __future__ import annotations

import base64
import itertools
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from ansible_collections.ppm.index.plugins.plugin_utils import inventory_credentials, inventory_values
from ansible_collections.ppm.index.plugins.plugin_utils.inventory_files import file_problems
from ansible_collections.ppm.index.plugins.plugin_utils.inventory_host import host_problems
from ppmctl.access import rights

ROLES = Path(__file__).parents[2] / "roles"
NAMES = ("base", "release", "pypiserver", "credentials", "nginx", "letsencrypt", "backup", "logs", "hardening")
DOMAIN = "packages.example.com"

# Characters that a generated inventory may contain; they must not become syntax of nginx or systemd.
ATTACKS = (
    *(" ", "\n", "\r", "\t", "\0", "\v", "\x1b", "\u00a0", "\u2028", "é"),
    *('"', "'", "`", ";", "{", "}", "$", "\\", "#", "<", "|", "^"),
    *("; }", "$host", "${x}", "\nExecStart=/bin/sh", "; include /etc/shadow;", "{{ lookup('env', 'HOME') }}"),
)
SECRET = "NotToBeSaid-" + "x" * 30
# Text variables that are written to files on the host, each with a valid value.
TEXTS: dict[str, str] = {
    "ppm_domain": DOMAIN,
    "ppm_root": "/srv/ppm",
    "ppm_read_access": "public",
    "ppm_upstream": "none",
    "ppm_public_names": "deny",
    "ppm_registration": "open",
    "ppm_metrics": "loopback",
    "ppm_upstream_url": "https://index.example/simple/",
    "ppm_pip_index_url": "https://index.example/simple/",
    "ppm_proxy_url": "http://proxy.example:3128",
    "ppm_acme_directory": "https://acme.example/dir?a=b",
    "ppm_acme_email": "admin+ppm@example.com",
    "ppm_max_upload_size": "500M",
    "ppm_memory_max": "512M",
    "ppm_log_max_size": "100M",
    "ppm_journal_max_size": "1G",
    "ppm_audit_max_size": "10M",
    "ppm_storage": "s3://bucket/prefix",
    "ppm_cache_max_size": "10G",
    "ppm_prune": "--keep 3 --unused 365d --project acme-*",
    "ppm_tls": "selfsigned",
    "ppm_backup_repository": "s3:https://s3.example.com/ppm",
    "ppm_backup_time": "02:30",
    "ppm_backup_drill_time": "04:00",
    "ppm_backup_memory_max": "512M",
    "ppm_snapshot": "latest",
}
LISTS: dict[str, str] = {
    "ppm_private_names": "acme-*",
    "ppm_no_proxy": "10.0.0.0/8",
    "ppm_trusted_proxies": "10.0.0.0/8",
    "ppm_firewall_ports": "9100/tcp",
    "ppm_backup_known_hosts": f"backup.example.com ssh-ed25519 {'A' * 68}",
}
# secrets, which are never shown, and names of files on the controlling machine
SECRETS = {"ppm_backup_password", "ppm_backup_environment", "ppm_storage_environment"}
LOCAL_FILES = {"ppm_ca_certificates", "ppm_tls_certificate", "ppm_tls_key", "ppm_backup_ssh_key"}

WEBHOOK_SECRET = "whsec_" + base64.b64encode(b"x" * 32).decode()

GOOD: list[dict[str, Any]] = [
    {"ppm_domain": "localhost"},
    {"ppm_domain": "xn--bcher-kva.example"},
    {"ppm_domain": "10.0.0.1", "ppm_tls": "none"},
    {"ppm_root": "/p"},
    {"ppm_root": "/mnt/volume/.ppm_2"},
    {"ppm_root": "/var/lib/ppm"},
    {"ppm_root": "/homestead"},
    {"ppm_root": "/srv/a..b"},
    {"ppm_upstream_url": "http://[fd00::1]:3141/root/pypi/+simple/"},
    {"ppm_acme_directory": "https://acme.example:14000/dir%20x"},
    {"ppm_max_upload_size": "1"},
    {"ppm_max_upload_size": "5000000000"},
    {"ppm_memory_max": "134217728"},
    {"ppm_hsts_max_age": 0},
    {"ppm_private_names": ["acme-*", "team?", "[ab]c", "[!x]*", "A_b.C"]},
    {"ppm_public_names": "deny"},
    {"ppm_registration": "open"},
    {"ppm_trusted_proxies": ["10.0.0.1", "10.0.0.1/8", "fd00::/8", "::1"]},
    {"ppm_no_proxy": [".example.com", "*.example.com", "10.0.0.0/8", "::1"]},
    {"ppm_tls": "selfsigned", "ppm_acme_email": ""},
    {"ppm_tls": "provided", "ppm_acme_email": "", "ppm_tls_certificate": "a", "ppm_tls_key": "b"},
    {"ppm_users": [{"name": "ann", "role": "admin"}, {"name": "bob@x.y", "state": "absent"}]},
    {"ppm_users": [{"name": "ppm-bot", "role": "reader"}, {"name": "drop", "state": "absent"}]},
    {
        "ppm_users": [
            {"name": "a", "role": "reader", "secret": SECRET, "expires": date(2030, 1, 31), "email": "a@b.c"}
        ]
    },
    {"ppm_users": [{"name": "a", "role": "reader", "expires": "2030-01-31T12:00:00Z", "secret": None}]},
    {"ppm_audit_max_size": "1G", "ppm_audit_keep_files": 1, "ppm_audit_keep_days": 30},
    {"ppm_storage": "gs://bucket-1/a/b_c", "ppm_cache_max_size": "100G", "ppm_storage_redirect": True},
    {"ppm_webhooks": [{"name": "chat", "url": "https://chat.example/a?b=c", "events": ["backup.*"]}]},
    {"ppm_webhooks": [{"name": "a", "url": "http://chat:8080", "allow_http": True, "secret": WEBHOOK_SECRET}]},
    {"ppm_tokens": [{"name": "ci+x", "role": "publisher", "projects": ["acme-*"], "state": "disabled"}]},
    {"ppm_storage_environment": {"AWS_ENDPOINT_URL": "https://s3.example", "AWS_SECRET_ACCESS_KEY": "a$b"}},
    {"ppm_backup_repository": "/mnt/backup", "ppm_backup_keep": {}},
    {"ppm_backup_repository": "/mnt/backup", "ppm_backup_keep": {"daily": 30, "weekly": 0}},
    {"ppm_backup_repository": "rest:https://user@backup.example:8000/ppm/", "ppm_backup_password": SECRET},
    {
        "ppm_backup_repository": "s3:http://[fd00::1]:9000/bucket/a_b",
        "ppm_backup_environment": {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": 'a$b`c"d\\#/+= e'},
    },
    {
        "ppm_backup_repository": "sftp://ppm@backup.example:2222//ppm",
        "ppm_backup_ssh_key": "key",
        "ppm_backup_known_hosts": [
            f"[backup.example]:2222,10.0.0.1 ecdsa-sha2-nistp256 {'A' * 139}=",
            f"|1|{'b' * 27}=|{'c' * 27}= ssh-ed25519 {'A' * 68}",
        ],
    },
    {"ppm_backup_time": "*-*-* 00/6:15", "ppm_backup_drill_time": "Mon,Wed..Fri *-*-* 04:00:00 UTC"},
    {"ppm_backup_time": "hourly", "ppm_backup_drill_time": "weekly", "ppm_snapshot": "1a2b3c4d"},
]

# Values, and a part of the one message for each, which begins with the variable's name.
BAD: list[tuple[dict[str, Any], str]] = [
    ({"ppm_domain": None}, "ppm_domain is missing: set it in your inventory. The name that clients reach"),
    ({"ppm_domain": ""}, "a host name"),
    ({"ppm_domain": "Packages.example.com"}, "small letters"),
    ({"ppm_domain": "https://packages.example.com"}, "a host name"),
    ({"ppm_domain": "packages.example.com."}, "a host name"),
    ({"ppm_domain": "*.example.com"}, "a host name"),
    ({"ppm_domain": "a..b"}, "a host name"),
    ({"ppm_domain": "-a.b"}, "a host name"),
    ({"ppm_domain": "a" * 64}, "a host name"),
    ({"ppm_domain": "10.0.0.1"}, "certificates are for names"),
    ({"ppm_domain": 10}, "it must be a text"),
    ({"ppm_domain": ["a.example"]}, "it must be a text"),
    ({"ppm_acme_email": ""}, "ppm_acme_email is missing: set it in your inventory"),
    ({"ppm_acme_email": "admin"}, "an e-mail address"),
    ({"ppm_acme_email": "-x@example.com"}, "an e-mail address"),
    ({"ppm_root": "srv/ppm"}, "an absolute path"),
    ({"ppm_root": "/"}, "an absolute path"),
    ({"ppm_root": "/srv/ppm/"}, "an absolute path"),
    ({"ppm_root": "/srv//ppm"}, "an absolute path"),
    ({"ppm_root": "/srv/../etc"}, "an absolute path"),
    ({"ppm_root": "/srv/ppm/.."}, "an absolute path"),
    ({"ppm_root": "/srv/./ppm"}, "an absolute path"),
    ({"ppm_root": 7}, "it must be a path"),
    ({"ppm_root_is_mount": "perhaps"}, "it must be true or false"),
    ({"ppm_read_access": "everybody"}, "it must be authenticated or public"),
    ({"ppm_upstream": True}, "it must be a text"),
    ({"ppm_upstream_url": "index.example/simple/"}, "a URL"),
    ({"ppm_upstream_url": "ftp://index.example/"}, "a URL"),
    ({"ppm_pip_index_url": "https://user:secret@index.example/simple/"}, "a URL without a credential"),
    ({"ppm_private_names": "acme-*"}, "it must be a list"),
    ({"ppm_private_names": [""]}, "a pattern of names"),
    (
        {"ppm_private_names": ["a", "acme-["]},
        "is 'acme-[': it must be a pattern of names, such as acme-*; it has a [",
    ),
    ({"ppm_private_names": ["!x"]}, "no name matches it"),
    ({"ppm_private_names": ["a", 1]}, "it must be a list of texts, and 1 is not a text"),
    ({"ppm_private_names": {"acme": True}}, "it must be a list"),
    ({"ppm_public_names": "everyone"}, "it must be admin or allow or deny"),
    ({"ppm_public_names": ["requests"]}, "it must be a text, such as admin"),
    ({"ppm_registration": "closed"}, "it must be invite or open"),
    ({"ppm_max_upload_size": "0"}, "a size such as"),
    ({"ppm_max_upload_size": "-1M"}, "a size such as"),
    ({"ppm_max_upload_size": "4T"}, "a size such as"),
    ({"ppm_max_upload_size": "4.5G"}, "a size such as"),
    ({"ppm_max_upload_size": "99999999999G"}, "a size such as"),
    ({"ppm_max_upload_size": 4096}, "it must be a text, such as 4G"),
    ({"ppm_memory_max": "1K"}, "a size of 128M or more"),
    ({"ppm_log_max_size": "2000K"}, "a size of 1M or more"),
    ({"ppm_journal_max_size": "1M"}, "a size of 16M or more"),
    ({"ppm_firewall_ports": ["9100"]}, "a port with its protocol"),
    ({"ppm_firewall_ports": ["70000/tcp"]}, "a port with its protocol"),
    ({"ppm_memory_max": "infinity"}, "a size of 128M or more"),
    ({"ppm_hsts_max_age": -1}, "from 0 to"),
    ({"ppm_hsts_max_age": "a year"}, "it must be a whole number"),
    ({"ppm_hsts_max_age": True}, "it must be a whole number"),
    ({"ppm_hsts_max_age": 1.5}, "it must be a whole number"),
    ({"ppm_threads": 1}, "from 2 to 512"),
    ({"ppm_tasks_max": 0}, "from 64 to"),
    ({"ppm_tasks_max": 64, "ppm_threads": 64}, "ppm_tasks_max is 64: with 64 ppm_threads it must be"),
    ({"ppm_keep_releases": 0}, "from 2 to"),
    ({"ppm_connections_per_address": 0}, "from 1 to"),
    ({"ppm_trusted_proxies": ["10.0.0.0/33"]}, "a network such as"),
    ({"ppm_trusted_proxies": ["1.2.3.4.5"]}, "a network such as"),
    ({"ppm_trusted_proxies": ["dead"]}, "a network such as"),
    ({"ppm_trusted_proxies": ["10.0.0.0/255.0.0.0"]}, "a network such as"),
    ({"ppm_trusted_proxies": ["fe80::1%eth0"]}, "a network such as"),
    ({"ppm_trusted_proxies": ["proxy.example"]}, "a network such as"),
    ({"ppm_tls": "letsencript"}, "it must be letsencrypt or provided or selfsigned or none"),
    ({"ppm_tls": "provided", "ppm_tls_key": "key.pem"}, "ppm_tls_certificate is missing"),
    ({"ppm_tls": "provided", "ppm_tls_certificate": "cert.pem"}, "ppm_tls_key is missing"),
    ({"ppm_ca_certificates": "ca.pem"}, "it must be a list"),
    ({"ppm_tls_domain": "a"}, "ppm_tls_domain is not a variable of ppm"),
    ({"ppm_privat_names": ["a"]}, "ppm_privat_names is not a variable of ppm: did you mean ppm_private_names?"),
    ({"ppm_acme_mail": "a@b.example"}, "did you mean ppm_acme_email?"),
    ({"ppm_": 1}, "ppm_ is not a variable of ppm"),
    ({"ppm_audit_max_size": "0"}, "a size such as 50M"),
    ({"ppm_audit_keep_files": 0}, "from 1 to 10000"),
    ({"ppm_audit_keep_days": 99_999}, "from 1 to 36500"),
    (
        {"ppm_storage": "s3://packages/ppm", "ppm_prune": "--keep 3 --unused 90d"},
        "ppm_prune: with ppm_storage it can't have --unused: each host counts only its own downloads",
    ),
    ({"ppm_storage": "https://bucket.example/"}, "the address of a bucket such as s3://bucket/prefix"),
    ({"ppm_storage": "s3://key:secret@bucket"}, "without a credential"),
    ({"ppm_storage": "s3://bucket/a b"}, "the address of a bucket"),
    ({"ppm_cache_max_size": "all"}, "a size such as 10G"),
    ({"ppm_storage_redirect": "perhaps"}, "it must be true or false"),
    ({"ppm_webhooks": SECRET}, "ppm_webhooks: it must be a list of mappings"),
    ({"ppm_webhooks": [SECRET]}, "ppm_webhooks, number 1: it must be a mapping"),
    ({"ppm_webhooks": [{"url": f"https://a.example/{SECRET}"}]}, "number 1: its name must be letters"),
    ({"ppm_webhooks": [{"name": "../a", "url": "https://a.example"}]}, "number 1: its name must be letters"),
    ({"ppm_webhooks": [{"name": "a"}]}, "number 1 (a): its url is missing"),
    ({"ppm_webhooks": [{"name": "a", "url": f"https://u:{SECRET}@b"}]}, "(a): its url must be a URL without"),
    (
        {"ppm_webhooks": [{"name": "a", "url": "http://a.example"}]},
        "(a): its url must be a URL that starts with https",
    ),
    ({"ppm_webhooks": [{"name": "a", "url": "https://a/\nb"}]}, "(a): its url must be a URL without"),
    ({"ppm_webhooks": [{"name": "a", "url": "https://a", "secret": SECRET}]}, "(a): its secret must be whsec_"),
    (
        {"ppm_webhooks": [{"name": "a", "url": "https://a", "secert": SECRET}]},
        "secert is not known; did you mean secret",
    ),
    ({"ppm_webhooks": [{"name": "a", "url": "https://a", "events": "x"}]}, "(a): its events must be a list"),
    ({"ppm_webhooks": [{"name": "a", "url": "https://a", "events": ["a b"]}]}, "(a): its events must be a list"),
    ({"ppm_webhooks": [{"name": "a", "url": "https://a"}] * 2}, "number 1 (a): the name is used twice."),
    ({"ppm_users": SECRET}, "ppm_users: it must be a list of mappings"),
    ({"ppm_users": {"ann": SECRET}}, "ppm_users: it must be a list of mappings"),
    ({"ppm_users": [SECRET]}, "ppm_users, number 1: it must be a mapping"),
    ({"ppm_users": [{"role": "reader"}]}, "number 1: its name must be letters, digits"),
    ({"ppm_users": [{"name": "a+b", "role": "reader"}]}, "number 1: its name must be letters, digits"),
    ({"ppm_users": [{"name": "a\n", "role": "reader"}]}, "number 1: its name must be letters, digits"),
    ({"ppm_tokens": [{"name": "ci", "role": "reader"}]}, "number 1: its name must be OWNER+PURPOSE"),
    ({"ppm_users": [{"name": "a"}]}, "number 1 (a): its role is missing; one of reader, publisher, admin, monitor."),
    (
        {"ppm_users": [{"name": "a", "role": "king"}]},
        "(a): its role must be reader or publisher or admin or monitor.",
    ),
    ({"ppm_users": [{"name": "a", "role": "reader"}] * 2}, "number 1 (a): the name is used twice."),
    (
        {"ppm_users": [{"name": "Drop", "role": "reader"}]},
        "number 1 (Drop): the index uses this name itself; reserved",
    ),
    ({"ppm_tokens": [{"name": "ppm+ci", "role": "reader"}]}, "number 1 (ppm+ci): the index uses this name itself"),
    ({"ppm_users": [{"name": "a", "role": "reader", "secrt": SECRET}]}, "secrt is not known; did you mean secret?"),
    ({"ppm_users": [{"name": "a", "role": "reader", "secret": "short"}]}, "its secret must be 32 to 200 random"),
    ({"ppm_users": [{"name": "a", "role": "reader", "secret": 7}]}, "its secret must be a text."),
    ({"ppm_users": [{"name": "a", "role": "reader", "email": "x"}]}, "its email must be an e-mail address."),
    ({"ppm_users": [{"name": "a", "role": "reader", "state": "gone"}]}, "must be present or disabled or absent."),
    ({"ppm_users": [{"name": "a", "role": "reader", "expires": "90d"}]}, "its expires must be a day such as"),
    ({"ppm_users": [{"name": "a", "role": "reader", "projects": "x"}]}, "its projects must be a list."),
    ({"ppm_users": [{"name": "a", "role": "reader", "projects": ["a b"]}]}, "must be patterns of names"),
    ({"ppm_users": [{"name": "a", "role": "publisher", "projects": ["acme-["]}]}, "must be patterns of names"),
    ({"ppm_tokens": [{"name": "a+b", "role": "reader", "reads": [f"a{n}*" for n in range(51)]}]}, "50 with * ? or"),
    ({"ppm_tokens": [{"name": "a+b", "role": "reader", "email": "a@b.c"}]}, "email is not known"),
    ({"ppm_backup_repository": "backup"}, "it must be a restic repository without a password, such as sftp:"),
    ({"ppm_backup_repository": "/mnt/../backup"}, "it must be a restic repository"),
    ({"ppm_backup_repository": "rest:https://user:secret@backup.example/"}, "a restic repository without a password"),
    ({"ppm_backup_repository": "/srv/ppm/backup"}, "it must be outside of ppm_root"),
    ({"ppm_backup_repository": "/home/backup"}, "a folder of the index's own"),
    (
        {
            "ppm_backup_repository": "sftp:h:/ppm",
            "ppm_backup_ssh_key": "",
            "ppm_backup_known_hosts": ["h ssh-rsa " + "A" * 20],
        },
        "ppm_backup_ssh_key is missing: a repository over SFTP needs it.",
    ),
    (
        {"ppm_backup_repository": "sftp:h:/ppm", "ppm_backup_ssh_key": "key", "ppm_backup_known_hosts": []},
        "ppm_backup_known_hosts is missing: a repository over SFTP needs it.",
    ),
    ({"ppm_backup_password": "short"}, "it must have 16 or more characters in one line"),
    ({"ppm_backup_password": f"{SECRET}\n"}, "in one line"),
    ({"ppm_backup_password": [SECRET]}, "ppm_backup_password: it must be a text."),
    ({"ppm_backup_environment": {"AWS_SECRET_ACCESS_KEY": f"{SECRET}'"}}, "AWS_SECRET_ACCESS_KEY must be a text in"),
    ({"ppm_backup_environment": {"AWS_SECRET_ACCESS_KEY": f"{SECRET}\n"}}, "must be a text in one line"),
    ({"ppm_backup_environment": {"A": 7}}, "A must be a text in one line, without single quotes."),
    ({"ppm_backup_environment": {"A=b": SECRET}}, "A=b must be a variable of restic"),
    ({"ppm_backup_environment": {"RESTIC_PASSWORD": SECRET}}, "RESTIC_PASSWORD must be a variable of restic"),
    ({"ppm_backup_environment": {"PPM_ROOT": "/"}}, "PPM_ROOT must be a variable of restic"),
    ({"ppm_backup_environment": SECRET}, "ppm_backup_environment: it must be a mapping."),
    ({"ppm_storage_environment": {"AWS_SECRET_ACCESS_KEY": f"{SECRET}'"}}, "AWS_SECRET_ACCESS_KEY must be a text in"),
    ({"ppm_storage_environment": {"PPM_STORAGE": "s3://b"}}, "PPM_STORAGE must be a variable of the bucket"),
    ({"ppm_storage": "s3://packages", "ppm_backup_repository": "/mnt/backup"}, "has only a cache"),
    ({"ppm_storage_environment": SECRET}, "ppm_storage_environment: it must be a mapping."),
    ({"ppm_backup_keep": {"yearly": 1}}, "yearly is not known; the keys are daily, weekly, monthly."),
    ({"ppm_backup_keep": {"daily": -1}}, "daily must be a whole number from 0 to"),
    ({"ppm_backup_keep": {"daily": "7 --prune"}}, "daily must be a whole number from 0 to"),
    ({"ppm_backup_time": "half past two"}, "a calendar event of systemd for each day"),
    *(
        ({"ppm_backup_time": late}, "a backup of more than two days before is reported as a fault")
        for late in ("weekly", "monthly", "Sun 02:30", "Mon..Fri 02:30", "*-*-1 02:30")
    ),
    *(
        ({"ppm_backup_drill_time": late}, "a drill of more than eight days before is reported as a fault")
        for late in ("monthly", "*-*-1 04:00", "Sun *-*-1 04:00")
    ),
    ({"ppm_backup_known_hosts": ["backup.example"]}, "a line of known_hosts"),
    ({"ppm_snapshot": "yesterday"}, "the id of a snapshot, or latest"),
]
FORBIDDEN_ROOTS = (
    *("/etc", "/etc/ppm", "/usr/share/ppm", "/home/ppm", "/root/ppm", "/tmp/ppm", "/run/ppm", "/opt/ppm", "/proc/1"),
    *("/srv", "/opt", "/mnt", "/var", "/var/lib", "/var/log/ppm", "/var/tmp/x", "/var/lib/ppm/acme", "/dev/shm"),
)


@pytest.fixture(scope="module")
def problems() -> Callable[..., list[str]]:
    """Return the problems of the smallest inventory, with all defaults and `changed`; None removes a variable."""
    specs = inventory_values.read_specs(ROLES, NAMES)
    values: dict[str, Any] = {}
    for name in NAMES:
        values |= yaml.safe_load((ROLES / name / "defaults" / "main.yml").read_text()) or {}
    values |= {"ppm_domain": DOMAIN, "ppm_acme_email": "admin@example.com"}

    def find(changed: Mapping[str, Any]) -> list[str]:
        given = {name: value for name, value in {**values, **changed}.items() if value is not None}
        given = {name: inventory_values.typed(specs.get(name, {}), value) for name, value in given.items()}
        return list(inventory_values.variable_problems(specs, given))

    return find


@pytest.mark.parametrize("changed", [{}, *GOOD], ids=str)
def test_valid_values_pass(changed: dict[str, Any], problems: Callable[..., list[str]]) -> None:
    assert problems(changed) == []


@pytest.mark.parametrize(("changed", "message"), BAD, ids=[str(changed) for changed, _ in BAD])
def test_an_invalid_value_is_named_once_with_the_remedy(
    changed: dict[str, Any], message: str, problems: Callable[..., list[str]]
) -> None:
    (problem,) = problems(changed)
    assert message in problem
    assert SECRET not in problem
    assert problem.startswith(("ppm_tls_", *changed))


def test_the_reserved_names_are_those_of_ppmctl() -> None:
    """The controlling machine may have no ppmctl, so the plugin has its own list."""
    assert inventory_credentials._RESERVED == rights.RESERVED


def test_all_problems_are_reported_at_once(problems: Callable[..., list[str]]) -> None:
    reported = problems(
        {"ppm_domain": None, "ppm_root": "x", "ppm_treads": 3, "ppm_tls": "no", "ppm_threads": "many"}
    )
    assert [problem.split()[0] for problem in reported] == [
        *("ppm_treads", "ppm_domain", "ppm_tls", "ppm_threads", "ppm_root")
    ]


def test_a_renamed_variable_fails_with_its_new_name(
    problems: Callable[..., list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(inventory_values.RENAMED, "ppm_email", "ppm_acme_email")
    assert problems({"ppm_email": "a@b.example"}) == [
        "ppm_email is now called ppm_acme_email: rename it in your inventory."
    ]
    assert set(inventory_values.RENAMED.values()) <= set(inventory_values.read_specs(ROLES, NAMES))


@pytest.mark.parametrize("root", FORBIDDEN_ROOTS)
def test_a_system_folder_is_rejected_as_ppm_root(root: str, problems: Callable[..., list[str]]) -> None:
    """The role changes the folder's owner and mode, which would break the host with /etc."""
    (problem,) = problems({"ppm_root": root})
    assert problem.startswith("ppm_root is ")
    assert "a folder of the index's own" in problem


@pytest.mark.parametrize("name", [*TEXTS, *LISTS])
def test_special_characters_in_a_value_are_rejected(name: str, problems: Callable[..., list[str]]) -> None:
    """They are syntax of nginx, systemd's units or environment files: at the start, in the middle, at the end."""
    good = (TEXTS | LISTS)[name]
    wrap: Callable[[str], Any] = (lambda value: [value]) if name in LISTS else (lambda value: value)
    assert problems({name: wrap(good)}) == []
    # valid in an e-mail address, which is only an argument of certbot
    harmless = "`|^'#" if name == "ppm_acme_email" else ""
    for attack, where in itertools.product(ATTACKS, (0, len(good) // 2, len(good))):
        if attack not in harmless:
            value = good[:where] + attack + good[where:]
            reported = problems({name: wrap(value)})
            assert len(reported) == 1, f"{value!r} passes"
            assert reported[0].startswith(f"{name} is ")
            assert repr(value)[1:-1] in reported[0], "it is shown so that it can be seen"


def test_each_text_variable_is_tested_with_special_characters() -> None:
    specs = inventory_values.read_specs(ROLES, NAMES)
    # the declared users are passed to one program's stdin, as JSON
    texts = {
        name
        for name, spec in specs.items()
        if spec["type"] in ("str", "path", "list") and spec.get("elements") != "dict"
    }
    assert texts - SECRETS - LOCAL_FILES == TEXTS.keys() | LISTS.keys()
    assert {name for name, spec in specs.items() if spec.get("no_log")} == SECRETS


def test_values_from_the_command_line_are_strings(problems: Callable[..., list[str]]) -> None:
    assert problems({"ppm_threads": "8", "ppm_private_users": "no", "ppm_root_is_mount": "True"}) == []
    assert len(problems({"ppm_threads": "999", "ppm_private_users": "maybe"})) == 2


# Files on the controlling machine


class Authority:
    """Certificates for tests, and their files."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.root = self.certificate("Test Root", self.key.public_key(), days=(-10, 100))

    def certificate(
        self, name: str, public: Any, *, names: Iterable[str] = (), days: tuple[int, int] = (-1, 30)
    ) -> x509.Certificate:
        now = datetime.now(UTC)
        made = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
            .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Test Root")]))
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now + timedelta(days=days[0]))
            .not_valid_after(now + timedelta(days=days[1]))
        )
        if names:
            made = made.add_extension(
                x509.SubjectAlternativeName([x509.DNSName(each) for each in names]), critical=False
            )
        return made.sign(self.key, hashes.SHA256())

    def read(self, path: str) -> bytes:
        if path not in self.files:
            raise FileNotFoundError(2, "there is no such file")
        return self.files[path]


def pem(*certificates: x509.Certificate) -> bytes:
    return b"".join(certificate.public_bytes(serialization.Encoding.PEM) for certificate in certificates)


def pem_key(key: Any, passphrase: bytes = b"") -> bytes:
    encryption = serialization.BestAvailableEncryption(passphrase) if passphrase else serialization.NoEncryption()
    made: bytes = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)
    return made


def ssh_key(key: ec.EllipticCurvePrivateKey, passphrase: bytes = b"") -> bytes:
    """Return a key in OpenSSH's own form, as ssh-keygen writes it."""
    encryption = serialization.BestAvailableEncryption(passphrase) if passphrase else serialization.NoEncryption()
    made: bytes = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, encryption)
    return made


@pytest.fixture(scope="module")
def authority() -> Authority:
    made = Authority()
    key, other = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    small = rsa.generate_private_key(65537, 1024)  # noqa: S505 - it must be rejected
    leaf = made.certificate("host", key.public_key(), names=[DOMAIN])
    made.files = {
        "ca.pem": pem(made.root),
        "other/ca.pem": pem(made.root),
        "text.pem": b"not a certificate",
        "good.pem": pem(leaf, made.root),
        "reversed.pem": pem(made.root, leaf),
        "unordered.pem": pem(leaf, leaf),
        "wildcard.pem": pem(made.certificate("host", key.public_key(), names=["other.example", "*.EXAMPLE.com"])),
        "deep.pem": pem(made.certificate("host", key.public_key(), names=["*.com", "example.com"])),
        "nameless.pem": pem(made.certificate(DOMAIN, key.public_key())),
        "ended.pem": pem(made.certificate("host", key.public_key(), names=[DOMAIN], days=(-9, -1))),
        "early.pem": pem(made.certificate("host", key.public_key(), names=[DOMAIN], days=(2, 30))),
        "small.pem": pem(made.certificate("host", small.public_key(), names=[DOMAIN])),
        "key.pem": pem_key(key),
        "other-key.pem": pem_key(other),
        "small-key.pem": pem_key(small),
        "locked-key.pem": pem_key(key, b"secret"),
        "ssh-key": ssh_key(key),
        "locked-ssh-key": ssh_key(key, b"secret"),
    }
    return made


def over_ssh(key: str) -> dict[str, str]:
    return {"ppm_backup_repository": "sftp:h:/ppm", "ppm_backup_ssh_key": key}


def provided(certificate: str = "good.pem", key: str = "key.pem") -> dict[str, str]:
    return {"ppm_domain": DOMAIN, "ppm_tls": "provided", "ppm_tls_certificate": certificate, "ppm_tls_key": key}


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"ppm_ca_certificates": ["ca.pem", "good.pem"]},
        provided(),
        provided("wildcard.pem"),
        {**provided("none.pem"), "ppm_tls": "selfsigned"},
        over_ssh("ssh-key"),
        over_ssh("key.pem"),
        {**over_ssh("none.pem"), "ppm_backup_repository": "/mnt/backup"},
    ],
    ids=str,
)
def test_valid_files_pass(values: dict[str, Any], authority: Authority) -> None:
    assert list(file_problems(values, authority.read)) == []


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"ppm_ca_certificates": ["none.pem"]}, "none.pem can't be read: there is no such file"),
        ({"ppm_ca_certificates": ["text.pem"]}, "text.pem has no certificate in PEM"),
        (provided("none.pem"), "ppm_tls_certificate: none.pem can't be read"),
        (provided(key="none.pem"), "ppm_tls_key: none.pem can't be read"),
        (provided("text.pem"), "ppm_tls_certificate: text.pem has no certificate"),
        (provided("key.pem"), "ppm_tls_certificate: key.pem has no certificate"),
        (provided(key="text.pem"), "ppm_tls_key: text.pem has no private key"),
        (provided(key="good.pem"), "ppm_tls_key: good.pem has no private key"),
        (provided(key="locked-key.pem"), "without a passphrase"),
        (provided(key="other-key.pem"), "ppm_tls_key: it is not the key of ppm_tls_certificate's first certificate"),
        (provided("unordered.pem"), "ppm_tls_certificate: it must be in order"),
        (provided("ended.pem"), "ppm_tls_certificate: it expired on"),
        (provided("early.pem"), "ppm_tls_certificate: it is valid only from"),
        (provided("small.pem", "small-key.pem"), "ppm_tls_certificate: nginx takes no RSA key of 1024 bits"),
        (provided("deep.pem"), f"it is for *.com, example.com, and ppm_domain is {DOMAIN}"),
        (provided("nameless.pem"), "it is for no name, and ppm_domain"),
        (over_ssh("none.pem"), "ppm_backup_ssh_key: none.pem can't be read: there is no such file."),
        (over_ssh("good.pem"), "ppm_backup_ssh_key: good.pem has no private SSH key"),
        (over_ssh("locked-ssh-key"), "has no private SSH key without a passphrase"),
        (over_ssh("locked-key.pem"), "has no private SSH key without a passphrase"),
    ],
    ids=str,
)
def test_invalid_files_are_named(values: dict[str, Any], message: str, authority: Authority) -> None:
    (problem,) = file_problems(values, authority.read)
    assert message in problem
    assert problem.startswith("ppm_")


def test_a_chain_in_reverse_order_is_rejected(authority: Authority) -> None:
    reported = " ".join(file_problems(provided("reversed.pem"), authority.read))
    assert "not the key of ppm_tls_certificate's first certificate" in reported


def test_authority_files_with_equal_names_are_rejected(authority: Authority) -> None:
    reported = list(file_problems({"ppm_ca_certificates": ["ca.pem", "other/ca.pem"]}, authority.read))
    assert reported
    assert all("two files are called ca" in problem for problem in reported)


# The host

HOST: dict[str, Any] = {
    "debian": "13",
    "systemd": True,
    "user": 0,
    "volume": {
        "is_folder": True,
        "is_mount": False,
        "nearest": "/srv",
        "read_only": False,
        "free": 10 << 30,
        "free_inodes": 1000,
    },
    "listeners": {},
    "versions": {"nginx": "1.26.3"},
}
VALUES = {"ppm_root": "/srv/ppm", "ppm_root_is_mount": False, "ppm_tls": "letsencrypt"}


@pytest.mark.parametrize(
    ("host", "values"),
    [
        ({}, {}),
        ({"debian": "12"}, {}),
        ({"listeners": {"80": "nginx", "443": "nginx"}}, {}),
        ({"listeners": {"443": "haproxy"}}, {"ppm_tls": "none"}),
        ({"listeners": {"9100": "nginx"}}, {"ppm_metrics": "loopback", "ppm_metrics_port": 9100}),
        ({"volume": {"is_mount": True}}, {"ppm_root_is_mount": True}),
        ({"volume": {"free_inodes": None}}, {}),
    ],
    ids=str,
)
def test_a_suitable_host_passes(host: dict[str, Any], values: dict[str, Any]) -> None:
    assert problems_of_host(host, values) == []


@pytest.mark.parametrize(
    ("host", "values", "message"),
    [
        ({"debian": "11"}, {}, "This host is not a Debian 12 or 13"),
        ({"debian": ""}, {}, "This host is not a Debian 12 or 13"),
        ({"systemd": False}, {}, "that runs systemd"),
        ({"user": 1000}, {}, "ansible_become: the tasks do not run as root"),
        ({"volume": {"is_folder": False}}, {}, "ppm_root is /srv/ppm: /srv is not a folder; choose another path"),
        ({"volume": {"read_only": True}}, {}, "ppm_root is /srv/ppm: /srv is mounted read-only; mount it"),
        (
            {"volume": {"free": 100 << 20}},
            {},
            "ppm_root is /srv/ppm: /srv has 100 MB free, 512 MB are needed; make room",
        ),
        ({"volume": {"free_inodes": 0}}, {}, "ppm_root is /srv/ppm: /srv has no inode left"),
        ({}, {"ppm_root_is_mount": True}, "ppm_root_is_mount: nothing is mounted at /srv/ppm"),
        ({"listeners": {"80": "apache2"}}, {}, "Port 80 is taken by apache2: stop it"),
        ({"listeners": {"443": "haproxy"}}, {}, "Port 443 is taken by haproxy"),
        ({"listeners": {"80": "lighttpd"}}, {"ppm_tls": "none"}, "Port 80 is taken by lighttpd"),
        (
            {"listeners": {"80": "nginx"}, "versions": {"nginx": ""}},
            {},
            "Port 80 is taken by an nginx that is not Debian's: stop it, and apt-get install nginx",
        ),
        (
            {"listeners": {"9100": "node_exporter"}},
            {"ppm_metrics": "loopback", "ppm_metrics_port": 9100},
            "Port 9100 is taken by node_exporter: choose another ppm_metrics_port",
        ),
    ],
    ids=str,
)
def test_an_unsuitable_host_is_rejected_with_the_reason(
    host: dict[str, Any], values: dict[str, Any], message: str
) -> None:
    (problem,) = problems_of_host(host, values)
    assert message in problem


def test_a_role_without_nginx_needs_no_port() -> None:
    values = {name: value for name, value in VALUES.items() if name != "ppm_tls"}
    assert list(host_problems({**HOST, "listeners": {"80": "apache2"}}, values)) == []


def problems_of_host(host: dict[str, Any], values: dict[str, Any]) -> list[str]:
    volume = HOST["volume"] | host.get("volume", {})
    return list(host_problems({**HOST, **host, "volume": volume}, {**VALUES, **values}))


def test_settings_of_containers_have_their_own_rules() -> None:
    """No domain is needed without TLS, no self-signed certificate exists, and settings without effect are named."""
    specs = inventory_values.read_specs(ROLES, NAMES)
    defaults = {name: spec["default"] for name, spec in specs.items() if "default" in spec}

    def find(**changed: object) -> list[str]:
        instead = {"ppm_root": "say it in docker/.env.", "ppm_memory_max": "say it in a compose file."}
        given = {**defaults, "ppm_domain": "", "ppm_tls": "none", **changed}
        known, values = inventory_values.for_containers(specs, given)
        unused = inventory_values.ineffective(known, values, instead)
        return [*unused, *inventory_values.variable_problems(known, values)]

    assert find() == []
    assert find(ppm_domain=DOMAIN) == []
    assert find(ppm_root="/data") == ["ppm_root has no effect in containers: say it in docker/.env."]
    (missing,) = find(ppm_tls="letsencrypt", ppm_acme_email="a@b.example")
    assert missing.startswith("ppm_domain is missing")
    (choices,) = find(ppm_tls="selfsigned", ppm_domain=DOMAIN)
    assert choices == "ppm_tls is 'selfsigned': it must be letsencrypt or provided or none."
