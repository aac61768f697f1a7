"""check_index: the index as its clients see it, from this machine; see playbooks/self_check.yml."""

from __future__ import annotations

import contextlib
import secrets
import signal
import sys
import traceback
import types
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml
from ansible.errors import AnsibleError
from ansible.plugins.action import ActionBase

PLAYBOOKS = Path(__file__).parents[1]
ROLES = PLAYBOOKS.parent / "roles"
VARIABLES = frozenset(
    f"ppm_{name}"
    for name in (
        *("domain", "tls", "hsts_max_age", "ca_certificates"),
        *("read_access", "upstream", "upstream_url", "private_names"),
    )
)
if str(PLAYBOOKS) not in sys.path:
    sys.path.insert(0, str(PLAYBOOKS))

from self_check import findings, session
from self_check.client import PORTS
from self_check.host import Done, Unreachable
from self_check.probe import version_at
from self_check.settings import Settings


class ActionModule(ActionBase):
    """Arguments: `address`, `ca_certificates`, `python`, `scheme`, as in the playbook.

    Returns `report` (for people) and `wrong` (which checks say that something is, "" for none). It never fails
    itself: the task has no_log, and the playbook shows the report first.
    """

    _requires_connection = True
    _supports_check_mode = True

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        del tmp
        self._vars = task_vars or {}
        if self._task.check_mode:
            return result | {
                "changed": False,
                "report": "In check mode nothing is looked at: to see an upload work takes an upload.",
                "wrong": "",
            }
        try:
            report, wrong = self._look()
        except Exception as exc:  # no_log would hide it; its text might be a secret
            places = "; ".join(
                f"{frame.filename}:{frame.lineno}" for frame in traceback.extract_tb(exc.__traceback__)
            )
            report = wrong = f"This is a bug in the self-check, please report it: {type(exc).__name__} at {places}"
        return result | {"changed": False, "report": report, "wrong": wrong}

    def _look(self) -> tuple[str, str]:
        try:
            values = self._values()
        except AnsibleError as exc:
            fault = f"A variable can't be made out: {' '.join(str(exc).split())}"
            return fault, fault
        if fault := _fault(values, self._task.args):
            return fault, fault
        with _ended_gently():
            found = session.check(self._settings(values), self._on_host, secrets.token_hex(4))
        return f"{findings.rendered(found)}\n{findings.summary(found)}", findings.complaint(found)

    def _values(self) -> dict[str, Any]:
        """What the inventory says the index is, with the roles' defaults where it says nothing."""
        values: dict[str, Any] = {"ppm_domain": ""}
        for path in sorted(ROLES.glob("*/defaults/main.yml")):
            values |= yaml.safe_load(path.read_text(encoding="utf-8")) or {}
        return {name: self._templar.template(self._vars.get(name, values[name])) for name in VARIABLES}

    def _settings(self, values: Mapping[str, Any]) -> Settings:
        given = self._task.args
        return Settings(
            domain=str(values["ppm_domain"]),
            tls=str(values["ppm_tls"]),
            scheme=given.get("scheme") or ("http" if values["ppm_tls"] == "none" else "https"),
            hsts_max_age=int(values["ppm_hsts_max_age"]),
            read_access=str(values["ppm_read_access"]),
            upstream=str(values["ppm_upstream"]),
            upstream_url=str(values["ppm_upstream_url"]),
            private_names=tuple(str(name) for name in values["ppm_private_names"]),
            address=str(given.get("address") or ""),
            authorities=tuple(
                self._find(path) for path in (*values["ppm_ca_certificates"], *_listed(given.get("ca_certificates")))
            ),
            served="",
            python=str(given.get("python") or sys.executable),
            version=version_at(datetime.now(UTC)),
        )

    def _find(self, path: str) -> str:
        """A file that a variable names: beside the playbooks, or where site.yml would find it."""
        places = (self._loader.path_dwim(path), PLAYBOOKS.parent / path, Path.cwd() / path)
        return str(next((place for place in places if Path(place).is_file()), places[0]))

    def _on_host(self, command: list[str]) -> Done:
        try:
            done = self._execute_module(
                module_name="ansible.legacy.command", module_args={"argv": command}, task_vars=self._vars
            )
        except AnsibleError as exc:
            raise Unreachable(" ".join(str(exc).split())) from exc
        if "rc" not in done or "stdout" not in done:
            raise Unreachable(" ".join(str(done.get("msg", "the command could not be run")).split()))
        return Done(code=int(done["rc"]), out=done["stdout"], error=done.get("stderr") or done.get("msg", ""))


def _fault(values: Mapping[str, Any], arguments: Mapping[str, Any]) -> str:
    """What keeps the variables from saying what the index is; site.yml checks them all, and says more."""
    if not values["ppm_domain"]:
        return "ppm_domain is missing: set it in your inventory."
    if (arguments.get("scheme") or "https") not in PORTS:
        return "self_check_scheme must be http or https."
    if not str(values["ppm_hsts_max_age"]).isdecimal():
        return f"ppm_hsts_max_age is {values['ppm_hsts_max_age']!r}: it must be a whole number."
    for path in sorted(ROLES.glob("*/meta/argument_specs.yml")):
        specs = yaml.safe_load(path.read_text(encoding="utf-8"))["argument_specs"]["main"].get("options", {})
        for name in VARIABLES & specs.keys():
            choices = specs[name].get("choices")
            if choices and values[name] not in choices:
                return f"{name} is {values[name]!r}: it must be {' or '.join(choices)}."
    return ""


@contextlib.contextmanager
def _ended_gently() -> Iterator[None]:
    """A signal ends what is inside as an exception does, so that what was lent is given back.

    Ansible's own handler would end this process on the spot.
    """

    def interrupt(number: int, _: types.FrameType | None) -> None:
        for other in before:
            signal.signal(other, signal.SIG_IGN)
        raise KeyboardInterrupt(number)

    before: dict[signal.Signals, Any] = {}
    for each in (signal.SIGINT, signal.SIGTERM):
        before[each] = signal.signal(each, interrupt)
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


def _listed(value: Any) -> list[str]:
    return [value] if isinstance(value, str) and value else list(value or [])
