"""Rules for the `ppm_` variables of an inventory, by their argument specs and by what nginx and systemd accept."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

from ansible_collections.ppm.index.plugins.plugin_utils import inventory_backup
from ansible_collections.ppm.index.plugins.plugin_utils import inventory_wording as wording
from ansible_collections.ppm.index.plugins.plugin_utils.inventory_credentials import credential_problems
from ansible_collections.ppm.index.plugins.plugin_utils.inventory_environment import environment_problems
from ansible_collections.ppm.index.plugins.plugin_utils.inventory_types import EMAIL, wrong_type
from ansible_collections.ppm.index.plugins.plugin_utils.inventory_webhooks import webhook_problems
from ansible_collections.ppm.index.ppmctl.distributions import name_glob

# Old names of variables, with the new ones.
RENAMED: dict[str, str] = {}

_DOMAIN = re.compile(r"(?=.{1,253}$)[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)*")
_SIZE = re.compile(r"([1-9][0-9]*)([KMG]?)")
_URL = re.compile(r"https?://[A-Za-z0-9._:\[\]-]+(?:/[A-Za-z0-9._~/%+,=&?:@!*()-]*)?")
_PORT = re.compile(r"([1-9][0-9]{0,4})/(?:tcp|udp)")
_BUCKET = re.compile(r"(?:s3|gs|az)://[a-z0-9][a-z0-9._-]{1,220}[a-z0-9](?:/[A-Za-z0-9._-]+)*")
_HOSTS = re.compile(r"[A-Za-z0-9.*:/_-]+")
_PRUNE_OPTION = r"--(?:keep [1-9][0-9]{0,3}|(?:prereleases|unused|wait) [1-9][0-9]{0,4}d|project [a-z0-9.*?-]+)"
_PRUNE = re.compile(rf"{_PRUNE_OPTION}(?: {_PRUNE_OPTION})*")
_ROOT = re.compile(r"(?:/(?!\.{1,2}(?:/|\Z))[A-Za-z0-9._-]+)+")

# Folders of the system, folders that it clears, and folders that the service's sandbox hides, with their subfolders.
_SYSTEM = (
    *("/bin", "/boot", "/dev", "/etc", "/home", "/lib", "/lib32", "/lib64", "/opt/ppm", "/proc", "/root", "/run"),
    *("/sbin", "/sys", "/tmp", "/usr", "/var/lib/ppm/acme", "/var/lock", "/var/log", "/var/run", "/var/tmp"),
)
# Folders that other programs use too.
_SHARED = ("/media", "/mnt", "/opt", "/srv", "/var", "/var/cache", "/var/lib", "/var/mail", "/var/spool", "/var/www")
_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
_MAX_BYTES = 1 << 62  # nginx and systemd count in 63 bits
_MIN_MEMORY = 128 << 20  # bytes: the application with a few uploads
_MIN_LOG = 1 << 20
_OTHER_TASKS = 32  # threads of the application besides ppm_threads, and some more
_RANGES = {
    "ppm_hsts_max_age": (0, 1 << 31),
    "ppm_connections_per_address": (1, 1 << 16),
    "ppm_threads": (2, 512),
    "ppm_tasks_max": (64, 1 << 16),
    "ppm_keep_releases": (2, 100),
    "ppm_audit_keep_files": (1, 10_000),
    "ppm_audit_keep_days": (1, 36_500),
    "ppm_metrics_port": (1024, 65535),
}


def read_specs(roles: Path, names: list[str]) -> dict[str, dict[str, Any]]:
    """Return the options in the argument specs of the roles `names`, by variable."""
    specs: dict[str, dict[str, Any]] = {}
    for name in names:
        path = roles / name / "meta" / "argument_specs.yml"
        specs |= yaml.safe_load(path.read_text(encoding="utf-8"))["argument_specs"]["main"].get("options", {})
    return specs


def for_containers(
    specs: Mapping[str, dict[str, Any]], values: Mapping[str, Any]
) -> tuple[dict[str, dict[str, Any]], dict[str, Any]]:
    """Return the specs and values for containers: no self-signed certificate, and a domain only with TLS."""
    tls, domain = dict(specs["ppm_tls"]), dict(specs["ppm_domain"])
    tls["choices"] = [choice for choice in tls["choices"] if choice != "selfsigned"]
    domain["required"] = values.get("ppm_tls") != "none"
    given = {name: value for name, value in values.items() if name != "ppm_domain" or value}
    return {**specs, "ppm_tls": tls, "ppm_domain": domain}, given


def ineffective(
    specs: Mapping[str, Mapping[str, Any]], values: Mapping[str, Any], instead: Mapping[str, str]
) -> Iterator[str]:
    """Yield a message for each variable of `instead` that is not at its default."""
    for name, hint in instead.items():
        if name in values and values[name] != specs.get(name, {}).get("default"):
            yield f"{name} has no effect in containers: {hint}"


def typed(spec: Mapping[str, Any], value: Any) -> Any:
    """Return a value in the type of its spec, because `-e name=value` gives only texts."""
    if isinstance(value, str):
        if spec.get("type") == "int" and value.isdecimal():
            return int(value)
        if spec.get("type") == "bool" and value.lower() in {"true", "yes", "false", "no"}:
            return value.lower() in {"true", "yes"}
    return value


def variable_problems(specs: Mapping[str, Mapping[str, Any]], values: Mapping[str, Any]) -> Iterator[str]:
    """Yield the problems of the variables, without files and the host."""
    for name in values:
        if name in RENAMED:
            yield f"{name} is now called {RENAMED[name]}: rename it in your inventory."
        elif name not in specs:
            yield wording.unknown(name, specs)
    for name, spec in specs.items():
        value = values.get(name)
        if name not in values or value is None:
            if spec.get("required"):
                yield wording.missing(name, spec)
        elif name == "ppm_webhooks":
            yield from webhook_problems(spec["options"], value)
        elif spec.get("elements") == "dict":
            yield from credential_problems(name, spec["options"], value)
        elif (problem := wrong_type(spec, value)) is not None:
            yield f"{name}: {problem}" if spec.get("no_log") else f"{name} is {value!r}: {problem}"
    yield from _wrong_values(
        {
            name: value
            for name, value in values.items()
            if name in specs and specs[name].get("elements") != "dict" and not wrong_type(specs[name], value)
        }
    )


def _wrong_values(values: Mapping[str, Any]) -> Iterator[str]:
    """Yield problems besides types. These values get into nginx's configuration and into systemd's units."""
    tls = values.get("ppm_tls")
    yield from inventory_backup.backup_problems(values)
    yield from environment_problems(
        values, "ppm_storage_environment", must_be="a variable of the bucket, such as AWS_ACCESS_KEY_ID"
    )
    for name, fits in _FORMS.items():
        yield from _misfits(values, name, fits, wording.MUST_BE[name])
    yield from _misfits(values, "ppm_root", _is_own_folder, wording.OWN_FOLDER)
    if str(values.get("ppm_backup_repository")).startswith("/"):
        yield from _misfits(values, "ppm_backup_repository", _is_own_folder, wording.OWN_FOLDER)
    for glob in values.get("ppm_private_names", ()):
        if reason := name_glob.problem(glob):
            yield f"ppm_private_names is {glob!r}: it must be {wording.NAME_PATTERN}; {reason}."
    if tls != "none" and str(values.get("ppm_domain")).rpartition(".")[2].isdecimal():
        yield f"ppm_domain is {values['ppm_domain']!r}: certificates are for names; it must be a host name."
    if tls == "letsencrypt" and not values.get("ppm_acme_email"):
        yield (
            "ppm_acme_email is missing: set it in your inventory, for warnings of the certificate authority before a"
            " certificate expires; or choose another ppm_tls (provided, selfsigned, none)."
        )
    for name in ("ppm_tls_certificate", "ppm_tls_key"):
        if tls == "provided" and not values.get(name):
            yield f"{name} is missing: with ppm_tls provided it is the path of a PEM file on the controlling machine."
    for name, (low, high) in _RANGES.items():
        value = values.get(name)
        if isinstance(value, int) and not low <= value <= high:
            yield f"{name} is {value}: it must be from {low} to {high}."
    if values.get("ppm_storage") and "--unused" in str(values.get("ppm_prune")):
        yield "ppm_prune: with ppm_storage it can't have --unused: each host counts only its own downloads."
    threads, tasks = values.get("ppm_threads", 0), values.get("ppm_tasks_max", 0)
    if 64 <= tasks < threads + _OTHER_TASKS and threads <= 512:
        yield f"ppm_tasks_max is {tasks}: with {threads} ppm_threads it must be {threads + _OTHER_TASKS} or more."


def _misfits(values: Mapping[str, Any], name: str, fits: Callable[[str], object], wanted: str) -> Iterator[str]:
    """Yield a message for the value of a variable, or for each item of its list, that does not fit."""
    value = values.get(name)
    for item in value if isinstance(value, list | tuple) else [value]:
        if isinstance(item, str) and not (name in _MAY_BE_EMPTY and item == "") and not fits(item):
            yield f"{name} is {item!r}: it must be {wanted}."


def _is_own_folder(path: str) -> bool:
    return path not in _SHARED and not any(PurePosixPath(path).is_relative_to(folder) for folder in _SYSTEM)


def _is_size(text: str, *, least: int = 1) -> bool:
    match = _SIZE.fullmatch(text)
    return match is not None and least <= int(match[1]) * _UNITS[match[2]] <= _MAX_BYTES


def _is_log_size(text: str) -> bool:
    """logrotate knows K only as k."""
    return _is_size(text, least=_MIN_LOG) and not text.endswith("K")


def _is_port(text: str) -> bool:
    match = _PORT.fullmatch(text)
    return match is not None and int(match[1]) < 1 << 16


def _is_network(text: str) -> bool:
    try:
        ipaddress.ip_network(text, strict=False)
    except ValueError:
        return False
    return "%" not in text and "." not in text.partition("/")[2]  # nginx supports neither a zone nor a netmask


_MAY_BE_EMPTY = {
    *("ppm_prune", "ppm_upstream_url", "ppm_pip_index_url", "ppm_proxy_url", "ppm_acme_directory", "ppm_acme_email"),
    *("ppm_backup_repository", "ppm_storage", "ppm_cache_max_size"),
}
_FORMS: dict[str, Callable[[str], object]] = {
    "ppm_domain": _DOMAIN.fullmatch,
    "ppm_root": _ROOT.fullmatch,
    "ppm_max_upload_size": _is_size,
    "ppm_audit_max_size": _is_size,
    "ppm_storage": _BUCKET.fullmatch,
    "ppm_cache_max_size": _is_size,
    "ppm_memory_max": partial(_is_size, least=_MIN_MEMORY),
    "ppm_log_max_size": _is_log_size,
    "ppm_journal_max_size": partial(_is_size, least=16 << 20),
    "ppm_firewall_ports": _is_port,
    "ppm_backup_memory_max": partial(_is_size, least=_MIN_MEMORY),
    "ppm_prune": _PRUNE.fullmatch,
    "ppm_upstream_url": _URL.fullmatch,
    "ppm_pip_index_url": _URL.fullmatch,
    "ppm_proxy_url": _URL.fullmatch,
    "ppm_acme_directory": _URL.fullmatch,
    "ppm_acme_email": EMAIL.fullmatch,
    "ppm_no_proxy": _HOSTS.fullmatch,
    "ppm_trusted_proxies": _is_network,
    **inventory_backup.FORMS,
}
