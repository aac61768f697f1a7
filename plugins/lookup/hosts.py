"""Look up the group of hosts of a play, and fail with a hint if the inventory has no host in it.

Ansible itself prints a warning and succeeds.
"""

from __future__ import annotations

from typing import Any

from ansible import context
from ansible.errors import AnsibleError
from ansible.inventory.manager import InventoryManager
from ansible.plugins.lookup import LookupBase

DOCUMENTATION = """
name: hosts
short_description: the name of a group that has a host
description: Returns the group's name; fails if the group has no host, or if --limit leaves none of them.
options:
  _terms:
    description: The group.
    required: true
"""


class LookupModule(LookupBase):
    def run(self, terms: Any, variables: Any = None, **kwargs: Any) -> list[str]:
        del kwargs
        (group,) = terms
        if context.CLIARGS.get("syntax"):  # without an inventory
            return [group]
        groups = (variables or {}).get("groups", {})
        sources = ", ".join(context.CLIARGS.get("inventory") or ()) or "none was given"
        if not groups.get(group):
            others = sorted(name for name, hosts in groups.items() if hosts and name not in ("all", "ungrouped"))
            found = f"its groups are {', '.join(others)}" if others else "it has no group with a host"
            raise AnsibleError(
                f"There is no host in the group {group} of the inventory ({sources}; {found}). Write your host into"
                f" that group, as in inventory/example/hosts.yml, and type: ansible-playbook -i inventory/mine …"
            )
        limit = context.CLIARGS.get("subset")
        if limit and not self._limited(groups, group, limit):
            raise AnsibleError(
                f"--limit {limit} leaves no host of the group {group}, which has {', '.join(groups[group])}."
            )
        return [group]

    def _limited(self, groups: dict[str, list[str]], group: str, limit: str) -> list[Any]:
        """Return the hosts of a group that --limit leaves."""
        inventory = InventoryManager(loader=self._loader, sources=None, parse=False)
        for name, hosts in groups.items():
            inventory.add_group(name)
            for host in hosts:
                inventory.add_host(host, group=name)
        inventory.subset(limit)
        return list(inventory.get_hosts(group))
