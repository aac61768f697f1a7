#!/usr/bin/python
"""Write many files and folders of a host at once."""

from __future__ import annotations

import grp
import os
import pwd
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
  - A link instead of a file is replaced. A link instead of a folder is refused if a user other than root could have
    made it.
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
        before = path.read_text(encoding="utf-8", errors="replace") if _is_own_file(path) else None
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
    path = Path(folder["path"])
    is_new = not os.path.lexists(path)
    if is_new and module.check_mode:
        return True
    if is_new:
        path.mkdir(parents=True)
    # Everything is done to the opened folder, because another user could replace its path by a link meanwhile.
    links = os.O_NOFOLLOW if _is_writable_by_others(path.parent) else 0
    try:
        opened = os.open(path, os.O_RDONLY | os.O_DIRECTORY | links)
    except OSError as exc:
        module.fail_json(msg=f"{path} must be a folder, not a link or a file ({exc.strerror}): move it away.")
    try:
        return _set_folder(module, opened, folder) or is_new
    finally:
        os.close(opened)


def _is_writable_by_others(folder: Path) -> bool:
    """Return whether users other than root and this one can replace what is in a folder."""
    status = folder.stat()
    return status.st_uid not in (0, os.geteuid()) or bool(status.st_mode & 0o022)


def _set_folder(module: AnsibleModule, opened: int, folder: dict[str, Any]) -> bool:
    """Set owner, group and mode of an opened folder; return whether anything was changed."""
    status = os.fstat(opened)
    owner, group = (folder[key] or module.params[key] for key in ("owner", "group"))
    try:
        uid = pwd.getpwnam(owner).pw_uid if owner else status.st_uid
        gid = grp.getgrnam(group).gr_gid if group else status.st_gid
    except KeyError as exc:
        if module.check_mode:  # an earlier task would make the user
            return True
        module.fail_json(msg=f"{folder['path']}: {exc.args[0]}.")
    mode = int(folder["mode"], 8)
    if (status.st_uid, status.st_gid, status.st_mode & 0o7777) == (uid, gid, mode):
        return False
    if not module.check_mode:
        os.fchown(opened, uid, gid)
        os.fchmod(opened, mode)
    return True


def _is_own_file(path: Path) -> bool:
    return path.is_file() and not path.is_symlink()


def _keep(module: AnsibleModule, name: str) -> None:
    """Copy a file that is about to be replaced or removed into the folder `copies`; a link's target remains."""
    path = Path(name)
    if module.params["copies"] and not module.check_mode and _is_own_file(path):
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
