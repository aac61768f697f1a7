"""Check every `ppm_` variable, the certificate files and the host, before anything is changed.

One failure lists all problems, each with the variable's name and a hint. The rules are in plugin_utils/.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ansible.errors import AnsibleError, AnsibleFileNotFound
from ansible.plugins.action import ActionBase

from ansible_collections.ppm.index.plugins.plugin_utils.inventory_files import file_problems
from ansible_collections.ppm.index.plugins.plugin_utils.inventory_host import host_problems, ports
from ansible_collections.ppm.index.plugins.plugin_utils.inventory_values import (
    for_containers,
    ineffective,
    read_specs,
    typed,
    variable_problems,
)
from ansible_collections.ppm.index.plugins.plugin_utils.inventory_wording import report

ROLES = Path(__file__).parents[2] / "roles"


class ActionModule(ActionBase):
    """Takes `roles`, whose specs are used, and `packages` and `units`, to look for on the host. Returns `host`, as
    probe_host.

    `instead` is for containers: no host is probed. It has the variables without effect there, each with a hint.
    """

    _requires_connection = True

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        del tmp
        task_vars = task_vars or {}
        arguments = self._task.args
        instead = arguments.get("instead")
        specs = read_specs(ROLES, arguments["roles"])
        values, problems = self._values(specs, task_vars)
        known = {name: spec for name, spec in specs.items() if name in values or name not in task_vars}
        if instead is not None:
            known, values = for_containers(known, values)
            problems += ineffective(known, values, instead)
        problems += variable_problems(known, values)
        if not problems:
            problems += file_problems(values, self._read)
        if not problems and instead is None:
            probed = self._execute_module(
                module_name="ppm.index.probe_host",
                module_args={
                    "root": values["ppm_root"],
                    "packages": arguments["packages"],
                    "units": arguments["units"],
                    "ports": [int(port) for port in ports(values)],
                    **_name(values),
                },
                task_vars=task_vars,
            )
            if probed.get("failed"):
                return {**result, **probed}
            result["host"] = probed["host"]
            problems += host_problems(probed["host"], values)
        if problems:
            what = "was changed on this host" if instead is None else "was written"
            result |= {"failed": True, "msg": report(problems, what=what)}
        return result | {"changed": False}

    def _values(self, specs: dict[str, dict[str, Any]], given: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
        """Return the values of all `ppm_` variables, and messages for those whose templates fail."""
        values, problems = {}, []
        for name in sorted(name for name in given if name.startswith("ppm_")):
            try:
                values[name] = typed(specs.get(name, {}), self._templar.template(given[name]))
            except Exception as exc:
                problems.append(f"{name}: its value can't be evaluated: {' '.join(str(exc).split())}")
        return values, problems

    def _read(self, path: str) -> bytes:
        """Return the content of a file on the controlling machine, decrypted if ansible-vault has encrypted it."""
        try:
            return Path(self._loader.get_real_file(self._loader.path_dwim(path))).read_bytes()
        except AnsibleFileNotFound as exc:
            raise FileNotFoundError(2, "there is no such file") from exc
        except AnsibleError as exc:
            raise OSError(5, " ".join(str(exc).split())) from exc


def _name(values: dict[str, Any]) -> dict[str, str]:
    """Return the name that an authority asks the host by, and the source of the certificate, as probe_host takes."""
    if values.get("ppm_tls") != "letsencrypt" or not values.get("ppm_acme_check_first"):
        return {}
    directory = values.get("ppm_acme_directory") or "default"
    return {"name": values["ppm_domain"], "source": f"letsencrypt {values['ppm_domain']} {directory}"}
