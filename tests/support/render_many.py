"""Render like playbooks/render.yml, for many settings in one process: Ansible's engine on the role's templates.

Run as a script, in the checkout. It reads lines of JSON, [folder, extra variables], and writes nginx's files and the
application's environment; for each line it prints one line, null or the error. ROLE in a folder stands for the role's
name, as for render_to. The playbook takes 8 seconds for one folder, since Ansible starts a process for each file; a
test compares the two.
"""

from __future__ import annotations

import json
import sys
import traceback
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
    given["__render_files"] = {"nginx": given["nginx_files"], "pypiserver": ["/etc/ppm/ppm.env"]}
    containers = loader.load_from_file(str(PLAYBOOK.parent / "vars" / "containers.yml"), trusted_as_template=True)
    for line in sys.stdin:
        folder, extra = json.loads(line)
        try:
            more = containers if extra.get("render_for") == "containers" else {}
            _render_all(loader, given | more | extra, folder)
        except Exception:
            print(json.dumps(traceback.format_exc()[-4000:]), flush=True)
        else:
            print("null", flush=True)


def _render_all(loader: DataLoader, variables: dict[str, Any], folder: str) -> None:
    wanted = Templar(loader=loader, variables=variables).template(variables["__render_files"])
    for role, files in wanted.items():
        for file in files:
            template = CHECKOUT / "roles" / role / "templates" / f"{file[1:]}.j2"
            _render(loader, variables, template, Path(folder.replace("ROLE", role) + file))


def _task(play: dict[str, Any], module: str) -> dict[str, Any]:
    task: dict[str, Any] = next(task for task in play["tasks"] if module in task)
    return task


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
