"""Find the bucket that a volume is a cache of: in PPM_STORAGE, in `ppm.yml`, or where the last server noted it."""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from threading import Lock

from ppmctl import files
from ppmctl.storage.bucket import Bucket, checked_address

VARIABLE = "PPM_STORAGE"
_NOTED = ("storage", "address")  # below a volume's root: a command without the server's environment finds it there
_BUCKET_ID = "bucket-id"
_ALONE = ("storage", "alone")
_SETTINGS = "ppm.yml"

_opened: dict[tuple[int, str], Bucket] = {}
_lock = Lock()


def address_of(root: Path, environ: Mapping[str, str] = os.environ) -> str:
    """Return the address of the bucket that the volume at `root` is a cache of; "" if it is none."""
    if root.joinpath(*_ALONE).exists():
        return ""
    address = environ.get(VARIABLE) or _setting(root) or noted(root)
    return checked_address(address) if address else ""


def note(root: Path, address: str) -> None:
    """Note on a volume which bucket it is a cache of."""
    path = root.joinpath(*_NOTED)
    if noted(root) != address:
        path.parent.mkdir(mode=0o700, exist_ok=True)
        path.write_text(address + "\n", encoding="utf-8")


def stay_alone(root: Path) -> None:
    """Have a temporary volume use no bucket, whatever the environment says."""
    path = root.joinpath(*_ALONE)
    path.parent.mkdir(mode=0o700, exist_ok=True)
    path.touch()


def forget(root: Path) -> None:
    """Note that a volume is a cache no longer."""
    for path in (root.joinpath(*_NOTED), root / "storage" / _BUCKET_ID):
        path.unlink(missing_ok=True)


def node(root: Path) -> str:
    """Return the name of the node with the volume at `root`: random, made at the first call."""
    return _kept(root, "node", secrets.token_hex(8))


def known_bucket_id(root: Path) -> str:
    """Return the id of the bucket that the volume at `root` was the cache of; "" if it was none."""
    path = root / "storage" / _BUCKET_ID
    return path.read_text(encoding="ascii").strip() if path.exists() else ""


def bucket_id(root: Path, identity: str) -> str:
    """Return the id of the bucket that the volume at `root` was first the cache of: `identity` at the first call."""
    return _kept(root, _BUCKET_ID, identity)


def opened(address: str) -> Bucket:
    """Return the bucket of this address; a process opens each of them once."""
    with _lock:
        key = os.getpid(), address
        if key not in _opened:
            _opened[key] = Bucket(address)
        return _opened[key]


def of(root: Path) -> Bucket | None:
    """Return the bucket that the volume at `root` is a cache of, or None."""
    address = address_of(root)
    return opened(address) if address else None


def _setting(root: Path) -> str:
    try:
        content = (root / _SETTINGS).read_text(encoding="utf-8")
    except (OSError, UnicodeError):  # who reads all settings reports it
        return ""
    if "storage" not in content:
        return ""
    from ppmctl import yaml_text

    try:
        values = yaml_text.load(content)
    except yaml_text.InvalidYaml:
        return ""
    value = values.get("storage") if isinstance(values, dict) else None
    return value if isinstance(value, str) else ""


def noted(root: Path) -> str:
    """Return the address that `note` noted, or ""."""
    try:
        return root.joinpath(*_NOTED).read_text(encoding="utf-8").strip()
    except OSError:
        return ""


def _kept(root: Path, name: str, content: str) -> str:
    """Return what a file in `storage/` has; with `content` if there is none."""
    path = root / "storage" / name
    if not path.exists():
        path.parent.mkdir(mode=0o700, exist_ok=True)
        files.create(path, content.encode() + b"\n")
    return path.read_text(encoding="ascii").strip()
