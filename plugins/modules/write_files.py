#!/usr/bin/python
"""Write many files and folders of a host at once."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = """
module: write_files
short_description: write the files of a configuration in one step
description:
  - Makes the folders, then writes each file whose content differs, atomically, then removes files.
  - A folder that a file needs and that is missing is made too; only those in O(folders) are corrected if they exist.
  - Like ansible.builtin.template and ansible.builtin.file, but in one run on the host for all files.
options:
  folders:
    description: The folders, parents first.
    type: list
    elements: dict
    default: []
    suboptions:
      path: {type: path, required: true, description: The folder.}
      owner: {type: str, description: Its owner.}
      group: {type: str, description: Its group.}
      mode: {type: str, default: "0755", description: Its mode.}
  files:
    description: The content of each file by its path.
    type: dict
    default: {}
  modes:
    description: The modes of files by path, where they are not 0644.
    type: dict
    default: {}
  absent:
    description: Files to remove.
    type: list
    elements: path
    default: []
  owner:
    description: The owner of files, and of folders without one of their own. By default nobody is changed.
    type: str
  group:
    description: The group, in the same way.
    type: str
  backup:
    description: Whether to keep a copy of each file that is replaced.
    type: bool
    default: false
  copies:
    description: >-
      A folder for copies of the files that are replaced or removed, each below its path, with the time in its name.
    type: path
    default: ""
author: The ppm developers
"""
RETURN = """
written:
  description: The paths of files that were written, or whose owner, group or mode was changed.
  type: list
  returned: always
backups:
  description: The copies of replaced files, by path.
  type: dict
  returned: always
"""


def main() -> None:
    """Run the module."""
    folder = {
        "path": {"type": "path", "required": True},
        "owner": {"type": "str"},
        "group": {"type": "str"},
        "mode": {"type": "str", "default": "0755"},
    }
    module = AnsibleModule(
        argument_spec={
            "folders": {"type": "list", "elements": "dict", "options": folder, "default": []},
            "files": {"type": "dict", "default": {}},
            "modes": {"type": "dict", "default": {}},
            "absent": {"type": "list", "elements": "path", "default": []},
            "owner": {"type": "str"},
            "group": {"type": "str"},
            "backup": {"type": "bool", "default": False},
            "copies": {"type": "path", "default": ""},
        },
        supports_check_mode=True,
    )
    given, diffs = module.params, []
    made = [each["path"] for each in given["folders"] if _make(module, each)]
    written, backups = [], {}
    for name, content in given["files"].items():
        path = Path(name)
        before = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else None
        if before != content:
            diffs.append(_diff(name, before or "", content))
            if before is not None and given["backup"] and not module.check_mode:
                backups[name] = module.backup_local(name)
            _keep(module, name)
            _write(module, name, content)
        if _set_attributes(module, name, given["modes"].get(name, "0644"), given) or before != content:
            written.append(name)
    removed = [path for path in given["absent"] if os.path.lexists(path)]
    for path in removed if not module.check_mode else ():
        _keep(module, path)
        Path(path).unlink()
    diffs += [_diff(path, "present\n", "absent\n") for path in removed]
    module.exit_json(changed=bool(made or written or removed), written=written, backups=backups, diff=diffs)


def _make(module: AnsibleModule, folder: dict[str, Any]) -> bool:
    """Make a folder, and set its attributes; return whether anything was changed."""
    path = folder["path"]
    is_new = not Path(path).is_dir()
    if is_new and not module.check_mode:
        Path(path).mkdir(parents=True)
    owners = {key: folder[key] or module.params[key] for key in ("owner", "group")}
    return _set_attributes(module, path, folder["mode"], owners) or is_new


def _keep(module: AnsibleModule, name: str) -> None:
    """Copy a file that is about to be replaced or removed into the folder `copies`; a link's target remains."""
    path = Path(name)
    if module.params["copies"] and not module.check_mode and path.is_file() and not path.is_symlink():
        target = (
            Path(module.params["copies"]) / f"{name.lstrip('/')}.{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}"
        )
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        shutil.copy2(path, target)


def _write(module: AnsibleModule, path: str, content: str) -> None:
    """Replace a file by one with this content, in one step."""
    if module.check_mode:
        return
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=module.tmpdir)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(content)
    module.atomic_move(temporary, path)


def _set_attributes(module: AnsibleModule, path: str, mode: str, owners: dict[str, Any]) -> bool:
    """Set the mode, and an owner and a group if there are any; return whether anything was changed."""
    if not Path(path).exists():  # in check mode
        return False
    wanted = module.load_file_common_arguments(
        {"path": path, "mode": mode, "owner": owners["owner"], "group": owners["group"]}
    )
    return bool(module.set_fs_attributes_if_different(wanted, changed=False))


def _diff(path: str, before: str, after: str) -> dict[str, str]:
    return {"before_header": path, "after_header": path, "before": before, "after": after}


if __name__ == "__main__":
    main()
