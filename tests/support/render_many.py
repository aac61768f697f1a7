"""What playbooks/render.yml does, for many settings in one process: Ansible's own engine on the role's own templates.

Run as a script, in the checkout; reads from stdin a JSON list of [folder, extra variables], and writes nginx's files
and the application's environment. The playbook takes 8 seconds for one folder, since a module of Ansible is a process
of its own for each file; a test compares the two.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from ansible.parsing.dataloader import DataLoader
from ansible.plugins.loader import init_plugin_loader
from ansible.template import Templar, generate_ansible_template_vars, trust_as_template

CHECKOUT = Path(__file__).parents[2]
PLAYBOOK = CHECKOUT / "playbooks" / "render.yml"


def main() -> None:
    init_plugin_loader([])
    loader = DataLoader()
    loader.set_basedir(str(PLAYBOOK.parent))
    (play,) = loader.load_from_file(str(PLAYBOOK), trusted_as_template=True)
    given = dict(play["vars"]) | {"playbook_dir": str(PLAYBOOK.parent)}
    for path in _task(play, "ansible.builtin.include_vars")["loop"]:
        given |= loader.load_from_file(str((PLAYBOOK.parent / path).resolve()), trusted_as_template=True)
    for folder, extra in json.load(sys.stdin):
        variables = given | extra
        files = Templar(loader=loader, variables=variables).template(variables["nginx_files"])
        for role, file in [*(("nginx", file) for file in files), ("pypiserver", "/etc/ppm/ppm.env")]:
            _render(
                loader, variables, CHECKOUT / "roles" / role / "templates" / f"{file[1:]}.j2", Path(folder + file)
            )


def _task(play: dict[str, Any], module: str) -> dict[str, Any]:
    return next(task for task in play["tasks"] if module in task)  # type: ignore[no-any-return]


def _render(loader: DataLoader, variables: dict[str, Any], source: Path, target: Path) -> None:
    about = generate_ansible_template_vars(path=source.name, fullpath=str(source), dest_path=str(target))
    templar = Templar(loader=loader, variables=variables | about)
    text = trust_as_template(source.read_text(encoding="utf-8"))
    # the module's own defaults
    made = templar.template(text, escape_backslashes=False, overrides={"trim_blocks": True, "lstrip_blocks": False})
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(made, encoding="utf-8")


if __name__ == "__main__":
    main()
