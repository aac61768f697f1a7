"""Rules for the variables of backups. Values of the password and the environment are secrets, and are never shown."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any

from ansible_collections.ppm.index.plugins.plugin_utils.inventory_environment import environment_problems

# restic's kinds of repositories besides a folder
_KINDS = ("azure", "b2", "gs", "rclone", "rest", "s3", "sftp", "swift")
_REPOSITORY = re.compile(rf"(?:/|(?:{'|'.join(_KINDS)}):)[A-Za-z0-9._~/:@%+=,\[\]-]+")
_PASSWORD_IN_URL = re.compile(r"//[^/@]*:[^/@]*@")
_DAY = "(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)"
_TIME = r"(?:\*-\*-\* )?[0-9*,/]+:[0-9*,/]+(?::[0-9*,/]+)?(?: UTC)?|hourly|daily"
_AT_LEAST_DAILY = re.compile(_TIME)
_AT_LEAST_WEEKLY = re.compile(rf"(?:{_DAY}(?:(?:,|\.\.){_DAY})* )?(?:{_TIME})|weekly")
_KNOWN_HOST = re.compile(
    r"(?:\|1\|[A-Za-z0-9+/]+=*\|[A-Za-z0-9+/]+=*|[A-Za-z0-9.,:*?\[\]_-]+)"
    r" (?:ssh|ecdsa|sk)-[a-z0-9@.-]+ [A-Za-z0-9+/]{16,}={0,3}"
)
_SNAPSHOT = re.compile(r"latest|[0-9a-f]{4,64}")
_PERIODS = ("daily", "weekly", "monthly")
_MOST = 10_000
_SHORTEST_PASSWORD = 16


def _is_repository(text: str) -> bool:
    if text.startswith("/"):
        path = PurePosixPath(text)
        return _REPOSITORY.fullmatch(text) is not None and str(path) == text and ".." not in path.parts
    return _REPOSITORY.fullmatch(text) is not None and not _PASSWORD_IN_URL.search(text)


FORMS: dict[str, Callable[[str], object]] = {
    "ppm_backup_repository": _is_repository,
    "ppm_backup_time": _AT_LEAST_DAILY.fullmatch,
    "ppm_backup_drill_time": _AT_LEAST_WEEKLY.fullmatch,
    "ppm_backup_known_hosts": _KNOWN_HOST.fullmatch,
    "ppm_snapshot": _SNAPSHOT.fullmatch,
}


def backup_problems(values: Mapping[str, Any]) -> Iterator[str]:
    """Yield problems besides types and forms."""
    repository, root = values.get("ppm_backup_repository", ""), values.get("ppm_root", "")
    if repository.startswith("/") and PurePosixPath(repository).is_relative_to(root):
        yield f"ppm_backup_repository is {repository!r}: it must be outside of ppm_root, which it would be lost with."
    if repository and values.get("ppm_storage"):
        yield (
            "ppm_backup_repository: a host on a bucket (ppm_storage) has only a cache, which is not backed up; leave"
            " it out, and see Back up in docs/storage.md."
        )
    for name in ("ppm_backup_ssh_key", "ppm_backup_known_hosts"):
        if repository.startswith("sftp:") and not values.get(name):
            yield f"{name} is missing: a repository over SFTP needs it."
    password = values.get("ppm_backup_password", "")
    if password and (len(password) < _SHORTEST_PASSWORD or not password.isprintable()):
        yield (
            f"ppm_backup_password: it must have {_SHORTEST_PASSWORD} or more characters in one line"
            " (openssl rand -hex 32)."
        )
    for period, number in values.get("ppm_backup_keep", {}).items():
        if period not in _PERIODS:
            yield f"ppm_backup_keep: {period} is not known; the keys are {', '.join(_PERIODS)}."
        elif not isinstance(number, int) or isinstance(number, bool) or not 0 <= number <= _MOST:
            yield f"ppm_backup_keep: {period} must be a whole number from 0 to {_MOST}."
    yield from environment_problems(
        values, "ppm_backup_environment", must_be="a variable of restic, such as AWS_ACCESS_KEY_ID"
    )
